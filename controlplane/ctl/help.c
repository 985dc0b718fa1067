/* Everything that is read off the table of commands: --help, the reference, the man page and shell
 * completion. */
#include <string.h>

#include "common/base/str.h"
#include "controlplane/ctl/command.h"

#define TRY(call)                                                                                  \
    do {                                                                                           \
        int rc_ = (call);                                                                          \
        if (rc_ != 0)                                                                              \
            return rc_;                                                                            \
    } while (0)

static const char *const exit_codes[] = {
    "0   done",
    "1   failed",
    "2   wrong use",
    "3   not found",
    "4   no or wrong operator key",
    "5   conflicts with the current state",
    "6   server unreachable, or no answer in time",
    "10  the check says no (invalid config, replay differs)",
    NULL,
};

static int write_name(const struct command *k, struct buf *out)
{
    TRY(buf_append_text(out, k->noun));
    return k->verb != NULL ? buf_printf(out, " %s", k->verb) : 0;
}

static int write_usage(const struct command *k, struct buf *out)
{
    TRY(buf_append_text(out, "steelyard "));
    TRY(write_name(k, out));
    return k->args[0] != '\0' ? buf_printf(out, " %s", k->args) : 0;
}

static int flag_label(const struct flag *f, struct buf *out)
{
    if (f->letter != 0)
        TRY(buf_printf(out, "-%c, ", f->letter));
    TRY(buf_printf(out, "--%s", f->name));
    return f->value != NULL ? buf_printf(out, " %s", f->value) : 0;
}

static int help_flags(const struct flag *table, struct buf *out)
{
    for (const struct flag *f = table; f != NULL && f->name != NULL; f++) {
        TRY(buf_append_text(out, "  "));
        size_t start = out->len;
        TRY(flag_label(f, out));
        size_t width = out->len - start;
        TRY(buf_printf(out, "%*s%s", width < 26 ? (int)(26 - width) : 2, "", f->help));
        if (f->preset != NULL)
            TRY(buf_printf(out, " [%s]", f->preset));
        if (f->env != NULL)
            TRY(buf_printf(out, " ($%s)", f->env));
        TRY(buf_append_char(out, '\n'));
    }
    return 0;
}

static int help_command(const struct command *k, struct buf *out)
{
    TRY(buf_append_text(out, "usage: "));
    TRY(write_usage(k, out));
    TRY(buf_printf(out, " [flags]\n\n%s\n", k->summary));
    if (k->detail != NULL)
        TRY(buf_printf(out, "\n%s\n", k->detail));
    if (k->flags != NULL) {
        TRY(buf_append_text(out, "\nflags:\n"));
        TRY(help_flags(k->flags, out));
    }
    TRY(buf_append_text(out, "\nglobal flags:\n"));
    return help_flags(global_flags, out);
}

static int help_list(const char *noun, struct buf *out)
{
    for (const struct command *k = commands; k->noun != NULL; k++) {
        if (k->hidden || (noun != NULL && strcmp(k->noun, noun) != 0))
            continue;
        TRY(buf_append_text(out, "  "));
        size_t start = out->len;
        TRY(write_name(k, out));
        if (k->args[0] != '\0')
            TRY(buf_printf(out, " %s", k->args));
        size_t width = out->len - start;
        TRY(buf_printf(out, "%*s%s\n", width < 38 ? (int)(38 - width) : 2, "", k->summary));
    }
    return 0;
}

int command_help(const char *noun, const struct command *command, struct buf *out)
{
    if (command != NULL)
        return help_command(command, out);
    if (noun != NULL)
        TRY(buf_printf(out, "usage: steelyard %s VERB [flags]\n\n", noun));
    else
        TRY(buf_append_text(out,
                            "Steelyard: an LLM gateway that learns where to send each request.\n"
                            "usage: steelyard [flags] COMMAND\n\n"));
    TRY(help_list(noun, out));
    TRY(buf_append_text(out, "\nglobal flags:\n"));
    TRY(help_flags(global_flags, out));
    if (noun != NULL)
        return 0;
    TRY(buf_append_text(out, "\nexit codes:\n"));
    for (size_t i = 0; exit_codes[i] != NULL; i++)
        TRY(buf_printf(out, "  %s\n", exit_codes[i]));
    return buf_append_text(out, "\n`steelyard COMMAND --help` says more about one command.\n");
}

static int markdown_flags(const struct flag *table, struct buf *out)
{
    TRY(buf_append_text(out, "\n| flag | environment | default | |\n|---|---|---|---|\n"));
    for (const struct flag *f = table; f->name != NULL; f++) {
        TRY(buf_append_text(out, "| `"));
        TRY(flag_label(f, out));
        TRY(buf_append_text(out, "` | "));
        if (f->env != NULL)
            TRY(buf_printf(out, "`%s`", f->env));
        TRY(buf_append_text(out, " | "));
        if (f->preset != NULL)
            TRY(buf_printf(out, "`%s`", f->preset));
        TRY(buf_printf(out, " | %s |\n", f->help));
    }
    return 0;
}

int command_markdown(struct buf *out)
{
    TRY(buf_append_text(
        out, "# `steelyard`: command reference\n\n"
             "Generated from the table in `controlplane/ctl/commands.c` by `steelyard docs cli`; "
             "edit the table.\n\n## Global flags\n"));
    TRY(markdown_flags(global_flags, out));
    TRY(buf_append_text(out, "\n## Exit codes\n\n| code | meaning |\n|---|---|\n"));
    for (size_t i = 0; exit_codes[i] != NULL; i++) {
        struct str code, text;
        (void)str_cut(str_from(exit_codes[i]), ' ', &code, &text);
        TRY(buf_printf(out, "| %.*s | %.*s |\n", STR_ARG(code), STR_ARG(str_trim(text))));
    }
    TRY(buf_append_text(out, "\n## Commands\n"));
    for (const struct command *k = commands; k->noun != NULL; k++) {
        if (k->hidden)
            continue;
        TRY(buf_append_text(out, "\n### "));
        TRY(write_name(k, out));
        TRY(buf_append_text(out, "\n\n`"));
        TRY(write_usage(k, out));
        TRY(buf_printf(out, "`\n\n%s\n", k->summary));
        if (k->detail != NULL)
            TRY(buf_printf(out, "\n%s\n", k->detail));
        if (k->flags != NULL)
            TRY(markdown_flags(k->flags, out));
    }
    return 0;
}

/* In roff a leading dot or quote would be a request, a hyphen may be set as a dash. */
static int man_text(const char *text, struct buf *out)
{
    bool at_start = true;
    for (const char *p = text; *p != '\0'; p++) {
        if (at_start && (*p == '.' || *p == '\''))
            TRY(buf_append_text(out, "\\&"));
        if (*p == '-' || *p == '\\')
            TRY(buf_append_char(out, '\\'));
        TRY(buf_append_char(out, *p));
        at_start = *p == '\n';
    }
    return buf_append_char(out, '\n');
}

static int man_flags(const struct flag *table, struct buf *out)
{
    for (const struct flag *f = table; f != NULL && f->name != NULL; f++) {
        char label[128];
        struct buf text;
        buf_init(&text, sizeof(label));
        int rc = flag_label(f, &text);
        bool fits = rc == 0 && str_copy(buf_str(&text), label, sizeof(label));
        buf_deinit(&text);
        if (!fits)
            return rc != 0 ? rc : ERR_TOO_LARGE;
        TRY(buf_append_text(out, ".TP\n.B "));
        TRY(man_text(label, out));
        TRY(man_text(f->help, out));
    }
    return 0;
}

int command_man(struct buf *out)
{
    TRY(buf_append_text(out,
                        ".TH STEELYARD 1\n.SH NAME\nsteelyard \\- operate the Steelyard LLM "
                        "gateway\n.SH SYNOPSIS\n.B steelyard\n[flags] COMMAND\n.SH COMMANDS\n"));
    for (const struct command *k = commands; k->noun != NULL; k++) {
        if (k->hidden)
            continue;
        TRY(buf_append_text(out, ".SS "));
        TRY(write_name(k, out));
        TRY(buf_printf(out, "%s%s\n", k->args[0] != '\0' ? " " : "", k->args));
        TRY(man_text(k->summary, out));
        if (k->detail != NULL)
            TRY(man_text(k->detail, out));
        TRY(man_flags(k->flags, out));
    }
    TRY(buf_append_text(out, ".SH GLOBAL FLAGS\n"));
    TRY(man_flags(global_flags, out));
    TRY(buf_append_text(out, ".SH EXIT STATUS\n"));
    for (size_t i = 0; exit_codes[i] != NULL; i++)
        TRY(buf_printf(out, ".br\n%s\n", exit_codes[i]));
    return 0;
}

static bool noun_seen_before(const struct command *k)
{
    for (const struct command *other = commands; other != k; other++)
        if (strcmp(other->noun, k->noun) == 0)
            return true;
    return false;
}

static int words_of(const char *noun, struct buf *out)
{
    bool first = true;
    for (const struct command *k = commands; k->noun != NULL; k++) {
        const char *word = noun == NULL ? k->noun : k->verb;
        if (k->hidden || word == NULL || (noun == NULL && noun_seen_before(k)) ||
            (noun != NULL && strcmp(k->noun, noun) != 0))
            continue;
        TRY(buf_printf(out, "%s%s", first ? "" : " ", word));
        first = false;
    }
    return 0;
}

static int completion_cases(struct buf *out)
{
    for (const struct command *k = commands; k->noun != NULL; k++) {
        if (k->hidden || noun_seen_before(k) || k->verb == NULL)
            continue;
        TRY(buf_printf(out, "    %s) words='", k->noun));
        TRY(words_of(k->noun, out));
        TRY(buf_append_text(out, "' ;;\n"));
    }
    return 0;
}

static int completion_bash(struct buf *out)
{
    TRY(buf_append_text(out, "_steelyard() {\n    local words=\n    case ${COMP_WORDS[1]} in\n"));
    TRY(completion_cases(out));
    TRY(buf_append_text(out, "    esac\n    [ \"$COMP_CWORD\" -gt 1 ] || words='"));
    TRY(words_of(NULL, out));
    return buf_append_text(out, "'\n    COMPREPLY=($(compgen -W \"$words\" -- "
                                "\"${COMP_WORDS[COMP_CWORD]}\"))\n}\n"
                                "complete -F _steelyard steelyard\n");
}

static int completion_fish(struct buf *out)
{
    TRY(buf_append_text(out, "complete -c steelyard -f\ncomplete -c steelyard -n "
                             "__fish_use_subcommand -a '"));
    TRY(words_of(NULL, out));
    TRY(buf_append_text(out, "'\n"));
    for (const struct command *k = commands; k->noun != NULL; k++) {
        if (k->hidden || noun_seen_before(k) || k->verb == NULL)
            continue;
        TRY(buf_printf(out, "complete -c steelyard -n '__fish_seen_subcommand_from %s' -a '",
                       k->noun));
        TRY(words_of(k->noun, out));
        TRY(buf_append_text(out, "'\n"));
    }
    return 0;
}

int command_completion(const char *shell, struct buf *out)
{
    if (strcmp(shell, "bash") == 0)
        return completion_bash(out);
    if (strcmp(shell, "fish") == 0)
        return completion_fish(out);
    if (strcmp(shell, "zsh") != 0)
        return ERR_INVALID;
    TRY(buf_append_text(out, "autoload -U +X bashcompinit && bashcompinit\n"));
    return completion_bash(out);
}

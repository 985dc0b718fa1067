#include "controlplane/ctl/command.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/options.h"
#include "common/base/str.h"

#define KNOWN_WORDS_MAX 96

static const struct flag *find_flag(const struct flag *table, struct str name, char letter)
{
    for (const struct flag *f = table; f != NULL && f->name != NULL; f++)
        if (letter != 0 ? f->letter == letter : str_is(name, f->name))
            return f;
    return NULL;
}

static const struct flag *flag_of(const struct invocation *in, struct str name, char letter)
{
    const struct flag *f = in->command != NULL ? find_flag(in->command->flags, name, letter) : NULL;
    return f != NULL ? f : find_flag(global_flags, name, letter);
}

/* " did you mean --output?" or nothing. */
static const char *nearest_flag(const struct invocation *in, struct str name)
{
    const char *known[KNOWN_WORDS_MAX + 1];
    char word[64];
    size_t n = 0;
    if (!str_copy(name, word, sizeof(word)))
        return NULL;
    for (const struct flag *f = global_flags; f->name != NULL && n < KNOWN_WORDS_MAX; f++)
        known[n++] = f->name;
    if (in->command != NULL)
        for (const struct flag *f = in->command->flags;
             f != NULL && f->name != NULL && n < KNOWN_WORDS_MAX; f++)
            known[n++] = f->name;
    known[n] = NULL;
    return options_nearest(word, known);
}

static int check_value(const struct flag *f, const char *text, struct err *err)
{
    uint64_t number;
    switch (f->kind) {
    case FLAG_TEXT:
        return 0;
    case FLAG_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return err_set(err, ERR_INVALID, "--%s: '%s' is neither true nor false", f->name, text);
        return 0;
    case FLAG_U64:
        if (str_parse_u64(str_from(text), UINT64_MAX, &number) != 0)
            return err_set(err, ERR_INVALID, "--%s: '%s' is not a whole number; try %s", f->name,
                           text, f->preset != NULL ? f->preset : "10");
        return 0;
    case FLAG_DURATION:
        if (str_parse_duration_ms(str_from(text), &number) != 0)
            return err_set(err, ERR_INVALID, "--%s: '%s' is not a duration; try %s", f->name, text,
                           f->preset != NULL ? f->preset : "30s");
        return 0;
    }
    return 0;
}

static int add_flag(struct invocation *in, const struct flag *f, const char *text, struct err *err)
{
    int rc = check_value(f, text, err);
    if (rc != 0)
        return rc;
    if (in->flag_count == INVOCATION_FLAGS_MAX)
        return err_set(err, ERR_INVALID, "too many flags");
    in->flags[in->flag_count].flag = f;
    in->flags[in->flag_count++].text = text;
    return 0;
}

/* One argument that begins with '-'. *io_at moves over a value that stands apart. */
static int parse_flag(struct invocation *in, int argc, char **argv, int *io_at, struct err *err)
{
    const char *word = argv[*io_at];
    struct str name = STR_NULL, value = STR_NULL;
    const struct flag *f;
    bool joined = false;
    if (word[1] == '-') {
        joined = str_cut(str_from(word + 2), '=', &name, &value);
        f = flag_of(in, name, 0);
        if (f == NULL) {
            const char *near = nearest_flag(in, name);
            return err_set(err, ERR_INVALID, "unknown flag '--%.*s'%s%s%s", STR_ARG(name),
                           near != NULL ? "; did you mean --" : "", near != NULL ? near : "",
                           near != NULL ? "?" : "");
        }
    } else {
        f = flag_of(in, STR_NULL, word[1]);
        if (f == NULL)
            return err_set(err, ERR_INVALID, "unknown flag '-%c'", word[1]);
        if (word[2] != '\0') {
            value = str_from(word + 2);
            joined = true;
        }
    }
    if (strcmp(f->name, "help") == 0)
        in->help = true;
    if (joined)
        return add_flag(in, f, value.data, err); /* Ends where the argument ends. */
    if (f->kind == FLAG_BOOL)
        return add_flag(in, f, "true", err);
    if (*io_at + 1 >= argc)
        return err_set(err, ERR_INVALID, "--%s needs a value: --%s %s", f->name, f->name, f->value);
    return add_flag(in, f, argv[++*io_at], err);
}

static bool noun_exists(const char *noun)
{
    for (const struct command *k = commands; k->noun != NULL; k++)
        if (strcmp(k->noun, noun) == 0)
            return true;
    return false;
}

static int unknown_word(const char *noun, const char *word, struct err *err)
{
    const char *known[KNOWN_WORDS_MAX + 1];
    size_t n = 0;
    for (const struct command *k = commands; k->noun != NULL && n < KNOWN_WORDS_MAX; k++) {
        if (k->hidden)
            continue;
        if (noun == NULL)
            known[n++] = k->noun;
        else if (strcmp(k->noun, noun) == 0 && k->verb != NULL)
            known[n++] = k->verb;
    }
    known[n] = NULL;
    const char *near = options_nearest(word, known);
    return err_set(err, ERR_INVALID, "unknown command '%s%s%s'%s%s%s%s%s", noun != NULL ? noun : "",
                   noun != NULL ? " " : "", word, near != NULL ? "; did you mean '" : "",
                   near != NULL && noun != NULL ? noun : "",
                   near != NULL && noun != NULL ? " " : "", near != NULL ? near : "",
                   near != NULL ? "'?" : "");
}

/* Finds the command among the words that are no flags. Sets how many words it took. */
static int find_command(struct invocation *in, const char *first, const char *second,
                        unsigned *out_words, struct err *err)
{
    *out_words = 0;
    if (first == NULL)
        return 0;
    if (!noun_exists(first))
        return unknown_word(NULL, first, err);
    in->noun = first;
    *out_words = 1;
    bool has_verbs = false;
    for (const struct command *k = commands; k->noun != NULL; k++) {
        if (strcmp(k->noun, first) != 0)
            continue;
        if (k->verb == NULL)
            in->command = k;
        else
            has_verbs = true;
        if (k->verb != NULL && second != NULL && strcmp(k->verb, second) == 0) {
            in->command = k;
            *out_words = 2;
            return 0;
        }
    }
    if (in->command == NULL && has_verbs && second != NULL)
        return unknown_word(first, second, err);
    return 0;
}

/* The first two words, skipping global flags and their values: flags need the command to be read.
 */
static void leading_words(int argc, char **argv, const char **out_first, const char **out_second)
{
    const char **slots[] = {out_first, out_second};
    unsigned n = 0;
    *out_first = *out_second = NULL;
    for (int i = 1; i < argc && n < 2; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--") == 0)
            return;
        if (word[0] != '-' || word[1] == '\0') {
            *slots[n++] = word;
            continue;
        }
        struct str name, value;
        bool joined = str_cut(str_from(word[1] == '-' ? word + 2 : word + 1), '=', &name, &value);
        const struct flag *f = word[1] == '-' ? find_flag(global_flags, name, 0)
                                              : find_flag(global_flags, STR_NULL, word[1]);
        if (f == NULL)
            return; /* A command's own flag: words after it are arguments. */
        if (f->kind != FLAG_BOOL && !joined && !(word[1] != '-' && word[2] != '\0'))
            i++;
    }
}

static int check_args(const struct invocation *in, struct err *err)
{
    const struct command *k = in->command;
    if (k == NULL || in->help)
        return 0;
    const char *gap = k->verb != NULL ? " " : "", *verb = k->verb != NULL ? k->verb : "";
    if (in->arg_count < k->args_min)
        return err_set(err, ERR_INVALID, "missing argument: steelyard %s%s%s %s", k->noun, gap,
                       verb, k->args);
    if (in->arg_count > k->args_max)
        return err_set(err, ERR_INVALID, "unexpected argument '%s': steelyard %s%s%s%s%s",
                       in->args[k->args_max], k->noun, gap, verb, k->args[0] != '\0' ? " " : "",
                       k->args);
    return 0;
}

int command_parse(int argc, char **argv, struct invocation *out, struct err *err)
{
    const char *first, *second;
    unsigned words, seen = 0;
    *out = (struct invocation){0};
    leading_words(argc, argv, &first, &second);
    int rc = find_command(out, first, second, &words, err);
    bool only_words = false;
    for (int i = 1; rc == 0 && i < argc; i++) {
        const char *word = argv[i];
        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
        } else if (!only_words && word[0] == '-' && word[1] != '\0') {
            rc = parse_flag(out, argc, argv, &i, err);
        } else if (seen < words) {
            seen++;
        } else if (out->arg_count == INVOCATION_ARGS_MAX) {
            rc = err_set(err, ERR_INVALID, "too many arguments");
        } else {
            out->args[out->arg_count++] = word;
        }
    }
    /* What the environment gives must hold too, before anything is done. */
    for (const struct flag *f = global_flags; rc == 0 && f->name != NULL; f++) {
        const char *text = f->env != NULL ? getenv(f->env) : NULL;
        if (text != NULL && text[0] != '\0' && check_value(f, text, err) != 0)
            rc = err_set(err, ERR_INVALID, "%s: '%s' is no value for --%s", f->env, text, f->name);
    }
    return rc != 0 ? rc : check_args(out, err);
}

bool invocation_takes(const struct invocation *in, const char *flag)
{
    return flag_of(in, str_from(flag), 0) != NULL;
}

const char *invocation_text(const struct invocation *in, const char *flag)
{
    for (unsigned i = in->flag_count; i > 0; i--) /* The last one wins. */
        if (strcmp(in->flags[i - 1].flag->name, flag) == 0)
            return in->flags[i - 1].text;
    const struct flag *f = flag_of(in, str_from(flag), 0);
    assert(f != NULL && "a command asks only for flags of its table");
    const char *text = f->env != NULL ? getenv(f->env) : NULL;
    if (text != NULL && text[0] != '\0')
        return text;
    return f->preset;
}

bool invocation_bool(const struct invocation *in, const char *flag)
{
    const char *text = invocation_text(in, flag);
    return text != NULL && strcmp(text, "true") == 0;
}

uint64_t invocation_u64(const struct invocation *in, const char *flag)
{
    const char *text = invocation_text(in, flag);
    const struct flag *f = flag_of(in, str_from(flag), 0);
    uint64_t value = 0;
    if (text == NULL)
        return 0;
    int rc = f->kind == FLAG_DURATION ? str_parse_duration_ms(str_from(text), &value)
                                      : str_parse_u64(str_from(text), UINT64_MAX, &value);
    return rc == 0 ? value : 0;
}

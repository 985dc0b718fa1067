#include "controlplane/ctl/ctl.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/output.h"

#define HELP_BYTES_MAX (1U << 20)

enum ctl_exit ctl_fail(struct ctl *c, enum ctl_exit code, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    fputs("steelyard: ", c->err);
    output_text(c->err, message);
    fputc('\n', c->err);
    return code;
}

void ctl_note(struct ctl *c, const char *format, ...)
{
    char message[1024];
    va_list args;
    if (c->quiet)
        return;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    output_text(c->err, message);
    fputc('\n', c->err);
}

static int parse_format(const char *text, enum ctl_format *out, struct err *err)
{
    static const char *const names[] = {
        [CTL_TABLE] = "table", [CTL_WIDE] = "wide", [CTL_JSON] = "json", [CTL_JSONL] = "jsonl",
        [CTL_YAML] = "yaml",   [CTL_NAME] = "name", [CTL_CSV] = "csv",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum ctl_format)i;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID,
                   "--output: '%s' is none of table, wide, json, jsonl, yaml, name, csv", text);
}

static enum ctl_exit print_help(struct ctl *c, FILE *to)
{
    struct buf text;
    buf_init(&text, HELP_BYTES_MAX);
    int rc = command_help(c->in.noun, c->in.command, &text);
    if (rc == 0)
        fprintf(to, "%.*s", STR_ARG(buf_str(&text)));
    buf_deinit(&text);
    return rc == 0 ? CTL_OK : CTL_FAILED;
}

static int prepare(struct ctl *c, struct err *err)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    c->quiet = ctl_bool(c, "quiet");
    c->timeout_ms = ctl_u64(c, "timeout");
    c->err_is_terminal = isatty(fileno(c->err)) != 0 && (term == NULL || strcmp(term, "dumb") != 0);
    c->color = isatty(fileno(c->out)) != 0 && !ctl_bool(c, "no-color") &&
               (no_color == NULL || no_color[0] == '\0') &&
               (term == NULL || strcmp(term, "dumb") != 0);
    return parse_format(ctl_text(c, "output"), &c->format, err);
}

enum ctl_exit ctl_run(int argc, char **argv, FILE *out, FILE *err)
{
    struct ctl c = {.out = out, .err = err};
    struct err problem = {0};
    json_set_alloc_funcs(mem_alloc, mem_free);
    int rc = command_parse(argc, argv, &c.in, &problem);
    if (rc == 0 && !c.in.help && c.in.command != NULL)
        rc = prepare(&c, &problem);
    if (rc != 0)
        return ctl_fail(&c, CTL_USAGE, "%s", problem.message);
    if (c.in.help)
        return print_help(&c, out);
    if (c.in.command == NULL) {
        (void)print_help(&c, err);
        return CTL_USAGE;
    }
    enum ctl_exit code = c.in.command->run(&c);
    client_destroy(c.client);
    if (fflush(out) != 0 && code == CTL_OK)
        code = ctl_fail(&c, CTL_FAILED, "the output could not be written");
    return code;
}

/* ctl.h: one run of the command-line tool: what was asked, where answers go, how the server is
 * reached. Data goes to `out`, everything else to `err`. One thread. */
#ifndef STEELYARD_CONTROLPLANE_CTL_CTL_H
#define STEELYARD_CONTROLPLANE_CTL_CTL_H

#include <jansson.h>

#include "controlplane/ctl/command.h"

enum ctl_format { CTL_TABLE, CTL_WIDE, CTL_JSON, CTL_JSONL, CTL_YAML, CTL_NAME, CTL_CSV };

struct client;
struct ctl {
    struct invocation in;
    FILE *out, *err;
    enum ctl_format format;
    bool color; /* Only on a terminal, without NO_COLOR and --no-color. */
    bool err_is_terminal;
    bool quiet;
    uint64_t timeout_ms;
    struct client *client; /* Made by the first call; closed by ctl_run. */
};

/* Parses, runs, and returns the exit code. */
enum ctl_exit ctl_run(int argc, char **argv, FILE *out, FILE *err);

/* "steelyard: ..." on err; returns code. */
enum ctl_exit ctl_fail(struct ctl *c, enum ctl_exit code, const char *format, ...)
    PRINTF_LIKE(3, 4);
void ctl_note(struct ctl *c, const char *format, ...) PRINTF_LIKE(2, 3); /* Not with --quiet. */

static inline const char *ctl_text(const struct ctl *c, const char *flag)
{
    return invocation_text(&c->in, flag);
}
static inline bool ctl_bool(const struct ctl *c, const char *flag)
{
    return invocation_bool(&c->in, flag);
}
static inline uint64_t ctl_u64(const struct ctl *c, const char *flag)
{
    return invocation_u64(&c->in, flag);
}
static inline const char *ctl_arg(const struct ctl *c, unsigned i)
{
    return i < c->in.arg_count ? c->in.args[i] : NULL;
}

#endif

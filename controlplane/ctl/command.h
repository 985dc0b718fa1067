/* command.h: one table of subcommands; from it come the parser, --help, docs/reference/cli.md, the
 * man page and shell completion.
 *
 * steelyard [global flags] NOUN [VERB] [ARGUMENTS] [flags]: flags may stand anywhere, as --name
 * VALUE, --name=VALUE or a letter; `--` ends them. One thread. */
#ifndef STEELYARD_CONTROLPLANE_CTL_COMMAND_H
#define STEELYARD_CONTROLPLANE_CTL_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/err.h"

/* Exit codes (INTERFACES section 9). */
enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_NOT_FOUND = 3,
    CTL_AUTH = 4,
    CTL_CONFLICT = 5,
    CTL_UNREACHABLE = 6,
    CTL_NO = 10,         /* The check says no: invalid config, replay differs. */
    CTL_BAD_CONFIG = 78, /* serve only: what is started cannot run with this configuration. */
};

enum flag_kind { FLAG_BOOL, FLAG_TEXT, FLAG_U64, FLAG_DURATION };

struct flag {
    const char *name; /* NULL ends a table. */
    char letter;      /* 0: none. */
    enum flag_kind kind;
    const char *value;  /* What --help calls the value; NULL for FLAG_BOOL. */
    const char *env;    /* Read when the flag is not given; NULL: none. */
    const char *preset; /* Default as --help shows it; NULL: none. */
    const char *help;
};

struct ctl;
struct command {
    const char *noun; /* NULL ends the table. */
    const char *verb; /* NULL: the noun alone. */
    const char *args; /* "NAME [VERSION]"; "" for none. */
    unsigned args_min, args_max;
    const char *summary;      /* One line. */
    const char *detail;       /* More for the reference; may be NULL. */
    const struct flag *flags; /* NULL: none of its own. */
    enum ctl_exit (*run)(struct ctl *c);
    bool hidden;
};
extern const struct command commands[];
extern const struct flag global_flags[];

#define INVOCATION_FLAGS_MAX 24
#define INVOCATION_ARGS_MAX  64

struct invocation {
    const struct command *command; /* NULL: none was named. */
    const char *noun;              /* As typed; NULL: none. For the help of a noun. */
    bool help;
    const char *args[INVOCATION_ARGS_MAX];
    unsigned arg_count;
    struct {
        const struct flag *flag;
        const char *text; /* "true" for a bare boolean. */
    } flags[INVOCATION_FLAGS_MAX];
    unsigned flag_count;
};

/* ERR_INVALID: the message names what is wrong and, when near, what was meant. Values are checked
 * here, so that the getters below cannot fail. Borrows argv. */
int command_parse(int argc, char **argv, struct invocation *out, struct err *err) MUST_CHECK;

/* Given on the command line, else from the environment, else the preset, else NULL / 0 / false. */
bool invocation_takes(const struct invocation *in, const char *flag); /* It is in its table. */
const char *invocation_text(const struct invocation *in, const char *flag);
bool invocation_bool(const struct invocation *in, const char *flag);
uint64_t invocation_u64(const struct invocation *in, const char *flag); /* Duration: ms. */

/* All of it (noun NULL), of one noun, or of one command. */
int command_help(const char *noun, const struct command *command, struct buf *out) MUST_CHECK;
int command_markdown(struct buf *out) MUST_CHECK; /* docs/reference/cli.md */
int command_man(struct buf *out) MUST_CHECK;      /* steelyard.1 */
/* shell: "bash", "zsh" or "fish"; ERR_INVALID for another. */
int command_completion(const char *shell, struct buf *out) MUST_CHECK;

#endif

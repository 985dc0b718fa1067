/* progress.h: how far a long operation is, on stderr: a bar that is redrawn on a terminal, a plain
 * line per tenth otherwise, nothing with --quiet. */
#ifndef STEELYARD_CONTROLPLANE_CTL_PROGRESS_H
#define STEELYARD_CONTROLPLANE_CTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct progress {
    FILE *to;
    bool bar, quiet;
    const char *what; /* Borrowed. */
    int last_tenth;
    unsigned last_permille;
    bool drawn;
};
void progress_init(struct progress *p, FILE *to, bool is_terminal, bool quiet, const char *what);
/* total 0: not known yet. note may be NULL. */
void progress_update(struct progress *p, uint64_t done, uint64_t total, const char *note);
void progress_end(struct progress *p); /* Ends the line of a bar. */

#endif

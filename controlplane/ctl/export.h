/* export.h: lists of any length to standard output, a page at a time: memory is bounded by a page,
 * and what was cut short goes on from a cursor. */
#ifndef STEELYARD_CONTROLPLANE_CTL_EXPORT_H
#define STEELYARD_CONTROLPLANE_CTL_EXPORT_H

#include "controlplane/ctl/output.h"

/* -o jsonl (also the default here) or csv. Takes --limit and --cursor of the command. The path has
 * a query already. what: "decisions", for the closing note. */
enum ctl_exit export_pages(struct ctl *c, const char *path, const struct column *columns,
                           const char *what);

#endif

/* findings.h: what is wrong with a file, one finding a line: "file:line:col: path: text". Bounded;
 * what does not fit is counted. */
#ifndef STEELYARD_CONTROLPLANE_CONFIG_FINDINGS_H
#define STEELYARD_CONTROLPLANE_CONFIG_FINDINGS_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define FINDINGS_MAX 100

struct findings {
    const char *file;
    struct buf text;
    unsigned count;
    struct err first;
};

void findings_init(struct findings *f, const char *file);
void findings_deinit(struct findings *f);
/* path: "routes.auto.models[1]", or "" for the file as a whole. */
void findings_add(struct findings *f, unsigned line, unsigned column, const char *path,
                  const char *format, ...) PRINTF_LIKE(5, 6);

#endif

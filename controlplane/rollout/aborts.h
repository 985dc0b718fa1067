/* aborts.h: aborts that people asked for and that are not yet in the database, because it is away.
 * Nodes were told at once; this keeps who asked, why and when until it can be written, over a
 * restart too (a file in the state directory). Loop thread; the file is small and rarely written.
 */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_ABORTS_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_ABORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define ABORTS_MAX          64U
#define ABORTS_ACTOR_BYTES  136U
#define ABORTS_REASON_BYTES 501U

struct abort_wish {
    int64_t id;
    int64_t ts_us;
    char actor[ABORTS_ACTOR_BYTES];
    char reason[ABORTS_REASON_BYTES];
};
struct aborts {
    char path[4096]; /* Empty: memory only. */
    struct abort_wish item[ABORTS_MAX];
    size_t count;
};

/* A wish as other control planes hear it: JSON. ERR_CORRUPT: that is none. */
int aborts_write_wish(const struct abort_wish *wish, struct buf *out) MUST_CHECK;
int aborts_read_wish(struct str text, struct abort_wish *out) MUST_CHECK;

/* Reads the file if there is one. ERR_CORRUPT: it is not one of ours. */
int aborts_load(struct aborts *a, const char *state_dir, struct err *err) MUST_CHECK;
/* The first wish for an id stays. ERR_LIMIT: too many at a time. An error of the file is returned,
 * and the wish is kept in memory all the same. */
int aborts_add(struct aborts *a, const struct abort_wish *wish, struct err *err) MUST_CHECK;
void aborts_remove(struct aborts *a, int64_t id);
bool aborts_has(const struct aborts *a, int64_t id);

#endif

/* troubled_disk.h: calls to the disk, wrapped by the linker: a process ends, or a call fails, at
 * one of them; and what gets its name must have been synced before. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_TROUBLED_DISK_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_TROUBLED_DISK_H

#include <stdbool.h>
#include <stddef.h>

enum trouble { TROUBLE_NONE, DIE_BEFORE, DIE_HALF, DIE_AFTER, TROUBLE_FAIL, TROUBLES };
extern enum trouble trouble;
extern int calls_left; /* Before it comes. */
extern bool fired;     /* It came. */

extern size_t
    dirty_count;          /* Files written, or with a name changed in them, and not synced since. */
extern bool out_of_order; /* One of those got its name. */

#endif

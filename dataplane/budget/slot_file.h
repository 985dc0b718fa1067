/* slot_file.h: the counters of one life of the node (a lease epoch), in a file that is mapped
 * shared: a store that was made survives kill -9 of the process.
 *
 *   header page | slots of 128 bytes
 *
 * The header's fixed part carries a checksum; behind it stand two words that change: how many slots
 * were ever used, and whether the life ended in order. A slot's fixed part (whose it is) carries a
 * checksum too; a slot whose checksum is wrong was never finished. In the byte order of the
 * machine: a file is read by the machine that wrote it. Space is taken from the disk before a slot
 * is used, so that a full disk is an error of slot_file_add and never a SIGBUS. */
#ifndef STEELYARD_DATAPLANE_BUDGET_SLOT_FILE_H
#define STEELYARD_DATAPLANE_BUDGET_SLOT_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/crypto/uuid.h"

#define SLOT_FILE_VERSION      1U
#define SLOT_FILE_HEADER_BYTES 65536U /* A multiple of any page size. */
#define SLOT_FILE_CHUNK        512U   /* Slots for which space is taken at once. */
#define SLOT_FILE_SLOTS_MAX    (1U << 22)

/* Of the tag: closed to new reservations; what is open may still be settled. */
#define SLOT_TAG_CLOSED UINT64_C(1)

struct budget_slot {
    /* The workers' line. */
    _Atomic int64_t free;
    _Atomic int64_t settled;
    _Atomic uint64_t tag; /* Of this process; 0: in nobody's use. Even, plus SLOT_TAG_CLOSED. */
    _Atomic int64_t low;  /* Below this the control thread is woken, once. */
    /* The control thread's stores. */
    _Atomic int64_t granted;
    _Atomic int64_t returned;
    _Atomic int64_t offline; /* Credit of the running outage. */
    _Atomic uint64_t spare;
    /* Whose it is: written before the tag, in the first use and in each re-use. */
    _Atomic uint64_t budget;
    _Atomic int64_t period_start_us;
    _Atomic int64_t period_end_us; /* May come nearer. Not in the checksum. */
    _Atomic uint64_t cfg_check;    /* cfg << 32 | checksum of budget, start, cfg, epoch */
    _Atomic uint64_t epoch;
    /* The plane's view. */
    _Atomic int64_t limit;
    _Atomic int64_t spent_others;
    _Atomic uint64_t spare2;
};
_Static_assert(sizeof(struct budget_slot) == 128, "layout of the file");

struct slot_file {
    uint8_t *map; /* NULL: no file. */
    size_t map_bytes;
    int fd;
    bool opened; /* fd is one. */
    char *path;
    uint64_t epoch;
    uint32_t slots_max;
    uint32_t space; /* Slots that have space on the disk. */
    bool exact;     /* Opened: nothing can be missing. */
};

/* Makes "<dir>/<epoch>.alloc", whole when it has its name. ERR_NO_SPACE and others of the disk. */
int slot_file_create(const char *dir, uint64_t epoch, uint32_t slots_max,
                     const struct uuid *node_id, const struct uuid *boot_id,
                     struct slot_file *out_file, struct err *err) MUST_CHECK;
/* One of an earlier life, only to be read. ERR_CORRUPT, ERR_VERSION: not usable, or another
 * node's. */
int slot_file_open(const char *path, const struct uuid *node_id, const struct uuid *boot_id,
                   struct slot_file *out_file) MUST_CHECK;
void slot_file_close(struct slot_file *f); /* The file stays. Also fine on a zeroed one. */
void slot_file_unlink(struct slot_file *f);
/* Lets go of the file, but its addresses stay readable, as zeros, for who may still look at a slot;
 * the struct is empty then. */
void slot_file_forget(struct slot_file *f);
/* The life ended in order: marks that the counters are exact whatever happens to the host. If they
 * cannot be synced there is no mark, and they are believed only until the host starts anew. */
void slot_file_end(struct slot_file *f);

uint32_t slot_file_used(const struct slot_file *f);
struct budget_slot *slot_file_at(const struct slot_file *f, uint32_t index);
uint32_t slot_file_index(const struct slot_file *f, const struct budget_slot *slot);
/* The next slot, all zeros. ERR_LIMIT, ERR_NO_SPACE, ERR_IO. */
int slot_file_add(struct slot_file *f, struct budget_slot **out_slot) MUST_CHECK;
/* Says whose it is. The counters must be zero; nobody can find it yet. */
void slot_name(struct budget_slot *slot, uint64_t epoch, uint64_t budget, int64_t start_us,
               int64_t end_us, uint32_t cfg);
bool slot_is_whole(const struct budget_slot *slot);
uint32_t slot_cfg(const struct budget_slot *slot);

/* Disk behind a table, so that tests can let calls fail. 0 or an errno. */
struct slot_file_io {
    int (*fallocate)(int fd, uint64_t offset, uint64_t len);
    int (*rename)(const char *from, const char *to);
    int (*sync)(void *map, size_t len);
};
extern struct slot_file_io slot_file_io;

#endif

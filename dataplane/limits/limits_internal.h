/* limits_internal.h: what limits.c (workers) and limits_share.c (the control thread) share. */
#ifndef STEELYARD_DATAPLANE_LIMITS_LIMITS_INTERNAL_H
#define STEELYARD_DATAPLANE_LIMITS_LIMITS_INTERNAL_H

#include "dataplane/limits/limits.h"

enum { BUCKET_KINDS = 2 };      /* LIMITS_REQUESTS, LIMITS_TOKENS */
#define LIMITS_REPORTS_SENT 16U /* Whose time of sending is remembered. */

struct limits_slot {
    _Atomic uint64_t account;    /* Written before the slot is published; 0: it never was. */
    _Atomic uint64_t generation; /* 0: given a share before its limits were known. */
    _Atomic uint64_t per_min[BUCKET_KINDS];
    _Atomic uint64_t concurrency;
    _Atomic uint32_t share[LIMITS_KINDS];
    struct bucket buckets[BUCKET_KINDS];
    /* Nothing was taken yet: the first request goes through and is owed. */
    _Atomic bool first[BUCKET_KINDS];
    /* Taken while there was no share at all; moved into the bucket with the first one. */
    _Atomic uint64_t advance[BUCKET_KINDS];
    _Atomic uint64_t asked[BUCKET_KINDS];
    _Atomic uint32_t running;
    _Atomic uint32_t peak; /* Since the last report: under way, and refused for that. */
    _Atomic uint32_t refused;
    /* The control thread's. */
    bool shared; /* Has a share of the plane. */
    uint32_t given[LIMITS_KINDS];
    uint64_t ends_ns; /* After that no more than the safe share, */
    uint64_t hold_ns; /* after that the safe share. */
    uint64_t told[BUCKET_KINDS];
    uint64_t want[BUCKET_KINDS]; /* Moving average: events a minute. */
    uint32_t want_running;
    uint64_t mark; /* Of the answer that named it. */
    uint64_t active_ns;
};

struct limits_table {
    uint32_t slots_max;
    size_t space_bytes; /* Of slots and index, mapped together. */
    uint32_t index_mask;
    _Atomic uint32_t *index; /* Slot + 1; 0: free. Nothing is ever taken out. */
    struct limits_slot *slots;
    _Atomic uint32_t used;
    _Atomic uint64_t full;
    _Atomic uint32_t safe; /* In force. */
    /* How full the bucket of an account is that was not met yet: empty when a life gets its first
     * share (the last life may have used all it had), then as the safe share lets it be. */
    struct bucket fresh;
    /* The control thread's. */
    uint32_t remembered; /* Of the last life. */
    uint32_t nodes;
    bool answered;
    uint64_t started_ns;
    uint64_t report_no;
    uint64_t report_ns;
    uint64_t sent_ns[LIMITS_REPORTS_SENT];
    uint64_t term;
    uint64_t applied;
    uint64_t mark;
    uint32_t cursor;
    bool busy;
    struct limits_stats stats;
};

static inline uint64_t slot_rate(const struct limits_slot *s, int kind)
{
    return bucket_rate(atomic_load(&s->per_min[kind]), atomic_load(&s->share[kind]));
}

/* limits.c: makes it if it is not there. NULL: no room. */
struct limits_slot *limits_slot_get(struct limits_table *t, uint64_t account,
                                    const struct limits_values *v, uint64_t generation,
                                    uint64_t now_ns);
/* limits_share.c: changes the share in force, and the buckets with it. One thread at a time but for
 * the worker that has just published the slot. */
void limits_set_share(struct limits_slot *s, int kind, uint32_t share, uint64_t now_ns);

#endif

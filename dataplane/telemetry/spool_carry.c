/* A segment can go once its records are acknowledged and nothing that is open stands in it alone.
 * Usual path: nothing is open for so long. What stays open is copied from its frames in memory to
 * the current segment when its own is carry_after segments old: once in so many segments, a part a
 * pass, and no more of it than of what came new, so that the copies of thousands of live streams
 * neither hold up the worker, whose processor this is, nor double what is written. A round looks at
 * every slot; at its end the lowest segment that still counts is the floor, below which segments
 * may go once the copies are synced.
 *
 * With half of the disk space in use segments must go as they can: then a round is one pass, and
 * carries all that is not in the current segment.
 *
 * Ways to fail: as in spool_drain.c; the round goes on with the next pass. */
#include "dataplane/telemetry/spool_internal.h"

#define LOOKS_A_PASS 512U
#define BYTES_LEAST  32768U /* A pass without anything new. */

int spool_carry_all(struct spool *s, struct buf *out)
{
    int rc = 0;
    for (uint32_t i = 0; i < s->slot_count && rc == 0; i++)
        if (s->slots[i].id != 0 && s->slots[i].frames != NULL) /* Twice is fine. */
            rc = buf_append(out, s->slots[i].frames, s->slots[i].len);
    return rc;
}

static bool is_short_of_space(const struct spool_set *set)
{
    return atomic_load_explicit(&set->bytes, memory_order_relaxed) > set->max_bytes / 2;
}

/* What comes into a segment from now on is not below `low`. */
static void begin_round(struct spool *s, uint32_t after)
{
    const uint32_t last = spool_last_number(s);
    s->round.below = last > after ? last - after : 0;
    s->round.low = last;
}

static int carry_slot(struct spool *s, struct spool_slot *slot)
{
    int rc = buf_append(&s->out, slot->frames, slot->len);
    if (rc != 0)
        return rc;
    slot->segment = spool_last_number(s);
    return s->out.len >= spool_out_limit(s->set) ? spool_flush(s) : 0;
}

/* Goes on with the round, as far as so many looks and bytes take it. */
static int go_on(struct spool *s, uint32_t looks, size_t bytes)
{
    struct spool_round *r = &s->round;
    for (; r->at < s->slot_count && looks > 0; r->at++, looks--) {
        struct spool_slot *slot = &s->slots[r->at];
        if (slot->id == 0 || !slot->framed)
            continue; /* The ring tells of it, if anything does. */
        if (slot->segment < r->below) {
            if (bytes == 0)
                return 0;
            bytes -= slot->len < bytes ? slot->len : bytes;
            int rc = carry_slot(s, slot);
            if (rc != 0)
                return rc;
        }
        if (slot->segment < r->low)
            r->low = slot->segment;
    }
    if (r->at >= s->slot_count) {
        r->floor = r->low;
        r->at = 0;
    }
    return 0;
}

int spool_carry(struct spool *s, size_t written_bytes)
{
    const bool all = is_short_of_space(s->set);
    if (s->round.at == 0) {
        if (s->round.floor == spool_last_number(s))
            return 0; /* Nothing older counts. */
        begin_round(s, all ? 0 : s->set->carry_after);
    }
    const size_t some = written_bytes > BYTES_LEAST ? written_bytes : BYTES_LEAST;
    int rc = go_on(s, all ? UINT32_MAX : LOOKS_A_PASS, all ? SIZE_MAX : some);
    return rc == 0 && s->out.len > 0 ? spool_flush(s) : rc;
}

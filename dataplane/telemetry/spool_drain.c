/* From the ring into frames. A pass takes entries until the ring is empty or enough is packed, then
 * frames the intents that are still open, writes all of it, and only then moves `taken`: what a
 * process that dies in between wrote is found in both places and told apart by its seq and intent.
 *
 *   INTENT    notes where it stands in the ring
 *   OUTCOME   packs decision and outcome together: most requests end within the pass, and only
 *             their RECORD is ever written
 *   at the end of a pass, intents that are still open are packed and kept in memory in that form;
 *   when the writer drains on its own, only those that have been open for a while: `taken` stays
 *   before the first of the others, so that the ring tells of them. With a sync all of them are.
 *
 * Ways to fail: no memory, or the disk. Both leave `taken` where it was and the frames that could
 * not be written where they are; the next pass goes on from there, and the ring fills until intents
 * are refused. */
#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "dataplane/telemetry/spool_internal.h"

#define OUT_BYTES      262144U
#define TRIM_AFTER_MS  1000U
/* Lines of the ring are asked for so far ahead: the worker's core has them, and the reading of one
 * entry would wait for each. */
#define AHEAD_BYTES    3072U
#define LINE_BYTES     64U
/* So much of the ring may wait for the end of what is open; most requests end sooner. */
#define LATELY_BYTES   262144U
/* The writer is woken for what comes in so many milliseconds: a request that arrives during a pass
 * may have to wait for its end. No more than is still in the cache when the pass reads it. */
#define WAKE_MS        5U
#define WAKE_BYTES_MAX 524288U
/* Less than that in these milliseconds: the worker sleeps between requests, and a short pass is
 * over before it wakes. */
#define CALM_BYTES     131072U

/* ---- open requests ---- */

/* Frames of a live stream stay as long as it does. They are apart from what comes and goes between
 * them, by size. NULL: they are long. */
static struct slab *slab_for(struct spool *s, uint32_t len)
{
    return len > SLAB_OBJECT_BYTES_MAX ? NULL : &s->frames[(len - 1) / SPOOL_FRAME_STEP];
}

static void frames_free(struct spool *s, const struct spool_slot *slot)
{
    if (slot->frames == NULL)
        return;
    struct slab *slab = slab_for(s, slot->len);
    if (slab != NULL)
        slab_give(slab, slot->frames);
    else
        mem_free(slot->frames);
}

static void slot_free(struct spool *s, struct spool_slot *slot)
{
    frames_free(s, slot);
    *slot = (struct spool_slot){0};
}

void spool_slots_init(struct spool *s)
{
    for (uint32_t i = 0; i < SPOOL_FRAME_CLASSES; i++)
        slab_init(&s->frames[i], (size_t)(i + 1) * SPOOL_FRAME_STEP);
}

void spool_slots_free(struct spool *s)
{
    for (uint32_t i = 0; i < s->slot_count; i++)
        frames_free(s, &s->slots[i]);
    mem_free(s->slots);
    s->slots = NULL;
    s->slot_count = 0;
    for (uint32_t i = 0; i < SPOOL_FRAME_CLASSES; i++)
        slab_trim_all(&s->frames[i]);
}

static struct spool_slot *slot_at(struct spool *s, uint32_t index)
{
    assert(index < s->open_max);
    if (index < s->slot_count)
        return &s->slots[index];
    uint32_t count = s->slot_count < 32 ? 64 : 2 * s->slot_count;
    while (count <= index)
        count *= 2;
    struct spool_slot *slots = mem_realloc(s->slots, count * sizeof(*slots));
    if (slots == NULL)
        return NULL;
    memset(slots + s->slot_count, 0, (count - s->slot_count) * sizeof(*slots));
    s->slots = slots;
    s->slot_count = count;
    return &slots[index];
}

static enum record_detail detail_now(const struct spool_set *set)
{
    uint64_t used = atomic_load_explicit(&set->bytes, memory_order_relaxed);
    return used > set->max_bytes / 10 * 9 ? RECORD_NO_FEATURES : RECORD_FULL;
}

static int slot_append(struct spool *s, struct spool_slot *slot, struct str frames)
{
    const uint32_t len = slot->len + (uint32_t)frames.len;
    struct slab *slab = slab_for(s, len);
    uint8_t *grown = slab != NULL ? slab_take(slab) : mem_alloc(len);
    if (grown == NULL)
        return ERR_NOMEM;
    if (slot->len > 0)
        memcpy(grown, slot->frames, slot->len);
    memcpy(grown + slot->len, frames.data, frames.len);
    frames_free(s, slot);
    slot->frames = grown;
    slot->len = len;
    return 0;
}

/* Packs an intent from the ring, to be kept. */
static int slot_pack(struct spool *s, struct spool_slot *slot)
{
    struct record_decision d;
    struct record_held held;
    struct record_attempt a;
    struct str payload = spool_ring_payload(spool_ring_at(&s->ring, slot->position));
    bool read =
        flat_take_decision(&payload, s->set->scratch, &d) && flat_take_attempt(&payload, &held, &a);
    assert(read); /* Written by this process. */
    enum record_detail detail = detail_now(s->set);
    size_t from = s->out.len;
    int rc = spool_pack_intent(&s->out, slot->id, &d, detail);
    if (rc == 0)
        rc = spool_pack_attempt(&s->out, slot->id, &a);
    if (rc == 0)
        rc = slot_append(s, slot, str_slice(buf_str(&s->out), from, s->out.len));
    s->out.len = from; /* They are written when the pass ends. */
    if (rc == 0)
        slot->dropped = detail == RECORD_NO_FEATURES && d.features != NULL;
    return rc;
}

/* ---- entries ---- */

static int on_intent(struct spool *s, const struct spool_ring_entry *e)
{
    struct spool_slot *slot = slot_at(s, e->slot);
    const struct spool_fresh fresh = {.position = e->position, .slot = e->slot};
    if (slot == NULL || buf_append(&s->fresh_slots, &fresh, sizeof(fresh)) != 0)
        return ERR_NOMEM;
    assert(slot->id == 0);
    *slot = (struct spool_slot){.id = e->id, .position = e->position};
    return 0;
}

static int on_attempt(struct spool *s, const struct spool_ring_entry *e)
{
    struct record_held held;
    struct record_attempt a;
    struct str payload = spool_ring_payload(e);
    struct spool_slot *slot = slot_at(s, e->slot);
    bool read = flat_take_attempt(&payload, &held, &a);
    assert(read && slot != NULL && slot->id == e->id);
    int rc = slot->frames == NULL ? slot_pack(s, slot) : 0;
    size_t from = s->out.len;
    if (rc == 0)
        rc = spool_pack_attempt(&s->out, e->id, &a);
    if (rc == 0)
        rc = slot_append(s, slot, str_slice(buf_str(&s->out), from, s->out.len));
    if (rc != 0 || !slot->framed)
        s->out.len = from; /* It goes with its intent. */
    return rc;
}

static void note_record(struct spool *s, const struct spool_ring_entry *e)
{
    if (s->out_records++ == 0)
        s->out_first_seq = e->id;
    s->drained_seq = e->id + 1;
}

/* What cannot be packed must not stop the rest: its seq becomes a gap. */
static int packed_or_gap(struct spool *s, const struct spool_ring_entry *e, int rc)
{
    if (rc == ERR_TOO_LARGE || rc == ERR_INVALID)
        rc = spool_pack_gap(&s->out, e->id);
    if (rc == 0)
        note_record(s, e);
    return rc;
}

static int on_outcome(struct spool *s, const struct spool_ring_entry *e)
{
    struct record_decision d;
    struct record_outcome o;
    struct spool_slot *slot = slot_at(s, e->slot);
    struct str payload = spool_ring_payload(e);
    bool read = flat_take_outcome(&payload, s->set->scratch, &o);
    assert(read && slot != NULL && slot->id == e->intent);
    struct spool_packing p = {.seq = e->id, .intent = e->intent, .o = &o, .dropped = slot->dropped};
    if (slot->frames != NULL) {
        p.packed = spool_frame_payload(slot->frames); /* The INTENT is the first. */
    } else {
        payload = spool_ring_payload(spool_ring_at(&s->ring, slot->position));
        read = flat_take_decision(&payload, s->set->scratch, &d);
        assert(read);
        p.d = &d;
        p.detail = detail_now(s->set);
    }
    int rc = packed_or_gap(s, e, spool_pack_record(&s->out, &p));
    if (rc == 0)
        slot_free(s, slot);
    return rc;
}

static int on_whole(struct spool *s, const struct spool_ring_entry *e)
{
    struct record_decision d;
    struct record_outcome o;
    struct str payload = spool_ring_payload(e);
    bool read = flat_take_decision(&payload, s->set->scratch, &d) &&
                flat_take_outcome(&payload, s->set->scratch, &o);
    assert(read);
    struct spool_packing p = {.seq = e->id, .d = &d, .detail = detail_now(s->set), .o = &o};
    return packed_or_gap(s, e, spool_pack_record(&s->out, &p));
}

static int on_feedback(struct spool *s, const struct spool_ring_entry *e)
{
    struct record_feedback f;
    struct str payload = spool_ring_payload(e);
    bool read = flat_take_feedback(&payload, &f);
    assert(read);
    return packed_or_gap(s, e, spool_pack_feedback(&s->out, e->id, &f));
}

static int on_entry(struct spool *s, const struct spool_ring_entry *e)
{
    switch ((enum spool_ring_type)e->type) {
    case SPOOL_RING_INTENT:
        return on_intent(s, e);
    case SPOOL_RING_ATTEMPT:
        return on_attempt(s, e);
    case SPOOL_RING_OUTCOME:
        return on_outcome(s, e);
    case SPOOL_RING_RECORD:
        return on_whole(s, e);
    case SPOOL_RING_FEEDBACK:
        return on_feedback(s, e);
    }
    assert(false);
    return 0;
}

/* ---- a pass ---- */

size_t spool_out_limit(const struct spool_set *set)
{
    return set->segment_bytes / 4 < OUT_BYTES ? (size_t)set->segment_bytes / 4 : OUT_BYTES;
}

/* The slot of a fresh intent that no frame tells of; NULL: there is nothing to tell any more. */
static struct spool_slot *slot_unframed(struct spool *s, const struct spool_fresh *fresh)
{
    struct spool_slot *slot = &s->slots[fresh->slot];
    return slot->id != 0 && !slot->framed && slot->position == fresh->position ? slot : NULL;
}

/* Puts the frames of an intent that is still open into out. */
static int frame_slot(struct spool *s, struct spool_slot *slot)
{
    int rc = slot->frames == NULL ? slot_pack(s, slot) : 0;
    if (rc == 0)
        rc = buf_append(&s->out, slot->frames, slot->len);
    if (rc == 0) {
        slot->framed = true;
        slot->segment = spool_last_number(s);
    }
    return rc;
}

/* Frames what is open from before that position. *out_kept: where the first of the others stands,
 * or the end. */
static int frame_fresh(struct spool *s, uint64_t before, uint64_t *out_kept)
{
    size_t limit = spool_out_limit(s->set), at = 0;
    int rc = 0;
    *out_kept = s->drained;
    while (at < s->fresh_slots.len) {
        struct spool_fresh fresh;
        memcpy(&fresh, s->fresh_slots.data + at, sizeof(fresh));
        struct spool_slot *slot = slot_unframed(s, &fresh);
        if (slot != NULL && fresh.position >= before) {
            *out_kept = fresh.position;
            break;
        }
        if (slot != NULL)
            rc = frame_slot(s, slot);
        if (rc == 0 && s->out.len >= limit)
            rc = spool_flush(s);
        if (rc != 0)
            break;
        at += sizeof(fresh);
    }
    buf_consume(&s->fresh_slots, at);
    return rc;
}

/* Frames what is still open and writes everything; then the ring is free up to what stays fresh. */
static int finish_pass(struct spool *s, uint64_t lately)
{
    uint64_t kept;
    int rc = frame_fresh(s, s->drained - lately, &kept);
    const size_t bytes = s->out.len;
    if (rc == 0)
        rc = spool_flush(s); /* Also with nothing to write: a lost sync or a dead disk is seen. */
    if (rc == 0)
        rc = spool_carry(s, bytes);
    if (rc != 0)
        return rc;
    atomic_store_explicit(&s->written_floor, s->round.floor, memory_order_relaxed);
    atomic_store_explicit(&s->written_seq, s->drained_seq, memory_order_relaxed);
    atomic_store_explicit(&s->written, kept, memory_order_release);
    spool_ring_take(&s->ring, kept);
    return 0;
}

static bool nothing_open(const struct spool *s)
{
    for (uint32_t i = 0; i < s->slot_count; i++)
        if (s->slots[i].id != 0)
            return false;
    return true;
}

static void trim_frames(struct spool *s, uint64_t now_ms)
{
    if (now_ms - s->trimmed_at_ms < TRIM_AFTER_MS)
        return;
    s->trimmed_at_ms = now_ms;
    for (uint32_t i = 0; i < SPOOL_FRAME_CLASSES; i++)
        slab_trim(&s->frames[i]);
}

static void trim_when_idle(struct spool *s, uint64_t now_ms)
{
    if (spool_ring_taken(&s->ring) != spool_ring_published(&s->ring) || !s->touched ||
        now_ms - s->busy_at_ms < TRIM_AFTER_MS)
        return;
    spool_ring_trim(&s->ring);
    buf_deinit(&s->out);
    if (nothing_open(s)) {
        buf_deinit(&s->fresh_slots);
        spool_slots_free(s);
        s->round.at = 0;
    }
    s->touched = false;
}

/* What may be kept back in the ring: not where its room is what is short. */
static uint64_t lately_bytes(const struct spool *s, uint64_t end)
{
    if (end - spool_ring_taken(&s->ring) > s->ring.size / 2)
        return 0;
    uint64_t some = s->ring.size / 16 < LATELY_BYTES ? s->ring.size / 16 : LATELY_BYTES;
    return some < s->drained ? some : s->drained;
}

uint64_t spool_wake_bytes(uint64_t came, uint64_t ms, uint64_t ring_size)
{
    const uint64_t most = ring_size / 4 < WAKE_BYTES_MAX ? ring_size / 4 : WAKE_BYTES_MAX;
    const uint64_t bytes = came * WAKE_MS / (ms > 0 ? ms : 1);
    return bytes < CALM_BYTES ? SPOOL_WAKE_BYTES_MIN : bytes < most ? bytes : most;
}

/* The pace is taken over what the clock can measure, whatever passes there were meanwhile. */
static void set_alarm(struct spool *s, uint64_t end, uint64_t now_ms)
{
    const uint64_t came = end - s->passed, ms = now_ms - s->passed_at_ms;
    if (ms >= WAKE_MS || came >= WAKE_BYTES_MAX) {
        s->wake_bytes = spool_wake_bytes(came, ms, s->ring.size);
        s->passed = end;
        s->passed_at_ms = now_ms;
    }
    spool_ring_wake_at(&s->ring, end + s->wake_bytes);
}

static uint64_t fetch(const struct spool *s, uint64_t from, uint64_t end)
{
    uint64_t to = s->drained + AHEAD_BYTES < end ? s->drained + AHEAD_BYTES : end;
    for (; from < to; from += LINE_BYTES)
        __builtin_prefetch(spool_ring_at(&s->ring, from));
    return from;
}

void spool_drain(struct spool *s, bool lately)
{
    uint64_t end = spool_ring_published(&s->ring);
    size_t limit = spool_out_limit(s->set);
    uint64_t fetched = s->drained;
    int rc;
    if (s->drained != end) {
        s->touched = true;
        s->busy_at_ms = clock_mono_ms();
    }
    do {
        rc = 0;
        while (rc == 0 && s->drained < end && s->out.len < limit) {
            fetched = fetch(s, fetched, end);
            const struct spool_ring_entry *e = spool_ring_at(&s->ring, s->drained);
            rc = on_entry(s, e);
            if (rc == 0)
                s->drained += e->len;
        }
        if (rc == 0 || s->out.len > 0)
            rc = finish_pass(s, lately ? lately_bytes(s, end) : 0);
    } while (rc == 0 && s->drained < end);
    const uint64_t now_ms = clock_mono_ms();
    set_alarm(s, end, now_ms); /* Also after a failure: the next pass tries again. */
    if (rc == 0) {
        trim_frames(s, now_ms);
        trim_when_idle(s, now_ms);
    }
}

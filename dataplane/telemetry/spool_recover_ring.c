/* The ring of a process that died: what it had handed over and not yet written. */
#include <string.h>

#include "common/base/mem.h"
#include "common/link/wire.h"
#include "dataplane/telemetry/spool_recover_internal.h"
#include "telemetry.pb-c.h"

typedef Steelyard__Telemetry__V1__Decision Decision;

int recovery_ring_load(struct recovery *r, int dir_fd, struct recovery_ring *out_ring)
{
    struct buf file;
    struct spool_ring_header header;
    buf_init(&file, SPOOL_RING_PAGE_BYTES + SPOOL_RING_BYTES_MAX + 1);
    buf_init(&out_ring->bytes, SPOOL_RING_BYTES_MAX);
    int rc = recovery_read(r, dir_fd, SPOOL_RING_NAME, &file);
    const char *why = NULL;
    if (rc == 0) {
        int bad = spool_ring_header_decode(buf_str(&file), &header);
        if (bad == ERR_VERSION)
            why = "unknown version";
        else if (bad != 0 || header.epoch != r->epoch->id)
            why = "not a ring of this epoch";
    }
    if (rc == 0 && why == NULL) {
        rc = spool_ring_collect(buf_str(&file), &header, &out_ring->bytes, &out_ring->scan);
        if (rc == ERR_CORRUPT) {
            why = "positions that cannot be";
            rc = 0;
        }
    }
    /* A process that dies leaves no such ring, but a host whose disk never got its first page:
     * nothing can be read from it. */
    bool unmade = rc == 0 && why != NULL && file.len >= SPOOL_RING_HEADER_BYTES &&
                  spool_get_u64(file.data) == 0 && spool_get_u64(file.data + 16) == 0;
    if (unmade || (rc == 0 && file.len < SPOOL_RING_HEADER_BYTES))
        out_ring->found = true; /* Empty: to be removed. */
    else if (why != NULL)
        (void)recovery_refuse(r, r->epoch->dir, SPOOL_RING_NAME, why);
    else
        out_ring->found = rc == 0;
    buf_deinit(&file);
    return rc == ERR_NOT_FOUND || rc == ERR_DENIED ? 0 : rc;
}

void recovery_ring_deinit(struct recovery_ring *ring)
{
    buf_deinit(&ring->bytes);
}

/* An ATTEMPT's payload is what its frame holds. */
static int add_attempt(struct recovery *r, uint64_t id, const struct record_attempt *a)
{
    struct buf frame;
    buf_init(&frame, SPOOL_FRAME_BYTES + SPOOL_PAYLOAD_MAX);
    int rc = spool_pack_attempt(&frame, id, a);
    if (rc == 0)
        rc = recovery_on_attempt(r, id, spool_frame_payload((const uint8_t *)frame.data));
    buf_deinit(&frame);
    return rc;
}

static int add_intent(struct recovery *r, uint64_t id, const struct record_decision *d,
                      const struct record_attempt *a)
{
    struct buf frame;
    buf_init(&frame, SPOOL_FRAME_BYTES + SPOOL_PAYLOAD_MAX);
    int rc = spool_pack_intent(&frame, id, d, RECORD_FULL);
    if (rc == 0)
        rc = recovery_on_intent(r, id, spool_frame_payload((const uint8_t *)frame.data));
    buf_deinit(&frame);
    return rc == 0 ? add_attempt(r, id, a) : rc;
}

int recovery_ring_intents(struct recovery *r, struct recovery_ring *ring)
{
    struct spool_ring_entry e;
    struct str payload;
    struct record_decision d;
    struct record_held held;
    struct record_attempt a;
    spool_ring_rewind(&ring->scan);
    while (spool_ring_next(&ring->scan, &e, &payload) != NULL) {
        if (e.type != SPOOL_RING_INTENT || !flat_take_decision(&payload, r->set->scratch, &d) ||
            !flat_take_attempt(&payload, &held, &a))
            continue;
        int rc = add_intent(r, e.id, &d, &a);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static bool features_dropped(const struct recovery_intent *o)
{
    ProtobufCMessage *m = NULL;
    if (wire_unpack(&steelyard__telemetry__v1__decision__descriptor, buf_str(&o->decision), &m) !=
        0)
        return false;
    bool dropped = (((const Decision *)m)->flags & RECORD_FLAG_FEATURES_DROPPED) != 0;
    wire_free(m);
    return dropped;
}

/* A record that no segment holds. One that cannot be read leaves a hole in the seqs, which shows as
 * a gap. */
static int add_record(struct recovery *r, const struct spool_ring_entry *e, struct str payload)
{
    struct spool_packing p = {.seq = e->id, .intent = e->intent};
    struct record_decision d;
    struct record_outcome o;
    struct record_feedback f;
    struct recovery_intent *open = e->intent != 0 ? recovery_find(r, e->intent) : NULL;
    int rc = ERR_CORRUPT;
    if (e->type == SPOOL_RING_FEEDBACK && flat_take_feedback(&payload, &f)) {
        rc = spool_pack_feedback(&r->records, e->id, &f);
    } else if (e->type == SPOOL_RING_RECORD && flat_take_decision(&payload, r->set->scratch, &d) &&
               flat_take_outcome(&payload, r->set->scratch, &o)) {
        p.d = &d;
        p.o = &o;
        rc = spool_pack_record(&r->records, &p);
    } else if (e->type == SPOOL_RING_OUTCOME && open != NULL &&
               flat_take_outcome(&payload, r->set->scratch, &o)) {
        p.packed = buf_str(&open->decision);
        p.dropped = features_dropped(open);
        p.o = &o;
        rc = spool_pack_record(&r->records, &p);
    }
    if (rc == ERR_CORRUPT || rc == ERR_INVALID || rc == ERR_TOO_LARGE) {
        r->stats->quarantined++;
        return 0;
    }
    if (rc != 0)
        return rc;
    if (open != NULL)
        recovery_close(r, open);
    r->next_seq = e->id + 1;
    r->record_count++;
    r->stats->records++;
    r->stats->replayed++;
    return 0;
}

/* Its record was acknowledged, and the segment with it is gone. */
static void close_shipped(struct recovery *r, uint64_t intent)
{
    struct recovery_intent *open = intent != 0 ? recovery_find(r, intent) : NULL;
    if (open != NULL)
        recovery_close(r, open);
}

int recovery_ring_rest(struct recovery *r, struct recovery_ring *ring)
{
    struct spool_ring_entry e;
    struct str payload;
    struct record_decision d;
    struct record_held held;
    struct record_attempt a;
    int rc = 0;
    spool_ring_rewind(&ring->scan);
    while (rc == 0 && spool_ring_next(&ring->scan, &e, &payload) != NULL) {
        switch ((enum spool_ring_type)e.type) {
        case SPOOL_RING_INTENT:
            /* Its frame may stand in a segment whose end, with the attempt's, is torn. */
            if (flat_take_decision(&payload, r->set->scratch, &d) &&
                flat_take_attempt(&payload, &held, &a))
                rc = add_attempt(r, e.id, &a);
            break;
        case SPOOL_RING_ATTEMPT:
            if (flat_take_attempt(&payload, &held, &a))
                rc = add_attempt(r, e.id, &a);
            break;
        case SPOOL_RING_OUTCOME:
        case SPOOL_RING_RECORD:
        case SPOOL_RING_FEEDBACK:
            if (e.id >= r->next_seq)
                rc = add_record(r, &e, payload);
            else if (e.id < r->first_seq)
                close_shipped(r, e.intent);
            break;
        }
    }
    r->stats->quarantined += ring->scan.quarantined;
    return rc;
}

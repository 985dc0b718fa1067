/* The worker's side: what it is given is laid flat into the ring and published.
 *
 * Ways to fail: the gate says that the disk is full or gone; the ring has no room beside what is
 * kept for outcomes and for later attempts; too many requests are open. All of them refuse before
 * anything is written. An outcome has its room since its intent, so it cannot fail. */
#include "dataplane/telemetry/spool.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "dataplane/telemetry/spool_internal.h"

#define OUTCOME_BOUND (SPOOL_RING_ENTRY_BYTES + FLAT_OUTCOME_MAX + 16U)

/* ---- what may be handed over ---- */

/* What only a later attempt of an open request may take: who runs already is not to fail because
 * others came while the writer was away. */
static inline uint64_t kept_for_attempts(const struct spool *s)
{
    return s->ring.size / SPOOL_ATTEMPTS_PART;
}

static int refuse(struct spool *s, int rc)
{
    atomic_store_explicit(&s->refused, atomic_load_explicit(&s->refused, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    return rc;
}

static int admit(struct spool *s, uint64_t want)
{
    int gate = atomic_load_explicit(&s->gate, memory_order_relaxed);
    if (gate != SPOOL_OPEN)
        return refuse(s, gate == SPOOL_BROKEN ? ERR_IO : ERR_NO_SPACE);
    if (!spool_ring_fits(&s->ring, want)) {
        spool_bell_ring(&s->set->drain_bell);
        return refuse(s, ERR_NO_SPACE);
    }
    return 0;
}

/* The same for whoever does not run yet. */
static int admit_new(struct spool *s, uint64_t want)
{
    return admit(s, want + kept_for_attempts(s));
}

bool spool_is_behind(struct spool *s)
{
    const uint64_t want =
        SPOOL_RING_INTENT_MAX + OUTCOME_BOUND + FLAT_ATTEMPT_MAX + kept_for_attempts(s);
    if (atomic_load_explicit(&s->gate, memory_order_relaxed) != SPOOL_OPEN ||
        spool_ring_fits(&s->ring, want) || s->ring.size < s->ring.reserved + want)
        return false;
    spool_bell_ring(&s->set->drain_bell);
    return true;
}

static bool decision_valid(const struct record_decision *d)
{
    uint32_t count = d->decision != NULL ? d->decision->count : 0;
    return d->tag_count <= RECORD_TAGS_MAX && d->account_count <= RECORD_ACCOUNTS_MAX &&
           count <= POLICY_CANDIDATES_MAX;
}

static void publish(struct spool *s, struct spool_ring_entry *e, uint8_t *end,
                    spool_position *out_position)
{
    if (spool_ring_commit(&s->ring, e, end))
        spool_bell_ring(&s->set->drain_bell);
    if (out_position != NULL)
        *out_position = s->ring.head;
}

static inline uint8_t *payload_of(struct spool_ring_entry *e)
{
    return (uint8_t *)(e + 1);
}

static uint64_t seq_take(struct spool *s)
{
    uint64_t seq = atomic_load_explicit(&s->next_seq, memory_order_relaxed);
    atomic_store_explicit(&s->next_seq, seq + 1, memory_order_relaxed);
    return seq;
}

/* ---- open requests ---- */

static struct spool_intent *intent_take(struct spool *s)
{
    struct spool_intent *intent;
    if (s->free_intent != 0) {
        intent = &s->intents[s->free_intent - 1];
        s->free_intent = intent->id;
    } else if (s->fresh < s->open_max) {
        intent = &s->intents[s->fresh++];
    } else {
        return NULL;
    }
    intent->id = s->next_intent++;
    uint32_t open = atomic_load_explicit(&s->open_count, memory_order_relaxed);
    atomic_store_explicit(&s->open_count, open + 1, memory_order_relaxed);
    return intent;
}

static void intent_release(struct spool *s, struct spool_intent *intent)
{
    intent->id = s->free_intent;
    s->free_intent = (uint64_t)(intent - s->intents) + 1;
    uint32_t open = atomic_load_explicit(&s->open_count, memory_order_relaxed);
    atomic_store_explicit(&s->open_count, open - 1, memory_order_relaxed);
}

static inline uint32_t slot_of(const struct spool *s, const struct spool_intent *intent)
{
    return (uint32_t)(intent - s->intents);
}

/* ---- the calls ---- */

int spool_intent(struct spool *s, const struct record_decision *d,
                 const struct record_attempt *attempt, struct spool_intent **out_intent,
                 spool_position *out_position)
{
    uint32_t reserve = OUTCOME_BOUND + flat_attempt_bound(attempt);
    if (!decision_valid(d))
        return ERR_INVALID;
    int rc = admit_new(s, SPOOL_RING_INTENT_MAX + reserve);
    if (rc != 0)
        return rc;
    struct spool_intent *intent = intent_take(s);
    if (intent == NULL)
        return refuse(s, ERR_LIMIT);
    intent->reserved = reserve;
    s->ring.reserved += reserve;
    struct spool_ring_entry *e = spool_ring_begin(&s->ring);
    e->type = SPOOL_RING_INTENT;
    e->id = intent->id;
    e->intent = 0;
    e->slot = slot_of(s, intent);
    publish(s, e, flat_put_attempt(flat_put_decision(payload_of(e), d), attempt), out_position);
    *out_intent = intent;
    return 0;
}

int spool_attempt(struct spool *s, struct spool_intent *intent,
                  const struct record_attempt *attempt, spool_position *out_position)
{
    uint32_t reserve = flat_attempt_bound(attempt);
    int rc = admit(s, SPOOL_RING_ENTRY_BYTES + FLAT_ATTEMPT_MAX + 16U + reserve);
    if (rc != 0)
        return rc;
    intent->reserved += reserve;
    s->ring.reserved += reserve;
    struct spool_ring_entry *e = spool_ring_begin(&s->ring);
    e->type = SPOOL_RING_ATTEMPT;
    e->id = intent->id;
    e->intent = 0;
    e->slot = slot_of(s, intent);
    publish(s, e, flat_put_attempt(payload_of(e), attempt), out_position);
    return 0;
}

/* How many of the attempts fit: all, unless more came than were announced and the ring is full. */
static uint32_t attempts_that_fit(struct spool *s, const struct spool_intent *intent,
                                  const struct record_outcome *o)
{
    uint32_t count =
        o->attempt_count < RECORD_ATTEMPTS_MAX ? o->attempt_count : RECORD_ATTEMPTS_MAX;
    uint64_t need = OUTCOME_BOUND;
    for (uint32_t i = 0; i < count; i++) {
        need += flat_attempt_bound(&o->attempts[i]);
        if (need > intent->reserved && !spool_ring_fits(&s->ring, need - intent->reserved))
            return i;
    }
    return count;
}

void spool_outcome(struct spool *s, struct spool_intent *intent, const struct record_outcome *o,
                   spool_position *out_position)
{
    struct record_outcome cut;
    uint32_t count = attempts_that_fit(s, intent, o);
    if (count != o->attempt_count) {
        cut = *o;
        cut.attempt_count = count;
        o = &cut;
    }
    s->ring.reserved -= intent->reserved;
    struct spool_ring_entry *e = spool_ring_begin(&s->ring);
    e->type = SPOOL_RING_OUTCOME;
    e->id = seq_take(s);
    e->intent = intent->id;
    e->slot = slot_of(s, intent);
    intent_release(s, intent);
    publish(s, e, flat_put_outcome(payload_of(e), o), out_position);
}

int spool_record(struct spool *s, const struct record_decision *d, const struct record_outcome *o,
                 spool_position *out_position)
{
    if (!decision_valid(d) || o->attempt_count > RECORD_ATTEMPTS_MAX)
        return ERR_INVALID;
    int rc = admit_new(s, SPOOL_RING_RECORD_MAX);
    if (rc != 0)
        return rc;
    struct spool_ring_entry *e = spool_ring_begin(&s->ring);
    e->type = SPOOL_RING_RECORD;
    e->id = seq_take(s);
    e->intent = 0;
    e->slot = 0;
    publish(s, e, flat_put_outcome(flat_put_decision(payload_of(e), d), o), out_position);
    return 0;
}

int spool_feedback(struct spool *s, const struct record_feedback *f, spool_position *out_position)
{
    int rc = admit_new(s, SPOOL_RING_ENTRY_BYTES + FLAT_FEEDBACK_MAX + 16U);
    if (rc != 0)
        return rc;
    struct spool_ring_entry *e = spool_ring_begin(&s->ring);
    e->type = SPOOL_RING_FEEDBACK;
    e->id = seq_take(s);
    e->intent = 0;
    e->slot = 0;
    publish(s, e, flat_put_feedback(payload_of(e), f), out_position);
    return 0;
}

bool spool_ready(const struct spool *s)
{
    return atomic_load_explicit(&s->gate, memory_order_relaxed) != SPOOL_BROKEN;
}

uint64_t spool_epoch(const struct spool *s)
{
    return s->epoch->id;
}

spool_position spool_synced(const struct spool *s)
{
    return atomic_load(&s->synced);
}

void spool_request_sync(struct spool *s)
{
    spool_bell_ring(&s->set->sync_bell);
}

/* ---- life ---- */

static int init_memory(struct spool *s)
{
    struct spool_set *set = s->set;
    /* No more than the ring has room for at their end. */
    uint64_t fit =
        set->ring_bytes / 4 * 3 / (OUTCOME_BOUND + 80U + FLAT_HELD_MAX + 8U + FLAT_TEXT_MAX);
    s->open_max = set->open_max < fit ? set->open_max : (uint32_t)fit;
    spool_slots_init(s);
    s->intents = mem_calloc(s->open_max, sizeof(*s->intents));
    buf_init(&s->out, SPOOL_FILE_BYTES_MAX);
    buf_init(&s->fresh_slots,
             sizeof(struct spool_fresh) * (size_t)SPOOL_RING_BYTES_MAX / SPOOL_RING_ENTRY_BYTES);
    return s->intents != NULL ? 0 : ERR_NOMEM;
}

int spool_init(struct spool *s, struct spool_set *set, uint64_t epoch, struct err *err)
{
    s->set = set;
    s->next_number = 1;
    s->next_seq = 1;
    s->drained_seq = 1;
    s->next_intent = 1;
    s->epoch = spool_epoch_create(set, epoch);
    if (s->epoch == NULL)
        return err_set(err, ERR_NOMEM, "out of memory, or cannot make a spool directory in '%s'",
                       set->dir);
    s->epoch->live = true;
    pthread_mutex_lock(&set->lock);
    list_push_back(&set->epochs, &s->epoch->link);
    pthread_mutex_unlock(&set->lock);
    if (init_memory(s) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    int rc = spool_ring_create(s->epoch->dir, set->ring_bytes, epoch, &set->node_id, &set->boot_id,
                               &s->ring);
    if (rc != 0)
        return err_set(err, rc, "cannot make the spool's ring of %llu bytes in '%s': %s",
                       (unsigned long long)set->ring_bytes, s->epoch->dir, err_text(rc));
    s->wake_bytes = SPOOL_WAKE_BYTES_MIN;
    spool_ring_wake_at(&s->ring, s->wake_bytes);
    rc = spool_segment_first(s);
    if (rc != 0)
        return err_set(err, rc, "cannot write a spool segment in '%s': %s", s->epoch->dir,
                       err_text(rc));
    return 0;
}

/* A ring that was drained is needed no more; one that was not is for the next start. */
static void ring_remove(struct spool *s)
{
    if (s->ring.data == NULL)
        return;
    bool empty = spool_ring_taken(&s->ring) == spool_ring_published(&s->ring);
    char *path = empty ? spool_path_join(s->epoch->dir, SPOOL_RING_NAME) : NULL;
    if (path != NULL)
        (void)spool_io.unlink(path);
    mem_free(path);
    spool_ring_unmap(&s->ring);
}

void spool_deinit(struct spool *s)
{
    if (s->epoch == NULL)
        return;
    if (s->ring.data != NULL) {
        s->retry_at_ms = 0; /* A last try, also when broken. */
        spool_drain(s, false);
    }
    ring_remove(s);
    spool_segment_seal(s);
    spool_slots_free(s);
    buf_deinit(&s->out);
    buf_deinit(&s->fresh_slots);
    mem_free(s->intents);
}

/* The worker's side. Usual path: encode into the spool's scratch, seal the frame, one write(2),
 * note the new end. A frame that would exceed the segment's size opens the next segment first,
 * which begins with a copy of every open intent: so a segment whose records are acknowledged can
 * always go.
 *
 * Ways to fail: write(2) fails or is short -> the segment is given up at its last good frame and
 * the frame goes to a new one. fdatasync fails (seen by the sync thread) -> everything since the
 * last good sync is read back from the page cache and written to a new segment. No new segment can
 * be made -> broken: intents are refused, outcomes wait in memory, and once a second a segment is
 * tried again. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "dataplane/telemetry/spool_internal.h"

#define RETRY_MS 1000U

static spool_position position_of(const struct spool_segment *segment, uint64_t offset)
{
    return (uint64_t)segment->number << 32 | offset;
}

/* ---- segments ---- */

static void seal_current(struct spool *s)
{
    if (s->current == NULL)
        return;
    pthread_mutex_lock(&s->set->lock);
    s->current->sealed = true; /* The sync thread syncs it a last time and closes it. */
    pthread_mutex_unlock(&s->set->lock);
    s->current = NULL;
}

/* Appends to a segment under construction, keeping the set's byte count. */
static int segment_append(struct spool *s, struct spool_segment *segment, const void *data,
                          size_t len)
{
    int rc = spool_write_all(segment->fd, data, len);
    if (rc != 0)
        return rc;
    atomic_fetch_add_explicit(&segment->written, len, memory_order_release);
    atomic_fetch_add_explicit(&s->set->bytes, len, memory_order_relaxed);
    return 0;
}

/* Frames of [synced, written) of a segment whose sync failed: only its RECORDs are still needed,
 * open intents are in memory. */
static int read_unsynced(struct spool_segment *segment, struct buf *out)
{
    uint64_t from = atomic_load(&segment->synced);
    uint64_t to = atomic_load(&segment->written);
    if (from < SPOOL_HEADER_BYTES)
        from = SPOOL_HEADER_BYTES;
    if (to <= from)
        return 0;
    char *path = spool_segment_path(segment);
    if (path == NULL)
        return ERR_NOMEM;
    struct buf raw;
    buf_init(&raw, to - from);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    mem_free(path);
    int rc = fd < 0 ? err_from_errno(errno) : buf_reserve(&raw, to - from);
    while (rc == 0 && raw.len < to - from) {
        ssize_t n = pread(fd, raw.data + raw.len, to - from - raw.len, (off_t)(from + raw.len));
        if (n <= 0)
            rc = ERR_IO;
        else
            raw.len += (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    struct spool_scan scan;
    struct spool_frame frame;
    spool_scan_init(&scan, buf_str(&raw));
    while (rc == 0 && spool_scan_next(&scan, &frame) == SPOOL_SCAN_FRAME)
        if (frame.type == SPOOL_RECORD)
            rc = buf_append_str(out, frame.whole);
    buf_deinit(&raw);
    return rc;
}

static int collect_unsynced(struct spool *s, struct buf *out)
{
    /* Only this thread adds segments and only segments with a closed descriptor are freed, so the
     * walk is safe as long as those are skipped. */
    int rc = 0;
    pthread_mutex_lock(&s->set->lock);
    LIST_FOREACH (it, &s->epoch->segments) {
        struct spool_segment *segment = container_of(it, struct spool_segment, link);
        if (segment->fd < 0 || segment->rescued)
            continue;
        rc = read_unsynced(segment, out);
        if (rc != 0)
            break;
    }
    pthread_mutex_unlock(&s->set->lock);
    return rc;
}

static void mark_rescued(struct spool *s)
{
    pthread_mutex_lock(&s->set->lock);
    LIST_FOREACH (it, &s->epoch->segments) {
        struct spool_segment *segment = container_of(it, struct spool_segment, link);
        if (segment->fd >= 0) {
            segment->rescued = true;
            segment->sealed = true;
        }
    }
    pthread_mutex_unlock(&s->set->lock);
    s->current = NULL;
}

static int write_open_intents(struct spool *s, struct spool_segment *segment)
{
    int rc = 0;
    LIST_FOREACH (it, &s->open) {
        struct spool_intent *intent = container_of(it, struct spool_intent, link);
        rc = segment_append(s, segment, intent->bytes, intent->len);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int write_pending(struct spool *s, struct spool_segment *segment)
{
    uint64_t seq = s->next_seq;
    LIST_FOREACH (it, &s->pending) {
        struct spool_intent *intent = container_of(it, struct spool_intent, link);
        spool_frame_seal(intent->bytes, SPOOL_RECORD, seq, intent->len - SPOOL_FRAME_BYTES);
        int rc = segment_append(s, segment, intent->bytes, intent->len);
        if (rc != 0)
            return rc;
        seq++;
    }
    return 0;
}

static void intent_release(struct spool *s, struct spool_intent *intent)
{
    list_remove(&intent->link);
    freelist_put(&s->free, intent);
    s->open_count--;
    atomic_fetch_sub_explicit(&s->set->open_total, 1, memory_order_relaxed);
}

static void pending_done(struct spool *s)
{
    for (struct list *it; (it = list_pop_front(&s->pending)) != NULL;) {
        intent_release(s, container_of(it, struct spool_intent, link));
        s->next_seq++;
        atomic_fetch_add_explicit(&s->set->records, 1, memory_order_relaxed);
    }
}

/* Opens the next segment with everything in it that must not depend on older ones. */
static int next_segment(struct spool *s)
{
    struct spool_set *set = s->set;
    bool rescue = atomic_exchange(&s->sync_failed, false);
    struct buf unsynced;
    buf_init(&unsynced, SPOOL_FILE_BYTES_MAX);
    struct spool_segment *segment = NULL;
    uint64_t first_seq = s->next_seq;
    int rc = rescue ? collect_unsynced(s, &unsynced) : 0;
    if (rc == 0 && unsynced.len > 0)
        first_seq = spool_get_u64(unsynced.data + 12); /* Id of the first frame. */
    if (rc == 0)
        rc = spool_segment_create(set, s->epoch, s->next_number, first_seq, &segment);
    if (rc == 0) {
        s->next_number++;
        atomic_fetch_add(&set->bytes, SPOOL_HEADER_BYTES);
        rc = write_open_intents(s, segment);
    }
    if (rc == 0 && unsynced.len > 0)
        rc = segment_append(s, segment, unsynced.data, unsynced.len);
    if (rc == 0)
        rc = write_pending(s, segment);
    buf_deinit(&unsynced);
    if (rc != 0) {
        if (rescue)
            atomic_store(&s->sync_failed, true);
        if (segment != NULL) {
            char *path = spool_segment_path(segment);
            if (path != NULL)
                (void)spool_io.unlink(path);
            mem_free(path);
            close(segment->fd);
            atomic_fetch_sub(&set->bytes, atomic_load(&segment->written));
            spool_segment_free(segment);
        }
        return rc;
    }
    segment->carry_end = atomic_load(&segment->written);
    if (rescue)
        mark_rescued(s);
    else
        seal_current(s);
    pending_done(s);
    pthread_mutex_lock(&set->lock);
    list_push_back(&s->epoch->segments, &segment->link);
    pthread_mutex_unlock(&set->lock);
    s->current = segment;
    return 0;
}

static int become_broken(struct spool *s, int rc)
{
    seal_current(s);
    s->retry_at_ms = clock_mono_ms() + RETRY_MS;
    atomic_store(&s->broken, true);
    return rc == ERR_NO_SPACE || rc == ERR_NOMEM ? rc : ERR_IO;
}

/* A segment to write to, or an error. */
static int ensure_segment(struct spool *s, size_t len)
{
    if (s->current == NULL && clock_mono_ms() < s->retry_at_ms)
        return ERR_IO;
    bool fits = s->current != NULL &&
                atomic_load_explicit(&s->current->written, memory_order_relaxed) + len <=
                    s->set->segment_bytes + s->current->carry_end;
    if (fits && !atomic_load_explicit(&s->sync_failed, memory_order_relaxed))
        return 0;
    int rc = next_segment(s);
    if (rc != 0)
        return become_broken(s, rc);
    atomic_store(&s->broken, false);
    return 0;
}

/* Writes one sealed frame, to a new segment if this one refuses. */
static int append_frame(struct spool *s, const uint8_t *frame, size_t len,
                        spool_position *out_position)
{
    int rc = ensure_segment(s, len);
    if (rc != 0)
        return rc;
    rc = segment_append(s, s->current, frame, len);
    if (rc != 0) {
        /* Never again on that file. What stands after `written` is a torn tail; cut it if the disk
         * still can, recovery cuts it otherwise. */
        if (ftruncate(s->current->fd, (off_t)atomic_load(&s->current->written)) != 0)
            errno = 0;
        rc = next_segment(s);
        if (rc == 0)
            rc = segment_append(s, s->current, frame, len);
        if (rc != 0)
            return become_broken(s, rc);
    }
    if (out_position != NULL)
        *out_position = position_of(s->current, atomic_load(&s->current->written));
    return 0;
}

/* ---- admission ---- */

static enum record_detail detail_now(const struct spool_set *set)
{
    uint64_t used = atomic_load_explicit(&set->bytes, memory_order_relaxed);
    return used > set->max_bytes / 10 * 9 ? RECORD_NO_FEATURES : RECORD_FULL;
}

static bool has_space(const struct spool_set *set)
{
    uint64_t open = atomic_load_explicit(&set->open_total, memory_order_relaxed) + 1;
    uint64_t used = atomic_load_explicit(&set->bytes, memory_order_relaxed);
    uint64_t limit = set->audit_strict ? set->max_bytes : set->max_bytes + SPOOL_HARD_EXTRA;
    return used + open * SPOOL_OUTCOME_SPACE <= limit;
}

static struct spool_intent *intent_take(struct spool *s)
{
    struct spool_intent *intent = freelist_take(&s->free);
    if (intent != NULL) {
        /* The free list used its first word. */
        list_init(&intent->link);
        intent->len = 0;
        intent->pending = false;
        return intent;
    }
    intent = mem_zalloc(sizeof(*intent));
    if (intent != NULL)
        list_init(&intent->link);
    return intent;
}

static int intent_append(struct spool_intent *intent, const uint8_t *frame, size_t len)
{
    if (intent->cap - intent->len < len) {
        size_t cap = (intent->len + len + 1023) / 1024 * 1024;
        uint8_t *bytes = mem_realloc(intent->bytes, cap);
        if (bytes == NULL)
            return ERR_NOMEM;
        intent->bytes = bytes;
        intent->cap = cap;
    }
    memcpy(intent->bytes + intent->len, frame, len);
    intent->len += len;
    return 0;
}

/* ---- the calls ---- */

int spool_intent(struct spool *s, const struct record_decision *d, struct spool_intent **out_intent,
                 spool_position *out_position)
{
    if (!has_space(s->set))
        return ERR_NO_SPACE;
    if (s->open_count >= s->set->open_max)
        return ERR_LIMIT;
    uint8_t *frame = s->scratch + SPOOL_HEADROOM - SPOOL_FRAME_BYTES;
    size_t len;
    /* Features are only in the outcome: a crashed request is no training data. */
    int rc = record_encode_decision(d, RECORD_NO_FEATURES, s->scratch + SPOOL_HEADROOM,
                                    RECORD_BYTES_MAX, &len);
    if (rc != 0)
        return rc;
    struct spool_intent *intent = intent_take(s);
    if (intent == NULL)
        return ERR_NOMEM;
    intent->id = s->next_intent;
    spool_frame_seal(frame, SPOOL_INTENT, intent->id, len);
    rc = intent_append(intent, frame, SPOOL_FRAME_BYTES + len);
    if (rc == 0)
        rc = append_frame(s, frame, SPOOL_FRAME_BYTES + len, out_position);
    if (rc != 0) {
        freelist_put(&s->free, intent);
        return rc;
    }
    s->next_intent++;
    s->open_count++;
    atomic_fetch_add_explicit(&s->set->open_total, 1, memory_order_relaxed);
    list_push_back(&s->open, &intent->link);
    *out_intent = intent;
    return 0;
}

int spool_attempt(struct spool *s, struct spool_intent *intent,
                  const struct record_attempt *attempt, spool_position *out_position)
{
    uint8_t *payload = s->scratch + SPOOL_HEADROOM;
    uint8_t *frame = payload - SPOOL_FRAME_BYTES;
    size_t server_len =
        attempt->server.len < RECORD_TEXT_BYTES_MAX ? attempt->server.len : RECORD_TEXT_BYTES_MAX;
    payload[0] = (uint8_t)server_len;
    payload[1] = (uint8_t)(server_len >> 8);
    if (server_len > 0)
        memcpy(payload + 2, attempt->server.data, server_len);
    size_t len;
    int rc = record_encode_attempt(attempt, payload + 2 + server_len,
                                   RECORD_BYTES_MAX - 2 - server_len, &len);
    if (rc != 0)
        return rc;
    len += 2 + server_len;
    spool_frame_seal(frame, SPOOL_ATTEMPT, intent->id, len);
    /* In memory first: a new segment opened for this frame then holds it already, twice is fine. */
    size_t before = intent->len;
    rc = intent_append(intent, frame, SPOOL_FRAME_BYTES + len);
    if (rc == 0)
        rc = append_frame(s, frame, SPOOL_FRAME_BYTES + len, out_position);
    if (rc != 0)
        intent->len = before;
    return rc;
}

/* Encodes a Record whose only field is `field` around what `len` bytes at scratch + HEADROOM are,
 * and gives the start of its frame (unsealed) and the payload's length. */
static uint8_t *wrap_record(struct spool *s, uint8_t field, uint64_t intent, size_t len,
                            size_t *out_payload_len)
{
    uint8_t head[6] = {(uint8_t)(field << 3 | 2)};
    size_t head_len = 1;
    size_t v = len;
    for (; v >= 0x80; v >>= 7)
        head[head_len++] = (uint8_t)(v | 0x80);
    head[head_len++] = (uint8_t)v;
    uint8_t *body = s->scratch + SPOOL_HEADROOM;
    memcpy(body - head_len, head, head_len);
    uint8_t *payload = body - head_len - SPOOL_RECORD_PREFIX_BYTES;
    spool_put_u64(payload, intent);
    *out_payload_len = SPOOL_RECORD_PREFIX_BYTES + head_len + len;
    return payload - SPOOL_FRAME_BYTES;
}

static int append_record(struct spool *s, uint8_t *frame, size_t payload_len,
                         spool_position *out_position)
{
    /* Opening a segment may write pending outcomes, which take seqs: first the segment. */
    int rc = ensure_segment(s, SPOOL_FRAME_BYTES + payload_len);
    if (rc != 0)
        return rc;
    spool_frame_seal(frame, SPOOL_RECORD, s->next_seq, payload_len);
    rc = append_frame(s, frame, SPOOL_FRAME_BYTES + payload_len, out_position);
    if (rc != 0)
        return rc;
    s->next_seq++;
    atomic_fetch_add_explicit(&s->set->records, 1, memory_order_relaxed);
    return 0;
}

/* Keeps an outcome that cannot be written in the memory of its intent. */
static void keep_pending(struct spool *s, struct spool_intent *intent, const uint8_t *frame,
                         size_t len)
{
    list_remove(&intent->link);
    size_t intent_len = intent->len;
    intent->len = 0;
    if (intent_append(intent, frame, len) != 0) {
        /* Without memory the intent stays what it is: recovery will make it NODE_CRASH. */
        intent->len = intent_len;
        list_push_back(&s->open, &intent->link);
        return;
    }
    intent->pending = true;
    list_push_back(&s->pending, &intent->link);
}

int spool_outcome(struct spool *s, struct spool_intent *intent, const struct record_decision *d,
                  spool_position *out_position)
{
    if (intent == NULL && !has_space(s->set))
        return ERR_NO_SPACE;
    uint8_t *body = s->scratch + SPOOL_HEADROOM;
    size_t len;
    int rc = record_encode_decision(d, detail_now(s->set), body, RECORD_BYTES_MAX, &len);
    if (rc == ERR_TOO_LARGE)
        rc = record_encode_decision(d, RECORD_NO_FEATURES, body, RECORD_BYTES_MAX, &len);
    if (rc != 0)
        return rc;
    size_t payload_len;
    uint8_t *frame = wrap_record(s, 1, intent != NULL ? intent->id : 0, len, &payload_len);
    rc = append_record(s, frame, payload_len, out_position);
    if (intent != NULL && rc == 0)
        intent_release(s, intent);
    else if (intent != NULL)
        keep_pending(s, intent, frame, SPOOL_FRAME_BYTES + payload_len);
    else if (rc != 0)
        atomic_fetch_add_explicit(&s->set->lost, 1, memory_order_relaxed);
    return rc;
}

int spool_feedback(struct spool *s, const struct record_feedback *f, spool_position *out_position)
{
    if (!has_space(s->set))
        return ERR_NO_SPACE;
    size_t len;
    int rc = record_encode_feedback(f, s->scratch + SPOOL_HEADROOM, RECORD_BYTES_MAX, &len);
    if (rc != 0)
        return rc;
    size_t payload_len;
    uint8_t *frame = wrap_record(s, 2, 0, len, &payload_len);
    return append_record(s, frame, payload_len, out_position);
}

bool spool_ready(struct spool *s)
{
    return ensure_segment(s, 0) == 0;
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
    pthread_mutex_lock(&s->set->lock);
    s->set->sync_now = true;
    pthread_cond_signal(&s->set->wake);
    pthread_mutex_unlock(&s->set->lock);
}

/* ---- life ---- */

int spool_init(struct spool *s, struct spool_set *set, uint64_t epoch, struct err *err)
{
    s->set = set;
    s->next_number = 1;
    s->next_seq = 1;
    s->next_intent = 1;
    list_init(&s->open);
    list_init(&s->pending);
    s->scratch = mem_alloc(SPOOL_SCRATCH_BYTES);
    s->epoch = spool_epoch_create(set, epoch);
    if (s->scratch == NULL || s->epoch == NULL) {
        mem_free(s->scratch);
        spool_epoch_free(s->epoch);
        s->epoch = NULL; /* Nothing for spool_deinit to do. */
        return err_set(err, ERR_NOMEM, "out of memory, or cannot make a spool directory in '%s'",
                       set->dir);
    }
    s->epoch->live = true;
    pthread_mutex_lock(&set->lock);
    list_push_back(&set->epochs, &s->epoch->link);
    pthread_mutex_unlock(&set->lock);
    int rc = next_segment(s);
    if (rc != 0)
        return err_set(err, rc, "cannot write a spool segment in '%s': %s", s->epoch->dir,
                       err_text(rc));
    return 0;
}

static void free_intents(struct list *head)
{
    for (struct list *it; (it = list_pop_front(head)) != NULL;) {
        struct spool_intent *intent = container_of(it, struct spool_intent, link);
        mem_free(intent->bytes);
        mem_free(intent);
    }
}

void spool_deinit(struct spool *s)
{
    if (s->epoch == NULL)
        return;
    if (!list_empty(&s->pending) && next_segment(s) != 0)
        s->current = NULL; /* Their intents are on disk: recovery makes them NODE_CRASH. */
    seal_current(s);
    free_intents(&s->open);
    free_intents(&s->pending);
    for (struct spool_intent *intent; (intent = freelist_take(&s->free)) != NULL;) {
        mem_free(intent->bytes);
        mem_free(intent);
    }
    mem_free(s->scratch);
}

#include "dataplane/state/rollouts.h"

#include <string.h>

#include "common/crypto/digest.h"

#define SAVE_AFTER_US INT64_C(60000000)
#define MAGIC         STR("SYROLL1 ")

void rollouts_init(struct rollouts *r, rollouts_event_cb on_event, void *user)
{
    memset(r, 0, sizeof(*r));
    r->on_event = on_event;
    r->user = user;
}

void rollouts_deinit(struct rollouts *r)
{
    for (size_t i = 0; i < r->count; i++)
        rollout_gate_unref(r->entries[i].gate);
    r->count = 0;
}

/* ---- gates ---- */

static bool is_open(const struct rollouts_entry *e)
{
    return atomic_load_explicit(&e->gate->open, memory_order_relaxed);
}

static void set_open(struct rollouts_entry *e, bool open)
{
    atomic_store_explicit(&e->gate->open, open, memory_order_relaxed);
}

static void open_entry(struct rollouts *r, struct rollouts_entry *e, enum rollouts_event event)
{
    if (is_open(e))
        return;
    set_open(e, true);
    r->unsaved = true;
    r->on_event(r->user, e->id, event);
}

static bool is_aborted(const struct rollouts *r, uint64_t id)
{
    for (size_t i = 0; i < r->aborted_count; i++)
        if (r->aborted[i] == id)
            return true;
    return false;
}

static struct rollouts_entry *find(struct rollouts *r, uint64_t id)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->entries[i].id == id)
            return &r->entries[i];
    return NULL;
}

static bool has_expired(const struct rollouts_entry *e, uint64_t mono_ms)
{
    return mono_ms - e->watched_mono_ms >= e->ttl_ms;
}

/* ---- a snapshot goes into service ---- */

static const struct snapshot_rollout *in_snapshot(const struct snapshot *s, uint64_t id)
{
    for (uint32_t i = 0; i < s->rollout_count; i++)
        if (s->rollouts[i].id == id)
            return &s->rollouts[i];
    return NULL;
}

static void forget_gone(struct rollouts *r, const struct snapshot *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct rollouts_entry *e = &r->entries[i];
        if (in_snapshot(s, e->id) != NULL) {
            r->entries[kept++] = *e;
            continue;
        }
        set_open(e, false); /* Requests that hold the snapshot before stop using it as well. */
        rollout_gate_unref(e->gate);
        r->unsaved = true;
    }
    r->count = kept;
}

/* What was saved is at most a minute older than what was: it ends early rather than late. */
static void resume(struct rollouts *r, struct rollouts_entry *e, struct rollouts_time now)
{
    uint64_t gone_ms = e->ttl_ms;
    for (size_t i = 0; i < r->known_count; i++) {
        const struct rollouts_known *k = &r->known[i];
        if (k->id != e->id || k->watched_wall_us > now.wall_us || k->watched_wall_us <= 0)
            continue;
        uint64_t ms = (uint64_t)(now.wall_us - k->watched_wall_us) / 1000;
        gone_ms = ms < gone_ms ? ms : gone_ms;
        e->watched_wall_us = e->saved_wall_us = k->watched_wall_us;
    }
    e->watched_mono_ms = now.mono_ms - gone_ms; /* May wrap: only differences are used. */
}

static void take_one(struct rollouts *r, const struct snapshot_rollout *s, bool fresh,
                     struct rollouts_time now)
{
    struct rollouts_entry *e = find(r, s->id);
    if (e == NULL) {
        if (r->count == ROLLOUTS_MAX)
            return; /* No snapshot has more; its gate stays closed. */
        e = &r->entries[r->count++];
        *e = (struct rollouts_entry){.id = s->id};
    } else {
        rollout_gate_unref(e->gate);
    }
    bool is_new = !str_eq(str_from(e->version), s->version);
    e->gate = rollout_gate_ref(s->gate);
    e->may_open = s->state != ROLLOUT_STATE_UNKNOWN;
    e->ttl_ms = s->ttl_ms;
    (void)str_copy(s->version, e->version, sizeof(e->version));
    if (is_new && fresh) {
        e->watched_mono_ms = now.mono_ms;
        e->watched_wall_us = now.wall_us;
    } else if (is_new) {
        resume(r, e, now);
    }
    if (!e->may_open || is_aborted(r, e->id) || has_expired(e, now.mono_ms))
        set_open(e, false);
    else if (is_new)
        open_entry(r, e, ROLLOUTS_OPENED);
}

void rollouts_take(struct rollouts *r, const struct snapshot *s, bool fresh,
                   struct rollouts_time now)
{
    forget_gone(r, s);
    for (uint32_t i = 0; i < s->rollout_count; i++)
        take_one(r, &s->rollouts[i], fresh, now);
}

/* ---- what is heard ---- */

void rollouts_watch(struct rollouts *r, uint64_t id, bool still_listed, struct rollouts_time now)
{
    struct rollouts_entry *e = find(r, id);
    if (e == NULL || !e->may_open || is_aborted(r, id))
        return;
    if (!is_open(e) && !still_listed)
        return;
    e->watched_mono_ms = now.mono_ms;
    e->watched_wall_us = now.wall_us;
    open_entry(r, e, ROLLOUTS_REVIVED);
}

void rollouts_abort(struct rollouts *r, uint64_t id)
{
    if (id == 0 || is_aborted(r, id))
        return;
    r->aborted[r->aborted_next] = id;
    r->aborted_next = (r->aborted_next + 1) % ROLLOUTS_ABORTED_MAX;
    if (r->aborted_count < ROLLOUTS_ABORTED_MAX)
        r->aborted_count++;
    r->unsaved = true;
    struct rollouts_entry *e = find(r, id);
    if (e == NULL)
        return;
    bool was_open = is_open(e);
    set_open(e, false);
    if (was_open)
        r->on_event(r->user, id, ROLLOUTS_ABORTED);
}

uint64_t rollouts_expire(struct rollouts *r, uint64_t mono_ms)
{
    uint64_t next = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct rollouts_entry *e = &r->entries[i];
        if (!is_open(e))
            continue;
        if (has_expired(e, mono_ms)) {
            set_open(e, false);
            r->on_event(r->user, e->id, ROLLOUTS_EXPIRED);
            continue;
        }
        uint64_t left = e->ttl_ms - (mono_ms - e->watched_mono_ms);
        if (next == 0 || left < next)
            next = left;
    }
    return next;
}

size_t rollouts_open(const struct rollouts *r)
{
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++)
        count += is_open(&r->entries[i]);
    return count;
}

/* ---- the file ---- */

bool rollouts_need_save(const struct rollouts *r)
{
    if (r->unsaved)
        return true;
    for (size_t i = 0; i < r->count; i++)
        if (r->entries[i].watched_wall_us - r->entries[i].saved_wall_us > SAVE_AFTER_US)
            return true;
    return false;
}

static int append_line(struct buf *out, struct str word, uint64_t id, int64_t wall_us)
{
    int rc = buf_append_str(out, word);
    if (rc == 0)
        rc = buf_append_u64(out, id);
    if (rc == 0)
        rc = buf_append_char(out, ' ');
    if (rc == 0)
        rc = buf_append_u64(out, wall_us > 0 ? (uint64_t)wall_us : 0);
    return rc == 0 ? buf_append_char(out, '\n') : rc;
}

/* "SYROLL1 <hex sha256 of the rest>\n", then "watched <id> <unix us>" and "aborted <id> 0", oldest
 * first. */
int rollouts_encode(const struct rollouts *r, struct buf *out)
{
    struct buf lines;
    char sum[SHA256_HEX_BYTES];
    int rc = 0;
    buf_init(&lines, ROLLOUTS_FILE_BYTES_MAX);
    for (size_t i = 0; rc == 0 && i < r->aborted_count; i++) {
        size_t oldest = r->aborted_count < ROLLOUTS_ABORTED_MAX ? 0 : r->aborted_next;
        rc = append_line(&lines, STR("aborted "), r->aborted[(oldest + i) % ROLLOUTS_ABORTED_MAX],
                         0);
    }
    for (size_t i = 0; rc == 0 && i < r->count; i++)
        rc = append_line(&lines, STR("watched "), r->entries[i].id, r->entries[i].watched_wall_us);
    struct sha256 digest = digest_sha256(lines.data, lines.len);
    hex_encode(digest.bytes, SHA256_BYTES, sum);
    if (rc == 0)
        rc = buf_append_str(out, MAGIC);
    if (rc == 0)
        rc = buf_append_str(out, str_from(sum));
    if (rc == 0)
        rc = buf_append_char(out, '\n');
    if (rc == 0)
        rc = buf_append_str(out, buf_str(&lines));
    buf_deinit(&lines);
    return rc;
}

void rollouts_saved(struct rollouts *r)
{
    r->unsaved = false;
    for (size_t i = 0; i < r->count; i++)
        r->entries[i].saved_wall_us = r->entries[i].watched_wall_us;
}

static bool take_line(struct rollouts *r, struct str line)
{
    struct str word, id_text;
    uint64_t id = 0, wall_us = 0;
    if (!str_cut(line, ' ', &word, &line) || !str_cut(line, ' ', &id_text, &line) ||
        str_parse_u64(id_text, UINT64_MAX, &id) != 0 ||
        str_parse_u64(line, INT64_MAX, &wall_us) != 0)
        return false;
    if (str_is(word, "aborted") && r->aborted_count < ROLLOUTS_ABORTED_MAX) {
        r->aborted[r->aborted_count++] = id;
        r->aborted_next = r->aborted_count % ROLLOUTS_ABORTED_MAX;
        return true;
    }
    if (str_is(word, "watched") && r->known_count < ROLLOUTS_MAX) {
        r->known[r->known_count++] =
            (struct rollouts_known){.id = id, .watched_wall_us = (int64_t)wall_us};
        return true;
    }
    return false;
}

int rollouts_decode(struct rollouts *r, struct str file)
{
    struct str head, line;
    char sum[SHA256_HEX_BYTES];
    if (!str_starts(file, MAGIC) || !str_cut(file, '\n', &head, &file))
        return ERR_CORRUPT;
    struct sha256 digest = digest_sha256(file.data, file.len);
    hex_encode(digest.bytes, SHA256_BYTES, sum);
    bool ok = str_eq(str_slice(head, MAGIC.len, head.len), str_from(sum));
    while (ok && file.len > 0)
        ok = str_cut(file, '\n', &line, &file) && take_line(r, line);
    if (ok)
        return 0;
    r->aborted_count = r->aborted_next = r->known_count = 0;
    return ERR_CORRUPT;
}

/* Segments go when all their records were acknowledged ten minutes ago, or when space is needed. */
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "dataplane/telemetry/shipper_internal.h"

/* Everything open that it holds stands, synced, in a later one. */
static bool is_carried(const struct ship_epoch *e, const struct spool_segment *segment)
{
    const struct spool *s = spool_of_epoch(e->cursor.set, e->epoch);
    return s == NULL || segment->number < atomic_load(&s->synced_floor);
}

/* May the oldest segment go, as far as the disk is concerned? */
static struct spool_segment *head_segment(struct ship_epoch *e, struct spool_segment **out_next)
{
    struct spool_segment *head = NULL;
    pthread_mutex_lock(&e->cursor.set->lock);
    struct list *segments = &e->epoch->segments;
    *out_next = NULL;
    if (!list_empty(segments)) {
        head = container_of(segments->next, struct spool_segment, link);
        if (head->link.next != segments)
            *out_next = container_of(head->link.next, struct spool_segment, link);
        if (!head->sealed || head->fd >= 0 || !is_carried(e, head))
            head = NULL;
    }
    pthread_mutex_unlock(&e->cursor.set->lock);
    return head;
}

static bool delete_segment(struct ship_epoch *e, struct spool_segment *segment)
{
    shipper_cursor_leave(&e->cursor, segment);
    return spool_segment_drop(e->cursor.set, segment);
}

static bool segment_acked(const struct ship_epoch *e, const struct spool_segment *next)
{
    if (next != NULL)
        return next->first_seq <= e->acked + 1;
    return !e->epoch->live && shipper_cursor_at_end(&e->cursor) &&
           e->acked + 1 == e->cursor.next_seq;
}

/* Bytes of acknowledged segments that are only kept in case the database forgets. */
static uint64_t kept_bytes(struct shipper *s)
{
    uint64_t kept = 0;
    pthread_mutex_lock(&s->options.spools->lock);
    LIST_FOREACH (it, &s->epochs) {
        const struct ship_epoch *e = container_of(it, struct ship_epoch, link);
        LIST_FOREACH (jt, &e->epoch->segments) {
            if (jt->next == &e->epoch->segments ||
                container_of(jt->next, struct spool_segment, link)->first_seq > e->acked + 1)
                break;
            kept += atomic_load(&container_of(jt, struct spool_segment, link)->written);
        }
    }
    pthread_mutex_unlock(&s->options.spools->lock);
    return kept;
}

/* More is kept than is good, or the disk is half full. */
static bool is_pressed(struct shipper *s)
{
    const struct spool_set *set = s->options.spools;
    return spool_set_bytes(set) > set->max_bytes / 2 || kept_bytes(s) > s->options.keep_bytes;
}

static void age_epoch(struct shipper *s, struct ship_epoch *e, uint64_t now_ms)
{
    struct spool_segment *next;
    struct spool_segment *head;
    while ((head = head_segment(e, &next)) != NULL && segment_acked(e, next)) {
        if (now_ms - e->acked_at_ms < s->options.keep_ms && !is_pressed(s))
            return;
        bool last = next == NULL;
        if (!delete_segment(e, head))
            return;
        if (!last)
            continue;
        struct spool_set *set = s->options.spools;
        struct spool_epoch *epoch = e->epoch;
        pthread_mutex_lock(&set->lock);
        list_remove(&epoch->link);
        pthread_mutex_unlock(&set->lock);
        shipper_epoch_free(s, e);
        (void)rmdir(epoch->dir); /* Stays when it holds refused files. */
        spool_epoch_free(epoch);
        return;
    }
}

void shipper_age(struct shipper *s)
{
    struct spool_set *set = s->options.spools;
    uint64_t now_ms = clock_mono_ms();
    LIST_FOREACH_SAFE (it, tmp, &s->epochs) {
        struct ship_epoch *e = container_of(it, struct ship_epoch, link);
        if (spool_set_bytes(set) > set->max_bytes / 2)
            spool_spares_remove(set, e->epoch);
        age_epoch(s, e, now_ms);
    }
    if (set->audit_strict)
        return;
    /* F7 without audit_strict: the oldest records go; the hole in the seqs becomes a gap. */
    LIST_FOREACH (it, &s->epochs) {
        struct ship_epoch *e = container_of(it, struct ship_epoch, link);
        struct spool_segment *next;
        struct spool_segment *head;
        while (spool_set_bytes(set) > set->max_bytes && (head = head_segment(e, &next)) != NULL &&
               next != NULL && delete_segment(e, head))
            ;
    }
}

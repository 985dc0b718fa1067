/* Files of acknowledged segments, kept for the next ones (docs/decisions/0112). Writing over pages
 * that are in the file cache costs a tenth of making new ones, and the next sync finds neither size
 * nor blocks changed. The one that came last goes first: its pages are the likeliest to be there.
 *
 *   segment (deleted by the shipper) -> RETIRED: renamed to <number>.free
 *     -> SPARE: the sync thread has synced the directory since
 *     -> the writer puts a new header into it and renames it to <next number>.seg
 *
 * The order is what makes it safe. A file is written over only when its old name is gone for good:
 * else a host that dies could come back with half of an old segment, whose open intents would be
 * charged again. It gets a segment's name only after its header: a start that finds the name with
 * an older number inside knows that nothing of the new segment was ever synced, and removes it.
 *
 * Ways to fail: a rename or unlink -> the file is removed, or left for the next start, which
 * removes what ends in ".free". No spare -> a new file. */
#include <errno.h>
#include <stdio.h>

#include "common/base/mem.h"
#include "dataplane/telemetry/spool_internal.h"

char *spool_spare_path(const struct spool_segment *segment)
{
    char name[16];
    (void)snprintf(name, sizeof(name), "%08u" SPOOL_SPARE_SUFFIX, segment->number);
    return spool_path_join(segment->epoch->dir, name);
}

/* Not one that is far too short or long, nor one whose device has failed once. */
static bool worth_keeping(const struct spool_set *set, const struct spool_segment *segment)
{
    uint64_t disk = atomic_load_explicit(&segment->disk_bytes, memory_order_relaxed);
    return segment->epoch->live && !segment->rescued && disk >= set->segment_bytes / 2 &&
           disk <= set->segment_bytes * 2 && spool_set_bytes(set) <= set->max_bytes / 2;
}

static bool retire(struct spool_set *set, struct spool_segment *segment, const char *path)
{
    struct spool_epoch *epoch = segment->epoch;
    pthread_mutex_lock(&set->lock);
    bool keep = epoch->spare_count < SPOOL_SPARES_MAX && worth_keeping(set, segment);
    epoch->spare_count += keep;
    pthread_mutex_unlock(&set->lock);
    char *spare = keep ? spool_spare_path(segment) : NULL;
    bool renamed = spare != NULL && spool_io.rename(path, spare) == 0;
    mem_free(spare);
    pthread_mutex_lock(&set->lock);
    if (renamed) {
        list_remove(&segment->link);
        list_push_back(&epoch->retired, &segment->link);
        segment->retired = ++epoch->last_retired;
    } else {
        epoch->spare_count -= keep;
    }
    pthread_mutex_unlock(&set->lock);
    return renamed;
}

bool spool_segment_drop(struct spool_set *set, struct spool_segment *segment)
{
    char *path = spool_segment_path(segment);
    if (path == NULL)
        return false;
    if (retire(set, segment, path)) {
        mem_free(path);
        return true;
    }
    bool gone = spool_io.unlink(path) == 0 || errno == ENOENT;
    mem_free(path);
    if (!gone)
        return false; /* The disk refused; again later. */
    pthread_mutex_lock(&set->lock);
    list_remove(&segment->link);
    pthread_mutex_unlock(&set->lock);
    atomic_fetch_sub(&set->bytes, atomic_load(&segment->disk_bytes));
    spool_segment_free(segment);
    return true;
}

void spool_spares_settle(struct spool_epoch *epoch, uint64_t through)
{
    while (!list_empty(&epoch->retired) &&
           container_of(epoch->retired.next, struct spool_segment, link)->retired <= through)
        list_push_front(&epoch->spares, list_pop_front(&epoch->retired));
}

struct spool_segment *spool_spare_take(struct spool *s)
{
    struct spool_segment *segment = NULL;
    pthread_mutex_lock(&s->set->lock);
    struct list *it = list_pop_front(&s->epoch->spares);
    if (it != NULL) {
        segment = container_of(it, struct spool_segment, link);
        s->epoch->spare_count--;
    }
    pthread_mutex_unlock(&s->set->lock);
    return segment;
}

void spool_spare_remove(struct spool_set *set, struct spool_segment *segment)
{
    char *path = spool_spare_path(segment);
    if (path != NULL)
        (void)spool_io.unlink(path);
    mem_free(path);
    atomic_fetch_sub(&set->bytes, atomic_load(&segment->disk_bytes));
    spool_segment_free(segment);
}

void spool_spares_remove(struct spool_set *set, struct spool_epoch *epoch)
{
    struct list gone;
    list_init(&gone);
    pthread_mutex_lock(&set->lock);
    while (!list_empty(&epoch->retired))
        list_push_back(&gone, list_pop_front(&epoch->retired));
    while (!list_empty(&epoch->spares))
        list_push_back(&gone, list_pop_front(&epoch->spares));
    epoch->spare_count = 0;
    pthread_mutex_unlock(&set->lock);
    while (!list_empty(&gone))
        spool_spare_remove(set, container_of(list_pop_front(&gone), struct spool_segment, link));
}

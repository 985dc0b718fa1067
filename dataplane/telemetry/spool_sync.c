/* The two threads of a set. The writer drains the rings when a worker finds that enough waits. The
 * syncer comes once a second, drains too, then walks each epoch's segments in order and publishes
 * how far the shipper may read; a failed sync stops the walk of that epoch, so that nothing later
 * is shipped before the writer has written the lost stretch again. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane/telemetry/spool_internal.h"

/* ---- the bell ---- */

int spool_bell_init(struct spool_bell *bell)
{
    atomic_init(&bell->rung, false);
    bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return bell->fd < 0 ? err_from_errno(errno) : 0;
}

void spool_bell_deinit(struct spool_bell *bell)
{
    if (bell->fd >= 0)
        close(bell->fd);
    bell->fd = -1;
}

void spool_bell_ring(struct spool_bell *bell)
{
    if (!atomic_load_explicit(&bell->rung, memory_order_relaxed) &&
        !atomic_exchange(&bell->rung, true)) {
        ssize_t n = write(bell->fd, &(uint64_t){1}, sizeof(uint64_t));
        (void)n; /* Full means rung. */
    }
}

void spool_bell_wait(struct spool_bell *bell, uint32_t timeout_ms)
{
    struct pollfd p = {.fd = bell->fd, .events = POLLIN};
    uint64_t count;
    if (poll(&p, 1, timeout_ms == 0 ? -1 : (int)timeout_ms) <= 0)
        return;
    ssize_t n = read(bell->fd, &count, sizeof(count));
    (void)n;
    /* What was done before a ring that finds it still rung is seen by the pass that follows. */
    atomic_store(&bell->rung, false);
}

/* ---- syncing ---- */

struct spool *spool_of_epoch(struct spool_set *set, const struct spool_epoch *epoch)
{
    for (uint32_t i = 0; i < set->spool_count; i++)
        if (set->spools[i].epoch == epoch)
            return &set->spools[i];
    return NULL;
}

static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    int rc = fsync(fd) != 0 ? err_from_errno(errno) : 0;
    close(fd);
    return rc;
}

/* The names in an epoch's directory, and once its own. */
static int sync_names(struct spool_set *set, struct spool_epoch *epoch)
{
    pthread_mutex_lock(&set->lock);
    uint64_t retired = epoch->last_retired;
    pthread_mutex_unlock(&set->lock);
    int rc = sync_dir(epoch->dir);
    if (rc == 0 && !epoch->dir_synced)
        rc = sync_dir(set->dir);
    if (rc != 0)
        return rc;
    epoch->dir_synced = true;
    pthread_mutex_lock(&set->lock);
    spool_spares_settle(epoch, retired);
    pthread_mutex_unlock(&set->lock);
    return 0;
}

/* Without the lock: the segment stays while its descriptor is open, which only this thread closes.
 */
static bool sync_segment(struct spool_set *set, struct spool_segment *segment)
{
    uint64_t end = atomic_load_explicit(&segment->written, memory_order_acquire);
    if (end == atomic_load(&segment->synced))
        return true;
    if (spool_io.fdatasync(segment->fd) != 0)
        return false;
    if (!segment->dir_synced) {
        if (sync_names(set, segment->epoch) != 0)
            return false;
        segment->dir_synced = true;
    }
    atomic_store_explicit(&segment->synced, end, memory_order_release);
    return true;
}

/* With the lock held; lets go of it while the disk works. */
static void sync_epoch(struct spool_set *set, struct spool_epoch *epoch)
{
    struct spool *s = spool_of_epoch(set, epoch);
    if (s == NULL)
        return;
    /* Everything below it was written before this pass. */
    spool_position written = atomic_load_explicit(&s->written, memory_order_acquire);
    uint64_t written_seq = atomic_load_explicit(&s->written_seq, memory_order_relaxed);
    uint32_t floor = atomic_load_explicit(&s->written_floor, memory_order_relaxed);
    /* A sync that failed is not tried again: the next one would say that all is well. */
    if (atomic_load(&s->sync_failed))
        return;
    for (struct list *it = epoch->segments.next; it != &epoch->segments;) {
        struct spool_segment *segment = container_of(it, struct spool_segment, link);
        if (segment->fd < 0) {
            it = it->next;
            continue;
        }
        bool sealed = segment->sealed;
        if (!segment->rescued) {
            pthread_mutex_unlock(&set->lock);
            bool ok = sync_segment(set, segment);
            pthread_mutex_lock(&set->lock);
            if (!ok && !segment->rescued) {
                atomic_store(&s->sync_failed, true);
                return;
            }
        }
        it = it->next;
        if (sealed) {
            close(segment->fd);
            segment->fd = -1;
        }
    }
    bool more = atomic_load_explicit(&s->synced_seq, memory_order_relaxed) != written_seq;
    atomic_store_explicit(&s->synced_seq, written_seq, memory_order_release);
    atomic_store_explicit(&s->synced_floor, floor, memory_order_release);
    atomic_store_explicit(&s->synced, written, memory_order_release);
    if (more && set->on_synced != NULL)
        set->on_synced(set->synced_user);
}

void spool_sync_written(struct spool_set *set)
{
    pthread_mutex_lock(&set->sync_lock);
    atomic_store_explicit(&set->unsynced, 0, memory_order_relaxed);
    pthread_mutex_lock(&set->lock);
    /* Live epochs are never freed while the set lives; old ones have nothing to sync. */
    LIST_FOREACH (it, &set->epochs) {
        struct spool_epoch *epoch = container_of(it, struct spool_epoch, link);
        if (epoch->live)
            sync_epoch(set, epoch);
    }
    pthread_mutex_unlock(&set->lock);
    pthread_mutex_unlock(&set->sync_lock);
}

void spool_set_sync(struct spool_set *set)
{
    spool_set_drain(set);
    spool_sync_written(set);
}

/* ---- the threads ---- */

static void *writer_main(void *arg)
{
    struct spool_set *set = arg;
    while (!atomic_load(&set->stopping)) {
        spool_bell_wait(&set->drain_bell, set->drain_ms);
        spool_set_drain_lately(set);
    }
    return NULL;
}

static void *sync_main(void *arg)
{
    struct spool_set *set = arg;
    while (!atomic_load(&set->stopping)) {
        spool_bell_wait(&set->sync_bell, set->sync_ms);
        spool_set_sync(set);
    }
    return NULL;
}

int spool_threads_start(struct spool_set *set, struct err *err)
{
    int rc = pthread_create(&set->writer, NULL, writer_main, set);
    set->writer_started = rc == 0;
    if (rc == 0) {
        rc = pthread_create(&set->syncer, NULL, sync_main, set);
        set->syncer_started = rc == 0;
    }
    if (rc != 0)
        return err_set(err, err_from_errno(rc), "cannot start the spool's threads");
    return 0;
}

void spool_threads_stop(struct spool_set *set)
{
    atomic_store(&set->stopping, true);
    if (set->writer_started) {
        spool_bell_ring(&set->drain_bell);
        pthread_join(set->writer, NULL);
    }
    if (set->syncer_started) {
        spool_bell_ring(&set->sync_bell);
        pthread_join(set->syncer, NULL);
    }
    set->writer_started = set->syncer_started = false;
}

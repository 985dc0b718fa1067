/* The set: directory, lock, epochs, and the thread that syncs. The thread walks each epoch's
 * segments in order and publishes how far the shipper may read; a failed sync stops the walk of
 * that epoch, so that nothing later is shipped before the worker has written the lost stretch
 * again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "dataplane/telemetry/spool_internal.h"

#define SYNC_MS_DEFAULT 1000U
#define BYTES_DEFAULT   4294967296ULL

static int io_open_new(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

struct spool_io spool_io = {.open_new = io_open_new,
                            .write = write,
                            .fdatasync = fdatasync,
                            .rename = rename,
                            .unlink = unlink};

int spool_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = spool_io.write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_from_errno(errno);
        if (n == 0)
            return ERR_IO;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static char *path_join(const char *dir, const char *name)
{
    struct buf b;
    buf_init(&b, 8192);
    char *path = NULL;
    if (buf_printf(&b, "%s/%s", dir, name) == 0)
        path = mem_strndup(b.data, b.len);
    buf_deinit(&b);
    return path;
}

/* ---- epochs and segments ---- */

struct spool_epoch *spool_epoch_create(struct spool_set *set, uint64_t id)
{
    char name[17];
    (void)snprintf(name, sizeof(name), "%016llx", (unsigned long long)id);
    struct spool_epoch *e = mem_zalloc(sizeof(*e));
    if (e == NULL)
        return NULL;
    list_init(&e->link);
    list_init(&e->segments);
    e->id = id;
    e->dir = path_join(set->dir, name);
    if (e->dir == NULL || (mkdir(e->dir, 0700) != 0 && errno != EEXIST)) {
        mem_free(e->dir);
        mem_free(e);
        return NULL;
    }
    return e;
}

void spool_epoch_free(struct spool_epoch *e)
{
    if (e == NULL)
        return;
    for (struct list *it; (it = list_pop_front(&e->segments)) != NULL;) {
        struct spool_segment *segment = container_of(it, struct spool_segment, link);
        if (segment->fd >= 0)
            close(segment->fd);
        spool_segment_free(segment);
    }
    mem_free(e->dir);
    mem_free(e);
}

char *spool_segment_path(const struct spool_segment *segment)
{
    char name[16];
    (void)snprintf(name, sizeof(name), "%08u.seg", segment->number);
    return path_join(segment->epoch->dir, name);
}

void spool_segment_free(struct spool_segment *segment)
{
    mem_free(segment);
}

int spool_segment_create(struct spool_set *set, struct spool_epoch *epoch, uint32_t number,
                         uint64_t first_seq, struct spool_segment **out_segment)
{
    struct spool_segment *segment = mem_zalloc(sizeof(*segment));
    if (segment == NULL)
        return ERR_NOMEM;
    list_init(&segment->link);
    segment->epoch = epoch;
    segment->number = number;
    segment->first_seq = first_seq;
    char *path = spool_segment_path(segment);
    if (path == NULL) {
        mem_free(segment);
        return ERR_NOMEM;
    }
    struct spool_header header = {.number = number,
                                  .epoch = epoch->id,
                                  .first_seq = first_seq,
                                  .node_id = set->node_id,
                                  .boot_id = set->boot_id};
    uint8_t bytes[SPOOL_HEADER_BYTES];
    spool_header_encode(&header, bytes);
    segment->fd = spool_io.open_new(path);
    int rc = segment->fd < 0 ? err_from_errno(errno)
                             : spool_write_all(segment->fd, bytes, sizeof(bytes));
    if (rc != 0) {
        if (segment->fd >= 0) {
            close(segment->fd);
            (void)spool_io.unlink(path);
        }
        mem_free(segment);
    } else {
        atomic_store(&segment->written, SPOOL_HEADER_BYTES);
        *out_segment = segment;
    }
    mem_free(path);
    return rc;
}

/* ---- the sync thread ---- */

static struct spool *spool_of(struct spool_set *set, const struct spool_epoch *epoch)
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
        if (sync_dir(segment->epoch->dir) != 0 || sync_dir(set->dir) != 0)
            return false;
        segment->dir_synced = true;
    }
    atomic_store_explicit(&segment->synced, end, memory_order_release);
    return true;
}

/* With the lock held; lets go of it while the disk works. */
static void sync_epoch(struct spool_set *set, struct spool_epoch *epoch)
{
    struct spool *s = spool_of(set, epoch);
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
                if (s != NULL)
                    atomic_store(&s->sync_failed, true);
                return;
            }
            if (s != NULL && ok)
                atomic_store(&s->synced,
                             (uint64_t)segment->number << 32 | atomic_load(&segment->synced));
        }
        it = it->next;
        if (sealed) {
            close(segment->fd);
            segment->fd = -1;
        }
    }
}

void spool_set_sync(struct spool_set *set)
{
    pthread_mutex_lock(&set->lock);
    /* Live epochs are never freed while the set lives; old ones have nothing to sync. */
    LIST_FOREACH (it, &set->epochs) {
        struct spool_epoch *epoch = container_of(it, struct spool_epoch, link);
        if (epoch->live)
            sync_epoch(set, epoch);
    }
    pthread_mutex_unlock(&set->lock);
}

static void *sync_main(void *arg)
{
    struct spool_set *set = arg;
    pthread_mutex_lock(&set->lock);
    while (!set->stopping) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t ns = (uint64_t)until.tv_nsec + (uint64_t)set->sync_ms * 1000000U;
        until.tv_sec += (time_t)(ns / 1000000000U);
        until.tv_nsec = (long)(ns % 1000000000U);
        int rc = 0;
        while (!set->stopping && !set->sync_now && rc != ETIMEDOUT)
            rc = pthread_cond_timedwait(&set->wake, &set->lock, &until);
        set->sync_now = false;
        pthread_mutex_unlock(&set->lock);
        spool_set_sync(set);
        pthread_mutex_lock(&set->lock);
    }
    pthread_mutex_unlock(&set->lock);
    return NULL;
}

/* ---- start and end ---- */

static void read_boot_id(struct uuid *out)
{
    struct buf b = {0};
    if (buf_read_file(&b, "/proc/sys/kernel/random/boot_id", 64, NULL) != 0 ||
        b.len < UUID_TEXT_BYTES - 1 ||
        uuid_parse((struct str){.data = b.data, .len = UUID_TEXT_BYTES - 1}, out) != 0)
        memset(out, 0, sizeof(*out)); /* For information only. */
    buf_deinit(&b);
}

static int lock_dir(struct spool_set *set, struct err *err)
{
    if (mkdir(set->dir, 0700) != 0 && errno != EEXIST)
        return err_set(err, err_from_errno(errno), "cannot make '%s': %s", set->dir,
                       strerror(errno));
    char *path = path_join(set->dir, "lock");
    if (path == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    set->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    mem_free(path);
    if (set->lock_fd < 0)
        return err_set(err, err_from_errno(errno), "cannot open the lock in '%s': %s", set->dir,
                       strerror(errno));
    if (flock(set->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, ERR_CONFLICT, "spool '%s' is in use by another process", set->dir);
    return 0;
}

/* The persisted counter that makes epochs rise; taken before the epochs are used. */
static int take_epochs(struct spool_set *set, uint32_t count, uint32_t *out_first, struct err *err)
{
    char *path = path_join(set->dir, "epoch");
    if (path == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    struct buf b = {0};
    uint64_t last = 0;
    int rc = 0;
    if (access(path, F_OK) == 0) {
        rc = buf_read_file(&b, path, 32, err);
        if (rc == 0) {
            struct str text = buf_str(&b);
            while (text.len > 0 && text.data[text.len - 1] == '\n')
                text.len--;
            if (str_parse_u64(text, UINT32_MAX - 65536, &last) != 0)
                last = 0;
        }
    }
    /* A lost or damaged counter: above every epoch that is still there. */
    LIST_FOREACH (it, &set->epochs) {
        uint64_t high = container_of(it, struct spool_epoch, link)->id >> 32;
        if (high > last && high < UINT32_MAX - 65536)
            last = high;
    }
    if (rc == 0) {
        char text[32];
        int n = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)(last + count));
        rc = buf_write_file((struct str){.data = text, .len = (size_t)n}, path, 0600, err);
        *out_first = (uint32_t)last + 1;
    }
    buf_deinit(&b);
    mem_free(path);
    return rc;
}

static int start_spools(struct spool_set *set, uint32_t count, struct err *err)
{
    uint32_t first = 0;
    int rc = take_epochs(set, count, &first, err);
    if (rc != 0)
        return rc;
    set->spools = mem_calloc(count, sizeof(*set->spools));
    if (set->spools == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        uint32_t random = 0;
        rc = rand_secure(&random, sizeof(random));
        if (rc != 0)
            return err_set(err, rc, "cannot read random bytes");
        set->spool_count = i + 1;
        rc = spool_init(&set->spools[i], set, (uint64_t)(first + i) << 32 | random, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int start_thread(struct spool_set *set, struct err *err)
{
    int rc = pthread_create(&set->thread, NULL, sync_main, set);
    if (rc != 0)
        return err_set(err, err_from_errno(rc), "cannot start the spool's sync thread");
    set->thread_started = true;
    return 0;
}

int spool_set_create(const struct spool_options *options, struct spool_set **out_set,
                     struct spool_recovery *out_recovery, struct err *err)
{
    struct spool_set *set = mem_zalloc(sizeof(*set));
    if (set == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    list_init(&set->epochs);
    set->lock_fd = -1;
    set->node_id = options->node_id;
    set->max_bytes = options->max_bytes != 0 ? options->max_bytes : BYTES_DEFAULT;
    set->segment_bytes = options->segment_bytes != 0 ? options->segment_bytes : SPOOL_SEGMENT_BYTES;
    set->sync_ms = options->sync_ms != 0 ? options->sync_ms : SYNC_MS_DEFAULT;
    set->open_max = options->open_max != 0 ? options->open_max : SPOOL_OPEN_MAX;
    set->audit_strict = options->audit_strict;
    pthread_mutex_init(&set->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&set->wake, &attr);
    pthread_condattr_destroy(&attr);
    read_boot_id(&set->boot_id);
    set->dir = mem_strdup(options->dir);
    int rc = set->dir == NULL ? err_set(err, ERR_NOMEM, "out of memory") : lock_dir(set, err);
    struct spool_recovery recovery = {0};
    if (rc == 0)
        rc = spool_recover(set, &recovery, err);
    if (rc == 0)
        rc = start_spools(set, options->spools, err);
    if (rc == 0)
        rc = start_thread(set, err);
    if (rc != 0) {
        spool_set_destroy(set);
        return rc;
    }
    if (out_recovery != NULL)
        *out_recovery = recovery;
    *out_set = set;
    return 0;
}

void spool_set_destroy(struct spool_set *set)
{
    if (set == NULL)
        return;
    for (uint32_t i = 0; i < set->spool_count; i++)
        if (set->spools[i].epoch != NULL)
            spool_deinit(&set->spools[i]);
    if (set->thread_started) {
        pthread_mutex_lock(&set->lock);
        set->stopping = true;
        pthread_cond_signal(&set->wake);
        pthread_mutex_unlock(&set->lock);
        pthread_join(set->thread, NULL); /* Its last pass syncs what was just sealed. */
        spool_set_sync(set);
    }
    for (struct list *it; (it = list_pop_front(&set->epochs)) != NULL;)
        spool_epoch_free(container_of(it, struct spool_epoch, link));
    mem_free(set->spools);
    if (set->lock_fd >= 0)
        close(set->lock_fd);
    pthread_cond_destroy(&set->wake);
    pthread_mutex_destroy(&set->lock);
    mem_free(set->dir);
    mem_free(set);
}

struct spool *spool_set_spool(struct spool_set *set, uint32_t index)
{
    return index < set->spool_count ? &set->spools[index] : NULL;
}

uint64_t spool_set_bytes(const struct spool_set *set)
{
    return atomic_load_explicit(&set->bytes, memory_order_relaxed);
}

uint64_t spool_set_records(const struct spool_set *set)
{
    uint64_t shipped = atomic_load(&set->shipped);
    uint64_t records = atomic_load(&set->records);
    return records > shipped ? records - shipped : 0;
}

bool spool_set_ready(const struct spool_set *set)
{
    for (uint32_t i = 0; i < set->spool_count; i++)
        if (atomic_load(&set->spools[i].broken))
            return false;
    uint64_t limit = set->audit_strict ? set->max_bytes : set->max_bytes + SPOOL_HARD_EXTRA;
    return spool_set_bytes(set) + SPOOL_OUTCOME_SPACE <= limit;
}

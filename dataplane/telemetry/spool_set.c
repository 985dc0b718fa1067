/* The set: directory, lock, epochs, and what is asked of all spools together. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "dataplane/telemetry/spool_internal.h"

#define SYNC_MS_DEFAULT 1000U
#define BYTES_DEFAULT   4294967296ULL

static int io_open_new(const char *path)
{
    return open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static int io_open_spare(const char *path)
{
    return open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
}

static int io_fallocate(int fd, uint64_t len)
{
    return posix_fallocate(fd, 0, (off_t)len);
}

struct spool_io spool_io = {.open_new = io_open_new,
                            .open_spare = io_open_spare,
                            .fallocate = io_fallocate,
                            .write = write,
                            .fdatasync = fdatasync,
                            .rename = rename,
                            .unlink = unlink};

/* ---- epochs ---- */

struct spool_epoch *spool_epoch_create(struct spool_set *set, uint64_t id)
{
    char name[17];
    (void)snprintf(name, sizeof(name), "%016llx", (unsigned long long)id);
    struct spool_epoch *e = mem_zalloc(sizeof(*e));
    if (e == NULL)
        return NULL;
    list_init(&e->link);
    list_init(&e->segments);
    list_init(&e->retired);
    list_init(&e->spares);
    e->id = id;
    e->dir = spool_path_join(set->dir, name);
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
    char *path = spool_path_join(set->dir, "lock");
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
    char *path = spool_path_join(set->dir, "epoch");
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

int spool_set_create(const struct spool_options *options, struct spool_set **out_set,
                     struct spool_recovery *out_recovery, struct err *err)
{
    struct spool_set *set = mem_zalloc(sizeof(*set));
    if (set == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    list_init(&set->epochs);
    set->lock_fd = set->drain_bell.fd = set->sync_bell.fd = -1;
    set->node_id = options->node_id;
    set->max_bytes = options->max_bytes != 0 ? options->max_bytes : BYTES_DEFAULT;
    set->segment_bytes = options->segment_bytes != 0 ? options->segment_bytes : SPOOL_SEGMENT_BYTES;
    set->sync_ms = options->sync_ms != 0 ? options->sync_ms : SYNC_MS_DEFAULT;
    set->open_max = options->open_max != 0 ? options->open_max : SPOOL_OPEN_MAX;
    set->carry_after = SPOOL_CARRY_AFTER;
    set->audit_strict = options->audit_strict;
    set->ring_bytes = options->ring_bytes != 0 ? options->ring_bytes : SPOOL_RING_BYTES;
    set->drain_ms = options->drain_ms;
    pthread_mutex_init(&set->lock, NULL);
    pthread_mutex_init(&set->drain_lock, NULL);
    pthread_mutex_init(&set->sync_lock, NULL);
    read_boot_id(&set->boot_id);
    set->dir = mem_strdup(options->dir);
    set->scratch = mem_alloc(sizeof(*set->scratch));
    int rc = set->dir == NULL || set->scratch == NULL ? err_set(err, ERR_NOMEM, "out of memory")
                                                      : lock_dir(set, err);
    if (rc == 0 &&
        (spool_bell_init(&set->drain_bell) != 0 || spool_bell_init(&set->sync_bell) != 0))
        rc = err_set(err, ERR_LIMIT, "no file descriptor is left for the spool");
    struct spool_recovery recovery = {0};
    if (rc == 0)
        rc = spool_recover(set, &recovery, err);
    if (rc == 0)
        rc = start_spools(set, options->spools, err);
    if (rc == 0)
        rc = spool_threads_start(set, err);
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
    spool_threads_stop(set);
    for (uint32_t i = 0; i < set->spool_count; i++)
        spool_deinit(&set->spools[i]);
    spool_sync_written(set);
    for (uint32_t i = 0; i < set->spool_count; i++)
        if (set->spools[i].epoch != NULL)
            spool_spares_remove(set, set->spools[i].epoch);
    spool_bell_deinit(&set->drain_bell);
    spool_bell_deinit(&set->sync_bell);
    for (struct list *it; (it = list_pop_front(&set->epochs)) != NULL;)
        spool_epoch_free(container_of(it, struct spool_epoch, link));
    mem_free(set->spools);
    if (set->lock_fd >= 0)
        close(set->lock_fd);
    pthread_mutex_destroy(&set->lock);
    pthread_mutex_destroy(&set->drain_lock);
    pthread_mutex_destroy(&set->sync_lock);
    mem_free(set->scratch);
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
    uint64_t records = atomic_load(&set->records);
    for (uint32_t i = 0; i < set->spool_count; i++)
        records += atomic_load_explicit(&set->spools[i].next_seq, memory_order_relaxed) - 1;
    uint64_t shipped = atomic_load(&set->shipped);
    return records > shipped ? records - shipped : 0;
}

uint64_t spool_set_shipped(const struct spool_set *set)
{
    return atomic_load(&set->shipped);
}

uint64_t spool_set_ring_bytes(const struct spool_set *set)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < set->spool_count; i++) {
        uint64_t taken = spool_ring_taken(&set->spools[i].ring); /* First: it never overtakes. */
        bytes += spool_ring_published(&set->spools[i].ring) - taken;
    }
    return bytes;
}

uint64_t spool_set_refused(const struct spool_set *set)
{
    uint64_t refused = 0;
    for (uint32_t i = 0; i < set->spool_count; i++)
        refused += atomic_load_explicit(&set->spools[i].refused, memory_order_relaxed);
    return refused;
}

bool spool_set_ready(const struct spool_set *set)
{
    for (uint32_t i = 0; i < set->spool_count; i++)
        if (atomic_load_explicit(&set->spools[i].gate, memory_order_relaxed) != SPOOL_OPEN)
            return false;
    return true;
}

void spool_set_on_synced(struct spool_set *set, void (*cb)(void *user), void *user)
{
    pthread_mutex_lock(&set->lock);
    set->on_synced = cb;
    set->synced_user = user;
    pthread_mutex_unlock(&set->lock);
}

/* ---- draining ---- */

/* What the disk would have to hold if everything open ended now. */
static uint64_t bytes_wanted(const struct spool_set *set)
{
    uint64_t open = 1;
    for (uint32_t i = 0; i < set->spool_count; i++)
        open += atomic_load_explicit(&set->spools[i].open_count, memory_order_relaxed);
    return spool_set_bytes(set) + spool_set_ring_bytes(set) + open * SPOOL_OUTCOME_SPACE;
}

static void drain_all(struct spool_set *set, bool lately)
{
    pthread_mutex_lock(&set->drain_lock);
    for (uint32_t i = 0; i < set->spool_count; i++)
        spool_drain(&set->spools[i], lately);
    uint64_t limit = set->audit_strict ? set->max_bytes : set->max_bytes + SPOOL_HARD_EXTRA;
    bool full = bytes_wanted(set) > limit;
    for (uint32_t i = 0; i < set->spool_count; i++) {
        struct spool *s = &set->spools[i];
        atomic_store_explicit(&s->gate,
                              s->current == NULL ? SPOOL_BROKEN
                              : full             ? SPOOL_FULL
                                                 : SPOOL_OPEN,
                              memory_order_relaxed);
    }
    pthread_mutex_unlock(&set->drain_lock);
}

void spool_set_drain(struct spool_set *set)
{
    drain_all(set, false);
}

void spool_set_drain_lately(struct spool_set *set)
{
    drain_all(set, true);
}

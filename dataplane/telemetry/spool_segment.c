/* Segments as the writer makes them. Usual path: one write(2) of what was packed to the current
 * segment. What would exceed its size opens the next one first. Intents that stay open are carried
 * from old segments to new ones (spool_carry.c).
 *
 * Ways to fail: write(2) fails or is short -> the segment is given up at its last good frame and
 * the frames go to a new one. fdatasync fails (seen by the sync thread) -> everything since the
 * last good sync is read back from the page cache and written to a new segment. No new segment can
 * be made -> broken: intents are refused, the rest waits in the ring, and once a second a segment
 * is tried again. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "dataplane/telemetry/spool_internal.h"

#define RETRY_MS    1000U
/* A file grows by so much at a time, zeros behind what is written: then its pages lie in pieces of
 * that size in the file cache, and all later writes and syncs of it are cheaper
 * (docs/decisions/0287). Small segments grow as they are written. */
#define PIECE_BYTES 262144U

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

char *spool_path_join(const char *dir, const char *name)
{
    struct buf b;
    buf_init(&b, 8192);
    char *path = NULL;
    if (buf_printf(&b, "%s/%s", dir, name) == 0)
        path = mem_strndup(b.data, b.len);
    buf_deinit(&b);
    return path;
}

char *spool_segment_path(const struct spool_segment *segment)
{
    char name[16];
    (void)snprintf(name, sizeof(name), "%08u.seg", segment->number);
    return spool_path_join(segment->epoch->dir, name);
}

void spool_segment_free(struct spool_segment *segment)
{
    mem_free(segment);
}

/* What was written, up to that end, beyond what the file took before. */
static void count_bytes(struct spool_set *set, struct spool_segment *segment, uint64_t end)
{
    uint64_t disk = atomic_load_explicit(&segment->disk_bytes, memory_order_relaxed);
    if (end <= disk)
        return;
    atomic_store_explicit(&segment->disk_bytes, end, memory_order_relaxed);
    atomic_fetch_add_explicit(&set->bytes, end - disk, memory_order_relaxed);
}

static bool grows_by_pieces(const struct spool_set *set)
{
    return set->segment_bytes % PIECE_BYTES == 0;
}

/* Numbers come never twice, even if a failed file cannot be removed. */
static int write_header(struct spool *s, struct spool_segment *segment, uint32_t number,
                        uint64_t first_seq, uint32_t flags)
{
    struct spool_header header = {.number = number,
                                  .flags = flags,
                                  .epoch = s->epoch->id,
                                  .first_seq = first_seq,
                                  .node_id = s->set->node_id,
                                  .boot_id = s->set->boot_id};
    uint8_t bytes[SPOOL_HEADER_BYTES];
    spool_header_encode(&header, bytes);
    int rc = spool_write_all(segment->fd, bytes, sizeof(bytes));
    segment->first_seq = first_seq;
    segment->salt = spool_salt(s->epoch->id, number);
    atomic_store(&segment->written, SPOOL_HEADER_BYTES);
    return rc;
}

/* A new file with its header. On error no file is left. */
static int segment_make(struct spool *s, uint64_t first_seq, struct spool_segment **out_segment)
{
    struct spool_segment *segment = mem_zalloc(sizeof(*segment));
    if (segment == NULL)
        return ERR_NOMEM;
    list_init(&segment->link);
    segment->epoch = s->epoch;
    segment->number = s->next_number++;
    char *path = spool_segment_path(segment);
    if (path == NULL) {
        mem_free(segment);
        return ERR_NOMEM;
    }
    segment->fd = spool_io.open_new(path);
    int rc = segment->fd < 0 ? err_from_errno(errno)
                             : write_header(s, segment, segment->number, first_seq,
                                            grows_by_pieces(s->set) ? SPOOL_HEADER_RECYCLED : 0);
    if (rc != 0) {
        if (segment->fd >= 0) {
            close(segment->fd);
            (void)spool_io.unlink(path);
        }
        mem_free(segment);
    } else {
        count_bytes(s->set, segment, SPOOL_HEADER_BYTES);
        *out_segment = segment;
    }
    mem_free(path);
    return rc;
}

/* A spare file gets the header of the next segment, then its name. On error it is gone. */
static int segment_reuse(struct spool *s, struct spool_segment *segment, uint64_t first_seq)
{
    uint32_t number = s->next_number++;
    const struct spool_segment next = {.epoch = segment->epoch, .number = number};
    char *from = spool_spare_path(segment);
    char *to = spool_segment_path(&next);
    int rc = from != NULL && to != NULL ? 0 : ERR_NOMEM;
    segment->fd = rc == 0 ? spool_io.open_spare(from) : -1;
    if (rc == 0)
        rc = segment->fd < 0 ? err_from_errno(errno)
                             : write_header(s, segment, number, first_seq, SPOOL_HEADER_RECYCLED);
    if (rc == 0 && spool_io.rename(from, to) != 0)
        rc = err_from_errno(errno);
    mem_free(from);
    mem_free(to);
    if (rc != 0) {
        if (segment->fd >= 0)
            close(segment->fd);
        spool_spare_remove(s->set, segment);
        return rc;
    }
    segment->number = number;
    segment->begun_end = 0;
    segment->sealed = segment->dir_synced = false;
    atomic_store(&segment->synced, 0);
    return 0;
}

static int segment_create(struct spool *s, uint64_t first_seq, struct spool_segment **out_segment)
{
    struct spool_segment *spare = spool_spare_take(s);
    if (spare != NULL && segment_reuse(s, spare, first_seq) == 0) {
        *out_segment = spare;
        return 0;
    }
    return segment_make(s, first_seq, out_segment);
}

static void segment_abandon(struct spool *s, struct spool_segment *segment)
{
    char *path = spool_segment_path(segment);
    if (path != NULL)
        (void)spool_io.unlink(path);
    mem_free(path);
    close(segment->fd);
    atomic_fetch_sub(&s->set->bytes, atomic_load(&segment->disk_bytes));
    spool_segment_free(segment);
}

/* How many zeros go behind what will end there. */
static size_t zeros_behind(const struct spool_set *set, const struct spool_segment *segment,
                           uint64_t end)
{
    if (!grows_by_pieces(set) || end >= set->segment_bytes ||
        end <= atomic_load_explicit(&segment->disk_bytes, memory_order_relaxed))
        return 0;
    return (size_t)(-end % PIECE_BYTES);
}

/* Writes the frames, and in the same call the zeros: what comes next is written over them. */
static int write_frames(struct spool_set *set, struct spool_segment *segment, struct buf *frames)
{
    uint64_t end = atomic_load_explicit(&segment->written, memory_order_relaxed) + frames->len;
    size_t zeros = zeros_behind(set, segment, end);
    if (zeros > 0 && buf_reserve(frames, zeros) != 0)
        zeros = 0;
    if (zeros > 0)
        memset(frames->data + frames->len, 0, zeros);
    int rc = spool_write_all(segment->fd, frames->data, frames->len + zeros);
    if (rc == 0 && zeros > 0 && lseek(segment->fd, (off_t)end, SEEK_SET) < 0)
        rc = err_from_errno(errno);
    if (rc == 0)
        count_bytes(set, segment, end + zeros);
    return rc;
}

/* Seals the frames for this segment and writes them. */
static int segment_append(struct spool *s, struct spool_segment *segment, struct buf *frames)
{
    spool_frames_seal(frames->data, frames->len, segment->salt);
    int rc = write_frames(s->set, segment, frames);
    if (rc != 0)
        return rc;
    atomic_fetch_add_explicit(&segment->written, frames->len, memory_order_release);
    uint64_t unsynced =
        atomic_fetch_add_explicit(&s->set->unsynced, frames->len, memory_order_relaxed);
    if (unsynced + frames->len > SPOOL_UNSYNCED_BYTES)
        spool_bell_ring(&s->set->sync_bell);
    return 0;
}

void spool_segment_seal(struct spool *s)
{
    if (s->current == NULL)
        return;
    pthread_mutex_lock(&s->set->lock);
    s->current->sealed = true; /* The sync thread syncs it a last time and closes it. */
    pthread_mutex_unlock(&s->set->lock);
    s->current = NULL;
}

/* ---- what a failed sync may have lost ---- */

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
    spool_scan_init(&scan, buf_str(&raw), segment->salt);
    while (rc == 0 && spool_scan_next(&scan, &frame) == SPOOL_SCAN_FRAME)
        if (frame.type == SPOOL_RECORD)
            rc = buf_append_str(out, frame.whole);
    buf_deinit(&raw);
    return rc;
}

static int collect_unsynced(struct spool *s, struct buf *out)
{
    /* Only the writer adds segments and only segments with a closed descriptor are freed, so the
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

/* ---- the next segment ---- */

/* Opens the next segment with what waits to be written, and before it with what a failed sync may
 * have lost: all of it or no segment. */
static int next_segment(struct spool *s)
{
    struct spool_set *set = s->set;
    bool rescue = atomic_load(&s->sync_failed);
    struct buf begin, unsynced;
    buf_init(&begin, SPOOL_FILE_BYTES_MAX);
    buf_init(&unsynced, SPOOL_FILE_BYTES_MAX);
    struct spool_segment *segment = NULL;
    uint64_t first_seq = s->out_records > 0 ? s->out_first_seq : s->drained_seq;
    int rc = rescue ? collect_unsynced(s, &unsynced) : 0;
    if (rc == 0 && unsynced.len > 0)
        first_seq = spool_get_u64(unsynced.data + 12); /* Id of the first frame. */
    if (rc == 0 && rescue)
        rc = spool_carry_all(s, &begin);
    if (rc == 0)
        rc = buf_append_str(&begin, buf_str(&unsynced));
    if (rc == 0)
        rc = segment_create(s, first_seq, &segment);
    if (rc == 0 && begin.len > 0)
        rc = segment_append(s, segment, &begin);
    if (rc == 0 && s->out.len > 0)
        rc = segment_append(s, segment, &s->out);
    buf_deinit(&begin);
    buf_deinit(&unsynced);
    if (rc != 0) {
        if (segment != NULL)
            segment_abandon(s, segment);
        return rc;
    }
    segment->begun_end = atomic_load(&segment->written);
    if (rescue)
        mark_rescued(s);
    else
        spool_segment_seal(s);
    pthread_mutex_lock(&set->lock);
    list_push_back(&s->epoch->segments, &segment->link);
    pthread_mutex_unlock(&set->lock);
    /* Only now: until the old segments are marked, the sync thread must not try them again. */
    if (rescue)
        atomic_store(&s->sync_failed, false);
    s->current = segment;
    return 0;
}

int spool_segment_first(struct spool *s)
{
    return next_segment(s);
}

static int become_broken(struct spool *s, int rc)
{
    spool_segment_seal(s);
    s->retry_at_ms = clock_mono_ms() + RETRY_MS;
    atomic_store(&s->gate, SPOOL_BROKEN);
    return rc == ERR_NO_SPACE || rc == ERR_NOMEM ? rc : ERR_IO;
}

int spool_flush(struct spool *s)
{
    if (s->current == NULL && clock_mono_ms() < s->retry_at_ms)
        return ERR_IO;
    bool fits = s->current != NULL &&
                atomic_load_explicit(&s->current->written, memory_order_relaxed) + s->out.len <=
                    s->set->segment_bytes + s->current->begun_end;
    int rc = ERR_IO;
    if (fits && !atomic_load_explicit(&s->sync_failed, memory_order_relaxed)) {
        rc = s->out.len > 0 ? segment_append(s, s->current, &s->out) : 0;
        /* Never again on that file. What stands after `written` is a torn tail; cut it if the disk
         * still can, recovery cuts it otherwise. */
        if (rc != 0 && ftruncate(s->current->fd, (off_t)atomic_load(&s->current->written)) != 0)
            errno = 0;
    }
    if (rc != 0)
        rc = next_segment(s);
    if (rc != 0)
        return become_broken(s, rc);
    buf_clear(&s->out);
    s->out_records = 0;
    return 0;
}

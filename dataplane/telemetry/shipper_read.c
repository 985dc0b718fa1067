#include "dataplane/telemetry/shipper_read.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/base/mem.h"

void shipper_cursor_init(struct shipper_cursor *c, struct spool_set *set, struct spool_epoch *epoch)
{
    *c = (struct shipper_cursor){.set = set, .epoch = epoch, .next_seq = 1, .fd = -1};
    buf_init(&c->chunk, SHIPPER_CHUNK_BYTES);
    pthread_mutex_lock(&set->lock);
    if (!list_empty(&epoch->segments))
        c->next_seq = container_of(epoch->segments.next, struct spool_segment, link)->first_seq;
    pthread_mutex_unlock(&set->lock);
}

static void leave(struct shipper_cursor *c)
{
    if (c->fd >= 0) {
        /* A live epoch's file is written over later, which its pages make cheap; an old one's is of
         * no more use. */
        if (!c->epoch->live)
            (void)posix_fadvise(c->fd, 0, 0, POSIX_FADV_DONTNEED);
        close(c->fd);
    }
    c->fd = -1;
    c->segment = NULL;
    c->offset = c->end = 0;
    buf_clear(&c->chunk);
}

void shipper_cursor_deinit(struct shipper_cursor *c)
{
    leave(c);
    buf_deinit(&c->chunk);
}

static void enter(struct shipper_cursor *c, struct spool_segment *segment)
{
    leave(c);
    c->segment = segment;
    c->offset = SPOOL_HEADER_BYTES;
}

void shipper_cursor_seek(struct shipper_cursor *c, uint64_t seq)
{
    struct spool_segment *best = NULL;
    pthread_mutex_lock(&c->set->lock);
    LIST_FOREACH (it, &c->epoch->segments) {
        struct spool_segment *segment = container_of(it, struct spool_segment, link);
        if (best == NULL || segment->first_seq <= seq)
            best = segment;
    }
    pthread_mutex_unlock(&c->set->lock);
    leave(c);
    if (best != NULL)
        enter(c, best);
    c->next_seq = seq;
}

void shipper_cursor_leave(struct shipper_cursor *c, const struct spool_segment *segment)
{
    if (c->segment == segment)
        leave(c);
}

/* What may be read of a segment, and whether that is all it will ever hold. */
static uint64_t readable(const struct shipper_cursor *c, const struct spool_segment *segment,
                         bool *out_done, struct spool_segment **out_next)
{
    pthread_mutex_lock(&c->set->lock);
    *out_done = segment->sealed && segment->fd < 0;
    *out_next = segment->link.next != &c->epoch->segments
                    ? container_of(segment->link.next, struct spool_segment, link)
                    : NULL;
    uint64_t end = atomic_load_explicit(&segment->synced, memory_order_acquire);
    pthread_mutex_unlock(&c->set->lock);
    return end;
}

/* Fills the chunk from c->offset on. */
static int fill(struct shipper_cursor *c, uint64_t end)
{
    if (c->fd < 0) {
        char *path = spool_segment_path(c->segment);
        if (path == NULL)
            return ERR_NOMEM;
        c->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        mem_free(path);
        if (c->fd < 0)
            return err_from_errno(errno);
    }
    size_t want =
        end - c->offset < SHIPPER_CHUNK_BYTES ? (size_t)(end - c->offset) : SHIPPER_CHUNK_BYTES;
    buf_clear(&c->chunk);
    int rc = buf_reserve(&c->chunk, want);
    while (rc == 0 && c->chunk.len < want) {
        ssize_t n = pread(c->fd, c->chunk.data + c->chunk.len, want - c->chunk.len,
                          (off_t)(c->offset + c->chunk.len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = err_from_errno(errno);
        else if (n == 0)
            break; /* Shorter than it was: what is missing shows as a gap. */
        else
            c->chunk.len += (size_t)n;
    }
    c->chunk_offset = c->offset;
    return rc;
}

/* The next good frame of the segment at or after c->offset. */
enum frame_next { FRAME_FOUND, FRAME_NONE, FRAME_FAILED };
static enum frame_next next_frame(struct shipper_cursor *c, uint64_t end, struct spool_frame *out)
{
    while (c->offset < end) {
        bool inside = c->offset >= c->chunk_offset && c->chunk.len > 0 &&
                      c->offset < c->chunk_offset + c->chunk.len;
        if (!inside && fill(c, end) != 0)
            return FRAME_FAILED;
        if (c->chunk.len == 0) {
            c->offset = end;
            return FRAME_NONE;
        }
        size_t at = (size_t)(c->offset - c->chunk_offset);
        struct spool_scan scan;
        spool_scan_init(&scan, str_slice(buf_str(&c->chunk), at, c->chunk.len), c->segment->salt);
        if (spool_scan_next(&scan, out) == SPOOL_SCAN_FRAME) {
            c->quarantined += scan.quarantined;
            c->offset += scan.offset;
            return FRAME_FOUND;
        }
        bool more = c->chunk_offset + c->chunk.len < end;
        if (more && at > 0) {
            buf_clear(&c->chunk); /* The frame goes on behind the chunk. */
        } else if (more) {
            c->quarantined++; /* A whole chunk without a frame. */
            c->offset += c->chunk.len - SPOOL_FRAME_BYTES - SPOOL_PAYLOAD_MAX;
            buf_clear(&c->chunk);
        } else {
            c->quarantined++;
            c->offset = end;
        }
    }
    return FRAME_NONE;
}

static bool first_segment(struct shipper_cursor *c)
{
    struct spool_segment *first = NULL;
    pthread_mutex_lock(&c->set->lock);
    if (!list_empty(&c->epoch->segments))
        first = container_of(c->epoch->segments.next, struct spool_segment, link);
    pthread_mutex_unlock(&c->set->lock);
    if (first == NULL)
        return false;
    enter(c, first);
    return true;
}

/* Goes on to what was synced meanwhile, or to the next segment; false: there is nothing. */
static bool go_on(struct shipper_cursor *c)
{
    bool done;
    struct spool_segment *next;
    uint64_t end = readable(c, c->segment, &done, &next);
    if (c->end < end)
        c->end = end;
    else if (done && next != NULL)
        enter(c, next);
    else
        return false;
    return true;
}

enum shipper_next shipper_cursor_next(struct shipper_cursor *c, struct str *out_record,
                                      uint64_t *out_gap_to)
{
    if (c->segment == NULL && !first_segment(c))
        return SHIPPER_NOTHING;
    for (;;) {
        struct spool_frame frame;
        enum frame_next found = next_frame(c, c->end, &frame);
        if (found == FRAME_FAILED)
            return SHIPPER_FAILED;
        if (found == FRAME_NONE) {
            if (!go_on(c))
                return SHIPPER_NOTHING;
            continue;
        }
        uint64_t intent;
        if (frame.type != SPOOL_RECORD || frame.id < c->next_seq ||
            !spool_record_split(&frame, &intent, out_record))
            continue;
        if (frame.id > c->next_seq) {
            *out_gap_to = frame.id - 1;
            c->next_seq = frame.id;
            c->offset -= frame.whole.len; /* It comes again, as next_seq's. */
            return SHIPPER_GAP;
        }
        c->next_seq++;
        return SHIPPER_RECORD;
    }
}

bool shipper_cursor_at_end(const struct shipper_cursor *c)
{
    if (c->segment == NULL)
        return list_empty(&c->epoch->segments);
    bool done;
    struct spool_segment *next;
    uint64_t end = readable(c, c->segment, &done, &next);
    return done && next == NULL && c->offset >= end;
}

/* Usual path of an entry: its bytes are written behind the last one, the sum is made, and a release
 * store of `published` makes it part of the ring; the taker copies it out and moves `taken`.
 *
 * Ways to fail: the file cannot be made or has no space -> the start fails, so that later no store
 * can run out of space. A device that fails under the mapping, or someone who truncates the file,
 * is SIGBUS: the process dies and starts again (F38). */
#include "dataplane/telemetry/spool_ring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "dataplane/telemetry/spool_internal.h"

#define TAKEN_OFFSET     1024U /* Two lines of the cache, each written by one thread. */
#define PUBLISHED_OFFSET 2048U

#define LINE_BYTES 64U
#define MORE_BYTES (4U * LINE_BYTES) /* That an entry may be longer than the one before. */

static const char magic[8] = {'S', 'Y', 'R', 'I', 'N', 'G', '0', '1'};

static_assert(sizeof(struct spool_ring_entry) == SPOOL_RING_ENTRY_BYTES, "layout of the ring");

/* ---- the sum ---- */

/* Words added up in lanes that do not wait for each other, each weighted at the end: a few cycles
 * for 64 bytes. It finds torn pages and flipped bits; nobody is kept out by it. Entries begin at
 * multiples of 16. */
typedef uint64_t words __attribute__((vector_size(16), may_alias));

static uint64_t sum_of(uint64_t position, const void *from, size_t len)
{
    const words *w = from;
    words a = {position, len}, b = {0, 0};
    for (; len >= 128; len -= 128, w += 8) {
        a += w[0];
        b += w[1];
        a += w[2] + w[3];
        b += w[4] + w[5];
        a += w[6];
        b += w[7];
    }
    for (; len >= 16; len -= 16)
        b += *w++ ^ len; /* The place counts. */
    uint64_t h = a[0] * UINT64_C(0x9e3779b97f4a7c15) + a[1] * UINT64_C(0xc2b2ae3d27d4eb4f) +
                 b[0] * UINT64_C(0x165667b19e3779f9) + b[1] * UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 32;
}

#define SUMMED_FROM offsetof(struct spool_ring_entry, id)

static uint64_t entry_sum(const struct spool_ring_entry *e)
{
    return sum_of(e->position, (const uint8_t *)e + SUMMED_FROM, e->len - SUMMED_FROM);
}

/* The place of the next entry was written a whole ring ago, so that no cache has it. It is fetched
 * for writing now, as much of it as this one took: stores that miss would hold up the next sum. */
static void fetch_ahead(const struct spool_ring *r, uint32_t len)
{
    const uint8_t *at = r->data + (r->head & (r->size - 1)), *const end = at + len + MORE_BYTES;
    for (; at < end; at += LINE_BYTES)
        __builtin_prefetch(at, 1);
}

bool spool_ring_commit(struct spool_ring *r, struct spool_ring_entry *entry, uint8_t *payload_end)
{
    uint32_t used = (uint32_t)(payload_end - (uint8_t *)entry);
    uint32_t len = (used + 15U) & ~15U;
    memset(payload_end, 0, len - used);
    entry->position = r->head;
    entry->len = len;
    entry->payload_len = used - SPOOL_RING_ENTRY_BYTES;
    entry->sum = entry_sum(entry);
    r->head += len;
    fetch_ahead(r, len);
    assert(r->head - r->taken_seen <= r->size);
    atomic_store_explicit(r->published, r->head, memory_order_release);
    return r->head >= atomic_load_explicit(&r->wake_at, memory_order_relaxed);
}

/* ---- the file ---- */

void spool_ring_header_encode(const struct spool_ring_header *h,
                              uint8_t out[SPOOL_RING_HEADER_BYTES])
{
    memset(out, 0, SPOOL_RING_HEADER_BYTES);
    memcpy(out, magic, sizeof(magic));
    spool_put_u64(out + 8, SPOOL_RING_VERSION);
    spool_put_u64(out + 16, h->epoch);
    spool_put_u64(out + 24, h->size);
    memcpy(out + 32, h->node_id.bytes, 16);
    memcpy(out + 48, h->boot_id.bytes, 16);
    spool_put_u64(out + 72, crc32c(0, out, 72));
}

static bool size_valid(uint64_t size)
{
    return size >= SPOOL_RING_BYTES_MIN && size <= SPOOL_RING_BYTES_MAX && (size & (size - 1)) == 0;
}

int spool_ring_header_decode(struct str data, struct spool_ring_header *out_header)
{
    if (data.len < SPOOL_RING_HEADER_BYTES)
        return ERR_EOF;
    const uint8_t *p = (const uint8_t *)data.data;
    if (memcmp(p, magic, sizeof(magic)) != 0 || spool_get_u64(p + 72) != crc32c(0, p, 72))
        return ERR_CORRUPT;
    uint64_t version = spool_get_u64(p + 8);
    if (version < SPOOL_RING_VERSION_MIN || version > SPOOL_RING_VERSION)
        return ERR_VERSION;
    struct spool_ring_header h = {.epoch = spool_get_u64(p + 16), .size = spool_get_u64(p + 24)};
    if (!size_valid(h.size))
        return ERR_CORRUPT;
    memcpy(h.node_id.bytes, p + 32, 16);
    memcpy(h.boot_id.bytes, p + 48, 16);
    *out_header = h;
    return 0;
}

/* Reserves twice the data's addresses and puts the file there twice. */
static int map_data(int fd, struct spool_ring *r)
{
    uint8_t *base =
        mmap(NULL, 2 * r->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return err_from_errno(errno);
    r->data = base;
    for (int i = 0; i < 2; i++)
        if (mmap(base + (uint64_t)i * r->size, r->size, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED, fd, SPOOL_RING_PAGE_BYTES) == MAP_FAILED)
            return err_from_errno(errno);
    return 0;
}

static int map(int fd, struct spool_ring *r)
{
    void *page = mmap(NULL, SPOOL_RING_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return err_from_errno(errno);
    r->page = page;
    r->taken = (_Atomic uint64_t *)(void *)(r->page + TAKEN_OFFSET);
    r->published = (_Atomic uint64_t *)(void *)(r->page + PUBLISHED_OFFSET);
    return map_data(fd, r);
}

/* Takes space and header under a name that a start removes: whoever dies in here leaves no ring. */
static int make_file(const char *tmp, const struct spool_ring_header *header, struct spool_ring *r)
{
    uint8_t bytes[SPOOL_RING_HEADER_BYTES];
    spool_ring_header_encode(header, bytes);
    int fd = spool_io.open_new(tmp);
    if (fd < 0)
        return err_from_errno(errno);
    int rc = spool_io.fallocate(fd, SPOOL_RING_PAGE_BYTES + header->size);
    rc = rc != 0 ? err_from_errno(rc) : map(fd, r);
    if (rc == 0)
        rc = spool_write_all(fd, bytes, sizeof(bytes));
    close(fd);
    if (rc != 0)
        (void)spool_io.unlink(tmp);
    return rc;
}

int spool_ring_create(const char *dir, uint64_t size, uint64_t epoch, const struct uuid *node_id,
                      const struct uuid *boot_id, struct spool_ring *out_ring)
{
    struct spool_ring r = {.size = size};
    assert(size_valid(size));
    struct spool_ring_header header = {
        .epoch = epoch, .size = size, .node_id = *node_id, .boot_id = *boot_id};
    char *tmp = spool_path_join(dir, SPOOL_RING_TMP);
    char *path = spool_path_join(dir, SPOOL_RING_NAME);
    int rc = tmp != NULL && path != NULL ? make_file(tmp, &header, &r) : ERR_NOMEM;
    if (rc == 0 && spool_io.rename(tmp, path) != 0) {
        rc = err_from_errno(errno);
        (void)spool_io.unlink(tmp);
    }
    mem_free(tmp);
    mem_free(path);
    if (rc != 0)
        spool_ring_unmap(&r);
    else
        *out_ring = r;
    return rc;
}

void spool_ring_unmap(struct spool_ring *r)
{
    if (r->data != NULL)
        (void)munmap(r->data, 2 * r->size);
    if (r->page != NULL)
        (void)munmap(r->page, SPOOL_RING_PAGE_BYTES);
    *r = (struct spool_ring){0};
}

void spool_ring_trim(struct spool_ring *r)
{
    (void)madvise(r->data, 2 * r->size, MADV_DONTNEED);
}

/* ---- reading a dead process's ---- */

static uint64_t position_in(struct str file, size_t offset)
{
    uint64_t v;
    memcpy(&v, file.data + offset, sizeof(v));
    return v;
}

int spool_ring_collect(struct str file, const struct spool_ring_header *header, struct buf *out,
                       struct spool_ring_scan *out_scan)
{
    if (file.len != SPOOL_RING_PAGE_BYTES + header->size)
        return ERR_CORRUPT;
    uint64_t taken = position_in(file, TAKEN_OFFSET);
    uint64_t published = position_in(file, PUBLISHED_OFFSET);
    if (taken > published || published - taken > header->size || taken % 16 != 0 ||
        published % 16 != 0)
        return ERR_CORRUPT;
    size_t len = (size_t)(published - taken);
    size_t at = (size_t)(taken & (header->size - 1));
    size_t first = header->size - at < len ? (size_t)header->size - at : len;
    const char *data = file.data + SPOOL_RING_PAGE_BYTES;
    int rc = buf_append(out, data + at, first);
    if (rc == 0)
        rc = buf_append(out, data, len - first);
    if (rc == 0)
        *out_scan = (struct spool_ring_scan){.data = buf_str(out), .position = taken};
    return rc;
}

void spool_ring_rewind(struct spool_ring_scan *scan)
{
    scan->offset = 0;
    scan->quarantined = 0;
}

static bool entry_at(const struct spool_ring_scan *scan, size_t offset,
                     struct spool_ring_entry *out)
{
    size_t left = scan->data.len - offset;
    if (left < SPOOL_RING_ENTRY_BYTES)
        return false;
    memcpy(out, scan->data.data + offset, sizeof(*out));
    if (out->position != scan->position + offset || out->len < SPOOL_RING_ENTRY_BYTES ||
        out->len > left || out->len % 16 != 0 || out->type < SPOOL_RING_INTENT ||
        out->type > SPOOL_RING_FEEDBACK || out->payload_len > out->len - SPOOL_RING_ENTRY_BYTES)
        return false;
    const uint8_t *start = (const uint8_t *)scan->data.data + offset;
    return out->sum == sum_of(out->position, start + SUMMED_FROM, out->len - SUMMED_FROM);
}

const struct spool_ring_entry *spool_ring_next(struct spool_ring_scan *scan,
                                               struct spool_ring_entry *scratch,
                                               struct str *out_payload)
{
    bool damaged = false;
    for (; scan->offset < scan->data.len; scan->offset += 16) {
        if (!entry_at(scan, scan->offset, scratch)) {
            scan->quarantined += !damaged;
            damaged = true;
            continue;
        }
        *out_payload = (struct str){.data = scan->data.data + scan->offset + SPOOL_RING_ENTRY_BYTES,
                                    .len = scratch->payload_len};
        scan->offset += scratch->len;
        return scratch;
    }
    return NULL;
}

#include "dataplane/telemetry/spool_direct.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "dataplane/telemetry/spool_internal.h"

enum job_state {
    JOB_NONE,
    JOB_THERE, /* The thread is to do it, or does. */
    JOB_DONE,
    JOB_LEFT, /* Nobody waits for it any more. */
};

struct spool_direct {
    pthread_t thread;
    pthread_mutex_t lock; /* Of all that follows. */
    pthread_cond_t changed;
    enum job_state state;
    bool stopping;
    bool refused; /* The file system takes no such writes. */
    uint64_t again_at_ms;
    struct spool *spool;
    struct spool_chunk *chunk;
    int fd;
    size_t from, to; /* Of the chunk. */
    int result;
};

/* ---- chunks ---- */

static uint64_t chunk_end(const struct spool_chunk *chunk)
{
    return chunk->base + atomic_load_explicit(&chunk->len, memory_order_acquire);
}

static void chunk_free(struct spool_chunk *chunk)
{
    (void)munmap(chunk->data, SPOOL_CHUNK_BYTES);
    mem_free(chunk);
}

/* With set->lock held. */
static void chunk_release(struct spool *s, struct spool_chunk *chunk)
{
    assert(chunk->holders > 0);
    if (--chunk->holders > 0)
        return;
    list_push_front(&s->free_chunks, &chunk->link);
}

/* With set->lock held: out of the list, which held it. */
static void chunk_forget(struct spool *s, struct spool_chunk *chunk)
{
    list_remove(&chunk->link);
    list_init(&chunk->link);
    s->chunk_count--;
    chunk_release(s, chunk);
}

static struct spool_chunk *chunk_make(void)
{
    struct spool_chunk *chunk = mem_zalloc(sizeof(*chunk));
    if (chunk == NULL)
        return NULL;
    list_init(&chunk->link);
    void *data =
        mmap(NULL, SPOOL_CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        mem_free(chunk);
        return NULL;
    }
    chunk->data = data;
    return chunk;
}

/* A chunk of its own for what follows; its first block is the last one that was begun. */
static int chunk_next(struct spool *s, uint32_t number, uint64_t end, struct str begun)
{
    struct spool_set *set = s->set;
    pthread_mutex_lock(&set->lock);
    while (s->chunk_count >= SPOOL_CHUNKS_MAX) /* One that is held besides is one more. */
        chunk_forget(s, container_of(s->chunks.next, struct spool_chunk, link));
    struct list *unused = list_pop_front(&s->free_chunks);
    pthread_mutex_unlock(&set->lock);
    struct spool_chunk *chunk =
        unused != NULL ? container_of(unused, struct spool_chunk, link) : chunk_make();
    if (chunk == NULL)
        return ERR_NOMEM;
    assert(begun.len < SPOOL_BLOCK_BYTES);
    if (begun.len > 0)
        memcpy(chunk->data, begun.data, begun.len);
    chunk->number = number;
    chunk->base = end - begun.len;
    chunk->from = end;
    atomic_store_explicit(&chunk->len, begun.len, memory_order_relaxed);
    chunk->holders = 2; /* The list, and the writer. */
    chunk->growing = true;
    pthread_mutex_lock(&set->lock);
    if (s->chunk != NULL) {
        s->chunk->growing = false;
        chunk_release(s, s->chunk);
    }
    s->chunk = chunk;
    list_push_back(&s->chunks, &chunk->link);
    s->chunk_count++;
    pthread_mutex_unlock(&set->lock);
    return 0;
}

struct spool_chunk *spool_chunk_hold(struct spool *s, uint32_t number, uint64_t offset)
{
    struct spool_chunk *found = NULL;
    pthread_mutex_lock(&s->set->lock);
    LIST_FOREACH (it, &s->chunks) {
        struct spool_chunk *chunk = container_of(it, struct spool_chunk, link);
        if (chunk->number == number && chunk->from <= offset && offset < chunk_end(chunk)) {
            found = chunk;
            found->holders++;
            break;
        }
    }
    pthread_mutex_unlock(&s->set->lock);
    return found;
}

void spool_chunk_drop(struct spool *s, struct spool_chunk *chunk)
{
    pthread_mutex_lock(&s->set->lock);
    chunk_release(s, chunk);
    pthread_mutex_unlock(&s->set->lock);
}

void spool_chunks_pass(struct spool *s, uint32_t number, uint64_t offset)
{
    pthread_mutex_lock(&s->set->lock);
    LIST_FOREACH_SAFE (it, tmp, &s->chunks) {
        struct spool_chunk *chunk = container_of(it, struct spool_chunk, link);
        bool passed =
            chunk->number < number || (chunk->number == number && chunk_end(chunk) <= offset);
        if (!passed || chunk->growing)
            break;
        chunk_forget(s, chunk);
    }
    pthread_mutex_unlock(&s->set->lock);
}

bool spool_chunks_find(const struct spool *s, uint32_t number, uint64_t from, uint64_t to,
                       uint8_t *out)
{
    LIST_FOREACH (it, &s->chunks) {
        const struct spool_chunk *chunk = container_of(it, struct spool_chunk, link);
        uint64_t end = chunk_end(chunk);
        if (chunk->number != number || from < chunk->base || from >= end)
            continue;
        size_t len = (size_t)((end < to ? end : to) - from);
        memcpy(out, chunk->data + (from - chunk->base), len);
        out += len;
        from += len;
    }
    return from >= to;
}

/* ---- the thread ---- */

static int write_blocks(int fd, const uint8_t *data, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t n = spool_io.pwrite(fd, data, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_from_errno(errno);
        if (n == 0 || n % SPOOL_BLOCK_BYTES != 0)
            return ERR_IO; /* What follows could not be written so. */
        data += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static void *direct_main(void *arg)
{
    struct spool_direct *d = arg;
    pthread_mutex_lock(&d->lock);
    for (;;) {
        while (d->state != JOB_THERE && !d->stopping)
            pthread_cond_wait(&d->changed, &d->lock);
        if (d->state != JOB_THERE)
            break;
        struct spool_chunk *chunk = d->chunk;
        size_t from = d->from, to = d->to;
        int fd = d->fd;
        pthread_mutex_unlock(&d->lock);
        int rc = write_blocks(fd, chunk->data + from, to - from, chunk->base + from);
        pthread_mutex_lock(&d->lock);
        d->result = rc;
        if (d->state == JOB_LEFT) {
            close(fd);
            spool_chunk_drop(d->spool, chunk);
            d->state = JOB_NONE;
        } else {
            d->state = JOB_DONE;
        }
        pthread_cond_broadcast(&d->changed);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

int spool_direct_create(struct spool_direct **out_direct)
{
    struct spool_direct *d = mem_zalloc(sizeof(*d));
    if (d == NULL)
        return ERR_NOMEM;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&d->lock, NULL);
    if (pthread_create(&d->thread, NULL, direct_main, d) != 0) {
        pthread_cond_destroy(&d->changed);
        pthread_mutex_destroy(&d->lock);
        mem_free(d);
        return ERR_LIMIT;
    }
    *out_direct = d;
    return 0;
}

void spool_direct_destroy(struct spool_direct *d)
{
    if (d == NULL)
        return;
    pthread_mutex_lock(&d->lock);
    d->stopping = true;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

/* ---- the writer ---- */

static struct timespec later(uint32_t ms)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return t;
}

/* Blocks [from, to) of the current chunk. ERR_TIMEOUT: chunk and descriptor are the thread's. */
static int write_out(struct spool *s, size_t from, size_t to)
{
    struct spool_direct *d = s->set->direct;
    pthread_mutex_lock(&d->lock);
    assert(d->state == JOB_NONE);
    d->spool = s;
    d->chunk = s->chunk;
    d->fd = s->direct_fd;
    d->from = from;
    d->to = to;
    d->state = JOB_THERE;
    pthread_cond_broadcast(&d->changed);
    const struct timespec until = later(s->set->patience_ms);
    int waited = 0;
    while (d->state != JOB_DONE && waited == 0)
        waited = pthread_cond_timedwait(&d->changed, &d->lock, &until);
    int rc = ERR_TIMEOUT;
    if (d->state == JOB_DONE) {
        d->state = JOB_NONE;
        rc = d->result;
    } else {
        d->state = JOB_LEFT;
        d->again_at_ms = clock_mono_ms() + SPOOL_REST_MS;
        s->direct_fd = -1;
        pthread_mutex_lock(&s->set->lock);
        s->chunk->growing = false;
        s->chunk = NULL;
        pthread_mutex_unlock(&s->set->lock);
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

/* May a segment be begun? A write that was left must have ended. */
static bool usable(struct spool_direct *d)
{
    pthread_mutex_lock(&d->lock);
    bool is = !d->refused && d->state == JOB_NONE && clock_mono_ms() >= d->again_at_ms;
    pthread_mutex_unlock(&d->lock);
    return is;
}

void spool_direct_rest(struct spool_direct *d)
{
    pthread_mutex_lock(&d->lock);
    d->again_at_ms = clock_mono_ms() + SPOOL_REST_MS;
    pthread_mutex_unlock(&d->lock);
}

static void refuse_direct(struct spool_direct *d)
{
    pthread_mutex_lock(&d->lock);
    d->refused = true;
    pthread_mutex_unlock(&d->lock);
}

static size_t blocks_down(size_t bytes)
{
    return bytes / SPOOL_BLOCK_BYTES * SPOOL_BLOCK_BYTES;
}

static size_t blocks_up(size_t bytes)
{
    return blocks_down(bytes + SPOOL_BLOCK_BYTES - 1);
}

/* Adds to the current chunk, which has room, and writes the blocks that have changed. */
static int chunk_append(struct spool *s, struct str bytes)
{
    struct spool_chunk *chunk = s->chunk;
    size_t len = atomic_load_explicit(&chunk->len, memory_order_relaxed);
    size_t end = len + bytes.len;
    memcpy(chunk->data + len, bytes.data, bytes.len);
    memset(chunk->data + end, 0, blocks_up(end) - end);
    int rc = write_out(s, blocks_down(len), blocks_up(end));
    if (rc == 0)
        atomic_store_explicit(&chunk->len, end, memory_order_release);
    return rc;
}

int spool_direct_begin(struct spool *s, uint32_t number, const char *path, struct str header)
{
    struct spool_direct *d = s->set->direct;
    assert(s->direct_fd < 0);
    if (d == NULL || !usable(d))
        return ERR_INVALID;
    s->direct_fd = spool_io.open_direct(path);
    if (s->direct_fd < 0) {
        refuse_direct(d);
        return ERR_INVALID;
    }
    int rc = chunk_next(s, number, 0, (struct str){0}) == 0 ? 0 : ERR_INVALID;
    if (rc == 0) {
        rc = chunk_append(s, header);
        if (rc == ERR_INVALID)
            refuse_direct(d);
    }
    if (rc != 0)
        spool_direct_end(s);
    return rc;
}

int spool_direct_append(struct spool *s, struct str frames)
{
    /* Frames that go over the end of a chunk are not looked for in it. */
    bool split = frames.len > SPOOL_CHUNK_BYTES - SPOOL_BLOCK_BYTES;
    int rc = 0;
    while (frames.len > 0 && rc == 0) {
        struct spool_chunk *chunk = s->chunk;
        size_t len = atomic_load_explicit(&chunk->len, memory_order_relaxed);
        size_t room = SPOOL_CHUNK_BYTES - len;
        if (room < frames.len && (!split || room == 0)) {
            size_t begun = blocks_down(len);
            rc = chunk_next(s, chunk->number, chunk->base + len,
                            (struct str){(const char *)chunk->data + begun, len - begun});
            continue;
        }
        size_t n = room < frames.len ? room : frames.len;
        if (split) {
            pthread_mutex_lock(&s->set->lock);
            chunk->from = UINT64_MAX;
            pthread_mutex_unlock(&s->set->lock);
        }
        rc = chunk_append(s, str_slice(frames, 0, n));
        frames = str_slice(frames, n, frames.len);
    }
    if (rc == ERR_INVALID)
        refuse_direct(s->set->direct);
    return rc;
}

void spool_direct_end(struct spool *s)
{
    if (s->direct_fd >= 0)
        close(s->direct_fd);
    s->direct_fd = -1;
    if (s->chunk == NULL)
        return;
    pthread_mutex_lock(&s->set->lock);
    struct spool_chunk *chunk = s->chunk;
    s->chunk = NULL;
    chunk->growing = false;
    chunk_release(s, chunk);
    pthread_mutex_unlock(&s->set->lock);
}

void spool_direct_trim(struct spool *s)
{
    struct spool_chunk *now = s->chunk;
    if (now != NULL) {
        size_t len = atomic_load_explicit(&now->len, memory_order_relaxed),
               begun = blocks_down(len);
        /* Without memory it stays. */
        (void)!chunk_next(s, now->number, now->base + len,
                          (struct str){(const char *)now->data + begun, len - begun});
    }
    pthread_mutex_lock(&s->set->lock);
    LIST_FOREACH_SAFE (it, tmp, &s->chunks) {
        struct spool_chunk *chunk = container_of(it, struct spool_chunk, link);
        if (!chunk->growing)
            chunk_forget(s, chunk);
    }
    for (struct list *it; (it = list_pop_front(&s->free_chunks)) != NULL;)
        chunk_free(container_of(it, struct spool_chunk, link));
    pthread_mutex_unlock(&s->set->lock);
}

/* Segments past the page cache: what the shipper has from memory, what is in the files, and disks
 * that refuse or stall. The deaths and failures of the other spool tests are tried this way too,
 * there. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "tests/unit/dataplane/spool_fixture.h"

static struct found found;

static void expect_all(struct world *w, uint32_t count)
{
    memset(&found, 0, sizeof(found));
    read_epoch(w, w->spool->epoch, &found);
    assert_int_equal(found.records, count);
    assert_int_equal(found.gap_records, 0);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(found.ok[i], 1);
}

/* All that was written, as the next start finds it. */
static void expect_recovered(struct world *w, uint32_t count)
{
    close_set(w);
    open_set(w, 0, 0);
    assert_int_equal(w->recovery.torn_bytes, 0);
    assert_int_equal(w->recovery.quarantined, 0);
    assert_int_equal(w->recovery.refused_files, 0);
    read_first(w, &found);
    assert_int_equal(found.records, count);
    assert_int_equal(found.gap_records, 0);
}

static void several(struct world *w, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        one(w, i);
}

/* ---- memory and files ---- */

static void what_is_shipped_comes_from_memory(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    assert_true(w->spool->current->direct);
    several(w, 0, 40);
    spool_set_sync(w->set);
    char *path = spool_segment_path(w->spool->current);
    assert_int_equal(truncate(path, 0), 0); /* Nobody looks there. */
    mem_free(path);
    expect_all(w, 40);
}

static void what_was_shipped_once_is_read_from_the_file(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    several(w, 0, 20);
    spool_set_sync(w->set);
    expect_all(w, 20);
    spool_direct_trim(w->spool); /* As at rest. */
    assert_int_equal(w->spool->chunk_count, 1);
    expect_all(w, 20);
    several(w, 20, 30); /* Behind a block that was begun. */
    spool_set_sync(w->set);
    expect_all(w, 30);
    expect_recovered(w, 30);
}

static void files_are_whole_blocks_and_hold_every_record(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 16384);
    several(w, 0, 60);
    assert_true(w->spool->current->number > 3);
    char *path = spool_segment_path(w->spool->current);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 0 && st.st_size % SPOOL_BLOCK_BYTES == 0);
    mem_free(path);
    expect_recovered(w, 60);
}

static void no_more_is_kept_in_memory_than_the_bound(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 8192);
    several(w, 0, 200); /* Each segment has a chunk of its own. */
    assert_int_equal(w->spool->chunk_count, SPOOL_CHUNKS_MAX);
    spool_set_sync(w->set);
    expect_all(w, 200); /* The first from files, the last from memory. */
    assert_true(w->spool->chunk_count <= 2);
}

static void frames_that_fill_several_chunks_are_found_in_the_file(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    several(w, 0, 3);
    /* As when very many requests are open: all of their frames in one piece. */
    struct buf many;
    buf_init(&many, 1U << 24);
    uint64_t seq = 4;
    while (many.len < 3 * SPOOL_CHUNK_BYTES + 12345) {
        sample_init(&sample, (uint32_t)seq - 1);
        const struct spool_packing p = {.seq = seq++, .d = &sample.d, .o = &sample.o};
        assert_int_equal(spool_pack_record(&many, &p), 0);
    }
    struct spool_segment *segment = w->spool->current;
    spool_frames_seal(many.data, many.len, segment->salt);
    assert_int_equal(spool_direct_append(w->spool, buf_str(&many)), 0);
    atomic_fetch_add(&segment->written, many.len);
    buf_deinit(&many);
    w->spool->drained_seq = seq;
    atomic_store(&w->spool->written_seq, seq);
    atomic_store(&w->spool->next_seq, seq);
    several(w, (uint32_t)seq - 1, (uint32_t)seq + 9);
    spool_set_sync(w->set);
    expect_all(w, (uint32_t)seq + 9);
}

static void memory_that_has_changed_is_not_believed(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    several(w, 0, 12);
    spool_set_sync(w->set);
    for (size_t at = SPOOL_HEADER_BYTES; at < 9000; at += 97)
        w->spool->chunk->data[at] ^= 0x10;
    expect_all(w, 12);
}

/* ---- refusals ---- */

static int refusing_open(const char *path)
{
    (void)path;
    errno = EINVAL;
    return -1;
}

static int refusals;
static ssize_t refusing_pwrite(int fd, const void *data, size_t len, off_t offset)
{
    if (refusals-- <= 0)
        return real_io.pwrite(fd, data, len, offset);
    errno = EINVAL;
    return -1;
}

static void a_file_system_that_refuses_is_asked_once(void **state)
{
    struct world *w = *state;
    for (int way = 0; way < 2; way++) {
        empty_dir(w);
        refusals = 1;
        if (way == 0)
            spool_io.open_direct = refusing_open;
        else
            spool_io.pwrite = refusing_pwrite;
        open_set(w, 0, 16384);
        assert_false(w->spool->current->direct);
        several(w, 0, 60);
        assert_true(w->spool->current->number > 3);
        assert_false(w->spool->current->direct);
        spool_set_sync(w->set);
        expect_all(w, 60);
        spool_io = real_io;
        expect_recovered(w, 60);
        close_set(w);
    }
}

static void f8_a_refusal_in_the_middle_costs_a_segment_and_nothing_else(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    several(w, 0, 5);
    spool_io.pwrite = refusing_pwrite;
    refusals = 1;
    several(w, 5, 10);
    assert_int_equal(w->spool->current->number, 2);
    assert_false(w->spool->current->direct);
    spool_set_sync(w->set);
    expect_all(w, 10);
    expect_recovered(w, 10);
}

/* ---- a disk that stalls ---- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int stalls;
static ssize_t stalling_pwrite(int fd, const void *data, size_t len, off_t offset)
{
    if (atomic_fetch_sub(&stalls, 1) == 1) {
        pthread_mutex_lock(&gate);
        pthread_mutex_unlock(&gate);
    }
    return real_io.pwrite(fd, data, len, offset);
}

static void f8_a_write_that_stalls_holds_nobody_up(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    w->set->patience_ms = 20;
    several(w, 0, 5);
    struct spool_intent *open = NULL;
    assert_int_equal(begin(w, 5, &open), 0);
    spool_io.pwrite = stalling_pwrite;
    atomic_store(&stalls, 1);
    pthread_mutex_lock(&gate);
    struct spool_segment *first = w->spool->current;
    end(w, 5, open); /* Its write waits; it stands in the next segment. */
    assert_int_equal(w->spool->current->number, 2);
    assert_false(w->spool->current->direct);
    assert_true(first->stalled);
    several(w, 6, 12);
    assert_true(spool_ready(w->spool));
    assert_int_equal(spool_set_ring_bytes(w->set), 0);
    spool_set_sync(w->set);
    expect_all(w, 12);
    pthread_mutex_unlock(&gate); /* And comes after all. */
    close_set(w);                /* Waits for it. */
    spool_io = real_io;
    open_set(w, 0, 0);
    assert_int_equal(w->recovery.quarantined, 0);
    read_first(w, &found);
    assert_int_equal(found.records, 12);
    assert_int_equal(found.crashes, 0);
    assert_int_equal(found.gap_records, 0);
}

static void f8_a_stall_while_a_segment_begins_makes_another_one(void **state)
{
    struct world *w = *state;
    for (int which = 1; which <= 2; which++) { /* Its header, or what it was made for. */
        empty_dir(w);
        open_set(w, 0, 0);
        w->set->patience_ms = 20;
        several(w, 0, 4);
        w->set->segment_bytes = 64; /* It is full. */
        spool_io.pwrite = stalling_pwrite;
        atomic_store(&stalls, which);
        pthread_mutex_lock(&gate);
        uint32_t before = w->spool->current->number;
        struct spool_intent *intent = NULL;
        assert_int_equal(begin(w, 4, &intent), 0);
        assert_true(spool_ready(w->spool));
        assert_int_equal(w->spool->current->number, before + 2);
        assert_false(w->spool->current->direct);
        pthread_mutex_unlock(&gate);
        w->set->segment_bytes = SPOOL_SEGMENT_BYTES;
        end(w, 4, intent);
        several(w, 5, 10);
        spool_set_sync(w->set);
        expect_all(w, 10);
        expect_recovered(w, 10);
        close_set(w);
        spool_io = real_io;
    }
}

static void f8_a_disk_that_falls_behind_is_written_through_the_page_cache(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    struct spool_intent *intent = NULL;
    uint32_t n = 0;
    /* As if all of it had come while one write was under way. */
    pthread_mutex_lock(&w->set->drain_lock);
    while (begin_in_ring(w, n, &intent) == 0)
        end_in_ring(w, n++, intent);
    w->set->segment_bytes = 16384; /* So that a pass does not take all of it at once. */
    pthread_mutex_unlock(&w->set->drain_lock);
    spool_set_drain(w->set);
    assert_int_equal(spool_set_ring_bytes(w->set), 0);
    pthread_mutex_lock(&w->set->drain_lock);
    assert_false(w->spool->current->direct);
    w->set->segment_bytes = SPOOL_SEGMENT_BYTES;
    pthread_mutex_unlock(&w->set->drain_lock);
    several(w, n, n + 5);
    spool_set_sync(w->set);
    expect_all(w, n + 5);
    expect_recovered(w, n + 5);
}

/* ---- what waits for more ---- */

static void little_waits_until_somebody_asks_or_the_ring_fills(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    struct spool_intent *intent = NULL;
    assert_int_equal(begin_in_ring(w, 0, &intent), 0);
    end_in_ring(w, 0, intent);
    spool_set_pass(w->set, false); /* As the writer does. */
    assert_true(w->spool->out.len > 0);
    assert_true(spool_set_ring_bytes(w->set) > 0); /* A process that dies now loses nothing. */
    spool_set_drain(w->set);
    assert_int_equal(w->spool->out.len, 0);
    assert_int_equal(spool_set_ring_bytes(w->set), 0);
    uint64_t most = 0;
    for (uint32_t i = 1; i < 400; i++) {
        assert_int_equal(begin_in_ring(w, i, &intent), 0);
        end_in_ring(w, i, intent);
        spool_set_pass(w->set, false);
        if (spool_set_ring_bytes(w->set) > most)
            most = spool_set_ring_bytes(w->set);
    }
    assert_true(most > SPOOL_RING_BYTES_MIN / 8 && most < SPOOL_RING_BYTES_MIN / 2);
    spool_set_sync(w->set);
    expect_all(w, 400);
}

int main(void)
{
    past_cache = true;
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_shipped_comes_from_memory),
        TEST(what_was_shipped_once_is_read_from_the_file),
        TEST(files_are_whole_blocks_and_hold_every_record),
        TEST(no_more_is_kept_in_memory_than_the_bound),
        TEST(frames_that_fill_several_chunks_are_found_in_the_file),
        TEST(memory_that_has_changed_is_not_believed),
        TEST(a_file_system_that_refuses_is_asked_once),
        TEST(f8_a_refusal_in_the_middle_costs_a_segment_and_nothing_else),
        TEST(f8_a_write_that_stalls_holds_nobody_up),
        TEST(f8_a_stall_while_a_segment_begins_makes_another_one),
        TEST(f8_a_disk_that_falls_behind_is_written_through_the_page_cache),
        TEST(little_waits_until_somebody_asks_or_the_ring_fills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Files of acknowledged segments that become the next ones: what they held before is never taken
 * for something new, whenever a process or its host dies, and nothing acknowledged comes again. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "tests/unit/dataplane/spool_fixture.h"

#define SEGMENT  12288U /* A few records and what is carried along. */
#define REQUESTS 36U
#define STAYS    REQUESTS /* Number of a request that is open all the time. */

static struct found found;

/* Deletes or retires, oldest first, what may go when all up to `through` is acknowledged. */
static void drop_through(struct world *w, uint64_t through)
{
    struct list *segments = &w->spool->epoch->segments;
    for (;;) {
        struct spool_segment *head = container_of(segments->next, struct spool_segment, link);
        struct spool_segment *next = container_of(head->link.next, struct spool_segment, link);
        if (head->link.next == segments || !head->sealed || head->fd >= 0 ||
            head->number >= atomic_load(&w->spool->synced_floor) || next->first_seq > through + 1)
            return;
        must(spool_segment_drop(w->set, head));
    }
}

static uint64_t read_all_synced(struct world *w)
{
    memset(&found, 0, sizeof(found));
    read_epoch(w, w->spool->epoch, &found);
    return found.next_seq - 1;
}

static uint32_t spares(struct world *w)
{
    uint32_t n = 0;
    LIST_FOREACH (it, &w->spool->epoch->spares)
        n++;
    return n;
}

static uint32_t files_ending(struct world *w, const char *dir, const char *suffix)
{
    (void)w;
    uint32_t n = 0;
    for (uint32_t i = 0; i < 200; i++) {
        char path[700];
        (void)snprintf(path, sizeof(path), "%s/%08u%s", dir, i, suffix);
        n += access(path, F_OK) == 0;
    }
    return n;
}

/* Ends requests until the worker is at its n-th segment. */
static void fill_to(struct world *w, uint32_t segment, uint32_t *number)
{
    while (w->spool->current->number < segment)
        one(w, (*number)++);
}

/* ---- what is kept ---- */

static void an_acknowledged_segments_file_becomes_a_later_segment(void **state)
{
    struct world *w = *state;
    uint32_t number = 0;
    open_set(w, 0, SEGMENT);
    fill_to(w, 3, &number);
    spool_set_sync(w->set);
    drop_through(w, read_all_synced(w));
    /* Its old name may still come back with the host: no spare before the directory was synced. */
    assert_int_equal(spares(w), 0);
    assert_int_equal(files_ending(w, w->spool->epoch->dir, ".free"), 2);
    fill_to(w, 4, &number);
    spool_set_sync(w->set);
    assert_int_equal(spares(w), 2);
    uint64_t bytes = spool_set_bytes(w->set);
    struct spool_segment *spare =
        container_of(w->spool->epoch->spares.next, struct spool_segment, link);
    fill_to(w, 5, &number);
    assert_ptr_equal(w->spool->current, spare);
    assert_int_equal(spares(w), 1);
    assert_true(spool_set_bytes(w->set) <= bytes + SEGMENT); /* Only the fourth one has grown. */
    one(w, number++);
    spool_set_sync(w->set);
    uint64_t before = found.next_seq;
    assert_int_equal(read_all_synced(w), number);
    assert_true(found.next_seq > before);
    assert_int_equal(found.gap_records, 0);
    char *dir = mem_strdup(w->spool->epoch->dir);
    close_set(w);
    assert_int_equal(files_ending(w, dir, ".free"), 0);
    mem_free(dir);
    open_set(w, 0, SEGMENT);
    assert_int_equal(w->recovery.refused_files, 0);
    assert_int_equal(w->recovery.torn_bytes, 0);
    read_first(w, &found);
    assert_int_equal(found.gap_records, 0);
    assert_int_equal(found.ok[number - 1], 1);
    for (uint32_t i = 0; i < number; i++)
        assert_true(found.ok[i] <= 1 && found.crashed[i] == 0);
}

static void no_more_files_are_kept_than_the_bound_and_none_when_space_is_short(void **state)
{
    struct world *w = *state;
    uint32_t number = 0;
    open_set(w, 40 * SEGMENT, SEGMENT);
    fill_to(w, 3 + SPOOL_SPARES_MAX, &number);
    spool_set_sync(w->set);
    uint64_t bytes = spool_set_bytes(w->set);
    drop_through(w, read_all_synced(w));
    assert_int_equal(files_ending(w, w->spool->epoch->dir, ".free"), SPOOL_SPARES_MAX);
    assert_true(spool_set_bytes(w->set) < bytes);
    spool_spares_remove(w->set, w->spool->epoch);
    assert_int_equal(files_ending(w, w->spool->epoch->dir, ".free"), 0);
    uint64_t file = spool_set_bytes(w->set);
    assert_true(file < 2 * SEGMENT);
    fill_to(w, 24 + SPOOL_SPARES_MAX, &number); /* More than half of what there is. */
    spool_set_sync(w->set);
    assert_true(spool_set_bytes(w->set) > 21 * SEGMENT);
    struct list *head = w->spool->epoch->segments.next;
    drop_through(w, container_of(head->next, struct spool_segment, link)->first_seq - 1);
    assert_int_equal(files_ending(w, w->spool->epoch->dir, ".free"), 0);
}

/* ---- a disk that refuses ---- */

static int refuse_after;
static int refusing_open(const char *path)
{
    if (refuse_after-- == 0) {
        errno = EIO;
        return -1;
    }
    return real_io.open_spare(path);
}
static int refusing_rename(const char *from, const char *to)
{
    if (refuse_after-- == 0) {
        errno = EIO;
        return -1;
    }
    return real_io.rename(from, to);
}
static ssize_t refusing_write(int fd, const void *data, size_t len)
{
    if (refuse_after-- == 0) {
        ssize_t half = write(fd, data, len / 2);
        (void)half;
        errno = EIO;
        return -1;
    }
    return real_io.write(fd, data, len);
}

static void f8_a_file_that_cannot_be_used_again_is_replaced_with_nothing_lost(void **state)
{
    struct world *w = *state;
    for (int way = 0; way < 3; way++) {
        for (int n = 0; n < 8; n++) {
            uint32_t number = 0;
            empty_dir(w);
            open_set(w, 0, SEGMENT);
            fill_to(w, 3, &number);
            spool_set_sync(w->set);
            drop_through(w, read_all_synced(w));
            fill_to(w, 4, &number);
            spool_set_sync(w->set);
            refuse_after = n;
            if (way == 0)
                spool_io.open_spare = refusing_open;
            else if (way == 1)
                spool_io.rename = refusing_rename;
            else
                spool_io.write = refusing_write;
            uint32_t from = number;
            while (number < from + 16) {
                if (!spool_ready(w->spool)) { /* A new segment failed: a second has passed. */
                    w->spool->retry_at_ms = 0;
                    spool_set_drain(w->set);
                }
                one(w, number++);
            }
            spool_io = real_io;
            spool_set_drain(w->set);
            assert_true(spool_ready(w->spool));
            spool_set_sync(w->set);
            assert_int_equal(read_all_synced(w), number);
            assert_int_equal(found.gap_records, 0);
            for (uint32_t i = from; i < number; i++)
                assert_int_equal(found.ok[i], 1);
            close_set(w);
        }
    }
}

/* ---- death at each call ---- */

enum stop { BEFORE, HALF, AFTER, STOPS };
struct shared { /* With the process that dies. */
    char said[REQUESTS + 1];
    uint32_t reused;
};
static struct shared *shared;
static _Atomic int calls_left;
static enum stop stop_how;

static void stop_if(bool now)
{
    if (!now)
        return;
    (void)kill(getpid(), SIGKILL);
    for (;;)
        pause();
}
static bool stop_comes(void)
{
    bool now = atomic_fetch_sub(&calls_left, 1) == 0;
    stop_if(now && stop_how == BEFORE);
    return now;
}
static int stopping_new(const char *path)
{
    bool now = stop_comes();
    int fd = real_io.open_new(path);
    stop_if(now);
    return fd;
}
static int stopping_spare(const char *path)
{
    bool now = stop_comes();
    int fd = real_io.open_spare(path);
    shared->reused++;
    stop_if(now);
    return fd;
}
static ssize_t stopping_write(int fd, const void *data, size_t len)
{
    bool now = stop_comes();
    ssize_t n = real_io.write(fd, data, now && stop_how == HALF ? len / 2 : len);
    stop_if(now);
    return n;
}
static int stopping_rename(const char *from, const char *to)
{
    bool now = stop_comes();
    int rc = real_io.rename(from, to);
    stop_if(now);
    return rc;
}
static int stopping_unlink(const char *path)
{
    bool now = stop_comes();
    int rc = real_io.unlink(path);
    stop_if(now);
    return rc;
}

/* Requests that end, are synced, shipped and acknowledged ('A'), over segments that are written
 * over again and again; one request stays open and is carried from each to the next. */
static void recycling_life(struct world *w)
{
    struct spool_intent *open[3] = {NULL}, *stays = NULL;
    uint32_t by_seq[REQUESTS + 1] = {0};
    uint64_t seq = 0, acked = 0;
    char *said = shared->said;
    must(begin_in_ring(w, STAYS, &stays) == 0);
    said[STAYS] = 'I';
    for (uint32_t i = 0; i < REQUESTS; i++) {
        uint32_t at = i % 3;
        if (open[at] != NULL) {
            end_in_ring(w, i - 3, open[at]);
            by_seq[++seq] = i - 3;
            said[i - 3] = 'D';
        }
        must(begin_in_ring(w, i, &open[at]) == 0);
        said[i] = 'I';
        if (i % 2 == 1)
            spool_set_drain(w->set);
        if (i % 4 != 3)
            continue;
        spool_set_sync(w->set);
        for (uint64_t through = read_all_synced(w); acked < through;)
            said[by_seq[++acked]] = 'A';
        drop_through(w, acked);
    }
}

static bool stopped_at(struct world *w, int call, enum stop how, bool lives)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        calls_left = call;
        stop_how = how;
        spool_io.open_new = stopping_new;
        spool_io.open_spare = stopping_spare;
        spool_io.write = stopping_write;
        spool_io.rename = stopping_rename;
        spool_io.unlink = stopping_unlink;
        must(try_open_set(w, 0, SEGMENT, NULL) == 0);
        if (lives)
            recycling_life(w);
        close_set(w);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    else
        assert_int_equal(WTERMSIG(status), SIGKILL);
    return !WIFEXITED(status);
}

static void check_said(struct world *w)
{
    assert_int_equal(w->recovery.quarantined, 0);
    assert_int_equal(w->recovery.refused_files, 0);
    read_first(w, &found);
    assert_int_equal(found.gap_records, 0);
    for (uint32_t i = 0; i <= REQUESTS; i++) {
        uint32_t times = found.ok[i] + found.crashed[i];
        char said = shared->said[i];
        if (times > 1 || (said == 'A' && found.crashed[i] != 0) ||
            (said == 'D' && found.ok[i] != 1) || (said == 'I' && times != 1))
            fail_msg("request %u, of which '%c' was said, is there %u times as ended and %u times "
                     "as open",
                     i, said != 0 ? said : '-', found.ok[i], found.crashed[i]);
    }
}

static void p1_a_death_at_each_call_among_recycled_segments_loses_and_doubles_nothing(void **state)
{
    struct world *w = *state;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    bool stopped = true;
    for (int call = 0; stopped; call++) {
        for (enum stop how = BEFORE; how < STOPS; how++) {
            empty_dir(w);
            memset(shared, 0, sizeof(*shared));
            stopped = stopped_at(w, call, how, true);
            if (how == HALF && stopped) /* The next start dies as well, somewhere. */
                (void)stopped_at(w, call % 7, AFTER, false);
            open_set(w, 0, SEGMENT);
            check_said(w);
            close_set(w);
        }
        assert_true(call < 1000);
    }
    assert_true(shared->reused >= 4); /* Of the last one, which came to its end. */
    assert_int_equal(munmap(shared, sizeof(*shared)), 0);
}

/* ---- death of the host ---- */

/* `old` and `now` are one file in its two lives; the second one is the shorter. */
struct lives {
    char *path; /* Of the second. */
    struct buf old, now;
    uint32_t old_numbers; /* Requests below this are the first's. */
    size_t end;           /* Of the second's last frame. */
};

static void live_twice(struct world *w, struct lives *l)
{
    open_set(w, 0, SEGMENT);
    uint32_t number = 0;
    char *first = first_segment(w, 1);
    fill_to(w, 2, &number);
    slurp(first, &l->old);
    mem_free(first);
    spool_set_sync(w->set);
    drop_through(w, read_all_synced(w));
    fill_to(w, 3, &number);
    spool_set_sync(w->set);
    fill_to(w, 4, &number); /* Its first record is there, and the file was recycled. */
    l->old_numbers = number - 1;
    one(w, number++);
    l->end = (size_t)atomic_load(&w->spool->current->written);
    l->path = first_segment(w, 4);
    close_set(w);
    slurp(l->path, &l->now);
    assert_int_equal(l->now.len, l->old.len);
    assert_true(l->end < l->now.len);
    assert_memory_equal(l->now.data + l->end, l->old.data + l->end, l->now.len - l->end);
}

static void open_on(struct world *w, const char *path, struct str bytes)
{
    char dir[600];
    (void)snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
    empty_dir(w);
    assert_int_equal(mkdir(dir, 0700), 0);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.data, bytes.len), (ssize_t)bytes.len);
    close(fd);
    struct err err = {0};
    struct spool_options options = {.dir = w->dir,
                                    .node_id = {{0}},
                                    .spools = 1,
                                    .segment_bytes = SEGMENT,
                                    .sync_ms = 3600000,
                                    .drain_ms = 3600000,
                                    .ring_bytes = SPOOL_RING_BYTES_MIN,
                                    .audit_strict = true};
    if (spool_set_create(&options, &w->set, &w->recovery, &err) != 0)
        fail_msg("%s", err.message);
    w->spool = spool_set_spool(w->set, 0);
}

static void only_the_second_life(struct world *w, const struct lives *l)
{
    read_first(w, &found);
    for (uint32_t i = 0; i < l->old_numbers; i++)
        if (found.ok[i] + found.crashed[i] > 0)
            fail_msg("request %u came back from the file's first life", i);
}

static void
b44_a_half_overwritten_segment_holds_what_was_written_last_and_nothing_else(void **state)
{
    struct world *w = *state;
    struct lives l = {0};
    live_twice(w, &l);
    struct buf mixed;
    buf_init(&mixed, SIZE_MAX);
    uint64_t last = 0;
    for (size_t cut = SPOOL_HEADER_BYTES, next; cut <= l.end; cut = next) {
        next = cut < l.end && cut + 13 > l.end ? l.end : cut + 13; /* Also all of it. */
        buf_clear(&mixed);
        assert_int_equal(buf_append(&mixed, l.now.data, cut), 0);
        assert_int_equal(buf_append(&mixed, l.old.data + cut, l.old.len - cut), 0);
        open_on(w, l.path, buf_str(&mixed));
        assert_int_equal(w->recovery.quarantined, 0);
        assert_int_equal(w->recovery.refused_files, 0);
        assert_true(w->recovery.torn_bytes <= 4096);
        assert_true(w->recovery.records >= last); /* More is written, more is there. */
        last = w->recovery.records;
        only_the_second_life(w, &l);
        close_set(w);
    }
    assert_true(last >= 2);
    /* Blocks come to the disk in any order: one is missing, what stands behind it counts. */
    for (size_t at = 512; at + 512 <= l.end; at += 512) {
        buf_clear(&mixed);
        assert_int_equal(buf_append_str(&mixed, buf_str(&l.now)), 0);
        memcpy(mixed.data + at, l.old.data + at, 512);
        open_on(w, l.path, buf_str(&mixed));
        assert_int_equal(w->recovery.refused_files, 0);
        assert_true(w->recovery.records < 4);
        only_the_second_life(w, &l);
        close_set(w);
    }
    buf_deinit(&mixed);
    buf_deinit(&l.old);
    buf_deinit(&l.now);
    mem_free(l.path);
}

static void b44_a_name_that_came_to_the_disk_before_its_header_holds_nothing(void **state)
{
    struct world *w = *state;
    struct lives l = {0};
    live_twice(w, &l);
    open_on(w, l.path, buf_str(&l.old));
    assert_int_equal(w->recovery.refused_files, 0);
    assert_int_equal(w->recovery.records, 0);
    assert_int_equal(w->recovery.crashed, 0);
    assert_int_not_equal(access(l.path, F_OK), 0);
    close_set(w);
    buf_deinit(&l.old);
    buf_deinit(&l.now);
    mem_free(l.path);
}

/* A spool of the version before is read, shipped and never written over. */
static void a_segment_of_version_1_is_read(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    for (uint32_t i = 0; i < 5; i++)
        one(w, i);
    char *path = first_segment(w, 1);
    close_set(w);
    struct buf file;
    slurp(path, &file);
    spool_frames_seal(file.data + SPOOL_HEADER_BYTES, file.len - SPOOL_HEADER_BYTES, 0);
    file.data[8] = 1;
    uint32_t crc = crc32c(0, file.data, 68);
    memcpy(file.data + 68, &crc, 4);
    open_on(w, path, buf_str(&file));
    assert_int_equal(w->recovery.refused_files, 0);
    assert_int_equal(w->recovery.records, 5);
    read_first(w, &found);
    assert_int_equal(found.records, 5);
    close_set(w);
    buf_deinit(&file);
    mem_free(path);
}

#define PIECE 262144U

static uint64_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static void a_file_grows_by_pieces_of_zeros_that_are_written_over(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    char *path = first_segment(w, 1);
    uint32_t number = 0;
    for (uint32_t pieces = 0; pieces < 4;) {
        one(w, number++);
        const struct spool_segment *segment = w->spool->current;
        const uint64_t written = atomic_load(&segment->written), size = size_of(path);
        assert_int_equal(size % PIECE, 0);
        assert_true(written <= size && size - written < PIECE);
        assert_int_equal(atomic_load(&segment->disk_bytes), size);
        pieces = (uint32_t)(size / PIECE);
    }
    spool_set_sync(w->set);
    assert_int_equal(read_all_synced(w), number);
    assert_int_equal(found.records, number);
    close_set(w);
    open_set(w, 0, 0); /* Zeros are neither damage nor a torn frame. */
    assert_int_equal(w->recovery.records, number);
    assert_int_equal(w->recovery.quarantined, 0);
    assert_int_equal(w->recovery.torn_bytes, 0);
    read_first(w, &found);
    assert_int_equal(found.records, number);
    close_set(w);
    mem_free(path);
}

/* A host that died with some pages on the disk: the zeros are there, the last frames are not, from
 * any byte on. */
static void b44_a_segment_whose_end_is_zeros_keeps_every_whole_frame(void **state)
{
    struct world *w = *state;
    struct buf file;
    uint64_t ends[6];
    open_set(w, 0, 0);
    char *path = first_segment(w, 1);
    for (uint32_t i = 0; i < 6; i++) {
        one(w, i);
        ends[i] = atomic_load(&w->spool->current->written);
    }
    close_set(w);
    struct str whole = slurp(path, &file);
    assert_int_equal(whole.len, PIECE);
    for (uint64_t from = ends[5]; from > ends[0]; from -= from % 7 + 1) {
        memset(file.data + from, 0, file.len - from);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, file.data, file.len), (ssize_t)file.len);
        close(fd);
        open_set(w, 0, 0);
        uint32_t records = 0;
        while (records < 6 && ends[records] <= from)
            records++;
        assert_int_equal(w->recovery.quarantined, 0);
        if (w->recovery.records != records) /* A last byte that was 0 is not missed. */
            assert_int_equal(w->recovery.records, records + 1);
        close_set(w);
        char dir[600];
        (void)snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
        empty_dir(w);
        assert_int_equal(mkdir(dir, 0700), 0);
    }
    buf_deinit(&file);
    mem_free(path);
}

/* Thousands of files are synced where that costs nothing: a process that dies leaves them alike. */
static int setup_in_memory(void **state)
{
    if (access("/dev/shm", W_OK) == 0)
        assert_int_equal(setenv("TMPDIR", "/dev/shm", 0), 0);
    return setup(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_in_memory, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_acknowledged_segments_file_becomes_a_later_segment),
        TEST(no_more_files_are_kept_than_the_bound_and_none_when_space_is_short),
        TEST(f8_a_file_that_cannot_be_used_again_is_replaced_with_nothing_lost),
        TEST(p1_a_death_at_each_call_among_recycled_segments_loses_and_doubles_nothing),
        TEST(b44_a_half_overwritten_segment_holds_what_was_written_last_and_nothing_else),
        TEST(b44_a_name_that_came_to_the_disk_before_its_header_holds_nothing),
        TEST(a_segment_of_version_1_is_read),
        TEST(a_file_grows_by_pieces_of_zeros_that_are_written_over),
        TEST(b44_a_segment_whose_end_is_zeros_keeps_every_whole_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

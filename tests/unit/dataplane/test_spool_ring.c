/* Rings: what a killed process had handed over, when the writer is called, files that are not as
 * they should be. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/link/wire.h"
#include "tests/unit/dataplane/spool_fixture.h"

static struct found found;

/* Runs `life` in a process of its own that ends without a word to the spool. */
static void die_after(struct world *w, void (*life)(struct world *w))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        must(try_open_set(w, 0, 0, NULL) == 0);
        life(w);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- death ---- */

static void some_requests(struct world *w)
{
    struct spool_intent *intent = NULL, *left = NULL;
    struct record_feedback vote = {.source = STR("thumb"), .score_q16 = 65536};
    must(begin_in_ring(w, 0, &intent) == 0);
    end_in_ring(w, 0, intent);
    spool_set_drain(w->set);
    must(begin_in_ring(w, 1, &left) == 0);
    must(begin_in_ring(w, 2, &intent) == 0);
    spool_set_drain(w->set); /* 1 and 2 are open in a segment; what follows is in the ring alone. */
    end_in_ring(w, 2, intent);
    must(begin_in_ring(w, 3, &intent) == 0);
    end_in_ring(w, 3, intent);
    sample_init(&sample, 4);
    must(spool_record(w->spool, &sample.d, &sample.o, NULL) == 0);
    must(spool_feedback(w->spool, &vote, NULL) == 0);
    must(begin_in_ring(w, 5, &left) == 0);
}

static void f4_what_stands_only_in_the_ring_is_recovered_under_its_seqs(void **state)
{
    struct world *w = *state;
    die_after(w, some_requests);
    for (int start = 0; start < 3; start++) { /* Each start sees the same; nothing doubles. */
        open_set(w, 0, 0);
        assert_int_equal(w->recovery.replayed, start == 0 ? 4 : 0);
        assert_int_equal(w->recovery.crashed, start == 0 ? 2 : 0);
        assert_int_equal(w->recovery.records, start == 0 ? 5 : 7);
        assert_int_equal(w->recovery.quarantined, 0);
        assert_int_equal(spool_set_records(w->set), 7);
        struct shipper_cursor c;
        struct str record;
        uint64_t gap_to, votes = 0;
        shipper_cursor_init(&c, w->set,
                            container_of(w->set->epochs.next, struct spool_epoch, link));
        static const uint32_t expected[] = {0, 2, 3, 4, UINT32_MAX, 1, 5};
        for (size_t i = 0; i < 7; i++) {
            ProtobufCMessage *m = NULL;
            assert_int_equal(shipper_cursor_next(&c, &record, &gap_to), SHIPPER_RECORD);
            assert_int_equal(wire_unpack(&steelyard__telemetry__v1__record__descriptor, record, &m),
                             0);
            const Steelyard__Telemetry__V1__Record *r = (const Steelyard__Telemetry__V1__Record *)m;
            if (expected[i] == UINT32_MAX) {
                assert_int_equal(r->body_case, STEELYARD__TELEMETRY__V1__RECORD__BODY_FEEDBACK);
                votes++;
            } else {
                assert_int_equal(r->decision->t_in, expected[i]);
                assert_int_equal(r->decision->n_attempt, i < 4 ? 2 : 1);
                assert_int_equal(r->decision->status,
                                 i < 4 ? RECORD_STATUS_OK : RECORD_STATUS_NODE_CRASH);
                assert_true(r->decision->packed_features.len > 0);
            }
            wire_free(m);
        }
        assert_int_equal(shipper_cursor_next(&c, &record, &gap_to), SHIPPER_NOTHING);
        assert_int_equal(votes, 1);
        shipper_cursor_deinit(&c);
        close_set(w);
    }
}

static void two_attempts(struct world *w)
{
    struct spool_intent *intent = NULL;
    struct record_attempt later = {.model = 1, .server = STR("local/later"), .start_us = 99};
    for (uint32_t i = 0; i < 3; i++) {
        must(begin_in_ring(w, i, &intent) == 0);
        if (i == 1)
            spool_set_drain(w->set);
        must(spool_attempt(w->spool, intent, &later, NULL) == 0);
        if (i == 2)
            spool_set_drain(w->set);
    }
}

static void f4_the_row_of_a_crashed_request_names_every_attempt(void **state)
{
    struct world *w = *state;
    die_after(w, two_attempts);
    open_set(w, 0, 0);
    struct shipper_cursor c;
    struct str record;
    uint64_t gap_to;
    shipper_cursor_init(&c, w->set, container_of(w->set->epochs.next, struct spool_epoch, link));
    for (uint32_t i = 0; i < 3; i++) {
        ProtobufCMessage *m = NULL;
        assert_int_equal(shipper_cursor_next(&c, &record, &gap_to), SHIPPER_RECORD);
        assert_int_equal(wire_unpack(&steelyard__telemetry__v1__record__descriptor, record, &m), 0);
        const Decision *d = ((const Steelyard__Telemetry__V1__Record *)m)->decision;
        assert_int_equal(d->n_attempt, 2);
        assert_string_equal(d->servers[d->attempt[0]->endpoint], "local/large");
        assert_string_equal(d->servers[d->attempt[1]->endpoint], "local/later");
        wire_free(m);
    }
    shipper_cursor_deinit(&c);
}

/* ---- intents of late ---- */

static void an_intent_that_ends_soon_is_never_framed(void **state)
{
    struct world *w = *state;
    struct spool_intent *intent[2];
    spool_position begun = 0;
    open_set(w, 0, 0);
    sample_init(&sample, 0);
    assert_int_equal(spool_intent(w->spool, &sample.d, &sample.attempts[0], &intent[0], &begun), 0);
    uint64_t bytes = spool_set_bytes(w->set);
    spool_set_drain_lately(w->set);
    assert_int_equal(spool_set_bytes(w->set), bytes);
    assert_true(spool_set_ring_bytes(w->set) > 0);
    assert_int_equal(begin_in_ring(w, 1, &intent[1]), 0);
    end_in_ring(w, 1, intent[1]);
    spool_set_drain_lately(w->set); /* The other's record is written, and the ring stays. */
    uint64_t one_record = spool_set_bytes(w->set) - bytes;
    assert_int_equal(atomic_load(&w->spool->written_seq), 2);
    assert_true(atomic_load(&w->spool->written) < begun);
    end_in_ring(w, 0, intent[0]);
    spool_set_drain_lately(w->set);
    assert_int_equal(spool_set_ring_bytes(w->set), 0);
    assert_true(spool_set_bytes(w->set) - bytes < 3 * one_record);
    assert_true(atomic_load(&w->spool->written) > begun);
    spool_set_sync(w->set);
    read_first(w, &found);
    assert_int_equal(found.records, 2);
    assert_int_equal(found.ok[0] + found.ok[1], 2);
}

static void an_intent_that_does_not_end_is_framed_when_the_ring_goes_on(void **state)
{
    struct world *w = *state;
    struct spool_intent *stays = NULL, *intent = NULL;
    open_set(w, 0, 0);
    assert_int_equal(begin_in_ring(w, 1000, &stays), 0);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(begin_in_ring(w, i, &intent), 0);
        end_in_ring(w, i, intent);
        spool_set_drain_lately(w->set);
        uint64_t waits = spool_set_ring_bytes(w->set);
        assert_true(waits < SPOOL_RING_BYTES_MIN / 8);
        assert_true(i > 0 || waits > 0);
    }
    assert_int_equal(spool_set_ring_bytes(w->set), 0);
    end_in_ring(w, 1000, stays);
    spool_set_sync(w->set);
    read_first(w, &found);
    assert_int_equal(found.records, 101);
    assert_int_equal(found.ok[1000], 1);
}

static void requests_of_late(struct world *w)
{
    struct spool_intent *intent = NULL, *left = NULL;
    struct record_attempt later = {.model = 1, .server = STR("local/later"), .start_us = 99};
    must(begin_in_ring(w, 0, &left) == 0);
    must(begin_in_ring(w, 1, &intent) == 0);
    spool_set_drain_lately(w->set);
    end_in_ring(w, 1, intent); /* In a segment, and in the ring as well. */
    must(spool_attempt(w->spool, left, &later, NULL) == 0);
    spool_set_drain_lately(w->set);
    must(begin_in_ring(w, 2, &intent) == 0);
    end_in_ring(w, 2, intent); /* In the ring alone. */
}

static void f4_what_stands_in_ring_and_segment_is_recovered_once(void **state)
{
    struct world *w = *state;
    die_after(w, requests_of_late);
    for (int start = 0; start < 3; start++) {
        open_set(w, 0, 0);
        assert_int_equal(w->recovery.replayed, start == 0 ? 1 : 0);
        assert_int_equal(w->recovery.crashed, start == 0 ? 1 : 0);
        assert_int_equal(w->recovery.quarantined, 0);
        memset(&found, 0, sizeof(found));
        read_first(w, &found);
        assert_int_equal(found.records, 2);
        assert_int_equal(found.crashes, 1);
        assert_true(found.ok[1] == 1 && found.ok[2] == 1 && found.crashed[0] == 1);
        assert_int_equal(found.gap_records, 0);
        close_set(w);
    }
}

#define SHORT_SEGMENT 1024U

/* What was acknowledged goes from the disk while the ring still holds it. */
static void shipped_of_late(struct world *w)
{
    struct spool_intent *intent = NULL, *left = NULL;
    w->set->segment_bytes = SHORT_SEGMENT;
    must(begin_in_ring(w, 0, &left) == 0);
    for (uint32_t i = 1; i < 4; i++) {
        must(begin_in_ring(w, i, &intent) == 0);
        end_in_ring(w, i, intent);
        spool_set_drain_lately(w->set);
    }
    spool_sync_written(w->set);
    struct list *segments = &w->spool->epoch->segments;
    uint32_t gone = 0;
    while (segments->next->next != segments) {
        must(spool_segment_drop(w->set, container_of(segments->next, struct spool_segment, link)));
        gone++;
    }
    must(gone > 0);
    must(spool_ring_taken(&w->spool->ring) == 0);
}

static void f4_what_was_acknowledged_and_is_gone_is_not_charged_again(void **state)
{
    struct world *w = *state;
    die_after(w, shipped_of_late);
    open_set(w, 0, 0);
    read_first(w, &found);
    assert_int_equal(w->recovery.crashed, 1);
    assert_int_equal(w->recovery.replayed, 0);
    assert_int_equal(found.crashed[0], 1);
    for (uint32_t i = 1; i < 4; i++)
        assert_int_equal(found.crashed[i], 0);
}

/* ---- a ring at rest ---- */

static void a_ring_that_gave_its_memory_back_still_holds_what_it_held(void **state)
{
    struct world *w = *state;
    struct spool_intent *intent = NULL;
    open_set(w, 0, 0);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(begin_in_ring(w, i, &intent), 0);
        spool_ring_trim(&w->spool->ring);
        end_in_ring(w, i, intent);
    }
    spool_set_sync(w->set);
    read_first(w, &found);
    assert_int_equal(found.records, 20);
}

/* ---- when the writer is woken ---- */

static void the_writer_is_woken_for_five_milliseconds_of_records(void **state)
{
    (void)state;
    const uint64_t ring = SPOOL_RING_BYTES;
    assert_int_equal(spool_wake_bytes(6000000, 100, ring), 300000);
    assert_int_equal(spool_wake_bytes(200000000, 1000, ring), 524288);
    assert_int_equal(spool_wake_bytes(40000, 0, ring), 200000); /* Within one tick of the clock. */
    assert_int_equal(spool_wake_bytes(UINT64_C(1) << 40, 3600000, ring), 524288);
    /* Where little comes it is woken for little. */
    assert_int_equal(spool_wake_bytes(0, 1000, ring), SPOOL_WAKE_BYTES_MIN);
    assert_int_equal(spool_wake_bytes(20000000, 1000, ring), SPOOL_WAKE_BYTES_MIN);
    /* A small ring is emptied while three quarters of it are free. */
    assert_int_equal(spool_wake_bytes(100000000, 1000, SPOOL_RING_BYTES_MIN),
                     SPOOL_RING_BYTES_MIN / 4);
}

static void one_pass(struct world *w, uint32_t number)
{
    struct spool_intent *intent = NULL;
    assert_int_equal(begin_in_ring(w, number, &intent), 0);
    end_in_ring(w, number, intent);
    spool_set_drain(w->set);
}

/* Each pass says when the next is due. Short ones, many within a tick of the clock, do not hide
 * that much comes; and what came fast once is forgotten. */
static void the_pace_is_taken_over_milliseconds(void **state)
{
    struct world *w = *state;
    uint32_t n = 0;
    open_set(w, 0, 0);
    assert_int_equal(w->spool->wake_bytes, SPOOL_WAKE_BYTES_MIN);
    w->spool->passed_at_ms = clock_mono_ms(); /* As if this tick had begun with it. */
    while (w->spool->passed == 0) {
        assert_true(w->spool->ring.head < 600000); /* Half a megabyte is enough in any time. */
        assert_int_equal(w->spool->wake_bytes, SPOOL_WAKE_BYTES_MIN);
        one_pass(w, n++);
    }
    w->spool->passed_at_ms = clock_mono_ms() - 10U;
    w->spool->passed = w->spool->ring.head - (UINT64_C(1) << 30);
    one_pass(w, n++);
    assert_int_equal(w->spool->wake_bytes, SPOOL_RING_BYTES_MIN / 4);
    w->spool->passed_at_ms = clock_mono_ms() - 1000U;
    one_pass(w, n);
    assert_int_equal(w->spool->wake_bytes, SPOOL_WAKE_BYTES_MIN);
}

static void the_writer_is_woken_at_its_position_and_not_before(void **state)
{
    struct world *w = *state;
    struct spool_intent *intent = NULL;
    open_set(w, 0, 0);
    one(w, 0);
    const uint64_t at = w->spool->ring.head + 5000;
    spool_ring_wake_at(&w->spool->ring, at);
    for (uint32_t n = 1; w->spool->ring.head < at; n++) {
        assert_false(atomic_load(&w->set->drain_bell.rung));
        assert_int_equal(begin_in_ring(w, n, &intent), 0);
        if (w->spool->ring.head < at)
            end_in_ring(w, n, intent);
    }
    while (atomic_load(&w->spool->ring.wake_at) == at) /* The writer's pass sets another. */
        usleep(1000);
    assert_true(atomic_load(&w->spool->ring.wake_at) > at);
    close_set(w); /* Before the calls to the disk are what they were. */
}

/* What the height of a burst took is let go once nothing is open, and taken again. */
static void an_idle_spool_keeps_no_room_for_open_requests(void **state)
{
    struct world *w = *state;
    struct spool_intent *intent[10];
    open_set(w, 0, 0);
    for (uint32_t round = 0; round < 2; round++) {
        const uint64_t before = mem_live_bytes();
        for (uint32_t i = 0; i < 10; i++)
            assert_int_equal(begin(w, 10 * round + i, &intent[i]), 0);
        w->spool->busy_at_ms -= 10000;
        spool_set_drain(w->set);
        assert_non_null(w->spool->slots); /* They are open yet. */
        for (uint32_t i = 0; i < 10; i++)
            end(w, 10 * round + i, intent[i]);
        assert_non_null(w->spool->slots);
        w->spool->busy_at_ms -= 10000;
        spool_set_drain(w->set);
        assert_null(w->spool->slots);
        assert_true(mem_live_bytes() <= before);
    }
    spool_set_sync(w->set);
    read_first(w, &found);
    assert_int_equal(found.records, 20);
}

static void positions_say_what_is_synced(void **state)
{
    struct world *w = *state;
    struct spool_intent *intent = NULL;
    spool_position first = 0, second = 0;
    open_set(w, 0, 0);
    sample_init(&sample, 1);
    assert_int_equal(spool_intent(w->spool, &sample.d, &sample.attempts[0], &intent, &first), 0);
    spool_set_drain(w->set);
    assert_true(spool_synced(w->spool) < first);
    spool_set_sync(w->set);
    assert_true(spool_synced(w->spool) >= first);
    spool_outcome(w->spool, intent, &sample.o, &second);
    assert_true(second > first);
    assert_true(spool_synced(w->spool) < second);
    spool_set_sync(w->set);
    assert_true(spool_synced(w->spool) >= second);
}

/* ---- damage (B44) ---- */

/* Of the only ring there is. */
static char *ring_path(struct world *w)
{
    struct buf path;
    char *found_path = NULL;
    DIR *dir = opendir(w->dir);
    assert_non_null(dir);
    for (struct dirent *entry; found_path == NULL && (entry = readdir(dir)) != NULL;) {
        buf_init(&path, 4096);
        assert_int_equal(buf_printf(&path, "%s/%s/ring", w->dir, entry->d_name), 0);
        if (access(buf_cstr(&path), F_OK) == 0)
            found_path = mem_strdup(buf_cstr(&path));
        buf_deinit(&path);
    }
    closedir(dir);
    assert_non_null(found_path);
    return found_path;
}

static void three_in_the_ring(struct world *w)
{
    struct spool_intent *intent = NULL;
    for (uint32_t i = 0; i < 3; i++) {
        must(begin_in_ring(w, i, &intent) == 0);
        end_in_ring(w, i, intent);
    }
}

static void three_without_rollout(struct world *w)
{
    struct spool_intent *intent = NULL;
    for (uint32_t i = 0; i < 3; i++) {
        sample_init(&sample, i);
        sample.d.rollout = NULL;
        must(spool_intent(w->spool, &sample.d, &sample.attempts[0], &intent, NULL) == 0);
        end_in_ring(w, i, intent);
    }
}

static void write_at(const char *path, off_t at, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, len, at), (ssize_t)len);
    close(fd);
}

static void b44_a_flipped_bit_in_a_ring_costs_its_own_entry_only(void **state)
{
    struct world *w = *state;
    for (off_t at = 0; at < 9000; at += 211) {
        empty_dir(w);
        die_after(w, three_in_the_ring);
        char *path = ring_path(w);
        struct buf file;
        (void)slurp(path, &file);
        char flipped = (char)(file.data[SPOOL_RING_PAGE_BYTES + at] ^ (1 << (at % 8)));
        write_at(path, SPOOL_RING_PAGE_BYTES + at, &flipped, 1);
        buf_deinit(&file);
        open_set(w, 0, 0);
        assert_true(w->recovery.quarantined <= 2); /* An intent takes its outcome with it. */
        assert_true(w->recovery.records >= 2);
        if (w->recovery.quarantined == 0)
            assert_int_equal(w->recovery.records, 3);
        read_first(w, &found);
        for (uint32_t i = 0; i < 3; i++)
            assert_true(found.ok[i] + found.crashed[i] <= 1);
        assert_int_equal(access(path, F_OK), -1);
        close_set(w);
        mem_free(path);
    }
}

static void b44_a_ring_that_is_not_ours_is_refused_and_left_alone(void **state)
{
    struct world *w = *state;
    enum { VERSION, MAGIC, SUM, EPOCH, POSITIONS, SHORT, LINK, KINDS };
    for (int kind = VERSION; kind < KINDS; kind++) {
        empty_dir(w);
        die_after(w, three_in_the_ring);
        char *path = ring_path(w);
        uint8_t header[SPOOL_RING_HEADER_BYTES];
        struct buf file;
        memcpy(header, slurp(path, &file).data, sizeof(header));
        buf_deinit(&file);
        if (kind == VERSION)
            header[8] = 9;
        else if (kind == MAGIC)
            header[0] = 'X';
        else if (kind == SUM)
            header[33] ^= 1;
        else if (kind == EPOCH)
            header[16] ^= 1;
        if (kind != SUM)
            spool_put_u64(header + 72, crc32c(0, header, 72));
        write_at(path, 0, header, sizeof(header));
        uint64_t beyond = 1U << 31;
        if (kind == POSITIONS)
            write_at(path, 2048, &beyond, sizeof(beyond));
        else if (kind == SHORT)
            assert_int_equal(truncate(path, SPOOL_RING_PAGE_BYTES + 4096), 0);
        else if (kind == LINK)
            assert_true(unlink(path) == 0 && symlink("/etc/passwd", path) == 0);
        open_set(w, 0, 0);
        assert_int_equal(w->recovery.refused_files, 1);
        assert_int_equal(w->recovery.records, 0);
        close_set(w);
        struct stat st;
        assert_int_equal(lstat(path, &st), 0);
        mem_free(path);
    }
}

static void a_ring_of_the_version_before_is_read_and_its_records_have_no_rollout(void **state)
{
    struct world *w = *state;
    const uint8_t before[8] = {SPOOL_RING_VERSION_MIN};
    uint8_t header[SPOOL_RING_HEADER_BYTES];
    struct buf file;
    die_after(w, three_without_rollout);
    char *path = ring_path(w);
    memcpy(header, slurp(path, &file).data, sizeof(header));
    buf_deinit(&file);
    assert_int_equal(header[8], SPOOL_RING_VERSION);
    memcpy(header + 8, before, sizeof(before));
    spool_put_u64(header + 72, crc32c(0, header, 72));
    write_at(path, 0, header, sizeof(header));
    open_set(w, 0, 0);
    assert_int_equal(w->recovery.refused_files, 0);
    assert_int_equal(w->recovery.records, 3);
    read_first(w, &found);
    assert_int_equal(found.in_rollout, 0);
    close_set(w);
    mem_free(path);
}

static void a_ring_that_was_never_finished_holds_nothing(void **state)
{
    struct world *w = *state;
    for (off_t len = 0; len <= SPOOL_RING_PAGE_BYTES; len += SPOOL_RING_PAGE_BYTES / 4) {
        empty_dir(w);
        die_after(w, three_in_the_ring);
        char *path = ring_path(w);
        assert_true(truncate(path, 0) == 0 && truncate(path, len) == 0);
        open_set(w, 0, 0);
        assert_int_equal(w->recovery.refused_files, 0);
        assert_int_equal(access(path, F_OK), -1);
        close_set(w);
        mem_free(path);
    }
}

/* ---- failing calls ---- */

static int calls_left;

static bool fails_now(void)
{
    return calls_left-- == 0;
}

static int failing_open(const char *path)
{
    if (fails_now()) {
        errno = EMFILE;
        return -1;
    }
    return real_io.open_new(path);
}

static int failing_fallocate(int fd, uint64_t len)
{
    return fails_now() ? ENOSPC : real_io.fallocate(fd, len);
}

static ssize_t failing_write(int fd, const void *data, size_t len)
{
    if (fails_now()) {
        errno = EIO;
        return -1;
    }
    return real_io.write(fd, data, len);
}

static int failing_sync(int fd)
{
    if (fails_now()) {
        errno = EIO;
        return -1;
    }
    return real_io.fdatasync(fd);
}

static int failing_rename(const char *from, const char *to)
{
    if (fails_now()) {
        errno = EIO;
        return -1;
    }
    return real_io.rename(from, to);
}

static void each_call_that_fails_at_a_start_leaves_the_ring_for_the_next(void **state)
{
    struct world *w = *state;
    bool failed = true;
    for (int n = 0; failed; n++) {
        empty_dir(w);
        die_after(w, three_in_the_ring);
        struct spool_options options = {.dir = w->dir,
                                        .spools = 1,
                                        .ring_bytes = SPOOL_RING_BYTES_MIN,
                                        .sync_ms = 3600000,
                                        .drain_ms = 3600000};
        struct spool_set *set = NULL;
        struct err err = {0};
        calls_left = n;
        spool_io.open_new = failing_open;
        spool_io.fallocate = failing_fallocate;
        spool_io.write = failing_write;
        spool_io.fdatasync = failing_sync;
        spool_io.rename = failing_rename;
        int rc = spool_set_create(&options, &set, NULL, &err);
        failed = calls_left < 0;
        spool_io = real_io;
        assert_true(failed == (rc != 0) || rc == 0); /* A segment's write has a second try. */
        spool_set_destroy(set);
        open_set(w, 0, 0);
        read_first(w, &found);
        assert_int_equal(found.records, 3);
        assert_int_equal(found.next_seq, 4);
        assert_int_equal(found.gap_records, 0);
        close_set(w);
        assert_true(n < 40);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(f4_what_stands_only_in_the_ring_is_recovered_under_its_seqs),
        TEST(f4_the_row_of_a_crashed_request_names_every_attempt),
        TEST(an_intent_that_ends_soon_is_never_framed),
        TEST(an_intent_that_does_not_end_is_framed_when_the_ring_goes_on),
        TEST(f4_what_stands_in_ring_and_segment_is_recovered_once),
        TEST(f4_what_was_acknowledged_and_is_gone_is_not_charged_again),
        TEST(a_ring_that_gave_its_memory_back_still_holds_what_it_held),
        TEST(the_writer_is_woken_for_five_milliseconds_of_records),
        TEST(the_pace_is_taken_over_milliseconds),
        TEST(the_writer_is_woken_at_its_position_and_not_before),
        TEST(an_idle_spool_keeps_no_room_for_open_requests),
        TEST(positions_say_what_is_synced),
        TEST(b44_a_flipped_bit_in_a_ring_costs_its_own_entry_only),
        TEST(b44_a_ring_that_is_not_ours_is_refused_and_left_alone),
        TEST(a_ring_that_was_never_finished_holds_nothing),
        TEST(a_ring_of_the_version_before_is_read_and_its_records_have_no_rollout),
        TEST(each_call_that_fails_at_a_start_leaves_the_ring_for_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

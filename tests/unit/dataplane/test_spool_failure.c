/* The spool against full and failing disks, lack of memory, and death at every write. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/link/wire.h"
#include "tests/lib/fault.h"
#include "tests/unit/dataplane/spool_fixture.h"

/* ---- a failing disk (F8) ---- */

static int fail_after = -1; /* Writes until one fails; it writes half of its bytes first. */
static int failures;        /* How many fail in a row. */

static ssize_t failing_write(int fd, const void *data, size_t len)
{
    if (fail_after-- > 0 || failures == 0)
        return write(fd, data, len);
    failures--;
    fail_after = 0;
    ssize_t half = write(fd, data, len / 2);
    (void)half;
    errno = EIO;
    return -1;
}

static void f8_a_failed_write_goes_to_a_new_segment_with_nothing_lost(void **state)
{
    struct world *w = *state;
    static struct found f;
    for (int n = 0; n < 24; n++) {
        empty_dir(w);
        open_set(w, 0, 0);
        spool_io.write = failing_write;
        fail_after = n;
        failures = 1;
        struct spool_intent *open = NULL;
        assert_int_equal(begin(w, 100, &open), 0);
        for (uint32_t i = 0; i < 10; i++)
            one(w, i);
        spool_io = real_io;
        close_set(w);
        open_set(w, 0, 0);
        read_first(w, &f);
        assert_int_equal(f.records, 10);
        assert_int_equal(f.crashed[100], 1);
        assert_int_equal(f.gap_records, 0);
        for (uint32_t i = 0; i < 10; i++)
            assert_int_equal(f.ok[i], 1);
        close_set(w);
    }
}

static uint64_t fake_ms = 1000000;
static uint64_t fake_mono(void)
{
    return fake_ms * 1000000;
}
static int64_t fake_wall(void)
{
    return 1700000000000000;
}

static void f8_a_dead_disk_makes_it_unready_and_outcomes_wait_in_the_ring(void **state)
{
    struct world *w = *state;
    static const struct clock_source source = {.mono_ns = fake_mono, .wall_us = fake_wall};
    clock_set_source(&source);
    open_set(w, 0, 0);
    struct spool_intent *a = NULL, *b = NULL, *c = NULL;
    assert_int_equal(begin(w, 1, &a), 0);
    assert_int_equal(begin(w, 2, &b), 0);
    spool_io.write = failing_write;
    fail_after = 0;
    failures = 1000;
    end(w, 1, a);
    end(w, 2, b);
    assert_int_equal(begin(w, 3, &c), ERR_IO);
    assert_false(spool_ready(w->spool));
    assert_false(spool_set_ready(w->set));
    spool_io = real_io;
    spool_set_drain(w->set);
    assert_false(spool_ready(w->spool)); /* Not tried again within a second. */
    assert_int_equal(spool_set_records(w->set), 2);
    assert_true(spool_set_ring_bytes(w->set) > 0);
    fake_ms += 1001;
    spool_set_drain(w->set);
    assert_int_equal(spool_set_ring_bytes(w->set), 0);
    assert_true(spool_ready(w->spool));
    one(w, 3);
    clock_set_source(NULL);
    close_set(w);
    open_set(w, 0, 0);
    static struct found f;
    read_first(w, &f);
    assert_int_equal(f.records, 3);
    assert_int_equal(f.crashes, 0);
    assert_int_equal(f.next_seq, 4);
    assert_int_equal(f.gap_records, 0);
}

static int sync_failures;
static int failing_sync(int fd)
{
    (void)fd;
    if (sync_failures-- > 0) {
        errno = EIO;
        return -1;
    }
    return 0;
}

static void f8_what_a_failed_sync_may_have_lost_is_written_again(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    for (uint32_t i = 0; i < 5; i++)
        one(w, i);
    spool_set_sync(w->set);
    static struct found f;
    read_first(w, &f);
    assert_int_equal(f.records, 5);
    spool_io.fdatasync = failing_sync;
    sync_failures = 1;
    for (uint32_t i = 5; i < 8; i++)
        one(w, i);
    spool_set_sync(w->set);
    read_first(w, &f);
    assert_int_equal(f.records, 5); /* Nothing unsynced is shipped. */
    uint32_t before = w->spool->current->number;
    one(w, 8);
    assert_int_equal(w->spool->current->number, before + 1);
    spool_set_sync(w->set);
    read_first(w, &f);
    assert_int_equal(f.records, 9);
    assert_int_equal(f.gap_records, 0);
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(f.ok[i], 1);
}

/* ---- a full disk (F7) ---- */

static void f7_features_go_first_then_new_requests_and_running_ones_end(void **state)
{
    struct world *w = *state;
    open_set(w, 400000, 100000);
    struct spool_intent *running = NULL;
    assert_int_equal(begin(w, 1, &running), 0);
    uint32_t n = 2;
    struct spool_intent *intent = NULL;
    int rc;
    while ((rc = begin(w, n, &intent)) == 0) {
        end(w, n, intent);
        n++;
        assert_true(n < 4000);
    }
    assert_int_equal(rc, ERR_NO_SPACE);
    assert_int_equal(spool_record(w->spool, &sample.d, &sample.o, NULL), ERR_NO_SPACE);
    assert_true(spool_set_refused(w->set) >= 2);
    end(w, 1, running);
    assert_true(spool_set_bytes(w->set) <= 400000);
    spool_set_sync(w->set);
    /* The last record has no features and says so. */
    struct shipper_cursor c;
    shipper_cursor_init(&c, w->set, w->spool->epoch);
    struct str record;
    uint64_t gap_to;
    uint32_t dropped = 0, whole = 0;
    while (shipper_cursor_next(&c, &record, &gap_to) == SHIPPER_RECORD) {
        ProtobufCMessage *m = NULL;
        assert_int_equal(wire_unpack(&steelyard__telemetry__v1__record__descriptor, record, &m), 0);
        const Decision *d = ((const Steelyard__Telemetry__V1__Record *)m)->decision;
        bool flagged = (d->flags & RECORD_FLAG_FEATURES_DROPPED) != 0;
        assert_true(flagged == (d->packed_features.len == 0));
        dropped += flagged;
        whole += !flagged;
        wire_free(m);
    }
    shipper_cursor_deinit(&c);
    assert_true(dropped > 0 && whole > dropped);
}

/* ---- death at every write ---- */

static int die_after;
static ssize_t dying_write(int fd, const void *data, size_t len)
{
    if (die_after-- > 0)
        return write(fd, data, len);
    ssize_t part = write(fd, data, len * 2 / 3); /* A torn write, then death. */
    (void)part;
    _exit(7);
}
static int dying_rename(const char *from, const char *to)
{
    if (die_after-- > 0)
        return rename(from, to);
    _exit(7);
}

/* What the child promised: a number is acknowledged when its byte stands in the shared file. It is
 * drained only now and then, so that death finds entries that were handed over, packed, written and
 * taken. */
static void child(struct world *w, int promises)
{
    open_set(w, 0, 8192);
    struct spool_intent *open[4] = {NULL};
    for (uint32_t i = 0; i < 20; i++) {
        uint32_t slot = i % 4;
        sample_init(&sample, i);
        if (open[slot] != NULL) {
            spool_outcome(w->spool, open[slot], &sample.o, NULL);
            if (pwrite(promises, "D", 1, i - 4) != 1)
                _exit(9);
        }
        sample.attempts[0].status = 0;
        sample.attempts[0].total_ms = 0;
        if (spool_intent(w->spool, &sample.d, &sample.attempts[0], &open[slot], NULL) == 0 &&
            pwrite(promises, "I", 1, i) != 1)
            _exit(9);
        if (i % 3 == 2)
            spool_set_drain(w->set);
    }
    _exit(0);
}

static void p1_death_at_every_write_loses_and_doubles_nothing(void **state)
{
    struct world *w = *state;
    static struct found f;
    char promise_path[600];
    for (int n = 0;; n++) {
        empty_dir(w);
        (void)snprintf(promise_path, sizeof(promise_path), "%s/promises", w->dir);
        int promises = open(promise_path, O_RDWR | O_CREAT, 0600);
        int status = 0;
        for (int life = 0; life < 2; life++) {
            /* Second life: dies in recovery, at one of its writes or at the rename. */
            pid_t pid = fork();
            assert_true(pid >= 0);
            if (pid == 0) {
                die_after = life == 0 ? n : n % 3;
                spool_io.write = dying_write;
                spool_io.rename = dying_rename;
                if (life == 0)
                    child(w, promises);
                open_set(w, 0, 8192);
                _exit(0);
            }
            int one_status = 0;
            assert_int_equal(waitpid(pid, &one_status, 0), pid);
            if (life == 0)
                status = one_status;
        }
        char said[20] = {0};
        assert_true(pread(promises, said, sizeof(said), 0) >= 0);
        close(promises);
        open_set(w, 0, 8192);
        read_first(w, &f);
        assert_int_equal(f.gap_records, 0);
        for (uint32_t i = 0; i < 20; i++) {
            uint32_t times = f.ok[i] + f.crashed[i];
            assert_true(times <= 1); /* Never twice. */
            if (said[i] == 'D')
                assert_int_equal(f.ok[i], 1); /* An outcome that was acknowledged stands. */
            else if (said[i] == 'I')
                assert_int_equal(times, 1); /* An intent that was acknowledged has a row. */
        }
        close_set(w);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            break; /* n was beyond the last write. */
        assert_true(n < 400);
    }
}

/* ---- memory ---- */

static void a_start_survives_each_failed_allocation(void **state)
{
    struct world *w = *state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        /* A failed start leaves its own epochs behind, so each begins in a fresh directory. */
        empty_dir(w);
        open_set(w, 0, 0);
        struct spool_intent *open = NULL;
        one(w, 0);
        assert_int_equal(begin(w, 1, &open), 0);
        close_set(w);
        struct spool_options options = {
            .dir = w->dir, .spools = 2, .sync_ms = 3600000, .drain_ms = 3600000};
        struct err err = {0};
        struct spool_set *set = NULL;
        fault_arm_alloc(n);
        int rc = spool_set_create(&options, &set, NULL, &err);
        fired = fault_disarm();
        if (rc == 0)
            spool_set_destroy(set);
        else
            assert_true(fired);
        open_set(w, 0, 0);
        static struct found f;
        read_first(w, &f);
        assert_int_equal(f.ok[0], 1);
        assert_int_equal(f.crashed[1], 1);
        close_set(w);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(f8_a_failed_write_goes_to_a_new_segment_with_nothing_lost),
        TEST(f8_a_dead_disk_makes_it_unready_and_outcomes_wait_in_the_ring),
        TEST(f8_what_a_failed_sync_may_have_lost_is_written_again),
        TEST(f7_features_go_first_then_new_requests_and_running_ones_end),
        TEST(p1_death_at_every_write_loses_and_doubles_nothing),
        TEST(a_start_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

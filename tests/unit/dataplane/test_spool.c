/* The spool against damage, full disks and death. What a reader must find is always exact: which
 * records, which seqs, which gaps. */
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
#include "dataplane/telemetry/shipper_read.h"
#include "dataplane/telemetry/spool_internal.h"
#include "telemetry.pb-c.h"
#include "tests/lib/fault.h"
#include "tests/unit/dataplane/planes_fixture.h"

typedef Steelyard__Telemetry__V1__Decision Decision;

struct world {
    char *dir;
    struct spool_set *set;
    struct spool *spool;
    struct spool_recovery recovery;
};

static struct spool_io real_io;

static void open_set(struct world *w, uint64_t max_bytes, uint64_t segment_bytes)
{
    struct spool_options options = {.dir = w->dir,
                                    .spools = 1,
                                    .max_bytes = max_bytes,
                                    .segment_bytes = segment_bytes,
                                    .sync_ms = 3600000, /* Tests sync by themselves. */
                                    .audit_strict = true};
    struct err err = {0};
    if (spool_set_create(&options, &w->set, &w->recovery, &err) != 0)
        fail_msg("%s", err.message);
    w->spool = spool_set_spool(w->set, 0);
}

static void close_set(struct world *w)
{
    spool_set_destroy(w->set);
    w->set = NULL;
}

static int setup(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    real_io = spool_io;
    w->dir = temp_dir_make();
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    spool_io = real_io;
    spool_set_destroy(w->set);
    temp_dir_remove(w->dir);
    mem_free(w);
    return 0;
}

static struct sample sample;

static int begin(struct world *w, uint32_t number, struct spool_intent **out)
{
    sample_init(&sample, number);
    sample.d.attempt_count = 1;
    sample.d.status = RECORD_STATUS_UNKNOWN;
    sample.attempts[0].status = 0;
    sample.attempts[0].total_ms = 0;
    return spool_intent(w->spool, &sample.d, out, NULL);
}

static int end(struct world *w, uint32_t number, struct spool_intent *intent)
{
    sample_init(&sample, number);
    return spool_outcome(w->spool, intent, &sample.d, NULL);
}

static void one(struct world *w, uint32_t number)
{
    struct spool_intent *intent = NULL;
    assert_int_equal(begin(w, number, &intent), 0);
    assert_int_equal(end(w, number, intent), 0);
}

/* What a reader of one epoch finds. */
struct found {
    uint32_t ok[4096], crashed[4096]; /* Times, by number. */
    uint64_t records, crashes, gap_records, next_seq;
};

static void read_epoch(struct world *w, struct spool_epoch *epoch, struct found *f)
{
    struct shipper_cursor c;
    shipper_cursor_init(&c, w->set, epoch);
    for (;;) {
        struct str record;
        uint64_t gap_to = 0;
        uint64_t seq = c.next_seq;
        enum shipper_next next = shipper_cursor_next(&c, &record, &gap_to);
        if (next == SHIPPER_NOTHING)
            break;
        assert_true(next != SHIPPER_FAILED);
        if (next == SHIPPER_GAP) {
            f->gap_records += gap_to - seq + 1;
            continue;
        }
        ProtobufCMessage *m = NULL;
        assert_int_equal(wire_unpack(&steelyard__telemetry__v1__record__descriptor, record, &m), 0);
        const Steelyard__Telemetry__V1__Record *r = (const Steelyard__Telemetry__V1__Record *)m;
        assert_int_equal(r->body_case, STEELYARD__TELEMETRY__V1__RECORD__BODY_DECISION);
        uint32_t number = r->decision->t_in;
        assert_true(number < 4096);
        if (r->decision->status == STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_NODE_CRASH) {
            f->crashed[number]++;
            f->crashes++;
            assert_int_equal(r->decision->cost, r->decision->reserved);
            assert_int_equal(r->decision->attempt[0]->reason, RECORD_REASON_NODE_CRASH);
        } else {
            f->ok[number]++;
            f->records++;
        }
        wire_free(m);
    }
    f->next_seq = c.next_seq;
    shipper_cursor_deinit(&c);
}

/* Reads the oldest epoch of a freshly opened set. */
static void read_first(struct world *w, struct found *f)
{
    memset(f, 0, sizeof(*f));
    read_epoch(w, container_of(w->set->epochs.next, struct spool_epoch, link), f);
}

static char *first_segment(struct world *w, uint32_t number)
{
    struct spool_epoch *epoch = container_of(w->set->epochs.next, struct spool_epoch, link);
    struct spool_segment segment = {.epoch = epoch, .number = number};
    return spool_segment_path(&segment);
}

/* ---- the usual ---- */

static void f4_open_requests_become_node_crash_once(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    struct spool_intent *open_a = NULL, *open_b = NULL;
    one(w, 0);
    assert_int_equal(begin(w, 1, &open_a), 0);
    one(w, 2);
    assert_int_equal(begin(w, 3, &open_b), 0);
    struct record_attempt later = {.model = 1, .server = STR("local/later"), .start_us = 99};
    assert_int_equal(spool_attempt(w->spool, open_b, &later, NULL), 0);
    close_set(w);
    static struct found f;
    for (int start = 0; start < 3; start++) { /* Each start sees the same; nothing doubles. */
        open_set(w, 0, 0);
        assert_int_equal(w->recovery.crashed, start == 0 ? 2 : 0);
        assert_int_equal(w->recovery.records, start == 0 ? 2 : 4);
        read_first(w, &f);
        assert_int_equal(f.records, 2);
        assert_int_equal(f.crashes, 2);
        assert_int_equal(f.crashed[1], 1);
        assert_int_equal(f.crashed[3], 1);
        assert_int_equal(f.gap_records, 0);
        assert_int_equal(f.next_seq, 5);
        close_set(w);
    }
}

static void open_requests_are_carried_into_new_segments(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 16384);
    struct spool_intent *open = NULL;
    assert_int_equal(begin(w, 4000, &open), 0);
    for (uint32_t i = 0; i < 100; i++)
        one(w, i);
    assert_true(w->spool->current->number > 5);
    /* Only the newest segment is left, as after acknowledgements. */
    char *path = NULL;
    for (uint32_t n = 1; n < w->spool->current->number; n++) {
        path = first_segment(w, n);
        assert_int_equal(unlink(path), 0);
        mem_free(path);
    }
    close_set(w);
    open_set(w, 0, 16384);
    static struct found f;
    read_first(w, &f);
    assert_int_equal(f.crashed[4000], 1);
    assert_int_equal(f.next_seq, 102);
    assert_int_equal(f.gap_records, 0);
}

static void epochs_rise_and_two_processes_cannot_share_a_spool(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    uint64_t first = spool_epoch(w->spool);
    struct spool_options options = {.dir = w->dir, .spools = 1, .max_bytes = 1 << 20};
    struct spool_set *other = NULL;
    struct err err = {0};
    assert_int_equal(spool_set_create(&options, &other, NULL, &err), ERR_CONFLICT);
    close_set(w);
    open_set(w, 0, 0);
    assert_true(spool_epoch(w->spool) >> 32 > first >> 32);
}

/* ---- damage (B44) ---- */

static struct str slurp(const char *path, struct buf *b)
{
    buf_init(b, SIZE_MAX);
    assert_int_equal(buf_read_file(b, path, 1 << 24, NULL), 0);
    return buf_str(b);
}

/* Writes `bytes` as the only segment and opens the set on it. */
static void reopen_with(struct world *w, const char *path, struct str bytes)
{
    char epoch_dir[600];
    (void)snprintf(epoch_dir, sizeof(epoch_dir), "%.*s", (int)(strrchr(path, '/') - path), path);
    char *keep = w->dir;
    temp_dir_remove(mem_strdup(keep));
    assert_int_equal(mkdir(keep, 0700), 0);
    assert_int_equal(mkdir(epoch_dir, 0700), 0);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.data, bytes.len), (ssize_t)bytes.len);
    close(fd);
    open_set(w, 0, 0);
}

/* Three done requests and one open: i0 r1 i1 r2 i2(open) i3 r3. Ends of frames in out. */
static void small_segment(struct world *w, char **out_path, struct buf *out_file, size_t ends[8])
{
    open_set(w, 0, 0);
    sample_init(&sample, 0);
    struct spool_intent *intent = NULL;
    size_t n = 0;
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(begin(w, i, &intent), 0);
        ends[n++] = (size_t)atomic_load(&w->spool->current->written);
        if (i == 2)
            continue;
        assert_int_equal(end(w, i, intent), 0);
        ends[n++] = (size_t)atomic_load(&w->spool->current->written);
    }
    *out_path = first_segment(w, 1);
    close_set(w);
    (void)slurp(*out_path, out_file);
}

static void b44_a_segment_cut_at_every_byte_keeps_every_whole_frame(void **state)
{
    struct world *w = *state;
    char *path;
    struct buf file;
    size_t ends[8];
    small_segment(w, &path, &file, ends);
    static const bool is_record[] = {false, true, false, true, false, false, true};
    for (size_t cut = 0; cut < file.len; cut += cut < 80 ? 1 : 3) {
        reopen_with(w, path, str_slice(buf_str(&file), 0, cut));
        uint64_t records = 0, intents = 0;
        for (size_t i = 0; i < 7 && ends[i] <= cut; i++) {
            records += is_record[i];
            intents += !is_record[i];
        }
        assert_int_equal(w->recovery.records, records);
        assert_int_equal(w->recovery.crashed, intents - records);
        assert_int_equal(w->recovery.quarantined, 0);
        assert_int_equal(w->recovery.refused_files, 0);
        if (records + intents > 0) {
            static struct found f;
            read_first(w, &f);
            assert_int_equal(f.records, records);
            assert_int_equal(f.crashes, intents - records);
            assert_int_equal(f.gap_records, 0);
            assert_int_equal(f.next_seq, intents + 1);
        }
        close_set(w);
    }
    buf_deinit(&file);
    mem_free(path);
}

static void b44_a_flipped_bit_costs_its_own_frame_only(void **state)
{
    struct world *w = *state;
    char *path;
    struct buf file;
    size_t ends[8];
    small_segment(w, &path, &file, ends);
    for (size_t at = SPOOL_HEADER_BYTES; at < file.len; at += 7) {
        file.data[at] = (char)(file.data[at] ^ (1 << (at % 8)));
        reopen_with(w, path, buf_str(&file));
        file.data[at] = (char)(file.data[at] ^ (1 << (at % 8)));
        size_t hit = 0;
        while (ends[hit] <= at)
            hit++;
        static struct found f;
        read_first(w, &f);
        bool last = hit == 6;
        assert_int_equal(w->recovery.quarantined, last ? 0 : 1);
        assert_true(last == (w->recovery.torn_bytes > 0));
        switch (hit) {
        case 0: /* The intent of a request that has its record: nothing is missing. */
        case 2:
        case 5:
            assert_int_equal(f.records, 3);
            assert_int_equal(f.crashes, 1);
            assert_int_equal(f.gap_records, 0);
            break;
        case 4: /* The open one's intent: it is gone, and counted. */
            assert_int_equal(f.records, 3);
            assert_int_equal(f.crashes, 0);
            break;
        case 1: /* A record: its seq is a gap, its request is open again. */
        case 3:
            assert_int_equal(f.records, 2);
            assert_int_equal(f.crashes, 2);
            assert_int_equal(f.gap_records, 1);
            break;
        default: /* The last frame: as if it was never written. */
            assert_int_equal(f.records, 2);
            assert_int_equal(f.crashes, 2);
            assert_int_equal(f.gap_records, 0);
            break;
        }
        close_set(w);
    }
    buf_deinit(&file);
    mem_free(path);
}

static void b44_files_that_are_not_ours_are_refused_and_left_alone(void **state)
{
    struct world *w = *state;
    char *path;
    struct buf file;
    size_t ends[8];
    small_segment(w, &path, &file, ends);
    file.data[8] = 9; /* Version 9, with a good checksum. */
    uint32_t crc = crc32c(0, file.data, 68);
    memcpy(file.data + 68, &crc, 4);
    reopen_with(w, path, buf_str(&file));
    assert_int_equal(w->recovery.refused_files, 1);
    assert_int_equal(w->recovery.records, 0);
    close_set(w);
    assert_int_equal(access(path, F_OK), 0);
    file.data[0] = 'X';
    reopen_with(w, path, buf_str(&file));
    assert_int_equal(w->recovery.refused_files, 1);
    close_set(w);
    /* A symbolic link, even to a good segment. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    open_set(w, 0, 0);
    assert_int_equal(w->recovery.refused_files, 1);
    close_set(w);
    buf_deinit(&file);
    mem_free(path);
}

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
        char *keep = w->dir;
        temp_dir_remove(mem_strdup(keep));
        assert_int_equal(mkdir(keep, 0700), 0);
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

static void f8_a_dead_disk_makes_it_unready_and_outcomes_wait_in_memory(void **state)
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
    assert_int_equal(end(w, 1, a), ERR_IO);
    assert_int_equal(end(w, 2, b), ERR_IO);
    assert_int_equal(begin(w, 3, &c), ERR_IO);
    assert_false(spool_ready(w->spool));
    assert_false(spool_set_ready(w->set));
    spool_io = real_io;
    assert_false(spool_ready(w->spool)); /* Not tried again within a second. */
    fake_ms += 1001;
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
        assert_int_equal(end(w, n, intent), 0);
        n++;
        assert_true(n < 4000);
    }
    assert_int_equal(rc, ERR_NO_SPACE);
    assert_int_equal(spool_outcome(w->spool, NULL, &sample.d, NULL), ERR_NO_SPACE);
    assert_int_equal(end(w, 1, running), 0);
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
        assert_true(flagged == (d->features.len == 0));
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

/* What the child promised: a number is acknowledged when its byte stands in the shared file. */
static void child(struct world *w, int promises)
{
    open_set(w, 0, 8192);
    struct spool_intent *open[4] = {NULL};
    for (uint32_t i = 0; i < 20; i++) {
        uint32_t slot = i % 4;
        if (open[slot] != NULL) {
            if (end(w, i - 4, open[slot]) == 0 && pwrite(promises, "D", 1, i - 4) != 1)
                _exit(9);
        }
        if (begin(w, i, &open[slot]) == 0 && pwrite(promises, "I", 1, i) != 1)
            _exit(9);
    }
    _exit(0);
}

static void p1_death_at_every_write_loses_and_doubles_nothing(void **state)
{
    struct world *w = *state;
    static struct found f;
    char promise_path[600];
    for (int n = 0;; n++) {
        char *keep = w->dir;
        temp_dir_remove(mem_strdup(keep));
        assert_int_equal(mkdir(keep, 0700), 0);
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
        char *keep = w->dir;
        temp_dir_remove(mem_strdup(keep));
        assert_int_equal(mkdir(keep, 0700), 0);
        open_set(w, 0, 0);
        struct spool_intent *open = NULL;
        one(w, 0);
        assert_int_equal(begin(w, 1, &open), 0);
        close_set(w);
        struct spool_options options = {.dir = w->dir, .spools = 2, .sync_ms = 3600000};
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
        TEST(f4_open_requests_become_node_crash_once),
        TEST(open_requests_are_carried_into_new_segments),
        TEST(epochs_rise_and_two_processes_cannot_share_a_spool),
        TEST(b44_a_segment_cut_at_every_byte_keeps_every_whole_frame),
        TEST(b44_a_flipped_bit_costs_its_own_frame_only),
        TEST(b44_files_that_are_not_ours_are_refused_and_left_alone),
        TEST(f8_a_failed_write_goes_to_a_new_segment_with_nothing_lost),
        TEST(f8_a_dead_disk_makes_it_unready_and_outcomes_wait_in_memory),
        TEST(f8_what_a_failed_sync_may_have_lost_is_written_again),
        TEST(f7_features_go_first_then_new_requests_and_running_ones_end),
        TEST(p1_death_at_every_write_loses_and_doubles_nothing),
        TEST(a_start_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

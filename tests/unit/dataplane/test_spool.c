/* The spool against damage. What a reader must find is always exact: which records, which seqs,
 * which gaps. */
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
#include "dataplane/telemetry/shipper_batch.h"
#include "dataplane/telemetry/shipper_pace.h"
#include "tests/lib/fault.h"
#include "tests/unit/dataplane/spool_fixture.h"

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

static void b44_what_was_reserved_for_each_attempt_is_the_cost_of_a_crash(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 0);
    struct spool_intent *open = NULL;
    struct record_held first = {.reserved_nanousd = 500};
    struct record_held second = {.reserved_nanousd = 70, .charge_count = RECORD_GROUP_MAX};
    sample_init(&sample, 1);
    sample.d.reserved_nanousd = first.reserved_nanousd;
    sample.attempts[0].status = sample.attempts[0].total_ms = 0;
    sample.attempts[0].held = &first;
    assert_int_equal(spool_intent(w->spool, &sample.d, &sample.attempts[0], &open, NULL), 0);
    struct record_attempt later = {.model = 1, .server = STR("local/later"), .held = &second};
    assert_int_equal(spool_attempt(w->spool, open, &later, NULL), 0);
    close_set(w);
    static struct found f;
    open_set(w, 0, 0);
    read_first(w, &f);
    assert_int_equal(f.crashes, 1);
    assert_int_equal(f.crash_cost, 570);
    assert_int_equal(f.in_rollout, 1);
    close_set(w);
}

static void open_requests_are_carried_into_new_segments(void **state)
{
    struct world *w = *state;
    open_set(w, 0, 16384);
    struct spool_intent *open = NULL;
    assert_int_equal(begin(w, 4000, &open), 0);
    for (uint32_t i = 0; i < 100; i++)
        one(w, i);
    const uint32_t last = w->spool->current->number;
    const uint32_t floor = atomic_load(&w->spool->written_floor);
    assert_true(last > 5 && floor <= last && floor + w->set->carry_after >= last);
    /* Those below it are gone, as after acknowledgements. */
    for (uint32_t n = 1; n < floor; n++) {
        char *path = first_segment(w, n);
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

static void a_batch_reads_back_stored_and_compressed(void **state)
{
    struct world *w = *state;
    struct shipper_batch b;
    struct shipper_cursor c;
    open_set(w, 0, 0);
    for (uint32_t i = 0; i < 400; i++)
        one(w, i);
    spool_set_sync(w->set);
    shipper_cursor_init(&c, w->set, w->spool->epoch);
    assert_int_equal(shipper_batch_init(&b), 0);
    uint64_t records = 0;
    for (uint32_t count; (count = shipper_batch_collect(&b, &c)) > 0; records += count) {
        char *back[2] = {mem_alloc(b.raw_bytes), mem_alloc(b.raw_bytes)};
        assert_true(back[0] != NULL && back[1] != NULL);
        size_t stored = 0;
        for (int compress = 0; compress < 2; compress++) {
            assert_int_equal(shipper_batch_pack(&b, compress != 0), 0);
            assert_int_equal(ZSTD_getFrameContentSize(b.payload, b.payload_len), b.raw_bytes);
            assert_int_equal(ZSTD_decompress(back[compress], b.raw_bytes, b.payload, b.payload_len),
                             b.raw_bytes);
            if (compress == 0)
                stored = b.payload_len;
            else
                assert_true(b.payload_len < stored);
        }
        assert_memory_equal(back[0], back[1], b.raw_bytes);
        ProtobufCMessage *m = NULL;
        assert_int_equal(wire_unpack(&steelyard__telemetry__v1__record_list__descriptor,
                                     (struct str){.data = back[0], .len = b.raw_bytes}, &m),
                         0);
        const Steelyard__Telemetry__V1__RecordList *list =
            (const Steelyard__Telemetry__V1__RecordList *)m;
        assert_int_equal(list->n_records, count);
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(list->records[i]->decision->t_in, records + i);
        wire_free(m);
        mem_free(back[0]);
        mem_free(back[1]);
    }
    assert_int_equal(records, 400);
    shipper_batch_deinit(&b);
    shipper_cursor_deinit(&c);
}

/* A second from `at` on in which the link is waited for in `link_ms` of it, and the plane in the
 * rest.
 */
static void a_second(struct shipper_pace *p, uint64_t at, uint64_t link_ms, uint64_t passed_bytes)
{
    shipper_pace_stopped(p, SHIPPER_STOP_LINK, at, p->passed_bytes);
    shipper_pace_stopped(p, SHIPPER_STOP_PLANE, at + link_ms, p->passed_bytes);
    shipper_pace_stopped(p, SHIPPER_STOP_PLANE, at + SHIPPER_PACE_MS, passed_bytes);
}

static void only_a_slow_link_is_slow(void **state)
{
    (void)state;
    const uint64_t enough = (uint64_t)SHIPPER_PACE_MS * SHIPPER_PACE_BYTES;
    const enum shipper_stop link = SHIPPER_STOP_LINK;
    struct shipper_pace p = {0};
    shipper_pace_stopped(&p, link, 4000, 100);
    assert_false(p.slow); /* Nothing is known yet. */
    shipper_pace_stopped(&p, link, 5000, 100);
    assert_false(p.slow); /* What was sent may be on its way back. */
    shipper_pace_stopped(&p, link, 5000 + SHIPPER_PACE_MS - 1, 100);
    assert_false(p.slow);
    shipper_pace_stopped(&p, link, 5000 + SHIPPER_PACE_MS, 100 + enough);
    assert_false(p.slow); /* One that carries as much. */
    shipper_pace_stopped(&p, link, 5000 + 2 * SHIPPER_PACE_MS, 100 + 2 * enough - 1);
    assert_true(p.slow);
    shipper_pace_stopped(&p, link, 5001 + 2 * SHIPPER_PACE_MS, 100 + 4 * enough);
    assert_true(p.slow); /* Looked at once a second. */
    shipper_pace_stopped(&p, link, 5000 + 3 * SHIPPER_PACE_MS, 100 + 4 * enough);
    assert_false(p.slow);
    shipper_pace_stopped(&p, link, 5000 + 13 * SHIPPER_PACE_MS, 100 + 13 * enough);
    assert_true(p.slow); /* Ten seconds long, nine seconds' worth. */
    shipper_pace_reset(&p);
    assert_false(p.slow);
    shipper_pace_stopped(&p, link, 900000, 100 + 13 * enough);
    assert_false(p.slow); /* What was before does not count. */
}

static void a_plane_that_commits_slowly_is_no_slow_link(void **state)
{
    (void)state;
    const uint64_t least = SHIPPER_PACE_MS * SHIPPER_PACE_LINK_8 / 8;
    struct shipper_pace p = {0};
    shipper_pace_stopped(&p, SHIPPER_STOP_LINK, 0, 0);
    a_second(&p, 0, 0, 5);
    a_second(&p, 1000, 0, 10);
    assert_false(p.slow);
    a_second(&p, 2000, least - 1, 20);
    assert_false(p.slow);
    a_second(&p, 3000, least, 30);
    assert_true(p.slow);
    a_second(&p, 4000, least - 1, 40);
    assert_false(p.slow); /* The plane's own since. */
    shipper_pace_stopped(&p, SHIPPER_STOP_LINK, 5000, 40);
    shipper_pace_reset(&p);
    shipper_pace_stopped(&p, SHIPPER_STOP_PLANE, 800000, 40);
    a_second(&p, 800000, 0, 40);
    a_second(&p, 801000, 0, 40);
    assert_false(p.slow); /* The time between does not count as the link's. */
}

/* ---- damage (B44) ---- */

/* Writes `bytes` as the only segment and opens the set on it. */
static void reopen_with(struct world *w, const char *path, struct str bytes)
{
    char epoch_dir[600];
    (void)snprintf(epoch_dir, sizeof(epoch_dir), "%.*s", (int)(strrchr(path, '/') - path), path);
    empty_dir(w);
    assert_int_equal(mkdir(epoch_dir, 0700), 0);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.data, bytes.len), (ssize_t)bytes.len);
    close(fd);
    open_set(w, 0, 0);
}

#define SMALL_FRAMES  11
#define SMALL_SEGMENT 65536U /* Grows as it is written, not by pieces. */
/* Three done requests and one open; each intent has its attempt's frame behind it:
 * i0 a0 r1 i1 a1 r2 i2(open) a2 i3 a3 r3. Ends of frames in out. */
static void small_segment(struct world *w, char **out_path, struct buf *out_file,
                          size_t ends[SMALL_FRAMES])
{
    open_set(w, 0, SMALL_SEGMENT);
    struct spool_intent *intent = NULL;
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(begin(w, i, &intent), 0);
        if (i != 2)
            end(w, i, intent);
    }
    *out_path = first_segment(w, 1);
    close_set(w);
    struct spool_scan scan;
    struct spool_frame frame;
    struct str file = slurp(*out_path, out_file);
    struct spool_header header;
    assert_int_equal(spool_header_decode(file, &header), 0);
    spool_scan_init(&scan, str_slice(file, SPOOL_HEADER_BYTES, file.len),
                    spool_header_salt(&header));
    static const char kinds[] = "iariariaiar";
    for (size_t n = 0; n < SMALL_FRAMES; n++) {
        assert_int_equal(spool_scan_next(&scan, &frame), SPOOL_SCAN_FRAME);
        assert_int_equal(frame.type, kinds[n] == 'i'   ? SPOOL_INTENT
                                     : kinds[n] == 'a' ? SPOOL_ATTEMPT
                                                       : SPOOL_RECORD);
        ends[n] = SPOOL_HEADER_BYTES + scan.offset;
    }
    assert_int_equal(spool_scan_next(&scan, &frame), SPOOL_SCAN_END);
}

static bool is_record(size_t frame)
{
    return frame == 2 || frame == 5 || frame == 10;
}

static bool is_intent(size_t frame)
{
    return frame == 0 || frame == 3 || frame == 6 || frame == 8;
}

static void b44_a_segment_cut_at_every_byte_keeps_every_whole_frame(void **state)
{
    struct world *w = *state;
    char *path;
    struct buf file;
    size_t ends[SMALL_FRAMES];
    small_segment(w, &path, &file, ends);
    for (size_t cut = 0; cut < file.len; cut += cut < 80 ? 3 : 17) {
        reopen_with(w, path, str_slice(buf_str(&file), 0, cut));
        uint64_t records = 0, intents = 0;
        for (size_t i = 0; i < SMALL_FRAMES && ends[i] <= cut; i++) {
            records += is_record(i);
            intents += is_intent(i);
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
    size_t ends[SMALL_FRAMES];
    small_segment(w, &path, &file, ends);
    for (size_t at = SPOOL_HEADER_BYTES; at < file.len; at += 31) {
        file.data[at] = (char)(file.data[at] ^ (1 << (at % 8)));
        reopen_with(w, path, buf_str(&file));
        file.data[at] = (char)(file.data[at] ^ (1 << (at % 8)));
        size_t hit = 0;
        while (ends[hit] <= at)
            hit++;
        static struct found f;
        read_first(w, &f);
        bool last = hit == SMALL_FRAMES - 1;
        assert_int_equal(w->recovery.quarantined, last ? 0 : 1);
        assert_true(last == (w->recovery.torn_bytes > 0));
        if (last) { /* As if it was never written. */
            assert_int_equal(f.records, 2);
            assert_int_equal(f.crashes, 2);
            assert_int_equal(f.gap_records, 0);
        } else if (is_record(hit)) { /* Its seq is a gap, its request is open again. */
            assert_int_equal(f.records, 2);
            assert_int_equal(f.crashes, 2);
            assert_int_equal(f.gap_records, 1);
        } else if (hit == 6) { /* The open one's intent: it is gone, and counted. */
            assert_int_equal(f.records, 3);
            assert_int_equal(f.crashes, 0);
        } else { /* An attempt, or the intent of a request that has its record. */
            assert_int_equal(f.records, 3);
            assert_int_equal(f.crashes, 1);
            assert_int_equal(f.gap_records, 0);
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
    size_t ends[SMALL_FRAMES];
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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(f4_open_requests_become_node_crash_once),
        TEST(b44_what_was_reserved_for_each_attempt_is_the_cost_of_a_crash),
        TEST(open_requests_are_carried_into_new_segments),
        TEST(epochs_rise_and_two_processes_cannot_share_a_spool),
        TEST(a_batch_reads_back_stored_and_compressed),
        cmocka_unit_test(only_a_slow_link_is_slow),
        cmocka_unit_test(a_plane_that_commits_slowly_is_no_slow_link),
        TEST(b44_a_segment_cut_at_every_byte_keeps_every_whole_frame),
        TEST(b44_a_flipped_bit_costs_its_own_frame_only),
        TEST(b44_files_that_are_not_ours_are_refused_and_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

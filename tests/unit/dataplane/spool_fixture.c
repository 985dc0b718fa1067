#include "tests/unit/dataplane/spool_fixture.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/link/wire.h"

struct spool_io real_io;

int try_open_set(struct world *w, uint64_t max_bytes, uint64_t segment_bytes, struct err *err)
{
    struct spool_options options = {.dir = w->dir,
                                    .spools = 1,
                                    .max_bytes = max_bytes,
                                    .segment_bytes = segment_bytes,
                                    .sync_ms = 3600000, /* Tests sync and drain by themselves. */
                                    .drain_ms = 3600000,
                                    .ring_bytes = SPOOL_RING_BYTES_MIN,
                                    .audit_strict = true};
    int rc = spool_set_create(&options, &w->set, &w->recovery, err);
    if (rc == 0) {
        w->spool = spool_set_spool(w->set, 0);
        w->set->carry_after = 1; /* A test's few segments are to see it. */
    }
    return rc;
}

void open_set(struct world *w, uint64_t max_bytes, uint64_t segment_bytes)
{
    struct err err = {0};
    if (try_open_set(w, max_bytes, segment_bytes, &err) != 0)
        fail_msg("%s", err.message);
}

void must(bool ok)
{
    if (!ok)
        _exit(FAILED_EXIT);
}

void close_set(struct world *w)
{
    spool_set_destroy(w->set);
    w->set = NULL;
}

void hold_writer(struct world *w)
{
    pthread_mutex_lock(&w->set->drain_lock);
    w->writer_held = true;
}

void let_writer_go(struct world *w)
{
    if (w->writer_held)
        pthread_mutex_unlock(&w->set->drain_lock);
    w->writer_held = false;
}

int setup(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    real_io = spool_io;
    w->dir = temp_dir_make();
    *state = w;
    return 0;
}

int teardown(void **state)
{
    struct world *w = *state;
    if (memcmp(&spool_io, &real_io, sizeof spool_io) != 0) /* The writer may be looking at it. */
        spool_io = real_io;
    let_writer_go(w);
    spool_set_destroy(w->set);
    temp_dir_remove(w->dir);
    mem_free(w);
    return 0;
}

struct sample sample;

int begin_in_ring(struct world *w, uint32_t number, struct spool_intent **out)
{
    sample_init(&sample, number);
    sample.attempts[0].status = 0;
    sample.attempts[0].total_ms = 0;
    return spool_intent(w->spool, &sample.d, &sample.attempts[0], out, NULL);
}

void end_in_ring(struct world *w, uint32_t number, struct spool_intent *intent)
{
    sample_init(&sample, number);
    spool_outcome(w->spool, intent, &sample.o, NULL);
}

int begin(struct world *w, uint32_t number, struct spool_intent **out)
{
    int rc = begin_in_ring(w, number, out);
    spool_set_drain(w->set);
    return rc;
}

void end(struct world *w, uint32_t number, struct spool_intent *intent)
{
    end_in_ring(w, number, intent);
    spool_set_drain(w->set);
}

void one(struct world *w, uint32_t number)
{
    struct spool_intent *intent = NULL;
    assert_int_equal(begin(w, number, &intent), 0);
    end(w, number, intent);
}

/* None, or whole: an intent keeps what was decided, however its process ended. */
static void check_rollout(struct found *f, const Steelyard__Telemetry__V1__Decision *d)
{
    if (d->rollout_id == 0) {
        assert_true(d->arm == 0 && d->unit == 0 && d->shadow == NULL);
        return;
    }
    assert_true(d->rollout_id == 1700000000123);
    assert_true(d->unit == UINT64_MAX - 1);
    assert_int_equal(d->stage, 3);
    assert_int_equal(d->arm, RECORD_ARM_STABLE);
    assert_int_equal(d->slot, 9999);
    assert_int_equal(d->shadow->chosen, 3);
    assert_int_equal(d->shadow->q, 65536);
    assert_int_equal(d->shadow->params_sha.len, 32);
    f->in_rollout++;
}

void read_epoch(struct world *w, struct spool_epoch *epoch, struct found *f)
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
        assert_true(number < NUMBERS_MAX);
        check_rollout(f, r->decision);
        if (r->decision->status == STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_NODE_CRASH) {
            f->crashed[number]++;
            f->crashes++;
            int64_t held = 0;
            for (size_t i = 0; i < r->decision->n_attempt; i++) {
                assert_int_equal(r->decision->attempt[i]->cost, r->decision->attempt[i]->reserved);
                held += r->decision->attempt[i]->reserved;
            }
            assert_true(r->decision->cost == (held != 0 ? held : r->decision->reserved));
            assert_int_equal(r->decision->n_charge, 2);
            f->crash_cost += r->decision->cost;
            if (r->decision->n_attempt > 0) /* Not when its frame was damaged. */
                assert_int_equal(r->decision->attempt[0]->reason, RECORD_REASON_NODE_CRASH);
            assert_true(r->decision->packed_features.len > 0);
        } else {
            f->ok[number]++;
            f->records++;
        }
        wire_free(m);
    }
    f->next_seq = c.next_seq;
    shipper_cursor_deinit(&c);
}

void read_first(struct world *w, struct found *f)
{
    memset(f, 0, sizeof(*f));
    read_epoch(w, container_of(w->set->epochs.next, struct spool_epoch, link), f);
}

char *first_segment(struct world *w, uint32_t number)
{
    struct spool_epoch *epoch = container_of(w->set->epochs.next, struct spool_epoch, link);
    struct spool_segment segment = {.epoch = epoch, .number = number};
    return spool_segment_path(&segment);
}

void empty_dir(struct world *w)
{
    temp_dir_remove(mem_strdup(w->dir));
    assert_int_equal(mkdir(w->dir, 0700), 0);
}

struct str slurp(const char *path, struct buf *b)
{
    buf_init(b, SIZE_MAX);
    assert_int_equal(buf_read_file(b, path, 1 << 24, NULL), 0);
    return buf_str(b);
}

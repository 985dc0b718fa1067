/* Exactly once, against a real server: random duplication, holes, reordering, killed connections
 * and poison, and in the end the ledgers must be equal. */
#include "controlplane/ingest/intake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "controlplane/ingest/intake_canary.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/fixture.h"

#define TS0 INT64_C(1795233600000000)

struct wait {
    unsigned pending;
    struct intake_result last;
};

static void on_result(void *arg, const struct intake_result *result)
{
    struct wait *w = arg;
    w->pending--;
    w->last = *result;
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static struct intake *make_intake(uv_loop_t *loop, const char *conninfo)
{
    struct intake_config config = {.conninfo = conninfo, .connections = 3, .retry_backoff_ms = 20};
    struct intake *in = NULL;
    struct err err = {0};
    assert_int_equal(intake_create(loop, &config, &in, &err), 0);
    return in;
}

static void close_intake(uv_loop_t *loop, struct intake *in)
{
    bool closed = false;
    intake_close(in, on_closed, &closed);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_true(closed);
    assert_int_equal(uv_loop_close(loop), 0);
}

static struct intake_batch batch_of(struct buf *list, uint8_t node, uint64_t epoch, uint64_t first,
                                    uint32_t count)
{
    struct intake_batch b = {.epoch = epoch, .first_seq = first, .count = count, .records = *list};
    memset(b.node_id.bytes, node, 16);
    *list = (struct buf){0};
    return b;
}

static struct intake_result submit_and_wait(uv_loop_t *loop, struct intake *in,
                                            struct intake_batch b)
{
    struct wait w = {.pending = 1};
    assert_int_equal(intake_submit(in, &b, on_result, &w), 0);
    while (w.pending > 0)
        uv_run(loop, UV_RUN_ONCE);
    return w.last;
}

static void f9_a_batch_sent_twice_is_stored_once(void **state)
{
    const char *db = *state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct pq_conn *c = fixture_connect(db);
    struct intake *in = make_intake(&loop, db);
    for (int round = 0; round < 2; round++) {
        struct buf list = {0};
        for (uint64_t i = 0; i < 5; i++)
            fixture_add_decision(&list,
                                 &(struct fixture_decision){.key_id = 1, .serial = i, .cost = 10});
        struct intake_result r = submit_and_wait(&loop, in, batch_of(&list, 1, 1, 1, 5));
        assert_int_equal(r.outcome, INTAKE_STORED);
        assert_int_equal(r.acked_through, 5);
        assert_int_equal(r.duplicates, round == 0 ? 0 : 5);
    }
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM decision WHERE epoch = 1"), 5);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM attempt"), 5);
    assert_int_equal(fixture_i64(c, "SELECT sum(decisions) FROM usage_hour WHERE key_id = 1"), 5);
    assert_int_equal(fixture_i64(c, "SELECT sum(cost) FROM usage_hour WHERE key_id = 1"), 50);
    /* 100 tokens in, 50 out at 2.5 and 10 USD a million: 750,000 nano-USD each. */
    assert_int_equal(
        fixture_i64(c, "SELECT sum(cost) FROM candidate_hour WHERE model = 'model-large'"),
        3750000);
    assert_int_equal(fixture_i64(c, "SELECT next_seq FROM ingest_stream WHERE epoch = 1"), 6);
    pq_conn_close(c);
    close_intake(&loop, in);
}

static void a_hole_without_a_gap_is_answered_with_what_is_expected(void **state)
{
    const char *db = *state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct intake *in = make_intake(&loop, db);
    struct buf list = {0};
    fixture_add_decision(&list, &(struct fixture_decision){.serial = 1});
    struct intake_result r = submit_and_wait(&loop, in, batch_of(&list, 2, 7, 4, 1));
    assert_int_equal(r.outcome, INTAKE_HOLE);
    assert_int_equal(r.expected_seq, 1);
    fixture_add_gap(&list, 1, 3);
    r = submit_and_wait(&loop, in, batch_of(&list, 2, 7, 1, 1));
    assert_int_equal(r.outcome, INTAKE_STORED);
    assert_int_equal(r.acked_through, 3);
    fixture_add_decision(&list, &(struct fixture_decision){.serial = 2});
    r = submit_and_wait(&loop, in, batch_of(&list, 2, 7, 4, 1));
    assert_int_equal(r.outcome, INTAKE_STORED);
    assert_int_equal(r.acked_through, 4);
    close_intake(&loop, in);
}

static void f10_one_refused_record_goes_to_quarantine_and_the_rest_is_stored(void **state)
{
    const char *db = *state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct pq_conn *c = fixture_connect(db);
    struct intake *in = make_intake(&loop, db);
    fixture_exec(c, "ALTER TABLE decision ADD CONSTRAINT no_poison CHECK (task <> 'poison')");
    struct buf list = {0};
    for (uint64_t i = 0; i < 500; i++)
        fixture_add_decision(
            &list, &(struct fixture_decision){.serial = i,
                                              .task = i == 123 || i == 400 ? "poison" : "fine"});
    struct intake_result r = submit_and_wait(&loop, in, batch_of(&list, 3, 1, 1, 500));
    assert_int_equal(r.outcome, INTAKE_STORED);
    assert_int_equal(r.acked_through, 500);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM decision WHERE task = 'fine'"), 498);
    assert_int_equal(
        fixture_i64(c, "SELECT count(*) FROM ingest_deadletter WHERE seq IN (124, 401) AND "
                       "sqlstate = '23514' AND length(raw) > 100"),
        2);
    fixture_exec(c, "ALTER TABLE decision DROP CONSTRAINT no_poison");
    pq_conn_close(c);
    close_intake(&loop, in);
}

static void b43_a_record_that_cannot_be_decoded_is_quarantined_alone(void **state)
{
    const char *db = *state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct pq_conn *c = fixture_connect(db);
    struct intake *in = make_intake(&loop, db);
    struct buf list = {0};
    fixture_add_decision(&list, &(struct fixture_decision){.serial = 1, .task = "b43"});
    fixture_add_garbage(&list, 99);
    fixture_add_decision(
        &list, &(struct fixture_decision){.serial = 2, .ts_us = INT64_MAX, .task = "b43"});
    fixture_add_decision(&list, &(struct fixture_decision){.serial = 3, .task = "b43"});
    struct intake_result r = submit_and_wait(&loop, in, batch_of(&list, 4, 1, 1, 4));
    assert_int_equal(r.outcome, INTAKE_STORED);
    assert_int_equal(r.quarantined, 2);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM decision WHERE task = 'b43'"), 2);
    /* The list itself broken: nothing is taken. */
    fixture_add_decision(&list, &(struct fixture_decision){.serial = 4});
    list.len--;
    struct intake_batch b = batch_of(&list, 4, 1, 5, 1);
    assert_int_equal(intake_submit(in, &b, on_result, NULL), ERR_CORRUPT);
    buf_deinit(&b.records);
    pq_conn_close(c);
    close_intake(&loop, in);
}

static void b17_bytes_that_no_text_column_takes_are_stored_in_the_record(void **state)
{
    const char *db = *state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct pq_conn *c = fixture_connect(db);
    struct intake *in = make_intake(&loop, db);
    struct buf list = {0};
    fixture_add_decision(&list,
                         &(struct fixture_decision){.serial = 1, .task = "b17 \xff\xfe \xc3"});
    struct intake_result r = submit_and_wait(&loop, in, batch_of(&list, 5, 1, 1, 1));
    assert_int_equal(r.outcome, INTAKE_STORED);
    assert_int_equal(r.quarantined, 0);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM decision WHERE task = 'b17 ?? ?' AND "
                                    "position('\\xfffe20c3'::bytea IN detail) > 0"),
                     1);
    pq_conn_close(c);
    close_intake(&loop, in);
}

static void b31_the_first_vote_of_a_source_wins(void **state)
{
    const char *db = *state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct pq_conn *c = fixture_connect(db);
    struct intake *in = make_intake(&loop, db);
    struct buf list = {0};
    struct uuid id;
    fixture_add_decision(&list,
                         &(struct fixture_decision){.serial = 1, .key_id = 6, .out_id = &id});
    fixture_add_feedback(&list, &id, 6, "thumb", 65536, TS0 + 1);
    fixture_add_feedback(&list, &id, 6, "thumb", 0, TS0 + 2);
    fixture_add_feedback(&list, &id, 6, "eval", 32768, TS0 + 3);
    (void)submit_and_wait(&loop, in, batch_of(&list, 6, 1, 1, 4));
    fixture_add_feedback(&list, &id, 6, "thumb", 1, TS0 + 4);
    struct intake_result r = submit_and_wait(&loop, in, batch_of(&list, 6, 1, 5, 1));
    assert_int_equal(r.outcome, INTAKE_STORED);
    assert_int_equal(
        fixture_i64(c, "SELECT count(*) FROM feedback f JOIN decision d USING (request_id) "
                       "WHERE f.key_id = 6 AND d.ts BETWEEN f.ts - interval '1 minute' AND "
                       "f.ts + interval '1 day'"),
        2);
    assert_int_equal(
        fixture_i64(c, "SELECT score_q16 FROM feedback WHERE key_id = 6 AND source = 'thumb'"),
        65536);
    pq_conn_close(c);
    close_intake(&loop, in);
}

#define DAY_US INT64_C(86400000000)

struct said { /* By one answer. */
    int64_t ts_us;
    uint64_t print;
    const char *text;
};

static void store_said(uv_loop_t *loop, struct intake *in, uint64_t epoch, const struct said *said,
                       uint32_t count)
{
    struct buf list = {0};
    for (uint32_t i = 0; i < count; i++)
        fixture_add_decision(&list, &(struct fixture_decision){.serial = epoch * 1000 + i,
                                                               .ts_us = said[i].ts_us,
                                                               .print = said[i].print,
                                                               .print_text = said[i].text,
                                                               .task = "print"});
    struct intake_result r = submit_and_wait(loop, in, batch_of(&list, 7, epoch, 1, count));
    assert_int_equal(r.outcome, INTAKE_STORED);
    assert_int_equal(r.quarantined, 0);
}

static void what_answers_say_made_them_is_a_row_of_each_deployment(void **state)
{
    const char *db = *state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct pq_conn *c = fixture_connect(db);
    struct intake *in = make_intake(&loop, db);
    const int64_t now = fixture_i64(c, "SELECT (extract(epoch FROM now()) * 1e6)::bigint");
    const uint64_t high = UINT64_MAX - 1; /* -2 as a bigint. */
    const struct said first[] = {{now - 30 * DAY_US, high, "gpt fp_a"},
                                 {now - 30 * DAY_US + 5, high, NULL},
                                 {now - 30 * DAY_US + 7, 77, NULL},
                                 {now - 30 * DAY_US + 9, 0, NULL}};
    store_said(&loop, in, 1, first, 4);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM attempt WHERE fingerprint = -2"), 2);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM fingerprint WHERE model = 'model-small' "
                                    "AND server = 'sim/model-small'"),
                     2);
    assert_int_equal(fixture_i64(c, "SELECT requests FROM fingerprint WHERE print = -2 AND text = "
                                    "'gpt fp_a' AND last_seen > since AND away IS NULL"),
                     2);
    assert_int_equal(fixture_i64(c, "SELECT requests FROM fingerprint WHERE print = 77 AND text IS "
                                    "NULL"),
                     1);
    /* Ten days later it is the same; after sixteen more, with nothing in between, it is new. A
     * clock that is ahead is not believed. */
    const struct said later[] = {{now - 20 * DAY_US, high, NULL}, {now - 20 * DAY_US, 77, "late"}};
    const struct said again[] = {{now - 4 * DAY_US, high, NULL}, {now + 9 * DAY_US, 5, "ahead"}};
    store_said(&loop, in, 2, later, 2);
    assert_int_equal(fixture_i64(c, "SELECT requests FROM fingerprint WHERE print = -2"), 3);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM fingerprint WHERE text = 'late'"), 1);
    store_said(&loop, in, 3, again, 2);
    assert_int_equal(fixture_i64(c, "SELECT requests FROM fingerprint WHERE print = -2 AND away < "
                                    "since - interval '15 days' AND first_seen < away"),
                     1);
    assert_int_equal(
        fixture_i64(c, "SELECT count(*) FROM fingerprint WHERE print = 5 AND last_seen <= now()"),
        1);
    /* What is late joins those before it, and does not end the newer ones' time. */
    store_said(&loop, in, 4, later, 1);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM fingerprint WHERE print = -2 AND "
                                    "last_seen > now() - interval '5 days'"),
                     1);
    /* A provider that makes one up for each request gets no more than so many rows, and the known
     * ones are counted on. */
    static struct said random[300];
    for (uint32_t i = 0; i < 300; i++)
        random[i] = (struct said){now - 1000, 1000 + i % 150 + (i >= 150 ? 5000 : 0), NULL};
    store_said(&loop, in, 5, random, 150);
    store_said(&loop, in, 6, random + 150, 150);
    for (uint32_t i = 0; i < 150; i++)
        random[i].print += 20000;
    store_said(&loop, in, 7, random, 150);
    const int64_t rows = fixture_i64(c, "SELECT count(*) FROM fingerprint");
    assert_in_range(rows, 256, 256 + 150);
    store_said(&loop, in, 8, again, 1);
    assert_int_equal(fixture_i64(c, "SELECT requests FROM fingerprint WHERE print = -2"), 3);
    pq_conn_close(c);
    close_intake(&loop, in);
}

/* --- the property ------------------------------------------------------------------------------
 */

#define STREAMS 5
#define RECORDS 1500

struct sender {
    struct intake *in;
    uint8_t node;
    uint64_t epoch;
    uint64_t next; /* Next seq to send. */
    uint64_t acked;
    unsigned pending;
    struct model *model;
};

struct model {
    const char *kind_of[STREAMS][RECORDS + 1]; /* What stands at each seq. */
    struct sender sender[STREAMS];
};

static void on_sent(void *arg, const struct intake_result *r)
{
    struct sender *s = arg;
    s->pending--;
    if (r->outcome == INTAKE_STORED && r->acked_through > s->acked)
        s->acked = r->acked_through;
    if (r->outcome == INTAKE_HOLE)
        s->next = r->expected_seq;
    if (r->outcome == INTAKE_UNAVAILABLE)
        s->next = s->acked + 1;
}

static uint64_t serial_of(const struct sender *s, uint64_t seq)
{
    return (uint64_t)s->node * 1000000 + seq;
}

static void send_some(struct sender *s)
{
    /* Sometimes from before (a duplicate), sometimes from behind (a hole). */
    uint64_t first = s->next;
    uint64_t dice = rand_below(10);
    if (dice == 0 && first > 10)
        first -= rand_below(10);
    else if (dice == 1 && first + 5 < RECORDS)
        first += 1 + rand_below(4);
    uint64_t count = 1 + rand_below(120);
    if (first > RECORDS)
        first = RECORDS;
    if (first + count - 1 > RECORDS)
        count = RECORDS - first + 1;
    struct buf list = {0};
    for (uint64_t seq = first; seq < first + count; seq++) {
        const char *kind = s->model->kind_of[s->node % STREAMS][seq];
        if (strcmp(kind, "garbage") == 0)
            fixture_add_garbage(&list, serial_of(s, seq));
        else
            fixture_add_decision(&list, &(struct fixture_decision){.serial = serial_of(s, seq),
                                                                   .key_id = 777,
                                                                   .cost = (int64_t)seq,
                                                                   .task = kind});
    }
    struct intake_batch b = batch_of(&list, s->node, s->epoch, first, (uint32_t)count);
    int rc = intake_submit(s->in, &b, on_sent, s);
    buf_deinit(&b.records);
    if (rc != 0)
        return;
    s->pending++;
    if (first + count > s->next)
        s->next = first + count;
}

static void run_property(const char *db, uint64_t seed)
{
    uv_loop_t loop;
    struct model *m = mem_zalloc(sizeof *m);
    uint64_t expect_rows = 0, expect_bad = 0, expect_cost = 0;
    assert_non_null(m);
    printf("seed %llu\n", (unsigned long long)seed);
    rand_seed_thread(seed);
    uv_loop_init(&loop);
    struct pq_conn *c = fixture_connect(db);
    fixture_exec(c, "TRUNCATE decision, attempt, usage_hour, candidate_hour, ingest_stream, "
                    "ingest_deadletter; ALTER TABLE decision ADD CONSTRAINT no_poison "
                    "CHECK (task <> 'poison')");
    struct intake *in = make_intake(&loop, db);
    for (unsigned i = 0; i < STREAMS; i++) {
        m->sender[i] = (struct sender){
            .in = in, .node = (uint8_t)(10 + i), .epoch = seed + i, .next = 1, .model = m};
        for (unsigned seq = 1; seq <= RECORDS; seq++) {
            uint64_t dice = rand_below(400);
            m->kind_of[(10 + i) % STREAMS][seq] =
                dice == 0 ? "poison" : (dice == 1 ? "garbage" : "fine");
            if (dice <= 1)
                expect_bad++;
            else
                expect_cost += seq;
            expect_rows += dice > 1;
        }
    }
    for (unsigned turn = 0;; turn++) {
        bool done = true;
        for (unsigned i = 0; i < STREAMS; i++) {
            struct sender *s = &m->sender[i];
            if (s->acked >= RECORDS)
                continue;
            done = false;
            if (s->pending == 0 && s->next > s->acked + 1 && s->next > RECORDS)
                s->next = s->acked + 1; /* Some of it was refused as a hole. */
            if (s->pending < 3)
                send_some(s);
        }
        if (done)
            break;
        if (turn % 40 == 7)
            fixture_exec(c, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                            "application_name = 'steelyard-intake' AND random() < 0.5");
        uv_run(&loop, UV_RUN_ONCE);
    }
    close_intake(&loop, in);
    /* The ledger: every seq is a row or a dead letter, once; sums agree. */
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM decision"), (int64_t)expect_rows);
    assert_int_equal(fixture_i64(c, "SELECT count(DISTINCT (node_id, epoch, seq)) FROM decision"),
                     (int64_t)expect_rows);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM attempt"), (int64_t)expect_rows);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM ingest_deadletter"), (int64_t)expect_bad);
    assert_int_equal(fixture_i64(c, "SELECT sum(cost) FROM decision"), (int64_t)expect_cost);
    assert_int_equal(fixture_i64(c, "SELECT sum(cost) FROM usage_hour"), (int64_t)expect_cost);
    assert_int_equal(fixture_i64(c, "SELECT sum(decisions) FROM usage_hour"), (int64_t)expect_rows);
    assert_int_equal(fixture_i64(c, "SELECT min(next_seq) FROM ingest_stream"), RECORDS + 1);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM decision d JOIN ingest_deadletter b "
                                    "USING (node_id, epoch, seq)"),
                     0);
    fixture_exec(c, "ALTER TABLE decision DROP CONSTRAINT no_poison");
    pq_conn_close(c);
    mem_free(m);
}

static void f9_the_ledger_is_equal_after_duplicates_holes_kills_and_poison(void **state)
{
    const char *text = getenv("STEELYARD_TEST_SEED");
    uint64_t seed = text == NULL ? 1 : (uint64_t)strtoull(text, NULL, 10);
    for (uint64_t i = 0; i < (text == NULL ? 3 : 1); i++)
        run_property(*state, seed + i);
}

static void f2_batches_wait_while_postgres_restarts(void **state)
{
    const char *db = *state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct intake *in = make_intake(&loop, db);
    struct wait w = {0};
    struct buf list = {0};
    for (uint64_t i = 0; i < 20; i++) {
        if (i == 5)
            cluster_restart();
        fixture_add_decision(&list, &(struct fixture_decision){.serial = i, .key_id = 52});
        struct intake_batch b = batch_of(&list, 52, 1, i + 1, 1);
        assert_int_equal(intake_submit(in, &b, on_result, &w), 0);
        w.pending++;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    while (w.pending > 0) {
        uv_run(&loop, UV_RUN_ONCE);
        assert_int_not_equal(w.last.outcome, INTAKE_UNAVAILABLE);
    }
    struct pq_conn *c = fixture_connect(db);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM decision WHERE key_id = 52"), 20);
    pq_conn_close(c);
    close_intake(&loop, in);
}

static int setup(void **state)
{
    cluster_start();
    *state = (void *)(uintptr_t)cluster_database("intake", true);
    return 0;
}

static void a_decision_of_a_rollout_leaves_its_observation_beside_it(void **state)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct pq_conn *c = fixture_connect(*state);
    struct intake *in = make_intake(&loop, *state);
    struct buf list = {0};
    struct uuid id;
    fixture_add_decision(&list, &(struct fixture_decision){.serial = 900, .key_id = 1});
    fixture_add_decision(&list, &(struct fixture_decision){.serial = 901,
                                                           .key_id = 1,
                                                           .cost = 77,
                                                           .rollout_id = 1700000000123,
                                                           .unit = UINT64_MAX - 4,
                                                           .arm = 2,
                                                           .stage = 3,
                                                           .slot = 41,
                                                           .out_id = &id});
    /* A fallback served it: the client saw nothing, the guard does (a timeout). */
    fixture_add_decision(&list, &(struct fixture_decision){.serial = 902,
                                                           .key_id = 1,
                                                           .rollout_id = 1700000000123,
                                                           .unit = 9,
                                                           .arm = 1,
                                                           .reason = 3});
    fixture_add_feedback(&list, &id, 1, "thumb", 0, TS0 + 5000000);
    assert_int_equal(submit_and_wait(&loop, in, batch_of(&list, 91, 1, 1, 4)).outcome,
                     INTAKE_STORED);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM canary_obs"), 2);
    char sql[400];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM canary_obs o JOIN decision d USING (request_id) WHERE "
             "o.unit_hash = -5 AND arm = 2 AND stage = 2 AND slot = 41 AND o.cost = 77 AND "
             "o.flags = 16 AND o.latency_ms = 120 AND o.tokens_out = 50 AND cluster = %u AND "
             "shadow_q IS NULL AND stratum BETWEEN 0 AND 15 AND "
             "bucket BETWEEN now() - interval '1 minute' AND now()",
             intake_canary_cluster(1700000000123, UINT64_MAX - 4));
    assert_int_equal(fixture_i64(c, sql), 1);
    assert_int_equal(fixture_i64(c, "SELECT flags FROM canary_obs WHERE unit_hash = 9"),
                     OBS_ERROR | OBS_TIMEOUT | OBS_SERVED);
    assert_int_equal(fixture_i64(c, "SELECT stage FROM canary_obs WHERE unit_hash = 9"), -1);
    /* All of one transaction, whose number says when they can be folded. */
    assert_int_equal(fixture_i64(c,
                                 "SELECT count(DISTINCT x) FROM (SELECT xid AS x FROM canary_obs "
                                 "UNION ALL SELECT xid FROM feedback WHERE source = 'thumb' AND "
                                 "xid IS NOT NULL AND request_id = (SELECT request_id FROM "
                                 "canary_obs WHERE unit_hash = -5)) s"),
                     1);
    pq_conn_close(c);
    close_intake(&loop, in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f9_a_batch_sent_twice_is_stored_once),
        cmocka_unit_test(a_hole_without_a_gap_is_answered_with_what_is_expected),
        cmocka_unit_test(f10_one_refused_record_goes_to_quarantine_and_the_rest_is_stored),
        cmocka_unit_test(b43_a_record_that_cannot_be_decoded_is_quarantined_alone),
        cmocka_unit_test(b17_bytes_that_no_text_column_takes_are_stored_in_the_record),
        cmocka_unit_test(b31_the_first_vote_of_a_source_wins),
        cmocka_unit_test(what_answers_say_made_them_is_a_row_of_each_deployment),
        cmocka_unit_test(f9_the_ledger_is_equal_after_duplicates_holes_kills_and_poison),
        cmocka_unit_test(a_decision_of_a_rollout_leaves_its_observation_beside_it),
        cmocka_unit_test(f2_batches_wait_while_postgres_restarts),
    };
    return cmocka_run_group_tests(tests, setup, fixture_stop_cluster);
}

/* How many decisions a second intake stores in a private PostgreSQL on this machine, the server's
 * work included. The cluster flushes to disk as in service (unless --no-durable). Each decision is
 * counted for five accounts and charged to three budgets (unless --plain).
 *
 *   bench_ingest [--decisions N] [--streams N] [--batch N] [--connections N] [-o json] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "controlplane/ingest/intake.h"
#include "controlplane/store/migrate.h"
#include "tests/unit/controlplane/fixture.h"

#define WINDOW 4 /* Batches a stream has under way. */

struct settings {
    uint64_t decisions, streams, batch, connections;
    bool json, durable, plain;
};

struct run {
    struct intake *intake;
    struct buf template; /* One batch, packed; each stream sends it again and again. */
    uint64_t left, stored, in_batch;
    struct stream_state {
        struct run *run;
        uint64_t next;
        unsigned pending;
        uint8_t id;
    } stream[64];
};

static void fill(struct stream_state *s);

static void on_stored(void *arg, const struct intake_result *result)
{
    struct stream_state *s = arg;
    s->pending--;
    s->run->stored += result->stored;
    if (result->outcome != INTAKE_STORED) {
        fprintf(stderr, "bench_ingest: a batch was not stored (outcome %d)\n",
                (int)result->outcome);
        exit(1);
    }
    fill(s);
}

static void fill(struct stream_state *s)
{
    struct run *r = s->run;
    while (s->pending < WINDOW && r->left > 0) {
        struct intake_batch b = {.epoch = 1, .first_seq = s->next, .count = (uint32_t)r->in_batch};
        memset(b.node_id.bytes, s->id, 16);
        buf_init(&b.records, 64U << 20);
        if (buf_append_str(&b.records, buf_str(&r->template)) != 0)
            exit(1);
        if (intake_submit(r->intake, &b, on_stored, s) != 0) {
            buf_deinit(&b.records);
            return;
        }
        s->next += r->in_batch;
        s->pending++;
        r->left -= r->left < r->in_batch ? r->left : r->in_batch;
    }
}

static uint64_t number(const char *text)
{
    uint64_t value;
    if (text == NULL || str_parse_u64(str_from(text), 100000000, &value) != 0 || value == 0) {
        fprintf(stderr, "bench_ingest: expected a number above 0\n");
        exit(2);
    }
    return value;
}

static struct settings parse(int argc, char **argv)
{
    struct settings s = {
        .decisions = 200000, .streams = 4, .batch = 500, .connections = 3, .durable = true};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--no-durable") == 0) {
            s.durable = false;
            continue;
        }
        if (strcmp(argv[i], "--plain") == 0) {
            s.plain = true;
            continue;
        }
        if (strcmp(argv[i], "--decisions") == 0)
            s.decisions = number(value);
        else if (strcmp(argv[i], "--streams") == 0)
            s.streams = number(value) > 64 ? 64 : number(value);
        else if (strcmp(argv[i], "--batch") == 0)
            s.batch = number(value);
        else if (strcmp(argv[i], "--connections") == 0)
            s.connections = number(value);
        else if (strcmp(argv[i], "-o") == 0 && value != NULL && strcmp(value, "json") == 0)
            s.json = true;
        else {
            fprintf(stderr, "usage: bench_ingest [--decisions N] [--streams N] [--batch N] "
                            "[--connections N] [--no-durable] [--plain] [-o json]\n");
            exit(2);
        }
        i++;
    }
    return s;
}

static double seconds_since(uint64_t start_ns)
{
    return (double)(clock_mono_ns() - start_ns) / 1e9;
}

int main(int argc, char **argv)
{
    struct settings s = parse(argc, argv);
    struct run r = {.left = s.decisions, .in_batch = s.batch};
    struct err err = {0};
    unsigned created, dropped;
    uv_loop_t loop;
    int64_t now = clock_wall_us();
    if (s.durable)
        cluster_start_durable();
    else
        cluster_start();
    const char *db = cluster_database("bench", true);
    struct pq_conn *c = fixture_connect(db);
    if (partitions_maintain(c, &(struct partitions_config){.days_ahead = 7}, now, &created,
                            &dropped, &err) != 0) {
        fprintf(stderr, "bench_ingest: %s\n", err.message);
        return 1;
    }
    for (uint64_t i = 0; i < s.batch; i++) {
        struct fixture_decision d = {
            .ts_us = now + (int64_t)i, .key_id = i % 20, .serial = i, .cost = 45000};
        if (!s.plain) {
            uint64_t key = i % 20;
            memcpy(d.accounts, (uint64_t[]){100, 200 + key % 4, 300 + key, 1000, key},
                   5 * sizeof *d.accounts);
            for (uint64_t k = 0; k < 3; k++)
                d.charges[k] = (struct fixture_charge){
                    .budget = 1 + (k < 2 ? k : 10 + key), .period_start_us = now, .cfg = 1};
            d.lease_epoch = 7;
            d.source = 1;
        }
        fixture_add_decision(&r.template, &d);
    }
    uv_loop_init(&loop);
    struct intake_config config = {.conninfo = db, .connections = (unsigned)s.connections};
    if (intake_create(&loop, &config, &r.intake, &err) != 0) {
        fprintf(stderr, "bench_ingest: %s\n", err.message);
        return 1;
    }
    uint64_t start = clock_mono_ns(), cpu = clock_thread_cpu_ns();
    for (uint64_t i = 0; i < s.streams; i++) {
        r.stream[i] = (struct stream_state){.run = &r, .next = 1, .id = (uint8_t)(i + 1)};
        fill(&r.stream[i]);
    }
    for (bool busy = true; busy;) {
        uv_run(&loop, UV_RUN_ONCE);
        busy = r.left > 0;
        for (uint64_t i = 0; i < s.streams; i++)
            busy = busy || r.stream[i].pending > 0;
    }
    double elapsed = seconds_since(start);
    double own = (double)(clock_thread_cpu_ns() - cpu) / 1e9;
    struct intake_stats stats = intake_stats(r.intake);
    intake_close(r.intake, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    int64_t rows = fixture_i64(c, "SELECT count(*) FROM decision");
    int64_t attempts = fixture_i64(c, "SELECT count(*) FROM attempt");
    int64_t bytes = fixture_i64(c, "SELECT pg_database_size(current_database())");
    pq_conn_close(c);
    cluster_stop();
    if ((uint64_t)rows != r.stored || (uint64_t)rows < s.decisions) {
        fprintf(stderr, "bench_ingest: %lld rows for %llu decisions\n", (long long)rows,
                (unsigned long long)r.stored);
        return 1;
    }
    if (s.json)
        printf("{\"bench\":\"ingest\",\"decisions\":%lld,\"attempts\":%lld,\"seconds\":%.3f,"
               "\"decisions_per_s\":%.0f,\"cpu_us_per_decision\":%.2f,\"transactions\":%llu,"
               "\"record_bytes\":%.0f,\"bytes_per_decision\":%.0f,\"durable\":%s}\n",
               (long long)rows, (long long)attempts, elapsed, (double)rows / elapsed,
               own * 1e6 / (double)rows, (unsigned long long)stats.transactions,
               (double)r.template.len / (double)s.batch, (double)bytes / (double)rows,
               s.durable ? "true" : "false");
    else
        printf(
            "%lld decisions and %lld attempts in %.2f s: %.0f decisions/s; own CPU %.1f us each, "
            "%.0f bytes a record, %.0f bytes a row with indexes, %llu transactions\n",
            (long long)rows, (long long)attempts, elapsed, (double)rows / elapsed,
            own * 1e6 / (double)rows, (double)r.template.len / (double)s.batch,
            (double)bytes / (double)rows, (unsigned long long)stats.transactions);
    buf_deinit(&r.template);
    return 0;
}

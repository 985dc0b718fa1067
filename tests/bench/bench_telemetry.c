/* What a decision record costs, and whether any is lost at speed.
 *   bench_telemetry [-n ROUNDS] [-r RECORDS_A_SECOND] [-s SECONDS] [-z] [-o json] [path|all]
 * Path: intent and outcome of a usual request (three candidates, 250 features, one attempt) handed
 * to the ring, alone on a thread; then what the writer thread and the shipper do with them, up to
 * the batch (-z: compressed, as when it lags behind). `path` stops after the first part, for
 * callgrind: valgrind --tool=callgrind --toggle-collect=put_records bench_telemetry -n 20000 path
 * Rate: one worker thread at so many records a second, the set's own threads, and a shipper that
 * gives its batches to a counter; every seq must come exactly once. CPU is the whole process. */
#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench_record.h"
#include "common/base/clock.h"

#define FEATURES    250
#define OPEN        32   /* Requests under way at once. */
#define ROUND       200U /* Records between two drains: what some milliseconds bring. */
#define VARIANTS    512
#define WARM_ROUNDS (640U * ROUND) /* 190 MB */

static bool compress; /* As the shipper does when it lags behind. */
static struct features features[VARIANTS];
static struct policy_decision decision[VARIANTS];
static uint64_t hashes[VARIANTS][2];
static struct bench_record record;

static uint64_t state = 88172645463325252U;

static uint32_t random_below(uint32_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 16) % bound);
}

/* What differs from request to request, so that the batches compress as real ones do. */
static void make_variant(struct features *f, struct policy_decision *d, uint64_t hash[2])
{
    f->n = FEATURES;
    for (uint32_t i = 0; i < FEATURES; i++)
        f->index[i] = (uint16_t)(i * 262 + random_below(262));
    for (uint32_t i = 0; i < FEATURES_DENSE; i++)
        f->dense[i] = (int16_t)random_below(1024);
    *d = (struct policy_decision){.count = BENCH_CANDIDATES,
                                  .greedy = 1,
                                  .chosen = 1,
                                  .draw = random_below(UINT32_MAX),
                                  .fallback_count = 2,
                                  .fallback = {0, 2}};
    for (uint32_t i = 0; i < BENCH_CANDIDATES; i++)
        d->row[i] = (struct policy_row){.z = (int32_t)random_below(65536) - 32768,
                                        .q = random_below(65536),
                                        .out_tok = random_below(1000),
                                        .cost = random_below(2000000),
                                        .lat_ms = random_below(5000),
                                        .u = (int64_t)random_below(1U << 31) << 8,
                                        .p = random_below(UINT32_MAX)};
    hash[0] = (uint64_t)random_below(UINT32_MAX) << 32 | random_below(UINT32_MAX);
    hash[1] = (uint64_t)random_below(UINT32_MAX) << 32 | random_below(UINT32_MAX);
}

/* `count` records with OPEN requests under way; how many were refused. Not inlined: callgrind
 * counts what happens in here. */
static struct spool_intent *under_way[OPEN];
__attribute__((noinline)) uint32_t put_records(struct spool *spool, uint32_t count);
__attribute__((noinline)) uint32_t put_records(struct spool *spool, uint32_t count)
{
    uint32_t refused = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct spool_intent **slot = &under_way[i % OPEN];
        if (*slot != NULL)
            spool_outcome(spool, *slot, &record.outcome, NULL);
        *slot = NULL;
        uint32_t v = i % VARIANTS;
        record.intent.ts_us++;
        record.intent.features = &features[v];
        record.intent.decision = &decision[v];
        record.intent.conv_hash = (struct str){(const char *)&hashes[v][0], 8};
        record.intent.text_hash = (struct str){(const char *)&hashes[v][1], 8};
        memcpy(record.intent.request_id.bytes, hashes[v], 16);
        if (spool_intent(spool, &record.intent, &record.begun, slot, NULL) != 0)
            refused++;
    }
    return refused;
}

static void end_records(struct spool *spool)
{
    for (uint32_t i = 0; i < OPEN; i++) {
        if (under_way[i] != NULL)
            spool_outcome(spool, under_way[i], &record.outcome, NULL);
        under_way[i] = NULL;
    }
}

struct cost {
    uint64_t path_ns, writer_ns, read_ns, pack_ns; /* Of one record, CPU of the thread. */
    uint64_t record_bytes, packed_bytes;
};

static struct cost measure_cost(uint32_t rounds, bool path_only)
{
    struct cost c = {0};
    const char *dir = bench_directory();
    struct spool_set *set = bench_spool(dir, true);
    struct spool *spool = spool_set_spool(set, 0);
    struct shipper_cursor cursor;
    struct shipper_batch batch;
    shipper_cursor_init(&cursor, set, spool->epoch);
    bench_batch_init(&batch);
    uint64_t records = 0, raw = 0, packed = 0;
    /* First what is kept is filled once: from then on segments are written over old ones. */
    uint64_t warm = path_only ? 0 : WARM_ROUNDS;
    for (uint64_t n = 0; n < warm + rounds; n += ROUND) {
        uint32_t count = warm + rounds - n < ROUND ? (uint32_t)(warm + rounds - n) : ROUND;
        if (n == warm)
            c = (struct cost){0};
        uint64_t t0 = clock_thread_cpu_ns();
        if (put_records(spool, count) != 0)
            bench_fail("a record was refused");
        uint64_t t1 = clock_thread_cpu_ns();
        spool_set_drain(set);
        uint64_t t2 = clock_thread_cpu_ns();
        c.path_ns += t1 - t0;
        c.writer_ns += t2 - t1;
        if (path_only)
            continue;
        spool_sync_written(set); /* A second pass would find nothing, and set the alarm by that. */
        for (;;) {
            uint64_t t3 = clock_thread_cpu_ns();
            uint32_t got = shipper_batch_collect(&batch, &cursor);
            uint64_t t4 = clock_thread_cpu_ns();
            if (got == 0)
                break;
            if (shipper_batch_pack(&batch, compress) != 0)
                bench_fail("out of memory");
            c.read_ns += t4 - t3;
            c.pack_ns += clock_thread_cpu_ns() - t4;
            records += got;
            raw += batch.raw_bytes;
            packed += batch.payload_len;
        }
        bench_spool_age(set, &cursor);
    }
    c.path_ns /= rounds;
    c.writer_ns /= rounds;
    if (records > 0) {
        c.read_ns /= rounds;
        c.pack_ns /= rounds;
        c.record_bytes = raw / records;
        c.packed_bytes = packed / records;
    }
    end_records(spool);
    shipper_batch_deinit(&batch);
    shipper_cursor_deinit(&cursor);
    spool_set_destroy(set);
    bench_directory_remove(dir);
    return c;
}

/* ---- at speed ---- */

struct run {
    struct spool_set *set;
    uint32_t rate, seconds;
    uint32_t refused;
    _Atomic bool finished;
    uint64_t shipped, gaps, batches;
};

static void *worker_main(void *arg)
{
    struct run *run = arg;
    struct spool *spool = spool_set_spool(run->set, 0);
    uint64_t start_ns = clock_mono_ns();
    uint64_t total = (uint64_t)run->rate * run->seconds, sent = 0;
    while (sent < total) {
        uint64_t due = (clock_mono_ns() - start_ns) / 1000 * run->rate / 1000000;
        if (due > total)
            due = total;
        if (due > sent)
            run->refused += put_records(spool, (uint32_t)(due - sent));
        sent = due;
        const struct timespec pause = {.tv_nsec = 1000000};
        (void)nanosleep(&pause, NULL);
    }
    end_records(spool);
    return NULL;
}

/* As the shipper: what is synced, in batches; a cursor that finds a hole reports a gap. */
static void *sink_main(void *arg)
{
    struct run *run = arg;
    struct shipper_cursor cursor;
    struct shipper_batch batch;
    shipper_cursor_init(&cursor, run->set, spool_set_spool(run->set, 0)->epoch);
    bench_batch_init(&batch);
    for (bool last = false;;) {
        bool finished = atomic_load(&run->finished);
        while (bench_batch(&batch, &cursor, compress) > 0) {
            run->shipped += batch.count;
            run->gaps += batch.gaps;
            run->batches++;
        }
        bench_spool_age(run->set, &cursor);
        if (last)
            break;
        last = finished;
        const struct timespec pause = {.tv_nsec = 200000000};
        (void)nanosleep(&pause, NULL);
    }
    shipper_batch_deinit(&batch);
    shipper_cursor_deinit(&cursor);
    return NULL;
}

static uint64_t process_cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    uint32_t rounds = 200000;
    struct run run = {.rate = 100000, .seconds = 10};
    bool json = false;
    for (int option; (option = getopt(argc, argv, "n:r:s:o:z")) != -1;) {
        if (option == 'n')
            rounds = (uint32_t)strtoul(optarg, NULL, 10);
        else if (option == 'r')
            run.rate = (uint32_t)strtoul(optarg, NULL, 10);
        else if (option == 's')
            run.seconds = (uint32_t)strtoul(optarg, NULL, 10);
        else if (option == 'o')
            json = strcmp(optarg, "json") == 0;
        else if (option == 'z')
            compress = true;
        else
            return 2;
    }
    bool path_only = optind < argc && strcmp(argv[optind], "path") == 0;
    bench_record_init(&record);
    for (uint32_t v = 0; v < VARIANTS; v++)
        make_variant(&features[v], &decision[v], hashes[v]);
    struct cost c = measure_cost(rounds, path_only);
    if (path_only) {
        printf("path %llu ns, writer %llu ns a record\n", (unsigned long long)c.path_ns,
               (unsigned long long)c.writer_ns);
        return 0;
    }
    const char *dir = bench_directory();
    run.set = bench_spool(dir, false);
    pthread_t worker, sink;
    uint64_t cpu_ns = process_cpu_ns();
    if (pthread_create(&sink, NULL, sink_main, &run) != 0 ||
        pthread_create(&worker, NULL, worker_main, &run) != 0)
        bench_fail("cannot start a thread");
    pthread_join(worker, NULL);
    spool_set_sync(run.set);
    atomic_store(&run.finished, true);
    pthread_join(sink, NULL);
    cpu_ns = process_cpu_ns() - cpu_ns;
    uint64_t sent = (uint64_t)run.rate * run.seconds - run.refused;
    uint64_t lost = sent - (run.shipped - run.gaps);
    spool_set_destroy(run.set);
    bench_directory_remove(dir);
    if (json)
        printf("{\"path_ns\":%llu,\"writer_ns\":%llu,\"read_ns\":%llu,\"pack_ns\":%llu,"
               "\"record_bytes\":%llu,\"packed_bytes\":%llu,\"rate\":%u,\"seconds\":%u,"
               "\"refused\":%u,\"lost\":%llu,\"cpu_ns\":%llu}\n",
               (unsigned long long)c.path_ns, (unsigned long long)c.writer_ns,
               (unsigned long long)c.read_ns, (unsigned long long)c.pack_ns,
               (unsigned long long)c.record_bytes, (unsigned long long)c.packed_bytes, run.rate,
               run.seconds, run.refused, (unsigned long long)lost,
               (unsigned long long)(cpu_ns / sent));
    else
        printf("a record          path %llu ns, writer %llu ns, read %llu ns, pack %llu ns; "
               "%llu bytes, %llu shipped\n"
               "%u a second, %u s  CPU %llu ns a record, %llu refused, %llu lost, %llu a batch\n",
               (unsigned long long)c.path_ns, (unsigned long long)c.writer_ns,
               (unsigned long long)c.read_ns, (unsigned long long)c.pack_ns,
               (unsigned long long)c.record_bytes, (unsigned long long)c.packed_bytes, run.rate,
               run.seconds, (unsigned long long)(cpu_ns / sent), (unsigned long long)run.refused,
               (unsigned long long)lost,
               (unsigned long long)(run.shipped / (run.batches > 0 ? run.batches : 1)));
    return lost == 0 ? 0 : 1;
}

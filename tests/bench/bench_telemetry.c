/* What a decision record costs, and whether any is lost at speed.
 *   bench_telemetry [-n ROUNDS] [-r RECORDS_A_SECOND] [-s SECONDS] [-z] [-o json] [path|all]
 * Path: intent and outcome of a usual request (three candidates, 250 features, one attempt) handed
 * to the ring, alone on a thread; then what the writer thread and the shipper do with them, up to
 * the batch (-z: compressed, as when it lags behind). `path` stops after the first part, for
 * callgrind: valgrind --tool=callgrind --toggle-collect=put_records bench_telemetry -n 20000 path
 * Rate: one worker thread at so many records a second, the set's own threads, and a shipper that
 * gives its batches to a counter; every seq must come exactly once. CPU is the whole process. */
#include <ftw.h>
#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "dataplane/telemetry/shipper_batch.h"
#include "dataplane/telemetry/spool_internal.h"

#define CANDIDATES  3
#define FEATURES    250
#define OPEN        32   /* Requests under way at once. */
#define ROUND       200U /* Records between two drains: less than what wakes the writer. */
#define VARIANTS    512
#define WARM_ROUNDS (640U * ROUND) /* 190 MB */

static bool compress; /* As the shipper does when it lags behind. */
static struct features features[VARIANTS];
static struct policy_candidate candidates[CANDIDATES];
static struct record_candidate models[CANDIDATES];
static struct policy_decision decision[VARIANTS];
static uint64_t hashes[VARIANTS][2];
static struct record_decision intent;
static struct record_attempt begun, done;
static struct record_outcome outcome;
static uint64_t accounts[2] = {7, 8};
static const uint8_t sha[32] = {1, 2, 3, 4, 5, 6, 7, 8};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench_telemetry: %s\n", what);
    exit(1);
}

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
    *d = (struct policy_decision){.count = CANDIDATES,
                                  .greedy = 1,
                                  .chosen = 1,
                                  .draw = random_below(UINT32_MAX),
                                  .fallback_count = 2,
                                  .fallback = {0, 2}};
    for (uint32_t i = 0; i < CANDIDATES; i++)
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

static void make_record(void)
{
    static const char *const names[CANDIDATES] = {"gpt-large-2026", "claude-medium", "small-local"};
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        models[i] = (struct record_candidate){.model = str_from(names[i]), .price_id = 100 + i};
        candidates[i] = (struct policy_candidate){.ordinal = (int32_t)i,
                                                  .price_in = 150000000,
                                                  .price_out = 600000000,
                                                  .price_cached = 75000000,
                                                  .max_out = 16384,
                                                  .ttft_est_ms = 300,
                                                  .tpot_est_us = 9000,
                                                  .prior_q16 = 40000,
                                                  .prior_out = 200,
                                                  .domain = i + 1};
    }
    for (uint32_t v = 0; v < VARIANTS; v++)
        make_variant(&features[v], &decision[v], hashes[v]);
    intent =
        (struct record_decision){.ts_us = 1790000000000000,
                                 .key_id = 7,
                                 .accounts = accounts,
                                 .account_count = 2,
                                 .segment = 3,

                                 .alias = STR("auto"),
                                 .policy_version = {(const char *)sha, 32},
                                 .params_sha = {(const char *)sha, 32},
                                 .era = 1,
                                 .generation = 42,
                                 .hash_key_id = 1,

                                 .t_in = 260,
                                 .pref = -1,
                                 .candidates = candidates,
                                 .models = models,

                                 .flags = RECORD_FLAG_STREAM,
                                 .endpoint = STR("chat.completions"),
                                 .client_request_id = STR("0190a0b0-1111-7222-8333-444455556666"),
                                 .route = STR("auto"),
                                 .lambda = 11529215046,
                                 .t_out_cap = 1024};
    begun = (struct record_attempt){
        .model = 1, .server = STR("anthropic/claude-medium"), .start_us = 1790000000000000};
    done = begun;
    done.ttft_ms = 310;
    done.total_ms = 900;
    done.status = 200;
    done.provider_id = STR("req_011CSHoEeqs5C35K2UUqR7Fy");
    done.tokens_in = 262;
    done.tokens_out = 210;
    done.price_id = 101;
    done.cost_nanousd = 165300;
    outcome = (struct record_outcome){.attempts = &done,
                                      .attempt_count = 1,
                                      .status = RECORD_STATUS_OK,
                                      .served = 2,
                                      .flags = RECORD_FLAG_STREAM,
                                      .cost_nanousd = 165300,
                                      .http_status = 200,
                                      .finish_reason = STR("stop"),
                                      .ttft_ms = 311,
                                      .duration_ms = 905,
                                      .overhead_us = 40};
}

static char *make_dir(void)
{
    static char dir[4096];
    const char *base = getenv("TMPDIR");
    (void)snprintf(dir, sizeof(dir), "%s/bench-telemetry-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(dir) == NULL)
        fail("cannot make a directory");
    return dir;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_dir(const char *dir)
{
    if (nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        fail("cannot remove the directory");
}

static struct spool_set *open_set(const char *dir, bool by_hand)
{
    struct spool_options options = {.dir = dir,
                                    .spools = 1,
                                    .max_bytes = UINT64_C(16) << 30,
                                    .audit_strict = true,
                                    .drain_ms = by_hand ? 3600000 : 0,
                                    .sync_ms = by_hand ? 3600000 : 0};
    struct spool_set *set = NULL;
    struct err err = {0};
    if (spool_set_create(&options, &set, NULL, &err) != 0)
        fail(err.message);
    return set;
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
            spool_outcome(spool, *slot, &outcome, NULL);
        *slot = NULL;
        uint32_t v = i % VARIANTS;
        intent.ts_us++;
        intent.features = &features[v];
        intent.decision = &decision[v];
        intent.conv_hash = (struct str){(const char *)&hashes[v][0], 8};
        intent.text_hash = (struct str){(const char *)&hashes[v][1], 8};
        memcpy(intent.request_id.bytes, hashes[v], 16);
        if (spool_intent(spool, &intent, &begun, slot, NULL) != 0)
            refused++;
    }
    return refused;
}

static void end_records(struct spool *spool)
{
    for (uint32_t i = 0; i < OPEN; i++) {
        if (under_way[i] != NULL)
            spool_outcome(spool, under_way[i], &outcome, NULL);
        under_way[i] = NULL;
    }
}

/* As the shipper when all that was read is acknowledged: so much is kept, older files go, and
 * become new segments. */
#define KEEP_BYTES (UINT64_C(64) << 20)

static struct spool_segment *oldest_to_go(struct spool_set *set, struct spool *spool,
                                          const struct shipper_cursor *cursor)
{
    uint64_t kept = 0;
    pthread_mutex_lock(&set->lock);
    struct list *segments = &spool->epoch->segments;
    struct spool_segment *head = container_of(segments->next, struct spool_segment, link);
    LIST_FOREACH (it, segments) {
        if (it->next == segments ||
            container_of(it->next, struct spool_segment, link)->first_seq > cursor->next_seq)
            break;
        kept += atomic_load(&container_of(it, struct spool_segment, link)->written);
    }
    bool goes = kept > KEEP_BYTES && head->sealed && head->fd < 0;
    pthread_mutex_unlock(&set->lock);
    return goes ? head : NULL;
}

static void age(struct spool_set *set, struct spool *spool, struct shipper_cursor *cursor)
{
    for (struct spool_segment *s; (s = oldest_to_go(set, spool, cursor)) != NULL;) {
        shipper_cursor_leave(cursor, s);
        if (!spool_segment_drop(set, s))
            fail("cannot delete a segment");
    }
}

struct cost {
    uint64_t path_ns, writer_ns, read_ns, pack_ns; /* Of one record, CPU of the thread. */
    uint64_t record_bytes, packed_bytes;
};

static struct cost measure_cost(uint32_t rounds, bool path_only)
{
    struct cost c = {0};
    char *dir = make_dir();
    struct spool_set *set = open_set(dir, true);
    struct spool *spool = spool_set_spool(set, 0);
    struct shipper_cursor cursor;
    struct shipper_batch batch;
    shipper_cursor_init(&cursor, set, spool->epoch);
    if (shipper_batch_init(&batch) != 0)
        fail("out of memory");
    uint64_t records = 0, raw = 0, packed = 0;
    /* First what is kept is filled once: from then on segments are written over old ones. */
    uint64_t warm = path_only ? 0 : WARM_ROUNDS;
    for (uint64_t n = 0; n < warm + rounds; n += ROUND) {
        uint32_t count = warm + rounds - n < ROUND ? (uint32_t)(warm + rounds - n) : ROUND;
        if (n == warm)
            c = (struct cost){0};
        uint64_t t0 = clock_thread_cpu_ns();
        if (put_records(spool, count) != 0)
            fail("a record was refused");
        uint64_t t1 = clock_thread_cpu_ns();
        spool_set_drain(set);
        uint64_t t2 = clock_thread_cpu_ns();
        c.path_ns += t1 - t0;
        c.writer_ns += t2 - t1;
        if (path_only)
            continue;
        spool_set_sync(set);
        for (;;) {
            uint64_t t3 = clock_thread_cpu_ns();
            uint32_t got = shipper_batch_collect(&batch, &cursor);
            uint64_t t4 = clock_thread_cpu_ns();
            if (got == 0)
                break;
            if (shipper_batch_pack(&batch, compress) != 0)
                fail("out of memory");
            c.read_ns += t4 - t3;
            c.pack_ns += clock_thread_cpu_ns() - t4;
            records += got;
            raw += batch.raw_bytes;
            packed += batch.payload_len;
        }
        age(set, spool, &cursor);
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
    remove_dir(dir);
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
    if (shipper_batch_init(&batch) != 0)
        fail("out of memory");
    for (bool last = false;;) {
        bool finished = atomic_load(&run->finished);
        while (shipper_batch_collect(&batch, &cursor) > 0) {
            if (shipper_batch_pack(&batch, compress) != 0)
                fail("out of memory");
            run->shipped += batch.count;
            run->gaps += batch.gaps;
            run->batches++;
        }
        age(run->set, spool_set_spool(run->set, 0), &cursor);
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
    make_record();
    struct cost c = measure_cost(rounds, path_only);
    if (path_only) {
        printf("path %llu ns, writer %llu ns a record\n", (unsigned long long)c.path_ns,
               (unsigned long long)c.writer_ns);
        return 0;
    }
    char *dir = make_dir();
    run.set = open_set(dir, false);
    pthread_t worker, sink;
    uint64_t cpu_ns = process_cpu_ns();
    if (pthread_create(&sink, NULL, sink_main, &run) != 0 ||
        pthread_create(&worker, NULL, worker_main, &run) != 0)
        fail("cannot start a thread");
    pthread_join(worker, NULL);
    spool_set_sync(run.set);
    atomic_store(&run.finished, true);
    pthread_join(sink, NULL);
    cpu_ns = process_cpu_ns() - cpu_ns;
    uint64_t sent = (uint64_t)run.rate * run.seconds - run.refused;
    uint64_t lost = sent - (run.shipped - run.gaps);
    spool_set_destroy(run.set);
    remove_dir(dir);
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

#include "bench_record.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

_Noreturn void bench_fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    exit(1);
}

void bench_record_init(struct bench_record *r)
{
    static const uint8_t sha[32] = {1, 2, 3, 4, 5, 6, 7, 8};
    static uint64_t accounts[2] = {7, 8};
    static const char *const names[BENCH_CANDIDATES] = {"gpt-large-2026", "claude-medium",
                                                        "small-local"};
    for (uint32_t i = 0; i < BENCH_CANDIDATES; i++) {
        r->models[i] = (struct record_candidate){.model = str_from(names[i]), .price_id = 100 + i};
        r->candidates[i] = (struct policy_candidate){.ordinal = (int32_t)i,
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
    r->intent =
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
                                 .candidates = r->candidates,
                                 .models = r->models,

                                 .flags = RECORD_FLAG_STREAM,
                                 .endpoint = STR("chat.completions"),
                                 .client_request_id = STR("0190a0b0-1111-7222-8333-444455556666"),
                                 .route = STR("auto"),
                                 .lambda = 11529215046,
                                 .t_out_cap = 1024};
    r->begun = (struct record_attempt){
        .model = 1, .server = STR("anthropic/claude-medium"), .start_us = 1790000000000000};
    r->done = r->begun;
    r->done.ttft_ms = 310;
    r->done.total_ms = 900;
    r->done.status = 200;
    r->done.provider_id = STR("req_011CSHoEeqs5C35K2UUqR7Fy");
    r->done.tokens_in = 262;
    r->done.tokens_out = 210;
    r->done.price_id = 101;
    r->done.cost_nanousd = 165300;
    r->outcome = (struct record_outcome){.attempts = &r->done,
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

const char *bench_directory(void)
{
    const char *base = getenv("TMPDIR");
    static char dir[4096];
    (void)snprintf(dir, sizeof(dir), "%s/bench-spool-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(dir) == NULL)
        bench_fail("cannot make a directory");
    return dir;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void bench_directory_remove(const char *dir)
{
    if (nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        bench_fail("cannot remove the directory");
}

struct spool_set *bench_spool(const char *dir, bool by_hand)
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
        bench_fail(err.message);
    return set;
}

void bench_batch_init(struct shipper_batch *batch)
{
    if (shipper_batch_init(batch) != 0)
        bench_fail("out of memory");
}

uint32_t bench_batch(struct shipper_batch *batch, struct shipper_cursor *cursor, bool compress)
{
    const uint32_t count = shipper_batch_collect(batch, cursor);
    if (count > 0 && shipper_batch_pack(batch, compress) != 0)
        bench_fail("out of memory");
    return count;
}

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

void bench_spool_age(struct spool_set *set, struct shipper_cursor *cursor)
{
    struct spool *spool = spool_set_spool(set, 0);
    for (struct spool_segment *s; (s = oldest_to_go(set, spool, cursor)) != NULL;) {
        shipper_cursor_leave(cursor, s);
        if (!spool_segment_drop(set, s))
            bench_fail("cannot delete a segment");
    }
}

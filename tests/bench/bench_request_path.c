/* What the router adds to a request, stage by stage: reading the body, features, text hash, choice.
 *   bench_request_path [-b BODY_BYTES] [-m MODELS] [-n ROUNDS] [-k prose|markdown|wide] [-r 1]
 * -r 1: with the memory of features that a worker has, which knows the bodies after the first
 * round. Prints nanoseconds of the quickest round of each stage. For instructions, which do not
 * depend on the machine's load, run it under callgrind and read the inclusive counts of the stages:
 *   valgrind --tool=callgrind --toggle-collect='stage_*' --callgrind-out-file=out \
 *       build/release/tests/bench_request_path -n 100 && callgrind_annotate --inclusive=yes out */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_artifact.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/route/features_memo.h"
#include "dataplane/llm/openai.h"

#define BODIES 16 /* Different texts, so that nothing is tuned to one. */

enum stage { STAGE_READ, STAGE_FEATURES, STAGE_HASH, STAGE_DECIDE, STAGES };
static const char *const stage_names[STAGES] = {"read call", "features", "text hash", "decide"};

struct path {
    struct json json;
    struct arena_pool pool;
    struct arena arena;
    struct call call;
    struct features features;
    struct features_hasher hasher;
    struct features_memo *memo; /* NULL unless -r: every body is as new. */
    struct hash_text_key text_key;
    uint64_t text_hash;
    struct artifact *artifact;
    struct policy_params params;
    struct policy_request request;
    struct policy_candidate candidates[ARTIFACT_MODELS_MAX];
    uint32_t models;
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench_request_path: %s\n", what);
    exit(1);
}

__attribute__((noinline)) static void stage_read(struct path *p, struct str body)
{
    struct call_refusal refusal;
    if (openai_read_call(&p->json, body, &p->arena, &p->call, &refusal) != 0)
        fail("body refused");
}

__attribute__((noinline)) static void stage_features(struct path *p)
{
    const struct call *c = &p->call;
    const struct features_input input = {.text = c->text,
                                         .system_prompt = c->system,
                                         .system_bytes = c->system_bytes,
                                         .tools = c->tools,
                                         .tool_count = c->tool_count,
                                         .bytes = c->text_bytes,
                                         .t_in = c->tokens_in,
                                         .max_tokens = c->max_tokens,
                                         .messages = c->messages,
                                         .turns = c->turns,
                                         .temperature_q8 = c->temperature_q8};
    features_memo_extract(p->memo, &p->hasher, 1, &input, &p->features);
}

__attribute__((noinline)) static void stage_hash(struct path *p)
{
    p->text_hash = hash_text(&p->text_key, p->call.dialogue.data, p->call.dialogue.len);
}

__attribute__((noinline)) static void stage_decide(struct path *p)
{
    struct policy_decision d;
    p->request.request_id[0]++;
    if (policy_decide(p->artifact, &p->features, &p->params, &p->request, p->candidates, p->models,
                      &d) != 0)
        fail("no decision");
}

/* ---- bodies ---- */

static void put(struct buf *b, const char *text)
{
    if (buf_append_str(b, str_from(text)) != 0)
        fail("out of memory");
}

/* A chat body of about `size` bytes; markdown: short lines and quotes, so an escape every 40 bytes
 * or so; wide: three bytes a character. */
static void make_body(struct buf *b, size_t size, const char *kind)
{
    put(b,
        "{\"model\":\"smart\",\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful "
        "assistant.\"},{\"role\":\"user\",\"content\":\"");
    const char *end = "\"}],\"temperature\":0.7,\"max_tokens\":256,\"stream\":false}";
    while (b->len + strlen(end) < size) {
        char word[16] = {0};
        size_t len = 2 + bench_random(8);
        if (strcmp(kind, "wide") == 0) {
            put(b, "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE3\x80\x82");
            continue;
        }
        for (size_t i = 0; i < len; i++)
            word[i] = "etaoinshrdlucmfwypvbgkjqxz"[bench_random(bench_random(26) + 1)];
        put(b, word);
        if (strcmp(kind, "markdown") == 0 && bench_random(8) == 0)
            put(b, bench_random(2) == 0 ? "\\n" : "\\\"");
        put(b, bench_random(12) == 0 ? ", " : " ");
    }
    put(b, end);
}

static void keep_least(uint64_t *io_least, uint64_t *io_since)
{
    uint64_t now = clock_mono_ns();
    if (now - *io_since < *io_least)
        *io_least = now - *io_since;
    *io_since = now;
}

static void round_trip(struct path *p, struct str body, uint64_t least[STAGES])
{
    uint64_t since = clock_mono_ns();
    stage_read(p, body);
    keep_least(&least[STAGE_READ], &since);
    stage_features(p);
    keep_least(&least[STAGE_FEATURES], &since);
    stage_hash(p);
    keep_least(&least[STAGE_HASH], &since);
    stage_decide(p);
    keep_least(&least[STAGE_DECIDE], &since);
    arena_reset(&p->arena);
}

static void set_up(struct path *p, uint32_t models)
{
    memset(p, 0, sizeof *p);
    p->models = models;
    json_init(&p->json, JSON_NODES_MAX);
    arena_pool_init(&p->pool, 8);
    arena_init(&p->arena, &p->pool, 64U << 20);
    features_hasher_init(&p->hasher, (struct siphash_key){3, 4});
    hash_text_key_init(&p->text_key, (struct siphash_key){5, 6});
    policy_params_init(&p->params);
    p->request = (struct policy_request){
        .t_in = 400, .lambda = POLICY_LAMBDA_DEFAULT, .sticky = POLICY_NONE, .explore = true};
    p->artifact = bench_artifact(models, 0);
    for (uint32_t m = 0; m < models; m++)
        p->candidates[m] = bench_candidate(m);
}

static void tear_down(struct path *p)
{
    artifact_destroy(p->artifact);
    features_memo_destroy(p->memo);
    arena_reset(&p->arena);
    arena_pool_deinit(&p->pool);
    json_deinit(&p->json);
}

int main(int argc, char **argv)
{
    static struct path p;
    uint64_t size = 1024, models = 8, rounds = 1000, repeat = 0, least[STAGES];
    const char *kind = "prose";
    struct buf bodies[BODIES];
    for (int i = 1; i + 1 < argc; i += 2) {
        struct str value = str_from(argv[i + 1]);
        if (strcmp(argv[i], "-b") == 0 && str_parse_u64(value, 8U << 20, &size) == 0)
            continue;
        if (strcmp(argv[i], "-m") == 0 && str_parse_u64(value, ARTIFACT_MODELS_MAX, &models) == 0)
            continue;
        if (strcmp(argv[i], "-n") == 0 && str_parse_u64(value, 10000000, &rounds) == 0)
            continue;
        if (strcmp(argv[i], "-r") == 0 && str_parse_u64(value, 1, &repeat) == 0)
            continue;
        if (strcmp(argv[i], "-k") != 0)
            fail("usage: [-b BYTES] [-m MODELS] [-n ROUNDS] [-k prose|markdown|wide] [-r 1]");
        kind = argv[i + 1];
    }
    set_up(&p, (uint32_t)models);
    p.memo = repeat != 0 ? features_memo_create(64) : NULL;
    for (int i = 0; i < BODIES; i++) {
        buf_init(&bodies[i], 16U << 20);
        make_body(&bodies[i], size, kind);
    }
    memset(least, 0xff, sizeof least);
    for (uint64_t i = 0; i < rounds; i++)
        round_trip(&p, buf_str(&bodies[i % BODIES]), least);
    printf("%llu bytes of %s, %llu models, %u features\n", (unsigned long long)size, kind,
           (unsigned long long)models, p.features.n);
    for (int s = 0; s < STAGES; s++)
        printf("  %-10s %8llu ns\n", stage_names[s], (unsigned long long)least[s]);
    for (int i = 0; i < BODIES; i++)
        buf_deinit(&bodies[i]);
    tear_down(&p);
    return 0;
}

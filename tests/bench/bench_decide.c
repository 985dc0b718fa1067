/* What a decision costs: feature extraction, scores, choice, on one core.
 *   bench_decide [-n ROUNDS] [-o json]
 * Texts of 1 KiB of prose, of prose at the cap (1,536 bytes and more, until 512 features), and of
 * single-character tokens (the most hashes a text can ask for); 8 and 24 models. Each round takes
 * another of 64 texts, so that the rows of the policy are not all in the first-level cache. Also
 * checks that deciding allocates nothing. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_artifact.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/route/policy.h"
#include "common/route/score.h"

#define TEXTS      64
#define TEXT_BYTES 2048

static void fill_prose(char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t word = 2 + bench_random(8);
        for (size_t i = 0; i < word && at < len; i++)
            text[at++] = "etaoinshrdlucmfwypvbgkjqxz"[bench_random(bench_random(26) + 1)];
        if (at < len)
            text[at++] = bench_random(12) == 0 ? ',' : ' ';
    }
}

static void fill_symbols(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) /* Few distinct ones, so that the set fills late. */
        text[i] = "(){}[]<>;:.,+-*/=0123456789"[bench_random(19)];
}

enum kind { PROSE_1K, PROSE_CAP, SYMBOLS, KINDS };
static const char *const kind_name[KINDS] = {"prose 1 KiB", "prose at cap", "symbols"};
static char texts[KINDS][TEXTS][TEXT_BYTES];
static size_t text_len[KINDS] = {1024, TEXT_BYTES, TEXT_BYTES};

static void *must(void *p)
{
    if (p == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return p;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct result {
    uint32_t models, tasks;
    enum kind kind;
    uint32_t features; /* Mean. */
    uint64_t extract_p50, p50, p99;
};

static struct features_hasher hasher;
static uint64_t allocations;

static bool count_allocation(void)
{
    allocations++;
    return false;
}

static void one_decision(const struct artifact *a, enum kind kind, uint32_t text,
                         const struct policy_params *params, struct policy_request *request,
                         const struct policy_candidate *candidates, struct features *f,
                         uint64_t *out_middle_ns)
{
    struct policy_decision d;
    const struct features_input input = {.text = {texts[kind][text], text_len[kind]},
                                         .system_prompt = STR("You are a helpful assistant."),
                                         .alias = STR("smart"),
                                         .bytes = text_len[kind],
                                         .t_in = 400,
                                         .messages = 1,
                                         .turns = 1};
    features_extract(&hasher, &input, f);
    *out_middle_ns = clock_mono_ns();
    request->request_id[0]++;
    if (policy_decide(a, f, params, request, candidates, a->model_count, &d) != 0 ||
        d.chosen == POLICY_NONE) {
        fputs("no decision\n", stderr);
        exit(1);
    }
}

static struct result measure(const struct artifact *a, enum kind kind, uint32_t rounds)
{
    struct policy_candidate candidates[ARTIFACT_MODELS_MAX];
    struct policy_params params;
    struct policy_request request = {
        .t_in = 400, .lambda = POLICY_LAMBDA_DEFAULT, .sticky = POLICY_NONE, .explore = true};
    struct result result = {a->model_count, a->task_count, kind, 0, 0, 0, 0};
    uint64_t *extract = must(mem_calloc(rounds, sizeof *extract));
    uint64_t *whole = must(mem_calloc(rounds, sizeof *whole)), sum = 0;
    struct features f;
    policy_params_init(&params);
    for (uint32_t m = 0; m < a->model_count; m++)
        candidates[m] = bench_candidate(m);
    mem_fail_hook = count_allocation;
    for (uint32_t i = 0; i < rounds; i++) {
        uint64_t begin = clock_mono_ns(), middle;
        one_decision(a, kind, i * 7 % TEXTS, &params, &request, candidates, &f, &middle);
        whole[i] = clock_mono_ns() - begin;
        extract[i] = middle - begin;
        sum += f.n;
    }
    mem_fail_hook = NULL;
    qsort(extract, rounds, sizeof *extract, compare_u64);
    qsort(whole, rounds, sizeof *whole, compare_u64);
    result.features = (uint32_t)(sum / rounds);
    result.extract_p50 = extract[rounds / 2];
    result.p50 = whole[rounds / 2];
    result.p99 = whole[rounds - 1 - rounds / 100];
    mem_free(extract);
    mem_free(whole);
    return result;
}

static void print_result(const struct result *r, bool json, bool first)
{
    if (json)
        printf("%s\n  {\"models\":%u,\"tasks\":%u,\"text\":\"%s\",\"features\":%u,"
               "\"extract_p50_ns\":%llu,\"p50_ns\":%llu,\"p99_ns\":%llu}",
               first ? "" : ",", r->models, r->tasks, kind_name[r->kind], r->features,
               (unsigned long long)r->extract_p50, (unsigned long long)r->p50,
               (unsigned long long)r->p99);
    else
        printf("%6u %5u  %-13s %8u %14llu %8llu %8llu\n", r->models, r->tasks, kind_name[r->kind],
               r->features, (unsigned long long)r->extract_p50, (unsigned long long)r->p50,
               (unsigned long long)r->p99);
}

int main(int argc, char **argv)
{
    static const struct {
        uint32_t models, tasks;
    } shapes[] = {{8, 0}, {8, 8}, {24, 0}, {24, 16}};
    uint64_t rounds = 20000;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-o") == 0 && i + 1 < argc && strcmp(argv[i + 1], "json") == 0) {
            json = true;
            i++;
        } else if (strcmp(argv[i], "-n") == 0 && i + 1 < argc &&
                   str_parse_u64(str_from(argv[i + 1]), 10000000, &rounds) == 0 && rounds >= 100) {
            i++;
        } else {
            fputs("usage: bench_decide [-n ROUNDS (100..10000000)] [-o json]\n", stderr);
            return 2;
        }
    }
    features_hasher_init(&hasher, (struct siphash_key){3, 4});
    for (unsigned i = 0; i < TEXTS; i++) {
        fill_prose(texts[PROSE_1K][i], text_len[PROSE_1K]);
        fill_prose(texts[PROSE_CAP][i], text_len[PROSE_CAP]);
        fill_symbols(texts[SYMBOLS][i], text_len[SYMBOLS]);
    }
    if (json)
        printf("{\"kernel\":\"%s\",\"results\":[", score_kernel_name(score_kernel_best()));
    else
        printf("kernel %s\n%6s %5s  %-13s %8s %14s %8s %8s\n",
               score_kernel_name(score_kernel_best()), "models", "tasks", "text", "features",
               "extract p50 ns", "p50 ns", "p99 ns");
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        struct artifact *a = bench_artifact(shapes[s].models, shapes[s].tasks);
        for (int kind = 0; kind < KINDS; kind++) {
            struct result r = measure(a, (enum kind)kind, (uint32_t)rounds);
            print_result(&r, json, s == 0 && kind == 0);
        }
        artifact_destroy(a);
    }
    if (json)
        printf("],\n \"allocations\":%llu}\n", (unsigned long long)allocations);
    else
        printf("allocations while deciding: %llu\n", (unsigned long long)allocations);
    return allocations == 0 ? 0 : 1;
}

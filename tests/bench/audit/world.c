#include "tests/bench/audit/world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto/digest.h"
#include "dataplane/telemetry/record.h"
#include "telemetry.pb-c.h"

#define VERSION_DAYS  4
#define STAGES        5
#define CANDIDATES    4U
#define PI_2          6.283185307179586
#define CONVERSATIONS 5 /* One request in so many belongs to one. */

static const char *const models[WORLD_MODELS] = {
    "gpt-5.4-mini",   "gpt-5.4",      "claude-haiku-4-5", "claude-sonnet-4-6",
    "gemini-3-flash", "gemini-3-pro", "local-qwen-32b",   "local-llama-8b"};
static const char *const servers[WORLD_MODELS] = {
    "openai/gpt-5.4-mini",      "openai/gpt-5.4",        "claude/claude-haiku-4-5",
    "claude/claude-sonnet-4-6", "google/gemini-3-flash", "google/gemini-3-pro",
    "local/qwen-32b",           "local/llama-8b"};
static const int64_t price_in[WORLD_MODELS] = {250000000, 1250000000, 1000000000, 3000000000,
                                               300000000, 2000000000, 50000000,   20000000};
static const int64_t price_out[WORLD_MODELS] = {2000000000, 10000000000, 5000000000, 15000000000,
                                                2500000000, 12000000000, 200000000,  60000000};
static const char *const policies[WORLD_POLICIES] = {"chat-policy", "code-policy"};
static const char *const routes[WORLD_POLICIES] = {"auto", "code"};
static const char *const tasks[] = {"",        "",        "",          "chat",
                                    "summary", "extract", "translate", "review"};

struct dice {
    uint64_t state;
};

static uint64_t roll(struct dice *d)
{
    /* SplitMix64 (Steele, Lea, Flood, 2014). */
    uint64_t z = d->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint32_t below(struct dice *d, uint32_t bound)
{
    return (uint32_t)((roll(d) >> 32) * bound >> 32);
}

static bool chance(struct dice *d, uint32_t per_10000)
{
    return below(d, 10000) < per_10000;
}

void world_init(struct world *w, uint64_t decisions, unsigned days, int64_t now_us)
{
    double sum = 0;
    *w = (struct world){.decisions = decisions, .days = days};
    w->start_us = now_us - now_us % WORLD_DAY_US - (int64_t)(days - 1) * WORLD_DAY_US;
    for (unsigned k = 0; k < WORLD_KEYS; k++)
        w->key_weight[k + 1] = sum += 1.0 / pow(k + 2, 0.9);
    for (unsigned k = 0; k <= WORLD_KEYS; k++)
        w->key_weight[k] /= sum;
}

unsigned world_versions(const struct world *w)
{
    return (w->days + VERSION_DAYS - 1) / VERSION_DAYS;
}

static struct sha256 sha_of(const char *what, unsigned policy, unsigned version)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%s %s %u", what, policies[policy], version);
    return digest_sha256(text, (size_t)n);
}

void world_params_hex(unsigned policy, unsigned version, char out[65])
{
    const struct sha256 sha = sha_of("params", policy, version);
    hex_encode(sha.bytes, sizeof sha.bytes, out);
}

uint64_t world_rollout_id(const struct world *w, unsigned policy, unsigned version)
{
    int64_t day = w->start_us + (int64_t)(version - 1) * VERSION_DAYS * WORLD_DAY_US;
    return (uint64_t)day / 1000 + policy + 1;
}

static unsigned pick_key(const struct world *w, struct dice *d)
{
    double x = (double)(roll(d) >> 11) / 9007199254740992.0;
    unsigned low = 0, high = WORLD_KEYS;
    while (high - low > 1) {
        unsigned mid = (low + high) / 2;
        if (w->key_weight[mid] <= x)
            low = mid;
        else
            high = mid;
    }
    return low;
}

/* As uuid_v7, but always the same for the same dice. */
static struct uuid draw_id(struct dice *d, int64_t ts_us)
{
    struct uuid id;
    uint64_t ms = (uint64_t)ts_us / 1000, low = roll(d);
    for (int i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    uint64_t fraction = (uint64_t)(ts_us % 1000) * 4096 / 1000;
    id.bytes[6] = (uint8_t)(0x70 | fraction >> 8);
    id.bytes[7] = (uint8_t)fraction;
    memcpy(id.bytes + 8, &low, 8);
    id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3f));
    return id;
}

/* Ascending in i; busier by day than by night. */
static int64_t time_of(const struct world *w, uint64_t i)
{
    double at = (double)i / (double)w->decisions * w->days;
    double day = floor(at), x = at - day;
    x -= 0.11 * sin(PI_2 * x) / PI_2 * 4;
    return w->start_us + (int64_t)((day + x) * (double)WORLD_DAY_US);
}

/* --- one decision --------------------------------------------------------------------------------
 */

struct draft {
    struct dice dice;
    struct features features;
    uint8_t packed[FEATURES_PACKED_MAX];
    struct policy_candidate candidates[CANDIDATES];
    struct record_candidate models[CANDIDATES];
    struct policy_decision decision;
    uint32_t model[CANDIDATES]; /* Which of `models`. */
    struct record_attempt attempts[3];
    uint32_t attempt_count, served, flags;
    enum record_status status;
    int64_t cost;
    uint32_t t_in, t_out;
};

static void draw_features(struct draft *d)
{
    uint32_t count = 60 + below(&d->dice, 240), step = 65535 / count, at = 0;
    d->features.n = (uint16_t)count;
    for (uint32_t i = 0; i < count; i++) {
        at += 1 + below(&d->dice, step * 2 - 1);
        if (at > 65535) {
            d->features.n = (uint16_t)i;
            break;
        }
        d->features.index[i] = (uint16_t)at;
    }
    for (uint32_t i = 0; i < FEATURES_DENSE; i++)
        d->features.dense[i] = (int16_t)below(&d->dice, 1024);
}

static void draw_candidates(struct draft *d, unsigned policy)
{
    d->decision.count = CANDIDATES;
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        uint32_t m = d->model[i] = (i * 2 + policy) % WORLD_MODELS;
        struct policy_row *row = &d->decision.row[i];
        d->models[i] = (struct record_candidate){.model = str_from(models[m]), .price_id = 500 + m};
        d->candidates[i] = (struct policy_candidate){.ordinal = (int32_t)i,
                                                     .price_in = price_in[m],
                                                     .price_out = price_out[m],
                                                     .price_cached = price_in[m] / 10,
                                                     .max_out = 16384,
                                                     .ttft_est_ms = 200 + below(&d->dice, 400),
                                                     .tpot_est_us = 8000 + below(&d->dice, 9000),
                                                     .domain = m / 2 + 1};
        *row = (struct policy_row){.z = (int32_t)below(&d->dice, 131072) - 65536,
                                   .q = 30000 + below(&d->dice, 35000),
                                   .out_tok = 50 + below(&d->dice, 900),
                                   .lat_ms = 400 + below(&d->dice, 6000),
                                   .u = (int64_t)(roll(&d->dice) >> 24)};
        row->cost =
            ((int64_t)d->t_in * price_in[m] + (int64_t)row->out_tok * price_out[m]) / 1000000;
        if (i > 0 && chance(&d->dice, 900))
            row->excl = chance(&d->dice, 1200)   ? POLICY_EXCL(BREAKER_OPEN)
                        : chance(&d->dice, 600)  ? POLICY_EXCL(BUDGET)
                        : chance(&d->dice, 4000) ? POLICY_EXCL(CONTEXT_LEN)
                                                 : POLICY_EXCL(CAPABILITY);
        if (i > 0 && chance(&d->dice, 600))
            row->excl |= POLICY_EXCL(QUALITY_FLOOR);
    }
}

/* The last candidate that is not excluded is the best: the first is always there. */
static void choose(struct draft *d, bool in_conversation)
{
    struct policy_decision *p = &d->decision;
    uint32_t greedy = 0, other = 0;
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        if (p->row[i].excl != 0)
            continue;
        if (p->row[i].u > p->row[greedy].u)
            greedy = i;
    }
    for (uint32_t i = 0; i < CANDIDATES; i++)
        if (i != greedy && p->row[i].excl == 0)
            other = i;
    p->greedy = p->chosen = greedy;
    p->draw = (uint32_t)roll(&d->dice);
    if (in_conversation) {
        d->flags |= RECORD_FLAG_STICKY;
        if (chance(&d->dice, 1500))
            p->chosen = other;
        p->row[p->chosen].p = POLICY_ALWAYS;
    } else if (other != greedy && chance(&d->dice, 200)) {
        p->chosen = other;
        d->flags |= RECORD_FLAG_EXPLORED;
        p->row[other].p = UINT32_MAX / 50;
        p->row[greedy].p = UINT32_MAX - UINT32_MAX / 50;
    } else {
        p->row[greedy].p = POLICY_ALWAYS;
    }
    for (uint32_t i = 0; i < CANDIDATES; i++)
        if (i != p->chosen && p->row[i].excl == 0)
            p->fallback[p->fallback_count++] = (uint8_t)i;
}

static void add_attempt(struct draft *d, uint32_t position, int64_t start_us, bool good)
{
    uint32_t m = d->model[position];
    struct record_attempt *a = &d->attempts[d->attempt_count++];
    *a = (struct record_attempt){.start_us = start_us,
                                 .model = position,
                                 .price_id = 500 + m,
                                 .status = good ? 200 : 503,
                                 .reason = good ? RECORD_REASON_OK : RECORD_REASON_STATUS,
                                 .ttft_ms = 150 + below(&d->dice, 900),
                                 .server = str_from(servers[m]),
                                 .provider_id = STR("req_011CSHoEeqs5C35K2UUqR7Fy")};
    a->total_ms = a->ttft_ms + 200 + below(&d->dice, 5000);
    if (!good)
        return;
    a->tokens_in = d->t_in + below(&d->dice, 8);
    a->tokens_out = d->t_out;
    a->usage = RECORD_USAGE_PROVIDER;
    a->cost_nanousd =
        ((int64_t)a->tokens_in * price_in[m] + (int64_t)a->tokens_out * price_out[m]) / 1000000;
    d->cost += a->cost_nanousd;
    d->served = position + 1;
}

static void run_attempts(struct draft *d, int64_t ts_us)
{
    uint32_t first = d->decision.chosen;
    if (chance(&d->dice, 80)) {
        add_attempt(d, first, ts_us + 900, false);
        d->status = RECORD_STATUS_FAILED;
    } else if (d->decision.fallback_count > 0 && chance(&d->dice, 150)) {
        add_attempt(d, first, ts_us + 900, false);
        add_attempt(d, d->decision.fallback[0], ts_us + 300900, true);
        d->flags |= RECORD_FLAG_FALLBACK_SERVED;
        d->status = RECORD_STATUS_OK;
    } else {
        add_attempt(d, first, ts_us + 900, true);
        d->status = chance(&d->dice, 120) ? RECORD_STATUS_CANCELLED : RECORD_STATUS_OK;
    }
}

/* --- as the node writes it -----------------------------------------------------------------------
 */

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "world: %s\n", what);
    exit(1);
}

static size_t put_varint(uint8_t *at, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        at[n++] = (uint8_t)(v | 0x80);
    at[n++] = (uint8_t)v;
    return n;
}

/* 0a <length> <field> <length> body: a Record in a RecordList. */
static void append_record(struct buf *list, uint8_t field, const uint8_t *body, size_t len)
{
    uint8_t inner[16], outer[16];
    inner[0] = (uint8_t)(field << 3 | 2);
    size_t inner_len = 1 + put_varint(inner + 1, len);
    outer[0] = 0x0a;
    size_t outer_len = 1 + put_varint(outer + 1, inner_len + len);
    if (list->max == 0)
        buf_init(list, 64U << 20);
    if (buf_append(list, outer, outer_len) != 0 || buf_append(list, inner, inner_len) != 0 ||
        buf_append(list, body, len) != 0)
        fail("out of memory");
}

/* The part of the record that says which arm of a rollout decided. */
static size_t pack_arm(const struct world *w, unsigned policy, unsigned version, bool candidate,
                       unsigned stage, uint32_t slot, uint64_t unit, uint8_t *out)
{
    Steelyard__Telemetry__V1__Decision d = STEELYARD__TELEMETRY__V1__DECISION__INIT;
    d.rollout_id = world_rollout_id(w, policy, version);
    d.stage = stage;
    d.arm = candidate ? 2 : 1;
    d.slot = slot;
    d.unit = unit;
    return steelyard__telemetry__v1__decision__pack(&d, out);
}

static void add_vote(struct draft *d, const struct world_facts *f, struct buf *list,
                     uint32_t *io_count)
{
    uint8_t body[512];
    size_t len;
    const struct record_feedback vote = {.request_id = f->id,
                                         .ts_us = f->ts_us + 60000000,
                                         .key_id = WORLD_KEY(f->key),
                                         .source = STR("thumb"),
                                         .score_q16 = chance(&d->dice, 8500) ? 65536 : 0,
                                         .label = STR("")};
    if (record_encode_feedback(&vote, body, sizeof body, &len) != 0)
        fail("a vote is too large");
    append_record(list, 2, body, len);
    ++*io_count;
}

/* Which version decided: the stable one, or while a new one is rolled out the new one for its
 * share of the slots. *out_version 0 and no rollout when the newest is everywhere. */
static unsigned version_at(const struct world *w, int64_t ts_us, uint32_t slot, bool *out_rolling,
                           unsigned *out_stage)
{
    static const uint32_t share[STAGES] = {100, 500, 2500, 5000, 10000};
    int64_t day = (ts_us - w->start_us) / WORLD_DAY_US;
    unsigned newest = 1 + (unsigned)(day / VERSION_DAYS);
    int64_t since = ts_us - w->start_us - (int64_t)(newest - 1) * VERSION_DAYS * WORLD_DAY_US;
    *out_rolling = newest > 1 && since < WORLD_DAY_US;
    *out_stage = 0;
    if (!*out_rolling)
        return newest;
    *out_stage = (unsigned)(since * STAGES / WORLD_DAY_US);
    return slot < share[*out_stage] ? newest : newest - 1;
}

void world_add(const struct world *w, uint64_t i, struct buf *list, uint32_t *io_count,
               struct world_facts *f)
{
    static struct draft d; /* Large: a record's worth of everything. */
    uint8_t body[RECORD_BYTES_MAX];
    char request[48];
    bool rolling;
    unsigned stage;
    size_t len, more;
    memset(&d, 0, sizeof d);
    d.dice.state = i * UINT64_C(0xd1342543de82ef95) + 1;
    memset(f, 0, sizeof *f);
    f->ts_us = time_of(w, i);
    f->key = pick_key(w, &d.dice);
    f->id = draw_id(&d.dice, f->ts_us);
    f->policy = f->key % 3 == 0;
    bool pinned = chance(&d.dice, 500), talk = below(&d.dice, CONVERSATIONS) == 0;
    uint64_t unit = roll(&d.dice);
    uint32_t slot = (uint32_t)(unit % 10000);
    f->version = version_at(w, f->ts_us, slot, &rolling, &stage);
    unsigned rollout_version =
        1 + (unsigned)((f->ts_us - w->start_us) / WORLD_DAY_US / VERSION_DAYS);
    bool candidate = rolling && f->version == rollout_version;
    d.t_in = 40 + below(&d.dice, 300) + (chance(&d.dice, 1500) ? below(&d.dice, 20000) : 0);
    d.t_out = 20 + below(&d.dice, 700);
    d.flags = chance(&d.dice, 7000) ? RECORD_FLAG_STREAM : 0;
    draw_features(&d);
    draw_candidates(&d, f->policy);
    choose(&d, talk && !pinned);
    if (pinned) {
        d.flags = (d.flags & RECORD_FLAG_STREAM) | RECORD_FLAG_PINNED;
        d.decision.chosen = d.decision.greedy;
        f->version = 0;
    }
    run_attempts(&d, f->ts_us);

    unsigned team = f->key % WORLD_TEAMS, org = team % WORLD_ORGS;
    const uint64_t accounts[] = {WORLD_ORG(org), WORLD_TEAM(team), WORLD_KEY(f->key)};
    int64_t midnight = f->ts_us - f->ts_us % WORLD_DAY_US;
    const struct record_charge charges[] = {
        {.budget = WORLD_ORG(org), .period_start_us = w->start_us, .cfg = 1},
        {.budget = WORLD_TEAM(team), .period_start_us = midnight, .cfg = 1}};
    const struct sha256 artifact = sha_of("artifact", f->policy, f->version);
    const struct sha256 params = sha_of("params", f->policy, f->version);
    uint64_t hash[2] = {roll(&d.dice), roll(&d.dice)};
    const struct str tags[] = {STR("env=production"), STR("app=assistant")};
    (void)snprintf(request, sizeof request, "%016llx-%08llx", (unsigned long long)roll(&d.dice),
                   (unsigned long long)i);
    struct record_decision intent = {
        .request_id = f->id,
        .ts_us = f->ts_us,
        .key_id = WORLD_KEY(f->key),
        .generation = 100 + f->version,
        .reserved_nanousd = d.cost * 2,
        .lease_epoch = 7,
        .lambda = POLICY_LAMBDA_DEFAULT,
        .account_count = 3,
        .charge_count = 2,
        .tag_count = 2,
        .era = 1,
        .hash_key_id = 1,
        .config_age_s = below(&d.dice, 4000),
        .t_in = d.t_in,
        .pref = -1,
        .flags = d.flags,
        .t_out_cap = 4096,
        .explore = 1,
        .accounts = accounts,
        .charges = charges,
        .tags = tags,
        .features = &d.features,
        .packed_features = {.data = (const char *)d.packed,
                            .len = features_pack(&d.features, d.packed)},
        .candidates = d.candidates,
        .models = d.models,
        .decision = &d.decision,
        .conv_hash = {talk ? (const char *)hash : NULL, talk ? 16 : 0},
        .text_hash = {(const char *)hash, 16},
        .alias = pinned ? d.models[d.decision.chosen].model : str_from(routes[f->policy]),
        .endpoint = STR("chat.completions"),
        .client_request_id = str_from(request),
        .route = pinned ? STR("") : str_from(routes[f->policy]),
        .task = str_from(tasks[below(&d.dice, 8)]),
    };
    if (!pinned) {
        intent.policy_version = (struct str){(const char *)artifact.bytes, 32};
        intent.params_sha = (struct str){(const char *)params.bytes, 32};
    }
    const struct record_outcome outcome = {
        .cost_nanousd = d.cost,
        .attempt_count = d.attempt_count,
        .status = d.status,
        .served = d.served,
        .flags = d.flags,
        .http_status = d.status == RECORD_STATUS_FAILED ? 502 : 200,
        .ttft_ms = d.attempts[d.attempt_count - 1].ttft_ms,
        .duration_ms = d.attempts[d.attempt_count - 1].total_ms + 3,
        .overhead_us = 30 + below(&d.dice, 100),
        .attempts = d.attempts,
        .error_code = d.status == RECORD_STATUS_FAILED ? STR("upstream_error") : STR(""),
        .finish_reason = d.status == RECORD_STATUS_FAILED ? STR("") : STR("stop"),
    };
    if (record_encode_decision(&intent, RECORD_FULL, body, sizeof body, &len) != 0 ||
        record_encode_outcome(&outcome, 0, body + len, sizeof body - len, &more) != 0)
        fail("a record is too large");
    len += more;
    if (rolling && !pinned)
        len += pack_arm(w, f->policy, rollout_version, candidate, stage, slot, unit, body + len);
    append_record(list, 1, body, len);
    ++*io_count;
    f->off_greedy = d.decision.chosen != d.decision.greedy;
    f->elsewhere = d.served > 0 && d.served - 1 != d.decision.chosen;
    for (uint32_t c = 0; c < CANDIDATES; c++)
        f->excluded = f->excluded || d.decision.row[c].excl != 0;
    if (i % 50 == 0)
        add_vote(&d, f, list, io_count);
}

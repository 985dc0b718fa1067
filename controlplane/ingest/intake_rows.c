/* Record -> rows. Text columns are for people and filters: they are cut at 256 bytes, and bytes
 * that a text column cannot hold are replaced by '?'; the record itself is kept in detail
 * untouched. */
#include "controlplane/ingest/intake_rows.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/route/policy.h"
#include "controlplane/ingest/intake_canary.h"
#include "telemetry.pb-c.h"

#define ROWS_BYTES_MAX   (64U << 20)
#define TEXT_BYTES_MAX   256U
#define COMMENT_MAX      2048U
#define HOUR_US          INT64_C(3600000000)
#define TS_MIN_US        INT64_C(946684800000000)  /* 2000-01-01 */
#define TS_MAX_US        INT64_C(4102444800000000) /* 2100-01-01 */
#define SHARDS           8
#define TOKENS_PER_PRICE 1000000
#define SCORE_MAX_Q16    65536
#define NO_SQLSTATE      "" /* Refused here, before Postgres saw it. */

/* --- memory ------------------------------------------------------------------------------------
 */

void intake_rows_init(struct intake_rows *r)
{
    memset(r, 0, sizeof *r);
    arena_pool_init(&r->chunks, 64);
    arena_init(&r->arena, &r->chunks, ROWS_BYTES_MAX);
    map_init(&r->usage);
    map_init(&r->candidates);
    struct pq_copy *copies[] = {&r->decision, &r->attempt,    &r->feedback,       &r->gap,
                                &r->bad,      &r->usage_copy, &r->candidate_copy, &r->canary};
    for (size_t i = 0; i < sizeof copies / sizeof copies[0]; i++)
        pq_copy_init(copies[i], ROWS_BYTES_MAX);
    intake_spend_init(&r->spend, &r->arena, ROWS_BYTES_MAX);
    intake_prints_init(&r->prints, &r->arena, ROWS_BYTES_MAX);
    intake_rows_reset(r);
}

void intake_rows_deinit(struct intake_rows *r)
{
    pq_copy_deinit(&r->decision);
    pq_copy_deinit(&r->attempt);
    pq_copy_deinit(&r->feedback);
    pq_copy_deinit(&r->gap);
    pq_copy_deinit(&r->bad);
    pq_copy_deinit(&r->usage_copy);
    pq_copy_deinit(&r->candidate_copy);
    pq_copy_deinit(&r->canary);
    intake_spend_deinit(&r->spend);
    intake_prints_deinit(&r->prints);
    map_deinit(&r->usage);
    map_deinit(&r->candidates);
    arena_reset(&r->arena);
    arena_pool_deinit(&r->chunks);
}

void intake_rows_reset(struct intake_rows *r)
{
    struct pq_copy *copies[] = {&r->decision, &r->attempt,    &r->feedback,       &r->gap,
                                &r->bad,      &r->usage_copy, &r->candidate_copy, &r->canary};
    for (size_t i = 0; i < sizeof copies / sizeof copies[0]; i++) {
        pq_copy_reset(copies[i]);
        pq_copy_begin(copies[i]);
    }
    map_deinit(&r->usage);
    map_deinit(&r->candidates);
    map_init(&r->usage);
    map_init(&r->candidates);
    intake_spend_reset(&r->spend);
    intake_prints_reset(&r->prints);
    arena_reset(&r->arena);
    r->decisions = r->attempts = r->votes = r->gaps = r->bads = r->canaries = 0;
    r->last_ts_us = 0;
}

uint64_t intake_rows_bytes(const struct intake_rows *r)
{
    return r->decision.data.len + r->attempt.data.len + r->feedback.data.len + r->bad.data.len +
           r->canary.data.len;
}

/* Says afterwards whether a record was malformed or memory short: they read alike from outside. */
struct unpack_memory {
    struct arena *arena;
    bool failed;
};

static void *pb_alloc(void *data, size_t size)
{
    struct unpack_memory *m = data;
    void *p = arena_alloc(m->arena, size);
    m->failed = m->failed || p == NULL;
    return p;
}

static void pb_free(void *data, void *pointer)
{
    (void)data;
    (void)pointer;
}

/* --- fields ------------------------------------------------------------------------------------
 */

static struct str pb_str(ProtobufCBinaryData data)
{
    return (struct str){.data = (const char *)data.data, .len = data.len};
}

/* At most TEXT_BYTES_MAX bytes that a UTF-8 text column takes. */
void intake_copy_text(struct pq_copy *c, struct str s)
{
    char clean[TEXT_BYTES_MAX];
    if (s.len > TEXT_BYTES_MAX) {
        s = str_slice(s, 0, TEXT_BYTES_MAX);
        /* Not through the middle of a character. */
        while (s.len > 0 && ((uint8_t)s.data[s.len - 1] & 0xc0) == 0x80)
            s.len--;
        if (s.len > 0 && ((uint8_t)s.data[s.len - 1] & 0x80) != 0)
            s.len--;
    }
    if (str_find(s, '\0') >= 0 || !str_valid_utf8(s)) {
        for (size_t i = 0; i < s.len; i++)
            clean[i] = s.data[i] >= 0x20 && s.data[i] < 0x7f ? s.data[i] : '?';
        s.data = clean;
    }
    pq_copy_bytes(c, s);
}

static void copy_bytes_or_null(struct pq_copy *c, ProtobufCBinaryData data)
{
    if (data.len == 0)
        pq_copy_null(c);
    else
        pq_copy_bytes(c, pb_str(data));
}

static struct str model_name(const Steelyard__Telemetry__V1__Decision *d, uint32_t index)
{
    return index < d->n_models ? str_from(d->models[index]) : STR_NULL;
}

static void copy_model(struct pq_copy *c, const Steelyard__Telemetry__V1__Decision *d,
                       uint32_t index)
{
    struct str name = model_name(d, index);
    if (name.data == NULL)
        pq_copy_null(c);
    else
        intake_copy_text(c, name);
}

static int64_t clamp_time(int64_t us, int64_t fallback)
{
    return us >= TS_MIN_US && us < TS_MAX_US ? us : fallback;
}

static int16_t clamp_i16(uint64_t value)
{
    return value > INT16_MAX ? INT16_MAX : (int16_t)value;
}

/* --- sums --------------------------------------------------------------------------------------
 */

struct usage_sum {
    int64_t hour_us;
    int64_t key_id;
    struct str route, model, params_sha;
    int64_t decisions, failed, explored, explore_cost, cost, unpriced, tokens_in, tokens_out;
    int64_t last_ts_us;
};

struct candidate_sum {
    int64_t hour_us;
    struct str route, model;
    int64_t decisions, cost, actual, q_q16;
};

void intake_add_sat(int64_t *sum, int64_t value)
{
    if (__builtin_add_overflow(*sum, value, sum))
        *sum = value < 0 ? INT64_MIN : INT64_MAX;
}

/* The parts, each with its length before it, as one map key in the arena. */
static struct str sum_key(struct arena *a, const struct str *parts, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += sizeof(uint32_t) + parts[i].len;
    char *key = arena_alloc(a, len);
    if (key == NULL)
        return STR_NULL;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t n = (uint32_t)parts[i].len;
        memcpy(key + at, &n, sizeof n);
        at += sizeof n;
        if (n > 0)
            memcpy(key + at, parts[i].data, n);
        at += n;
    }
    return (struct str){.data = key, .len = len};
}

static struct str raw_i64(const int64_t *value)
{
    return (struct str){.data = (const char *)value, .len = sizeof *value};
}

/* Finds or makes (zeroed, size bytes) the entry of a key; NULL: out of memory. */
void *intake_sum_entry(struct arena *a, struct map *m, const struct str *parts, size_t count,
                       size_t size, bool *out_new)
{
    struct arena_mark mark = arena_mark(a);
    struct str key = sum_key(a, parts, count);
    if (key.data == NULL)
        return NULL;
    void *entry = map_get(m, key);
    *out_new = entry == NULL;
    if (entry != NULL) {
        arena_rewind(a, mark);
        return entry;
    }
    entry = arena_zalloc(a, 1, size);
    if (entry == NULL || map_put(m, key, entry, NULL) != 0)
        return NULL;
    return entry;
}

/* An unknown cost is 0 here and counted in `unpriced`; the flag tells the two apart. */
int64_t intake_known_cost(const Steelyard__Telemetry__V1__Decision *d)
{
    return d->cost < 0 ? 0 : d->cost;
}

bool intake_has_failed(const Steelyard__Telemetry__V1__Decision *d)
{
    return d->status == STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_FAILED ||
           d->status == STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_PARTIAL ||
           d->status == STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_NODE_CRASH;
}

struct totals {
    int64_t tokens_in;
    int64_t tokens_out;
};

static int add_usage(struct intake_rows *r, const Steelyard__Telemetry__V1__Decision *d,
                     struct totals t)
{
    int64_t hour = d->ts_us - d->ts_us % HOUR_US;
    int64_t key_id = (int64_t)d->key_id;
    struct str model = d->served > 0 ? model_name(d, d->served - 1) : STR_NULL;
    struct str parts[] = {raw_i64(&hour), raw_i64(&key_id), str_from(d->route), model,
                          pb_str(d->params_sha)};
    bool is_new;
    struct usage_sum *u =
        intake_sum_entry(&r->arena, &r->usage, parts, 5, sizeof(struct usage_sum), &is_new);
    if (u == NULL)
        return ERR_NOMEM;
    if (is_new) {
        u->hour_us = hour;
        u->key_id = key_id;
        u->route = str_from(d->route);
        u->model = model;
        u->params_sha = pb_str(d->params_sha);
    }
    u->decisions++;
    u->failed += intake_has_failed(d);
    u->explored += (d->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_EXPLORED) != 0;
    intake_add_sat(&u->explore_cost, intake_explore_cost(d));
    u->unpriced += (d->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_COST_UNKNOWN) != 0;
    intake_add_sat(&u->cost, intake_known_cost(d));
    intake_add_sat(&u->tokens_in, t.tokens_in);
    intake_add_sat(&u->tokens_out, t.tokens_out);
    if (d->ts_us > u->last_ts_us)
        u->last_ts_us = d->ts_us;
    return 0;
}

/* What each candidate would have cost: the tokens that were used, the output scaled by what the
 * models are expected to write, the prices of the record. Only routed, served, priced requests. */
static int add_candidates(struct intake_rows *r, const Steelyard__Telemetry__V1__Decision *d,
                          struct totals t)
{
    if (d->route[0] == '\0' || d->served == 0 || d->served > d->n_cand ||
        (d->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_COST_UNKNOWN) != 0)
        return 0;
    int64_t hour = d->ts_us - d->ts_us % HOUR_US;
    uint32_t served_out = d->cand[d->served - 1]->out_tok;
    for (uint32_t i = 0; i < d->n_cand; i++) {
        const Steelyard__Telemetry__V1__Cand *cand = d->cand[i];
        struct str model = model_name(d, i);
        /* Fallbacks stand behind the candidates, disabled for the policy: no alternative. */
        if (cand->price_in < 0 || cand->price_out < 0 || model.data == NULL ||
            (cand->excl & POLICY_EXCL(DISABLED)) != 0)
            continue;
        __int128 out = t.tokens_out;
        if (served_out > 0 && cand->out_tok > 0)
            out = out * cand->out_tok / served_out;
        __int128 cost =
            ((__int128)t.tokens_in * cand->price_in + out * cand->price_out) / TOKENS_PER_PRICE;
        if (i == d->served - 1)
            cost = intake_known_cost(d);
        if (cost < 0 || cost > INTAKE_COST_MAX)
            continue;
        struct str parts[] = {raw_i64(&hour), str_from(d->route), model};
        bool is_new;
        struct candidate_sum *s = intake_sum_entry(&r->arena, &r->candidates, parts, 3,
                                                   sizeof(struct candidate_sum), &is_new);
        if (s == NULL)
            return ERR_NOMEM;
        if (is_new) {
            s->hour_us = hour;
            s->route = str_from(d->route);
            s->model = model;
        }
        s->decisions++;
        intake_add_sat(&s->cost, (int64_t)cost);
        intake_add_sat(&s->actual, intake_known_cost(d));
        intake_add_sat(&s->q_q16, cand->q);
    }
    return 0;
}

/* --- records -------------------------------------------------------------------------------------
 */

/* How its deployment was picked; NULL where nothing was recorded. */
static void copy_picked(struct pq_copy *c, const Steelyard__Telemetry__V1__Attempt *a)
{
    if (a->place == 0) {
        for (int i = 0; i < 7; i++)
            pq_copy_null(c);
        return;
    }
    pq_copy_i16(c, clamp_i16(a->place));
    pq_copy_i16(c, clamp_i16(a->deployments));
    pq_copy_i64(c, (int64_t)a->usable);
    pq_copy_i16(c, clamp_i16(a->equals));
    pq_copy_i16(c, clamp_i16((uint32_t)a->picked_by));
    pq_copy_i32(c, (int32_t)a->passed);
    pq_copy_i64(c, (int64_t)a->notes);
}

static int copy_attempt(struct intake_rows *r, const Steelyard__Telemetry__V1__Decision *d,
                        size_t n)
{
    const Steelyard__Telemetry__V1__Attempt *a = d->attempt[n];
    struct pq_copy *c = &r->attempt;
    const struct str server =
        a->endpoint < d->n_servers ? str_from(d->servers[a->endpoint]) : STR("");
    pq_copy_row(c, 24);
    pq_copy_time_us(c, d->ts_us);
    pq_copy_bytes(c, pb_str(d->request_id));
    pq_copy_i16(c, clamp_i16(n));
    intake_copy_text(c, model_name(d, a->model));
    intake_copy_text(c, server);
    pq_copy_time_us(c, clamp_time(a->start_us, d->ts_us));
    pq_copy_i32(c, (int32_t)a->status);
    pq_copy_i32(c, (int32_t)a->reason);
    pq_copy_i64(c, a->ttft_ms);
    pq_copy_i64(c, a->total_ms);
    pq_copy_i64(c, a->in);
    pq_copy_i64(c, a->out);
    pq_copy_i64(c, a->cached);
    pq_copy_i64(c, a->cost);
    pq_copy_i64(c, (int64_t)a->price_id);
    pq_copy_i32(c, (int32_t)a->flags);
    if (a->fingerprint != 0)
        pq_copy_i64(c, (int64_t)a->fingerprint);
    else
        pq_copy_null(c);
    copy_picked(c, a);
    r->attempts++;
    return a->fingerprint == 0
               ? 0
               : intake_prints_add(&r->prints, model_name(d, a->model), server, d->ts_us, a);
}

static int add_decision(struct intake_rows *r, const struct uuid *node_id, uint64_t epoch,
                        uint64_t seq, const Steelyard__Telemetry__V1__Decision *d,
                        struct str detail)
{
    struct totals t = {0};
    for (size_t i = 0; i < d->n_attempt; i++) {
        t.tokens_in += d->attempt[i]->in;
        t.tokens_out += d->attempt[i]->out;
    }
    uint64_t excl_any = 0;
    for (size_t i = 0; i < d->n_cand; i++)
        excl_any |= d->cand[i]->excl;
    struct pq_copy *c = &r->decision;
    pq_copy_row(c, 29);
    pq_copy_time_us(c, d->ts_us);
    pq_copy_bytes(c, pb_str(d->request_id));
    pq_copy_bytes(c, (struct str){.data = (const char *)node_id->bytes, .len = 16});
    pq_copy_i64(c, (int64_t)epoch);
    pq_copy_i64(c, (int64_t)seq);
    pq_copy_i64(c, (int64_t)d->key_id);
    pq_copy_i32(c, (int32_t)d->segment);
    intake_copy_text(c, str_from(d->endpoint));
    intake_copy_text(c, str_from(d->route));
    intake_copy_text(c, str_from(d->alias));
    intake_copy_text(c, str_from(d->task));
    copy_bytes_or_null(c, d->policy_version);
    copy_bytes_or_null(c, d->params_sha);
    pq_copy_i64(c, (int64_t)d->generation);
    pq_copy_i32(c, (int32_t)d->flags);
    pq_copy_i16(c, clamp_i16((uint64_t)d->status));
    pq_copy_i32(c, (int32_t)d->http_status);
    if (d->n_cand > 0)
        copy_model(c, d, d->chosen);
    else
        pq_copy_null(c);
    copy_model(c, d, d->served > 0 ? d->served - 1 : UINT32_MAX);
    pq_copy_i64(c, intake_known_cost(d));
    pq_copy_i64(c, t.tokens_in);
    pq_copy_i64(c, t.tokens_out);
    pq_copy_i64(c, d->ttft_ms);
    pq_copy_i64(c, d->duration_ms);
    pq_copy_i16(c, clamp_i16(d->n_attempt));
    pq_copy_i64(c, (int64_t)excl_any);
    copy_bytes_or_null(c, d->text_hash);
    pq_copy_bytes(c, detail);
    if (d->n_cand > 0 && d->greedy != d->chosen)
        copy_model(c, d, d->greedy);
    else
        pq_copy_null(c);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < d->n_attempt; i++)
        rc = copy_attempt(r, d, i);
    r->decisions++;
    if (d->rollout_id != 0) {
        intake_canary_add(&r->canary, d);
        r->canaries++;
    }
    if (d->ts_us > r->last_ts_us)
        r->last_ts_us = d->ts_us;
    if (rc == 0)
        rc = add_usage(r, d, t);
    if (rc == 0)
        rc = intake_spend_add(&r->spend, d);
    return rc != 0 ? rc : add_candidates(r, d, t);
}

static void add_feedback(struct intake_rows *r, const Steelyard__Telemetry__V1__Feedback *f)
{
    struct uuid id;
    memcpy(id.bytes, f->request_id.data, 16);
    struct pq_copy *c = &r->feedback;
    pq_copy_row(c, 10);
    pq_copy_time_us(c, uuid_time_ms(&id) * 1000);
    pq_copy_bytes(c, pb_str(f->request_id));
    pq_copy_i64(c, (int64_t)f->key_id);
    intake_copy_text(c, str_from(f->source));
    pq_copy_time_us(c, f->ts_us);
    pq_copy_i32(c, f->score_q16);
    intake_copy_text(c, str_from(f->label));
    pq_copy_bytes(c, str_slice(pb_str(f->comment), 0, COMMENT_MAX));
    pq_copy_i64(c, r->votes); /* The order of arrival: the first of two equal votes wins. */
    pq_copy_i64(c, f->label_prob == 0 ? INT64_C(1) << 32 : f->label_prob);
    r->votes++;
}

int intake_rows_add_bad(struct intake_rows *r, const struct uuid *node_id, uint64_t epoch,
                        uint64_t seq, struct str record, struct str sqlstate, struct str reason)
{
    struct pq_copy *c = &r->bad;
    pq_copy_row(c, 6);
    pq_copy_bytes(c, (struct str){.data = (const char *)node_id->bytes, .len = 16});
    pq_copy_i64(c, (int64_t)epoch);
    pq_copy_i64(c, (int64_t)seq);
    intake_copy_text(c, sqlstate);
    intake_copy_text(c, reason);
    pq_copy_bytes(c, record);
    r->bads++;
    return c->status;
}

static void add_gap(struct intake_rows *r, const struct uuid *node_id, uint64_t epoch,
                    uint64_t from, uint64_t to, const Steelyard__Telemetry__V1__Gap *gap)
{
    struct pq_copy *c = &r->gap;
    pq_copy_row(c, 5);
    pq_copy_bytes(c, (struct str){.data = (const char *)node_id->bytes, .len = 16});
    pq_copy_i64(c, (int64_t)epoch);
    pq_copy_i64(c, (int64_t)from);
    pq_copy_i64(c, (int64_t)to);
    intake_copy_text(c, str_from(gap->reason));
    r->gaps++;
}

/* NULL: fine. */
static const char *why_decision_is_bad(const Steelyard__Telemetry__V1__Decision *d)
{
    if (d->request_id.len != 16)
        return "decision without a request id";
    if (d->ts_us < TS_MIN_US || d->ts_us >= TS_MAX_US)
        return "decision with a time out of range";
    if (d->params_sha.len > 32 || d->policy_version.len > 32 || d->text_hash.len > 64)
        return "decision with an overlong hash";
    if (d->cost > INTAKE_COST_MAX)
        return "decision with a cost out of range";
    if (d->rollout_id > INT64_MAX)
        return "decision with a rollout out of range";
    return intake_spend_why_bad(d);
}

static const char *why_feedback_is_bad(const Steelyard__Telemetry__V1__Feedback *f)
{
    if (f->request_id.len != 16)
        return "feedback without a request id";
    struct uuid id;
    memcpy(id.bytes, f->request_id.data, 16);
    int64_t us;
    if (__builtin_mul_overflow(uuid_time_ms(&id), INT64_C(1000), &us) || us < TS_MIN_US ||
        us >= TS_MAX_US || f->ts_us < TS_MIN_US || f->ts_us >= TS_MAX_US)
        return "feedback with a time out of range";
    if (f->score_q16 < 0 || f->score_q16 > SCORE_MAX_Q16)
        return "feedback with a score out of range";
    return NULL;
}

int intake_rows_add(struct intake_rows *r, const struct uuid *node_id, uint64_t epoch, uint64_t seq,
                    struct str record)
{
    struct unpack_memory memory = {.arena = &r->arena};
    ProtobufCAllocator allocator = {.alloc = pb_alloc, .free = pb_free, .allocator_data = &memory};
    Steelyard__Telemetry__V1__Record *rec = steelyard__telemetry__v1__record__unpack(
        &allocator, record.len, (const uint8_t *)record.data);
    if (memory.failed)
        return ERR_NOMEM;
    const char *bad = rec == NULL ? "record that cannot be decoded" : NULL;
    int rc = 0;
    bool is_gap;
    if (bad == NULL) {
        switch (rec->body_case) {
        case STEELYARD__TELEMETRY__V1__RECORD__BODY_DECISION: {
            struct str detail = record_field(record, 1);
            bad = detail.data == NULL ? "record that cannot be decoded"
                                      : why_decision_is_bad(rec->decision);
            if (bad == NULL)
                rc = add_decision(r, node_id, epoch, seq, rec->decision, detail);
            break;
        }
        case STEELYARD__TELEMETRY__V1__RECORD__BODY_FEEDBACK:
            bad = why_feedback_is_bad(rec->feedback);
            if (bad == NULL)
                add_feedback(r, rec->feedback);
            break;
        case STEELYARD__TELEMETRY__V1__RECORD__BODY_GAP: {
            uint64_t to = record_last_seq(record, seq, &is_gap);
            if (is_gap)
                add_gap(r, node_id, epoch, seq, to, rec->gap);
            else
                bad = "gap that does not stand at its place";
            break;
        }
        case STEELYARD__TELEMETRY__V1__RECORD__BODY__NOT_SET:
        case _STEELYARD__TELEMETRY__V1__RECORD__BODY__CASE_IS_INT_SIZE:
            bad = "record of an unknown kind";
            break;
        }
    }
    if (bad != NULL)
        rc = intake_rows_add_bad(r, node_id, epoch, seq, record, STR(NO_SQLSTATE), str_from(bad));
    if (rc == 0)
        rc = r->decision.status != 0 ? r->decision.status : r->attempt.status;
    return rc != 0 ? rc : r->feedback.status;
}

int intake_rows_finish(struct intake_rows *r)
{
    const struct map_entry *e;
    for (size_t i = 0; (e = map_next(&r->usage, &i)) != NULL;) {
        const struct usage_sum *u = e->value;
        struct pq_copy *c = &r->usage_copy;
        pq_copy_row(c, 14);
        pq_copy_time_us(c, u->hour_us);
        pq_copy_i64(c, u->key_id);
        intake_copy_text(c, u->route);
        intake_copy_text(c, u->model);
        pq_copy_bytes(c, u->params_sha);
        pq_copy_i64(c, u->decisions);
        pq_copy_i64(c, u->failed);
        pq_copy_i64(c, u->explored);
        pq_copy_i64(c, u->explore_cost);
        pq_copy_i64(c, u->cost);
        pq_copy_i64(c, u->unpriced);
        pq_copy_i64(c, u->tokens_in);
        pq_copy_i64(c, u->tokens_out);
        pq_copy_time_us(c, u->last_ts_us);
    }
    for (size_t i = 0; (e = map_next(&r->candidates, &i)) != NULL;) {
        const struct candidate_sum *s = e->value;
        struct pq_copy *c = &r->candidate_copy;
        pq_copy_row(c, 7);
        pq_copy_time_us(c, s->hour_us);
        intake_copy_text(c, s->route);
        intake_copy_text(c, s->model);
        pq_copy_i64(c, s->decisions);
        pq_copy_i64(c, s->cost);
        pq_copy_i64(c, s->actual);
        pq_copy_i64(c, s->q_q16);
    }
    struct pq_copy *copies[] = {&r->decision, &r->attempt,    &r->feedback,       &r->gap,
                                &r->bad,      &r->usage_copy, &r->candidate_copy, &r->canary};
    int rc = intake_spend_finish(&r->spend);
    if (rc == 0)
        rc = intake_prints_finish(&r->prints);
    for (size_t i = 0; i < sizeof copies / sizeof copies[0]; i++) {
        pq_copy_end(copies[i]);
        if (rc == 0)
            rc = copies[i]->status;
    }
    return rc;
}

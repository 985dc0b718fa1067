/* Most keys have one set of accounts, so the sets are few; each is hashed once a transaction. */
#include "controlplane/ingest/intake_spend.h"

#include <string.h>

#include "common/crypto/digest.h"
#include "controlplane/ingest/intake_rows.h"

#define DAY_US           INT64_C(86400000000)
#define DAYS_TO_2000     10957 /* From 1970-01-01: what a date counts from. */
#define ARRAY_BYTES      (20 + 12 * (SPEND_ACCOUNTS_MAX + 1))
#define BIGINT_OID       20
#define PERIOD_MAX_US    INT64_C(4102444800000000) /* 2100-01-01 */
#define FLAG_ESTIMATED   STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_USAGE_ESTIMATED
#define FLAG_UNPRICED    STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_COST_UNKNOWN
#define SOURCE_ESTIMATED STEELYARD__TELEMETRY__V1__USAGE_SOURCE__USAGE_ESTIMATED

struct path {
    uint8_t id[16];
    int64_t key_id;
    struct str accounts; /* bigint[] as COPY takes it. */
};

struct day_sum {
    int32_t day; /* As a date column has it. */
    int16_t source;
    const struct path *path;
    struct str model, params_sha;
    int64_t decisions, failed, cost, unpriced;
    int64_t tokens_in, tokens_out, tokens_cached, tokens_reasoning;
};

struct charge_sum {
    int64_t budget, period_start_us, lease_epoch;
    int32_t cfg;
    int64_t cost, rows;
};

void intake_spend_init(struct intake_spend *s, struct arena *arena, size_t max_bytes)
{
    *s = (struct intake_spend){.arena = arena};
    map_init(&s->paths);
    map_init(&s->days);
    map_init(&s->charges);
    pq_copy_init(&s->day_copy, max_bytes);
    pq_copy_init(&s->charge_copy, max_bytes);
}

void intake_spend_deinit(struct intake_spend *s)
{
    map_deinit(&s->paths);
    map_deinit(&s->days);
    map_deinit(&s->charges);
    pq_copy_deinit(&s->day_copy);
    pq_copy_deinit(&s->charge_copy);
}

void intake_spend_reset(struct intake_spend *s)
{
    map_deinit(&s->paths);
    map_deinit(&s->days);
    map_deinit(&s->charges);
    map_init(&s->paths);
    map_init(&s->days);
    map_init(&s->charges);
    pq_copy_reset(&s->day_copy);
    pq_copy_begin(&s->day_copy);
    pq_copy_reset(&s->charge_copy);
    pq_copy_begin(&s->charge_copy);
}

static const char *why_charges_are_bad(Steelyard__Telemetry__V1__Charge *const *charges, size_t n)
{
    if (n > SPEND_CHARGES_MAX)
        return "decision with too many charges";
    for (size_t i = 0; i < n; i++) {
        const Steelyard__Telemetry__V1__Charge *c = charges[i];
        if (c->budget == 0 || c->budget > INT64_MAX || c->cfg > INT32_MAX ||
            c->period_start_us < 0 || c->period_start_us >= PERIOD_MAX_US)
            return "decision with a charge out of range";
        for (size_t k = 0; k < i; k++)
            if (charges[k]->budget == c->budget)
                return "decision that charges a budget twice";
    }
    return NULL;
}

const char *intake_spend_why_bad(const Steelyard__Telemetry__V1__Decision *d)
{
    if (d->n_accounts > SPEND_ACCOUNTS_MAX)
        return "decision with too many accounts";
    const char *why = why_charges_are_bad(d->charge, d->n_charge);
    for (size_t i = 0; why == NULL && i < d->n_attempt; i++) {
        const Steelyard__Telemetry__V1__Attempt *a = d->attempt[i];
        why = why_charges_are_bad(a->charge, a->n_charge);
        if (a->n_charge > 0 && a->cost > INTAKE_COST_MAX)
            why = "attempt with a cost out of range";
    }
    return why;
}

/* --- who ----------------------------------------------------------------------------------------
 */

static void put_be(uint8_t *to, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

/* Ascending, each once, the key among them. */
static size_t gather_accounts(const Steelyard__Telemetry__V1__Decision *d,
                              int64_t out[SPEND_ACCOUNTS_MAX + 1])
{
    size_t n = 0;
    for (size_t i = 0; i <= d->n_accounts; i++) {
        int64_t id = (int64_t)(i < d->n_accounts ? d->accounts[i] : d->key_id);
        size_t at = n;
        while (at > 0 && out[at - 1] > id)
            at--;
        if (id == 0 || (at > 0 && out[at - 1] == id))
            continue;
        memmove(&out[at + 1], &out[at], (n - at) * sizeof *out);
        out[at] = id;
        n++;
    }
    return n;
}

static size_t write_array(const int64_t *values, size_t n, uint8_t out[ARRAY_BYTES])
{
    const uint32_t head[] = {n > 0, 0, BIGINT_OID, (uint32_t)n, 1};
    size_t at = 0;
    for (size_t i = 0; i < (n > 0 ? 5U : 3U); i++, at += 4)
        put_be(out + at, head[i], 4);
    for (size_t i = 0; i < n; i++, at += 12) {
        put_be(out + at, 8, 4);
        put_be(out + at + 4, (uint64_t)values[i], 8);
    }
    return at;
}

static const struct path *path_of(struct intake_spend *s,
                                  const Steelyard__Telemetry__V1__Decision *d)
{
    int64_t ids[SPEND_ACCOUNTS_MAX + 2];
    size_t n = gather_accounts(d, ids);
    ids[n] = (int64_t)d->key_id;
    struct str key = {.data = (const char *)ids, .len = (n + 1) * sizeof *ids};
    struct path *p = map_get(&s->paths, key);
    if (p != NULL)
        return p;
    uint8_t bytes[8 + ARRAY_BYTES];
    put_be(bytes, d->key_id, 8);
    size_t len = write_array(ids, n, bytes + 8);
    p = arena_zalloc(s->arena, 1, sizeof *p);
    key = arena_copy(s->arena, key);
    if (p == NULL || key.data == NULL)
        return NULL;
    p->key_id = (int64_t)d->key_id;
    p->accounts = arena_copy(s->arena, (struct str){.data = (const char *)bytes + 8, .len = len});
    if (p->accounts.data == NULL || map_put(&s->paths, key, p, NULL) != 0)
        return NULL;
    struct sha256 digest = digest_sha256(bytes, 8 + len);
    memcpy(p->id, digest.bytes, sizeof p->id);
    return p;
}

/* --- what ---------------------------------------------------------------------------------------
 */

/* The least certain of the attempts that used anything. */
static int16_t source_of(const Steelyard__Telemetry__V1__Decision *d)
{
    uint32_t source = (d->flags & FLAG_ESTIMATED) != 0 ? SOURCE_ESTIMATED : 0;
    for (size_t i = 0; i < d->n_attempt; i++) {
        const Steelyard__Telemetry__V1__Attempt *a = d->attempt[i];
        bool used = a->in > 0 || a->out > 0 || a->cost > 0;
        if (used && (uint32_t)a->usage > source && a->usage <= SOURCE_ESTIMATED)
            source = (uint32_t)a->usage;
    }
    return (int16_t)source;
}

static struct str model_of(const Steelyard__Telemetry__V1__Decision *d)
{
    size_t i = d->served > 0      ? d->served - 1
               : d->n_attempt > 0 ? d->attempt[d->n_attempt - 1]->model
                                  : d->n_models;
    return i < d->n_models ? str_from(d->models[i]) : STR("");
}

static struct str raw(const void *value, size_t len)
{
    return (struct str){.data = value, .len = len};
}

static int add_day(struct intake_spend *s, const Steelyard__Telemetry__V1__Decision *d,
                   const struct path *path)
{
    const struct str sha = {.data = (const char *)d->params_sha.data, .len = d->params_sha.len};
    const struct str model = model_of(d);
    const int32_t day = (int32_t)(d->ts_us / DAY_US) - DAYS_TO_2000;
    const int16_t source = source_of(d);
    const struct str parts[] = {raw(&day, sizeof day), raw(&source, sizeof source),
                                raw(path->id, sizeof path->id), model, sha};
    bool is_new;
    struct day_sum *sum =
        intake_sum_entry(s->arena, &s->days, parts, 5, sizeof(struct day_sum), &is_new);
    if (sum == NULL)
        return ERR_NOMEM;
    if (is_new) {
        sum->day = day;
        sum->source = source;
        sum->path = path;
        sum->model = model;
        sum->params_sha = sha;
    }
    sum->decisions++;
    sum->failed += intake_has_failed(d);
    sum->unpriced += (d->flags & FLAG_UNPRICED) != 0;
    intake_add_sat(&sum->cost, intake_known_cost(d));
    for (size_t i = 0; i < d->n_attempt; i++) {
        intake_add_sat(&sum->tokens_in, d->attempt[i]->in);
        intake_add_sat(&sum->tokens_out, d->attempt[i]->out);
        intake_add_sat(&sum->tokens_cached, d->attempt[i]->cached);
        intake_add_sat(&sum->tokens_reasoning, d->attempt[i]->reasoning);
    }
    return 0;
}

static int add_charges(struct intake_spend *s, uint64_t lease_epoch, int64_t cost,
                       Steelyard__Telemetry__V1__Charge *const *charges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const Steelyard__Telemetry__V1__Charge *c = charges[i];
        const struct str parts[] = {
            raw(&c->budget, sizeof c->budget), raw(&c->period_start_us, sizeof c->period_start_us),
            raw(&c->cfg, sizeof c->cfg), raw(&lease_epoch, sizeof lease_epoch)};
        bool is_new;
        struct charge_sum *sum =
            intake_sum_entry(s->arena, &s->charges, parts, 4, sizeof(struct charge_sum), &is_new);
        if (sum == NULL)
            return ERR_NOMEM;
        if (is_new) {
            sum->budget = (int64_t)c->budget;
            sum->period_start_us = c->period_start_us;
            sum->cfg = (int32_t)c->cfg;
            sum->lease_epoch = (int64_t)lease_epoch;
        }
        sum->rows++;
        intake_add_sat(&sum->cost, cost > 0 ? cost : 0);
    }
    return 0;
}

int64_t intake_explore_cost(const Steelyard__Telemetry__V1__Decision *d)
{
    if ((d->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_EXPLORED) == 0 ||
        d->chosen >= d->n_cand || d->greedy >= d->n_cand || d->served != d->chosen + 1)
        return 0;
    int64_t expected = d->cand[d->chosen]->cost;
    int64_t least = d->cand[d->greedy]->cost;
    if (least < 0 || expected <= least)
        return 0;
    return (int64_t)((__int128)intake_known_cost(d) * (expected - least) / expected);
}

int intake_spend_add(struct intake_spend *s, const Steelyard__Telemetry__V1__Decision *d)
{
    const struct path *path = path_of(s, d);
    if (path == NULL)
        return ERR_NOMEM;
    int rc = add_day(s, d, path);
    if (rc == 0)
        rc = add_charges(s, d->lease_epoch, d->cost, d->charge, d->n_charge);
    for (size_t i = 0; rc == 0 && i < d->n_attempt; i++) {
        const Steelyard__Telemetry__V1__Attempt *a = d->attempt[i];
        rc = add_charges(s, d->lease_epoch, a->cost, a->charge, a->n_charge);
    }
    return rc;
}

/* --- rows ---------------------------------------------------------------------------------------
 */

int intake_spend_finish(struct intake_spend *s)
{
    const struct map_entry *e;
    for (size_t i = 0; (e = map_next(&s->days, &i)) != NULL;) {
        const struct day_sum *sum = e->value;
        struct pq_copy *c = &s->day_copy;
        pq_copy_row(c, 15);
        pq_copy_i32(c, sum->day);
        pq_copy_bytes(c, raw(sum->path->id, sizeof sum->path->id));
        pq_copy_i64(c, sum->path->key_id);
        pq_copy_bytes(c, sum->path->accounts);
        intake_copy_text(c, sum->model);
        pq_copy_bytes(c, sum->params_sha.len > 0 ? sum->params_sha : STR(""));
        pq_copy_i16(c, sum->source);
        pq_copy_i64(c, sum->decisions);
        pq_copy_i64(c, sum->failed);
        pq_copy_i64(c, sum->cost);
        pq_copy_i64(c, sum->unpriced);
        pq_copy_i64(c, sum->tokens_in);
        pq_copy_i64(c, sum->tokens_out);
        pq_copy_i64(c, sum->tokens_cached);
        pq_copy_i64(c, sum->tokens_reasoning);
    }
    for (size_t i = 0; (e = map_next(&s->charges, &i)) != NULL;) {
        const struct charge_sum *sum = e->value;
        struct pq_copy *c = &s->charge_copy;
        pq_copy_row(c, 6);
        pq_copy_i64(c, sum->budget);
        pq_copy_time_us(c, sum->period_start_us);
        pq_copy_i32(c, sum->cfg);
        pq_copy_i64(c, sum->lease_epoch);
        pq_copy_i64(c, sum->cost);
        pq_copy_i64(c, sum->rows);
    }
    pq_copy_end(&s->day_copy);
    pq_copy_end(&s->charge_copy);
    return s->day_copy.status != 0 ? s->day_copy.status : s->charge_copy.status;
}

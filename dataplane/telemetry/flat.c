#include "dataplane/telemetry/flat.h"

#include <assert.h>
#include <string.h>

/* Blocks that are copied as they are. A change of one of these is a new SPOOL_RING_VERSION. */
#define DECISION_BYTES offsetof(struct record_decision, accounts)
#define OUTCOME_BYTES  offsetof(struct record_outcome, attempts)
#define ATTEMPT_BYTES  offsetof(struct record_attempt, held)
#define ROUTED_BYTES   offsetof(struct policy_decision, row)
/* Without the weights of a shadow, which follow if there is one. */
#define ROLLOUT_BYTES  offsetof(struct record_rollout, shadow_lambda)
static_assert(DECISION_BYTES == 152, "layout of the ring");
static_assert(OUTCOME_BYTES == 40, "layout of the ring");
static_assert(ATTEMPT_BYTES == 72, "layout of the ring");
static_assert(sizeof(struct record_charge) == 24, "layout of the ring");
static_assert(sizeof(struct picked) == 24, "layout of the ring");
static_assert(ROUTED_BYTES == 88, "layout of the ring");
static_assert(sizeof(struct policy_candidate) == 64, "layout of the ring");
static_assert(sizeof(struct policy_row) == 48, "layout of the ring");
static_assert(sizeof(((struct features *)0)->dense) == 48, "layout of the ring");
static_assert(ROLLOUT_BYTES == 88, "layout of the ring");
static_assert(sizeof(struct record_rollout) == ROLLOUT_BYTES + 32, "layout of the ring");
static_assert(sizeof(struct way_candidate) == 16, "layout of the ring");

#define DECISION_TEXTS 10U

/* What a reader must know before the arrays. Version 2 had no rollouts and no ways and wrote 0
 * there, versions before 6 no weights of shadows, and versions before 8 the indices of features as
 * they are, so that their rings are read as they are. */
enum { FLAT_ROLLOUT = 1, FLAT_WAY = 2, FLAT_SHADOW = 4, FLAT_PACKED = 8 };
#define WAY_BYTES(count)                                                                           \
    (offsetof(struct way_input, candidates) + (count) * sizeof(struct way_candidate))
struct flat_shape {
    uint16_t candidates;
    uint16_t features; /* Bytes of packed indices, else indices + 1; 0: none were made. */
    uint16_t routed;   /* 1: there is a decision. */
    uint16_t parts;    /* FLAT_* bits of what there is. */
};

static_assert(DECISION_BYTES + sizeof(struct flat_shape) + sizeof(struct record_rollout) +
                      WAY_BYTES(POLICY_CANDIDATES_MAX) + RECORD_ACCOUNTS_MAX * 8 +
                      RECORD_CHARGES_MAX * sizeof(struct record_charge) + FEATURES_DENSE * 2 +
                      RECORD_INDICES_MAX + 8 + ROUTED_BYTES +
                      POLICY_CANDIDATES_MAX *
                          (sizeof(struct policy_candidate) + sizeof(struct policy_row) + 8) +
                      (DECISION_TEXTS + RECORD_TAGS_MAX + POLICY_CANDIDATES_MAX) *
                          (2 + FLAT_TEXT_MAX) <=
                  FLAT_DECISION_MAX,
              "FLAT_DECISION_MAX is too small");

/* ---- writing ---- */

struct texts { /* Lengths and bytes are written side by side. */
    uint8_t *len;
    uint8_t *at;
};

static inline struct texts texts_begin(uint8_t *at, size_t count)
{
    return (struct texts){.len = at, .at = at + 2 * count};
}

/* Most texts are short or none; these need no call. */
static inline void copy_text(uint8_t *to, const char *from, size_t len)
{
    typedef uint64_t half __attribute__((vector_size(16)));
    half first, last; /* They overlap. */
    uint64_t a, b;
    uint32_t c, d;
    if (len > 32) {
        memcpy(to, from, len);
    } else if (len >= 16) {
        memcpy(&first, from, 16);
        memcpy(&last, from + len - 16, 16);
        memcpy(to, &first, 16);
        memcpy(to + len - 16, &last, 16);
    } else if (len >= 8) {
        memcpy(&a, from, 8);
        memcpy(&b, from + len - 8, 8);
        memcpy(to, &a, 8);
        memcpy(to + len - 8, &b, 8);
    } else if (len >= 4) {
        memcpy(&c, from, 4);
        memcpy(&d, from + len - 4, 4);
        memcpy(to, &c, 4);
        memcpy(to + len - 4, &d, 4);
    } else {
        for (size_t i = 0; i < len; i++)
            to[i] = (uint8_t)from[i];
    }
}

static inline void put_text(struct texts *t, struct str s, size_t max)
{
    uint16_t len = (uint16_t)(s.len < max ? s.len : max);
    memcpy(t->len, &len, 2);
    t->len += 2;
    if (len == 0)
        return;
    copy_text(t->at, s.data, len);
    t->at += len;
}

static inline uint8_t *put_block(uint8_t *at, const void *data, size_t len)
{
    memcpy(at, data, len);
    return at + len;
}

uint8_t *flat_put_decision(uint8_t *at, const struct record_decision *d)
{
    uint32_t count = d->decision != NULL ? d->decision->count : 0;
    const bool shadow = d->rollout != NULL && d->rollout->has_shadow != 0;
    struct flat_shape shape = {
        .candidates = (uint16_t)count,
        .routed = d->decision != NULL,
        .parts =
            (uint16_t)((d->rollout != NULL ? FLAT_ROLLOUT : 0) | (d->way != NULL ? FLAT_WAY : 0) |
                       (shadow ? FLAT_SHADOW : 0) | (d->features != NULL ? FLAT_PACKED : 0)),
    };
    at = put_block(at, d, DECISION_BYTES);
    uint8_t *const shape_at = at;
    at += sizeof(shape);
    if (d->rollout != NULL)
        at = put_block(at, d->rollout, shadow ? sizeof(*d->rollout) : ROLLOUT_BYTES);
    if (d->way != NULL)
        at = put_block(at, d->way, WAY_BYTES(d->way->count));
    if (d->account_count > 0)
        at = put_block(at, d->accounts, 8 * (size_t)d->account_count);
    if (d->charge_count > 0)
        at = put_block(at, d->charges, d->charge_count * sizeof(d->charges[0]));
    if (d->features != NULL) {
        at = put_block(at, d->features->dense, sizeof(d->features->dense));
        shape.features = (uint16_t)record_write_indices(d->features, at);
        at += shape.features;
    }
    memcpy(shape_at, &shape, sizeof(shape));
    if (d->decision != NULL)
        at = put_block(at, d->decision, ROUTED_BYTES);
    if (count > 0) {
        at = put_block(at, d->candidates, count * sizeof(d->candidates[0]));
        at = put_block(at, d->decision->row, count * sizeof(d->decision->row[0]));
        for (uint32_t i = 0; i < count; i++)
            at = put_block(at, &d->models[i].price_id, 8);
    }
    struct texts t = texts_begin(at, DECISION_TEXTS + d->tag_count + count);
    put_text(&t, d->conv_hash, FLAT_TEXT_MAX);
    put_text(&t, d->text_hash, FLAT_TEXT_MAX);
    put_text(&t, d->alias, FLAT_TEXT_MAX);
    put_text(&t, d->policy_version, FLAT_TEXT_MAX);
    put_text(&t, d->params_sha, FLAT_TEXT_MAX);
    put_text(&t, d->endpoint, FLAT_TEXT_MAX);
    put_text(&t, d->client_request_id, FLAT_TEXT_MAX);
    put_text(&t, d->route, FLAT_TEXT_MAX);
    put_text(&t, d->task, FLAT_TEXT_MAX);
    put_text(&t, d->client_nonce, FLAT_TEXT_MAX);
    for (uint32_t i = 0; i < d->tag_count; i++)
        put_text(&t, d->tags[i], FLAT_TEXT_MAX);
    for (uint32_t i = 0; i < count; i++)
        put_text(&t, d->models[i].model, FLAT_TEXT_MAX);
    return t.at;
}

/* Charges + 1, or 0; a bit that a fingerprint and its text follow, which versions before 6 never
 * set, and one that a struct picked follows, before 7; in the upper half, where versions before 4
 * wrote 0, tokens kept an hour. */
#define ATTEMPT_HOUR_SHIFT 32
#define ATTEMPT_PRINT      (UINT64_C(1) << 31)
#define ATTEMPT_PICKED     (UINT64_C(1) << 30)

uint8_t *flat_put_attempt(uint8_t *at, const struct record_attempt *a)
{
    uint64_t charges = a->held != NULL ? a->held->charge_count + UINT64_C(1) : 0;
    uint64_t word = charges | (uint64_t)a->tokens_cache_write_1h << ATTEMPT_HOUR_SHIFT;
    const bool print = a->fingerprint != 0;
    word |= print ? ATTEMPT_PRINT : 0;
    word |= a->picked.place != 0 ? ATTEMPT_PICKED : 0;
    at = put_block(at, a, ATTEMPT_BYTES);
    at = put_block(at, &word, 8);
    if (charges != 0) {
        at = put_block(at, &a->held->reserved_nanousd, 8);
        at = put_block(at, a->held->charges, (charges - 1) * sizeof(a->held->charges[0]));
    }
    if (print)
        at = put_block(at, &a->fingerprint, 8);
    if (a->picked.place != 0)
        at = put_block(at, &a->picked, sizeof(a->picked));
    struct texts t = texts_begin(at, 2U + print);
    put_text(&t, a->server, FLAT_TEXT_MAX);
    put_text(&t, a->provider_id, FLAT_TEXT_MAX);
    if (print)
        put_text(&t, (struct str){.data = a->fingerprint_text, .len = a->fingerprint_text_len},
                 RECORD_PRINT_BYTES_MAX);
    return t.at;
}

uint8_t *flat_put_outcome(uint8_t *at, const struct record_outcome *o)
{
    at = put_block(at, o, OUTCOME_BYTES);
    struct texts t = texts_begin(at, 2);
    put_text(&t, o->error_code, FLAT_WORD_MAX);
    put_text(&t, o->finish_reason, FLAT_WORD_MAX);
    at = t.at;
    for (uint32_t i = 0; i < o->attempt_count; i++)
        at = flat_put_attempt(at, &o->attempts[i]);
    return at;
}

uint8_t *flat_put_feedback(uint8_t *at, const struct record_feedback *f)
{
    at = put_block(at, f->request_id.bytes, sizeof(f->request_id.bytes));
    at = put_block(at, &f->ts_us, 8);
    at = put_block(at, &f->key_id, 8);
    at = put_block(at, &f->score_q16, 4);
    struct texts t = texts_begin(at, 3);
    put_text(&t, f->source, FLAT_TEXT_MAX);
    put_text(&t, f->label, FLAT_TEXT_MAX);
    put_text(&t, f->comment, RECORD_COMMENT_BYTES_MAX);
    return put_block(t.at, &f->label_prob, 4); /* Last: rings without it are read as they are. */
}

/* ---- reading ---- */

static bool take(struct str *data, void *out, size_t len)
{
    if (data->len < len)
        return false;
    if (len > 0)
        memcpy(out, data->data, len);
    data->data += len;
    data->len -= len;
    return true;
}

/* Lengths of `count` texts stand at *data's start; the texts behind them. */
static bool texts_take(struct str *data, size_t count, struct texts *out)
{
    if (data->len < 2 * count)
        return false;
    uint8_t *start = (uint8_t *)(uintptr_t)data->data; /* Only read. */
    *out = (struct texts){.len = start, .at = start + 2 * count};
    size_t left = data->len - 2 * count;
    for (size_t i = 0; i < count; i++) {
        uint16_t len;
        memcpy(&len, start + 2 * i, 2);
        if (len > left)
            return false;
        left -= len;
    }
    data->data += data->len - left;
    data->len = left;
    return true;
}

static struct str text_next(struct texts *t)
{
    uint16_t len;
    memcpy(&len, t->len, 2);
    struct str s = {.data = (const char *)t->at, .len = len};
    t->len += 2;
    t->at += len;
    return s;
}

static bool take_features(struct str *data, const struct flat_shape *shape,
                          struct flat_scratch *scratch, struct str *out_packed)
{
    struct features *f = &scratch->features;
    if (!take(data, f->dense, sizeof(f->dense)))
        return false;
    if ((shape->parts & FLAT_PACKED) != 0) {
        if (shape->features > RECORD_INDICES_MAX || shape->features > data->len)
            return false;
        *out_packed = str_slice(*data, 0, shape->features);
        *data = str_slice(*data, shape->features, data->len);
        return true;
    }
    if (shape->features > FEATURES_SPARSE_MAX + 1)
        return false;
    f->n = (uint16_t)(shape->features - 1);
    if (!take(data, f->index, 2 * (size_t)f->n))
        return false;
    *out_packed = (struct str){.data = (const char *)scratch->packed,
                               .len = record_write_indices(f, scratch->packed)};
    return true;
}

static bool take_routed(struct str *data, uint32_t count, struct flat_scratch *scratch)
{
    struct policy_decision *routed = &scratch->decision;
    if (!take(data, routed, ROUTED_BYTES) || routed->count != count ||
        routed->fallback_count > POLICY_CANDIDATES_MAX)
        return false;
    if (!take(data, scratch->candidates, count * sizeof(scratch->candidates[0])) ||
        !take(data, routed->row, count * sizeof(routed->row[0])))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!take(data, &scratch->models[i].price_id, 8))
            return false;
    return true;
}

bool flat_take_decision(struct str *data, struct flat_scratch *scratch, struct record_decision *d)
{
    struct flat_shape shape;
    memset(d, 0, sizeof(*d));
    if (!take(data, d, DECISION_BYTES) || !take(data, &shape, sizeof(shape)) ||
        d->account_count > RECORD_ACCOUNTS_MAX || d->charge_count > RECORD_CHARGES_MAX ||
        d->tag_count > RECORD_TAGS_MAX || shape.candidates > POLICY_CANDIDATES_MAX ||
        shape.routed > 1 || (shape.candidates > 0 && shape.routed == 0) ||
        shape.parts > (FLAT_ROLLOUT | FLAT_WAY | FLAT_SHADOW | FLAT_PACKED) ||
        ((shape.parts & FLAT_PACKED) != 0 && shape.features == 0) ||
        (shape.parts & (FLAT_ROLLOUT | FLAT_SHADOW)) == FLAT_SHADOW)
        return false;
    if ((shape.parts & FLAT_ROLLOUT) != 0) {
        const bool shadow = (shape.parts & FLAT_SHADOW) != 0;
        memset(&scratch->rollout, 0, sizeof(scratch->rollout));
        if (!take(data, &scratch->rollout, shadow ? sizeof(scratch->rollout) : ROLLOUT_BYTES))
            return false;
        d->rollout = &scratch->rollout;
    }
    if ((shape.parts & FLAT_WAY) != 0) {
        if (!take(data, &scratch->way, WAY_BYTES(shape.candidates)) ||
            scratch->way.count != shape.candidates)
            return false;
        d->way = &scratch->way;
    }
    if (!take(data, scratch->accounts, 8 * (size_t)d->account_count))
        return false;
    d->accounts = scratch->accounts;
    if (!take(data, scratch->charges, d->charge_count * sizeof(scratch->charges[0])))
        return false;
    d->charges = scratch->charges;
    if (shape.features != 0) {
        if (!take_features(data, &shape, scratch, &d->packed_features))
            return false;
        d->features = &scratch->features;
    }
    if (shape.routed != 0) {
        if (!take_routed(data, shape.candidates, scratch))
            return false;
        d->candidates = scratch->candidates;
        d->models = scratch->models;
        d->decision = &scratch->decision;
    }
    struct texts t;
    if (!texts_take(data, DECISION_TEXTS + d->tag_count + shape.candidates, &t))
        return false;
    d->conv_hash = text_next(&t);
    d->text_hash = text_next(&t);
    d->alias = text_next(&t);
    d->policy_version = text_next(&t);
    d->params_sha = text_next(&t);
    d->endpoint = text_next(&t);
    d->client_request_id = text_next(&t);
    d->route = text_next(&t);
    d->task = text_next(&t);
    d->client_nonce = text_next(&t);
    d->tags = scratch->tags;
    for (uint32_t i = 0; i < d->tag_count; i++)
        scratch->tags[i] = text_next(&t);
    for (uint32_t i = 0; i < shape.candidates; i++)
        scratch->models[i].model = text_next(&t);
    return true;
}

static bool take_held(struct str *data, uint64_t count, struct record_held *held)
{
    if (count > RECORD_GROUP_MAX)
        return false;
    held->charge_count = (uint32_t)count;
    return take(data, &held->reserved_nanousd, 8) &&
           take(data, held->charges, count * sizeof(held->charges[0]));
}

bool flat_take_attempt(struct str *data, struct record_held *held, struct record_attempt *a)
{
    struct texts t;
    uint64_t charges;
    memset(a, 0, sizeof(*a));
    if (!take(data, a, ATTEMPT_BYTES) || !take(data, &charges, 8))
        return false;
    a->tokens_cache_write_1h = (uint32_t)(charges >> ATTEMPT_HOUR_SHIFT);
    const bool print = (charges & ATTEMPT_PRINT) != 0;
    const bool picked = (charges & ATTEMPT_PICKED) != 0;
    charges &= ATTEMPT_PICKED - 1;
    if (charges != 0) {
        if (!take_held(data, charges - 1, held))
            return false;
        a->held = held;
    }
    if ((print && !take(data, &a->fingerprint, 8)) ||
        (picked && !take(data, &a->picked, sizeof(a->picked))) || !texts_take(data, 2U + print, &t))
        return false;
    a->server = text_next(&t);
    a->provider_id = text_next(&t);
    if (print) {
        struct str text = text_next(&t);
        a->fingerprint_text = text.data;
        a->fingerprint_text_len = (uint32_t)text.len;
    }
    return true;
}

bool flat_take_outcome(struct str *data, struct flat_scratch *scratch, struct record_outcome *o)
{
    struct texts t;
    memset(o, 0, sizeof(*o));
    if (!take(data, o, OUTCOME_BYTES) || o->attempt_count > RECORD_ATTEMPTS_MAX ||
        !texts_take(data, 2, &t))
        return false;
    o->error_code = text_next(&t);
    o->finish_reason = text_next(&t);
    o->attempts = scratch->attempts;
    for (uint32_t i = 0; i < o->attempt_count; i++)
        if (!flat_take_attempt(data, &scratch->held[i], &scratch->attempts[i]))
            return false;
    return true;
}

bool flat_take_feedback(struct str *data, struct record_feedback *f)
{
    struct texts t;
    memset(f, 0, sizeof(*f));
    if (!take(data, f->request_id.bytes, sizeof(f->request_id.bytes)) ||
        !take(data, &f->ts_us, 8) || !take(data, &f->key_id, 8) || !take(data, &f->score_q16, 4) ||
        !texts_take(data, 3, &t))
        return false;
    f->source = text_next(&t);
    f->label = text_next(&t);
    f->comment = text_next(&t);
    return data->len == 0 || take(data, &f->label_prob, 4);
}

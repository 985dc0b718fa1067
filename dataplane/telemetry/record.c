/* Packs by hand, without allocating: on the spool's writer thread this is most of what a record
 * costs. Numbers are written in runs: room is looked at once for a run, and where it has come to
 * stays in a register. Fields of one part are written in ascending order of their numbers, defaults
 * are left out, as protobuf-c packs; a test unpacks the result and compares every field. */
#include "dataplane/telemetry/record.h"

#include <endian.h>
#include <string.h>

#include "common/base/varint.h"
#include "dataplane/telemetry/record_indices.h"

struct writer {
    uint8_t *at;
    uint8_t *end;
    bool full;
};

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

#define TAG_AND_VARINT_MAX 12 /* Fields stay below 2048. */

static inline bool has_room(struct writer *w, size_t len)
{
    if ((size_t)(w->end - w->at) >= len)
        return true;
    w->full = true;
    return false;
}

/* ---- in a run: the caller made room for TAG_AND_VARINT_MAX a field; all return the end ---- */

static inline uint8_t *write_tag(uint8_t *at, uint32_t field, enum wire_type type)
{
    uint32_t tag = field << 3 | (uint32_t)type;
    if (tag < 0x80) {
        *at = (uint8_t)tag;
        return at + 1;
    }
    const uint16_t two = htole16((uint16_t)((tag & 0x7f) | 0x80 | tag >> 7 << 8)); /* One store. */
    memcpy(at, &two, sizeof(two));
    return at + 2;
}

static inline uint8_t *write_u64(uint8_t *at, uint32_t field, uint64_t v)
{
    return v == 0 ? at : varint_write(write_tag(at, field, WIRE_VARINT), v);
}

static inline uint8_t *write_i64(uint8_t *at, uint32_t field, int64_t v)
{
    return write_u64(at, field, (uint64_t)v);
}

static inline uint64_t zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

static inline uint8_t *write_sint(uint8_t *at, uint32_t field, int64_t v)
{
    return write_u64(at, field, zigzag(v));
}

static inline uint8_t *write_le(uint8_t *at, uint64_t v, size_t bytes)
{
    v = htole64(v);
    memcpy(at, &v, bytes);
    return at + bytes;
}

static inline uint8_t *write_fixed64(uint8_t *at, uint32_t field, uint64_t v)
{
    return v == 0 ? at : write_le(write_tag(at, field, WIRE_FIXED64), v, 8);
}

static inline uint8_t *write_fixed32(uint8_t *at, uint32_t field, uint32_t v)
{
    return v == 0 ? at : write_le(write_tag(at, field, WIRE_FIXED32), v, 4);
}

/* ---- by themselves ---- */

/* Most of what is copied are short texts; these need no call. */
static inline void copy_short(uint8_t *to, const void *from, size_t len)
{
    uint64_t a, b;
    uint32_t c, d;
    const uint8_t *p = from;
    if (len > 16) {
        memcpy(to, p, len);
    } else if (len >= 8) {
        memcpy(&a, p, 8);
        memcpy(&b, p + len - 8, 8);
        memcpy(to, &a, 8);
        memcpy(to + len - 8, &b, 8);
    } else if (len >= 4) {
        memcpy(&c, p, 4);
        memcpy(&d, p + len - 4, 4);
        memcpy(to, &c, 4);
        memcpy(to + len - 4, &d, 4);
    } else {
        for (size_t i = 0; i < len; i++)
            to[i] = p[i];
    }
}

static void put_raw(struct writer *w, const void *data, size_t len)
{
    if (!has_room(w, len))
        return;
    copy_short(w->at, data, len);
    w->at += len;
}

/* Tag and length of what follows. */
static void put_head(struct writer *w, uint32_t field, size_t len)
{
    if (!has_room(w, TAG_AND_VARINT_MAX))
        return;
    w->at = varint_write(write_tag(w->at, field, WIRE_BYTES), len);
}

static void put_bytes(struct writer *w, uint32_t field, const void *data, size_t len)
{
    if (len == 0)
        return;
    put_head(w, field, len);
    put_raw(w, data, len);
}

static void put_blob(struct writer *w, uint32_t field, struct str s)
{
    put_bytes(w, field, s.data, s.len > RECORD_TEXT_BYTES_MAX ? RECORD_TEXT_BYTES_MAX : s.len);
}

/* Length of the UTF-8 character at the start of s (RFC 3629), 0 when it is none. */
static size_t utf8_len(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.data;
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (n > s.len || !str_valid_utf8(str_slice(s, 0, n)))
        return 0;
    return n;
}

/* Copies s and says whether all of it is ASCII. */
static bool copy_ascii(uint8_t *to, struct str s)
{
    typedef uint64_t half __attribute__((vector_size(16)));
    half both = {0, 0}, some;
    uint64_t high = 0, first, last;
    uint32_t begin, end;
    if (s.len >= 16) {
        for (size_t i = 0; i + 16 <= s.len; i += 16) {
            memcpy(&some, s.data + i, 16);
            memcpy(to + i, &some, 16);
            both |= some;
        }
        memcpy(&some, s.data + s.len - 16, 16); /* The rest with some of what was seen. */
        memcpy(to + s.len - 16, &some, 16);
        both |= some;
        high = both[0] | both[1];
    } else if (s.len >= 8) {
        memcpy(&first, s.data, 8);
        memcpy(&last, s.data + s.len - 8, 8);
        memcpy(to, &first, 8);
        memcpy(to + s.len - 8, &last, 8);
        high = first | last;
    } else if (s.len >= 4) {
        memcpy(&begin, s.data, 4);
        memcpy(&end, s.data + s.len - 4, 4);
        memcpy(to, &begin, 4);
        memcpy(to + s.len - 4, &end, 4);
        high = begin | end;
    } else {
        for (size_t i = 0; i < s.len; i++) {
            to[i] = (uint8_t)s.data[i];
            high |= (uint8_t)s.data[i];
        }
    }
    return (high & UINT64_C(0x8080808080808080)) == 0;
}

/* Cut at a character's boundary; '?' for what is no character. */
static __attribute__((noinline)) void put_odd_text(struct writer *w, uint32_t field, struct str s,
                                                   size_t max)
{
    struct str cut = s;
    if (cut.len > max) {
        cut.len = max;
        while (cut.len > 0 && ((uint8_t)s.data[cut.len] & 0xc0) == 0x80)
            cut.len--;
    }
    put_head(w, field, cut.len);
    if (!has_room(w, cut.len))
        return;
    for (size_t i = 0; i < cut.len && !w->full;) {
        size_t n = utf8_len(str_slice(cut, i, cut.len));
        put_raw(w, n == 0 ? "?" : cut.data + i, n == 0 ? 1 : n);
        i += n == 0 ? 1 : n;
    }
}

/* Nearly all are short and ASCII. */
static inline void put_text_always(struct writer *w, uint32_t field, struct str s, size_t max)
{
    if (s.len <= max && (size_t)(w->end - w->at) >= TAG_AND_VARINT_MAX + s.len) {
        uint8_t *at = varint_write(write_tag(w->at, field, WIRE_BYTES), s.len);
        if (copy_ascii(at, s)) {
            w->at = at + s.len;
            return;
        }
    }
    put_odd_text(w, field, s, max);
}

static void put_text(struct writer *w, uint32_t field, struct str s)
{
    if (s.len > 0)
        put_text_always(w, field, s, RECORD_TEXT_BYTES_MAX);
}

/* A sub-message: `bytes` (1 or 2) are kept for its length, which is patched in afterwards; when it
 * needs another number of them, its contents are moved. */
static uint8_t *message_begin(struct writer *w, uint32_t field, uint32_t bytes)
{
    if (!has_room(w, TAG_AND_VARINT_MAX))
        return w->at;
    uint8_t *len = write_tag(w->at, field, WIRE_BYTES);
    w->at = len + bytes;
    return len;
}

static __attribute__((noinline)) void message_end_moved(struct writer *w, uint8_t *len,
                                                        uint32_t bytes)
{
    size_t n = (size_t)(w->at - len) - bytes;
    uint32_t need = n < 0x80 ? 1 : n < 0x4000 ? 2 : 3;
    if (need > bytes && !has_room(w, need - bytes))
        return;
    memmove(len + need, len + bytes, n);
    w->at = varint_write(len, n) + n;
}

static inline void message_end(struct writer *w, uint8_t *len, uint32_t bytes)
{
    if (w->full)
        return;
    size_t n = (size_t)(w->at - len) - bytes;
    if (bytes == 1 ? n < 0x80 : n >= 0x80 && n < 0x4000)
        (void)varint_write(len, n);
    else
        message_end_moved(w, len, bytes);
}

static void put_positions(struct writer *w, uint32_t field, const uint8_t *values, uint32_t count)
{
    if (count == 0)
        return;
    uint8_t *len = message_begin(w, field, 1);
    for (uint32_t i = 0; i < count && has_room(w, TAG_AND_VARINT_MAX); i++)
        w->at = varint_write(w->at, values[i]);
    message_end(w, len, 1);
}

/* What the way looked at is in the candidates' own rows where the policy works it out. */
static bool has_measure(uint32_t way)
{
    return way == WAY_ROUND_ROBIN || way == WAY_LEAST_BUSY || way == WAY_USAGE_BASED;
}

static void put_way(struct writer *w, const struct way_input *way)
{
    if (!has_room(w, TAG_AND_VARINT_MAX))
        return;
    w->at = write_u64(w->at, 80, way->way);
    for (uint32_t field = has_measure(way->way) ? 81 : 82; field <= 83; field++) {
        uint8_t *len = message_begin(w, field, 1);
        for (uint32_t i = 0; i < way->count && has_room(w, TAG_AND_VARINT_MAX); i++) {
            const struct way_candidate *c = &way->candidates[i];
            const uint64_t zigzag = (uint64_t)c->measure << 1 ^ (uint64_t)(c->measure >> 63);
            w->at = varint_write(w->at, field == 81   ? zigzag
                                        : field == 82 ? c->weight
                                                      : c->priority);
        }
        message_end(w, len, 1);
    }
}

static void put_accounts(struct writer *w, const struct record_decision *d)
{
    if (d->account_count == 0)
        return;
    size_t len = 8U * (size_t)d->account_count;
    put_head(w, 6, len);
    if (!has_room(w, len))
        return;
    uint8_t *at = w->at;
    for (uint32_t i = 0; i < d->account_count; i++)
        at = write_le(at, d->accounts[i], 8);
    w->at = at;
}

static void put_dense(struct writer *w, const struct features *f)
{
    uint8_t *len = message_begin(w, 25, 1);
    if (!has_room(w, RECORD_DENSE_MAX))
        return;
    w->at += record_write_dense(f->dense, w->at);
    message_end(w, len, 1);
}

static void put_candidate(struct writer *w, const struct policy_candidate *c,
                          const struct record_candidate *m, const struct policy_row *r)
{
    uint8_t *len = message_begin(w, 30, 1);
    if (!has_room(w, 21 * TAG_AND_VARINT_MAX))
        return;
    uint8_t *at = w->at;
    at = write_u64(at, 1, (uint64_t)(c->ordinal + 1)); /* POLICY_UNKNOWN_MODEL is -1. */
    at = write_sint(at, 2, r->z);
    at = write_u64(at, 3, r->q);
    at = write_u64(at, 4, r->out_tok);
    at = write_i64(at, 5, r->cost);
    at = write_u64(at, 6, r->lat_ms);
    at = write_sint(at, 7, r->u);
    at = write_u64(at, 8, r->excl);
    at = write_fixed32(at, 9, r->p);
    at = write_u64(at, 10, c->live);
    at = write_u64(at, 11, c->ttft_est_ms);
    at = write_u64(at, 12, c->tpot_est_us);
    at = write_u64(at, 13, m->price_id);
    at = write_i64(at, 14, c->price_in);
    at = write_i64(at, 15, c->price_out);
    if (c->prior_q16 != POLICY_NO_PRIOR)
        at = write_u64(at, 16, c->prior_q16);
    at = write_u64(at, 17, c->prior_out);
    at = write_u64(at, 18, c->domain);
    at = write_u64(at, 19, c->max_out);
    if (c->cached_tokens != 0) {
        at = write_u64(at, 20, c->cached_tokens);
        at = write_i64(at, 21, c->price_cached);
    }
    w->at = at;
    message_end(w, len, 1);
}

static void put_charges(struct writer *w, uint32_t field, const struct record_charge *charges,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *len = message_begin(w, field, 1);
        if (!has_room(w, 3 * TAG_AND_VARINT_MAX))
            return;
        uint8_t *at = write_fixed64(w->at, 1, charges[i].budget);
        at = write_i64(at, 2, charges[i].period_start_us);
        w->at = write_u64(at, 3, charges[i].cfg);
        message_end(w, len, 1);
    }
}

static void put_picked(struct writer *w, const struct picked *p)
{
    if (!has_room(w, 7 * TAG_AND_VARINT_MAX))
        return;
    uint8_t *at = w->at;
    at = write_u64(at, 30, p->place);
    at = write_u64(at, 31, p->deployments);
    at = write_fixed64(at, 32, p->usable);
    at = write_u64(at, 33, p->equals);
    at = write_u64(at, 34, p->by);
    at = write_u64(at, 35, p->passed);
    w->at = write_fixed64(at, 36, p->notes);
}

static void put_attempt_fields(struct writer *w, const struct record_attempt *a, uint32_t endpoint)
{
    if (!has_room(w, 7 * TAG_AND_VARINT_MAX))
        return;
    uint8_t *at = w->at;
    at = write_u64(at, 1, a->model);
    at = write_u64(at, 2, endpoint);
    at = write_i64(at, 3, a->start_us);
    at = write_u64(at, 4, a->ttft_ms);
    at = write_u64(at, 5, a->total_ms);
    at = write_u64(at, 6, a->status);
    w->at = write_u64(at, 7, (uint64_t)a->reason);
    put_text(w, 8, a->provider_id);
    if (!has_room(w, 10 * TAG_AND_VARINT_MAX))
        return;
    at = w->at;
    at = write_u64(at, 9, a->tokens_in);
    at = write_u64(at, 10, a->tokens_out);
    at = write_u64(at, 11, a->tokens_cached);
    at = write_u64(at, 12, a->tokens_reasoning);
    at = write_u64(at, 13, a->price_id);
    at = write_i64(at, 14, a->cost_nanousd);
    at = write_u64(at, 15, a->flags);
    at = write_u64(at, 16, a->tokens_cache_write);
    at = write_u64(at, 17, a->usage);
    at = write_u64(at, 20, a->tokens_cache_write_1h);
    w->at = at;
    if (a->held != NULL) {
        w->at = write_i64(at, 18, a->held->reserved_nanousd);
        put_charges(w, 19, a->held->charges, a->held->charge_count);
    }
    if (a->fingerprint != 0 && has_room(w, TAG_AND_VARINT_MAX)) {
        w->at = write_fixed64(w->at, 24, a->fingerprint);
        put_text(w, 25, (struct str){.data = a->fingerprint_text, .len = a->fingerprint_text_len});
    }
    if (a->picked.place != 0)
        put_picked(w, &a->picked);
}

/* Attempts at one deployment share one entry of `servers`. */
static uint32_t first_at_server(const struct record_outcome *o, uint32_t attempt)
{
    uint32_t i = 0;
    while (i < attempt && !str_eq(o->attempts[i].server, o->attempts[attempt].server))
        i++;
    return i;
}

static uint32_t server_index(const struct record_outcome *o, uint32_t attempt)
{
    uint32_t first = first_at_server(o, attempt);
    uint32_t index = 0;
    for (uint32_t i = 0; i < first; i++)
        index += first_at_server(o, i) == i;
    return index;
}

static void put_shadow(struct writer *w, const struct record_rollout *r)
{
    uint8_t *len = message_begin(w, 36, 1);
    put_bytes(w, 1, r->shadow_params_sha, sizeof(r->shadow_params_sha));
    if (!has_room(w, 9 * TAG_AND_VARINT_MAX))
        return;
    uint8_t *at = write_u64(w->at, 2, r->shadow_chosen);
    at = write_u64(at, 3, r->shadow_q);
    at = write_i64(at, 4, r->shadow_cost_nanousd);
    at = write_u64(at, 5, r->shadow_excl_any);
    at = write_sint(at, 6, r->shadow_lambda);
    at = write_sint(at, 7, r->shadow_mu);
    at = write_u64(at, 8, r->shadow_floor_q16);
    at = write_u64(at, 9, r->shadow_out_cap);
    w->at = write_u64(at, 10, r->shadow_ranked);
    message_end(w, len, 1);
}

static void put_attempts(struct writer *w, const struct record_outcome *o)
{
    for (uint32_t i = 0; i < o->attempt_count; i++) {
        uint8_t *len = message_begin(w, 37, 1);
        put_attempt_fields(w, &o->attempts[i], server_index(o, i));
        message_end(w, len, 1);
    }
}

static void put_servers(struct writer *w, const struct record_outcome *o)
{
    for (uint32_t i = 0; i < o->attempt_count; i++)
        if (first_at_server(o, i) == i)
            put_text_always(w, 51, o->attempts[i].server, RECORD_TEXT_BYTES_MAX);
}

static void put_identity(struct writer *w, const struct record_decision *d)
{
    put_bytes(w, 1, d->request_id.bytes, sizeof(d->request_id.bytes));
    if (!has_room(w, 2 * TAG_AND_VARINT_MAX))
        return;
    w->at = write_fixed64(write_i64(w->at, 2, d->ts_us), 5, d->key_id);
    put_accounts(w, d);
    if (!has_room(w, TAG_AND_VARINT_MAX))
        return;
    w->at = write_u64(w->at, 7, d->segment);
    for (uint32_t i = 0; i < d->tag_count; i++)
        put_text_always(w, 8, d->tags[i], RECORD_TEXT_BYTES_MAX);
    put_blob(w, 9, d->conv_hash);
    put_text(w, 10, d->alias);
    put_blob(w, 11, d->policy_version);
    put_blob(w, 12, d->params_sha);
    if (!has_room(w, 10 * TAG_AND_VARINT_MAX))
        return;
    uint8_t *at = w->at;
    at = write_u64(at, 14, d->era);
    at = write_u64(at, 15, d->generation);
    at = write_u64(at, 16, FEATURES_SPEC);
    at = write_u64(at, 17, d->hash_key_id);
    if (d->rollout != NULL) {
        at = write_fixed64(at, 18, d->rollout->id);
        at = write_u64(at, 19, d->rollout->stage);
        at = write_u64(at, 20, d->rollout->arm);
        at = write_u64(at, 21, d->rollout->slot);
    }
    at = write_u64(at, 22, d->config_age_s);
    w->at = write_sint(at, 23, d->ts_correction_us);
}

static void put_request(struct writer *w, const struct record_decision *d)
{
    put_text(w, 52, d->endpoint);
    put_text(w, 53, d->client_request_id);
    put_text(w, 60, d->route);
    if (!has_room(w, 2 * TAG_AND_VARINT_MAX))
        return;
    w->at = write_sint(write_sint(w->at, 61, d->lambda), 62, d->mu);
    put_text(w, 63, d->task);
    if (!has_room(w, TAG_AND_VARINT_MAX))
        return;
    w->at = write_u64(w->at, 64, d->t_out_cap);
    put_blob(w, 65, d->client_nonce);
    if (!has_room(w, 4 * TAG_AND_VARINT_MAX))
        return;
    uint8_t *at = w->at;
    at = write_u64(at, 66, d->floor_q16);
    at = write_sint(at, 67, d->max_cost_nanousd);
    at = write_u64(at, 68, d->max_latency_ms);
    w->at = write_u64(at, 69, d->explore != 0 ? 1 : 0);
    put_charges(w, 70, d->charges, d->charge_count);
    if (!has_room(w, 3 * TAG_AND_VARINT_MAX))
        return;
    w->at = write_u64(write_fixed64(w->at, 71, d->lease_epoch), 72, d->pressure_q16);
    if (d->rollout != NULL)
        w->at = write_fixed64(w->at, 73, d->rollout->unit);
}

static int finish(const struct writer *w, const uint8_t *out, size_t *out_len)
{
    if (w->full)
        return ERR_TOO_LARGE;
    *out_len = (size_t)(w->at - out);
    return 0;
}

int record_encode_decision(const struct record_decision *d, enum record_detail detail, uint8_t *out,
                           size_t cap, size_t *out_len)
{
    uint32_t count = d->decision != NULL ? d->decision->count : 0;
    if (d->tag_count > RECORD_TAGS_MAX || d->account_count > RECORD_ACCOUNTS_MAX ||
        d->charge_count > RECORD_CHARGES_MAX || count > POLICY_CANDIDATES_MAX ||
        (d->way != NULL && d->way->count != count) ||
        (d->features != NULL && d->packed_features.len == 0))
        return ERR_INVALID;
    struct writer w = {.at = out, .end = out + cap};
    bool drop = detail == RECORD_NO_FEATURES && d->features != NULL;
    put_identity(&w, d);
    if (d->features != NULL && !drop)
        put_dense(&w, d->features);
    if (!has_room(&w, 3 * TAG_AND_VARINT_MAX))
        return ERR_TOO_LARGE;
    w.at = write_u64(w.at, 26, d->t_in);
    w.at = write_sint(w.at, 27, d->pref);
    w.at = write_sint(w.at, 29, d->budget_clamp);
    for (uint32_t i = 0; i < count; i++)
        put_candidate(&w, &d->candidates[i], &d->models[i], &d->decision->row[i]);
    if (!has_room(&w, 4 * TAG_AND_VARINT_MAX))
        return ERR_TOO_LARGE;
    if (d->decision != NULL) {
        w.at = write_u64(w.at, 31, d->decision->greedy);
        w.at = write_fixed32(w.at, 32, d->decision->draw);
        w.at = write_u64(w.at, 33, d->decision->chosen);
    }
    w.at = write_u64(w.at, 34, d->flags | (drop ? RECORD_FLAG_FEATURES_DROPPED : 0));
    if (d->decision != NULL)
        put_positions(&w, 35, d->decision->fallback, d->decision->fallback_count);
    if (d->rollout != NULL && d->rollout->has_shadow != 0)
        put_shadow(&w, d->rollout);
    if (!has_room(&w, TAG_AND_VARINT_MAX))
        return ERR_TOO_LARGE;
    w.at = write_i64(w.at, 41, d->reserved_nanousd);
    put_blob(&w, 42, d->text_hash);
    for (uint32_t i = 0; i < count; i++)
        put_text_always(&w, 50, d->models[i].model, RECORD_TEXT_BYTES_MAX);
    put_request(&w, d);
    if (d->features != NULL && !drop)
        put_bytes(&w, 74, d->packed_features.data, d->packed_features.len);
    if (d->way != NULL)
        put_way(&w, d->way);
    return finish(&w, out, out_len);
}

int record_encode_outcome(const struct record_outcome *o, uint32_t more_flags, uint8_t *out,
                          size_t cap, size_t *out_len)
{
    if (o->attempt_count > RECORD_ATTEMPTS_MAX)
        return ERR_INVALID;
    struct writer w = {.at = out, .end = out + cap};
    if (!has_room(&w, TAG_AND_VARINT_MAX))
        return ERR_TOO_LARGE;
    /* Also 0: it replaces the decision's. */
    w.at = varint_write(write_tag(w.at, 34, WIRE_VARINT), o->flags | more_flags);
    put_attempts(&w, o);
    if (!has_room(&w, 3 * TAG_AND_VARINT_MAX))
        return ERR_TOO_LARGE;
    w.at = write_u64(w.at, 38, (uint64_t)o->status);
    w.at = write_u64(w.at, 39, o->served);
    w.at = write_i64(w.at, 40, o->cost_nanousd);
    put_servers(&w, o);
    if (!has_room(&w, TAG_AND_VARINT_MAX))
        return ERR_TOO_LARGE;
    w.at = write_u64(w.at, 54, o->http_status);
    put_text(&w, 55, o->error_code);
    put_text(&w, 56, o->finish_reason);
    if (!has_room(&w, 3 * TAG_AND_VARINT_MAX))
        return ERR_TOO_LARGE;
    w.at = write_u64(w.at, 57, o->ttft_ms);
    w.at = write_u64(w.at, 58, o->duration_ms);
    w.at = write_u64(w.at, 59, o->overhead_us);
    return finish(&w, out, out_len);
}

int record_encode_attempt(const struct record_attempt *a, uint8_t *out, size_t cap, size_t *out_len)
{
    struct writer w = {.at = out, .end = out + cap};
    put_attempt_fields(&w, a, 0);
    return finish(&w, out, out_len);
}

int record_encode_feedback(const struct record_feedback *f, uint8_t *out, size_t cap,
                           size_t *out_len)
{
    struct writer w = {.at = out, .end = out + cap};
    put_bytes(&w, 1, f->request_id.bytes, sizeof(f->request_id.bytes));
    if (!has_room(&w, 2 * TAG_AND_VARINT_MAX))
        return ERR_TOO_LARGE;
    w.at = write_fixed64(write_i64(w.at, 2, f->ts_us), 3, f->key_id);
    put_text(&w, 4, f->source);
    if (!has_room(&w, TAG_AND_VARINT_MAX))
        return ERR_TOO_LARGE;
    w.at = write_sint(w.at, 5, f->score_q16);
    put_text(&w, 6, f->label);
    put_bytes(&w, 7, f->comment.data,
              f->comment.len > RECORD_COMMENT_BYTES_MAX ? RECORD_COMMENT_BYTES_MAX
                                                        : f->comment.len);
    if (!has_room(&w, TAG_AND_VARINT_MAX))
        return ERR_TOO_LARGE;
    w.at = write_fixed32(w.at, 8, f->label_prob);
    return finish(&w, out, out_len);
}

int record_encode_gap(uint64_t from, uint64_t to, const char *reason, uint8_t *out, size_t cap,
                      size_t *out_len)
{
    struct writer w = {.at = out, .end = out + cap};
    if (!has_room(&w, 2 * TAG_AND_VARINT_MAX))
        return ERR_TOO_LARGE;
    w.at = write_u64(write_u64(w.at, 1, from), 2, to);
    put_text(&w, 3, str_from(reason));
    return finish(&w, out, out_len);
}

uint32_t record_flags_from_policy(uint32_t policy_flags)
{
    uint32_t flags = 0;
    if ((policy_flags & POLICY_FLAG_EXPLORED) != 0)
        flags |= RECORD_FLAG_EXPLORED;
    if ((policy_flags & POLICY_FLAG_STICKY) != 0)
        flags |= RECORD_FLAG_STICKY;
    if ((policy_flags & POLICY_FLAG_NO_POLICY) != 0)
        flags |= RECORD_FLAG_NO_POLICY;
    return flags;
}

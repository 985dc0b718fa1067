/* POST /v1/feedback: a score for one of the key's own decisions. The decision id proves itself
 * (common/crypto/uuid.h), so no node needs to know the decision; a vote this node still remembers
 * is refused, all others are for the control plane to tell apart (first one wins). */
#include <string.h>

#include "common/base/clock.h"
#include "dataplane/request/answer.h"
#include "dataplane/request/steps.h"

#define LABEL_BYTES_MAX 64

struct vote {
    struct record_feedback record;
    bool has_id;
    bool has_score;
};

static enum step_result bad(struct request *r, uint32_t node)
{
    char path[JSON_PATH_BYTES];
    json_path(&r->env->json, node, path);
    r->detail.param = arena_copy(&r->arena, str_from(path));
    return request_fail(r, FAULT_BAD_FIELD);
}

static enum step_result read_id(struct request *r, uint32_t node, struct vote *v)
{
    struct str text;
    if (json_text(&r->env->json, node, &r->arena, &text) != 0)
        return bad(r, node);
    v->has_id = true;
    if (uuid_parse(text, &v->record.request_id) != 0 ||
        !uuid_signed_by(&v->record.request_id, r->identity->id,
                        r->snapshot->limits.decision_id_key))
        return request_fail(r, FAULT_DECISION_NOT_FOUND);
    return STEP_NEXT;
}

static enum step_result read_score(struct request *r, uint32_t node, struct vote *v)
{
    int64_t millionths;
    bool exact;
    if (json_fixed(&r->env->json, node, 6, &millionths, &exact) != 0 || millionths < 0 ||
        millionths > 1000000)
        return bad(r, node);
    v->record.score_q16 = (int32_t)(millionths * 65536 / 1000000);
    v->has_score = true;
    return STEP_NEXT;
}

static const struct {
    const char *label;
    int32_t score_q16;
} labels[] = {
    {"good", 65536}, {"up", 65536}, {"pass", 65536}, {"correct", 65536},
    {"bad", 0},      {"down", 0},   {"fail", 0},     {"incorrect", 0},
};

static enum step_result read_label(struct request *r, uint32_t node, struct vote *v)
{
    if (json_text(&r->env->json, node, &r->arena, &v->record.label) != 0 ||
        v->record.label.len == 0 || v->record.label.len > LABEL_BYTES_MAX)
        return bad(r, node);
    for (size_t i = 0; i < sizeof labels / sizeof labels[0] && !v->has_score; i++) {
        if (!str_is(v->record.label, labels[i].label))
            continue;
        v->record.score_q16 = labels[i].score_q16;
        v->has_score = true;
    }
    return STEP_NEXT;
}

static enum step_result read_source(struct request *r, uint32_t node, struct vote *v)
{
    static const char *const sources[] = {"eval", "judge", "thumb", "implicit"};
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        if (!json_string_is(&r->env->json, node, str_from(sources[i])))
            continue;
        v->record.source = str_from(sources[i]);
        return STEP_NEXT;
    }
    return bad(r, node);
}

/* Who asks only some for a label says with what chance this one was asked. Cut to billionths: less
 * than one is none, and nothing above 1 becomes 1. */
static enum step_result read_chance(struct request *r, uint32_t node, struct vote *v)
{
    int64_t billionths;
    bool exact;
    if (json_fixed(&r->env->json, node, 9, &billionths, &exact) != 0 || billionths <= 0 ||
        billionths > 1000000000 || (billionths == 1000000000 && !exact))
        return bad(r, node);
    uint64_t chance = ((uint64_t)billionths << 32) / 1000000000;
    v->record.label_prob = chance > UINT32_MAX ? 0 : (uint32_t)chance; /* 0: always. */
    return STEP_NEXT;
}

static enum step_result read_comment(struct request *r, uint32_t node, struct vote *v)
{
    if (json_text(&r->env->json, node, &r->arena, &v->record.comment) != 0 ||
        v->record.comment.len > RECORD_COMMENT_BYTES_MAX)
        return bad(r, node);
    return STEP_NEXT;
}

/* In this order, so that a label does not override a score. */
static const struct {
    struct str name;
    enum step_result (*read)(struct request *r, uint32_t node, struct vote *v);
} fields[] = {
    {{"decision_id", 11}, read_id},    {{"request_id", 10}, read_id},
    {{"score", 5}, read_score},        {{"label", 5}, read_label},
    {{"source", 6}, read_source},      {{"comment", 7}, read_comment},
    {{"label_prob", 10}, read_chance},
};
#define FIELDS (sizeof fields / sizeof fields[0])

static enum step_result read_vote(struct request *r, struct vote *v)
{
    struct json *j = &r->env->json;
    struct json_error error;
    uint32_t key, value, known = 0;
    if (json_parse(j, r->body, &error) != 0 || json_kind(j, JSON_ROOT) != JSON_OBJECT) {
        r->detail.offset = (int64_t)error.offset;
        return request_fail(r, FAULT_BAD_JSON);
    }
    for (size_t i = 0; i < FIELDS; i++) {
        uint32_t node = json_get(j, JSON_ROOT, fields[i].name);
        if (node == JSON_NONE)
            continue;
        known++;
        if (json_kind(j, node) != JSON_NULL && fields[i].read(r, node, v) == STEP_FAIL)
            return STEP_FAIL;
    }
    if (known != json_count(j, JSON_ROOT)) /* Ours alone: what is not known here is a mistake. */
        for (uint32_t at = 0; json_next_member(j, JSON_ROOT, &at, &key, &value);) {
            size_t i = 0;
            while (i < FIELDS && !json_string_is(j, key, fields[i].name))
                i++;
            if (i == FIELDS)
                return bad(r, value);
        }
    if (!v->has_id || !v->has_score) {
        r->detail.param = v->has_id ? STR("score") : STR("decision_id");
        return request_fail(r, FAULT_MISSING_FIELD);
    }
    return STEP_NEXT;
}

/* At most so many a second and key (B31). */
static bool too_fast(struct request *r)
{
    struct vote_rate *rate = &r->env->vote_rates[r->identity->id % REQUEST_RATE_SLOTS];
    int64_t second = r->start_us / 1000000;
    if (rate->second != second)
        *rate = (struct vote_rate){.second = second};
    return ++rate->count > r->env->shared->settings.feedback_rate;
}

enum step_result step_feedback(struct request *r)
{
    struct vote v = {.record = {.source = STR("eval")}};
    spool_position position;
    uint64_t mark;
    if (r->head->body_encoded || (http1_field_get(r->head, STR("content-type")).data != NULL &&
                                  !http1_content_type_is(r->head, STR("application/json"))))
        return request_fail(r, FAULT_MEDIA_TYPE);
    if (too_fast(r)) {
        meters_reject(&r->env->meters, "rate_limit");
        r->detail.wait_ms = 1000;
        return request_fail(r, FAULT_TOO_MANY_REQUESTS);
    }
    if (read_vote(r, &v) == STEP_FAIL)
        return STEP_FAIL;
    memcpy(&mark, v.record.request_id.bytes + 8, sizeof mark); /* Random and signed bits. */
    _Atomic uint64_t *slot = &r->env->shared->votes[mark % REQUEST_VOTES_SLOTS];
    uint64_t before = atomic_exchange(slot, mark);
    if (before == mark)
        return request_fail(r, FAULT_CONFLICT);
    v.record.ts_us = r->start_us;
    v.record.key_id = r->identity->id;
    if (spool_feedback(r->env->spool, &v.record, &position) != 0) {
        atomic_store(slot, before);
        return request_fail(r, FAULT_SPOOL);
    }
    struct buf body = answer_arena_buf(r, 128);
    char id[UUID_TEXT_BYTES];
    uuid_format(&v.record.request_id, id);
    if (buf_append_text(&body, "{\"object\":\"feedback\",\"decision_id\":\"") != 0 ||
        buf_append_text(&body, id) != 0 || buf_append_text(&body, "\"}") != 0)
        return request_fail(r, FAULT_OVERLOAD);
    r->status = 200;
    r->pieces[0] = buf_str(&body);
    r->piece_count = 1;
    return STEP_NEXT;
}

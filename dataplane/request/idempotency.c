#include "dataplane/request/idempotency.h"

#include <string.h>

#include "dataplane/request/answer.h"
#include "dataplane/request/idempotency_table.h"
#include "dataplane/request/steps.h"

#define RETRY_AFTER_MS 1000

bool idempotency_wanted(const struct request *r)
{
    return r->work->steering.idempotency_key.len > 0 && r->env->shared->idempotency != NULL;
}

/* A path is told by its place in the table of them, which this one does not outlive. */
static struct sha256 digest_name(const struct request *r)
{
    const struct str name = r->work->steering.idempotency_key;
    char text[sizeof r->identity->id + sizeof r->path + STEERING_IDEMPOTENCY_MAX];
    size_t at = sizeof r->identity->id;
    memcpy(text, &r->identity->id, at);
    memcpy(text + at, &r->path, sizeof r->path);
    at += sizeof r->path;
    memcpy(text + at, name.data, name.len);
    return digest_sha256(text, at + name.len);
}

static void count(struct request *r, const char *result, uint64_t n)
{
    const struct str labels[] = {str_from(result)};
    if (n > 0)
        metrics_add(meter(&r->env->meters, METER_IDEMPOTENCY, labels), n);
}

/* The body is another one's now: what it holds stays until the request has ended. */
static void tell(struct request *r)
{
    const struct idempotency_answer *a = idempotency_answer(r->repeat);
    r->repeated = true;
    r->status = a->status;
    r->content_type = a->content_type;
    r->pieces[0] = a->body;
    r->piece_count = 1;
}

enum step_result idempotency_open(struct request *r, bool *out_answered)
{
    uint64_t dropped;
    *out_answered = false;
    const struct sha256 named = digest_name(r);
    const struct sha256 body = digest_sha256(r->body.data, r->body.len);
    const enum idempotency_state state = idempotency_claim(
        r->env->shared->idempotency, &named, &body, r->now_ns / 1000000, &r->repeat, &dropped);
    count(r, "dropped", dropped);
    switch (state) {
    case IDEMPOTENCY_CLAIMED:
        count(r, "first", 1);
        return STEP_NEXT;
    case IDEMPOTENCY_DONE:
        count(r, "told_again", 1);
        *out_answered = true;
        tell(r);
        return STEP_NEXT;
    case IDEMPOTENCY_RUNNING:
        count(r, "running", 1);
        r->detail.wait_ms = RETRY_AFTER_MS;
        return request_fail(r, FAULT_IDEMPOTENCY_RUNNING);
    case IDEMPOTENCY_OTHER:
        count(r, "other_body", 1);
        r->detail.param = STR("idempotency-key");
        return request_fail(r, FAULT_IDEMPOTENCY_BODY);
    case IDEMPOTENCY_FULL:
        break;
    }
    count(r, "full", 1);
    return request_fail(r, FAULT_OVERLOAD);
}

/* In one piece, for it is kept in one; .data NULL: no memory. */
static struct str whole_answer(struct request *r)
{
    size_t total = 0;
    if (r->piece_count == 1)
        return r->pieces[0];
    for (size_t i = 0; i < r->piece_count; i++)
        total += r->pieces[i].len;
    char *text = arena_alloc(&r->arena, total), *at = text;
    for (size_t i = 0; text != NULL && i < r->piece_count; i++) {
        memcpy(at, r->pieces[i].data, r->pieces[i].len);
        at += r->pieces[i].len;
    }
    return (struct str){text, total};
}

void idempotency_note(struct request *r)
{
    uint64_t dropped = 0;
    const struct attempt *a = &r->attempt;
    if (r->repeated || !r->committed || r->fault != FAULT_NONE || r->stream != STREAM_NONE ||
        !a->complete || r->status / 100 != 2 || r->piece_count == 0)
        return;
    const struct idempotency_answer answer = {
        .status = r->status,
        .content_type = r->content_type,
        .decision = {r->id_text, UUID_TEXT_BYTES - 1},
        .policy = answer_policy(r),
        .provider = a->target->deployment->provider->name,
        .model = a->model->id,
        .body = whole_answer(r),
    };
    if (answer.body.data == NULL ||
        idempotency_keep(r->env->shared->idempotency, r->repeat, &answer, &dropped) != 0)
        request_warn(r, "idempotency_not_kept");
    count(r, "dropped", dropped);
}

void idempotency_give(struct request *r)
{
    if (r->repeat == NULL)
        return;
    idempotency_release(r->env->shared->idempotency, r->repeat);
    r->repeat = NULL;
}

const struct idempotency_answer *idempotency_told(const struct request *r)
{
    return r->repeated ? idempotency_answer(r->repeat) : NULL;
}

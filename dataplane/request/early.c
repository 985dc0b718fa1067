#include "dataplane/request/early.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/route/features.h"
#include "dataplane/request/ask.h"
#include "dataplane/request/attempt.h"
#include "dataplane/request/charge.h"
#include "dataplane/request/required.h"
#include "dataplane/request/scan.h"
#include "dataplane/request/steps.h"
#include "dataplane/request/wishes_apply.h"

/* A byte of the worst text, in tokens (tokens.c: punctuation is 160/256). */
#define TOKENS_OF_BYTES(bytes) ((bytes)*160 / 256)

/* ---- may it? ---- */

static struct str named_model(const struct request *r, uint32_t *out_node)
{
    uint32_t key_end;
    const struct json *json = scan_peek(r);
    *out_node = json_scan_member(json, STR("model"), &key_end);
    return *out_node != JSON_NONE ? json_plain(json, *out_node) : STR_NULL;
}

/* All of the model's deployments take a body that grows, so that a retry can follow. */
static bool all_grow(const struct request *r, const struct snapshot_model *m)
{
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct upstream_target *t = upstream_target(r->view, &m->deployments[i]);
        const struct snapshot_provider *p = t->deployment->provider;
        if (t->origin == NULL || t->origin->ops->offer == NULL || !ask_may(r, p) ||
            ask_dialect(r, t->deployment) != r->dialect)
            return false;
    }
    return m->deployment_count > 0;
}

/* What a caller wishes is read when the body is whole. Behind the messages nothing goes before. */
static bool wishes_seen(const struct json *json)
{
    static const struct str names[] = {
        {"models", 6}, {"provider", 8}, {"route", 5}, {"usage", 5}, {"modelPreferences", 16}};
    uint32_t key_end;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)json_scan_member(json, names[i], &key_end);
        if (key_end != 0)
            return true;
    }
    return false;
}

/* What is refused at the end, or decided by more than the name, waits for the end. */
static bool is_pinned(const struct request *r, struct str name)
{
    struct steering steering;
    const char *bad_header;
    const struct snapshot *s = r->snapshot;
    const struct snapshot_model *m = snapshot_model(s, name);
    if (m == NULL || snapshot_route(s, name) != NULL || !snapshot_key_has_model(r->identity, m))
        return false;
    steering_read(r->head, &steering, &bad_header);
    return bad_header == NULL &&
           steering.preferences.len + steering.portkey_config.len + steering.portkey_metadata.len +
                   steering.idempotency_key.len ==
               0 &&
           parse_takes_type(r) && all_grow(r, m) && charge_may_forward(r, m, &steering);
}

bool request_may_forward(struct request *r)
{
    uint32_t node;
    uint64_t least = r->env->shared->settings.forward_early_bytes;
    if (r->early || r->early_declined || r->failed || r->scan == NULL || r->path->asks_only ||
        r->path->adapter != NULL || least == 0 || r->head->content_length <= least ||
        r->env->shedding)
        return false;
    const struct provider_adapter *adapter = request_adapter(r);
    if (adapter->part_end == NULL)
        return false;
    struct str name = named_model(r, &node);
    if (node == JSON_NONE)
        return false;
    const struct json *json = scan_peek(r);
    if (name.len == 0 || name.len > CALL_MODEL_BYTES_MAX || !is_pinned(r, name)) {
        r->early_declined = true;
        return false;
    }
    if (adapter->part_end(json) <= (size_t)(name.data - json->text.data) + name.len)
        return false;
    r->early_declined = wishes_seen(json);
    return !r->early_declined;
}

void request_forward(struct request *r, struct str so_far)
{
    if (scan_feed(r, so_far) || r->scan == NULL) /* Only told that it has moved. */
        return;
    r->early = true;
    r->early_keep = r->keep_alive;
    r->keep_alive = false; /* An answer before the end of the body ends the connection. */
    r->body = so_far;
    request_run(r);
}

enum step_result early_parse(struct request *r)
{
    uint32_t node;
    const char *bad_header;
    struct call *call = &r->work->call;
    steering_read(r->head, &r->work->steering, &bad_header);
    memset(call, 0, sizeof *call);
    call->model = named_model(r, &node);
    call->model_value = (struct call_span){.at = (uint32_t)(call->model.data - r->body.data) - 1,
                                           .len = (uint32_t)call->model.len + 2};
    call->choices = 1;
    call->temperature_q8 = FEATURES_TEMPERATURE_UNSET;
    call->tokens_in = (uint32_t)TOKENS_OF_BYTES(r->head->content_length);
    call->tokens_most =
        r->head->content_length < UINT32_MAX ? (uint32_t)r->head->content_length : UINT32_MAX;
    call->previous_failed = r->work->steering.client_retry;
    r->flags |= RECORD_FLAG_FEATURES_DROPPED;
    if (r->work->steering.client_retry)
        r->flags |= RECORD_FLAG_CLIENT_RETRY;
    return STEP_NEXT;
}

/* ---- the body on its way up ---- */

static const struct provider_adapter *adapter_of(const struct request *r)
{
    return r->attempt.adapter;
}

int early_start(struct request *r, struct fetch_request *request)
{
    struct early_body *e = &r->work->early;
    const struct call *call = &r->work->call;
    struct str upstream_model = r->attempt.target->deployment->upstream_model;
    memset(e, 0, sizeof *e);
    if (r->attempt.target->origin->ops->offer == NULL)
        return ERR_UNSUPPORTED;
    e->end = call->model_value.at + call->model_value.len;
    int rc = adapter_of(r)->write_part(call, r->body, e->end, upstream_model, &r->arena, e->pieces,
                                       &e->count);
    if (rc != 0)
        return rc;
    size_t written = 0;
    for (size_t i = 0; i < e->count; i++)
        written += e->pieces[i].len;
    e->growing = true;
    request->growing_bytes = written + (r->head->content_length - e->end) + adapter_of(r)->part_pad;
    return 0;
}

/* More has been accepted. A scan that was given up accepts no more until the end. */
static void grow(struct request *r)
{
    struct early_body *e = &r->work->early;
    size_t end = r->scan != NULL ? adapter_of(r)->part_end(scan_peek(r)) : 0;
    if (end <= e->end)
        return;
    e->pieces[e->count - 1].len += end - e->end;
    e->end = end;
}

static size_t pieces_left(const struct early_body *e, struct str *out)
{
    size_t n = 0;
    for (size_t i = e->at; i < e->count; i++) {
        struct str piece = str_slice(e->pieces[i], i == e->at ? e->offset : 0, e->pieces[i].len);
        if (piece.len > 0)
            out[n++] = piece;
    }
    return n;
}

/* The last piece stays: it may grow. */
static void advance(struct early_body *e, size_t bytes)
{
    e->offset += bytes;
    while (e->at + 1 < e->count && e->offset >= e->pieces[e->at].len) {
        e->offset -= e->pieces[e->at].len;
        e->at++;
    }
}

void early_send(struct request *r)
{
    struct early_body *e = &r->work->early;
    struct attempt *a = &r->attempt;
    struct str left[EARLY_PIECES_MAX];
    if (a->call == NULL || a->cancelled || !e->growing)
        return;
    if (!r->body_ready)
        grow(r);
    for (size_t count, taken = 1; taken > 0 && (count = pieces_left(e, left)) > 0;) {
        taken = a->target->origin->ops->offer(a->call, left, count);
        advance(e, taken);
    }
}

void early_stop(struct request *r)
{
    r->work->early.growing = false;
}

/* ---- its end ---- */

void early_refuse(struct request *r, enum fault fault)
{
    if (r->committed) /* An answer is on its way. */
        return;
    (void)request_fail(r, fault);
    if (attempt_running(r))
        attempt_stop(r, RECORD_REASON_CANCELLED);
    else
        request_run(r);
}

/* What the attempt was begun without. */
static void complete_attempt(struct request *r)
{
    struct early_body *e = &r->work->early;
    struct attempt *a = &r->attempt;
    size_t count;
    if (a->call == NULL || a->cancelled || !e->growing)
        return;
    struct str said = r->body;
    if (r->work->call.wished &&
        !wishes_leave_out(r, &r->work->call, a->target->deployment->provider, &said)) {
        early_refuse(r, FAULT_OVERLOAD);
        return;
    }
    adapter_of(r)->write_rest(&r->work->call, said, e->end, e->pieces + e->count, &count);
    e->count += count;
    e->whole = true;
    a->start_ns = r->now_ns; /* Nobody could have answered before. */
    a->last_ms = a->start_ns / 1000000;
    attempt_whole(r);
    early_send(r);
}

/* Wishes that came behind the messages: whom they exclude never gets a whole request. */
static bool allowed(struct request *r)
{
    const struct attempt *a = &r->attempt;
    if (r->work->wishes == NULL)
        return true;
    if (r->work->wishes->target_count > 1)
        request_warn(r, "wishes_late");
    required_note(r);
    return a->target == NULL || (wishes_allow(r, a->model, a->target->deployment) &&
                                 required_lacks(r, a->target->deployment) == 0);
}

/* Whatever stands in `attempt` looks at the fault; an answer that is there, or on its way, stays.
 */
void early_whole(struct request *r)
{
    if (r->failed || r->committed || r->fault != FAULT_NONE)
        return;
    r->now_ns = clock_mono_ns();
    if (parse_body(r) == STEP_FAIL) {
        early_refuse(r, r->fault);
        return;
    }
    if (r->charge != NULL && (r->work->call.price_varies || charge_whole(r) != 0)) {
        if (r->work->call.price_varies)
            early_refuse(r, FAULT_PRICE_VARIES);
        else
            early_refuse(r, charge_refusal(r));
        return;
    }
    if (!allowed(r)) {
        r->detail.message = "In a body of this size, say before the messages whom to ask.";
        early_refuse(r, FAULT_WISHES);
        return;
    }
    attempt_note_call(r);
    complete_attempt(r);
}

/* The caller's body and steering headers become a call. */
#include "dataplane/request/early.h"
#include "dataplane/request/idempotency.h"
#include "dataplane/request/recall.h"
#include "dataplane/request/scan.h"
#include "dataplane/request/steps.h"
#include "dataplane/request/wishes_apply.h"

/* A body that is JSON by its own word, and not compressed (B12). Without a content type it is taken
 * for what the path needs. */
bool parse_takes_type(const struct request *r)
{
    struct str type = http1_field_get(r->head, STR("content-type"));
    return !r->head->body_encoded && (type.data == NULL || str_eq(type, STR("application/json")) ||
                                      http1_content_type_is(r->head, STR("application/json")));
}

static enum fault fault_of(enum call_defect defect)
{
    switch (defect) {
    case CALL_OK:
    case CALL_BAD_JSON:
        return FAULT_BAD_JSON;
    case CALL_BAD_FIELD:
        return FAULT_BAD_FIELD;
    case CALL_MISSING_FIELD:
        return FAULT_MISSING_FIELD;
    case CALL_FORBIDDEN_FIELD:
        return FAULT_FORBIDDEN_FIELD;
    case CALL_NO_MEMORY:
        return FAULT_OVERLOAD;
    }
    return FAULT_BAD_JSON;
}

/* A dialogue that came whole may be like one before it. */
static int read_call(struct request *r, struct json *json, struct call_refusal *refusal)
{
    const struct provider_adapter *adapter = request_adapter(r);
    struct call *call = &r->work->call;
    if (r->path->adapter == NULL && r->scan == NULL)
        return reading_memory_read(&r->env->readings, adapter, json, r->body, &r->arena, call,
                                   refusal);
    return adapter->read_call(json, r->body, &r->arena, call, refusal);
}

enum step_result parse_body(struct request *r)
{
    struct call_refusal refusal = {0};
    int rc = read_call(r, scan_reader(r), &refusal);
    scan_give(r);
    if (rc != 0 && refusal.not_kept) {
        int expanded = recall_expand(r);
        if (expanded < 0)
            return request_fail(r, FAULT_OVERLOAD);
        if (expanded > 0)
            rc = read_call(r, &r->env->json, &refusal);
    }
    if (rc != 0) {
        r->detail.param = refusal.param;
        r->detail.offset = refusal.offset;
        r->detail.message = refusal.message;
        return request_fail(r, fault_of(refusal.defect));
    }
    if (wishes_wanted(r) && wishes_take(r) == STEP_FAIL)
        return STEP_FAIL;
    r->work->call.previous_failed = r->work->steering.client_retry;
    if (r->work->call.stream)
        r->flags |= RECORD_FLAG_STREAM;
    if (r->path->adapter != NULL) /* What is no dialogue teaches nothing about them. */
        r->flags |= RECORD_FLAG_FEATURES_DROPPED;
    return STEP_NEXT;
}

enum step_result step_parse(struct request *r)
{
    const char *bad_header;
    if (early_open(r))
        return early_parse(r);
    if (!parse_takes_type(r))
        return request_fail(r, FAULT_MEDIA_TYPE);
    steering_read(r->head, &r->work->steering, &bad_header);
    if (bad_header != NULL) {
        r->detail.param = str_from(bad_header);
        return request_fail(r, FAULT_BAD_HEADER);
    }
    if (r->work->steering.client_retry)
        r->flags |= RECORD_FLAG_CLIENT_RETRY;
    bool answered = false;
    if (idempotency_wanted(r) && idempotency_open(r, &answered) == STEP_FAIL)
        return STEP_FAIL;
    return answered ? request_answered(r) : parse_body(r);
}

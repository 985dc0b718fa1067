/* POST /v1/messages/count_tokens: asked of a provider that counts them, if the model that would
 * serve has one; else our own estimate, which says so. */
#include "dataplane/request/answer.h"
#include "dataplane/request/ask.h"
#include "dataplane/request/required.h"
#include "dataplane/request/steps.h"

#define COUNT_BYTES_MAX 64U

static bool is_counted(const struct request *r, const struct snapshot_model *m)
{
    for (uint32_t i = 0; i < m->deployment_count; i++)
        if (ask_counts(m->deployments[i].provider) && ask_may(r, m->deployments[i].provider) &&
            required_lacks(r, &m->deployments[i]) == 0)
            return true;
    return false;
}

enum step_result step_count(struct request *r)
{
    if (is_counted(r, r->work->candidate_models[r->work->decision.chosen]))
        return STEP_NEXT;
    struct buf out = answer_arena_buf(r, COUNT_BYTES_MAX);
    int rc = buf_append_text(&out, "{\"input_tokens\":");
    if (rc == 0)
        rc = buf_append_u64(&out, r->work->call.tokens_in);
    if (rc == 0)
        rc = buf_append_char(&out, '}');
    if (rc != 0)
        return request_fail(r, FAULT_OVERLOAD);
    request_warn(r, "count_estimated");
    r->status = 200;
    r->outcome = RECORD_STATUS_DECIDED;
    r->pieces[0] = buf_str(&out);
    r->piece_count = 1;
    return request_answered(r);
}

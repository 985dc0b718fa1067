/* The call as the router sees it. */
#include <string.h>

#include "dataplane/request/early.h"
#include "dataplane/request/steps.h"

/* What was asked for is no feature. A pinned model's id would tell the trainer who answered; a
 * route's name is on every request of its policy, so it says nothing, but its index may be some
 * word's too and then weighs on all of them (docs/decisions/0034). */
enum step_result step_featurize(struct request *r)
{
    const struct call *c = &r->work->call;
    if (early_open(r)) { /* There is no text yet, and no record of it. */
        memset(&r->work->features, 0, sizeof r->work->features);
        return STEP_NEXT;
    }
    struct features_input input = {
        .text = c->text,
        .system_prompt = c->system,
        .system_bytes = c->system_bytes,
        .tools = c->tools,
        .tool_count = c->tool_count,
        .bytes = c->text_bytes,
        .t_in = c->tokens_in,
        .max_tokens = c->max_tokens,
        .messages = c->messages,
        .turns = c->turns,
        .images = c->images,
        .json_mode = c->json_mode,
        .previous_failed = c->previous_failed,
        .temperature_q8 = c->temperature_q8,
    };
    if (r->identity->segment != 0) {
        struct buf text = {.cap = 16, .max = 16, .data = arena_alloc(&r->arena, 16)};
        if (text.data == NULL || buf_append_u64(&text, r->identity->segment) != 0)
            return request_fail(r, FAULT_OVERLOAD);
        input.segment = buf_str(&text);
    }
    features_memo_extract(r->env->features, &r->snapshot->limits.hasher, r->identity->id, &input,
                          &r->work->features);
    r->work->text_hash =
        hash_text(&r->snapshot->limits.text_hasher, c->dialogue.data, c->dialogue.len);
    return STEP_NEXT;
}

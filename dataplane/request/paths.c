#include "dataplane/llm/plain.h"
#include "dataplane/request/steps.h"

static const step_fn chat_steps[] = {
    step_authenticate, step_receive, step_parse, step_admit,   step_featurize, step_decide,
    step_reserve,      step_attempt, step_relay, step_account, step_report,    NULL,
};
static const step_fn count_steps[] = {
    step_authenticate, step_receive, step_parse,   step_admit,   step_featurize,
    step_decide,       step_count,   step_reserve, step_attempt, step_relay,
    step_account,      step_report,  NULL,
};
static const step_fn decision_steps[] = {
    step_authenticate, step_receive, step_parse,   step_admit,  step_featurize,
    step_decide,       step_explain, step_account, step_report, NULL,
};
static const step_fn feedback_steps[] = {
    step_authenticate, step_receive, step_feedback, step_account, step_report, NULL,
};
static const step_fn models_steps[] = {
    step_authenticate, step_receive, step_models, step_account, step_report, NULL,
};
static const step_fn generation_steps[] = {
    step_authenticate, step_receive, step_generation, step_account, step_report, NULL,
};
static const step_fn key_steps[] = {
    step_authenticate, step_receive, step_key, step_account, step_report, NULL,
};
static const step_fn none_steps[] = {step_account, step_report, NULL};

#define ENDPOINT(text) .endpoint = {text, sizeof(text) - 1}
#define PATH(text)                                                                                 \
    .path = {text, sizeof(text) - 1}, .spelled = {                                                 \
                                          {"/openai" text "/", sizeof("/openai" text)},            \
                                          {"/anthropic" text "/", sizeof("/anthropic" text)},      \
    }

static const struct request_path paths[] = {
    {PATH("/v1/chat/completions"), .method = HTTP1_POST, ENDPOINT("chat.completions"),
     .takes_call = true, .steps = chat_steps},
    {PATH("/v1/responses"), .method = HTTP1_POST, ENDPOINT("responses"),
     .dialect = DIALECT_RESPONSES, .takes_call = true, .steps = chat_steps},
    {PATH("/v1/messages"), .method = HTTP1_POST, ENDPOINT("messages"), .dialect = DIALECT_ANTHROPIC,
     .takes_call = true, .steps = chat_steps},
    {PATH("/v1/messages/count_tokens"), .method = HTTP1_POST, ENDPOINT("messages.count_tokens"),
     .dialect = DIALECT_ANTHROPIC, .adapter = &provider_count_tokens, .input_only = true,
     .free = true, .takes_call = true, .steps = count_steps},
    {PATH("/v1/embeddings"), .method = HTTP1_POST, ENDPOINT("embeddings"),
     .adapter = &provider_embeddings, .serves = HOST_SERVES_EMBEDDINGS, .input_only = true,
     .takes_call = true, .steps = chat_steps},
    {PATH("/v1/completions"), .method = HTTP1_POST, ENDPOINT("completions"),
     .adapter = &provider_completions, .serves = HOST_SERVES_COMPLETIONS, .takes_call = true,
     .steps = chat_steps},
    {PATH("/v1/moderations"), .method = HTTP1_POST, ENDPOINT("moderations"),
     .adapter = &provider_moderations, .serves = HOST_SERVES_MODERATIONS, .input_only = true,
     .takes_call = true, .steps = chat_steps},
    {PATH("/v1/rerank"), .method = HTTP1_POST, ENDPOINT("rerank"), .adapter = &provider_rerank,
     .serves = HOST_SERVES_RERANK, .input_only = true, .takes_call = true, .steps = chat_steps},
    {PATH("/v1/decision"), .method = HTTP1_POST, ENDPOINT("decision"), .takes_call = true,
     .asks_only = true, .steps = decision_steps},
    {PATH("/v1/feedback"), .method = HTTP1_POST, ENDPOINT("feedback"), .steps = feedback_steps},
    {PATH("/v1/generation"), .method = HTTP1_GET, ENDPOINT("generation"),
     .steps = generation_steps},
    {PATH("/v1/key"), .method = HTTP1_GET, ENDPOINT("key"), .steps = key_steps},
    {PATH("/v1/models"), .takes_rest = true, .method = HTTP1_GET, ENDPOINT("models"),
     .any_dialect = true, .steps = models_steps},
};

const struct request_path request_path_none = {
    .path = {.data = "", .len = 0}, ENDPOINT("none"), .any_dialect = true, .steps = none_steps};

static bool path_matches(const struct request_path *p, struct str path, struct str *out_rest)
{
    *out_rest = STR_NULL;
    if (str_eq(path, p->path))
        return true;
    if (!p->takes_rest || !str_starts(path, p->path) || path.data[p->path.len] != '/')
        return false;
    *out_rest = str_slice(path, p->path.len + 1, path.len);
    return out_rest->len > 0;
}

const struct request_path *request_path_find(const struct http1_head *head, struct str *out_rest,
                                             enum fault *out_fault)
{
    struct str path = head->path;
    if (str_starts(path, STR("/openai/v1/")))
        path = str_slice(path, 7, path.len);
    else if (str_starts(path, STR("/anthropic/v1/")))
        path = str_slice(path, 10, path.len);
    if (path.len > 1 && path.data[path.len - 1] == '/') /* One; no other normalising (B6). */
        path.len--;
    *out_fault = FAULT_NOT_FOUND;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (!path_matches(&paths[i], path, out_rest))
            continue;
        if (head->method == paths[i].method) {
            *out_fault = FAULT_NONE;
            return &paths[i];
        }
        *out_fault = FAULT_METHOD;
    }
    return NULL;
}

struct str request_path_text(const struct request_path *p, struct str raw)
{
    const bool anthropic = str_starts(raw, STR("/anthropic/"));
    const struct str spelled = p->spelled[anthropic];
    size_t from = anthropic || str_starts(raw, STR("/openai/")) ? 0 : 7;
    struct str text = str_slice(spelled, from, from + raw.len);
    return spelled.data != NULL && str_eq(text, raw) ? text : raw;
}

/* How the target of an attempt is asked, where a config of Portkey's says it. All of it only
 * narrows: fewer retries, less time, fewer reasons to go on. Members of the body that are written
 * over are asked for as if the caller had said them. */
#include "dataplane/request/wishes_apply.h"

#include "common/json/json_splice.h"
#include "dataplane/request/steps.h"

#define MAX_TOKENS_NAMES 3
#define EDITS_MAX        (WISHES_OVERRIDES_MAX + MAX_TOKENS_NAMES)
#define STATUS_TIMEOUT   408 /* What Portkey takes a time limit for. */

static const struct str max_tokens_names[MAX_TOKENS_NAMES] = {
    {"max_tokens", 10}, {"max_completion_tokens", 21}, {"max_output_tokens", 17}};

static const struct wishes_terms *terms_of(const struct request *r)
{
    const struct wishes *w = r->work->wishes;
    const struct attempt *a = &r->attempt;
    if (w == NULL)
        return NULL;
    if (w->target_count == 0)
        return w->terms;
    const struct wishes_target *t = wishes_target_of(w, a->model, a->target->deployment->provider);
    return t != NULL ? t->terms : NULL;
}

uint32_t wishes_timeout(const struct request *r, uint32_t own_ms)
{
    const struct wishes_terms *t = terms_of(r);
    return t != NULL && t->timeout_ms != 0 && t->timeout_ms < own_ms ? t->timeout_ms : own_ms;
}

/* ---- after a failure ---- */

/* A broken connection has no status, and is none that somebody could have left out. */
static bool is_listed(const struct wishes_codes *codes, const struct attempt *a)
{
    const unsigned status = a->record->reason == RECORD_REASON_TIMEOUT ? STATUS_TIMEOUT : a->status;
    bool found = codes == NULL || status == 0;
    for (uint32_t i = 0; !found && i < codes->count; i++)
        found = codes->codes[i] == status;
    return found;
}

bool wishes_may_go_on(const struct request *r)
{
    const struct wishes_terms *t = r->attempt.target != NULL ? terms_of(r) : NULL;
    return t == NULL || is_listed(t->go_on, &r->attempt);
}

bool wishes_may_repeat(const struct request *r)
{
    const struct attempt *a = &r->attempt;
    const struct wishes_terms *t = a->target != NULL ? terms_of(r) : NULL;
    uint32_t asked = 0;
    if (t == NULL)
        return true;
    for (uint32_t i = 0; i < r->attempt_count; i++)
        asked += str_eq(r->attempts[i].server, a->record->server);
    return (t->retries < 0 || asked <= (uint32_t)t->retries) && is_listed(t->try_again, a);
}

/* ---- what is written over ---- */

static bool is_max_tokens(struct str key)
{
    for (uint32_t i = 0; i < MAX_TOKENS_NAMES; i++)
        if (str_eq(key, max_tokens_names[i]))
            return true;
    return false;
}

/* 0: as the body says. */
static uint32_t max_tokens_of(const struct wishes_terms *t)
{
    uint64_t tokens = 0;
    for (uint32_t i = 0; t != NULL && i < t->override_count; i++)
        if (is_max_tokens(t->overrides[i].key) &&
            str_parse_u64(t->overrides[i].value, UINT32_MAX, &tokens) != 0)
            tokens = 0;
    return (uint32_t)tokens;
}

void wishes_reserve(const struct wishes *w, struct call *call)
{
    uint32_t most = 0;
    const uint32_t count = w->target_count > 0 ? w->target_count : 1;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t own = max_tokens_of(w->target_count > 0 ? w->targets[i].terms : w->terms);
        const uint32_t tokens = own != 0 ? own : call->max_tokens;
        if (tokens == 0) { /* This one has no limit. */
            most = 0;
            break;
        }
        most = tokens > most ? tokens : most;
    }
    call->max_tokens = most;
}

/* One limit of tokens, whatever the body calls it. */
static size_t edits_of(const struct wishes_terms *t, struct json_edit *out)
{
    size_t count = 0;
    bool limits = false;
    for (uint32_t i = 0; i < t->override_count; i++) {
        limits = limits || is_max_tokens(t->overrides[i].key);
        out[count++] =
            (struct json_edit){.key = t->overrides[i].key, .value = t->overrides[i].value};
    }
    for (uint32_t k = 0; limits && k < MAX_TOKENS_NAMES; k++) {
        bool named = false;
        for (uint32_t i = 0; i < t->override_count; i++)
            named = named || str_eq(t->overrides[i].key, max_tokens_names[k]);
        if (!named)
            out[count++] = (struct json_edit){.key = max_tokens_names[k], .value = STR_NULL};
    }
    return count;
}

static int write_over(struct request *r, const struct wishes_terms *t, struct str *io_body)
{
    struct json_edit edits[EDITS_MAX];
    struct str spans[JSON_SPLICE_SPANS(EDITS_MAX)];
    size_t span_count = 0;
    int rc = json_parse(&r->env->json, *io_body, NULL);
    if (rc == 0)
        rc = json_splice(&r->env->json, edits, edits_of(t, edits), spans, &span_count);
    if (rc != 0)
        return rc;
    const size_t len = json_splice_length(spans, span_count);
    struct buf out = {.data = arena_alloc(&r->arena, len), .cap = len, .max = len};
    if (out.data == NULL)
        return ERR_NOMEM;
    rc = json_splice_flatten(spans, span_count, &out);
    *io_body = buf_str(&out);
    return rc;
}

int wishes_override(struct request *r, const struct call **io_call, struct str *io_body)
{
    const struct wishes_terms *t = terms_of(r);
    struct call_refusal *refusal = &r->work->refusal;
    if (t == NULL || t->override_count == 0)
        return 0;
    struct call *call = arena_alloc(&r->arena, sizeof *call);
    int rc = call != NULL ? write_over(r, t, io_body) : ERR_NOMEM;
    if (rc != 0)
        return ERR_NOMEM; /* The body was JSON before. */
    *refusal = (struct call_refusal){.param = STR_NULL};
    rc = request_adapter(r)->read_call(&r->env->json, *io_body, &r->arena, call, refusal);
    if (rc != 0)
        return refusal->defect == CALL_NO_MEMORY ? ERR_NOMEM : ERR_INVALID;
    const struct call *asked = *io_call;
    call->clamp_complete = asked->clamp_complete;
    call->think_least = asked->think_least;
    if (call->max_tokens == 0 || call->max_tokens > asked->clamp_out)
        call->clamp_out = asked->clamp_out;
    *io_call = call;
    return 0;
}

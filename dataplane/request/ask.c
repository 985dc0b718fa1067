#include "dataplane/request/ask.h"

#include <string.h>

#include "dataplane/request/early.h"
#include "dataplane/request/relay.h"
#include "dataplane/request/wishes_apply.h"
#include "dataplane/translate/exchange.h"
#include "dataplane/translate/quirks.h"

#define TARGET_BYTES_MAX  4096U
#define ANTHROPIC_VERSION STR("2023-06-01")

/* ---- who may be asked ---- */

bool ask_counts(const struct snapshot_provider *p)
{
    return p->kind != NULL && p->kind->dialect == DIALECT_ANTHROPIC &&
           p->kind->auth != HOST_AUTH_GOOGLE;
}

bool ask_can_translate(const struct request *r, enum dialect d)
{
    const struct call *call = &r->work->call;
    if (call->bound_to.len > 0 || tr_caller_find(r->dialect) == NULL || tr_provider_find(d) == NULL)
        return false;
    return call->choices <= 1 || d == DIALECT_OPENAI || d == DIALECT_GEMINI;
}

/* ---- fields ---- */

/* Caller's headers that belong to the dialect (B25), as they came. */
static void put_openai(const struct request *r, struct ask *a)
{
    for (size_t i = 0; i < r->head->field_count; i++) {
        struct str name = http1_field_name(r->head, i);
        if (name.len > 7 && (name.data[0] | 0x20) == 'o' && name.data[6] == '-' &&
            str_eq_nocase(str_slice(name, 0, 7), STR("openai-")))
            ask_put(a, name, http1_field_value(r->head, i));
    }
}

/* An open list: what is new between a client and its provider must not need a new gateway. */
static bool put_anthropic(const struct request *r, struct ask *a)
{
    bool versioned = false;
    for (size_t i = 0; i < r->head->field_count; i++) {
        struct str name = http1_field_name(r->head, i);
        if (name.len <= 10 || name.data[9] != '-' ||
            !str_eq_nocase(str_slice(name, 0, 10), STR("anthropic-")))
            continue;
        versioned |= str_eq_nocase(name, STR("anthropic-version"));
        ask_put(a, name, http1_field_value(r->head, i));
    }
    return versioned;
}

static void put_dialect(const struct request *r, const struct snapshot_provider *p, struct ask *a)
{
    const struct snapshot_deployment *d = r->attempt.target->deployment;
    const bool same = r->attempt.exchange == NULL;
    switch (ask_dialect(r, d)) {
    case DIALECT_OPENAI:
    case DIALECT_RESPONSES:
        if (same)
            put_openai(r, a);
        break;
    case DIALECT_ANTHROPIC:
        if (!same || !put_anthropic(r, a))
            ask_put(a, STR("anthropic-version"),
                    p->version.len > 0 ? p->version : ANTHROPIC_VERSION);
        break;
    case DIALECT_GEMINI:
    case DIALECT_BEDROCK:
    case DIALECT_COHERE:
    case DIALECTS:
        break;
    }
}

/* Fixed ones of the provider; what the dialect has put there already stays. */
static void put_fixed(const struct snapshot_provider *p, struct ask *a)
{
    const size_t own = a->request.field_count;
    for (uint32_t i = 0; i < p->header_count; i++) {
        bool there = false;
        for (size_t k = 0; k < own; k++)
            there = there || str_eq_nocase(a->fields[k].name, p->headers[i].name);
        if (!there)
            ask_put(a, p->headers[i].name, p->headers[i].value);
    }
}

static int put_fields(struct request *r, const struct upstream_target *t, struct ask *a)
{
    const struct snapshot_provider *p = t->deployment->provider;
    int rc = ask_put_auth(r, t, a);
    if (rc != 0)
        return rc;
    ask_put(a, STR("content-type"), STR("application/json"));
    ask_put(a, STR("user-agent"), STR("steelyard"));
    if (p->propagate && r->work->steering.traceparent.len > 0)
        ask_put(a, STR("traceparent"), r->work->steering.traceparent);
    put_dialect(r, p, a);
    if (p->header_count > 0)
        put_fixed(p, a);
    return 0;
}

/* ---- the address ---- */

static struct tr_target target_of(const struct request *r)
{
    const struct attempt *a = &r->attempt;
    const struct snapshot_deployment *d = a->target->deployment;
    const struct snapshot_provider *p = d->provider;
    return (struct tr_target){
        .model = d->upstream_model,
        .max_output = a->model->max_output,
        .clamp_output = r->work->call.clamp_out,
        .capabilities = a->model->capabilities,
        .host = p->kind,
        .provider = p->name,
        .version = p->version,
        .quirks = tr_quirks_find(ask_dialect(r, d), d->upstream_model),
        .reject_unsupported = p->reject_unsupported ||
                              (r->work->wishes != NULL && r->work->wishes->require_parameters),
        .no_repair = p->no_repair,
        .id_key = (const uint8_t *)&r->snapshot->limits.text_key,
    };
}

/* Of most hosts the path is always the same. */
static bool has_plain_path(const struct snapshot_provider *p, enum dialect d)
{
    return d == DIALECT_OPENAI && p->version.len == 0 && p->kind->auth <= HOST_AUTH_BEARER;
}

/* What else an OpenAI host answers stands beside its chat completions. */
static int swap_path(struct str chat, struct str other, struct buf *out)
{
    const struct str name = STR("/chat/completions");
    ptrdiff_t at = str_search(chat, name);
    if (at < 0)
        return buf_append_str(out, other);
    int rc = buf_append_str(out, str_slice(chat, 0, (size_t)at));
    if (rc == 0)
        rc = buf_append_str(out, other);
    return rc == 0 ? buf_append_str(out, str_slice(chat, (size_t)at + name.len, chat.len)) : rc;
}

static int write_path(const struct request *r, const struct snapshot_provider *p, struct buf *out)
{
    const struct attempt *a = &r->attempt;
    enum dialect d = ask_dialect(r, a->target->deployment);
    const struct tr_provider_dialect *printer = tr_provider_find(d);
    if (has_plain_path(p, d))
        return buf_append_str(out, a->adapter->chat_path);
    if (d == DIALECT_COHERE) { /* Only /rerank comes here, which has the version in front. */
        int rc = buf_append_text(out, "/v2");
        return rc == 0 ? buf_append_str(out, a->adapter->chat_path) : rc;
    }
    if (printer == NULL || r->path->free) /* The count of tokens has its own. */
        return buf_append_str(out, a->adapter->chat_path);
    const struct tr_target target = target_of(r);
    __attribute__((uninitialized)) char room[TARGET_BYTES_MAX];
    struct buf chat = {.data = room, .cap = sizeof room, .max = sizeof room};
    int rc = printer->print_path(&target, r->wants_stream, &chat);
    if (rc != 0)
        return rc;
    return r->path->adapter != NULL ? swap_path(buf_str(&chat), a->adapter->chat_path, out)
                                    : buf_append_str(out, buf_str(&chat));
}

/* The caller's query goes along where its dialect does. */
static int write_query(const struct request *r, struct buf *out)
{
    struct str query = r->head->query;
    if (query.len == 0 || r->dialect != DIALECT_ANTHROPIC)
        return 0;
    bool more = memchr(out->data, '?', out->len) != NULL;
    int rc = buf_append_char(out, more ? '&' : '?');
    return rc == 0 ? buf_append_str(out, query) : rc;
}

static int write_target(struct request *r, struct str of_exchange, struct ask *a)
{
    const struct snapshot_provider *p = r->attempt.target->deployment->provider;
    const bool plain = r->attempt.exchange == NULL &&
                       has_plain_path(p, ask_dialect(r, r->attempt.target->deployment));
    size_t room = p->prefix.len + (plain ? r->attempt.adapter->chat_path.len : TARGET_BYTES_MAX);
    char *data = arena_alloc(&r->arena, room);
    struct buf out = {.data = data, .cap = room, .max = room};
    if (data == NULL)
        return ERR_NOMEM;
    int rc = buf_append_str(&out, p->prefix);
    if (rc == 0)
        rc = r->attempt.exchange != NULL ? buf_append_str(&out, of_exchange)
                                         : write_path(r, p, &out);
    if (rc == 0 && r->attempt.exchange == NULL && !plain)
        rc = write_query(r, &out);
    a->request.target = buf_str(&out);
    return rc;
}

/* ---- the body ---- */

/* For the caller, and for the record. */
static void note(struct request *r, const char *code)
{
    request_warn(r, code);
    if (r->attempt.record != NULL)
        r->attempt.record->picked.notes |= picked_note_bit(str_from(code));
}

void ask_note(struct request *r)
{
    r->warning_count = r->work->own_warnings; /* Those of another attempt are not true of this. */
    if (r->attempt.exchange == NULL)
        return;
    const struct tr_terms *terms = tr_exchange_terms(r->attempt.exchange);
    for (uint32_t i = 0; i < terms->note_count; i++)
        note(r, terms->notes[i]);
}

static int write_exchange(struct request *r, struct str said, struct ask *a, struct str *out_path)
{
    const struct attempt *at = &r->attempt;
    struct json *json = &r->env->json;
    struct str body;
    int rc = json_parse(json, said, NULL); /* Again: the first parse was another's. */
    if (rc != 0)
        return rc;
    rc = tr_exchange_write(at->exchange, json, &r->arena, &body, out_path, &r->work->refusal);
    if (rc != 0)
        return rc;
    ask_note(r);
    a->pieces[0] = body;
    a->request.body_count = 1;
    return 0;
}

static int open_exchange(struct request *r)
{
    struct attempt *a = &r->attempt;
    const struct tr_exchange_config config = {
        .caller = r->dialect,
        .provider = ask_dialect(r, a->target->deployment),
        .target = target_of(r),
        .answer_id = {r->id_text, UUID_TEXT_BYTES - 1},
        .answer_model = a->model->id,
        .created_s = request_wall_us(r) / 1000000,
        .tokens_in = r->tokens_in,
        .stream = r->wants_stream,
        .want_usage = r->wants_usage,
        .usage_member = r->wants_cost || r->wants_price ? relay_usage_member : NULL,
        .arg = r,
    };
    if (tr_caller_find(config.caller) == NULL || tr_provider_find(config.provider) == NULL)
        return ERR_UNSUPPORTED;
    a->exchange = tr_exchange_create(&config);
    return a->exchange != NULL ? 0 : ERR_NOMEM;
}

/* The model's name in a body that passes; none where the address says it. */
static struct str name_in_body(const struct snapshot_deployment *d)
{
    const struct host *h = d->provider->kind;
    return h->dialect == DIALECT_ANTHROPIC && h->auth == HOST_AUTH_GOOGLE ? STR_NULL
                                                                          : d->upstream_model;
}

/* A body that passes: what a budget's clamp did to its reasoning. */
static void note_clamp(struct request *r, const struct call *call)
{
    enum call_clamp most = CALL_CLAMP_NOTHING;
    if (call->clamp_out == 0)
        return;
    r->warning_count = r->work->own_warnings; /* As note_terms. */
    for (int way = 0; way < CALL_THINKS; way++) {
        const enum call_clamp one = call_clamp_of(call, (enum call_think_way)way);
        most = one > most ? one : most;
    }
    switch (most) {
    case CALL_CLAMP_NOTHING:
        return;
    case CALL_CLAMP_LOWERS:
        note(r, "clamped_thinking_budget");
        return;
    case CALL_CLAMP_SWITCHES_OFF:
        note(r, "dropped_thinking");
        return;
    }
}

static int write_body(struct request *r, struct ask *a, struct str *out_path)
{
    const struct attempt *at = &r->attempt;
    const struct call *call = &r->work->call;
    struct str said = r->body;
    if (at->exchange == NULL && early_open(r))
        return early_start(r, &a->request);
    int rc = r->work->wishes != NULL ? wishes_override(r, &call, &said) : 0;
    if (rc != 0)
        return rc;
    if (at->exchange != NULL)
        return write_exchange(r, said, a, out_path);
    if (call->wished && !wishes_leave_out(r, call, at->target->deployment->provider, &said))
        return ERR_NOMEM;
    note_clamp(r, call);
    return at->adapter->write_call(call, said, name_in_body(at->target->deployment), &r->arena,
                                   a->pieces, &a->request.body_count);
}

int ask_build(struct request *r, struct ask *a)
{
    struct attempt *at = &r->attempt;
    const struct snapshot_provider *p = at->target->deployment->provider;
    struct str path = STR_NULL;
    a->request =
        (struct fetch_request){.method = STR("POST"), .fields = a->fields, .body = a->pieces};
    if (p->kind == NULL || at->adapter == NULL)
        return ERR_UNSUPPORTED;
    int rc = 0;
    if (at->exchange == NULL && r->path->adapter == NULL &&
        ask_dialect(r, at->target->deployment) != r->dialect)
        rc = open_exchange(r);
    if (rc == 0)
        rc = write_body(r, a, &path);
    if (rc == 0)
        rc = write_target(r, path, a);
    if (rc == 0)
        rc = put_fields(r, at->target, a);
    return rc == 0 && ask_is_signed(p) ? ask_sign(r, a) : rc; /* Last: it is over the rest. */
}

#include "dataplane/translate/exchange.h"

#include <string.h>

#include "common/base/mem.h"
#include "dataplane/translate/exchange_internal.h"
#include "dataplane/translate/notes.h"
#include "dataplane/translate/quirks.h"
#include "dataplane/translate/seal.h"

#define BODY_BYTES_MAX (64U << 20)
#define PATH_BYTES_MAX 8192U

static size_t aligned(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

static struct str put_str(char **io_at, struct str text)
{
    struct str put = {*io_at, text.len};
    if (text.len > 0)
        memcpy(*io_at, text.data, text.len);
    *io_at += text.len;
    return put;
}

static size_t text_bytes(const struct tr_exchange_config *c)
{
    return c->target.model.len + c->target.version.len + c->answer_id.len + c->answer_model.len;
}

struct tr_exchange *tr_exchange_create(const struct tr_exchange_config *c)
{
    const struct tr_caller_dialect *caller = tr_caller_find(c->caller);
    const struct tr_provider_dialect *provider = tr_provider_find(c->provider);
    if (caller == NULL || provider == NULL)
        return NULL;
    const struct tr_frames *frames = provider->frames;
    size_t head = aligned(sizeof(struct tr_exchange));
    size_t caller_bytes = aligned(caller->state_bytes);
    size_t provider_bytes = aligned(provider->state_bytes);
    size_t frames_bytes = frames != NULL ? aligned(frames->state_bytes) : 0;
    char *memory =
        mem_zalloc(head + caller_bytes + provider_bytes + frames_bytes + text_bytes(c) + 1);
    if (memory == NULL)
        return NULL;
    struct tr_exchange *x = (void *)memory;
    char *at = memory + head;
    x->caller = caller;
    x->provider = provider;
    x->caller_state = at;
    x->provider_state = at + caller_bytes;
    x->frames_state = at + caller_bytes + provider_bytes;
    at += caller_bytes + provider_bytes + frames_bytes;
    x->target = c->target;
    x->target.model = put_str(&at, c->target.model);
    x->target.version = put_str(&at, c->target.version);
    x->target.provider = STR_NULL; /* For the maker alone. */
    if (c->target.host != NULL)
        x->target.maker =
            tr_seal_maker(c->provider, c->target.host->name, c->target.provider, c->target.model);
    if (c->target.id_key != NULL)
        memcpy(x->id_key, c->target.id_key, sizeof x->id_key);
    x->target.id_key = x->id_key;
    if (x->target.quirks == NULL)
        x->target.quirks = tr_quirks_find(c->provider, x->target.model);
    x->print = (struct tr_print){
        .id = put_str(&at, c->answer_id),
        .model = put_str(&at, c->answer_model),
        .created_s = c->created_s,
        .want_usage = c->want_usage,
        .tokens_in = c->tokens_in,
        .vendor = c->provider,
        .maker = x->target.maker,
        .usage_member = c->usage_member,
        .arg = c->arg,
    };
    x->tokens_in = c->tokens_in;
    x->stream = c->stream;
    buf_init(&x->echo, EXCHANGE_ECHO_BYTES_MAX);
    return x;
}

void tr_exchange_destroy(struct tr_exchange *x)
{
    if (x == NULL)
        return;
    if (x->caller->end != NULL)
        x->caller->end(x->caller_state);
    if (x->provider->end != NULL)
        x->provider->end(x->provider_state);
    if (x->provider->frames != NULL)
        x->provider->frames->deinit(x->frames_state);
    tr_terms_deinit(&x->terms);
    buf_deinit(&x->echo);
    buf_deinit(&x->custom_text);
    mem_free(x->customs);
    mem_free(x);
}

const struct tr_terms *tr_exchange_terms(const struct tr_exchange *x)
{
    return &x->terms;
}

const struct tr_error *tr_exchange_error(const struct tr_exchange *x)
{
    return &x->error;
}

/* ---- the request ---- */

/* Into the arena, and the buffer is freed. */
static int move(struct buf *b, struct arena *arena, int rc, struct str *out)
{
    if (rc == 0) {
        struct str text = arena_copy(arena, buf_str(b));
        if (text.data == NULL)
            rc = ERR_TOO_LARGE;
        else
            *out = text;
    }
    buf_deinit(b);
    return rc;
}

static int print_echo(struct tr_exchange *x, const struct tr_request *request)
{
    buf_clear(&x->echo);
    int rc = x->caller->print_echo != NULL ? x->caller->print_echo(request, &x->echo) : 0;
    if (rc == ERR_TOO_LARGE) {
        buf_clear(&x->echo);
        rc = 0;
    }
    x->print.echo = buf_str(&x->echo);
    return rc;
}

static int print_body(struct tr_exchange *x, const struct tr_request *request,
                      const struct json *json, struct arena *arena, struct call_refusal *refusal,
                      struct str *out)
{
    struct buf body;
    buf_init(&body, BODY_BYTES_MAX);
    int rc = x->provider->print_request(request, &x->target, arena, &x->terms, refusal, &body);
    if (rc == ERR_INVALID && refusal->param.len > 0)
        refusal->param = tr_param_in(x->caller->dialect, refusal->param, json);
    return move(&body, arena, rc, out);
}

static int print_path(struct tr_exchange *x, struct arena *arena, struct str *out)
{
    struct buf path;
    buf_init(&path, PATH_BYTES_MAX);
    int rc = x->provider->print_path(&x->target, x->stream, &path);
    return move(&path, arena, rc, out);
}

int tr_exchange_write(struct tr_exchange *x, const struct json *json, struct arena *arena,
                      struct str *out_body, struct str *out_path, struct call_refusal *refusal)
{
    struct tr_request request;
    struct str body, path;
    tr_terms_deinit(&x->terms);
    memset(&x->terms, 0, sizeof x->terms);
    *refusal = (struct call_refusal){.offset = -1};
    int rc = x->caller->read_request(json, arena, &request, refusal);
    if (rc == 0)
        rc = print_echo(x, &request);
    if (rc == 0)
        rc = tr_customs_plan(&request, x->provider->dialect, &x->target, arena, &x->terms, refusal);
    if (rc == 0)
        rc = print_body(x, &request, json, arena, refusal, &body);
    if (rc == 0)
        rc = print_path(x, arena, &path);
    if (rc != 0)
        return rc;
    x->print.details = request.details;
    x->hides_reasoning = request.think_hidden;
    *out_body = body;
    *out_path = path;
    return 0;
}

/* ---- a stream ---- */

/* Of all that a frame said, what whoever drives this must know. */
static enum provider_event kind_of(unsigned kinds)
{
    static const enum provider_event order[] = {PROVIDER_ERROR, PROVIDER_CONTENT, PROVIDER_DONE,
                                                PROVIDER_USAGE, PROVIDER_OPEN};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if ((kinds & EXCHANGE_KIND(order[i])) != 0)
            return order[i];
    return PROVIDER_SILENT;
}

/* Runs a reader and adds what was printed to out; what a broken frame left there goes. */
static enum provider_event run(struct tr_exchange *x, struct provider_reply *reply,
                               struct provider_out *out, struct json *json,
                               const struct tr_frame *frame)
{
    if (provider_out_gather(out) != 0)
        return PROVIDER_BAD;
    size_t before = out->gathered->len, end_before = reply->end.len;
    struct exchange_flow flow = {.x = x, .reply = reply, .out = out->gathered};
    const struct tr_sink sink = {exchange_put, &flow};
    int rc = frame != NULL ? x->provider->read_frame(x->provider_state, json, frame, &sink)
                           : x->provider->read_end(x->provider_state, &sink);
    if (rc == 0 && frame == NULL && !reply->done && reply->finish != CALL_FINISH_NONE) {
        const struct tr_event done = {.kind = TR_EVENT_DONE};
        rc = exchange_put(&flow, &done);
    }
    if (rc != 0) {
        out->gathered->len = before;
        reply->end.len = end_before;
        return PROVIDER_BAD;
    }
    out->bytes += out->gathered->len - before;
    return kind_of(flow.kinds);
}

static bool next_frame(struct tr_exchange *x, struct provider_reply *reply, struct str *io_input,
                       struct tr_frame *out, bool *out_empty)
{
    struct sse_event event;
    *out_empty = false;
    if (x->provider->frames != NULL)
        return x->provider->frames->next(x->frames_state, io_input, out);
    sse_reader_allow(&reply->sse, x->provider->event_bytes_max);
    if (!sse_reader_next(&reply->sse, io_input, &event))
        return false;
    *out = (struct tr_frame){.name = event.name, .data = event.data};
    *out_empty = !event.has_data;
    return true;
}

static bool is_broken(const struct tr_exchange *x, const struct provider_reply *reply)
{
    const struct tr_frames *frames = x->provider->frames;
    return (frames != NULL ? frames->status(x->frames_state) : sse_reader_status(&reply->sse)) != 0;
}

bool tr_exchange_read_next(struct tr_exchange *x, struct json *json, struct provider_reply *reply,
                           struct str *io_input, struct provider_out *out,
                           enum provider_event *out_kind)
{
    struct tr_frame frame;
    bool empty;
    if (x->broken || io_input->len == 0)
        return false;
    if (next_frame(x, reply, io_input, &frame, &empty)) {
        *out_kind = empty ? PROVIDER_SILENT : run(x, reply, out, json, &frame);
        x->broken = *out_kind == PROVIDER_BAD;
        return true;
    }
    x->broken = is_broken(x, reply);
    if (x->broken)
        *out_kind = PROVIDER_BAD;
    return x->broken;
}

/* The standard drops a block without its blank line (whose CR may have been the last byte); an end
 * mark is still believed. */
static bool is_end_mark(const struct sse_event *event)
{
    return str_eq(str_trim(event->data), STR("[DONE]")) || str_is(event->name, "message_stop");
}

void tr_exchange_read_end(struct tr_exchange *x, struct json *json, struct provider_reply *reply,
                          struct provider_out *out)
{
    const struct tr_frames *frames = x->provider->frames;
    struct sse_event event;
    if (x->broken || x->failed || reply->done)
        return;
    if (frames != NULL) {
        if (frames->is_cut(x->frames_state))
            return;
    } else if (sse_finish(&reply->sse, &event) && event.has_data &&
               (!event.cut || is_end_mark(&event))) {
        const struct tr_frame frame = {.name = event.name, .data = event.data};
        (void)run(x, reply, out, json, &frame);
    }
    if (!reply->done)
        x->broken = run(x, reply, out, json, NULL) == PROVIDER_BAD;
}

/* ---- a whole reply ---- */

int tr_exchange_read_reply(struct tr_exchange *x, struct json *json, struct provider_reply *reply,
                           struct str body, struct arena *arena, struct str *out_body)
{
    struct tr_collect collect;
    struct tr_answer answer;
    struct buf printed;
    tr_collect_init(&collect, arena);
    struct exchange_flow flow = {.x = x, .reply = reply, .collect = &collect};
    const struct tr_sink sink = {exchange_put, &flow};
    int rc = x->provider->read_reply(json, body, &sink);
    if (rc == 0 && x->failed)
        rc = ERR_PROTOCOL;
    if (rc == 0)
        rc = tr_collect_finish(&collect, &answer);
    if (rc != 0)
        return rc;
    buf_init(&printed, BODY_BYTES_MAX);
    rc = x->caller->print_answer(&x->print, &answer, &printed);
    return move(&printed, arena, rc, out_body);
}

void tr_exchange_read_error(struct tr_exchange *x, struct json *json, unsigned status,
                            struct str name, struct str body, struct arena *arena,
                            struct tr_error *out)
{
    x->provider->read_error(json, status, name, body, arena, out);
}

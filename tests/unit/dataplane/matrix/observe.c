#include "tests/unit/dataplane/matrix/observe.h"

#include <string.h>

#include "common/base/clock.h"
#include "dataplane/telemetry/record.h"
#include "tests/unit/dataplane/node/replies.h"

const struct told_error told_errors[] = {
    {"upstream_error", 502, 502, "server_error", "api_error", false},
    {"upstream_auth", 502, 502, "server_error", "api_error", false},
    {"rate_limit_exceeded", 429, 429, "requests", "rate_limit_error", true},
    {"upstream_refused", 400, 400, "invalid_request_error", "invalid_request_error", false},
    {"timeout", 504, 504, "server_error", "timeout_error", false},
    {"no_healthy_upstream", 503, 529, "server_error", "overloaded_error", false},
};
const size_t told_error_count = sizeof told_errors / sizeof told_errors[0];

static const char *reason_name(uint32_t reason)
{
    static const char *const names[] = {
        "ok",       "connect", "tls",       "timeout",      "status",  "rate_limited", "auth",
        "protocol", "cut",     "cancelled", "client_error", "address", "node_crash"};
    assert_true(reason < sizeof names / sizeof names[0]);
    return names[reason];
}

static const char *usage_name(uint32_t usage)
{
    static const char *const names[] = {"none", "provider", "counted", "estimated"};
    assert_true(usage < sizeof names / sizeof names[0]);
    return names[usage];
}

static const char *flags_name(uint32_t flags)
{
    if ((flags & RECORD_FLAG_USAGE_SUSPECT) != 0)
        return (flags & RECORD_FLAG_USAGE_ESTIMATED) != 0 ? "suspect, estimated" : "suspect";
    return (flags & RECORD_FLAG_USAGE_ESTIMATED) != 0 ? "estimated" : "";
}

struct row {
    struct observed *out;
    size_t count;
};

static void see(const Steelyard__Telemetry__V1__Decision *d, void *arg)
{
    struct row *r = arg;
    r->count++;
    if (d->n_attempt == 0)
        return;
    const Steelyard__Telemetry__V1__Attempt *a = d->attempt[0];
    r->out->reason = reason_name(a->reason);
    r->out->status = a->status;
    r->out->usage = usage_name((uint32_t)a->usage);
    r->out->flags = flags_name(a->flags);
}

static bool says(const struct rig_answer *a, const char *text)
{
    return str_search(buf_str(&a->body), str_from(text)) >= 0;
}

/* Which of our errors it is, if status, type and advice are those that go with it. */
static void describe_error(const struct caller *c, const struct rig_answer *a, char *out,
                           size_t room)
{
    const bool messages = c->dialect == DIALECT_ANTHROPIC;
    snprintf(out, room, "%u that is not in the table", a->status);
    for (size_t i = 0; i < told_error_count; i++) {
        const struct told_error *e = &told_errors[i];
        char code[64], type[64];
        snprintf(code, sizeof code, "\"%s\":\"%s\"", messages ? "error_code" : "code", e->code);
        snprintf(type, sizeof type, "\"type\":\"%s\"", messages ? e->anthropic : e->type);
        if (says(a, code) && says(a, type) && rig_has_header(a, "content-type: application/json") &&
            a->status == (messages ? e->status_anthropic : e->status) &&
            rig_has_header(a, e->retry ? "x-should-retry: true\r\n" : "x-should-retry: false\r\n"))
            snprintf(out, room, "%u %s%s", e->status, e->code,
                     says(a, "it said no") ? ", its words" : "");
    }
}

static void describe(const struct caller *c, const struct harm_scene *s, const struct rig_answer *a,
                     char *out, size_t room)
{
    if (a->status == 200 && !s->stream) {
        snprintf(out, room, "200 %s",
                 a->complete && says(a, "hello") ? "complete" : "not what it said");
    } else if (a->status == 200) {
        const bool ended = caller_ended(c, a), marked = caller_marked(c, a);
        snprintf(out, room, "200 %s",
                 ended && !marked && a->complete    ? "complete"
                 : marked && !ended && !a->complete ? "marked"
                                                    : "neither complete nor marked");
    } else if (str_eq(buf_str(&a->body), str_from(s->voice->refusal)) &&
               rig_has_header(a, "x-should-retry: false\r\n")) {
        snprintf(out, room, "%u its body", a->status);
    } else {
        describe_error(c, a, out, room);
    }
}

static void start(struct rig *r, const struct harm_scene *s, struct harm_act *act)
{
    struct rig_options *o = &act->options;
    o->types[0] = s->voice->host;
    o->types[1] = "custom";
    o->small_there = s->voice->model;
    o->abort_stops_billing = true;
    o->memory_max_bytes = VOICES_NODE_MEMORY;
    rig_start(r, o);
    rig_script(r, 0,
               (struct rig_script){.reply = buf_cstr(&act->bytes),
                                   .reply_len = act->bytes.len,
                                   .then = act->then,
                                   .at_once = act->options.tls_there});
    rig_script(r, 1,
               (struct rig_script){
                   .reply = s->stream ? replies_stream(EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE)
                                      : replies_whole()});
}

/* Nobody else is asked, and nothing twice. */
static void alone(const struct caller *c, const struct harm_scene *s, struct harm_act *act,
                  struct observed *out)
{
    struct rig r;
    struct rig_answer a;
    struct row row = {.out = out};
    const uint64_t begun_ns = clock_mono_ns();
    start(&r, s, act);
    r.on_row = see;
    r.on_row_arg = &row;
    rig_forgive(&r, 0);
    caller_ask(&r, c, "small", s->stream, &a);
    describe(c, s, &a, out->client, sizeof out->client);
    if (str_search(buf_str(&act->bytes), STR("evil")) >= 0)
        rig_until(&r, r.providers[0].gone > 0); /* F20: never used again. */
    out->cooled_s = (unsigned)((rig_cooldown_ms(&r, 0) + 999) / 1000);
    out->took_s = (unsigned)((clock_mono_ns() - begun_ns) / 1000000000);
    if (str_search(buf_str(&a.body), STR("evil")) >= 0)
        snprintf(out->client, sizeof out->client, "what is no part of it");
    buf_deinit(&a.body);
    rig_stop(&r);
    if (row.count != 1)
        fail_msg("%zu rows", row.count);
}

static bool is_next_tried(const struct caller *c, const struct harm_scene *s, struct harm_act *act)
{
    struct rig r;
    struct rig_answer a;
    start(&r, s, act);
    caller_ask(&r, c, "auto", s->stream, &a);
    const bool next = r.providers[1].requests > 0;
    if (next && (a.status != 200 || !a.complete || !says(&a, "hello") ||
                 (s->stream && (!caller_ended(c, &a) || caller_marked(c, &a)))))
        fail_msg("another one answered, and the caller got %u: %.*s", a.status, (int)a.body.len,
                 a.body.data);
    buf_deinit(&a.body);
    rig_stop(&r);
    return next;
}

bool observe(const struct harm *h, const struct caller *c, const struct voice *v, bool stream,
             struct observed *out)
{
    const struct harm_scene s = {.voice = v, .stream = stream, .word = h->word};
    struct harm_act act;
    memset(&act, 0, sizeof act);
    memset(out, 0, sizeof *out);
    out->reason = out->usage = out->flags = "";
    buf_init(&act.bytes, 64U << 20);
    const bool there = (h->place != HARM_SSE || v->dialect != DIALECT_BEDROCK) && h->act(&s, &act);
    if (there) {
        alone(c, &s, &act, out);
        out->next = is_next_tried(c, &s, &act);
    }
    buf_deinit(&act.bytes);
    return there;
}

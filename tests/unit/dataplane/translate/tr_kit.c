#include "tests/unit/dataplane/translate/tr_kit.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/net/sse.h"
#include "dataplane/translate/notes.h"
#include "dataplane/translate/quirks.h"

int tr_kit_setup(void **state)
{
    static struct tr_kit kit;
    memset(&kit, 0, sizeof kit);
    arena_pool_init(&kit.pool, 16);
    arena_init(&kit.arena, &kit.pool, 64U << 20);
    json_init(&kit.json, JSON_NODES_MAX);
    buf_init(&kit.out, 64U << 20);
    buf_init(&kit.log, 64U << 20);
    *state = &kit;
    return 0;
}

int tr_kit_teardown(void **state)
{
    struct tr_kit *kit = *state;
    tr_terms_deinit(&kit->terms);
    arena_reset(&kit->arena);
    arena_pool_deinit(&kit->pool);
    json_deinit(&kit->json);
    buf_deinit(&kit->out);
    buf_deinit(&kit->log);
    return 0;
}

void tr_kit_reset(struct tr_kit *kit)
{
    tr_terms_deinit(&kit->terms);
    memset(&kit->terms, 0, sizeof kit->terms);
    arena_reset(&kit->arena);
    buf_clear(&kit->out);
    buf_clear(&kit->log);
}

struct tr_target tr_kit_target(const char *host, const char *model)
{
    static const uint8_t key[16] = "0123456789abcdef";
    struct tr_target target = {
        .model = str_from(model), .host = host_find(str_from(host)), .id_key = key};
    assert_non_null(target.host);
    target.quirks = tr_quirks_find(target.host->dialect, target.model);
    return target;
}

int tr_kit_read(struct tr_kit *kit, enum dialect caller, const char *body)
{
    int rc = json_parse(&kit->json, str_from(body), NULL);
    if (rc != 0)
        return rc;
    return tr_caller_find(caller)->read_request(&kit->json, &kit->arena, &kit->request,
                                                &kit->refusal);
}

int tr_kit_ask(struct tr_kit *kit, enum dialect caller, const char *body, enum dialect provider,
               const struct tr_target *target)
{
    struct buf notes = {.data = kit->notes, .cap = sizeof kit->notes - 1};
    notes.max = notes.cap;
    int rc = tr_kit_read(kit, caller, body);
    if (rc == 0)
        rc = tr_provider_find(provider)->print_request(&kit->request, target, &kit->arena,
                                                       &kit->terms, &kit->refusal, &kit->out);
    if (rc == 0)
        rc = tr_notes_print(&kit->terms, &notes);
    kit->notes[notes.len] = '\0';
    return rc;
}

const char *tr_kit_asked(struct tr_kit *kit, enum dialect caller, const char *body,
                         enum dialect provider, const struct tr_target *target)
{
    tr_kit_reset(kit);
    int rc = tr_kit_ask(kit, caller, body, provider, target);
    if (rc != 0)
        print_error("refused: %.*s: %s\n", STR_ARG(kit->refusal.param),
                    kit->refusal.message != NULL ? kit->refusal.message : "");
    assert_int_equal(rc, 0);
    assert_int_equal(json_parse(&kit->json, buf_str(&kit->out), NULL), 0);
    return tr_kit_out(kit);
}

static void check_pair(struct tr_kit *kit, const struct tr_kit_pair *pair, size_t index)
{
    struct tr_target target = tr_kit_target(pair->host, pair->model);
    target.reject_unsupported = strcmp(pair->rules, "reject") == 0;
    target.no_repair = strcmp(pair->rules, "no repair") == 0;
    tr_kit_reset(kit);
    int rc = tr_kit_ask(kit, pair->caller, pair->body, target.host->dialect, &target);
    if (rc == ERR_INVALID) {
        buf_clear(&kit->out);
        rc = buf_printf(&kit->out, "!%.*s: %s", STR_ARG(kit->refusal.param), kit->refusal.message);
        assert_int_equal(rc, 0);
    } else {
        assert_int_equal(rc, 0);
        assert_int_equal(json_parse(&kit->json, buf_str(&kit->out), NULL), 0);
        assert_string_equal(kit->notes, pair->notes);
    }
    if (strcmp(tr_kit_out(kit), pair->expected) != 0)
        fail_msg("%zu: %s\n!= %s", index, tr_kit_out(kit), pair->expected);
}

void tr_kit_pairs(struct tr_kit *kit, const struct tr_kit_pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_pair(kit, &pairs[i], i);
}

const char *tr_kit_out(struct tr_kit *kit)
{
    return buf_cstr(&kit->out);
}

const char *tr_kit_log(struct tr_kit *kit)
{
    return buf_cstr(&kit->log);
}

/* ---- events as lines ---- */

static const char *const kinds[] = {"start",    "text",  "refusal",   "reasoning", "seal",
                                    "redacted", "call",  "arguments", "part_end",  "finish",
                                    "usage",    "error", "ping",      "done"};

static int log_call(struct tr_kit *kit, const struct tr_event *e)
{
    return buf_printf(&kit->log, " %u %.*s %.*s%s%.*s", e->call_index, STR_ARG(e->call.id),
                      STR_ARG(e->call.name), e->call.signature.len > 0 ? " signed " : "",
                      STR_ARG(e->call.signature));
}

static int log_usage(struct tr_kit *kit, const struct call_usage *u)
{
    return buf_printf(&kit->log, " in %llu out %llu cached %llu written %llu reasoning %llu%s",
                      (unsigned long long)u->tokens_in, (unsigned long long)u->tokens_out,
                      (unsigned long long)u->tokens_cached,
                      (unsigned long long)u->tokens_cache_write,
                      (unsigned long long)u->tokens_reasoning, u->suspect ? " suspect" : "");
}

static int log_rest(struct tr_kit *kit, const struct tr_event *e)
{
    switch (e->kind) {
    case TR_EVENT_START:
        return buf_printf(&kit->log, " %.*s %.*s", STR_ARG(e->id), STR_ARG(e->model));
    case TR_EVENT_TEXT:
    case TR_EVENT_REFUSAL:
    case TR_EVENT_REASONING:
        return buf_printf(&kit->log, " %.*s", STR_ARG(e->text));
    case TR_EVENT_SEAL:
    case TR_EVENT_REDACTED:
        return buf_printf(&kit->log, " %.*s", STR_ARG(e->opaque));
    case TR_EVENT_CALL:
        return log_call(kit, e);
    case TR_EVENT_ARGUMENTS:
        return buf_printf(&kit->log, " %u %.*s", e->call_index, STR_ARG(e->text));
    case TR_EVENT_FINISH:
        return buf_printf(&kit->log, " %s %.*s%s%.*s", call_finish_name(e->finish),
                          STR_ARG(e->vendor_finish), e->stop_sequence.len > 0 ? " at " : "",
                          STR_ARG(e->stop_sequence));
    case TR_EVENT_USAGE:
        return log_usage(kit, &e->usage);
    case TR_EVENT_ERROR:
        return buf_printf(&kit->log, " %u %.*s (%.*s)", (unsigned)e->error.kind,
                          STR_ARG(e->error.message), STR_ARG(e->error.code));
    case TR_EVENT_PART_END:
    case TR_EVENT_PING:
    case TR_EVENT_DONE:
        return 0;
    }
    return 0;
}

static int put(void *arg, const struct tr_event *e)
{
    struct tr_kit *kit = arg;
    fault_suspend();
    int rc = buf_append_text(&kit->log, kinds[e->kind]);
    if (rc == 0 && e->choice > 0)
        rc = buf_printf(&kit->log, "[%u]", e->choice);
    if (rc == 0)
        rc = log_rest(kit, e);
    if (rc == 0)
        rc = buf_append_char(&kit->log, '\n');
    fault_continue();
    return rc;
}

/* ---- readers of replies ---- */

struct run {
    struct tr_kit *kit;
    const struct tr_provider_dialect *dialect;
    struct tr_sink sink;
    struct sse_reader sse;
    void *state;
    void *frames; /* Of a framing that is not SSE. */
    int rc;
};

static void run_begin(struct run *run, struct tr_kit *kit, enum dialect provider)
{
    *run = (struct run){
        .kit = kit, .dialect = tr_provider_find(provider), .sink = {.put = put, .arg = kit}};
    sse_reader_init(&run->sse, 0);
    fault_suspend();
    run->state = mem_zalloc(run->dialect->state_bytes);
    if (run->dialect->frames != NULL)
        run->frames = mem_zalloc(run->dialect->frames->state_bytes);
    fault_continue();
    assert_non_null(run->state);
}

static void run_feed_frames(struct run *run, struct str piece)
{
    const struct tr_frames *frames = run->dialect->frames;
    struct tr_frame frame;
    while (run->rc == 0 && frames->next(run->frames, &piece, &frame))
        run->rc = run->dialect->read_frame(run->state, &run->kit->json, &frame, &run->sink);
    if (run->rc == 0)
        run->rc = frames->status(run->frames);
}

static void run_feed(struct run *run, struct str piece)
{
    struct sse_event event;
    if (run->frames != NULL) {
        run_feed_frames(run, piece);
        return;
    }
    while (run->rc == 0 && sse_reader_next(&run->sse, &piece, &event)) {
        struct tr_frame frame = {.name = event.name, .data = event.data};
        if (event.has_data)
            run->rc = run->dialect->read_frame(run->state, &run->kit->json, &frame, &run->sink);
    }
    if (run->rc == 0)
        run->rc = sse_reader_status(&run->sse);
}

static int run_end(struct run *run)
{
    if (run->rc == 0 && run->frames != NULL && run->dialect->frames->is_cut(run->frames))
        run->rc = ERR_EOF;
    if (run->rc == 0)
        run->rc = run->dialect->read_end(run->state, &run->sink);
    if (run->dialect->end != NULL)
        run->dialect->end(run->state);
    mem_free(run->state);
    if (run->frames != NULL)
        run->dialect->frames->deinit(run->frames);
    mem_free(run->frames);
    sse_reader_deinit(&run->sse);
    return run->rc;
}

int tr_kit_stream(struct tr_kit *kit, enum dialect provider, struct str stream, size_t step)
{
    struct run run;
    run_begin(&run, kit, provider);
    for (size_t at = 0, n = step > 0 ? step : stream.len; at < stream.len; at += n)
        run_feed(&run, str_slice(stream, at, at + n));
    return run_end(&run);
}

int tr_kit_stream_cut(struct tr_kit *kit, enum dialect provider, struct str stream, size_t at)
{
    struct run run;
    run_begin(&run, kit, provider);
    run_feed(&run, str_slice(stream, 0, at));
    run_feed(&run, str_slice(stream, at, stream.len));
    return run_end(&run);
}

int tr_kit_reply(struct tr_kit *kit, enum dialect provider, const char *body)
{
    struct tr_sink sink = {.put = put, .arg = kit};
    return tr_provider_find(provider)->read_reply(&kit->json, str_from(body), &sink);
}

struct tr_error tr_kit_error_named(struct tr_kit *kit, enum dialect provider, unsigned status,
                                   const char *name, const char *body)
{
    struct tr_error error;
    tr_provider_find(provider)->read_error(&kit->json, status, str_from(name), str_from(body),
                                           &kit->arena, &error);
    return error;
}

struct tr_error tr_kit_error(struct tr_kit *kit, enum dialect provider, unsigned status,
                             const char *body)
{
    return tr_kit_error_named(kit, provider, status, NULL, body);
}

int tr_kit_print(struct tr_kit *kit, enum dialect caller, const struct tr_print *print,
                 const struct tr_event *events, size_t count)
{
    const struct tr_caller_dialect *dialect = tr_caller_find(caller);
    fault_suspend();
    void *state = mem_zalloc(dialect->state_bytes);
    fault_continue();
    int rc = 0;
    assert_non_null(state);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = dialect->print_event(state, print, &events[i], &kit->out);
    if (dialect->end != NULL)
        dialect->end(state);
    mem_free(state);
    return rc;
}

void tr_kit_ask_deep(struct tr_kit *kit, const char *host, const char *model, const char *begun)
{
    struct tr_target target = tr_kit_target(host, model);
    struct buf body;
    buf_init(&body, 4U << 20);
    assert_int_equal(
        buf_append_text(&body, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
                               "\"a\\u0000\\ud83d\\ude00\"},{\"role\":\"assistant\",\"content\":"
                               "null,\"tool_calls\":[{\"id\":\"i\",\"type\":\"function\","
                               "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":"),
        0);
    for (int i = 0; i < 120; i++)
        assert_int_equal(buf_append_char(&body, '['), 0);
    assert_int_equal(buf_append_text(&body, "\\\"\\u00e9\\\\u0000"), 0);
    for (size_t i = 0; i < 1U << 20; i++)
        assert_int_equal(buf_append_char(&body, 'x'), 0);
    assert_int_equal(buf_append_text(&body, "\\\""), 0);
    for (int i = 0; i < 120; i++)
        assert_int_equal(buf_append_char(&body, ']'), 0);
    assert_int_equal(buf_append_text(&body, "}\"}}]}]}"), 0);
    const char *out =
        tr_kit_asked(kit, DIALECT_OPENAI, buf_cstr(&body), target.host->dialect, &target);
    assert_non_null(strstr(out, "a\\u0000\xf0\x9f\x98\x80"));
    assert_non_null(strstr(out, begun));
    assert_true(kit->out.len > 1U << 20);
    buf_deinit(&body);
}

void tr_kit_ask_starved(void **state, enum dialect caller, const char *body, const char *host,
                        const char *model)
{
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        tr_kit_teardown(state);
        tr_kit_setup(state);
        struct tr_kit *kit = *state;
        struct tr_target target = tr_kit_target(host, model);
        fault_arm_alloc(n);
        int rc = tr_kit_ask(kit, caller, body, target.host->dialect, &target);
        fired = fault_disarm();
        assert_true(fired ? rc == ERR_NOMEM || rc == ERR_TOO_LARGE : rc == 0);
    }
}

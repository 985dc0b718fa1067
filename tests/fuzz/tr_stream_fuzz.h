/* tr_stream_fuzz.h: a provider's stream, in events and printed for callers: however it is cut, the
 * same comes of it; texts are UTF-8, calls begin before their arguments, arguments that end are one
 * JSON object, nothing follows the end, and what is printed are frames of JSON. The same input as a
 * whole reply and as an error. For dialects in SSE. */
#ifndef STEELYARD_TESTS_FUZZ_TR_STREAM_FUZZ_H
#define STEELYARD_TESTS_FUZZ_TR_STREAM_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/sse.h"
#include "dataplane/translate/dialects.h"

struct run {
    const struct tr_provider_dialect *provider;
    const struct tr_caller_dialect *caller;
    struct tr_print print;
    struct sse_reader sse;
    struct json json, check;
    struct buf out;
    void *reader, *printer;
    struct buf arguments[CALL_CHOICES_MAX]; /* Of the last call. */
    uint32_t calls[CALL_CHOICES_MAX];
    uint64_t events; /* Digest of kinds and texts. */
    bool ended;
    int rc;
};

static void check(bool condition)
{
    if (!condition)
        abort();
}

static void digest(struct run *run, struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        run->events = (run->events ^ (unsigned char)text.data[i]) * UINT64_C(1099511628211);
}

/* Values that come one by one may come twice: then a key does. */
static void check_arguments(struct run *run, const struct buf *arguments)
{
    if (arguments->len == 0)
        return;
    int rc = json_parse(&run->check, buf_str(arguments), NULL);
    check(rc == 0 || rc == ERR_EXISTS || rc == ERR_LIMIT ||
          run->provider->dialect == DIALECT_COHERE);
}

static void note_call(struct run *run, const struct tr_event *event)
{
    struct buf *arguments = &run->arguments[event->choice];
    if (event->kind == TR_EVENT_CALL) {
        check(event->call_index == run->calls[event->choice]++);
        check(event->call.name.len > 0);
        buf_clear(arguments);
    }
    if (event->kind == TR_EVENT_ARGUMENTS) {
        check(event->call_index + 1 == run->calls[event->choice]);
        check(buf_append_str(arguments, event->text) == 0);
    }
    if (event->kind == TR_EVENT_PART_END) {
        check(event->call_index + 1 == run->calls[event->choice]);
        check_arguments(run, arguments);
    }
}

static int put(void *arg, const struct tr_event *event)
{
    struct run *run = arg;
    check(!run->ended && event->choice < CALL_CHOICES_MAX);
    run->events = run->events * 31 + (uint64_t)event->kind;
    check(str_valid_utf8(event->text) && str_valid_utf8(event->call.name));
    check(str_valid_utf8(event->error.message) && event->error.message.len <= 1024);
    note_call(run, event);
    digest(run, event->text);
    digest(run, event->opaque);
    digest(run, event->call.name);
    digest(run, event->call.signature);
    run->ended = event->kind == TR_EVENT_DONE || event->kind == TR_EVENT_ERROR;
    return event->kind == TR_EVENT_ERROR || run->printer == NULL
               ? 0
               : run->caller->print_event(run->printer, &run->print, event, &run->out);
}

static void begin(struct run *run, enum dialect provider, enum dialect caller)
{
    *run = (struct run){.provider = tr_provider_find(provider), .caller = tr_caller_find(caller)};
    run->print = (struct tr_print){
        .id = STR("id"), .model = STR("m"), .want_usage = true, .vendor = provider};
    sse_reader_init(&run->sse, 0);
    json_init(&run->json, JSON_NODES_MAX);
    json_init(&run->check, JSON_NODES_MAX);
    buf_init(&run->out, 64U << 20);
    for (size_t i = 0; i < CALL_CHOICES_MAX; i++)
        buf_init(&run->arguments[i], 64U << 20);
    run->reader = mem_zalloc(run->provider->state_bytes);
    run->printer = mem_zalloc(run->caller->state_bytes);
    check(run->reader != NULL && run->printer != NULL);
}

static void feed(struct run *run, struct str input)
{
    struct tr_sink sink = {.put = put, .arg = run};
    struct sse_event event;
    while (run->rc == 0 && sse_reader_next(&run->sse, &input, &event)) {
        struct tr_frame frame = {.name = event.name, .data = event.data};
        if (event.has_data)
            run->rc = run->provider->read_frame(run->reader, &run->json, &frame, &sink);
    }
}

static void finish(struct run *run)
{
    struct tr_sink sink = {.put = put, .arg = run};
    if (run->rc == 0)
        run->rc = run->provider->read_end(run->reader, &sink);
}

static void end(struct run *run)
{
    run->provider->end(run->reader);
    if (run->caller->end != NULL)
        run->caller->end(run->printer);
    mem_free(run->reader);
    mem_free(run->printer);
    sse_reader_deinit(&run->sse);
    json_deinit(&run->json);
    json_deinit(&run->check);
    buf_deinit(&run->out);
    for (size_t i = 0; i < CALL_CHOICES_MAX; i++)
        buf_deinit(&run->arguments[i]);
}

/* JSON, the end mark or a comment. */
static void check_frames(struct str out)
{
    struct sse_reader sse;
    struct sse_event event;
    struct json json;
    json_init(&json, JSON_NODES_MAX);
    sse_reader_init(&sse, 64U << 20);
    while (sse_reader_next(&sse, &out, &event))
        check(!event.has_data || str_is(event.data, "[DONE]") ||
              json_parse(&json, event.data, NULL) == 0);
    check(sse_reader_status(&sse) == 0 && !sse_finish(&sse, &event));
    sse_reader_deinit(&sse);
    json_deinit(&json);
}

static void read_whole(enum dialect provider, struct str input)
{
    struct arena_pool pool;
    struct arena arena;
    struct tr_error error;
    struct run run;
    struct tr_sink sink = {.put = put, .arg = &run};
    begin(&run, provider, DIALECT_OPENAI);
    if (run.provider->read_reply(&run.json, input, &sink) == 0)
        check(run.ended);
    arena_pool_init(&pool, 4);
    arena_init(&arena, &pool, 1U << 20);
    run.provider->read_error(&run.json, input.len > 0 ? 400U + (unsigned char)input.data[0] : 0,
                             STR_NULL, input, &arena, &error);
    check(str_valid_utf8(error.message) && error.message.len <= 1024 && error.wait_ms >= -1);
    check(str_valid_utf8(error.code));
    arena_reset(&arena);
    arena_pool_deinit(&pool);
    end(&run);
}

static int try_stream(enum dialect provider, struct str input)
{
    if (input.len > 65536)
        return 0;
    size_t step = input.len > 0 ? 1 + (unsigned char)input.data[input.len - 1] % 7U : 1;
    for (int caller = 0; caller < DIALECT_CALLERS; caller++) {
        struct run whole, cut;
        begin(&whole, provider, (enum dialect)caller);
        begin(&cut, provider, (enum dialect)caller);
        feed(&whole, input);
        for (size_t at = 0; at < input.len; at += step)
            feed(&cut, str_slice(input, at, at + step));
        finish(&whole);
        finish(&cut);
        check_frames(buf_str(&whole.out));
        check(cut.rc == whole.rc && cut.events == whole.events);
        check(cut.out.len == whole.out.len); /* Ids that are made differ. */
        end(&whole);
        end(&cut);
    }
    read_whole(provider, input);
    return 0;
}

#endif

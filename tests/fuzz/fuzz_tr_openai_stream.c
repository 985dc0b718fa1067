/* A stream of a host of chat completions, in events and printed for a caller: however it is cut,
 * the same comes of it; texts are UTF-8, calls begin before their arguments, nothing follows the
 * end, and what is printed are frames of JSON. The same input as a whole reply and as an error. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/sse.h"
#include "dataplane/translate/dialects.h"

static void check(bool condition)
{
    if (!condition)
        abort();
}

struct run {
    struct sse_reader sse;
    struct json json;
    struct buf out;
    void *reader, *printer;
    uint32_t calls[CALL_CHOICES_MAX];
    uint64_t events; /* Digest of kinds and texts. */
    bool ended;
    int rc;
};

static const struct tr_provider_dialect *provider;
static const struct tr_caller_dialect *caller;
static const struct tr_print print = {.id = {.data = "id", .len = 2},
                                      .model = {.data = "m", .len = 1},
                                      .want_usage = true,
                                      .vendor = DIALECT_OPENAI};

static void digest(struct run *run, struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        run->events = (run->events ^ (unsigned char)text.data[i]) * UINT64_C(1099511628211);
}

static int put(void *arg, const struct tr_event *event)
{
    struct run *run = arg;
    check(!run->ended && event->choice < CALL_CHOICES_MAX);
    run->events = run->events * 31 + (uint64_t)event->kind;
    check(str_valid_utf8(event->text) && str_valid_utf8(event->call.name));
    check(str_valid_utf8(event->error.message) && event->error.message.len <= 1024);
    if (event->kind == TR_EVENT_CALL)
        check(event->call_index == run->calls[event->choice]++);
    if (event->kind == TR_EVENT_ARGUMENTS)
        check(event->call_index < run->calls[event->choice]);
    digest(run, event->text);
    digest(run, event->call.name);
    run->ended = event->kind == TR_EVENT_DONE || event->kind == TR_EVENT_ERROR;
    return event->kind == TR_EVENT_ERROR || run->printer == NULL
               ? 0
               : caller->print_event(run->printer, &print, event, &run->out);
}

static void begin(struct run *run)
{
    memset(run, 0, sizeof *run);
    sse_reader_init(&run->sse, 0);
    json_init(&run->json, JSON_NODES_MAX);
    buf_init(&run->out, 64U << 20);
    run->reader = mem_zalloc(provider->state_bytes);
    run->printer = mem_zalloc(caller->state_bytes);
    check(run->reader != NULL && run->printer != NULL);
}

static void feed(struct run *run, struct str input)
{
    struct tr_sink sink = {.put = put, .arg = run};
    struct sse_event event;
    while (run->rc == 0 && sse_reader_next(&run->sse, &input, &event)) {
        struct tr_frame frame = {.name = event.name, .data = event.data};
        if (event.has_data)
            run->rc = provider->read_frame(run->reader, &run->json, &frame, &sink);
    }
}

static void end(struct run *run)
{
    struct tr_sink sink = {.put = put, .arg = run};
    if (run->rc == 0)
        run->rc = provider->read_end(run->reader, &sink);
    provider->end(run->reader);
    mem_free(run->reader);
    mem_free(run->printer);
    sse_reader_deinit(&run->sse);
    json_deinit(&run->json);
}

/* Frames of one line each: JSON, the end mark or a comment. */
static void check_frames(struct str out)
{
    struct json json;
    struct str line;
    json_init(&json, JSON_NODES_MAX);
    while (out.len > 0) {
        check(str_cut(out, '\n', &line, &out) && str_starts(line, STR("data: ")));
        line = str_slice(line, 6, line.len);
        check(str_eq(line, STR("[DONE]")) || json_parse(&json, line, NULL) == 0);
        check(str_cut(out, '\n', &line, &out) && line.len == 0);
    }
    json_deinit(&json);
}

static void read_whole(struct str input)
{
    struct arena_pool pool;
    struct arena arena;
    struct tr_error error;
    struct run run = {.rc = 0};
    struct tr_sink sink = {.put = put, .arg = &run};
    json_init(&run.json, JSON_NODES_MAX);
    if (provider->read_reply(&run.json, input, &sink) == 0)
        check(run.ended);
    arena_pool_init(&pool, 4);
    arena_init(&arena, &pool, 1U << 20);
    provider->read_error(&run.json, input.len > 0 ? 400U + (unsigned char)input.data[0] : 0,
                         STR_NULL, input, &arena, &error);
    check(str_valid_utf8(error.message) && error.message.len <= 1024 && error.wait_ms >= -1);
    arena_reset(&arena);
    arena_pool_deinit(&pool);
    json_deinit(&run.json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = {.data = (const char *)data, .len = size};
    struct run whole, cut;
    provider = tr_provider_find(DIALECT_OPENAI);
    caller = tr_caller_find(DIALECT_OPENAI);
    begin(&whole);
    feed(&whole, input);
    end(&whole);
    check_frames(buf_str(&whole.out));
    begin(&cut);
    for (size_t at = 0, step = size > 0 ? 1 + data[size - 1] % 7U : 1; at < size; at += step)
        feed(&cut, str_slice(input, at, at + step));
    end(&cut);
    check(cut.rc == whole.rc && cut.events == whole.events);
    check(str_eq(buf_str(&cut.out), buf_str(&whole.out)));
    buf_deinit(&whole.out);
    buf_deinit(&cut.out);
    read_whole(input);
    return 0;
}

/* A stream of a Messages provider, in events and printed for a caller of the same dialect, and
 * passed through: however it is cut, the same comes of it; what is printed are frames in which one
 * block is open at a time. The same input as a whole reply and as an error. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/sse.h"
#include "dataplane/llm/anthropic.h"
#include "dataplane/translate/dialects.h"

static void check(bool condition)
{
    if (!condition)
        abort();
}

static const struct tr_provider_dialect *provider;
static const struct tr_caller_dialect *caller;
static const struct tr_print print = {
    .id = {.data = "id", .len = 2}, .model = {.data = "m", .len = 1}, .vendor = DIALECT_ANTHROPIC};

/* ---- translated ---- */

struct run {
    struct sse_reader sse;
    struct json json;
    struct buf out;
    void *reader, *printer;
    uint32_t calls;
    uint64_t events; /* Digest of kinds and texts. */
    bool ended;
    int rc;
};

static void digest(struct run *run, struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        run->events = (run->events ^ (unsigned char)text.data[i]) * UINT64_C(1099511628211);
}

static int put(void *arg, const struct tr_event *event)
{
    struct run *run = arg;
    run->events = run->events * 31 + (uint64_t)event->kind;
    check(str_valid_utf8(event->text) && str_valid_utf8(event->call.name));
    check(str_valid_utf8(event->error.message) && event->error.message.len <= 1024);
    if (event->kind == TR_EVENT_CALL)
        check(event->call_index == run->calls++);
    if (event->kind == TR_EVENT_ARGUMENTS)
        check(event->call_index < run->calls);
    digest(run, event->text);
    digest(run, event->opaque);
    digest(run, event->call.name);
    if (run->ended)
        return 0; /* Nothing that follows the end is delivered. */
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
    provider->end(run->reader);
    caller->end(run->printer);
    mem_free(run->reader);
    mem_free(run->printer);
    sse_reader_deinit(&run->sse);
    json_deinit(&run->json);
}

/* ---- what was printed ---- */

struct blocks {
    bool started, open, stopped;
    int64_t next;
};

static bool type_is(const struct json *j, const char *type)
{
    return json_string_is(j, json_get(j, JSON_ROOT, STR("type")), str_from(type));
}

static int64_t index_of(const struct json *j)
{
    int64_t index = -1;
    check(json_i64(j, json_get(j, JSON_ROOT, STR("index")), 0, INT32_MAX, &index) == 0);
    return index;
}

static void check_frame(struct blocks *b, const struct json *j)
{
    if (type_is(j, "ping"))
        return;
    check(!b->stopped && b->started == !type_is(j, "message_start"));
    b->started = true;
    if (type_is(j, "content_block_start")) {
        check(!b->open && index_of(j) == b->next);
        b->open = true;
    } else if (type_is(j, "content_block_delta")) {
        check(b->open && index_of(j) == b->next);
    } else if (type_is(j, "content_block_stop")) {
        check(b->open && index_of(j) == b->next++);
        b->open = false;
    } else if (type_is(j, "message_delta")) {
        check(!b->open);
    } else if (type_is(j, "message_stop")) {
        b->stopped = true;
    } else {
        check(type_is(j, "message_start"));
    }
}

static void check_frames(struct str out)
{
    struct blocks blocks = {0};
    struct sse_reader sse;
    struct sse_event event;
    struct json json;
    json_init(&json, JSON_NODES_MAX);
    sse_reader_init(&sse, 64U << 20);
    while (sse_reader_next(&sse, &out, &event)) {
        check(json_parse(&json, event.data, NULL) == 0);
        check(json_string_is(&json, json_get(&json, JSON_ROOT, STR("type")), event.name));
        check_frame(&blocks, &json);
    }
    check(sse_reader_status(&sse) == 0 && !sse_finish(&sse, &event));
    sse_reader_deinit(&sse);
    json_deinit(&json);
}

/* ---- passed through ---- */

static const struct provider_rewrite rewrite = {.model = {.data = "served", .len = 6},
                                                .model_plain = true};

static void pass(struct json *json, struct provider_reply *reply, struct buf *out, struct str input)
{
    struct provider_out pieces;
    struct buf gathered;
    enum provider_event kind = PROVIDER_SILENT;
    buf_init(&gathered, 16U << 20);
    provider_out_start(&pieces, &gathered);
    while (!reply->done && kind != PROVIDER_BAD && kind != PROVIDER_ERROR &&
           provider_read_next(&provider_anthropic, json, reply, &input, &rewrite, &pieces, &kind))
        ;
    if (pieces.gathering)
        check(buf_append_str(out, buf_str(&gathered)) == 0);
    for (size_t i = 0; i < pieces.count; i++)
        check(buf_append_str(out, pieces.room[i + 1]) == 0);
    reply->done |= kind == PROVIDER_BAD || kind == PROVIDER_ERROR;
    buf_deinit(&gathered);
}

static void pass_both_ways(struct str input, size_t step)
{
    struct provider_reply whole = {.done = false}, cut = {.done = false};
    struct buf a, b;
    struct json json;
    json_init(&json, JSON_NODES_MAX);
    buf_init(&a, 16U << 20);
    buf_init(&b, 16U << 20);
    provider_reply_reset(&whole);
    provider_reply_reset(&cut);
    pass(&json, &whole, &a, input);
    for (size_t at = 0; at < input.len && !cut.done; at += step)
        pass(&json, &cut, &b, str_slice(input, at, at + step));
    check(str_eq(buf_str(&a), buf_str(&b)));
    check(str_eq(buf_str(&whole.end), buf_str(&cut.end)));
    check(whole.finish == cut.finish && whole.text_q8 == cut.text_q8);
    check(whole.usage.tokens_in == cut.usage.tokens_in && whole.done == cut.done);
    provider_usage_check(&whole.usage, 1, whole.text_q8, whole.content_bytes);
    check(whole.usage.tokens_cached + whole.usage.tokens_cache_write <= whole.usage.tokens_in);
    check(!whole.usage.known ||
          whole.usage.tokens_cache_write_1h <= whole.usage.tokens_cache_write);
    provider_reply_deinit(&whole);
    provider_reply_deinit(&cut);
    buf_deinit(&a);
    buf_deinit(&b);
    json_deinit(&json);
}

/* ---- whole ---- */

static void read_whole(struct str input)
{
    struct arena_pool pool;
    struct arena arena;
    struct tr_error error;
    struct run run = {.rc = 0};
    struct tr_sink sink = {.put = put, .arg = &run};
    struct provider_reply reply = {.done = false};
    struct str pieces[PROVIDER_REPLY_PIECES_MAX];
    size_t count;
    json_init(&run.json, JSON_NODES_MAX);
    arena_pool_init(&pool, 4);
    arena_init(&arena, &pool, 1U << 20);
    int rc = provider->read_reply(&run.json, input, &sink);
    check(rc != 0 || run.ended);
    /* Both ways take the same for a reply. */
    check((anthropic_read_reply(&run.json, &reply, input, &rewrite, &arena, pieces, &count) == 0) ==
          (rc == 0));
    check(rc != 0 || count <= PROVIDER_REPLY_PIECES_MAX);
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
    size_t step = size > 0 ? 1 + data[size - 1] % 7U : 1;
    struct run whole, cut;
    if (size > 65536)
        return 0;
    provider = tr_provider_find(DIALECT_ANTHROPIC);
    caller = tr_caller_find(DIALECT_ANTHROPIC);
    begin(&whole);
    feed(&whole, input);
    end(&whole);
    check_frames(buf_str(&whole.out));
    begin(&cut);
    for (size_t at = 0; at < size; at += step)
        feed(&cut, str_slice(input, at, at + step));
    end(&cut);
    check(cut.rc == whole.rc && cut.events == whole.events);
    check(str_eq(buf_str(&cut.out), buf_str(&whole.out)));
    buf_deinit(&whole.out);
    buf_deinit(&cut.out);
    pass_both_ways(input, step);
    read_whole(input);
    return 0;
}

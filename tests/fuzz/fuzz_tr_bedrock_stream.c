/* A stream of Bedrock, given as lines (tests/lib/aws_encode.h), in events: however its frames are
 * cut, the same comes of it; calls are numbered in order; nothing follows the end. The same input
 * as a whole reply and as an error. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/lib/aws_encode.h"

static void check(bool condition)
{
    if (!condition)
        abort();
}

struct run {
    struct json json;
    void *reader, *frames;
    uint32_t calls;
    uint64_t events; /* Digest of kinds and texts. */
    bool ended;
    int rc;
};

static void digest(struct run *run, struct str text)
{
    check(str_valid_utf8(text));
    for (size_t i = 0; i < text.len; i++)
        run->events = (run->events ^ (unsigned char)text.data[i]) * UINT64_C(1099511628211);
}

static int put(void *arg, const struct tr_event *event)
{
    struct run *run = arg;
    check(!run->ended || event->kind != TR_EVENT_DONE);
    run->events = run->events * 31 + (uint64_t)event->kind;
    check(event->error.message.len <= 1024);
    if (event->kind == TR_EVENT_CALL)
        check(event->call_index == run->calls++);
    if (event->kind == TR_EVENT_ARGUMENTS)
        check(event->call_index < run->calls);
    digest(run, event->text);
    digest(run, event->opaque);
    digest(run, event->call.id);
    digest(run, event->call.name);
    digest(run, event->vendor_finish);
    digest(run, event->error.message);
    digest(run, event->error.code);
    run->ended = run->ended || event->kind == TR_EVENT_DONE || event->kind == TR_EVENT_ERROR;
    return 0;
}

static const struct tr_provider_dialect *provider;

static void begin(struct run *run)
{
    memset(run, 0, sizeof *run);
    json_init(&run->json, JSON_NODES_MAX);
    run->reader = mem_zalloc(provider->state_bytes);
    run->frames = mem_zalloc(provider->frames->state_bytes);
    check(run->reader != NULL && run->frames != NULL);
}

static void feed(struct run *run, struct str piece)
{
    struct tr_sink sink = {.put = put, .arg = run};
    struct tr_frame frame;
    while (run->rc == 0 && provider->frames->next(run->frames, &piece, &frame))
        run->rc = provider->read_frame(run->reader, &run->json, &frame, &sink);
    check(provider->frames->status(run->frames) == 0);
}

static void end(struct run *run)
{
    struct tr_sink sink = {.put = put, .arg = run};
    if (run->rc == 0)
        check(provider->read_end(run->reader, &sink) == 0);
    check(!provider->frames->is_cut(run->frames) || run->rc != 0);
    provider->end(run->reader);
    provider->frames->deinit(run->frames);
    mem_free(run->reader);
    mem_free(run->frames);
    json_deinit(&run->json);
}

static void read_whole(struct str input)
{
    struct arena_pool pool;
    struct arena arena;
    struct tr_error error;
    struct run run = {.rc = 0};
    struct tr_sink sink = {.put = put, .arg = &run};
    struct str name, body;
    json_init(&run.json, JSON_NODES_MAX);
    arena_pool_init(&pool, 4);
    arena_init(&arena, &pool, 1U << 20);
    check(provider->read_reply(&run.json, input, &sink) != 0 || run.ended);
    (void)str_cut(input, ' ', &name, &body);
    provider->read_error(&run.json, input.len > 0 ? 400U + (unsigned char)input.data[0] : 0, name,
                         body, &arena, &error);
    check(str_valid_utf8(error.message) && str_valid_utf8(error.code));
    check(error.message.len <= 1024);
    arena_reset(&arena);
    arena_pool_deinit(&pool);
    json_deinit(&run.json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = {.data = (const char *)data, .len = size};
    size_t step = size > 0 ? 1 + data[size - 1] % 37U : 1;
    struct run whole, cut;
    struct buf stream;
    if (size > 65536)
        return 0;
    provider = tr_provider_find(DIALECT_BEDROCK);
    buf_init(&stream, 64U << 20);
    check(aws_encode_lines(&stream, input) == 0);
    begin(&whole);
    feed(&whole, buf_str(&stream));
    end(&whole);
    begin(&cut);
    for (size_t at = 0; at < stream.len; at += step)
        feed(&cut, str_slice(buf_str(&stream), at, at + step));
    end(&cut);
    check(cut.rc == whole.rc && cut.events == whole.events);
    buf_deinit(&stream);
    read_whole(input);
    return 0;
}

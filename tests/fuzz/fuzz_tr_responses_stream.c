/* A provider's stream, in events and printed as the Responses dialect: however it is cut, the same
 * comes of it; what is printed are frames of JSON whose numbers have no gaps, and every item that
 * was added is done by the end and stands in the last output. The first byte says whose stream it
 * is: mostly one of the Responses dialect itself. The same input as a whole reply. */
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
    uint32_t calls;
    uint64_t events; /* Digest of kinds and texts. */
    bool ended;
    int rc;
};

static const struct tr_provider_dialect *provider;
static const struct tr_print print = {
    .id = {.data = "id", .len = 2}, .model = {.data = "m", .len = 1}, .vendor = DIALECT_RESPONSES};

static void digest(struct run *run, struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        run->events = (run->events ^ (unsigned char)text.data[i]) * UINT64_C(1099511628211);
}

static int put(void *arg, const struct tr_event *event)
{
    struct run *run = arg;
    check(!run->ended);
    run->events = run->events * 31 + (uint64_t)event->kind;
    check(str_valid_utf8(event->text) && str_valid_utf8(event->call.name));
    check(str_valid_utf8(event->opaque) && str_valid_utf8(event->error.message));
    if (event->kind == TR_EVENT_CALL && provider->dialect == DIALECT_RESPONSES)
        check(event->call_index == run->calls++);
    digest(run, event->text);
    digest(run, event->call.name);
    digest(run, event->opaque);
    run->ended = event->kind == TR_EVENT_DONE || event->kind == TR_EVENT_ERROR;
    if (run->printer == NULL || event->kind == TR_EVENT_ERROR)
        return 0;
    return tr_caller_responses.print_event(run->printer, &print, event, &run->out);
}

static void begin(struct run *run)
{
    memset(run, 0, sizeof *run);
    sse_reader_init(&run->sse, 0);
    json_init(&run->json, JSON_NODES_MAX);
    buf_init(&run->out, 64U << 20);
    run->reader = mem_zalloc(provider->state_bytes);
    run->printer = mem_zalloc(tr_caller_responses.state_bytes);
    check(run->reader != NULL && run->printer != NULL);
}

static void feed(struct run *run, struct str input)
{
    struct tr_sink sink = {.put = put, .arg = run};
    struct sse_event event;
    while (run->rc == 0 && !run->ended && sse_reader_next(&run->sse, &input, &event)) {
        struct tr_frame frame = {.name = event.name, .data = event.data};
        if (event.has_data)
            run->rc = provider->read_frame(run->reader, &run->json, &frame, &sink);
    }
}

static void end(struct run *run)
{
    struct tr_sink sink = {.put = put, .arg = run};
    if (run->rc == 0 && !run->ended)
        run->rc = provider->read_end(run->reader, &sink);
    if (provider->end != NULL)
        provider->end(run->reader);
    tr_caller_responses.end(run->printer);
    mem_free(run->reader);
    mem_free(run->printer);
    sse_reader_deinit(&run->sse);
    json_deinit(&run->json);
}

struct seen {
    int64_t number;
    uint32_t added, done;
};

static void check_event(struct json *json, const struct sse_event *event, struct seen *seen)
{
    int64_t n = -1;
    int rc = json_parse(json, event->data, NULL);
    if (rc == ERR_LIMIT)
        return; /* More nodes than a reader takes. */
    check(rc == 0 && json_string_is(json, json_get(json, JSON_ROOT, STR("type")), event->name));
    check(json_i64(json, json_get(json, JSON_ROOT, STR("sequence_number")), 0, INT32_MAX, &n) == 0);
    check(n == seen->number++);
    seen->added += str_is(event->name, "response.output_item.added");
    seen->done += str_is(event->name, "response.output_item.done");
    if (str_is(event->name, "response.completed") || str_is(event->name, "response.incomplete")) {
        uint32_t response = json_get(json, JSON_ROOT, STR("response"));
        check(seen->added == seen->done);
        check(json_count(json, json_get(json, response, STR("output"))) == seen->added);
    }
}

static void check_frames(struct str out)
{
    struct json json;
    struct sse_reader reader;
    struct sse_event event;
    struct seen seen = {0, 0, 0};
    json_init(&json, JSON_NODES_MAX);
    sse_reader_init(&reader, 64U << 20);
    while (sse_reader_next(&reader, &out, &event))
        if (event.has_data)
            check_event(&json, &event, &seen);
    check(out.len == 0 && sse_reader_status(&reader) == 0);
    sse_reader_deinit(&reader);
    json_deinit(&json);
}

static void read_whole(struct str input)
{
    struct run run = {.rc = 0};
    struct tr_sink sink = {.put = put, .arg = &run};
    json_init(&run.json, JSON_NODES_MAX);
    if (provider->read_reply(&run.json, input, &sink) == 0)
        check(run.ended);
    json_deinit(&run.json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run whole, cut;
    if (size == 0)
        return 0;
    struct str input = {.data = (const char *)data + 1, .len = size - 1};
    provider = tr_provider_find(data[0] == 'o'   ? DIALECT_OPENAI
                                : data[0] == 'a' ? DIALECT_ANTHROPIC
                                                 : DIALECT_RESPONSES);
    begin(&whole);
    feed(&whole, input);
    end(&whole);
    check_frames(buf_str(&whole.out));
    begin(&cut);
    for (size_t at = 0, step = 1 + data[0] % 7U; at < input.len; at += step)
        feed(&cut, str_slice(input, at, at + step));
    end(&cut);
    check(cut.rc == whole.rc && cut.events == whole.events);
    check(str_eq(buf_str(&cut.out), buf_str(&whole.out)));
    buf_deinit(&whole.out);
    buf_deinit(&cut.out);
    read_whole(input);
    return 0;
}

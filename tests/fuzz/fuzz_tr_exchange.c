/* A provider's stream, and the same bytes as a whole reply, through an exchange to each caller's
 * dialect: the same comes out however the input is cut, what comes out is frames whose data is
 * JSON, only a stream that said how it stopped is whole. The first byte chooses provider and step.
 */
#include <stdlib.h>
#include <string.h>

#include "dataplane/translate/exchange.h"

static void check(bool condition)
{
    if (!condition)
        abort();
}

static const char *const requests[DIALECT_CALLERS] = {
    [DIALECT_OPENAI] = "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                       "\"content\":\"q\"}],\"tools\":[{\"type\":\"function\",\"function\":{"
                       "\"name\":\"a.look\"}},{\"type\":\"custom\",\"custom\":{\"name\":"
                       "\"a.patch\"}}],\"reasoning\":{\"effort\":\"low\"}}",
    [DIALECT_RESPONSES] = "{\"model\":\"m\",\"stream\":true,\"input\":\"q\",\"tools\":[{\"type\":"
                          "\"function\",\"name\":\"a.look\",\"parameters\":{}},{\"type\":"
                          "\"custom\",\"name\":\"a.patch\"}]}",
    [DIALECT_ANTHROPIC] = "{\"model\":\"m\",\"max_tokens\":9,\"stream\":true,\"messages\":[{"
                          "\"role\":\"user\",\"content\":\"q\"}],\"tools\":[{\"name\":\"a.look\","
                          "\"input_schema\":{\"type\":\"object\"}}],\"tool_choice\":{\"type\":"
                          "\"auto\",\"disable_parallel_tool_use\":true}}",
};
static const struct {
    const char *host, *model;
} targets[DIALECTS] = {
    [DIALECT_OPENAI] = {"groq", "llama-3"},          [DIALECT_RESPONSES] = {"openai", "gpt-5.1"},
    [DIALECT_ANTHROPIC] = {"anthropic", "claude-9"}, [DIALECT_GEMINI] = {"gemini", "gemini-3-pro"},
    [DIALECT_BEDROCK] = {"bedrock", "amazon.nova"},  [DIALECT_COHERE] = {"cohere", "command-a"},
};

struct run {
    struct tr_exchange *x;
    struct provider_reply reply;
    struct arena_pool pool;
    struct arena arena;
    struct json json;
    struct buf out, gathered;
    bool stopped;
};

static void begin(struct run *run, enum dialect caller, enum dialect provider, bool stream)
{
    const struct tr_exchange_config config = {
        .caller = caller,
        .provider = provider,
        .target = {.model = str_from(targets[provider].model),
                   .host = host_find(str_from(targets[provider].host))},
        .answer_id = STR("id"),
        .answer_model = STR("m"),
        .tokens_in = 3,
        .stream = stream,
        .want_usage = true,
    };
    struct call_refusal refusal;
    struct str body, path;
    memset(run, 0, sizeof *run);
    json_init(&run->json, JSON_NODES_MAX);
    arena_pool_init(&run->pool, 4);
    arena_init(&run->arena, &run->pool, 32U << 20);
    provider_reply_reset(&run->reply);
    buf_init(&run->out, 64U << 20);
    buf_init(&run->gathered, 64U << 20);
    run->x = tr_exchange_create(&config);
    check(run->x != NULL);
    check(json_parse(&run->json, str_from(requests[caller]), NULL) == 0);
    check(tr_exchange_write(run->x, &run->json, &run->arena, &body, &path, &refusal) == 0);
}

static void end(struct run *run)
{
    tr_exchange_destroy(run->x);
    provider_reply_deinit(&run->reply);
    buf_deinit(&run->out);
    buf_deinit(&run->gathered);
    arena_reset(&run->arena);
    arena_pool_deinit(&run->pool);
    json_deinit(&run->json);
}

static void feed(struct run *run, struct str piece, bool last)
{
    struct provider_out out;
    enum provider_event kind;
    provider_out_start(&out, &run->gathered);
    while (!run->stopped && !run->reply.done &&
           tr_exchange_read_next(run->x, &run->json, &run->reply, &piece, &out, &kind))
        run->stopped = kind == PROVIDER_BAD || kind == PROVIDER_ERROR;
    if (last && !run->stopped)
        tr_exchange_read_end(run->x, &run->json, &run->reply, &out);
    check(out.count == 0);
    check(!out.gathering || out.bytes == run->gathered.len);
    if (out.gathering)
        check(buf_append_str(&run->out, buf_str(&run->gathered)) == 0);
}

/* Frames, each with JSON or the end mark. */
static void check_frames(struct json *json, struct str bytes)
{
    struct sse_reader sse;
    struct sse_event event;
    sse_reader_init(&sse, 64U << 20);
    check(str_valid_utf8(bytes));
    while (sse_reader_next(&sse, &bytes, &event))
        if (event.has_data && !str_is(event.data, "[DONE]"))
            check(json_parse(json, event.data, NULL) == 0);
    check(!sse_finish(&sse, &event));
    sse_reader_deinit(&sse);
}

static void as_stream(enum dialect caller, enum dialect provider, struct str input, size_t step)
{
    struct run whole, cut;
    begin(&whole, caller, provider, true);
    begin(&cut, caller, provider, true);
    feed(&whole, input, true);
    for (size_t at = 0; at < input.len; at += step)
        feed(&cut, str_slice(input, at, at + step), false);
    feed(&cut, STR_NULL, true);
    check(whole.reply.done == cut.reply.done && whole.stopped == cut.stopped);
    check(whole.reply.finish == cut.reply.finish);
    check(whole.reply.text_q8 == cut.reply.text_q8);
    /* Ids that were made differ, and nothing else. */
    check(whole.out.len == cut.out.len && whole.reply.end.len == cut.reply.end.len);
    check_frames(&whole.json, buf_str(&whole.out));
    check_frames(&whole.json, buf_str(&whole.reply.end));
    check(whole.reply.done || whole.reply.end.len == 0);
    end(&whole);
    end(&cut);
}

static void as_reply(enum dialect caller, enum dialect provider, struct str input)
{
    struct run run;
    struct str out;
    begin(&run, caller, provider, false);
    if (tr_exchange_read_reply(run.x, &run.json, &run.reply, input, &run.arena, &out) == 0) {
        check(json_parse(&run.json, out, NULL) == 0);
        check(json_kind(&run.json, JSON_ROOT) == JSON_OBJECT);
    }
    end(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 32768)
        return 0;
    enum dialect provider = (enum dialect)(data[0] % DIALECTS);
    struct str input = {(const char *)data + 1, size - 1};
    for (int c = 0; c < DIALECT_CALLERS; c++) {
        if (tr_caller_find((enum dialect)c) == NULL || tr_provider_find(provider) == NULL)
            continue;
        as_stream((enum dialect)c, provider, input, (size_t)data[0] / DIALECTS + 1);
        as_reply((enum dialect)c, provider, input);
    }
    return 0;
}

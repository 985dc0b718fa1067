/* A provider's event stream through the relay's reader: the same bytes come out and the same facts
 * are noted however the input is cut; what comes out is events again, without the end mark. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/llm/openai.h"

static void check(bool condition)
{
    if (!condition)
        abort();
}

struct run {
    struct provider_reply reply;
    struct buf out;
    uint64_t kinds; /* Digest of the kinds in order. */
    bool stopped;
};

static void feed(struct json *json, struct run *run, struct str input)
{
    const struct provider_rewrite rewrite = {.model = STR("served"), .want_usage = true};
    struct sse_event event;
    while (!run->stopped && sse_reader_next(&run->reply.sse, &input, &event)) {
        enum provider_event kind;
        if (openai_read_event(json, &run->reply, &event, &rewrite, &run->out, &kind) != 0)
            kind = PROVIDER_BAD;
        run->kinds = run->kinds * 31 + (uint64_t)kind;
        run->stopped = kind == PROVIDER_BAD || kind == PROVIDER_ERROR || kind == PROVIDER_DONE;
    }
}

static void begin(struct run *run)
{
    memset(run, 0, sizeof *run);
    provider_reply_reset(&run->reply);
    buf_init(&run->out, 16U << 20);
}

static void end(struct run *run)
{
    provider_reply_deinit(&run->reply);
    buf_deinit(&run->out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json json;
    struct run whole, cut;
    if (size < 1 || size > 65536)
        return 0;
    struct str input = {(const char *)data + 1, size - 1};
    size_t step = (size_t)data[0] + 1;
    json_init(&json, JSON_NODES_MAX);
    begin(&whole);
    begin(&cut);
    feed(&json, &whole, input);
    for (size_t at = 0; at < input.len; at += step)
        feed(&json, &cut, str_slice(input, at, at + step));
    check(whole.kinds == cut.kinds && whole.stopped == cut.stopped);
    check(str_eq(buf_str(&whole.out), buf_str(&cut.out)));
    check(whole.reply.finish == cut.reply.finish && whole.reply.content == cut.reply.content);
    check(whole.reply.usage.tokens_out == cut.reply.usage.tokens_out);
    provider_usage_check(&whole.reply.usage, 1, whole.reply.text_q8, whole.reply.content_bytes);
    check(whole.reply.usage.tokens_cached + whole.reply.usage.tokens_cache_write <=
          whole.reply.usage.tokens_in);
    check(whole.reply.usage.tokens_reasoning <= whole.reply.usage.tokens_out);
    end(&whole);
    end(&cut);
    json_deinit(&json);
    return 0;
}

/* A Responses stream that passes through: the same bytes come out and the same is noted however it
 * is cut; the same input as a whole reply. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/llm/responses.h"

static void check(bool condition)
{
    if (!condition)
        abort();
}

struct run {
    struct provider_reply reply;
    struct buf out;
    struct buf gathered;
    uint64_t kinds; /* Digest of the kinds in order. */
    bool stopped;
};

static const struct provider_rewrite rewrite = {.model = {.data = "served", .len = 6}};

static void feed(struct json *json, struct run *run, struct str input)
{
    struct provider_out out;
    enum provider_event kind;
    provider_out_start(&out, &run->gathered);
    while (
        !run->stopped && !run->reply.done &&
        provider_read_next(&provider_responses, json, &run->reply, &input, &rewrite, &out, &kind)) {
        run->kinds = run->kinds * 31 + (uint64_t)kind;
        run->stopped = kind == PROVIDER_BAD || kind == PROVIDER_ERROR;
    }
    if (out.gathering)
        check(buf_append_str(&run->out, buf_str(&run->gathered)) == 0);
    for (size_t i = 0; i < out.count; i++)
        check(buf_append_str(&run->out, out.room[i + 1]) == 0);
}

static void begin(struct run *run)
{
    memset(run, 0, sizeof *run);
    provider_reply_reset(&run->reply);
    buf_init(&run->out, 16U << 20);
    buf_init(&run->gathered, 16U << 20);
}

static void end(struct run *run)
{
    provider_reply_deinit(&run->reply);
    buf_deinit(&run->out);
    buf_deinit(&run->gathered);
}

static void as_stream(struct json *json, struct str input, size_t step)
{
    struct run whole, cut;
    struct buf failed;
    begin(&whole);
    begin(&cut);
    feed(json, &whole, input);
    for (size_t at = 0; at < input.len; at += step)
        feed(json, &cut, str_slice(input, at, at + step));
    check(whole.kinds == cut.kinds && whole.stopped == cut.stopped);
    check(str_eq(buf_str(&whole.out), buf_str(&cut.out)));
    check(str_eq(buf_str(&whole.reply.end), buf_str(&cut.reply.end)));
    check(whole.reply.done == (whole.reply.end.len > 0));
    check(whole.reply.text_q8 == cut.reply.text_q8 && whole.reply.finish == cut.reply.finish);
    check((whole.reply.responses == NULL) == (cut.reply.responses == NULL));
    check(whole.reply.responses == NULL ||
          memcmp(whole.reply.responses, cut.reply.responses, sizeof *cut.reply.responses) == 0);
    buf_init(&failed, 1U << 16);
    check(responses_write_failed(whole.reply.responses, STR("resp_x"), STR("m"), "server_error",
                                 STR("broke"), &failed) == 0);
    buf_deinit(&failed);
    end(&whole);
    end(&cut);
}

static void as_reply(struct json *json, struct str input)
{
    struct provider_reply reply;
    struct str pieces[PROVIDER_REPLY_PIECES_MAX];
    size_t count;
    struct arena_pool pool;
    struct arena arena;
    memset(&reply, 0, sizeof reply);
    arena_pool_init(&pool, 4);
    arena_init(&arena, &pool, 1U << 20);
    int rc = responses_read_reply(json, &reply, input, &rewrite, &arena, pieces, &count);
    check(rc == ERR_PROTOCOL || (rc == 0 && count <= PROVIDER_REPLY_PIECES_MAX && reply.done));
    arena_reset(&arena);
    arena_pool_deinit(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json json;
    if (size < 1 || size > 65536)
        return 0;
    struct str input = {(const char *)data + 1, size - 1};
    json_init(&json, JSON_NODES_MAX);
    as_stream(&json, input, (size_t)data[0] + 1);
    as_reply(&json, input);
    json_deinit(&json);
    return 0;
}

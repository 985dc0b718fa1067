/* What is no dialogue: the first byte says which adapter and what the rest is. A body is refused
 * with a reason or goes up as JSON with the provider's model in it; a reply is refused or comes
 * down as JSON; a stream says the same however it is split. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/llm/plain.h"

static const struct provider_adapter *const adapters[] = {
    &provider_embeddings, &provider_completions, &provider_moderations, &provider_rerank,
    &provider_count_tokens};
enum { ADAPTERS = sizeof adapters / sizeof adapters[0] };
static const struct provider_rewrite rewrite = {.model = {.data = "mine", .len = 4},
                                                .model_plain = true};

static void check(bool condition)
{
    if (!condition)
        abort();
}

static void join(const struct str *pieces, size_t count, size_t most, struct buf *out)
{
    check(count <= most);
    buf_clear(out);
    for (size_t i = 0; i < count; i++)
        check(buf_append_str(out, pieces[i]) == 0);
}

static void read_body(const struct provider_adapter *a, struct json *json, struct str body,
                      struct arena *arena)
{
    struct call call, again;
    struct call_refusal refusal;
    struct str pieces[PROVIDER_REQUEST_PIECES_MAX];
    struct buf sent;
    size_t count = 0;
    int rc = a->read_call(json, body, arena, &call, &refusal);
    if (rc != 0) {
        check(rc == ERR_INVALID && refusal.defect != CALL_OK);
        return;
    }
    buf_init(&sent, 4U << 20);
    check(a->write_call(&call, body, STR("up"), arena, pieces, &count) == 0);
    join(pieces, count, PROVIDER_REQUEST_PIECES_MAX, &sent);
    check(a->read_call(json, buf_str(&sent), arena, &again, &refusal) == 0);
    check(str_is(again.model, "up") && again.stream == call.stream);
    check(again.choices == call.choices && again.max_tokens == call.max_tokens);
    buf_deinit(&sent);
}

static void read_reply(const struct provider_adapter *a, struct json *json, struct str body,
                       struct arena *arena)
{
    struct str pieces[PROVIDER_REPLY_PIECES_MAX];
    struct provider_reply reply = {0};
    struct buf got;
    size_t count = 0;
    buf_init(&got, 4U << 20);
    provider_reply_reset(&reply);
    if (a->read_reply(json, &reply, body, &rewrite, arena, pieces, &count) == 0) {
        join(pieces, count, PROVIDER_REPLY_PIECES_MAX, &got);
        check(json_parse(json, buf_str(&got), NULL) == 0);
        check(reply.done);
    }
    provider_reply_deinit(&reply);
    buf_deinit(&got);
}

/* false: the stream was refused. */
static bool read_stream(struct json *json, struct str stream, size_t at, struct buf *got)
{
    const struct str parts[] = {str_slice(stream, 0, at), str_slice(stream, at, stream.len)};
    struct provider_reply reply = {0};
    struct provider_out out;
    struct buf gathered;
    enum provider_event kind;
    bool good = true;
    buf_init(&gathered, 4U << 20);
    buf_clear(got);
    provider_reply_reset(&reply);
    for (size_t i = 0; i < 2 && good; i++) {
        struct str input = parts[i];
        provider_out_start(&out, &gathered);
        while (
            good && !reply.done &&
            provider_read_next(&provider_completions, json, &reply, &input, &rewrite, &out, &kind))
            good = kind != PROVIDER_BAD && kind != PROVIDER_ERROR;
        good = good && sse_reader_status(&reply.sse) == 0;
        check(provider_out_gather(&out) == 0 && buf_append_str(got, buf_str(&gathered)) == 0);
    }
    provider_reply_deinit(&reply);
    buf_deinit(&gathered);
    return good;
}

static void read_streams(struct json *json, struct str stream)
{
    struct buf whole, split;
    buf_init(&whole, 4U << 20);
    buf_init(&split, 4U << 20);
    bool good = read_stream(json, stream, stream.len, &whole);
    check(read_stream(json, stream, stream.len / 2, &split) == good);
    check(!good || str_eq(buf_str(&whole), buf_str(&split)));
    buf_deinit(&whole);
    buf_deinit(&split);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena_pool pool;
    struct arena arena;
    struct json json;
    if (size < 1 || size > 1U << 20)
        return 0;
    struct str text = {(const char *)data + 1, size - 1};
    const struct provider_adapter *a = adapters[data[0] % ADAPTERS];
    arena_pool_init(&pool, 8);
    arena_init(&arena, &pool, 8U << 20);
    json_init(&json, JSON_NODES_MAX);
    switch (data[0] / ADAPTERS % 3) {
    case 0:
        read_body(a, &json, text, &arena);
        break;
    case 1:
        read_reply(a, &json, text, &arena);
        break;
    case 2:
        read_streams(&json, text);
        break;
    }
    json_deinit(&json);
    arena_reset(&arena);
    arena_pool_deinit(&pool);
    return 0;
}

/* A provider's event stream through the relay's reader: the same bytes come out and the same facts
 * are noted however the input is cut and whether or not the short cut for the usual is taken; what
 * comes out is events again, without the end mark. The same input as a whole reply, both ways. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "dataplane/llm/openai.h"
#include "dataplane/llm/openai_shape.h"

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
    bool strictly;
    bool stopped;
};

static const struct provider_rewrite rewrite = {
    .model = {.data = "served", .len = 6}, .model_plain = true, .want_usage = true};

static struct openai_shapes shapes; /* Of one input and what is made of it. */

static void feed(struct json *json, struct run *run, struct str input)
{
    struct provider_out out;
    struct sse_event event;
    provider_out_start(&out, &run->gathered);
    while (!run->stopped) {
        enum provider_event kind;
        if (!run->strictly) {
            if (!provider_read_next(&provider_openai, json, &run->reply, &input, &rewrite, &out,
                                    &kind))
                break;
        } else {
            if (!sse_reader_next(&run->reply.sse, &input, &event))
                break;
            if (openai_read_event_strictly(json, &run->reply, &event, &rewrite, &out, &kind) != 0 ||
                (event.copied && provider_out_gather(&out) != 0))
                kind = PROVIDER_BAD;
        }
        run->kinds = run->kinds * 31 + (uint64_t)kind;
        run->stopped = kind == PROVIDER_BAD || kind == PROVIDER_ERROR || kind == PROVIDER_DONE;
    }
    size_t before = run->out.len;
    if (out.gathering)
        check(buf_append_str(&run->out, buf_str(&run->gathered)) == 0);
    for (size_t i = 0; i < out.count; i++)
        check(buf_append_str(&run->out, out.room[i + 1]) == 0);
    check(run->out.len - before == out.bytes);
}

static void begin(struct run *run, bool strictly)
{
    memset(run, 0, sizeof *run);
    run->strictly = strictly;
    provider_reply_reset(&run->reply);
    run->reply.shapes = &shapes;
    buf_init(&run->out, 16U << 20);
    buf_init(&run->gathered, 16U << 20);
}

static void end(struct run *run)
{
    provider_reply_deinit(&run->reply);
    buf_deinit(&run->out);
    buf_deinit(&run->gathered);
}

static void same_facts(const struct provider_reply *a, const struct provider_reply *b)
{
    check(a->finish == b->finish && a->content == b->content && a->done == b->done);
    check(a->anything == b->anything && a->print == b->print);
    check(a->text_q8 == b->text_q8 && a->content_bytes == b->content_bytes);
    check(a->usage.known == b->usage.known && a->usage.suspect == b->usage.suspect);
    check(a->usage.tokens_in == b->usage.tokens_in && a->usage.tokens_out == b->usage.tokens_out);
    check(a->usage.tokens_cached == b->usage.tokens_cached &&
          a->usage.tokens_cache_write == b->usage.tokens_cache_write &&
          a->usage.tokens_reasoning == b->usage.tokens_reasoning);
}

static void as_stream(struct json *json, struct str input, size_t step)
{
    struct run whole, cut, strict;
    begin(&whole, false);
    begin(&cut, false);
    begin(&strict, true);
    feed(json, &whole, input);
    feed(json, &strict, input);
    for (size_t at = 0; at < input.len; at += step)
        feed(json, &cut, str_slice(input, at, at + step));
    check(whole.kinds == cut.kinds && whole.stopped == cut.stopped);
    check(whole.kinds == strict.kinds && whole.stopped == strict.stopped);
    check(str_eq(buf_str(&whole.out), buf_str(&cut.out)));
    check(str_eq(buf_str(&whole.out), buf_str(&strict.out)));
    same_facts(&whole.reply, &cut.reply);
    same_facts(&whole.reply, &strict.reply);
    provider_usage_check(&whole.reply.usage, 1, whole.reply.text_q8, whole.reply.content_bytes);
    check(whole.reply.usage.tokens_cached + whole.reply.usage.tokens_cache_write <=
          whole.reply.usage.tokens_in);
    check(whole.reply.usage.tokens_reasoning <= whole.reply.usage.tokens_out);
    end(&whole);
    end(&cut);
    end(&strict);
}

/* The pieces joined, in the arena. */
static struct str joined(struct arena *arena, const struct str *pieces, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += pieces[i].len;
    char *text = arena_alloc(arena, len + 1);
    check(text != NULL);
    len = 0;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len > 0)
            memcpy(text + len, pieces[i].data, pieces[i].len);
        len += pieces[i].len;
    }
    return (struct str){text, len};
}

static void as_reply(struct json *json, struct str input)
{
    struct provider_reply usual = {.shapes = &shapes}, strict = {0};
    struct str a[PROVIDER_REPLY_PIECES_MAX], b[PROVIDER_REPLY_PIECES_MAX];
    size_t a_count, b_count;
    struct arena_pool pool;
    struct arena arena;
    arena_pool_init(&pool, 4);
    arena_init(&arena, &pool, 1U << 20);
    int rc = openai_read_reply(json, &usual, input, &rewrite, &arena, a, &a_count);
    check(openai_read_reply_strictly(json, &strict, input, &rewrite, &arena, b, &b_count) == rc);
    if (rc == 0) {
        same_facts(&usual, &strict);
        check(str_eq(joined(&arena, a, a_count), joined(&arena, b, b_count)));
    }
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
    memset(&shapes, 0, sizeof shapes);
    as_stream(&json, input, (size_t)data[0] + 1);
    as_reply(&json, input);
    as_reply(&json, input);
    /* The same with other values: what fits the shapes that were learned, and what nearly does. */
    char *like = mem_alloc(size);
    check(like != NULL);
    for (unsigned turn = 0; turn < 4; turn++) {
        memcpy(like, input.data, input.len);
        for (size_t i = 0; i < input.len; i++)
            if (like[i] >= '0' && like[i] <= '9')
                like[i] = (char)('0' + (like[i] - '0' + 1) % 10);
            else if (turn > 0 && (i + data[0]) % (7 + turn) == 0)
                like[i] = "a\"\\\xc3{}],0\n"[(i + turn) % 10];
        as_stream(&json, (struct str){like, input.len}, (size_t)data[0] + 1);
        as_reply(&json, (struct str){like, input.len});
    }
    mem_free(like);
    json_deinit(&json);
    return 0;
}

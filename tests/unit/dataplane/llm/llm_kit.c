#include "tests/unit/dataplane/llm/llm_kit.h"

#include <string.h>

#include "tests/lib/fault.h"
#include "tests/unit/dataplane/llm/quotes.h"

int llm_kit_setup(void **state)
{
    static struct llm_kit k;
    memset(&k, 0, sizeof k);
    arena_pool_init(&k.pool, 16);
    arena_init(&k.arena, &k.pool, 1U << 20);
    json_init(&k.json, JSON_NODES_MAX);
    buf_init(&k.out, 40U << 20);
    buf_init(&k.gathered, 40U << 20);
    *state = &k;
    return 0;
}

int llm_kit_teardown(void **state)
{
    struct llm_kit *k = *state;
    arena_reset(&k->arena);
    arena_pool_deinit(&k->pool);
    json_deinit(&k->json);
    buf_deinit(&k->out);
    buf_deinit(&k->gathered);
    provider_reply_deinit(&k->reply);
    return 0;
}

static int read_body(struct llm_kit *k, const struct provider_adapter *adapter, struct str body)
{
    k->body = body;
    return adapter->read_call(&k->json, k->body, &k->arena, &k->call, &k->refusal);
}

int llm_kit_read(struct llm_kit *k, const struct provider_adapter *adapter, const char *body)
{
    arena_reset(&k->arena);
    return read_body(k, adapter, str_from(body));
}

int llm_kit_read_quotes(struct llm_kit *k, const struct provider_adapter *adapter, const char *body)
{
    arena_reset(&k->arena);
    return read_body(k, adapter, quotes(&k->arena, body));
}

void llm_kit_assert_refused(const struct llm_kit *k, int rc, enum call_defect defect,
                            const char *param)
{
    assert_int_equal(rc, ERR_INVALID);
    assert_int_equal(k->refusal.defect, defect);
    if (param == NULL)
        assert_null(k->refusal.param.data);
    else
        assert_true(str_is(k->refusal.param, param));
}

void llm_kit_start(struct llm_kit *k)
{
    provider_reply_reset(&k->reply);
    k->reply.shapes = &k->shapes;
    buf_clear(&k->out);
    k->count = 0;
}

void llm_kit_note(struct llm_kit *k, enum provider_event kind)
{
    assert_true(k->count < LLM_KIT_KINDS_MAX);
    k->kinds[k->count++] = kind;
}

void llm_kit_feed_begin(struct llm_kit *k)
{
    provider_out_start(&k->pieces, &k->gathered);
}

void llm_kit_feed_end(struct llm_kit *k)
{
    size_t before = k->out.len;
    if (k->pieces.gathering)
        assert_int_equal(buf_append_str(&k->out, buf_str(&k->gathered)), 0);
    for (size_t i = 0; i < k->pieces.count; i++)
        assert_int_equal(buf_append_str(&k->out, k->pieces.room[i + 1]), 0);
    assert_int_equal(k->pieces.bytes, k->out.len - before);
}

void llm_kit_feed(struct llm_kit *k, const struct provider_adapter *adapter, struct str input,
                  const struct provider_rewrite *rewrite)
{
    enum provider_event kind;
    llm_kit_feed_begin(k);
    while (provider_read_next(adapter, &k->json, &k->reply, &input, rewrite, &k->pieces, &kind))
        llm_kit_note(k, kind);
    llm_kit_feed_end(k);
}

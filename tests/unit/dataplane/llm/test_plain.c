#include "dataplane/llm/plain.h"

#include <string.h>

#include "tests/lib/fault.h"
#include "tests/unit/dataplane/llm/llm_kit.h"

static int read_call(struct llm_kit *f, const struct provider_adapter *a, const char *body)
{
    return a->read_call(&f->json, str_from(body), &f->arena, &f->call, &f->refusal);
}

static void inputs_of_every_form_are_weighed(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *body;
        uint32_t least, most;
    } rows[] = {
        {"{\"model\":\"m\",\"input\":\"hello world\"}", 4, 10},
        {"{\"model\":\"m\",\"input\":[\"hello world\",\"hello world\"]}", 6, 16},
        {"{\"model\":\"m\",\"input\":[1,2,3,4,5,6,7,8,9,10]}", 10, 14},
        {"{\"model\":\"m\",\"input\":[[1,2,3,4,5],[6,7,8,9,10]]}", 10, 14},
        {"{\"model\":\"m\",\"input\":[{\"type\":\"text\",\"text\":\"hello world\"}]}", 4, 10},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(read_call(f, &provider_embeddings, rows[i].body), 0);
        assert_in_range(f->call.tokens_in, rows[i].least, rows[i].most);
        assert_true(f->call.tokens_most >= f->call.tokens_in);
        assert_true(str_is(f->call.model, "m"));
    }
}

static void what_is_missing_or_wrong_is_named(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const struct provider_adapter *adapter;
        const char *body, *param;
        enum call_defect defect;
    } rows[] = {
        {&provider_embeddings, "{\"input\":\"a\"}", "model", CALL_MISSING_FIELD},
        {&provider_embeddings, "{\"model\":\"m\"}", "input", CALL_MISSING_FIELD},
        {&provider_embeddings, "{\"model\":\"m\",\"input\":{}}", "input", CALL_BAD_FIELD},
        {&provider_embeddings, "{\"model\":\"m\",\"input\":[]}", "input", CALL_BAD_FIELD},
        {&provider_completions, "{\"model\":\"m\"}", "prompt", CALL_MISSING_FIELD},
        {&provider_completions, "{\"model\":\"m\",\"prompt\":\"a\",\"n\":0}", "n", CALL_BAD_FIELD},
        {&provider_rerank, "{\"model\":\"m\",\"query\":\"q\"}", "documents", CALL_MISSING_FIELD},
        {&provider_rerank, "{\"model\":\"m\",\"query\":1,\"documents\":[\"a\"]}", "query",
         CALL_BAD_FIELD},
        {&provider_moderations, "{\"model\":\"m\",\"input\":\"a\",\"base_url\":\"b\"}", "base_url",
         CALL_FORBIDDEN_FIELD},
        {&provider_count_tokens, "{\"model\":\"m\"}", "messages", CALL_MISSING_FIELD},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(read_call(f, rows[i].adapter, rows[i].body), ERR_INVALID);
        assert_int_equal(f->refusal.defect, rows[i].defect);
        assert_true(str_is(f->refusal.param, rows[i].param));
    }
}

static void several_prompts_have_their_own_answers(void **state)
{
    struct llm_kit *f = *state;
    assert_int_equal(
        read_call(f, &provider_completions,
                  "{\"model\":\"m\",\"prompt\":[\"a\",\"b\",\"c\"],\"n\":2,\"max_tokens\":7}"),
        0);
    assert_int_equal(f->call.choices, 6);
    assert_int_equal(f->call.max_tokens, 7);
    assert_int_equal(
        read_call(f, &provider_completions, "{\"model\":\"m\",\"prompt\":[1,2,3],\"n\":2}"), 0);
    assert_int_equal(f->call.choices, 2);
    assert_int_equal(
        read_call(f, &provider_completions, "{\"model\":\"m\",\"prompt\":\"a\",\"best_of\":3}"), 0);
    assert_true(f->call.price_varies);
}

static void join(struct llm_kit *f, const struct str *pieces, size_t count)
{
    buf_clear(&f->out);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_append_str(&f->out, pieces[i]), 0);
    assert_non_null(buf_cstr(&f->out));
}

static void only_the_models_name_changes_on_the_way_up(void **state)
{
    struct llm_kit *f = *state;
    static const char body[] =
        "{ \"input\" : [\"a\"], \"model\": \"m\", \"encoding_format\":\"base64\", \"x\":[1.50] }";
    struct str pieces[PROVIDER_REQUEST_PIECES_MAX];
    size_t count;
    assert_int_equal(read_call(f, &provider_embeddings, body), 0);
    assert_int_equal(provider_embeddings.write_call(&f->call, str_from(body), STR("up\"m"),
                                                    &f->arena, pieces, &count),
                     0);
    join(f, pieces, count);
    assert_string_equal(f->out.data, "{ \"input\" : [\"a\"], \"model\": \"up\\\"m\", "
                                     "\"encoding_format\":\"base64\", \"x\":[1.50] }");
    assert_int_equal(provider_embeddings.write_call(&f->call, str_from(body), STR("m"), &f->arena,
                                                    pieces, &count),
                     0);
    join(f, pieces, count);
    assert_string_equal(f->out.data, body);
}

static const struct provider_rewrite rewrite = {.model = {.data = "mine", .len = 4},
                                                .model_plain = true};

static int read_reply(struct llm_kit *f, const struct provider_adapter *a, const char *body)
{
    struct str pieces[PROVIDER_REPLY_PIECES_MAX];
    size_t count;
    provider_reply_reset(&f->reply);
    int rc =
        a->read_reply(&f->json, &f->reply, str_from(body), &rewrite, &f->arena, pieces, &count);
    if (rc == 0)
        join(f, pieces, count);
    return rc;
}

static void replies_say_what_was_used(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const struct provider_adapter *adapter;
        const char *body;
        bool known;
        uint64_t in, out;
    } rows[] = {
        {&provider_embeddings,
         "{\"data\":[],\"model\":\"up\",\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}", true,
         8, 0},
        {&provider_embeddings, "{\"data\":[],\"model\":\"up\"}", false, 0, 0},
        {&provider_moderations, "{\"results\":[],\"model\":\"up\"}", true, 0, 0},
        {&provider_rerank, "{\"results\":[],\"usage\":{\"total_tokens\":12}}", true, 12, 0},
        {&provider_rerank, "{\"results\":[],\"meta\":{\"tokens\":{\"input_tokens\":13}}}", true, 13,
         0},
        {&provider_rerank, "{\"results\":[],\"meta\":{\"billed_units\":{\"search_units\":1}}}",
         false, 0, 0},
        {&provider_completions,
         "{\"choices\":[{\"text\":\"a "
         "b\",\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":"
         "3,\"completion_tokens\":2}}",
         true, 3, 2},
        {&provider_count_tokens, "{\"input_tokens\":2095}", true, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(read_reply(f, rows[i].adapter, rows[i].body), 0);
        assert_int_equal(f->reply.usage.known, rows[i].known);
        assert_int_equal(f->reply.usage.tokens_in, rows[i].in);
        assert_int_equal(f->reply.usage.tokens_out, rows[i].out);
        assert_true(f->reply.done);
        if (strstr(rows[i].body, "\"up\"") != NULL)
            assert_non_null(strstr(f->out.data, "\"model\":\"mine\""));
        else
            assert_string_equal(f->out.data, rows[i].body);
    }
    assert_int_equal(f->reply.finish, CALL_FINISH_STOP);
}

static void what_is_no_such_reply_is_none(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const struct provider_adapter *adapter;
        const char *body;
    } rows[] = {
        {&provider_embeddings, "<html>"},
        {&provider_embeddings, "{\"error\":{\"message\":\"x\"},\"data\":[]}"},
        {&provider_embeddings, "{\"results\":[]}"},
        {&provider_embeddings, "[]"},
        {&provider_moderations, "{\"data\":[]}"},
        {&provider_count_tokens, "{\"input_tokens\":-1}"},
        {&provider_count_tokens, "{}"},
        {&provider_completions, "{\"choices\":{}}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(read_reply(f, rows[i].adapter, rows[i].body), ERR_PROTOCOL);
}

#define PIECE(text, finish)                                                                        \
    "data: {\"id\":\"c\",\"model\":\"up\",\"choices\":[{\"index\":0,\"text\":\"" text              \
    "\",\"finish_reason\":" finish "}]}\n\n"
#define STREAM                                                                                     \
    PIECE("", "null")                                                                              \
    PIECE("he", "null")                                                                            \
    PIECE("llo", "\"stop\"")                                                                       \
    "data: "                                                                                       \
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2}}\n\n"                 \
    "data: [DONE]\n\n"

/* Split at `at`; what the caller gets, in f->out. */
static void read_stream(struct llm_kit *f, struct str stream, size_t at)
{
    struct buf gathered;
    struct provider_out out;
    enum provider_event kind;
    const struct str parts[] = {str_slice(stream, 0, at), str_slice(stream, at, stream.len)};
    buf_init(&gathered, 1U << 20);
    buf_clear(&f->out);
    provider_reply_reset(&f->reply);
    for (size_t i = 0; i < 2; i++) {
        struct str input = parts[i];
        provider_out_start(&out, &gathered);
        while (provider_read_next(&provider_completions, &f->json, &f->reply, &input, &rewrite,
                                  &out, &kind))
            assert_int_not_equal(kind, PROVIDER_BAD);
        assert_int_equal(provider_out_gather(&out), 0);
        assert_int_equal(buf_append_str(&f->out, buf_str(&gathered)), 0);
    }
    buf_deinit(&gathered);
}

static void a_stream_split_at_any_byte_is_the_same_stream(void **state)
{
    struct llm_kit *f = *state;
    const struct str stream = STR(STREAM);
    static const char expected[] =
        "data: {\"id\":\"c\",\"model\":\"mine\",\"choices\":[{\"index\":0,"
        "\"text\":\"llo\",\"finish_reason\":\"stop\"}]}\n\n";
    for (size_t at = 0; at <= stream.len; at++) {
        read_stream(f, stream, at);
        assert_true(str_ends(buf_str(&f->out), str_from(expected)));
        assert_true(f->reply.done && f->reply.content);
        assert_int_equal(f->reply.finish, CALL_FINISH_STOP);
        assert_int_equal(f->reply.usage.tokens_out, 2);
        assert_int_equal(f->reply.content_bytes, 5);
    }
}

static void f30_each_failed_allocation_leaves_nothing_behind(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        void *fresh;
        assert_int_equal(llm_kit_setup(&fresh), 0);
        struct llm_kit *f = fresh;
        fault_arm_alloc(n);
        int rc = read_call(f, &provider_embeddings, "{\"model\":\"m\\n\",\"input\":[\"a\\n\"]}");
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        assert_int_equal(llm_kit_teardown(&fresh), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(inputs_of_every_form_are_weighed, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(what_is_missing_or_wrong_is_named, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(several_prompts_have_their_own_answers, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(only_the_models_name_changes_on_the_way_up, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(replies_say_what_was_used, llm_kit_setup, llm_kit_teardown),
        cmocka_unit_test_setup_teardown(what_is_no_such_reply_is_none, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(a_stream_split_at_any_byte_is_the_same_stream,
                                        llm_kit_setup, llm_kit_teardown),
        cmocka_unit_test(f30_each_failed_allocation_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

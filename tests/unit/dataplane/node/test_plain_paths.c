/* What is no dialogue: embeddings, completions, moderations and reranking pass through with the
 * accounting that chat has, and only to who serves them. */
#include <string.h>

#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rig.h"

#define AT(path) "POST " path " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " RIG_KEY "\r\n"
#define EMBEDDED                                                                                   \
    "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":"          \
    "\"AACAPwAAAEA=\"}],\"model\":\"up-small\",\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}" \
    "}"
#define JUDGED "{\"id\":\"m\",\"model\":\"up-small\",\"results\":[{\"flagged\":false}]}"
#define RANKED                                                                                     \
    "{\"id\":\"r\",\"results\":[{\"index\":1,\"relevance_score\":0.9}],\"meta\":{\"tokens\":{"     \
    "\"input_tokens\":12,\"output_tokens\":0}}}"
#define PIECE(text, finish)                                                                        \
    "data: {\"id\":\"c\",\"object\":\"text_completion\",\"created\":1,\"model\":\"up-small\","     \
    "\"choices\":[{\"index\":0,\"text\":\"" text "\",\"finish_reason\":" finish "}]}\n\n"
#define PIECE_USAGE                                                                                \
    "data: {\"id\":\"c\",\"object\":\"text_completion\",\"created\":1,\"model\":\"up-small\","     \
    "\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2}}\n\n"

struct seen {
    uint32_t tokens_in, tokens_out;
    int64_t cost;
    unsigned count;
    char endpoint[32];
};

static void see(const Steelyard__Telemetry__V1__Decision *row, void *arg)
{
    struct seen *s = arg;
    s->count++;
    assert_int_equal(row->text_hash.len, 0); /* Nothing is learned from it. */
    assert_true((row->flags & RECORD_FLAG_FEATURES_DROPPED) != 0);
    (void)str_copy(str_from(row->endpoint), s->endpoint, sizeof s->endpoint);
    if (row->n_attempt == 0)
        return;
    const Steelyard__Telemetry__V1__Attempt *a = row->attempt[row->n_attempt - 1];
    s->tokens_in = a->in;
    s->tokens_out = a->out;
    s->cost = a->cost;
}

static void ask(struct rig *r, const char *head, const char *body, struct rig_answer *out)
{
    static char request[8192];
    struct buf b = {.data = request, .cap = sizeof request, .max = sizeof request};
    assert_int_equal(buf_printf(&b, "%sContent-Length: %zu\r\n\r\n%s", head, strlen(body), body),
                     0);
    rig_exchange_raw(r, b.data, b.len, out);
}

static const char *whole(const char *body)
{
    return replies_make(JSON_HEAD "Transfer-Encoding: chunked\r\n\r\n", body, "0\r\n\r\n");
}

static bool sent(const struct rig *r, size_t provider, const char *text)
{
    return str_search(buf_str(&r->providers[provider].last), str_from(text)) >= 0;
}

static bool says(const struct rig_answer *a, const char *text)
{
    return str_search(buf_str(&a->body), str_from(text)) >= 0;
}

static void every_plain_path_passes_and_is_billed_by_its_usage(void **state)
{
    (void)state;
    static const struct {
        const char *head, *body, *reply, *path, *endpoint;
        uint32_t tokens_in;
    } rows[] = {
        {AT("/v1/embeddings"), "{\"model\":\"small\",\"input\":[\"a\",\"b\"]}", EMBEDDED,
         "POST /v1/embeddings HTTP/1.1\r\n", "embeddings", 8},
        {AT("/openai/v1/embeddings/"), "{\"model\":\"small\",\"input\":[[1,2,3]]}", EMBEDDED,
         "POST /v1/embeddings HTTP/1.1\r\n", "embeddings", 8},
        {AT("/v1/moderations"), "{\"model\":\"small\",\"input\":\"a\"}", JUDGED,
         "POST /v1/moderations HTTP/1.1\r\n", "moderations", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig r;
        struct rig_answer a;
        struct seen seen = {0};
        rig_start(&r, NULL);
        r.on_row = see;
        r.on_row_arg = &seen;
        rig_script(&r, 0, (struct rig_script){.reply = whole(rows[i].reply)});
        ask(&r, rows[i].head, rows[i].body, &a);
        assert_int_equal(a.status, 200);
        assert_true(sent(&r, 0, rows[i].path));
        assert_true(sent(&r, 0, "{\"model\":\"up-small\",\"input\":"));
        assert_true(says(&a, "\"model\":\"small\""));
        assert_int_equal(a.body.len, strlen(rows[i].reply) - 3); /* Nothing else changed. */
        assert_true(rig_has_header(&a, "x-steelyard-served: one/small\r\n"));
        buf_deinit(&a.body);
        rig_stop(&r);
        assert_int_equal(seen.count, 1);
        assert_string_equal(seen.endpoint, rows[i].endpoint);
        assert_int_equal(seen.tokens_in, rows[i].tokens_in);
        assert_int_equal(seen.tokens_out, 0);
    }
}

static void a_vector_in_base64_is_asked_for_and_given_as_it_is(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = whole(EMBEDDED)});
    ask(&r, AT("/v1/embeddings"),
        "{\"model\":\"small\",\"input\":\"x\",\"encoding_format\":\"base64\"}", &a);
    assert_true(sent(&r, 0, "\"encoding_format\":\"base64\"}"));
    assert_true(says(&a, "\"embedding\":\"AACAPwAAAEA=\""));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void a_completion_streams_with_its_usage_kept_back(void **state)
{
    (void)state;
    static const char events[] = PIECE("he", "null") PIECE("llo", "\"stop\"") PIECE_USAGE EV_DONE;
    for (size_t piece = 0; piece < 2; piece++) {
        struct rig r;
        struct rig_answer a;
        struct seen seen = {0};
        rig_start(&r, NULL);
        r.on_row = see;
        r.on_row_arg = &seen;
        rig_script(&r, 0, (struct rig_script){.reply = replies_stream(events), .piece = piece});
        ask(&r, AT("/v1/completions"), "{\"model\":\"small\",\"prompt\":\"x\",\"stream\":true}",
            &a);
        assert_true(a.complete);
        assert_true(sent(&r, 0, "\"stream_options\":{\"include_usage\":true}"));
        assert_true(says(&a, "\"model\":\"small\",\"choices\":[{\"index\":0,\"text\":\"llo\""));
        assert_false(says(&a, "usage"));
        assert_true(str_ends(buf_str(&a.body), STR(EV_DONE)));
        buf_deinit(&a.body);
        rig_stop(&r);
        assert_int_equal(seen.tokens_in, 4);
        assert_int_equal(seen.tokens_out, 2);
    }
}

static void a_broken_completion_is_marked(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0,
               (struct rig_script){.reply = replies_make(SSE_HEAD, PIECE("he", "null"), ""),
                                   .then = RIG_CLOSE});
    ask(&r, AT("/v1/completions"), "{\"model\":\"small\",\"prompt\":\"x\",\"stream\":true}", &a);
    assert_false(a.complete);
    assert_true(says(&a, "data: {\"error\":{"));
    assert_false(says(&a, "[DONE]"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void rerank_goes_to_who_has_it(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    struct seen seen = {0};
    const struct rig_options o = {.types = {"openai", "cohere"}};
    rig_start(&r, &o);
    r.on_row = see;
    r.on_row_arg = &seen;
    rig_script(&r, 1, (struct rig_script){.reply = whole(RANKED)});
    ask(&r, AT("/v1/rerank"),
        "{\"model\":\"auto\",\"query\":\"q\",\"documents\":[\"a\",{\"text\":\"b\"}]}", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body.data, RANKED);
    assert_true(sent(&r, 1, "POST /v2/rerank HTTP/1.1\r\n"));
    assert_int_equal(r.providers[0].requests, 0);
    buf_deinit(&a.body);
    rig_stop(&r);
    assert_int_equal(seen.tokens_in, 12);
}

static void a_fallback_serves_what_the_first_could_not(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"});
    rig_script(&r, 1, (struct rig_script){.reply = whole(EMBEDDED)});
    ask(&r, AT("/v1/embeddings"), "{\"model\":\"auto\",\"input\":\"x\"}", &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-attempts: 2\r\n"));
    assert_true(says(&a, "\"model\":\"large\""));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void what_cannot_be_served_is_refused_before_anybody_is_asked(void **state)
{
    (void)state;
    static const struct {
        const char *head, *body;
        unsigned status;
        const char *says;
    } rows[] = {
        {AT("/v1/embeddings"), "{\"model\":\"small\",\"input\":\"x\"}", 400,
         "unsupported_parameter"},
        {AT("/v1/rerank"), "{\"model\":\"auto\",\"query\":\"q\",\"documents\":[\"a\"]}", 400,
         "unsupported_parameter"},
        {AT("/v1/embeddings"), "{\"model\":\"none\",\"input\":\"x\"}", 404, "model_not_found"},
        {AT("/v1/embeddings"), "{\"model\":\"small\"}", 400, "\"param\":\"input\""},
        {AT("/v1/embeddings"), "{\"model\":\"small\",\"input\":[]}", 400, "\"param\":\"input\""},
        {AT("/v1/completions"), "{\"prompt\":\"x\"}", 400, "\"param\":\"model\""},
        {AT("/v1/rerank"), "{\"model\":\"auto\",\"query\":[],\"documents\":[\"a\"]}", 400,
         "\"param\":\"query\""},
        {AT("/v1/moderations"), "{\"model\":\"small\",\"input\":\"x\",\"api_base\":\"y\"}", 400,
         "unsupported_parameter"},
    };
    struct rig r;
    const struct rig_options o = {.types = {"anthropic", "anthropic"}};
    rig_start(&r, &o);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig_answer a;
        ask(&r, rows[i].head, rows[i].body, &a);
        if (a.status != rows[i].status || !says(&a, rows[i].says))
            fail_msg("%zu: %u %.*s", i, a.status, (int)a.body.len, a.body.data);
        buf_deinit(&a.body);
    }
    assert_int_equal(r.providers[0].connections + r.providers[1].connections, 0);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_plain_path_passes_and_is_billed_by_its_usage),
        cmocka_unit_test(a_vector_in_base64_is_asked_for_and_given_as_it_is),
        cmocka_unit_test(a_completion_streams_with_its_usage_kept_back),
        cmocka_unit_test(a_broken_completion_is_marked),
        cmocka_unit_test(rerank_goes_to_who_has_it),
        cmocka_unit_test(a_fallback_serves_what_the_first_could_not),
        cmocka_unit_test(what_cannot_be_served_is_refused_before_anybody_is_asked),
    };
    int failed = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    replies_free();
    return failed;
}

#include "dataplane/llm/openai.h"
#include "dataplane/llm/tokens.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/route/features.h"
#include "tests/lib/fault.h"
#include "tests/unit/dataplane/llm/llm_kit.h"

static int read_text(struct llm_kit *f, const char *body)
{
    return llm_kit_read(f, &provider_openai, body);
}

static void assert_refused(struct llm_kit *f, const char *body, enum call_defect defect,
                           const char *param)
{
    llm_kit_assert_refused(f, read_text(f, body), defect, param);
}

#define USER "{\"role\":\"user\",\"content\":\"hi\"}"

static void a_call_is_summed_up(void **state)
{
    struct llm_kit *f = *state;
    assert_int_equal(
        read_text(
            f,
            "{\"model\":\"auto\",\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},"
            "{\"role\":\"user\",\"content\":\"one\"},{\"role\":\"assistant\",\"content\":null,"
            "\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
            "\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"2\"},"
            "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\\nb\"},{\"type\":"
            "\"image_url\",\"image_url\":{\"url\":\"https://x/y.png\",\"detail\":\"low\"}},"
            "{\"type\":\"text\",\"text\":\"c\"}]}],\"tools\":[{\"type\":\"function\","
            "\"function\":{\"name\":\"f\"}}],\"temperature\":0.5,\"max_completion_tokens\":9,"
            "\"max_tokens\":7,\"stream\":true,\"response_format\":{\"type\":\"json_object\"}}"),
        0);
    assert_true(str_is(f->call.model, "auto"));
    assert_true(str_is(f->call.text, "a\nb\nc"));
    assert_true(str_is(f->call.system, "be brief"));
    assert_int_equal(f->call.messages, 5);
    assert_int_equal(f->call.turns, 2);
    assert_int_equal(f->call.images, 1);
    assert_int_equal(f->call.tool_count, 1);
    assert_true(str_is(f->call.tools[0], "f"));
    assert_int_equal(f->call.max_tokens, 9);
    assert_int_equal(f->call.temperature_q8, 128);
    assert_true(f->call.stream && f->call.json_mode && f->call.has_tools && f->call.has_images);
    assert_in_range(f->call.tokens_in, 110, 170); /* 85 of them for the image. */
}

static void null_means_not_given(void **state)
{
    struct llm_kit *f = *state;
    assert_int_equal(
        read_text(f, "{\"model\":\"m\",\"messages\":[" USER "],\"n\":null,\"stream\":null,"
                     "\"stream_options\":null,\"max_tokens\":null,\"temperature\":null,"
                     "\"tools\":null,\"response_format\":null,\"reasoning_effort\":null}"),
        0);
    assert_int_equal(f->call.choices, 1);
    assert_int_equal(f->call.temperature_q8, FEATURES_TEMPERATURE_UNSET);
    assert_false(f->call.stream);
}

static void b13_bytes_that_are_no_json_are_refused_with_their_offset(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *body;
        int64_t offset;
    } rows[] = {
        {"{\"model\":\"m\",}", 13},
        {"{\"model\":NaN}", 9},
        {"{\"model\":\"\x01\"}", 10},
        {"{} x", 3},
        {"/*c*/{}", 0},
        {"{\"model\":\"\xff\"}", 10},
        {"[1,2", 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_refused(f, rows[i].body, CALL_BAD_JSON, NULL);
        assert_int_equal(f->refusal.offset, rows[i].offset);
        assert_non_null(f->refusal.message);
    }
    assert_refused(f, "[]", CALL_BAD_JSON, NULL);
    assert_refused(f, "\"text\"", CALL_BAD_JSON, NULL);
}

static void b14_a_repeated_key_is_refused_with_its_path(void **state)
{
    struct llm_kit *f = *state;
    assert_refused(f, "{\"model\":\"a\",\"mod\\u0065l\":\"b\",\"messages\":[" USER "]}",
                   CALL_BAD_JSON, "model");
}

static void b16_counts_are_whole_numbers_in_their_range(void **state)
{
    struct llm_kit *f = *state;
    static const char *const bad[] = {"-1",       "0",     "1.5", "1e3", "9999999999999999999",
                                      "1e999999", "\"7\"", "true"};
    char body[256];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buf b = {.data = body, .cap = sizeof body, .max = sizeof body};
        assert_int_equal(buf_printf(&b,
                                    "{\"model\":\"m\",\"messages\":[" USER "],\"max_tokens\":%s}%c",
                                    bad[i], '\0'),
                         0);
        assert_refused(f, body, CALL_BAD_FIELD, "max_tokens");
    }
}

static void b18_fields_that_would_set_an_address_or_a_key_are_refused(void **state)
{
    struct llm_kit *f = *state;
    static const char *const names[] = {"api_base", "base_url",      "api_key",
                                        "headers",  "extra_headers", "extra_body"};
    char body[256];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct buf b = {.data = body, .cap = sizeof body, .max = sizeof body};
        assert_int_equal(buf_printf(&b, "{\"model\":\"m\",\"%s\":\"x\",\"messages\":[" USER "]}%c",
                                    names[i], '\0'),
                         0);
        assert_refused(f, body, CALL_FORBIDDEN_FIELD, names[i]);
    }
    assert_int_equal(
        read_text(f, "{\"model\":\"m\",\"messages\":[" USER "],\"new_field\":{\"a\":[1]}}"), 0);
}

static void b19_more_choices_than_eight_are_refused(void **state)
{
    struct llm_kit *f = *state;
    assert_int_equal(read_text(f, "{\"model\":\"m\",\"messages\":[" USER "],\"n\":8}"), 0);
    assert_refused(f, "{\"model\":\"m\",\"messages\":[" USER "],\"n\":9}", CALL_BAD_FIELD, "n");
    assert_refused(f, "{\"model\":\"m\",\"messages\":[" USER "],\"n\":0}", CALL_BAD_FIELD, "n");
}

static void fields_of_the_wrong_kind_are_refused_with_their_path(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *body, *param;
    } rows[] = {
        {"{\"model\":7,\"messages\":[" USER "]}", "model"},
        {"{\"model\":\"\",\"messages\":[" USER "]}", "model"},
        {"{\"model\":\"m\",\"messages\":[]}", "messages"},
        {"{\"model\":\"m\",\"messages\":{}}", "messages"},
        {"{\"model\":\"m\",\"messages\":[7]}", "messages[0]"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"robot\",\"content\":\"x\"}]}",
         "messages[0].role"},
        {"{\"model\":\"m\",\"messages\":[" USER ",{\"role\":\"user\",\"content\":5}]}",
         "messages[1].content"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"odd\"}]}]}",
         "messages[0].content[0].type"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
         "messages[0].content[0]"},
        {"{\"model\":\"m\",\"messages\":[" USER "],\"stream\":\"yes\"}", "stream"},
        {"{\"model\":\"m\",\"messages\":[" USER "],\"stream_options\":[]}", "stream_options"},
        {"{\"model\":\"m\",\"messages\":[" USER "],\"stream_options\":{\"include_usage\":1}}",
         "stream_options.include_usage"},
        {"{\"model\":\"m\",\"messages\":[" USER "],\"temperature\":2.1}", "temperature"},
        {"{\"model\":\"m\",\"messages\":[" USER "],\"top_p\":-0.1}", "top_p"},
        {"{\"model\":\"m\",\"messages\":[" USER "],\"tools\":{}}", "tools"},
        {"{\"model\":\"m\",\"messages\":[" USER "],\"tools\":[1]}", "tools[0]"},
        {"{\"model\":\"m\",\"messages\":[" USER "],\"response_format\":\"json\"}",
         "response_format"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_refused(f, rows[i].body, CALL_BAD_FIELD, rows[i].param);
    assert_refused(f, "{\"messages\":[" USER "]}", CALL_MISSING_FIELD, "model");
    assert_refused(f, "{\"model\":\"m\"}", CALL_MISSING_FIELD, "messages");
}

static void b17_a_nul_in_text_is_kept(void **state)
{
    struct llm_kit *f = *state;
    assert_int_equal(
        read_text(f,
                  "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\\u0000b\"}]}"),
        0);
    assert_int_equal(f->call.text.len, 3);
    assert_memory_equal(f->call.text.data, "a\0b", 3);
}

/* ---- the way up ---- */

static void assert_sent(struct llm_kit *f, const char *body, const char *model, const char *want)
{
    struct str pieces[PROVIDER_REQUEST_PIECES_MAX];
    size_t count = 0;
    struct buf out;
    assert_int_equal(read_text(f, body), 0);
    assert_int_equal(
        openai_write_call(&f->call, str_from(body), str_from(model), &f->arena, pieces, &count), 0);
    buf_init(&out, 4096);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_append_str(&out, pieces[i]), 0);
    assert_string_equal(buf_cstr(&out), want);
    buf_deinit(&out);
}

#define M "\"messages\":[" USER "]"

static void only_model_and_stream_options_change_on_the_way_up(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *body, *want;
    } rows[] = {
        {"{\"model\":\"up\"," M ", \"x\" : [1.0e5 ] }",
         "{\"model\":\"up\"," M ", \"x\" : [1.0e5 ] }"},
        {"{ \"model\" : \"auto\" ," M "}", "{ \"model\" : \"up\" ," M "}"},
        {"{" M ",\"model\":\"a\\u0075to\"}", "{" M ",\"model\":\"up\"}"},
        {"{\"model\":\"auto\"," M ",\"stream\":true}",
         "{\"stream_options\":{\"include_usage\":true},\"model\":\"up\"," M ",\"stream\":true}"},
        {"{\"model\":\"auto\"," M ",\"stream\":true,\"stream_options\":null}",
         "{\"model\":\"up\"," M ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
        {"{\"stream_options\":{},\"model\":\"auto\"," M ",\"stream\":true}",
         "{\"stream_options\":{\"include_usage\":true},\"model\":\"up\"," M ",\"stream\":true}"},
        {"{\"stream_options\":{\"a\":1},\"model\":\"auto\"," M ",\"stream\":true}",
         "{\"stream_options\":{\"include_usage\":true,\"a\":1},\"model\":\"up\"," M
         ",\"stream\":true}"},
        {"{\"stream_options\":{\"include_usage\":false},\"model\":\"auto\"," M ",\"stream\":true}",
         "{\"stream_options\":{\"include_usage\":true},\"model\":\"up\"," M ",\"stream\":true}"},
        {"{\"stream_options\":{\"include_usage\":true},\"model\":\"auto\"," M ",\"stream\":true}",
         "{\"stream_options\":{\"include_usage\":true},\"model\":\"up\"," M ",\"stream\":true}"},
        {"{\"model\":\"auto\"," M ",\"stream\":false}",
         "{\"model\":\"up\"," M ",\"stream\":false}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_sent(f, rows[i].body, "up", rows[i].want);
    assert_sent(f, "{\"model\":\"auto\"," M "}", "a\"b", "{\"model\":\"a\\\"b\"," M "}");
}

static void assert_clamped(struct llm_kit *f, const char *body, bool complete, const char *want)
{
    struct str pieces[PROVIDER_REQUEST_PIECES_MAX];
    size_t count = 0;
    struct buf out;
    assert_int_equal(read_text(f, body), 0);
    f->call.clamp_out = 300;
    f->call.clamp_complete = complete;
    assert_int_equal(
        openai_write_call(&f->call, str_from(body), STR("up"), &f->arena, pieces, &count), 0);
    assert_true(count <= PROVIDER_REQUEST_PIECES_MAX);
    buf_init(&out, 4096);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_append_str(&out, pieces[i]), 0);
    assert_string_equal(buf_cstr(&out), want);
    buf_deinit(&out);
}

static void less_output_is_asked_for_where_the_caller_said_how_much(void **state)
{
    struct llm_kit *f = *state;
    assert_clamped(f, "{\"max_tokens\" : 9000,\"model\":\"auto\"," M "}", false,
                   "{\"max_tokens\" : 300,\"model\":\"up\"," M "}");
    assert_clamped(f, "{\"model\":\"auto\"," M ",\"max_completion_tokens\":9000}", false,
                   "{\"model\":\"up\"," M ",\"max_completion_tokens\":300}");
    assert_clamped(f,
                   "{\"max_completion_tokens\":null,\"model\":\"auto\"," M
                   ",\"stream\":true,\"max_tokens\":9000}",
                   false,
                   "{\"stream_options\":{\"include_usage\":true},\"max_completion_tokens\":300,"
                   "\"model\":\"up\"," M ",\"stream\":true,\"max_tokens\":300}");
    assert_clamped(f, "{\"model\":\"auto\"," M "}", false,
                   "{\"max_tokens\":300,\"model\":\"up\"," M "}");
    assert_clamped(f, "{\"model\":\"auto\"," M "}", true,
                   "{\"max_completion_tokens\":300,\"model\":\"up\"," M "}");
}

static void assert_thinks(struct llm_kit *f, const char *asks, uint32_t clamp, uint32_t least,
                          const char *want)
{
    char body[1024], sent[1024];
    struct str pieces[PROVIDER_REQUEST_PIECES_MAX];
    struct buf b = {.data = body, .cap = sizeof body, .max = sizeof body};
    struct buf out = {.data = sent, .cap = sizeof sent, .max = sizeof sent};
    size_t count = 0;
    assert_int_equal(buf_printf(&b, "{\"model\":\"auto\",%s,\"max_tokens\":90000," M "}", asks), 0);
    assert_int_equal(openai_read_call(&f->json, buf_str(&b), &f->arena, &f->call, &f->refusal), 0);
    f->call.clamp_out = clamp;
    f->call.think_least = least;
    assert_int_equal(openai_write_call(&f->call, buf_str(&b), STR("up"), &f->arena, pieces, &count),
                     0);
    assert_true(count <= PROVIDER_REQUEST_PIECES_MAX);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_append_str(&out, pieces[i]), 0);
    b.len = 0;
    assert_int_equal(buf_printf(&b, "{\"model\":\"up\",%s,\"max_tokens\":%u," M "}", want,
                                clamp != 0 ? clamp : 90000),
                     0);
    assert_true(str_eq(buf_str(&out), buf_str(&b)));
}

static void what_a_clamp_leaves_for_reasoning_stays_below_it(void **state)
{
    struct llm_kit *f = *state;
#define REASON(tokens) "\"reasoning\" : {\"exclude\":true,\"max_tokens\" : " tokens " }"
#define THINK(tokens)  "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":" tokens "}"
    static const struct {
        const char *asks;
        uint32_t clamp, least;
        enum call_clamp reasoning, thinking;
        const char *want;
    } rows[] = {
        {REASON("9000"), 400, 0, CALL_CLAMP_LOWERS, CALL_CLAMP_NOTHING, REASON("399")},
        {REASON("400"), 400, 0, CALL_CLAMP_LOWERS, CALL_CLAMP_NOTHING, REASON("399")},
        {REASON("399"), 400, 0, CALL_CLAMP_NOTHING, CALL_CLAMP_NOTHING, REASON("399")},
        {REASON("9e3"), 400, 0, CALL_CLAMP_LOWERS, CALL_CLAMP_NOTHING, REASON("399")},
        {REASON("0"), 400, 0, CALL_CLAMP_NOTHING, CALL_CLAMP_NOTHING, REASON("0")},
        {REASON("null"), 400, 0, CALL_CLAMP_NOTHING, CALL_CLAMP_NOTHING, REASON("null")},
        {REASON("9000"), 0, 1024, CALL_CLAMP_NOTHING, CALL_CLAMP_NOTHING, REASON("9000")},
        {REASON("9000"), 1025, 1024, CALL_CLAMP_LOWERS, CALL_CLAMP_NOTHING, REASON("1024")},
        {REASON("9000"), 1024, 1024, CALL_CLAMP_SWITCHES_OFF, CALL_CLAMP_NOTHING,
         "\"reasoning\" : {\"enabled\":false}"},
        {REASON("9000"), 1, 0, CALL_CLAMP_SWITCHES_OFF, CALL_CLAMP_NOTHING,
         "\"reasoning\" : {\"enabled\":false}"},
        {THINK("9000"), 2000, 0, CALL_CLAMP_NOTHING, CALL_CLAMP_LOWERS, THINK("1999")},
        {THINK("9000"), 1024, 0, CALL_CLAMP_NOTHING, CALL_CLAMP_SWITCHES_OFF,
         "\"thinking\":{\"type\":\"disabled\"}"},
        {THINK("9000") "," REASON("8000"), 700, 0, CALL_CLAMP_LOWERS, CALL_CLAMP_SWITCHES_OFF,
         "\"thinking\":{\"type\":\"disabled\"}," REASON("699")},
        {"\"reasoning\":{\"enabled\":false,\"max_tokens\":9000}", 400, 0, CALL_CLAMP_NOTHING,
         CALL_CLAMP_NOTHING, "\"reasoning\":{\"enabled\":false,\"max_tokens\":9000}"},
        {"\"reasoning\":{\"effort\":\"high\"}", 400, 0, CALL_CLAMP_NOTHING, CALL_CLAMP_NOTHING,
         "\"reasoning\":{\"effort\":\"high\"}"},
        {"\"reasoning\":\"x\",\"thinking\":[1]", 400, 0, CALL_CLAMP_NOTHING, CALL_CLAMP_NOTHING,
         "\"reasoning\":\"x\",\"thinking\":[1]"},
        {"\"thinking\":{\"type\":\"disabled\",\"budget_tokens\":9000}", 400, 0, CALL_CLAMP_NOTHING,
         CALL_CLAMP_NOTHING, "\"thinking\":{\"type\":\"disabled\",\"budget_tokens\":9000}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_thinks(f, rows[i].asks, rows[i].clamp, rows[i].least, rows[i].want);
        assert_int_equal(call_clamp_of(&f->call, CALL_THINK_REASONING), rows[i].reasoning);
        assert_int_equal(call_clamp_of(&f->call, CALL_THINK_THINKING), rows[i].thinking);
    }
#undef REASON
#undef THINK
}

/* All that can change, at once: more pieces than a body may have. */
static void a_body_of_which_all_changes_is_one_piece(void **state)
{
    struct llm_kit *f = *state;
    static const char asks[] =
        "{\"max_tokens\":9000,\"max_completion_tokens\":9000,\"model\":\"auto\"," M
        ",\"stream\":true,\"reasoning\":{\"max_tokens\":900},\"thinking\":{\"type\":"
        "\"enabled\",\"budget_tokens\":5000}}";
    assert_clamped(f, asks, false,
                   "{\"stream_options\":{\"include_usage\":true},\"max_tokens\":300,"
                   "\"max_completion_tokens\":300,\"model\":\"up\"," M
                   ",\"stream\":true,\"reasoning\":{\"max_tokens\":299},"
                   "\"thinking\":{\"type\":\"disabled\"}}");
}

static void what_a_reservation_needs_is_found(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *more;
        bool varies;
    } rows[] = {
        {"", false},
        {",\"service_tier\":\"auto\"", false},
        {",\"service_tier\":\"flex\"", false},
        {",\"service_tier\":null", false},
        {",\"service_tier\":\"priority\"", true},
        {",\"best_of\":1", false},
        {",\"best_of\":2", true},
        {",\"speed\":\"fast\"", true},
        {",\"web_search_options\":{}", true},
        {",\"web_search_options\":null", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf body;
        buf_init(&body, 4096);
        assert_int_equal(buf_append_text(&body, "{\"model\":\"m\",\"user\":\"al\\u0069ce\"," M), 0);
        assert_int_equal(buf_append_text(&body, rows[i].more), 0);
        assert_int_equal(buf_append_text(&body, "}"), 0);
        assert_int_equal(read_text(f, buf_cstr(&body)), 0);
        assert_int_equal(f->call.price_varies, rows[i].varies);
        assert_true(str_is(f->call.user, "alice"));
        assert_int_equal(f->call.tokens_most, body.len + TOKENS_MESSAGE_MOST);
        buf_deinit(&body);
    }
    const char *image = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                        "\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}]}]}";
    assert_int_equal(read_text(f, image), 0);
    assert_int_equal(f->call.tokens_most,
                     strlen(image) - 28 + TOKENS_MESSAGE_MOST + TOKENS_IMAGE_MOST);
}

static void f30_reading_survives_each_failed_allocation(void **state)
{
    struct llm_kit *f = *state;
    bool fired = true;
    for (unsigned n = 0; fired && n < 100; n++) {
        json_deinit(&f->json);
        json_init(&f->json, JSON_NODES_MAX);
        arena_reset(&f->arena);
        arena_pool_deinit(&f->pool);
        arena_pool_init(&f->pool, 16);
        fault_arm_alloc(n);
        int rc = read_text(f, "{\"model\":\"a\\u0075to\"," M ",\"tools\":[{\"name\":\"f\\n\"}]}");
        fired = fault_disarm();
        assert_true((rc == 0) == !fired);
    }
}

/* Escapes make it a copy; of a long one only the ends are made, also over several parts. */
static void of_a_long_text_the_ends_are_kept(void **state)
{
    struct llm_kit *f = *state;
    struct buf body, text;
    for (unsigned parts = 1; parts <= 60; parts += parts < 4 ? 1 : 28) {
        buf_init(&body, 1U << 20);
        buf_init(&text, 1U << 20);
        assert_int_equal(buf_append_str(&body, STR("{\"model\":\"m\",\"messages\":[{\"role\":"
                                                   "\"user\",\"content\":[")),
                         0);
        for (unsigned p = 0; p < parts; p++) {
            if (p > 0)
                assert_int_equal(buf_append_str(&body, STR(",")) | buf_append_str(&text, STR("\n")),
                                 0);
            assert_int_equal(buf_append_str(&body, STR("{\"type\":\"text\",\"text\":\"")), 0);
            for (unsigned i = 0; i < 6000 / parts; i++) {
                assert_int_equal(buf_append_str(&body, i % 9 == p % 9 ? STR("\\n") : STR("x")), 0);
                assert_int_equal(buf_append_str(&text, i % 9 == p % 9 ? STR("\n") : STR("x")), 0);
            }
            assert_int_equal(buf_append_str(&body, STR("\"}")), 0);
        }
        assert_int_equal(buf_append_str(&body, STR("]}]}")), 0);
        arena_reset(&f->arena);
        assert_int_equal(
            openai_read_call(&f->json, buf_str(&body), &f->arena, &f->call, &f->refusal), 0);
        assert_int_equal(f->call.text.len, FEATURES_TEXT_HEAD_BYTES + FEATURES_TAIL_BYTES);
        assert_memory_equal(f->call.text.data, text.data, FEATURES_TEXT_HEAD_BYTES);
        assert_memory_equal(f->call.text.data + FEATURES_TEXT_HEAD_BYTES,
                            text.data + text.len - FEATURES_TAIL_BYTES, FEATURES_TAIL_BYTES);
        assert_int_equal(f->call.text_bytes, text.len - (parts - 1));
        buf_deinit(&body);
        buf_deinit(&text);
    }
}

static void a_body_that_was_scanned_while_it_came_is_not_read_again(void **state)
{
    struct llm_kit *f = *state;
    static const char body[] = "{\"model\":\"m\",\"messages\":[" USER "]}";
    for (size_t cut = 0; cut < sizeof body; cut++) {
        json_scan_begin(&f->json);
        assert_int_equal(json_scan_feed(&f->json, str_slice(str_from(body), 0, cut)), 0);
        assert_int_equal(read_text(f, body), 0);
        assert_true(str_is(f->call.text, "hi"));
    }
    json_scan_begin(&f->json);
    assert_int_equal(json_scan_feed(&f->json, STR("{]")), ERR_SYNTAX);
    assert_refused(f, "{]", CALL_BAD_JSON, NULL);
    assert_int_equal(f->refusal.offset, 1);
}

/* First part and rest, wherever the first ends: one length, one call, the usage asked for. */
static void a_body_in_two_parts_says_the_same_and_is_as_long_as_declared(void **state)
{
    static const struct {
        const char *body;
        bool usage;
    } rows[] = {
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", false},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true} ",
         true},
        {"{\"stream\":true,\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
         "\"stream_options\":null }",
         true},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
         "\"stream_options\":{\"include_usage\":false},\"stream\":true}",
         true},
        {"{\"model\":\"m\",\"stream_options\":{ },"
         "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true}",
         true},
        {"{\"model\":\"m\",\"stream_options\":{\"include_usage\":false},"
         "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
         false},
    };
    struct llm_kit *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct str body = str_from(rows[i].body);
        const char *const names[] = {"m", "another \"m\""};
        for (size_t n = 1; n <= body.len; n++) {
            for (size_t k = 0; k < 2; k++) {
                struct str pieces[3 + 5];
                size_t first, more;
                bool asked = false;
                char text[512];
                struct buf out = {.data = text, .cap = sizeof text, .max = sizeof text};
                json_scan_begin(&f->json);
                assert_int_equal(json_scan_feed(&f->json, str_slice(body, 0, n)), 0);
                size_t end = openai_part_end(&f->json);
                json_reset(&f->json, JSON_NODES_MAX);
                assert_int_equal(read_text(f, rows[i].body), 0);
                if (end < f->call.model_value.at + f->call.model_value.len)
                    continue;
                assert_true(end <= f->call.object_close);
                assert_int_equal(openai_write_part(&f->call, body, end, str_from(names[k]),
                                                   &f->arena, pieces, &first),
                                 0);
                openai_write_rest(&f->call, body, end, pieces + first, &more);
                assert_true(first <= 3 && more <= 5);
                for (size_t p = 0; p < first + more; p++)
                    assert_int_equal(buf_append_str(&out, pieces[p]), 0);
                assert_int_equal(out.len, body.len + OPENAI_PART_PAD + (k == 0 ? 0 : 12));
                assert_int_equal(json_parse(&f->json, buf_str(&out), NULL), 0);
                uint32_t options = json_get(&f->json, JSON_ROOT, STR("stream_options"));
                if (json_bool(&f->json, json_get(&f->json, options, STR("include_usage")),
                              &asked) != 0)
                    asked = false;
                assert_int_equal(asked, rows[i].usage);
                assert_true(json_string_is(&f->json, json_get(&f->json, JSON_ROOT, STR("model")),
                                           str_from(names[k])));
            }
        }
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, llm_kit_setup, llm_kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_call_is_summed_up),
        TEST(null_means_not_given),
        TEST(b13_bytes_that_are_no_json_are_refused_with_their_offset),
        TEST(b14_a_repeated_key_is_refused_with_its_path),
        TEST(b16_counts_are_whole_numbers_in_their_range),
        TEST(b17_a_nul_in_text_is_kept),
        TEST(b18_fields_that_would_set_an_address_or_a_key_are_refused),
        TEST(b19_more_choices_than_eight_are_refused),
        TEST(fields_of_the_wrong_kind_are_refused_with_their_path),
        TEST(only_model_and_stream_options_change_on_the_way_up),
        TEST(less_output_is_asked_for_where_the_caller_said_how_much),
        TEST(what_a_clamp_leaves_for_reasoning_stays_below_it),
        TEST(a_body_of_which_all_changes_is_one_piece),
        TEST(what_a_reservation_needs_is_found),
        TEST(f30_reading_survives_each_failed_allocation),
        TEST(of_a_long_text_the_ends_are_kept),
        TEST(a_body_that_was_scanned_while_it_came_is_not_read_again),
        TEST(a_body_in_two_parts_says_the_same_and_is_as_long_as_declared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

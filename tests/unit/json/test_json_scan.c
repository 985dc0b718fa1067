/* A body read in parts gives what it gives when read whole: nodes, code, place and path. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/json/json.h"
#include "common/json/json_internal.h"
#include "tests/lib/fault.h"

static const char *const texts[] = {
    "{\"model\":\"a\\n\\ud83d\\ude00\xE2\x82\xAC\",\"n\":[-1.5e+3,true,false,null,{}],\"e\":\"\"}",
    " [ 1 , \"two\" ,\r\n\t{ \"three\" : [ ] } ]  ",
    "\"\\u0041\\u00e9\\u20ac\\\\\\/\\b\\f\\r\\t\"",
    "{\"messages\":[{\"role\":\"user\",\"content\":\"The quick brown fox jumps over the lazy dog, "
    "\\\"again\\\" and again, until forty and more bytes have gone by.\"}],\"stream\":true}",
    "\"\xD0\x96\xD0\xB8\xD0\xB7\xD0\xBD\xD1\x8C \xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E "
    "\xF0\x9F\x98\x80 \xD0\x96\xD0\xB8\xD0\xB7\xD0\xBD\xD1\x8C \xE6\x97\xA5\xE6\x9C\xAC\"",
    "-0.5e-10",
    "tru",
    "nul!",
    "true ",
    "01",
    "1.5.5",
    "[1e+]",
    "[1,]",
    "{\"a\":1,}",
    "{\"a\" 1}",
    "{,}",
    "[1 2]",
    "{\"a\":1}x",
    "\xEF\xBB\xBF{}",
    "\xEF\xBB",
    "\"\\ud83d\\u0041\"",
    "\"\\ud83d",
    "\"\\u12\"",
    "\"\\x\"",
    "\"a\nb\"",
    "\"\xC3\"",
    "\"\xE2\x82",
    "\"\xED\xA0\x80\"",
    "\"\xF4\x90\x80\x80\"",
    "{\"a\":[0,{\"x\":1,\"\\u0078\":2}]}",
    "{\"a\":[0,{\"x\":1,\"x\":",
    "[-,\"the quick brown fox jumps over the lazy dog\"]",
    "[1.,\"the quick brown fox jumps over the lazy dog\"]",
    "[-01,\"the quick brown fox jumps over the lazy dog\"]",
    "[0.5.5,\"the quick brown fox jumps over the lazy dog\"]",
    "[-0,-0.0,12.50,-3.141592653589793238462643,0.1e5,\"the quick brown fox jumps over it\"]",
    "[123456789012345678901234,1234567890123456789012345,\"the quick brown fox jumps over it\"]",
    "[01,\"the quick brown fox jumps over the lazy dog\"]",
    "{\"a\":1 ,\"b\":1234567890123456789012,\"the quick brown fox jumps over the lazy dog\":1}",
    "{\"a\":tru,\"the quick brown fox jumps over the lazy dog\":1}",
    "{\"a\":[1,2}, \"the quick brown fox jumps over the lazy dog\":1}",
    "{\"a\":[1;2], \"the quick brown fox jumps over the lazy dog\":1}",
    "{\"a\" :1, \"a\":2, \"the quick brown fox jumps over the lazy dog\":1}",
    "{\"a\": false,\"b\": null,\"\":nul, \"the quick brown fox jumps over the lazy dog\":1}",
    "\"unfinished",
    "",
    " ",
};

struct result {
    struct json j;
    struct json_error error;
    int rc;
};

static void expect_equal(const struct result *whole, const struct result *parts, const char *text)
{
    if (whole->rc != parts->rc || whole->error.problem != parts->error.problem ||
        whole->error.offset != parts->error.offset ||
        strcmp(whole->error.path, parts->error.path) != 0)
        fail_msg("%s: whole %d, '%s' at %zu; in parts %d, '%s' at %zu", text, whole->rc,
                 json_problem_text(whole->error.problem), whole->error.offset, parts->rc,
                 json_problem_text(parts->error.problem), parts->error.offset);
    assert_int_equal(whole->j.count, parts->j.count);
    if (whole->j.count > 0)
        assert_memory_equal(whole->j.nodes, parts->j.nodes,
                            whole->j.count * sizeof whole->j.nodes[0]);
}

/* The bytes so far, each time in a block of their own, so that a sanitizer sees a read past them
 * and an old address. */
static void feed_copy(struct result *r, const char *text, size_t len, bool last)
{
    char *copy = test_malloc(len + (len == 0));
    memcpy(copy, text, len);
    const struct str so_far = {.data = copy, .len = len};
    if (last)
        r->rc = json_scan_end(&r->j, so_far, &r->error);
    else
        r->rc = json_scan_feed(&r->j, so_far);
    test_free(copy);
}

static void parse_whole(struct result *r, const char *text)
{
    memset(r, 0, sizeof *r);
    json_init(&r->j, JSON_NODES_MAX);
    r->rc = json_parse(&r->j, str_from(text), &r->error);
}

static void parts_at_every_byte_give_what_the_whole_gives(void **state)
{
    (void)state;
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        struct result whole, parts;
        size_t len = strlen(texts[t]);
        parse_whole(&whole, texts[t]);
        for (size_t a = 0; a <= len; a++) {
            for (size_t b = a; b <= len; b += 1 + (len - a) / 7) {
                memset(&parts, 0, sizeof parts);
                json_init(&parts.j, JSON_NODES_MAX);
                json_scan_begin(&parts.j);
                assert_true(json_scan_begun(&parts.j));
                feed_copy(&parts, texts[t], a, false);
                feed_copy(&parts, texts[t], b, false);
                feed_copy(&parts, texts[t], len, true);
                assert_false(json_scan_begun(&parts.j));
                expect_equal(&whole, &parts, texts[t]);
                json_deinit(&parts.j);
            }
        }
        json_deinit(&whole.j);
    }
    assert_int_equal(mem_live_bytes(), 0);
}

static void byte_after_byte_gives_what_the_whole_gives(void **state)
{
    (void)state;
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        struct result whole, parts = {0};
        size_t len = strlen(texts[t]);
        parse_whole(&whole, texts[t]);
        json_init(&parts.j, JSON_NODES_MAX);
        json_scan_begin(&parts.j);
        for (size_t i = 0; i <= len; i++)
            feed_copy(&parts, texts[t], i, false);
        feed_copy(&parts, texts[t], len, true);
        expect_equal(&whole, &parts, texts[t]);
        json_deinit(&parts.j);
        json_deinit(&whole.j);
    }
}

static void what_is_wrong_early_is_said_early_and_again(void **state)
{
    struct json j;
    struct json_error error = {0};
    (void)state;
    json_init(&j, JSON_NODES_MAX);
    json_scan_begin(&j);
    assert_int_equal(json_scan_feed(&j, STR("{\"a\":1,\"a\":2}, and more")), ERR_EXISTS);
    assert_int_equal(json_scan_feed(&j, STR("{\"a\":1,\"a\":2}, and more to come")), ERR_EXISTS);
    assert_int_equal(json_scan_end(&j, STR("{\"a\":1,\"a\":2}, and more to come"), &error),
                     ERR_EXISTS);
    assert_string_equal(error.path, "a");
    assert_int_equal(error.offset, 7);
    assert_int_equal(json_parse(&j, STR("[1]"), &error), 0); /* As good as new. */
    json_deinit(&j);
}

static void a_scan_that_is_given_up_leaves_nothing(void **state)
{
    struct json j;
    (void)state;
    json_init(&j, JSON_NODES_MAX);
    json_scan_begin(&j);
    assert_int_equal(json_scan_feed(&j, STR("{\"a\":[1,2")), 0);
    json_reset(&j, 0);
    assert_false(json_scan_begun(&j));
    assert_int_equal(mem_live_bytes(), 0);
    assert_int_equal(json_parse(&j, STR("[1]"), NULL), 0);
    json_deinit(&j);
}

/* Decoded lengths are counted while scanning. */
static void an_escaped_string_knows_its_length(void **state)
{
    struct json j;
    struct arena a;
    struct str text = STR_NULL;
    (void)state;
    json_init(&j, JSON_NODES_MAX);
    arena_init(&a, NULL, 4096);
    assert_int_equal(json_parse(&j, str_from(texts[2]), NULL), 0);
    assert_int_equal(json_text(&j, JSON_ROOT, &a, &text), 0);
    assert_int_equal(text.len, 12);
    assert_int_equal(json_text_length(&j, JSON_ROOT), text.len);
    assert_int_equal(json_count(&j, JSON_ROOT), 0);
    arena_reset(&a);
    json_deinit(&j);
}

/* Long enough that the end is not decoded from the beginning. */
static void the_end_of_a_long_string_is_the_end_of_the_whole(void **state)
{
    static const char *const pieces[] = {"plain text",     "\\n",           "\\u00e9",
                                         "\\ud83d\\ude00", "\\\\\\\\",      "\\\\\\\"",
                                         "\xE2\x82\xAC",   "\\uD83D\\uDC0d"};
    struct buf text;
    struct arena a;
    struct json j;
    char end[40];
    (void)state;
    json_init(&j, JSON_NODES_MAX);
    arena_init(&a, NULL, 1U << 20);
    for (unsigned seed = 0; seed < 300; seed++) {
        struct str whole = STR_NULL;
        buf_init(&text, 1U << 20);
        assert_int_equal(buf_append_char(&text, '"'), 0);
        for (unsigned i = 0; i < 200; i++)
            assert_int_equal(
                buf_append_str(&text, str_from(pieces[(i * i + seed * (i / 3 + 1)) % 8])), 0);
        assert_int_equal(buf_append_char(&text, '"'), 0);
        assert_int_equal(json_parse(&j, buf_str(&text), NULL), 0);
        assert_int_equal(json_text(&j, JSON_ROOT, &a, &whole), 0);
        for (size_t n = 1; n < sizeof end; n++) {
            assert_int_equal(json_text_tail(&j, JSON_ROOT, n, end), n);
            assert_memory_equal(end, whole.data + whole.len - n, n);
            assert_int_equal(json_text_head(&j, JSON_ROOT, n, end), n);
            assert_memory_equal(end, whole.data, n);
        }
        arena_reset(&a);
        buf_deinit(&text);
    }
    json_deinit(&j);
}

/* What has wholly come of a member is there, and no more; the end of the root is never inside. */
static void members_of_the_root_are_seen_while_the_text_comes(void **state)
{
    (void)state;
    const struct str text = STR(" {\"a\":{\"b\":[1]},\"\\u0062\":\"x\\ty\",\"c\":[{\"d\":1}, 2],"
                                "\"d\":12,\"e\":true} ");
    const struct {
        struct str key;
        size_t key_end;
        size_t value_end;
        size_t known_at; /* A number or word is told from a longer one by what follows. */
    } rows[] = {
        {STR("a"), 5, 15, 15},  {STR("b"), 24, 31, 31}, {STR("c"), 35, 48, 48},
        {STR("d"), 52, 55, 56}, {STR("e"), 59, 64, 65}, {STR("x"), 0, 0, SIZE_MAX},
    };
    struct json j;
    json_init(&j, JSON_NODES_MAX);
    for (size_t step = 1; step < 8; step++) {
        json_scan_begin(&j);
        for (size_t n = step; n <= text.len; n += step) {
            assert_int_equal(json_scan_feed(&j, str_slice(text, 0, n)), 0);
            size_t inside = json_scan_inside(&j);
            assert_true(inside <= n && inside <= text.len - 2);
            assert_true(n - inside <= 11 || n >= text.len - 1);
            for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
                uint32_t key_end;
                uint32_t value = json_scan_member(&j, rows[i].key, &key_end);
                bool has_key = rows[i].key_end != 0 && n >= rows[i].key_end;
                bool escape_pends = has_key && i == 1 && n < rows[i].key_end + 6;
                if ((key_end != (has_key ? rows[i].key_end : 0) && !escape_pends) ||
                    (value != JSON_NONE) != (n >= rows[i].known_at))
                    fail_msg("%.*s after %zu bytes: %u, %u", STR_ARG(rows[i].key), n, key_end,
                             value);
                if (value == JSON_NONE)
                    continue;
                struct str raw = json_raw(&j, value);
                assert_ptr_equal(raw.data + raw.len, text.data + rows[i].value_end);
            }
        }
        json_reset(&j, 0);
    }
    json_deinit(&j);
}

static void of_many_members_the_first_are_looked_at(void **state)
{
    (void)state;
    static const char *const others[] = {"[1", "\"a\"", "", "[]}"};
    char text[2048];
    struct buf b = {.data = text, .cap = sizeof text, .max = sizeof text};
    struct json j;
    uint32_t key_end;
    json_init(&j, JSON_NODES_MAX);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) { /* No objects, or broken. */
        json_scan_begin(&j);
        (void)!json_scan_feed(&j, str_from(others[i]));
        assert_int_equal(json_scan_member(&j, STR("a"), &key_end), JSON_NONE);
        assert_int_equal(key_end, 0);
        if (i == 3)
            assert_int_equal(json_scan_inside(&j), 0);
    }
    for (unsigned i = 0; i < JSON_SCAN_MEMBERS_MAX + 1; i++)
        assert_int_equal(buf_printf(&b, "%c\"k%u\":\"v\"", i == 0 ? '{' : ',', i), 0);
    json_scan_begin(&j);
    assert_int_equal(json_scan_feed(&j, buf_str(&b)), 0);
    assert_int_not_equal(json_scan_member(&j, STR("k63"), &key_end), JSON_NONE);
    assert_int_equal(json_scan_member(&j, STR("k64"), &key_end), JSON_NONE);
    json_deinit(&j);
}

/* ---- texts by chance ---- */

struct chance {
    uint64_t state;
    struct buf out;
};

static unsigned below(struct chance *c, unsigned n)
{
    c->state ^= c->state << 13;
    c->state ^= c->state >> 7;
    c->state ^= c->state << 17;
    return (unsigned)((c->state >> 11) % n);
}

static void put(struct chance *c, const char *text)
{
    assert_int_equal(buf_append_str(&c->out, str_from(text)), 0);
}

static void put_space(struct chance *c)
{
    static const char *const spaces[] = {"", "", "", "", " ", " ", "  ", "\n ", "\t"};
    put(c, spaces[below(c, 9)]);
}

static void put_string(struct chance *c)
{
    static const char *const pieces[] = {
        "a",       "role",           "content",  "The quick brown fox, ", "\\n",   "\\\"",
        "\\u00e9", "\\ud83d\\ude00", "\xC3\xA9", "\xE2\x82\xAC",          "model", "~ !#[]{}:,"};
    static const unsigned most[] = {1, 1, 2, 3, 20};
    unsigned n = below(c, 1 + most[below(c, 5)]);
    put(c, "\"");
    for (unsigned i = 0; i < n; i++)
        put(c, pieces[below(c, below(c, 4) == 0 ? 12 : 4)]);
    put(c, "\"");
}

static void put_value(struct chance *c, unsigned depth)
{
    static const char *const scalars[] = {"-0.25", "-0",    "12.5", "1.5e-7",
                                          "0",     "7",     "256",  "123456789012345678",
                                          "-1",    "0.5",   "1e3",  "1234567890123456789012",
                                          "true",  "false", "null", "999999999999999999"};
    const unsigned kind = below(c, depth == 0 ? 2 : 5);
    if (kind == 0) {
        put(c, scalars[below(c, sizeof scalars / sizeof scalars[0])]);
        return;
    }
    if (kind == 1) {
        put_string(c);
        return;
    }
    const bool object = kind < 4;
    const unsigned n = below(c, below(c, 8) == 0 ? 24 : 5);
    put(c, object ? "{" : "[");
    for (unsigned i = 0; i < n; i++) {
        put(c, i > 0 ? "," : "");
        put_space(c);
        if (object) {
            put_string(c);
            put_space(c);
            put(c, ":");
            put_space(c);
        }
        put_value(c, depth - 1);
        put_space(c);
    }
    put(c, object ? "}" : "]");
}

/* Some bytes are others now, are gone, or stand twice. */
static void spoil(struct chance *c)
{
    static const char others[] = "\"\\{}[]:, 0x\x01\x7F\xC3\xFF";
    for (unsigned n = below(c, 3); n > 0 && c->out.len > 1; n--) {
        const size_t at = below(c, (unsigned)c->out.len - 1);
        const unsigned how = below(c, 3);
        if (how == 0)
            c->out.data[at] = others[below(c, sizeof others - 1)];
        else if (how == 1)
            c->out.data[at] = c->out.data[at + 1];
        else
            c->out.len--;
    }
}

/* Fed byte after byte, nothing is near enough to be taken as usual (json_usual.c); whole, nearly
 * all of it is. */
static void texts_by_chance_are_the_same_whole_and_in_parts(void **state)
{
    (void)state;
    unsigned good = 0;
    for (uint64_t seed = 1; seed <= 4000; seed++) {
        struct chance c = {.state = seed * 0x9E3779B97F4A7C15U};
        struct result whole = {0}, bytes = {0}, parts = {0};
        buf_init(&c.out, 1U << 24);
        put_value(&c, 4);
        if (seed % 2 == 0)
            spoil(&c);
        const struct str text = buf_str(&c.out);
        const uint32_t most = seed % 16 == 5 ? 20 : JSON_NODES_MAX;
        json_init(&whole.j, most);
        json_init(&bytes.j, most);
        json_init(&parts.j, most);
        whole.rc = json_parse(&whole.j, text, &whole.error);
        json_scan_begin(&bytes.j);
        for (size_t n = 0; n < text.len; n++)
            (void)!json_scan_feed(&bytes.j, str_slice(text, 0, n));
        bytes.rc = json_scan_end(&bytes.j, text, &bytes.error);
        json_scan_begin(&parts.j);
        for (size_t n = 0; n < text.len; n += below(&c, 80))
            (void)!json_scan_feed(&parts.j, str_slice(text, 0, n));
        parts.rc = json_scan_end(&parts.j, text, &parts.error);
        char name[48];
        (void)snprintf(name, sizeof name, "seed %llu", (unsigned long long)seed);
        expect_equal(&whole, &bytes, name);
        expect_equal(&whole, &parts, name);
        good += whole.rc == 0;
        json_deinit(&whole.j);
        json_deinit(&bytes.j);
        json_deinit(&parts.j);
        buf_deinit(&c.out);
    }
    assert_in_range(good, 1000, 3900);
    assert_int_equal(mem_live_bytes(), 0);
}

/* Strings by chance and spoiled ones, between other bytes: the node is that of the whole text, or
 * none, which what is usual never gets. */
static void what_is_between_two_quotes_is_the_string_of_the_whole(void **state)
{
    (void)state;
    unsigned taken = 0;
    for (uint64_t seed = 1; seed <= 4000; seed++) {
        struct chance c = {.state = seed * 0x9E3779B97F4A7C15U};
        struct json whole, between;
        buf_init(&c.out, 1U << 16);
        json_init(&whole, JSON_NODES_MAX);
        json_init(&between, JSON_NODES_MAX);
        put(&c, "[1,");
        put_string(&c);
        put(&c, ",true]");
        const uint32_t to = (uint32_t)c.out.len - 7;
        if (seed % 4 == 0 && to > 4)
            c.out.data[4 + below(&c, to - 4)] = (char)below(&c, 256);
        const bool good = json_parse(&whole, buf_str(&c.out), NULL) == 0 && whole.count == 4 &&
                          whole.nodes[2].end == to + 1;
        if (json_parse_between(&between, buf_str(&c.out), 4, to)) {
            const struct json_node *a = &whole.nodes[2], *b = &between.nodes[JSON_ROOT];
            taken++;
            if (!good || between.count != 1 || a->start != b->start || a->end != b->end ||
                a->info != b->info || b->next != 1)
                fail_msg("seed %llu", (unsigned long long)seed);
            assert_int_equal(json_text_length(&whole, 2), json_text_length(&between, JSON_ROOT));
        } else {
            assert_true(!good || json_is_escaped(&whole, 2));
            assert_int_equal(json_kind(&between, JSON_ROOT), JSON_MISSING);
        }
        json_deinit(&whole);
        json_deinit(&between);
        buf_deinit(&c.out);
    }
    assert_in_range(taken, 1000, 3900);
    assert_int_equal(mem_live_bytes(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_at_every_byte_give_what_the_whole_gives),
        cmocka_unit_test(byte_after_byte_gives_what_the_whole_gives),
        cmocka_unit_test(what_is_wrong_early_is_said_early_and_again),
        cmocka_unit_test(a_scan_that_is_given_up_leaves_nothing),
        cmocka_unit_test(an_escaped_string_knows_its_length),
        cmocka_unit_test(the_end_of_a_long_string_is_the_end_of_the_whole),
        cmocka_unit_test(members_of_the_root_are_seen_while_the_text_comes),
        cmocka_unit_test(of_many_members_the_first_are_looked_at),
        cmocka_unit_test(texts_by_chance_are_the_same_whole_and_in_parts),
        cmocka_unit_test(what_is_between_two_quotes_is_the_string_of_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

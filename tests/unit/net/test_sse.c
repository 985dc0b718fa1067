#include <string.h>

#include "common/base/mem.h"
#include "common/net/sse.h"
#include "tests/lib/fault.h"

#define OUT_MAX 65536U

/* What the reader says about input cut into pieces of `piece` bytes (0: one piece). */
static void read_all(struct str bytes, size_t piece, struct buf *out, struct buf *raw)
{
    struct sse_reader r;
    struct sse_event e;
    sse_reader_init(&r, 64);
    for (size_t at = 0; at < bytes.len; at += piece != 0 ? piece : bytes.len) {
        struct str in = str_slice(bytes, at, at + (piece != 0 ? piece : bytes.len));
        while (sse_reader_next(&r, &in, &e)) {
            assert_int_equal(buf_append_str(raw, e.raw), 0);
            assert_int_equal(buf_printf(out, "[%.*s|%.*s|%.*s%s%s]", STR_ARG(e.name), STR_ARG(e.id),
                                        STR_ARG(e.data), e.has_data ? "" : "|none",
                                        e.has_comment ? "|comment" : ""),
                             0);
            if (e.has_retry)
                assert_int_equal(buf_printf(out, "retry%d", (int)e.retry_ms), 0);
        }
    }
    if (sse_finish(&r, &e)) {
        assert_int_equal(buf_append_str(raw, e.raw), 0);
        assert_int_equal(buf_printf(out, "end[%.*s]%s", STR_ARG(e.data), e.cut ? "cut" : ""), 0);
    }
    if (sse_reader_status(&r) != 0)
        assert_int_equal(buf_printf(out, "%s", err_name(sse_reader_status(&r))), 0);
    sse_reader_deinit(&r);
}

static void stream_gives(struct str bytes, const char *wanted)
{
    for (size_t piece = 0; piece <= bytes.len; piece++) {
        struct buf out;
        struct buf raw;
        buf_init(&out, OUT_MAX);
        buf_init(&raw, OUT_MAX);
        read_all(bytes, piece, &out, &raw);
        assert_string_equal(buf_cstr(&out), wanted);
        if (strstr(wanted, "TOO_LARGE") == NULL)
            assert_true(str_eq(buf_str(&raw), bytes));
        buf_deinit(&out);
        buf_deinit(&raw);
    }
}

static void events_are_parsed_as_the_standard_says(void **state)
{
    (void)state;
    stream_gives(STR("data: a\n\n"), "[||a]");
    stream_gives(STR("event: x\nid: 7\ndata: a\ndata:  b\ndata:c\n\n"), "[x|7|a\n b\nc]");
    stream_gives(STR("data\n\ndata\ndata\n\ndata:\n\n"), "[||][||\n][||]");
    stream_gives(STR("unknown: a\nevent: lone\n\n"), "[lone||"
                                                     "|none]");
    stream_gives(STR("id: a\0b\ndata: x\n\n"), "[||x]");
    stream_gives(STR("retry: 1500\n\nretry: -1\n\nretry: 1x\n\n"),
                 "[|||none]retry1500[|||none][|||none]");
    stream_gives(STR("data: caf\xc3\xa9\n\n"), "[||caf\xc3\xa9]");
}

static void b37_line_ends_of_every_kind(void **state)
{
    (void)state;
    stream_gives(STR("data: a\r\n\r\ndata: b\n\ndata: c\r\n\n"), "[||a][||b][||c]");
    stream_gives(STR("data: a\r\rdata: b\r\r"), "[||a][||b]");
    stream_gives(STR("data: a\n\r\ndata: b\n\n"), "[||a][||b]");
    stream_gives(STR("data: a\rdata: b\r\r\ndata: c\n\n"), "[||a\nb][||c]");
    stream_gives(STR("\xef\xbb\xbf"
                     "data: a\n\n\xef\xbb\xbf"
                     "data: b\n\n"),
                 "[||a][|||none]");
}

static void comments_and_blank_lines_keep_their_bytes(void **state)
{
    (void)state;
    stream_gives(STR(": ping\n\ndata: a\n: in\n\n\n\n"),
                 "[|||none|comment][||a|comment][|||none][|||none]");
}

static void b37_a_stream_without_its_last_blank_line_is_told(void **state)
{
    (void)state;
    stream_gives(STR("data: a\n\ndata: b\n"), "[||a]end[b]cut");
    stream_gives(STR("data: a\n\ndata: b"), "[||a]end[b]cut");
    stream_gives(STR(""), "");
}

static void b37_a_block_over_the_maximum_ends_the_stream(void **state)
{
    (void)state;
    /* 64 bytes with both line ends fit; 65 do not. */
    stream_gives(STR("data: 01234567890123456789012345678901234567890123456789012345\n\n"),
                 "[||01234567890123456789012345678901234567890123456789012345]");
    stream_gives(STR("data: 012345678901234567890123456789012345678901234567890123456\n\n"),
                 "TOO_LARGE");
    stream_gives(STR("data: 0123456789012345678901234567890123456789012345678901234567890123456"),
                 "TOO_LARGE");
}

static void an_event_inside_one_chunk_is_not_copied(void **state)
{
    (void)state;
    struct sse_reader r;
    struct sse_event e;
    const char *text = "data: a\n\ndata: b\n\n";
    struct str in = str_from(text);
    sse_reader_init(&r, 0);
    uint64_t live = mem_live_bytes();
    assert_true(sse_reader_next(&r, &in, &e));
    assert_ptr_equal(e.raw.data, text);
    assert_ptr_equal(e.data.data, text + 6);
    assert_true(sse_reader_next(&r, &in, &e));
    assert_ptr_equal(e.data.data, text + 15);
    assert_false(sse_reader_next(&r, &in, &e));
    assert_true(mem_live_bytes() == live);
    sse_reader_deinit(&r);
}

static void f30_each_failed_allocation_is_reported(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct sse_reader r;
        struct sse_event e;
        struct str a = STR("data: a\nda");
        struct str b = STR("ta: b\n\n");
        sse_reader_init(&r, 0);
        fault_arm_alloc(n);
        (void)sse_reader_next(&r, &a, &e);
        bool ok = sse_reader_next(&r, &b, &e);
        fired = fault_disarm();
        assert_true(ok != fired);
        assert_int_equal(sse_reader_status(&r), fired ? ERR_NOMEM : 0);
        sse_reader_deinit(&r);
    }
}

static void frames_are_written_so_that_they_read_back(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 200);
    assert_int_equal(sse_write_event(&b, STR("x"), STR("a\nb\r\nc\rd\n")), 0);
    assert_int_equal(sse_write_event_id(&b, STR("7"), STR_NULL, STR("{}")), 0);
    assert_int_equal(sse_write_comment(&b, STR("ping")), 0);
    assert_int_equal(sse_write_retry(&b, 20), 0);
    assert_string_equal(buf_cstr(&b), "event: x\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"
                                      "id: 7\ndata: {}\n\n: ping\n\nretry: 20\n\n");
    stream_gives(buf_str(&b), "[x||a\nb\nc\nd\n][|7|{}][|||none|comment][|||none]retry20");
    size_t len = b.len;
    assert_int_equal(sse_write_event(&b, STR("a\nb"), STR("x")), ERR_INVALID);
    assert_int_equal(sse_write_event_id(&b, STR("a\rb"), STR_NULL, STR("x")), ERR_INVALID);
    static char large[300];
    assert_int_equal(sse_write_event(&b, STR_NULL, (struct str){large, sizeof(large)}),
                     ERR_TOO_LARGE);
    assert_int_equal(b.len, len);
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_parsed_as_the_standard_says),
        cmocka_unit_test(b37_line_ends_of_every_kind),
        cmocka_unit_test(comments_and_blank_lines_keep_their_bytes),
        cmocka_unit_test(b37_a_stream_without_its_last_blank_line_is_told),
        cmocka_unit_test(b37_a_block_over_the_maximum_ends_the_stream),
        cmocka_unit_test(an_event_inside_one_chunk_is_not_copied),
        cmocka_unit_test(f30_each_failed_allocation_is_reported),
        cmocka_unit_test(frames_are_written_so_that_they_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

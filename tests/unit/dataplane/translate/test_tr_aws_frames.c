/* Frames of AWS event streams: the documented encodings, every cut, and all that is wrong. */
#include <string.h>

#include "common/base/mem.h"
#include "tests/lib/aws_encode.h"
#include "tests/lib/fault.h"

/* A frame a line: name, '!' before that of an exception, payload. */
static int read_all(struct str stream, size_t at, struct buf *log, bool *out_cut)
{
    struct aws_frames f = {.status = 0};
    struct str pieces[2] = {str_slice(stream, 0, at), str_slice(stream, at, stream.len)};
    struct tr_frame frame;
    int rc = 0;
    for (size_t i = 0; i < 2; i++)
        while (rc == 0 && aws_frames.next(&f, &pieces[i], &frame)) {
            fault_suspend();
            rc = buf_printf(log, "%s%.*s %.*s\n", frame.exception ? "!" : "", STR_ARG(frame.name),
                            STR_ARG(frame.data));
            fault_continue();
        }
    if (rc == 0)
        rc = aws_frames.status(&f);
    *out_cut = aws_frames.is_cut(&f);
    aws_frames.deinit(&f);
    return rc;
}

static void reads(struct str stream, const char *expected)
{
    for (size_t at = 0; at <= stream.len; at++) {
        struct buf log;
        bool cut;
        buf_init(&log, 1U << 20);
        assert_int_equal(read_all(stream, at, &log, &cut), 0);
        assert_false(cut);
        assert_string_equal(buf_cstr(&log), expected);
        buf_deinit(&log);
    }
}

static const char lines[] = "messageStart {\"role\":\"assistant\"}\n"
                            "contentBlockDelta {\"delta\":{\"text\":\"Gr\xc3\xbc\xc3\x9f\"}}\n"
                            "!throttlingException {\"message\":\"slow\"}\n";

static void frames_are_the_same_however_they_are_cut(void **state)
{
    (void)state;
    struct buf stream;
    buf_init(&stream, 1U << 20);
    assert_int_equal(aws_encode_lines(&stream, str_from(lines)), 0);
    reads(buf_str(&stream), lines);
    buf_deinit(&stream);
}

static void frames_of_the_public_test_vectors_are_read(void **state)
{
    /* "empty_message", "payload_no_headers" of the vectors that the SDKs share. */
    static const char empty[] = "\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2\x48\xeb\x7d\x98\xc8\xff";
    static const char payload[] =
        "\x00\x00\x00\x1d\x00\x00\x00\x00\xfd\x52\x8c\x5a{'foo':'bar'}\xc3\x65\x39\x36";
    (void)state;
    reads((struct str){empty, sizeof empty - 1}, " \n");
    reads((struct str){payload, sizeof payload - 1}, " {'foo':'bar'}\n");
}

static void headers_of_all_types_are_skipped(void **state)
{
    static const char headers[] = "\x01t\x00"
                                  "\x01"
                                  "f\x01"
                                  "\x01"
                                  "b\x02\x7f"
                                  "\x01s\x03\x12\x34"
                                  "\x01i\x04\x01\x02\x03\x04"
                                  "\x01l\x05\x01\x02\x03\x04\x05\x06\x07\x08"
                                  "\x01y\x06\x00\x03:ab"
                                  "\x01T\x08\x01\x02\x03\x04\x05\x06\x07\x08"
                                  "\x01u\x09"
                                  "0123456789abcdef"
                                  "\x0b:event-type\x07\x00\x01x";
    struct buf stream;
    (void)state;
    buf_init(&stream, 4096);
    assert_int_equal(
        aws_encode_frame(&stream, (struct str){headers, sizeof headers - 1}, STR("{}")), 0);
    reads(buf_str(&stream), "x {}\n");
    buf_deinit(&stream);
}

static void an_error_message_is_an_exception_by_its_code(void **state)
{
    static const char headers[] = "\x0d:message-type\x07\x00\x05"
                                  "error\x0b:error-code\x07\x00\x0dInternalError";
    struct buf stream;
    (void)state;
    buf_init(&stream, 4096);
    assert_int_equal(aws_encode_frame(&stream, (struct str){headers, sizeof headers - 1}, STR_NULL),
                     0);
    reads(buf_str(&stream), "!InternalError \n");
    buf_deinit(&stream);
}

static void a_stream_that_ends_amid_a_frame_is_cut(void **state)
{
    struct buf stream;
    (void)state;
    buf_init(&stream, 4096);
    assert_int_equal(aws_encode_line(&stream, STR("a {}")), 0);
    for (size_t len = 1; len < stream.len; len++) {
        struct buf log;
        bool cut;
        buf_init(&log, 4096);
        assert_int_equal(read_all(str_slice(buf_str(&stream), 0, len), len / 2, &log, &cut), 0);
        assert_true(cut);
        assert_int_equal(log.len, 0);
        buf_deinit(&log);
    }
    buf_deinit(&stream);
}

static int status_of(struct str stream, size_t at)
{
    struct buf log;
    bool cut;
    buf_init(&log, 4096);
    int rc = read_all(stream, at, &log, &cut);
    buf_deinit(&log);
    return rc;
}

static void every_byte_that_is_changed_is_noticed(void **state)
{
    struct buf stream;
    (void)state;
    buf_init(&stream, 4096);
    assert_int_equal(aws_encode_line(&stream, STR("a {\"b\":1}")), 0);
    for (size_t i = 0; i < stream.len; i++) {
        stream.data[i] ^= 0x10;
        assert_int_equal(status_of(buf_str(&stream), 0), ERR_CORRUPT);
        assert_int_equal(status_of(buf_str(&stream), stream.len / 2), ERR_CORRUPT);
        stream.data[i] ^= 0x10;
    }
    buf_deinit(&stream);
}

static int status_of_prelude(uint32_t total, uint32_t headers)
{
    char room[64] = {0};
    struct buf b = {.data = room, .cap = sizeof room, .max = sizeof room};
    assert_int_equal(aws_encode_u32(&b, total), 0);
    assert_int_equal(aws_encode_u32(&b, headers), 0);
    assert_int_equal(aws_encode_u32(&b, aws_frames_crc(room, 8)), 0);
    return status_of((struct str){room, 13}, 5);
}

static void lengths_that_cannot_be_are_refused_before_anything_is_kept(void **state)
{
    (void)state;
    assert_int_equal(status_of_prelude(AWS_FRAME_BYTES_MAX + 1, 0), ERR_TOO_LARGE);
    assert_int_equal(status_of_prelude(UINT32_MAX, UINT32_MAX), ERR_TOO_LARGE);
    assert_int_equal(status_of_prelude(15, 0), ERR_CORRUPT);
    assert_int_equal(status_of_prelude(16, 1), ERR_CORRUPT);
    assert_int_equal(status_of_prelude(0, 0), ERR_CORRUPT);
    assert_int_equal(status_of_prelude(AWS_FRAME_BYTES_MAX, 0), 0);
}

static void a_header_that_reaches_beyond_its_block_is_refused(void **state)
{
    static const struct str broken[] = {{"\x05"
                                         "ab",
                                         3},
                                        {"\x01"
                                         "a",
                                         2},
                                        {"\x01"
                                         "a\x07\x00",
                                         4},
                                        {"\x01"
                                         "a\x07\x00\x02x",
                                         6},
                                        {"\x01"
                                         "a\x0a",
                                         3},
                                        {"\x01"
                                         "a\x05\x01",
                                         4}};
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct buf stream;
        buf_init(&stream, 4096);
        assert_int_equal(aws_encode_frame(&stream, broken[i], STR("{}")), 0);
        assert_int_equal(status_of(buf_str(&stream), 3), ERR_CORRUPT);
        buf_deinit(&stream);
    }
}

static void memory_that_is_refused_is_told(void **state)
{
    struct buf stream;
    bool fired = true;
    (void)state;
    buf_init(&stream, 4096);
    assert_int_equal(aws_encode_lines(&stream, str_from(lines)), 0);
    for (unsigned n = 0; fired; n++) {
        struct buf log;
        bool cut;
        buf_init(&log, 4096);
        fault_arm_alloc(n);
        int rc = read_all(buf_str(&stream), 20, &log, &cut);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        buf_deinit(&log);
    }
    buf_deinit(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_the_same_however_they_are_cut),
        cmocka_unit_test(frames_of_the_public_test_vectors_are_read),
        cmocka_unit_test(headers_of_all_types_are_skipped),
        cmocka_unit_test(an_error_message_is_an_exception_by_its_code),
        cmocka_unit_test(a_stream_that_ends_amid_a_frame_is_cut),
        cmocka_unit_test(every_byte_that_is_changed_is_noticed),
        cmocka_unit_test(lengths_that_cannot_be_are_refused_before_anything_is_kept),
        cmocka_unit_test(a_header_that_reaches_beyond_its_block_is_refused),
        cmocka_unit_test(memory_that_is_refused_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

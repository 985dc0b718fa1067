#include "dataplane/translate/media.h"

#include <string.h>

#include "common/crypto/digest.h"
#include "tests/lib/fault.h"

static void a_data_url_is_taken_apart_and_put_together(void **state)
{
    (void)state;
    struct tr_media m = {.name = STR("")};
    struct buf b;
    buf_init(&b, 256);
    assert_true(tr_media_read_data_url(STR("data:image/png;base64,iVBORw0KGgo="), &m));
    assert_true(str_is(m.mime, "image/png"));
    assert_true(str_is(m.base64, "iVBORw0KGgo="));
    assert_int_equal(tr_media_print_data_url(&m, &b), 0);
    assert_true(str_is(buf_str(&b), "data:image/png;base64,iVBORw0KGgo="));
    buf_deinit(&b);
}

static void other_urls_are_none(void **state)
{
    (void)state;
    static const char *const urls[] = {"",
                                       "data:",
                                       "data:image/png",
                                       "data:image/png,abc",
                                       "data:;base64",
                                       "https://example.com/a.png",
                                       "data:text/plain;charset=utf-8,hello"};
    struct tr_media m;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        assert_false(tr_media_read_data_url(str_from(urls[i]), &m));
    assert_true(tr_media_read_data_url(STR("DATA:image/png;charset=x;BASE64,AA=="), &m));
    assert_true(str_is(m.mime, "image/png"));
}

static void sniff(const char *bytes, size_t len, const char *mime)
{
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(base64_encode((struct str){bytes, len}, &b), 0);
    if (!str_is(tr_media_sniff(buf_str(&b)), mime))
        fail_msg("%s", mime);
    buf_deinit(&b);
}

static void bytes_say_what_they_are(void **state)
{
    (void)state;
#define SNIFF(bytes, mime) sniff(bytes, sizeof(bytes) - 1, mime)
    SNIFF("\x89PNG\r\n\x1a\n....", "image/png");
    SNIFF("\xff\xd8\xff\xe0..JFIF", "image/jpeg");
    SNIFF("GIF89a......", "image/gif");
    SNIFF("RIFF\x10\0\0\0WEBPVP8 ", "image/webp");
    SNIFF("RIFF\x10\0\0\0WAVEfmt ", "audio/wav");
    SNIFF("%PDF-1.7\n", "application/pdf");
    SNIFF("ID3\x04\0\0\0\0", "audio/mpeg");
    SNIFF("\xff\xfb\x90\x64", "audio/mpeg");
    SNIFF("fLaC\0\0\0\x22", "audio/flac");
    SNIFF("OggS\0\x02\0\0", "audio/ogg");
    SNIFF("\0\0\0\x18"
          "ftypmp42....",
          "video/mp4");
    SNIFF("hello world", "");
    SNIFF("", "");
    assert_int_equal(tr_media_sniff(STR("!not base64!")).len, 0);
#undef SNIFF
}

static void a_wrong_media_type_gives_way_to_what_the_bytes_are(void **state)
{
    (void)state;
    struct tr_media m = {.mime = STR("image/jpeg"), .base64 = STR("iVBORw0KGgoAAAANSUhEUg==")};
    assert_true(str_is(tr_media_mime(&m), "image/png"));
    m = (struct tr_media){.mime = STR("text/plain"), .base64 = STR("JVBERi0xLjc=")};
    assert_true(str_is(tr_media_mime(&m), "text/plain")); /* A text may begin with %PDF. */
    m = (struct tr_media){.url = STR("https://example.com/a.PDF?x=1")};
    assert_true(str_is(tr_media_mime(&m), "application/pdf"));
    m = (struct tr_media){.name = STR("notes.md"), .base64 = STR("aGVsbG8=")};
    assert_true(str_is(tr_media_mime(&m), "text/markdown"));
}

static void formats_and_types_are_known_both_ways(void **state)
{
    (void)state;
    assert_true(str_is(tr_media_format(STR("image/jpeg")), "jpeg"));
    assert_true(str_is(tr_media_format(STR("audio/mpeg")), "mp3"));
    assert_true(str_is(tr_media_of_format(STR("mp3")), "audio/mpeg"));
    assert_true(str_is(tr_media_of_format(STR("wav")), "audio/wav"));
    assert_int_equal(tr_media_format(STR("x/y")).len, 0);
}

static void base64_is_decoded_whole_or_not_at_all(void **state)
{
    (void)state;
    struct arena_pool pool;
    struct arena arena;
    struct str out;
    arena_pool_init(&pool, 1);
    arena_init(&arena, &pool, 4096);
    assert_int_equal(tr_media_decode(STR("aGVsbG8="), &arena, &out), 0);
    assert_true(str_is(out, "hello"));
    assert_int_equal(tr_media_decode(STR("aGVs~G8="), &arena, &out), ERR_INVALID);
    assert_int_equal(tr_media_decode(STR(""), &arena, &out), 0);
    assert_int_equal(out.len, 0);
    arena_reset(&arena);
    arena_pool_deinit(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_data_url_is_taken_apart_and_put_together),
        cmocka_unit_test(other_urls_are_none),
        cmocka_unit_test(bytes_say_what_they_are),
        cmocka_unit_test(a_wrong_media_type_gives_way_to_what_the_bytes_are),
        cmocka_unit_test(formats_and_types_are_known_both_ways),
        cmocka_unit_test(base64_is_decoded_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

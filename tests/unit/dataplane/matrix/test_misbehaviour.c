/* Every misbehaviour of harms.h, by callers of every dialect, at providers of every dialect that is
 * spoken here, whole and streamed. docs/misbehaviour.md is written from the same table:
 *
 *   test_misbehaviour --write      writes it
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/dataplane/matrix/observe.h"
#include "tests/unit/dataplane/matrix/page.h"
#include "tests/unit/dataplane/node/replies.h"

#define PAGE STEELYARD_SOURCE_DIR "/docs/misbehaviour.md"

/* The group runs for one transport after the other; the last one is the default. */
static unsigned group;

static const struct verdict *expected(const struct harm *h, const struct caller *c,
                                      const struct voice *v, bool stream)
{
    const struct verdict *usual = stream ? &h->stream : &h->whole;
    const struct verdict *odd = stream ? &h->odd_stream : &h->odd_whole;
    if (h->odd == NULL || odd->client == NULL)
        return usual;
    if (strcmp(h->odd, "passed") == 0)
        return c->dialect == v->dialect ? odd : usual;
    return strstr(h->odd, v->name) != NULL ? odd : usual;
}

static bool agrees(const struct verdict *want, const struct observed *o)
{
    return strcmp(want->client, o->client) == 0 && want->next == o->next &&
           strcmp(want->reason, o->reason) == 0 && want->status == o->status &&
           strcmp(want->usage, o->usage) == 0 && strcmp(want->flags, o->flags) == 0 &&
           o->cooled_s <= want->cooled_s && want->cooled_s - o->cooled_s <= o->took_s;
}

/* What is a matter of time is given more of it before it counts. */
static bool try_scene(const struct harm *h, const struct caller *c, const struct voice *v,
                      bool stream)
{
    const struct verdict *want = expected(h, c, v, stream);
    struct observed o;
    const unsigned tries = strcmp(h->row, "F12") == 0 ? 3 : 1;
    harm_patience_ms = 30;
    for (unsigned i = 0; i < tries; i++, harm_patience_ms *= 8)
        if (!observe(h, c, v, stream, &o) || agrees(want, &o))
            return true;
    print_error("%s %s: %s at %s, %s: %s, next %d, %s %u, usage %s, flags '%s', cooled %u s\n",
                h->row, h->what, c->name, v->name, stream ? "stream" : "whole", o.client, o.next,
                o.reason, o.status, o.usage, o.flags, o.cooled_s);
    return false;
}

static void run_row(const char *row)
{
    size_t wrong = 0, tried = 0;
    for (size_t i = 0; i < harm_count; i++) {
        const struct harm *h = &harms[i];
        if (strcmp(h->row, row) != 0 || (group == 1 && h->place != HARM_WIRE))
            continue;
        for (size_t cell = 0; cell < 2 * DIALECT_CALLERS * DIALECTS; cell++) {
            const struct voice *v = &voices[cell / 2 % DIALECTS];
            const struct caller *c = &callers[cell / 2 / DIALECTS];
            const bool stream = cell % 2 != 0;
            if (!voice_spoken(v) || (stream ? &h->stream : &h->whole)->client == NULL)
                continue;
            wrong += !try_scene(h, c, v, stream);
            tried++;
        }
    }
    assert_int_equal(wrong, 0);
    assert_true(tried > 0 || group == 1);
}

static void b32_heads(void **state)
{
    (void)state;
    group++;
    run_row("B32");
}

#define ROW(name, row)                                                                             \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        run_row(row);                                                                              \
    }
ROW(b33_lengths_of_bodies, "B33")
ROW(b34_framing_compression_and_redirects, "B34")
ROW(b35_statuses, "B35")
ROW(b36_small_and_many_pieces, "B36")
ROW(b37_events, "B37")
ROW(b38_usage, "B38")
ROW(b39_tls, "B39")
ROW(b40_addresses, "B40")
ROW(b41_retry_after, "B41")
ROW(f12_silence, "F12")

static void the_page_says_what_is_tested(void **state)
{
    (void)state;
    struct buf page, there;
    buf_init(&page, 1U << 20);
    buf_init(&there, 1U << 20);
    page_write(&page);
    FILE *f = fopen(PAGE, "r");
    assert_non_null(f);
    assert_int_equal(buf_reserve(&there, page.len + 4096), 0);
    there.len = fread(there.data, 1, page.len + 4096, f);
    fclose(f);
    if (!str_eq(buf_str(&page), buf_str(&there)))
        fail_msg("docs/misbehaviour.md is stale: run test_misbehaviour --write");
    buf_deinit(&page);
    buf_deinit(&there);
}

static int write_page(void)
{
    struct buf page;
    buf_init(&page, 1U << 20);
    page_write(&page);
    FILE *f = fopen(PAGE, "w");
    if (f == NULL || fwrite(page.data, 1, page.len, f) != page.len || fclose(f) != 0)
        return 1;
    buf_deinit(&page);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b32_heads),
        cmocka_unit_test(b33_lengths_of_bodies),
        cmocka_unit_test(b34_framing_compression_and_redirects),
        cmocka_unit_test(b35_statuses),
        cmocka_unit_test(b36_small_and_many_pieces),
        cmocka_unit_test(b37_events),
        cmocka_unit_test(b38_usage),
        cmocka_unit_test(b39_tls),
        cmocka_unit_test(b40_addresses),
        cmocka_unit_test(b41_retry_after),
        cmocka_unit_test(f12_silence),
        cmocka_unit_test(the_page_says_what_is_tested),
    };
    if (argc == 2 && strcmp(argv[1], "--write") == 0)
        return write_page();
    int failed = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    replies_free();
    return failed;
}

#include "dataplane/translate/arguments.h"

#include <stdio.h>
#include <string.h>

#include "dataplane/translate/neutral.h"
#include "tests/lib/fault.h"

struct fixture {
    struct arena_pool pool;
    struct arena arena;
    struct json json;
};

static int setup(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof f);
    arena_pool_init(&f.pool, 4);
    arena_init(&f.arena, &f.pool, 8U << 20);
    json_init(&f.json, JSON_NODES_MAX);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_reset(&f->arena);
    arena_pool_deinit(&f->pool);
    json_deinit(&f->json);
    return 0;
}

static void t02_arguments_become_an_object_whatever_they_are(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *object;
    } rows[] = {
        {"", "{}"},
        {"  ", "{}"},
        {"null", "{}"},
        {"{}", "{}"},
        {" {\"a\":1}\n", "{\"a\":1}"},
        {"{\"a\":", "{\"rawInvalidInput\":\"{\\\"a\\\":\"}"},
        {"hello", "{\"rawInvalidInput\":\"hello\"}"},
        {"[1,2]", "{\"rawInvalidInput\":[1,2]}"},
        {"\"x\"", "{\"rawInvalidInput\":\"x\"}"},
        {"{\"a\":1,\"a\":2}", "{\"rawInvalidInput\":\"{\\\"a\\\":1,\\\"a\\\":2}\"}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct str out;
        assert_int_equal(tr_arguments_object(&f->json, str_from(rows[i].text), &f->arena, &out), 0);
        if (!str_is(out, rows[i].object))
            fail_msg("%s -> %.*s", rows[i].text, STR_ARG(out));
        assert_true(tr_is_object(&f->json, out));
    }
}

static void t06_a_mebibyte_of_arguments_and_deep_ones_pass(void **state)
{
    struct fixture *f = *state;
    static char text[(1U << 20) + 16];
    struct str out;
    memset(text, 'x', sizeof text);
    memcpy(text, "{\"a\":\"", 6);
    memcpy(text + sizeof text - 2, "\"}", 2);
    assert_int_equal(
        tr_arguments_object(&f->json, (struct str){text, sizeof text}, &f->arena, &out), 0);
    assert_ptr_equal(out.data, text);
    size_t at = 0;
    for (int i = 0; i < 128; i++, at += 5)
        memcpy(text + at, "{\"a\":", 5);
    text[at++] = '1';
    memset(text + at, '}', 128);
    assert_int_equal(tr_arguments_object(&f->json, (struct str){text, at + 128}, &f->arena, &out),
                     0);
    assert_ptr_equal(out.data, text);
}

static void each_failed_allocation_is_told(void **state)
{
    struct fixture *f = *state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct str out;
        json_deinit(&f->json);
        json_init(&f->json, JSON_NODES_MAX);
        fault_arm_alloc(n);
        int rc = tr_arguments_object(&f->json, STR("{\"a\" 1}"), &f->arena, &out);
        fired = fault_disarm();
        assert_true(fired ? rc == ERR_NOMEM || rc == ERR_TOO_LARGE || rc == 0 : rc == 0);
    }
}

static void members_that_were_not_set_are_left_out(void **state)
{
    (void)state;
    struct buf b;
    struct json_writer w;
    buf_init(&b, 256);
    json_writer_init(&w, &b);
    json_writer_begin_object(&w);
    tr_put_text(&w, "none", STR(""));
    tr_put_text(&w, "some", STR("a\"b"));
    tr_put_number(&w, "t0", TR_UNSET);
    tr_put_number(&w, "t", 700000);
    tr_put_whole(&w, "k0", TR_UNSET);
    tr_put_whole(&w, "k", -3);
    tr_put_raw(&w, "r", tr_arguments_text(STR(" null ")));
    json_writer_end_object(&w);
    assert_int_equal(json_writer_finish(&w), 0);
    assert_true(str_is(buf_str(&b), "{\"some\":\"a\\\"b\",\"t\":0.7,\"k\":-3,\"r\":{}}"));
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(t02_arguments_become_an_object_whatever_they_are, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(t06_a_mebibyte_of_arguments_and_deep_ones_pass, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(each_failed_allocation_is_told, setup, teardown),
        cmocka_unit_test(members_that_were_not_set_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

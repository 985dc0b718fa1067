/* Words in etcd: what is put, what is asked, and what of an answer is believed. */
#include <stdio.h>
#include <string.h>

#include "common/crypto/digest.h"
#include "controlplane/leader/words.h"
#include "tests/lib/fault.h"

static struct words_heard heard;

static int hear(const char *body)
{
    return words_list_answer(200, str_from(body), &heard);
}

/* {"header":..., "kvs":[one key]} */
static int hear_one(const char *key, const char *value, const char *created)
{
    struct buf body;
    buf_init(&body, 65536);
    assert_int_equal(
        buf_append_text(&body, "{\"header\":{\"revision\":\"50\"},\"kvs\":[{\"key\":\""), 0);
    assert_int_equal(base64_encode(str_from(key), &body), 0);
    assert_int_equal(buf_append_text(&body, "\",\"value\":\""), 0);
    assert_int_equal(base64_encode(str_from(value), &body), 0);
    assert_int_equal(buf_printf(&body, "\",\"create_revision\":\"%s\"}]}", created), 0);
    int rc = words_list_answer(200, buf_str(&body), &heard);
    buf_deinit(&body);
    return rc;
}

static void what_is_put_is_put_once_and_under_its_lease(void **state)
{
    (void)state;
    struct buf body;
    buf_init(&body, 4096);
    assert_int_equal(words_put_question(STR("abort/7"), STR("{}"), 99, &body), 0);
    assert_true(str_is(
        buf_str(&body),
        "{\"compare\":[{\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\","
        "\"key\":\"L3N0ZWVseWFyZC93b3Jkcy9hYm9ydC83\"}],\"success\":[{\"request_put\":{"
        "\"key\":\"L3N0ZWVseWFyZC93b3Jkcy9hYm9ydC83\",\"value\":\"e30=\",\"lease\":\"99\"}}]}"));
    buf_clear(&body);
    assert_int_equal(words_list_question(12, &body), 0);
    /* base64 of /steelyard/words/ and of /steelyard/words0 */
    assert_true(str_is(buf_str(&body),
                       "{\"key\":\"L3N0ZWVseWFyZC93b3Jkcy8=\",\"range_end\":"
                       "\"L3N0ZWVseWFyZC93b3JkczA=\",\"limit\":\"64\",\"min_create_revision\":"
                       "\"12\",\"sort_order\":\"ASCEND\",\"sort_target\":\"CREATE\"}"));
    buf_deinit(&body);
}

static void an_answer_is_believed_whole_or_not_at_all(void **state)
{
    (void)state;
    assert_int_equal(hear_one(ETCD_WORDS "abort/7", "{\"id\":7}", "40"), 0);
    assert_int_equal(heard.revision, 50);
    assert_int_equal(heard.count, 1);
    assert_int_equal(heard.word[0].created, 40);
    assert_string_equal(heard.word[0].name, "abort/7");
    assert_string_equal(heard.word[0].value, "{\"id\":7}");
    assert_int_equal(hear("{\"header\":{\"revision\":\"3\"}}"), 0);
    assert_int_equal(heard.count, 0);
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"header\":{}}",
        "{\"header\":{\"revision\":\"x\"}}",
        "{\"header\":{\"revision\":\"3\"},\"kvs\":{}}",
        "{\"header\":{\"revision\":\"3\"},\"kvs\":[1]}",
        "{\"header\":{\"revision\":\"3\"},\"kvs\":[{\"key\":\"L3N0\",\"create_revision\":0}]}",
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(hear(bad[i]), ERR_PROTOCOL);
        assert_int_equal(heard.count, 0);
    }
    assert_int_equal(words_list_answer(503, STR("{}"), &heard), ERR_UNAVAILABLE);
    assert_int_equal(words_list_answer(200, (struct str){0}, &heard), ERR_PROTOCOL);
}

static void what_is_no_word_of_ours_is_left_out(void **state)
{
    (void)state;
    char name[WORDS_NAME_BYTES + sizeof ETCD_WORDS];
    assert_int_equal(hear_one("/other/thing", "x", "4"), 0);
    assert_int_equal(heard.count, 0);
    (void)snprintf(name, sizeof name, "%s%064d", ETCD_WORDS, 0); /* Longer than a name may be. */
    assert_int_equal(hear_one(name, "x", "4"), 0);
    assert_int_equal(heard.count, 0);
    assert_int_equal(
        hear("{\"header\":{\"revision\":\"3\"},\"kvs\":[{\"key\":\"**\",\"create_revision\":1}]}"),
        0);
    assert_int_equal(heard.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_put_once_and_under_its_lease),
        cmocka_unit_test(an_answer_is_believed_whole_or_not_at_all),
        cmocka_unit_test(what_is_no_word_of_ours_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

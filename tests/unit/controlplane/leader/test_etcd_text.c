/* What is said to etcd's gateway, and what its answers mean. */
#include <string.h>

#include "controlplane/leader/etcd.h"
#include "tests/lib/fault.h"

static struct election_key keys[ETCD_KEYS_MAX];

static struct election_answer answer(enum election_ask ask, unsigned status, const char *body)
{
    struct election_answer a;
    etcd_answer(ask, status, str_from(body), keys, &a);
    return a;
}

static void questions_are_as_the_gateway_wants_them(void **state)
{
    (void)state;
    struct buf body;
    const char *path = NULL;
    const struct election_op ops[] = {
        {.ask = ELECTION_GRANT},
        {.ask = ELECTION_KEEPALIVE, .lease = 77},
        {.ask = ELECTION_ENTER, .lease = 77, .role = LEADER_RATES},
        {.ask = ELECTION_LIST},
        {.ask = ELECTION_LEAVE, .lease = 77, .role = LEADER_RATES, .revision = 9},
    };
    /* base64 of /steelyard/leader/rates/000000000000004d, of "me", and of the prefix and its end.
     */
    static const char key[] = "L3N0ZWVseWFyZC9sZWFkZXIvcmF0ZXMvMDAwMDAwMDAwMDAwMDA0ZA==";
    static const char *const paths[] = {"/v3/lease/grant", "/v3/lease/keepalive", "/v3/kv/txn",
                                        "/v3/kv/range", "/v3/kv/txn"};
    static const char *const parts[] = {"{\"TTL\":\"10\"}", "{\"ID\":\"77\"}",
                                        "\"create_revision\":\"0\"", "\"sort_target\":\"CREATE\"",
                                        "\"create_revision\":\"9\""};
    for (unsigned i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        buf_init(&body, 4096);
        assert_int_equal(etcd_question(&ops[i], 10, "me", &path, &body), 0);
        assert_string_equal(path, paths[i]);
        assert_true(str_search(buf_str(&body), str_from(parts[i])) >= 0);
        if (ops[i].ask == ELECTION_ENTER || ops[i].ask == ELECTION_LEAVE)
            assert_true(str_search(buf_str(&body), str_from(key)) >= 0);
        if (ops[i].ask == ELECTION_ENTER)
            assert_true(str_search(buf_str(&body), STR("\"value\":\"bWU=\"")) >= 0);
        buf_deinit(&body);
    }
}

static void answers_are_read_as_text_or_numbers_and_what_is_left_out_is_0(void **state)
{
    (void)state;
    struct election_answer a = answer(ELECTION_GRANT, 200, "{\"header\":{},\"ID\":\"123\"}");
    assert_int_equal(a.status, 0);
    assert_int_equal(a.lease, 123);
    assert_int_equal(answer(ELECTION_GRANT, 200, "{\"header\":{}}").status, ERR_PROTOCOL);
    a = answer(ELECTION_KEEPALIVE, 200, "{\"result\":{\"ID\":\"1\",\"TTL\":\"10\"}}\n");
    assert_int_equal(a.status, 0);
    assert_int_equal(a.ttl_s, 10);
    a = answer(ELECTION_KEEPALIVE, 200, "{\"result\":{\"ID\":\"1\"}}");
    assert_int_equal(a.status, 0); /* The lease is over. */
    assert_int_equal(a.ttl_s, 0);
    assert_int_equal(answer(ELECTION_KEEPALIVE, 200, "{\"error\":{}}").status, ERR_PROTOCOL);
    assert_int_equal(answer(ELECTION_ENTER, 404, "{\"error\":\"x\",\"code\":5}").status,
                     ERR_NOT_FOUND);
    assert_int_equal(answer(ELECTION_ENTER, 503, "{\"code\":14}").status, ERR_UNAVAILABLE);
    assert_int_equal(answer(ELECTION_ENTER, 502, "<html>").status, ERR_UNAVAILABLE);
    assert_int_equal(answer(ELECTION_ENTER, 200, "{\"header\":{},\"succeeded\":true}").status, 0);
    assert_int_equal(answer(ELECTION_LEAVE, 200, "[]").status, ERR_UNAVAILABLE);
}

static void a_list_holds_our_keys_in_the_order_of_their_revisions(void **state)
{
    (void)state;
    static const char good[] =
        "{\"header\":{},\"kvs\":["
        /* .../rates/000000000000004d, then "/steelyard/leader/x", then .../keeper/00000000000000ff
         */
        "{\"key\":\"L3N0ZWVseWFyZC9sZWFkZXIvcmF0ZXMvMDAwMDAwMDAwMDAwMDA0ZA==\","
        "\"create_revision\":\"5\"},"
        "{\"key\":\"L3N0ZWVseWFyZC9sZWFkZXIveA==\",\"create_revision\":6},"
        "{\"key\":\"L3N0ZWVseWFyZC9sZWFkZXIva2VlcGVyLzAwMDAwMDAwMDAwMDAwZmY=\","
        "\"create_revision\":7}]}";
    struct election_answer a = answer(ELECTION_LIST, 200, good);
    assert_int_equal(a.status, 0);
    assert_int_equal(a.key_count, 2);
    assert_int_equal(a.keys[0].role, LEADER_RATES);
    assert_int_equal(a.keys[0].lease, 77);
    assert_int_equal(a.keys[1].role, LEADER_KEEPER);
    assert_int_equal(a.keys[1].lease, 255);
    assert_int_equal(a.keys[1].create_revision, 7);
    assert_int_equal(answer(ELECTION_LIST, 200, "{\"header\":{}}").key_count, 0);
    assert_int_equal(answer(ELECTION_LIST, 200, "{\"header\":{},\"more\":true}").status,
                     ERR_PROTOCOL);
    assert_int_equal(answer(ELECTION_LIST, 200, "{\"header\":{},\"kvs\":[{\"key\":1}]}").status,
                     ERR_PROTOCOL);
    /* Cut anywhere, it is no answer. */
    for (size_t cut = 0; cut + 1 < sizeof good; cut++) {
        etcd_answer(ELECTION_LIST, 200, (struct str){.data = good, .len = cut}, keys, &a);
        assert_true(a.status != 0);
        assert_int_equal(a.key_count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_are_as_the_gateway_wants_them),
        cmocka_unit_test(answers_are_read_as_text_or_numbers_and_what_is_left_out_is_0),
        cmocka_unit_test(a_list_holds_our_keys_in_the_order_of_their_revisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

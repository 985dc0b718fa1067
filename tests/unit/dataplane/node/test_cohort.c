/* What comes in one turn of the loop is worked on together (docs/decisions/0262): each request has
 * its own answer all the same, and one that is given up in between takes nothing of the others. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rig.h"

#define CLIENTS (2 * COHORT_MAX + 3)
#define AUTH    "Authorization: Bearer " RIG_KEY "\r\n"
#define MODELS  "GET /v1/models HTTP/1.1\r\nHost: x\r\n" AUTH "\r\n"
#define ONE     "GET /v1/models/small HTTP/1.1\r\nHost: x\r\n" AUTH "\r\n"
#define NOBODY  "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-nobody\r\n\r\n"
#define WRONG   "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" AUTH "Content-Length: 1\r\n\r\n{"

enum kind { KIND_ASK, KIND_MODELS, KIND_ONE, KIND_NOBODY, KIND_WRONG, KINDS };

/* status and what the body must hold. */
static const struct {
    const char *request; /* NULL: ASK */
    unsigned status;
    const char *says;
} kinds[KINDS] = {
    [KIND_ASK] = {NULL, 200, "hello"},
    [KIND_MODELS] = {MODELS, 200, "\"object\":\"list\""},
    [KIND_ONE] = {ONE, 200, "{\"id\":\"small\""},
    [KIND_NOBODY] = {NOBODY, 401, "invalid_api_key"},
    [KIND_WRONG] = {WRONG, 400, "unexpected end of the text"},
};

static void check_answer(const struct rig_client *c, enum kind kind)
{
    struct rig_answer a;
    rig_answer_read(c, &a);
    assert_true(a.complete);
    assert_int_equal(a.bytes, c->in.len); /* It and nothing else. */
    if (a.status != kinds[kind].status ||
        str_search(buf_str(&a.body), str_from(kinds[kind].says)) < 0)
        fail_msg("kind %d: %u %.*s", (int)kind, a.status, (int)a.body.len, a.body.data);
    buf_deinit(&a.body);
}

static struct rig_script whole(void)
{
    static char text[1024];
    (void)snprintf(text, sizeof text, JSON_HEAD "Content-Length: %zu\r\n\r\n" WHOLE,
                   sizeof WHOLE - 1);
    return (struct rig_script){.reply = text};
}

/* All sockets are readable before the loop's next turn: more than go on together at a time, and of
 * every kind, those that answer out of the worker's own buffer too. */
static void what_comes_in_one_turn_is_answered_each_with_its_own(void **state)
{
    (void)state;
    struct rig r;
    static struct rig_client clients[CLIENTS];
    size_t asks = 0;
    rig_start(&r, NULL);
    rig_script(&r, 0, whole());
    for (size_t i = 0; i < CLIENTS; i++)
        rig_connect(&r, &clients[i]);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < CLIENTS; i++) {
            const enum kind kind = (enum kind)((i + (size_t)round) % KINDS);
            asks += kind == KIND_ASK;
            if (kind == KIND_ASK)
                rig_ask(&clients[i], ASK);
            else
                rig_send(&clients[i], kinds[kind].request, strlen(kinds[kind].request));
        }
        for (size_t i = 0; i < CLIENTS; i++) {
            rig_until(&r, rig_answered(&clients[i]));
            check_answer(&clients[i], (enum kind)((i + (size_t)round) % KINDS));
            buf_clear(&clients[i].in);
        }
    }
    assert_int_equal(r.providers[0].requests, asks);
    for (size_t i = 0; i < CLIENTS; i++)
        rig_disconnect(&r, &clients[i]);
    rig_until(&r, r.env.active_count == 0);
    assert_int_equal(rig_records(&r), asks);
    rig_stop(&r);
}

/* The replies of all lie in their sockets when the loop goes on. */
static void replies_of_one_turn_go_each_to_its_own(void **state)
{
    (void)state;
    struct rig r;
    static struct rig_client clients[CLIENTS];
    static const struct rig_script hold = {.then = RIG_HOLD};
    rig_start(&r, NULL);
    rig_script(&r, 0, hold);
    for (size_t i = 0; i < CLIENTS; i++) {
        rig_connect(&r, &clients[i]);
        rig_ask(&clients[i], ASK);
    }
    rig_until(&r, r.providers[0].requests == CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++)
        rig_say(&r, 0, whole().reply, true);
    for (size_t i = 0; i < CLIENTS; i++) {
        rig_until(&r, rig_answered(&clients[i]));
        check_answer(&clients[i], KIND_ASK);
        rig_disconnect(&r, &clients[i]);
    }
    rig_until(&r, r.env.active_count == 0);
    assert_int_equal(rig_records(&r), CLIENTS);
    rig_stop(&r);
}

/* The reply and the client's end are found in the same turn, in either order. */
static void f19_a_client_that_leaves_as_the_reply_comes_is_recorded_once(void **state)
{
    (void)state;
    for (int order = 0; order < 4; order++) {
        struct rig r;
        struct rig_client stays, leaves;
        const struct rig_options options = {.abort_stops_billing = order >= 2};
        static const struct rig_script hold = {.then = RIG_HOLD};
        rig_start(&r, &options);
        rig_script(&r, 0, hold);
        rig_connect(&r, &leaves);
        rig_ask(&leaves, ASK);
        rig_until(&r, r.providers[0].requests == 1);
        if (order % 2 == 0)
            rig_say(&r, 0, whole().reply, true);
        rig_disconnect(&r, &leaves); /* Its socket is closed before the loop turns. */
        if (order % 2 == 1)
            rig_say(&r, 0, whole().reply, true);
        rig_until(&r, r.env.active_count == 0 && r.conns.open_count == 0);
        assert_int_equal(rig_records(&r), 1);
        rig_connect(&r, &stays);
        rig_ask(&stays, ASK);
        rig_until(&r, r.providers[0].requests == 2);
        rig_say(&r, 0, whole().reply, true);
        rig_until(&r, rig_answered(&stays));
        check_answer(&stays, KIND_ASK);
        rig_disconnect(&r, &stays);
        rig_stop(&r);
    }
}

#define CROWD 5

/* Two places are left for five that come in one turn: none of them is decided as if it was alone.
 */
static void f21_who_comes_in_one_turn_finds_what_the_others_left(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client crowd[CROWD];
    static const struct rig_script hold = {.then = RIG_HOLD};
    rig_start(&r, &(struct rig_options){.candidates = 1});
    rig_script(&r, 0, hold);
    struct endpoint *e = endpoint_table_get(&r.env.upstream.endpoints, STR("one"), STR("up-small"));
    assert_non_null(e);
    const uint64_t now_ms = uv_now(&r.loop);
    for (unsigned i = 0; i < CONCURRENCY_MIN; i++)
        assert_true(endpoint_take(e, false, now_ms));
    endpoint_congested(e, now_ms);
    for (unsigned i = 0; i < 2; i++) /* No good answer: the limit stays. */
        endpoint_done(e, ENDPOINT_CANCELLED, now_ms);
    r.env.queue.wait_ms = 600000;
    for (size_t i = 0; i < CROWD; i++)
        rig_connect(&r, &crowd[i]);
    for (size_t i = 0; i < CROWD; i++)
        rig_ask(&crowd[i], ASK);
    rig_until(&r, r.providers[0].requests == 2 && r.env.queue.count == CROWD - 2);
    assert_true(endpoint_full(e));
    for (unsigned i = 2; i < CONCURRENCY_MIN; i++)
        endpoint_done(e, ENDPOINT_CANCELLED, now_ms);
    rig_until(&r, r.providers[0].requests == CROWD);
    for (size_t i = 0; i < CROWD; i++)
        rig_say(&r, 0, whole().reply, true);
    for (size_t i = 0; i < CROWD; i++) {
        rig_until(&r, rig_answered(&crowd[i]));
        check_answer(&crowd[i], KIND_ASK);
        rig_disconnect(&r, &crowd[i]);
    }
    rig_until(&r, r.env.active_count == 0);
    assert_int_equal(rig_records(&r), CROWD);
    rig_stop(&r);
}

/* A head that comes in two parts, and what follows a request in the same read. */
static void parts_and_what_is_ahead_are_read_as_before(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    static const char two[] = MODELS ONE;
    rig_start(&r, NULL);
    rig_connect(&r, &c);
    for (size_t cut = 1; cut < sizeof two - 1; cut += 4 + RIG_CUT_STEP) {
        const uint64_t served = r.env.served;
        rig_send(&c, two, cut);
        assert_true(rig_turn(&r));
        rig_send(&c, two + cut, sizeof two - 1 - cut);
        rig_until(&r, r.env.served == served + 2 && r.conns.post_count == 0);
        rig_until(&r, rig_answered(&c));
        struct rig_answer a;
        rig_answer_read(&c, &a);
        assert_int_equal(a.status, 200);
        buf_consume(&c.in, a.bytes);
        buf_deinit(&a.body);
        rig_until(&r, rig_answered(&c));
        check_answer(&c, KIND_ONE);
        buf_clear(&c.in);
    }
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_in_one_turn_is_answered_each_with_its_own),
        cmocka_unit_test(replies_of_one_turn_go_each_to_its_own),
        cmocka_unit_test(f19_a_client_that_leaves_as_the_reply_comes_is_recorded_once),
        cmocka_unit_test(f21_who_comes_in_one_turn_finds_what_the_others_left),
        cmocka_unit_test(parts_and_what_is_ahead_are_read_as_before),
    };
    return rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
}

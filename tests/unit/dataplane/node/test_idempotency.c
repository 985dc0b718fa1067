/* A request that says its idempotency key runs once: twice the same question, one answer, one row,
 * one cost. */
#include <stdio.h>
#include <string.h>

#include "dataplane/request/idempotency.h"
#include "dataplane/request/idempotency_table.h"
#include "tests/unit/dataplane/node/rig.h"

#define ASK   "{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define OTHER "{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"ho\"}]}"
#define STREAM                                                                                     \
    "{\"model\":\"small\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define OK_BODY                                                                                    \
    "{\"model\":\"up-small\",\"choices\":[{\"message\":{\"content\":\"hello\"},\"finish_reason\":" \
    "\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}}"
#define OK_REPLY                                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 155\r\n\r\n" OK_BODY
#define BAD_REPLY "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}"
#define EVENTS                                                                                     \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"              \
    "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n"                                \
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
#define CHAT     "/v1/chat/completions"
#define MESSAGES "/v1/messages"

static void ask(struct rig_client *c, const char *path, const char *key, const char *body)
{
    char text[2048];
    const int n = snprintf(text, sizeof text,
                           "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                           "Authorization: Bearer " RIG_KEY "\r\nIdempotency-Key: %s\r\n"
                           "Content-Length: %zu\r\n\r\n%s",
                           path, key, strlen(body), body);
    assert_true(n > 0 && (size_t)n < sizeof text);
    rig_send(c, text, (size_t)n);
}

/* The head goes with its client: a copy of it, which the answer after the next one overwrites. */
static void take(struct rig *r, struct rig_client *c, struct rig_answer *a)
{
    static char heads[2][2048];
    static unsigned turn;
    char *head = heads[turn++ % 2];
    rig_until(r, rig_answered(c) || c->ended || c->broken);
    rig_answer_read(c, a);
    assert_true(a->head.len < sizeof heads[0]);
    memcpy(head, a->head.data, a->head.len);
    a->head.data = head;
    rig_disconnect(r, c);
}

static void exchange(struct rig *r, const char *path, const char *key, const char *body,
                     struct rig_answer *a)
{
    struct rig_client c;
    rig_connect(r, &c);
    ask(&c, path, key, body);
    take(r, &c, a);
}

/* The answer's status; what its body must say, or NULL. */
static void expect(struct rig *r, const char *path, const char *key, const char *body,
                   unsigned status, const char *said)
{
    struct rig_answer a;
    exchange(r, path, key, body, &a);
    assert_int_equal(a.status, status);
    if (said != NULL && str_search(buf_str(&a.body), str_from(said)) < 0)
        fail_msg("no %s in %.*s", said, (int)a.body.len, a.body.data);
    buf_deinit(&a.body);
}

static void begin(struct rig *r, const char *reply, enum rig_then then)
{
    rig_start(r, NULL);
    rig_script(r, 0, (struct rig_script){.reply = reply, .then = then});
}

static struct str header(const struct rig_answer *a, const char *name)
{
    struct str rest = a->head, line = STR_NULL;
    const ptrdiff_t at = str_search(a->head, str_from(name));
    assert_true(at >= 0);
    rest = str_slice(rest, (size_t)at + strlen(name), rest.len);
    assert_true(str_cut(rest, '\r', &line, &rest));
    return line;
}

static void b26_the_same_again_gets_the_answer_that_was_given_and_costs_nothing(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer first, again;
    const char *const id = "x-steelyard-decision-id: ";
    begin(&r, OK_REPLY, RIG_KEEP);
    exchange(&r, CHAT, "order-7", ASK, &first);
    assert_false(rig_has_header(&first, "idempotent-replayed: true"));
    exchange(&r, CHAT, "order-7", ASK, &again);
    assert_int_equal(again.status, 200);
    assert_true(str_eq(buf_str(&again.body), buf_str(&first.body)));
    assert_true(str_eq(header(&again, id), header(&first, id)));
    assert_true(rig_has_header(&again, "idempotent-replayed: true"));
    assert_true(rig_has_header(&again, "x-steelyard-served: one/small"));
    assert_true(rig_has_header(&again, "x-steelyard-policy: pinned"));
    assert_true(rig_has_header(&again, "x-steelyard-attempts: 0"));
    assert_true(rig_has_header(&again, "x-steelyard-cost-usd: 0"));
    assert_true(rig_has_header(&again, "content-type: application/json"));
    assert_int_equal(r.providers[0].requests, 1);
    assert_int_equal(rig_records(&r), 1);
    expect(&r, CHAT, "order-8", ASK, 200, "hello"); /* Another name is another request. */
    assert_int_equal(r.providers[0].requests, 2);
    buf_deinit(&first.body);
    buf_deinit(&again.body);
    rig_stop(&r);
}

static void b26_another_body_is_refused_and_another_path_is_another_request(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, OK_REPLY, RIG_KEEP);
    expect(&r, CHAT, "k", ASK, 200, "hello");
    expect(&r, CHAT, "k", OTHER, 400, "\"code\":\"idempotency_key_reused\"");
    expect(&r, CHAT, "k", ASK, 200, "hello");
    assert_int_equal(r.providers[0].requests, 1);
    expect(&r, MESSAGES, "k",
           "{\"model\":\"small\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":"
           "\"hi\"}]}",
           200, "hello");
    assert_int_equal(r.providers[0].requests, 2);
    rig_stop(&r);
}

static void b26_while_it_runs_the_same_is_told_so_in_the_callers_dialect(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    begin(&r, OK_REPLY, RIG_HOLD);
    rig_script(&r, 0, (struct rig_script){.then = RIG_HOLD});
    r.providers[0].scripts[0].reply = NULL;
    rig_connect(&r, &c);
    ask(&c, CHAT, "k", ASK);
    rig_until(&r, r.providers[0].requests == 1);
    exchange(&r, CHAT, "k", ASK, &a);
    assert_int_equal(a.status, 409);
    assert_true(rig_has_header(&a, "x-should-retry: true"));
    assert_true(rig_has_header(&a, "retry-after: 1"));
    assert_true(str_search(buf_str(&a.body), STR("\"code\":\"idempotency_key_in_use\"")) >= 0);
    buf_deinit(&a.body);
    rig_say(&r, 0, OK_REPLY, true);
    take(&r, &c, &a);
    assert_int_equal(a.status, 200);
    buf_deinit(&a.body);
    expect(&r, CHAT, "k", ASK, 200, "hello");
    assert_int_equal(r.providers[0].requests, 1);
    rig_stop(&r);
}

static void b26_what_failed_or_was_left_by_its_client_runs_again(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    begin(&r, BAD_REPLY, RIG_KEEP);
    rig_script(&r, 0, (struct rig_script){.then = RIG_HOLD});
    rig_script(&r, 0, (struct rig_script){.reply = OK_REPLY});
    expect(&r, CHAT, "k", ASK, 400, NULL);
    rig_connect(&r, &c);
    ask(&c, CHAT, "k", ASK);
    rig_until(&r, r.providers[0].requests == 2);
    rig_disconnect(&r, &c);
    rig_until(&r, r.env.active_count == 0);
    expect(&r, CHAT, "k", ASK, 200, "hello");
    assert_int_equal(r.providers[0].requests, 3);
    expect(&r, CHAT, "k", "{\"model\":\"nothing like it\"}", 400, "idempotency_key_reused");
    expect(&r, CHAT, "l", "{\"model\":7}", 400, "invalid_value");
    expect(&r, CHAT, "l", ASK, 200, "hello");
    rig_stop(&r);
}

static void b26_a_stream_is_not_kept(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, EVENTS, RIG_CLOSE);
    expect(&r, CHAT, "k", STREAM, 200, "[DONE]");
    expect(&r, CHAT, "k", STREAM, 200, "[DONE]");
    assert_int_equal(r.providers[0].requests, 2);
    assert_int_equal(rig_records(&r), 2);
    rig_stop(&r);
}

static void b26_a_name_that_is_empty_long_or_unprintable_is_refused(void **state)
{
    (void)state;
    struct rig r;
    char name[STEERING_IDEMPOTENCY_MAX + 2];
    memset(name, 'n', sizeof name);
    name[STEERING_IDEMPOTENCY_MAX + 1] = '\0';
    begin(&r, OK_REPLY, RIG_KEEP);
    expect(&r, CHAT, name, ASK, 400, "\"param\":\"idempotency-key\"");
    expect(&r, CHAT, "", ASK, 400, "\"param\":\"idempotency-key\"");
    expect(&r, CHAT, "caf\xc3\xa9", ASK, 400, NULL);
    name[STEERING_IDEMPOTENCY_MAX] = '\0';
    expect(&r, CHAT, name, ASK, 200, "hello");
    expect(&r, CHAT, name, ASK, 200, "hello");
    assert_int_equal(r.providers[0].requests, 1);
    rig_stop(&r);
}

/* Without memory for it, an answer is given all the same, and it is said that it is not kept. */
static void b26_an_answer_that_cannot_be_kept_says_so(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    static char reply[IDEMPOTENCY_ANSWER_MAX + 65536];
    const char begun[] = "{\"choices\":[{\"message\":{\"content\":\"";
    const char end[] = "\"},\"finish_reason\":\"stop\"}],\"usage\":null}";
    const size_t body = IDEMPOTENCY_ANSWER_MAX + 1;
    const int head = snprintf(reply, sizeof reply,
                              "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                              "Content-Length: %zu\r\n\r\n",
                              body);
    const size_t whole = (size_t)head + body;
    memset(reply + head, 'a', body);
    memcpy(reply + head, begun, sizeof begun - 1);
    memcpy(reply + whole - (sizeof end - 1), end, sizeof end - 1);
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = reply, .reply_len = whole});
    exchange(&r, CHAT, "k", ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-warnings: idempotency_not_kept"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b26_the_same_again_gets_the_answer_that_was_given_and_costs_nothing),
        cmocka_unit_test(b26_another_body_is_refused_and_another_path_is_another_request),
        cmocka_unit_test(b26_while_it_runs_the_same_is_told_so_in_the_callers_dialect),
        cmocka_unit_test(b26_what_failed_or_was_left_by_its_client_runs_again),
        cmocka_unit_test(b26_a_stream_is_not_kept),
        cmocka_unit_test(b26_a_name_that_is_empty_long_or_unprintable_is_refused),
        cmocka_unit_test(b26_an_answer_that_cannot_be_kept_says_so),
    };
    return rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
}

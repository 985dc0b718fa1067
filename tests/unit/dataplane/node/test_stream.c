/* Streams from a provider to a caller: what passes, what is marked, what is let go. */
#include <string.h>

#include "dataplane/conn_internal.h"
#include "dataplane/request/workspace.h"
#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rig.h"

static void a_stream_passes_and_its_usage_is_kept_back(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(
        &r, 0,
        (struct rig_script){.reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE)});
    rig_exchange(&r, ASK_STREAM, &a);
    assert_int_equal(a.status, 200);
    assert_true(a.complete);
    assert_true(rig_has_header(&a, "content-type: text/event-stream\r\n"));
    assert_true(rig_has_header(&a, "cache-control: no-cache\r\n"));
    assert_string_equal(a.body.data, EV_ROLE EV_TEXT EV_STOP EV_DONE);
    assert_int_equal(rig_records(&r), 1);
    assert_true(str_search(buf_str(&r.providers[0].last), STR("\"include_usage\":true")) >= 0);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void a_stream_of_one_byte_pieces_is_the_same_stream(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0,
               (struct rig_script){
                   .reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE), .piece = 1});
    rig_exchange(&r, ASK_STREAM, &a);
    assert_true(a.complete);
    assert_string_equal(a.body.data, EV_ROLE EV_TEXT EV_STOP EV_DONE);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void usage_is_given_to_who_asked_for_it(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(
        &r, 0,
        (struct rig_script){.reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE)});
    rig_exchange(&r,
                 "{\"model\":\"auto\",\"stream\":true,\"stream_options\":{\"include_usage\":true},"
                 "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
                 &a);
    assert_string_equal(a.body.data, EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static bool ends_well(struct str body)
{
    return str_ends(body, STR(EV_DONE));
}

/* P7: the answer is complete, or it is a true prefix with a mark, never both, for a cut anywhere.
 */
static void f18_a_stream_cut_at_any_byte_is_complete_or_marked(void **state)
{
    (void)state;
    static const char events[] = EV_ROLE EV_TEXT EV_TEXT EV_STOP EV_DONE;
    static char reply[8192];
    const char *full = replies_stream(events);
    size_t len = strlen(full);
    size_t complete = 0, marked = 0, refused = 0;
    for (size_t at = sizeof SSE_HEAD - 1; at < len + RIG_CUT_STEP; at += RIG_CUT_STEP) {
        const size_t cut = at < len ? at : len;
        struct rig r;
        struct rig_answer a;
        const struct rig_options options = {.abort_stops_billing = true};
        memcpy(reply, full, cut);
        rig_start(&r, &options);
        rig_script(&r, 0, (struct rig_script){.reply = reply, .reply_len = cut, .then = RIG_CLOSE});
        rig_script(&r, 1,
                   (struct rig_script){.reply = "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"});
        rig_exchange(&r, ASK_STREAM, &a);
        struct str body = buf_str(&a.body);
        if (a.status != 200) {
            assert_int_equal(a.status, 502);
            assert_true(rig_has_header(&a, "x-should-retry: false\r\n"));
            refused++;
        } else if (a.complete) {
            assert_true(ends_well(body));
            assert_true(str_search(body, STR("\"error\"")) < 0);
            complete++;
        } else {
            ptrdiff_t mark = str_search(body, STR("data: {\"error\":{\"message\":"));
            assert_true(mark >= 0);
            assert_false(ends_well(body));
            assert_true(str_starts(str_from(events), str_slice(body, 0, (size_t)mark)));
            marked++;
        }
        assert_int_equal(rig_records(&r), 1);
        buf_deinit(&a.body);
        rig_stop(&r);
    }
    assert_true(complete > 0 && marked > 0 && refused > 0);
}

static void f19_a_client_that_leaves_cancels_the_provider(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = SSE_HEAD "c9\r\n" EV_ROLE, .then = RIG_HOLD});
    rig_connect(&r, &c);
    rig_ask(&c, ASK_STREAM);
    rig_until(&r, r.providers[0].requests == 1);
    rig_disconnect(&r, &c);
    rig_until(&r, r.providers[0].gone == 1);
    rig_until(&r, r.env.active_count == 0);
    assert_int_equal(rig_records(&r), 1);
    rig_stop(&r);
}

static void f19_where_aborting_saves_nothing_the_rest_is_read_unseen(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    const struct rig_options options = {.abort_stops_billing = false};
    rig_start(&r, &options);
    rig_script(&r, 0,
               (struct rig_script){
                   .reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE), .piece = 7});
    rig_connect(&r, &c);
    rig_ask(&c, ASK_STREAM);
    rig_until(&r, c.in.len > 0);
    rig_disconnect(&r, &c);
    rig_until(&r, r.env.active_count == 0);
    assert_int_equal(r.providers[0].gone, 0); /* The connection was read to its end and kept. */
    assert_int_equal(atomic_load(&r.shared.unseen), 0);
    assert_int_equal(rig_records(&r), 1);
    rig_stop(&r);
}

static void f19_what_is_read_unseen_has_a_maximum(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    const struct rig_options options = {.abort_stops_billing = false};
    rig_start(&r, &options);
    r.shared.settings.unseen_bytes = 64;
    rig_script(&r, 0,
               (struct rig_script){
                   .reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE), .piece = 7});
    rig_connect(&r, &c);
    rig_ask(&c, ASK_STREAM);
    rig_until(&r, c.in.len > 0);
    rig_disconnect(&r, &c);
    rig_until(&r, r.providers[0].gone == 1);
    rig_until(&r, r.env.active_count == 0);
    assert_int_equal(atomic_load(&r.shared.unseen), 0);
    assert_int_equal(rig_records(&r), 1);
    rig_stop(&r);
}

static void a_slow_provider_gets_an_early_head_and_comments_and_may_still_be_replaced(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    const struct rig_options options = {.abort_stops_billing = true, .first_content_ms = 150};
    rig_start(&r, &options);
    r.shared.settings.stream_head_after_ms = 20;
    r.shared.settings.keepalive_ms = 20;
    rig_script(&r, 0, (struct rig_script){.then = RIG_HOLD});
    rig_script(&r, 1,
               (struct rig_script){.reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_DONE)});
    rig_exchange(&r, ASK_STREAM, &a);
    assert_int_equal(a.status, 200);
    assert_true(a.complete);
    assert_true(str_starts(buf_str(&a.body), STR(": keepalive\n\n: keepalive\n\n")));
    assert_true(str_ends(buf_str(&a.body), STR(EV_DONE)));
    assert_false(rig_has_header(&a, "x-steelyard-served"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

/* most: of the mark; queued: at most, with a read beyond it. */
static void read_slowly(uint32_t most, size_t queued)
{
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    struct buf events;
    enum { COUNT = 60000 };
    rig_start(&r, NULL);
    r.env.mark_most = most;
    buf_init(&events, 64U << 20);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(buf_append_text(&events, EV_TEXT), 0);
    assert_int_equal(buf_append_text(&events, EV_STOP EV_DONE), 0);
    rig_script(&r, 0, (struct rig_script){.reply = replies_stream(buf_cstr(&events))});
    rig_connect(&r, &c);
    rig_read_stop(&c);
    rig_ask(&c, ASK_STREAM);
    rig_until(&r, !list_empty(&r.env.active) &&
                      container_of(r.env.active.next, struct request, link)->attempt.paused);
    struct request *q = container_of(r.env.active.next, struct request, link);
    assert_in_range(q->client->queued(q->client_arg), 1, queued);
    rig_read_start(&c);
    rig_until(&r, r.env.active_count == 0);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_true(a.complete);
    assert_int_equal(a.body.len, events.len);
    assert_memory_equal(a.body.data, events.data, events.len);
    buf_deinit(&a.body);
    buf_deinit(&events);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static void f23_reading_stops_while_the_client_is_full_and_nothing_is_lost(void **state)
{
    (void)state;
    read_slowly(UINT32_MAX, 1U << 20);
}

static void f23_where_many_wait_each_holds_less(void **state)
{
    (void)state;
    read_slowly(4096, 32768);
}

static void start_stalled(struct rig *r, struct rig_client *c, struct buf *events,
                          uint32_t stall_ms)
{
    rig_start(r, &(struct rig_options){.abort_stops_billing = true, .stall_ms = stall_ms});
    buf_init(events, 64U << 20);
    for (int i = 0; i < 60000; i++)
        assert_int_equal(buf_append_text(events, EV_TEXT), 0);
    rig_script(r, 0, (struct rig_script){.reply = replies_stream(buf_cstr(events))});
    rig_connect(r, c);
    rig_read_stop(c);
    rig_ask(c, ASK_STREAM);
}

static void b10_a_client_that_takes_nothing_is_cut(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct buf events;
    start_stalled(&r, &c, &events, 60);
    rig_until(&r, r.providers[0].gone == 1); /* Cancelled upstream. */
    rig_until(&r, r.env.active_count == 0);
    assert_int_equal(rig_records(&r), 1);
    buf_deinit(&events);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

/* The limit is 30 s. Time goes in looks of a second, which is how often a connection is looked at.
 */
static void b10_a_stall_is_cut_at_the_last_look_within_its_limit(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct buf events;
    start_stalled(&r, &c, &events, 30000);
    rig_until(&r, !list_empty(&r.conns.open));
    const struct conn *conn = container_of(r.conns.open.next, struct conn, link);
    /* Both sockets' buffers are full: nothing moves any more. */
    rig_until(&r, conn->writing && conn->out->progress_ms + 300 < uv_now(&r.loop));
    uv_timer_stop(&r.tick);
    const uint64_t began_ms = conn->out->progress_ms;
    for (unsigned s = 1; s < 29; s++) {
        conn_pool_tick(&r.conns, began_ms + s * 1000);
        assert_int_equal(r.conns.open_count, 1);
        assert_int_equal(conn->out->progress_ms, began_ms);
    }
    conn_pool_tick(&r.conns, began_ms + 29000);
    rig_until(&r, r.conns.open_count == 0 && r.env.active_count == 0);
    assert_int_equal(rig_records(&r), 1);
    buf_deinit(&events);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static struct request *the_request(struct rig *r)
{
    return container_of(r->env.active.next, struct request, link);
}

/* Those of a burst are given back, but for what the next requests may want. */
static void workspaces_beyond_a_few_are_given_back(void **state)
{
    (void)state;
    struct rig r;
    static struct request requests[40];
    rig_start(&r, NULL);
    for (size_t i = 0; i < 40; i++) {
        requests[i].env = &r.env;
        assert_true(workspace_take(&requests[i]));
    }
    for (size_t i = 0; i < 40; i++)
        workspace_give(&requests[i]);
    assert_int_equal(r.env.works.count, 40);
    request_env_trim(&r.env);
    assert_int_equal(r.env.works.count, 16);
    rig_stop(&r);
}

static void a_stream_that_has_begun_holds_nothing_but_itself(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0,
               (struct rig_script){
                   .reply = replies_stream(EV_ROLE EV_TEXT EV_TEXT EV_STOP EV_USAGE EV_DONE),
                   .piece = 16});
    rig_connect(&r, &c);
    rig_ask(&c, ASK_STREAM);
    rig_until(&r, !list_empty(&r.env.active) && the_request(&r)->stream == STREAM_COMMITTED);
    struct request *q = the_request(&r);
    assert_null(q->work);
    assert_null(q->head);
    assert_null(q->arena.chunks);
    assert_null(q->attempt.body.data);
    assert_int_equal(r.env.works.count, 1); /* Back for the next one. */
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_true(a.complete);
    assert_true(str_eq(buf_str(&a.body), STR(EV_ROLE EV_TEXT EV_TEXT EV_STOP EV_DONE)));
    assert_int_equal(rig_records(&r), 1);
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static void a_stream_after_a_failed_attempt_keeps_the_rows_of_both(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"});
    rig_script(
        &r, 1,
        (struct rig_script){.reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_DONE), .piece = 16});
    rig_connect(&r, &c);
    rig_ask(&c, ASK_STREAM);
    rig_until(&r, !list_empty(&r.env.active) && the_request(&r)->stream == STREAM_COMMITTED);
    assert_non_null(the_request(&r)->work);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_true(a.complete);
    assert_true(rig_has_header(&a, "x-steelyard-attempts: 2\r\n"));
    assert_int_equal(rig_records(&r), 1);
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

/* The next message, sent while the stream runs, is still there when its turn comes. */
static void b9_a_request_behind_a_stream_survives_what_the_stream_lets_go(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(
        &r, 0,
        (struct rig_script){.reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_DONE), .piece = 16});
    rig_connect(&r, &c);
    rig_ask(&c, ASK_STREAM);
    static const char models[] =
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nx-api-key: " RIG_KEY "\r\n\r\n";
    rig_send(&c, models, sizeof models - 1);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_true(a.complete);
    buf_deinit(&a.body);
    buf_consume(&c.in, a.bytes);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_true(str_search(buf_str(&a.body), STR("\"object\":\"list\"")) >= 0);
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static void f31_draining_says_close_and_ending_marks_running_streams(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0,
               (struct rig_script){.reply = replies_make(SSE_HEAD, EV_ROLE EV_TEXT, ""),
                                   .then = RIG_HOLD});
    atomic_store(&r.shared.draining, true);
    rig_connect(&r, &c);
    rig_ask(&c, ASK_STREAM);
    rig_until(&r, c.in.len > 600);
    atomic_store(&r.shared.ending, true);
    rig_until(&r, c.ended || c.broken);
    rig_answer_read(&c, &a);
    assert_true(rig_has_header(&a, "connection: close\r\n"));
    assert_false(a.complete);
    assert_true(str_search(buf_str(&a.body), STR("\"code\":\"unavailable\"")) >= 0);
    assert_int_equal(rig_records(&r), 1);
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_passes_and_its_usage_is_kept_back),
        cmocka_unit_test(a_stream_of_one_byte_pieces_is_the_same_stream),
        cmocka_unit_test(usage_is_given_to_who_asked_for_it),
        cmocka_unit_test(f18_a_stream_cut_at_any_byte_is_complete_or_marked),
        cmocka_unit_test(f19_a_client_that_leaves_cancels_the_provider),
        cmocka_unit_test(f19_where_aborting_saves_nothing_the_rest_is_read_unseen),
        cmocka_unit_test(f19_what_is_read_unseen_has_a_maximum),
        cmocka_unit_test(a_slow_provider_gets_an_early_head_and_comments_and_may_still_be_replaced),
        cmocka_unit_test(f23_reading_stops_while_the_client_is_full_and_nothing_is_lost),
        cmocka_unit_test(f23_where_many_wait_each_holds_less),
        cmocka_unit_test(b10_a_client_that_takes_nothing_is_cut),
        cmocka_unit_test(b10_a_stall_is_cut_at_the_last_look_within_its_limit),
        cmocka_unit_test(workspaces_beyond_a_few_are_given_back),
        cmocka_unit_test(a_stream_that_has_begun_holds_nothing_but_itself),
        cmocka_unit_test(a_stream_after_a_failed_attempt_keeps_the_rows_of_both),
        cmocka_unit_test(b9_a_request_behind_a_stream_survives_what_the_stream_lets_go),
        cmocka_unit_test(f31_draining_says_close_and_ending_marks_running_streams),
    };
    int failed = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    replies_free();
    return failed;
}

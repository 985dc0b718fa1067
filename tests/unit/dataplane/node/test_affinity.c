/* A session's next request goes where the last one was served, while that is healthy and allowed;
 * and what each attempt's record says of how its deployment was picked. */
#include <stdio.h>
#include <string.h>

#include "control.pb-c.h"
#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rows.h"

typedef Steelyard__Telemetry__V1__Attempt Attempt;
typedef Steelyard__Control__V1__Route Route;

#define LONG_WORDS 4000
#define SESSION    "x-steelyard-session: talk\r\n"

static void begin(struct rig *r, const struct rig_options *options)
{
    rows_begin(r, options);
    rows_script_all(r);
}

static void stop(struct rig *r)
{
    rig_stop(r);
    for (size_t i = 0; i < row_count; i++)
        rows_replay(NULL, rows[i]);
}

static void ask_with(struct rig *r, const char *headers, const char *body, struct rig_answer *out)
{
    rows_ask(r, headers, body, out);
    assert_int_equal(out->status, 200);
}

/* Which provider it came to. */
static unsigned asked(struct rig *r, const char *headers, const char *body)
{
    struct rig_answer a;
    const size_t before = r->providers[1].requests;
    ask_with(r, headers, body, &a);
    buf_deinit(&a.body);
    return r->providers[1].requests > before;
}

static void with_affinity(void *arg)
{
    ((Route *)arg)->affinity_ms = 3600000;
}

/* As if all that is remembered had happened so long ago. */
static void age(struct rig *r, uint64_t seconds)
{
    for (size_t i = 0; i < REQUEST_STICKY_SLOTS; i++) {
        uint64_t slot = atomic_load(&r->shared.places[i]);
        if (slot != 0)
            atomic_store(&r->shared.places[i],
                         (slot & ~UINT64_C(0xfffff)) | ((slot - seconds) & UINT64_C(0xfffff)));
    }
}

static void a_session_stays_under_every_strategy(void **state)
{
    (void)state;
    for (unsigned way = WAY_LEARNED; way < WAYS; way++)
        for (unsigned twice = 0; twice < 2; twice++) {
            struct rig r;
            begin(&r, &(struct rig_options){.way = way,
                                            .small_twice = twice != 0,
                                            .candidates = twice != 0 ? 1 : 2,
                                            .on_route = with_affinity});
            const unsigned first = asked(&r, SESSION, ASK);
            for (unsigned i = 0; i < 5; i++) {
                (void)asked(&r, "", ASK); /* Others come and go. */
                assert_int_equal(asked(&r, SESSION, ASK), first);
            }
            stop(&r);
            for (size_t i = 2; twice != 0 && i < row_count; i += 2) {
                const Attempt *a = rows[i]->attempt[0];
                assert_int_equal(a->picked_by, PICKED_BY_SESSION);
                assert_int_equal(a->place, first + 1);
                assert_int_equal(a->deployments, 2);
                assert_true(a->usable == 3 && a->passed == 0);
            }
            rows_forget();
        }
}

static void without_affinity_a_session_is_as_any_other(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, &(struct rig_options){.way = WAY_ROUND_ROBIN, .candidates = 1, .small_twice = true});
    const unsigned first = asked(&r, SESSION, ASK);
    for (unsigned i = 1; i < 5; i++)
        assert_int_equal(asked(&r, SESSION, ASK), i % 2 == 0 ? first : !first);
    stop(&r);
    for (size_t i = 0; i < row_count; i++) {
        assert_int_equal(rows[i]->attempt[0]->picked_by, PICKED_BY_TURN);
        assert_int_equal(rows[i]->attempt[0]->equals, 2);
    }
    rows_forget();
}

static void a_session_leaves_what_fails_and_stays_where_it_went(void **state)
{
    (void)state;
    struct rig r;
    rows_begin(&r, &(struct rig_options){.way = WAY_PRIORITY,
                                         .candidates = 1,
                                         .small_twice = true,
                                         .on_route = with_affinity});
    for (unsigned i = 0; i < 6; i++)
        rig_script(&r, 1, (struct rig_script){.reply = replies_whole()});
    rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
    rig_script(&r, 0,
               (struct rig_script){.reply = "HTTP/1.1 429 Slow\r\nRetry-After: 60\r\n"
                                            "Content-Length: 0\r\n\r\n"});
    rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
    const char *name = "x-steelyard-session: a\r\n";
    char header[64];
    for (unsigned i = 0; asked(&r, name, ASK) != 0; i++) { /* One that begins at the first. */
        assert_true(i < 5);
        (void)snprintf(header, sizeof header, "x-steelyard-session: b%u\r\n", i);
        name = header;
    }
    assert_int_equal(asked(&r, name, ASK), 1); /* After its own had no room for it. */
    rig_forgive(&r, 0);
    assert_int_equal(asked(&r, name, ASK), 1); /* Where its cache is now. */
    stop(&r);
    assert_true(row_count >= 3);
    const Decision *moved = rows[row_count - 2];
    assert_int_equal(moved->n_attempt, 2);
    assert_int_equal(moved->attempt[0]->picked_by, PICKED_BY_SESSION);
    assert_int_equal(moved->attempt[1]->picked_by, PICKED_BY_ONLY);
    assert_int_equal(moved->attempt[1]->passed, PICKED_PASSED(TRIED));
    assert_true(moved->attempt[1]->usable == 2);
    assert_int_equal(rows[row_count - 1]->attempt[0]->picked_by, PICKED_BY_SESSION);
    rows_forget();
}

static void a_session_is_known_for_so_long(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, &(struct rig_options){.way = WAY_ROUND_ROBIN,
                                    .candidates = 1,
                                    .small_twice = true,
                                    .on_route = with_affinity});
    const unsigned first = asked(&r, SESSION, ASK);
    age(&r, 3500);
    assert_int_equal(asked(&r, SESSION, ASK), first); /* And from here on anew. */
    age(&r, 3500);
    assert_int_equal(asked(&r, SESSION, ASK), first);
    age(&r, 3700);
    (void)asked(&r, SESSION, ASK);
    stop(&r);
    assert_int_equal(rows[2]->attempt[0]->picked_by, PICKED_BY_SESSION);
    assert_int_equal(rows[3]->attempt[0]->picked_by, PICKED_BY_TURN);
    rows_forget();
}

/* The answer's header says it to a node that has never seen the session. */
static void the_answers_header_carries_it_to_another_node(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    char header[160];
    const struct rig_options o = {
        .way = WAY_ROUND_ROBIN, .candidates = 1, .small_twice = true, .on_route = with_affinity};
    begin(&r, &o);
    ask_with(&r, SESSION, ASK, &a);
    const struct str mark = STR("x-steelyard-session: s2.");
    const ptrdiff_t at = str_search(a.head, mark);
    assert_true(at >= 0);
    (void)snprintf(header, sizeof header, "x-steelyard-session: %.70s\r\n",
                   a.head.data + at + sizeof "x-steelyard-session: " - 1);
    buf_deinit(&a.body);
    const unsigned first = r.providers[1].requests == 1;
    for (size_t i = 0; i < REQUEST_STICKY_SLOTS; i++) {
        atomic_store(&r.shared.places[i], 0);
        atomic_store(&r.shared.sticky[i], 0);
    }
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(asked(&r, header, ASK), first);
    header[60] = header[60] == 'a' ? 'b' : 'a'; /* Not ours: a name as any other. */
    (void)asked(&r, header, ASK);
    stop(&r);
    for (size_t i = 1; i < 4; i++)
        assert_int_equal(rows[i]->attempt[0]->picked_by, PICKED_BY_SESSION);
    assert_int_equal(rows[4]->attempt[0]->picked_by, PICKED_BY_TURN);
    rows_forget();
}

/* ---- what leaving costs ---- */

static Steelyard__Control__V1__Price twin_price;

static void prices_at(Steelyard__Control__V1__Prices *p, int64_t twin)
{
    static Steelyard__Control__V1__Price *list[2];
    p->prices[0]->cached_input = p->prices[0]->input / 10;
    twin_price = *p->prices[0];
    twin_price.price_id = 99;
    twin_price.provider = (char *)(uintptr_t) "two";
    twin_price.input = twin;
    twin_price.cached_input = twin / 10;
    list[0] = p->prices[0];
    list[1] = &twin_price;
    p->prices = list;
    p->n_prices = 2;
}

static void twin_is_dearer(void *arg)
{
    prices_at(arg, 1100000000);
}

static void twin_is_cheaper(void *arg)
{
    prices_at(arg, 900000000);
}

static void twin_is_nearly_free(void *arg)
{
    prices_at(arg, 10000000);
}

static void the_cheapest_counts_what_the_prompt_cache_saves(void **state)
{
    (void)state;
    static char body[LONG_WORDS * 6 + 512];
    size_t at = (size_t)snprintf(
        body, sizeof body, "{\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (size_t i = 0; i < LONG_WORDS; i++)
        at += (size_t)snprintf(body + at, sizeof body - at, "word ");
    (void)snprintf(body + at, sizeof body - at,
                   "\"},{\"role\":\"assistant\",\"content\":\"yes\"},"
                   "{\"role\":\"user\",\"content\":\"and now?\"}]}");
    struct rig r;
    struct rig_options o = {.way = WAY_LOWEST_COST,
                            .candidates = 1,
                            .small_twice = true,
                            .on_route = with_affinity,
                            .on_prices = twin_is_dearer};
    begin(&r, &o);
    assert_int_equal(asked(&r, SESSION, body), 0);
    o.on_prices = twin_is_cheaper;
    o.generation = 2;
    rig_publish(&r, &o);
    assert_int_equal(asked(&r, "", body), 1);
    assert_int_equal(asked(&r, SESSION, body), 0); /* Nine tenths of it are read from the cache. */
    o.on_prices = twin_is_nearly_free;
    o.generation = 3;
    rig_publish(&r, &o);
    assert_int_equal(asked(&r, SESSION, body), 1); /* Cheaper even read anew. */
    stop(&r);
    rows_forget();
}

/* ---- what the record says ---- */

static void what_stood_in_the_way_of_others_is_recorded(void **state)
{
    (void)state;
    struct rig r;
    rows_begin(&r,
               &(struct rig_options){.way = WAY_ROUND_ROBIN, .candidates = 1, .small_twice = true});
    rig_script(&r, 0, (struct rig_script){.reply = NULL, .then = RIG_CLOSE});
    rig_script(&r, 1, (struct rig_script){.reply = replies_whole()});
    for (unsigned i = 0; i < 2; i++)
        (void)asked(&r, "", ASK);
    assert_int_equal(
        asked(&r, "",
              "{\"model\":\"two/small\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"),
        1);
    stop(&r);
    bool again = false;
    for (size_t i = 0; i + 1 < row_count; i++)
        for (size_t k = 0; k < rows[i]->n_attempt; k++) {
            const Attempt *a = rows[i]->attempt[k];
            assert_int_equal(a->deployments, 2);
            assert_true(a->place == 1 || a->place == 2);
            assert_true((a->usable >> (a->place - 1) & 1) != 0);
            if (k == 1) {
                again = true;
                assert_int_equal(a->passed, PICKED_PASSED(TRIED));
            }
        }
    assert_true(again);
    const Attempt *pinned = rows[row_count - 1]->attempt[0];
    assert_int_equal(pinned->place, 2);
    assert_true((pinned->passed & PICKED_PASSED(PINNED)) != 0);
    rows_forget();
}

static void what_the_translation_changed_is_recorded(void **state)
{
    (void)state;
    static const char reply[] =
        JSON_HEAD "Content-Length: 173\r\n\r\n"
                  "{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"x\","
                  "\"content\":[{\"type\":\"text\",\"text\":\"hello\"}],\"stop_reason\":"
                  "\"end_turn\",\"usage\":{\"input_tokens\":10,\"output_tokens\":5}}    ";
    struct rig r;
    struct rig_answer a;
    rows_begin(&r, &(struct rig_options){.candidates = 1, .types = {"anthropic", NULL}});
    rig_script(&r, 0, (struct rig_script){.reply = reply});
    ask_with(&r, "",
             "{\"model\":\"auto\",\"seed\":7,\"logit_bias\":{\"1\":2},"
             "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
             &a);
    assert_true(str_search(a.head, STR("dropped_seed")) >= 0);
    buf_deinit(&a.body);
    stop(&r);
    const uint64_t notes = rows[0]->attempt[0]->notes;
    assert_true((notes & picked_note_bit(STR("dropped_seed"))) != 0);
    assert_true((notes & picked_note_bit(STR("dropped_logit_bias"))) != 0);
    assert_int_equal(notes & 3, 0); /* Each has a bit of its own. */
    rows_forget();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_stays_under_every_strategy),
        cmocka_unit_test(without_affinity_a_session_is_as_any_other),
        cmocka_unit_test(a_session_leaves_what_fails_and_stays_where_it_went),
        cmocka_unit_test(a_session_is_known_for_so_long),
        cmocka_unit_test(the_answers_header_carries_it_to_another_node),
        cmocka_unit_test(the_cheapest_counts_what_the_prompt_cache_saves),
        cmocka_unit_test(what_stood_in_the_way_of_others_is_recorded),
        cmocka_unit_test(what_the_translation_changed_is_recorded),
    };
    int rc = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    replies_free();
    return rc;
}

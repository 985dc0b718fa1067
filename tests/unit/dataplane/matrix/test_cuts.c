/* Streams with reasoning, text, two calls and usage, from providers of every dialect to callers of
 * every dialect, cut at every byte and split at every byte (P7, F18): what the caller gets is the
 * whole, or a prefix of it that is marked, never both and never neither. An optimised build tries
 * every byte, another one every few, under a sanitizer fewer. */
#include <string.h>

#include "common/base/mem.h"
#include "tests/unit/dataplane/matrix/voices.h"

#if defined(__SANITIZE_ADDRESS__)
#define STEP 31
#elif defined(__OPTIMIZE__)
#define STEP 1
#else
#define STEP 11
#endif
#define RIG_TRIES 400 /* Then there is another one: its spool and its watchdog have an end. */

/* The group runs for one transport after the other; the last one is the default. */
static unsigned group;

/* ---- what is the same each time ---- */

/* Ids and times are made anew for each answer: they are taken out. */
static void normalize(struct str body, struct buf *out)
{
    static const char *const texts[] = {"\"id\":\"", "\"item_id\":\"", "\"call_id\":\"",
                                        "\"response_id\":\"", "\"request_id\":\""};
    static const char *const numbers[] = {"\"created\":", "\"created_at\":", "\"completed_at\":"};
    buf_clear(out);
    for (size_t at = 0; at < body.len;) {
        const struct str rest = str_slice(body, at, body.len);
        size_t skip = 0, keep = 1;
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
            if (str_starts(rest, str_from(texts[i])))
                for (keep = skip = strlen(texts[i]); skip < rest.len && rest.data[skip] != '"';)
                    skip++;
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
            if (str_starts(rest, str_from(numbers[i])))
                for (keep = skip = strlen(numbers[i]);
                     skip < rest.len && rest.data[skip] >= '0' && rest.data[skip] <= '9';)
                    skip++;
        assert_int_equal(buf_append(out, rest.data, keep), 0);
        at += skip > 0 ? skip : 1;
    }
}

/* ---- one pair of dialects ---- */

struct pair {
    const struct caller *caller;
    const struct voice *voice;
    struct rig rig;
    size_t tries; /* In this rig. */
    struct buf reply;
    size_t head;     /* Bytes of the reply before its body. */
    struct buf all;  /* What a caller gets of the whole, normalized. */
    struct buf seen; /* ... and of what is tried. */
    size_t marked, refused;
};

static void open_rig(struct pair *p)
{
    const struct rig_options o = {.types = {p->voice->host, "custom"},
                                  .small_there = p->voice->model,
                                  .abort_stops_billing = true,
                                  .memory_max_bytes = VOICES_NODE_MEMORY,
                                  .ring_bytes = 1U << 20}; /* Holds RIG_TRIES records. */
    rig_start(&p->rig, &o);
    rig_script(&p->rig, 0, (struct rig_script){.reply = NULL});
    p->tries = 0;
}

static void try_script(struct pair *p, struct rig_script script, struct rig_answer *out)
{
    if (p->tries++ == RIG_TRIES) {
        rig_stop(&p->rig);
        open_rig(p);
    }
    p->rig.providers[0].scripts[0] = script;
    rig_forgive(&p->rig, 0);
    caller_ask(&p->rig, p->caller, "small", true, out);
    normalize(buf_str(&out->body), &p->seen);
}

static void wrong(const struct pair *p, const char *what, size_t at, const struct rig_answer *a)
{
    fail_msg("%s at %s, %s %zu: %u %.*s", p->caller->name, p->voice->name, what, at, a->status,
             (int)a->body.len, a->body.data);
}

static void check_cut(struct pair *p, size_t at, const struct rig_answer *a)
{
    const bool ended = caller_ended(p->caller, a), marked = caller_marked(p->caller, a);
    const struct str seen = buf_str(&p->seen), all = buf_str(&p->all);
    if (a->status != 200) {
        if (a->status < 500 || ended)
            wrong(p, "refused, cut", at, a);
        p->refused++;
    } else if (ended) {
        if (marked || !a->complete || !str_eq(seen, all))
            wrong(p, "not the whole, cut", at, a);
    } else {
        const ptrdiff_t mark = str_search(seen, str_from(p->caller->mark));
        if (mark < 0 || a->complete || !str_starts(all, str_slice(seen, 0, (size_t)mark)))
            wrong(p, "no marked prefix, cut", at, a);
        p->marked++;
    }
}

static void cut_everywhere(struct pair *p, size_t first, size_t step)
{
    struct rig_answer a;
    for (size_t at = p->head + first; at < p->reply.len; at += step) {
        const struct rig_script script = {
            .reply = p->reply.data, .reply_len = at, .then = at % 2 == 0 ? RIG_CLOSE : RIG_RESET};
        try_script(p, script, &a);
        check_cut(p, at, &a);
        buf_deinit(&a.body);
    }
}

/* A piece of every length: so there is a boundary at every byte. */
static void split_everywhere(struct pair *p, size_t first, size_t step)
{
    struct rig_answer a;
    for (size_t piece = 1 + first; piece < p->reply.len; piece += step) {
        const struct rig_script script = {
            .reply = p->reply.data, .reply_len = p->reply.len, .piece = piece};
        try_script(p, script, &a);
        if (a.status != 200 || !a.complete || caller_marked(p->caller, &a) ||
            !str_eq(buf_str(&p->seen), buf_str(&p->all)))
            wrong(p, "split", piece, &a);
        buf_deinit(&a.body);
    }
}

static void make_reply(struct pair *p)
{
    struct buf body;
    buf_init(&body, 1U << 20);
    voice_put_frames(p->voice, &p->voice->rich, 0, p->voice->rich.count, VOICE_USAGE, &body);
    assert_int_equal(buf_printf(&p->reply,
                                "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: "
                                "chunked\r\n\r\n",
                                p->voice->type),
                     0);
    p->head = p->reply.len;
    assert_int_equal(buf_printf(&p->reply, "%zx\r\n", body.len), 0);
    assert_int_equal(buf_append_str(&p->reply, buf_str(&body)), 0);
    assert_int_equal(buf_append_text(&p->reply, "\r\n0\r\n\r\n"), 0);
    buf_deinit(&body);
}

static void check_whole(const struct pair *p, const struct rig_answer *a)
{
    static const char *const said[] = {"let ", "h\\u00e9l", "\\\"a\\\"", "\"f\"", "\"g\""};
    if (a->status != 200 || !a->complete || !caller_ended(p->caller, a) ||
        caller_marked(p->caller, a))
        wrong(p, "whole", 0, a);
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        if (str_search(buf_str(&a->body), str_from(said[i])) < 0 &&
            !(i == 1 && str_search(buf_str(&a->body), STR("h\xc3\xa9l")) >= 0))
            wrong(p, said[i], i, a);
}

static void run_pair(const struct caller *c, const struct voice *v, size_t first, size_t step)
{
    struct rig_answer a;
    struct pair *p = mem_zalloc(sizeof *p); /* A rig is large. */
    assert_non_null(p);
    p->caller = c;
    p->voice = v;
    buf_init(&p->reply, 1U << 20);
    buf_init(&p->all, 1U << 20);
    buf_init(&p->seen, 1U << 20);
    make_reply(p);
    open_rig(p);
    try_script(p, (struct rig_script){.reply = p->reply.data, .reply_len = p->reply.len}, &a);
    check_whole(p, &a);
    normalize(buf_str(&a.body), &p->all);
    buf_deinit(&a.body);
    cut_everywhere(p, first, step);
    split_everywhere(p, first, step);
    rig_stop(&p->rig);
    assert_true(p->marked > 0 && p->refused > 0);
    buf_deinit(&p->reply);
    buf_deinit(&p->all);
    buf_deinit(&p->seen);
    mem_free(p);
}

static void run_caller(const struct caller *c)
{
    const size_t step = group == 1 ? 13 * STEP : STEP;
    for (size_t v = 0; v < DIALECTS; v++)
        if (voice_spoken(&voices[v]))
            run_pair(c, &voices[v], (v + (size_t)c->dialect) % step, step);
}

static void f18_streams_to_chat_completions(void **state)
{
    (void)state;
    group++;
    run_caller(&callers[DIALECT_OPENAI]);
}

static void f18_streams_to_responses(void **state)
{
    (void)state;
    run_caller(&callers[DIALECT_RESPONSES]);
}

static void f18_streams_to_messages(void **state)
{
    (void)state;
    run_caller(&callers[DIALECT_ANTHROPIC]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f18_streams_to_chat_completions),
        cmocka_unit_test(f18_streams_to_responses),
        cmocka_unit_test(f18_streams_to_messages),
    };
    return rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
}

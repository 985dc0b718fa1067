/* Usual path: every poll_ms the keys that were made since the last answer are read, and told. What
 * is to be said gets a lease, then its key, one word at a time.
 *
 *   of a word:  WAITS -> LEASING -> PUTTING -> gone; any failure -> WAITS, until its time is over
 *
 * A lease whose word could not be put, and one whose answer was lost, ends by itself. */
#include "controlplane/leader/words.h"

#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#define POLL_MS    1000U
#define TTL_S      600U
#define ANSWER_MS  2000U
#define BODY_BYTES 16384U

struct word {
    uint64_t until_ms;
    char name[WORDS_NAME_BYTES];
    char value[WORDS_VALUE_BYTES];
};

struct words {
    struct words_config config;
    struct etcd *etcd;
    uv_timer_t timer;
    struct word waiting[WORDS_MAX]; /* The first is the one that is being said. */
    size_t count;
    bool saying, listing;
    int64_t next;             /* Revision from which on nothing was read. */
    struct words_heard heard; /* Of the answer at hand. */
    bool closing, etcd_closed, timer_closed;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* --- saying ------------------------------------------------------------------------------------
 */

static void say_next(struct words *w);

static void drop_first(struct words *w)
{
    w->count--;
    memmove(&w->waiting[0], &w->waiting[1], w->count * sizeof w->waiting[0]);
}

static void on_put(void *arg, int status, unsigned http_status, struct str body)
{
    struct words *w = arg;
    (void)body; /* That it was there before is as good. */
    w->saying = false;
    if (w->closing)
        return;
    if (status == 0 && http_status == 200) {
        drop_first(w);
        say_next(w);
    }
}

static void on_lease(void *arg, const struct election_op *op, const struct election_answer *answer)
{
    struct words *w = arg;
    struct buf body;
    (void)op;
    int rc = w->closing ? ERR_CANCELED : answer->status;
    buf_init(&body, BODY_BYTES);
    if (rc == 0)
        rc = words_put_question(str_from(w->waiting[0].name), str_from(w->waiting[0].value),
                                answer->lease, &body);
    if (rc == 0)
        rc = etcd_post(w->etcd, "/v3/kv/txn", buf_str(&body), w->config.answer_ms, on_put, w);
    if (rc != 0)
        w->saying = false;
    buf_deinit(&body);
}

static void say_next(struct words *w)
{
    const struct election_op op = {.ask = ELECTION_GRANT};
    uint64_t now_ms = clock_mono_ms();
    while (!w->saying && w->count > 0 && now_ms >= w->waiting[0].until_ms) {
        log_event(LOG_WARN, "a word for the other control planes could not be said",
                  LOG_TEXT_FIELD("name", w->waiting[0].name));
        drop_first(w);
    }
    if (!w->saying && w->count > 0)
        w->saying =
            etcd_ask(w->etcd, &op, w->config.ttl_s, "", w->config.answer_ms, on_lease, w) == 0;
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '/'))
            return false;
    }
    return s.len > 0;
}

int words_say(struct words *w, struct str name, struct str value)
{
    struct word *word = &w->waiting[w->count];
    if (w->closing || w->count == WORDS_MAX)
        return ERR_LIMIT;
    if (!is_name(name) || !str_copy(name, word->name, sizeof word->name) ||
        !str_copy(value, word->value, sizeof word->value))
        return ERR_INVALID;
    word->until_ms = clock_mono_ms() + (uint64_t)w->config.ttl_s * 1000;
    w->count++;
    say_next(w);
    return 0;
}

size_t words_waiting(const struct words *w)
{
    return w->count;
}

/* --- hearing -----------------------------------------------------------------------------------
 */

static void on_list(void *arg, int status, unsigned http_status, struct str body)
{
    struct words *w = arg;
    w->listing = false;
    if (w->closing || status != 0 || words_list_answer(http_status, body, &w->heard) != 0)
        return;
    if (w->heard.revision + 1 < w->next) { /* It lost its data, and counts anew. */
        w->next = 1;
        return;
    }
    for (size_t i = 0; i < w->heard.count; i++) {
        if (w->heard.word[i].created < w->next)
            continue;
        w->next = w->heard.word[i].created + 1;
        w->config.on_word(w->config.arg, str_from(w->heard.word[i].name),
                          str_from(w->heard.word[i].value));
    }
}

static void list(struct words *w)
{
    struct buf body;
    buf_init(&body, BODY_BYTES);
    if (words_list_question(w->next, &body) == 0)
        w->listing = etcd_post(w->etcd, "/v3/kv/range", buf_str(&body), w->config.answer_ms,
                               on_list, w) == 0;
    buf_deinit(&body);
}

static void on_timer(uv_timer_t *timer)
{
    struct words *w = timer->data;
    if (!w->listing)
        list(w);
    say_next(w);
}

/* --- life --------------------------------------------------------------------------------------
 */

int words_create(uv_loop_t *loop, const struct words_config *config, struct words **out_words,
                 struct err *err)
{
    struct words *w = mem_zalloc(sizeof *w);
    if (w == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    w->config = *config;
    w->config.poll_ms = config->poll_ms != 0 ? config->poll_ms : POLL_MS;
    w->config.ttl_s = config->ttl_s != 0 ? config->ttl_s : TTL_S;
    w->config.answer_ms = config->answer_ms != 0 ? config->answer_ms : ANSWER_MS;
    w->next = 1;
    int rc = etcd_create(loop, &config->etcd, &w->etcd, err);
    if (rc != 0) {
        mem_free(w);
        return rc;
    }
    (void)uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    (void)uv_timer_start(&w->timer, on_timer, 0, w->config.poll_ms);
    *out_words = w;
    return 0;
}

static void maybe_closed(struct words *w)
{
    if (!w->etcd_closed || !w->timer_closed)
        return;
    void (*cb)(void *) = w->close_cb;
    void *arg = w->close_arg;
    mem_free(w);
    if (cb != NULL)
        cb(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct words *w = handle->data;
    w->timer_closed = true;
    maybe_closed(w);
}

static void on_etcd_closed(void *arg)
{
    struct words *w = arg;
    w->etcd_closed = true;
    maybe_closed(w);
}

void words_close(struct words *w, void (*cb)(void *arg), void *arg)
{
    assert(!w->closing);
    w->closing = true;
    w->close_cb = cb;
    w->close_arg = arg;
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
    etcd_close(w->etcd, on_etcd_closed, w);
}

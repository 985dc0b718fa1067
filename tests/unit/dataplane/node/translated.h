/* translated.h: what tests of callers of several dialects share, at providers of the same one or of
 * another: how they ask, what the record must say, and a stream that is cut at every place. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_NODE_TRANSLATED_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_NODE_TRANSLATED_H

#include <string.h>

#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rig.h"

#define CHAT                                                                                       \
    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " RIG_KEY "\r\n"
#define MESSAGES  "POST /v1/messages?beta=true HTTP/1.1\r\nHost: x\r\nx-api-key: " RIG_KEY "\r\n"
#define RESPONSES "POST /v1/responses HTTP/1.1\r\nHost: x\r\napi-key: " RIG_KEY "\r\n"
#define ASK_INPUT "{\"model\":\"auto\",\"input\":\"hi\",\"stream\":true}"
#define ASK_MESSAGE                                                                                \
    "{\"model\":\"auto\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define FRAME(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"" rest "}\n\n"

/* A reply of a Messages provider, whole and as a stream. */
#define MESSAGE_OF(name)                                                                           \
    "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"" name "\","        \
    "\"content\":["                                                                                \
    "{\"type\":\"text\",\"text\":\"hello\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null," \
    "\"usage\":{\"input_tokens\":10,\"output_tokens\":5}}"
#define A_START_OF(name)                                                                           \
    FRAME("message_start", ",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":"         \
                           "\"assistant\",\"content\":[],\"model\":\"" name "\",\"stop_reason\":"  \
                           "null,\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}")
#define A_OPEN                                                                                     \
    FRAME("content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":"     \
                                 "\"\"}")
#define A_TEXT                                                                                     \
    FRAME("content_block_delta",                                                                   \
          ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}")
#define A_CLOSE FRAME("content_block_stop", ",\"index\":0")
#define A_DELTA                                                                                    \
    FRAME("message_delta", ",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},"     \
                           "\"usage\":{\"output_tokens\":5}")
#define A_STOP  FRAME("message_stop", "")
#define R_USAGE ",\"usage\":{\"input_tokens\":10,\"output_tokens\":5,\"total_tokens\":15}"

struct seen {
    uint32_t tokens_in, tokens_out, count;
};

static inline void see(const Steelyard__Telemetry__V1__Decision *row, void *arg)
{
    struct seen *s = arg;
    s->count++;
    if (row->n_attempt == 0)
        return;
    s->tokens_in = row->attempt[row->n_attempt - 1]->in;
    s->tokens_out = row->attempt[row->n_attempt - 1]->out;
}

static inline void ask(struct rig *r, const char *head, const char *body, struct rig_answer *out)
{
    static char request[8192];
    struct buf b = {.data = request, .cap = sizeof request, .max = sizeof request};
    assert_int_equal(buf_printf(&b, "%sContent-Length: %zu\r\n\r\n%s", head, strlen(body), body),
                     0);
    rig_exchange_raw(r, b.data, b.len, out);
}

static inline const char *whole(const char *head, const char *body)
{
    char all[512];
    snprintf(all, sizeof all, "%sTransfer-Encoding: chunked\r\n\r\n", head);
    return replies_make(all, body, "0\r\n\r\n");
}

static inline bool sent(const struct rig *r, size_t provider, const char *text)
{
    return str_search(buf_str(&r->providers[provider].last), str_from(text)) >= 0;
}

static inline bool says(const struct rig_answer *a, const char *text)
{
    return str_search(buf_str(&a->body), str_from(text)) >= 0;
}

static inline void start(struct rig *r, const struct rig_options *o, struct seen *seen)
{
    *seen = (struct seen){.count = 0};
    rig_start(r, o);
    r->on_row = see;
    r->on_row_arg = seen;
}

static inline void stop(struct rig *r, const struct seen *seen)
{
    rig_stop(r);
    assert_int_equal(seen->count, 1);
    assert_int_equal(seen->tokens_in, 10);
    assert_int_equal(seen->tokens_out, 5);
}

/* P7 in and across dialects: what the caller gets is complete, or a true prefix with its mark. */
struct broken {
    const char *head, *body, *events, *end, *mark;
    const struct rig_options *options;
};

/* verbatim: what comes before the mark are the events as they are. */
static inline void cut_at_each(const struct broken *b, bool verbatim)
{
    static char reply[16384];
    struct rig r;
    struct rig_answer all;
    const char *full = replies_stream(b->events);
    size_t len = strlen(full), complete = 0, marked = 0;
    rig_start(&r, b->options);
    rig_script(&r, 0, (struct rig_script){.reply = full});
    ask(&r, b->head, b->body, &all);
    assert_true(all.complete);
    rig_stop(&r);
    for (size_t at = sizeof SSE_HEAD - 1; at < len + RIG_CUT_STEP + 2;
         at += RIG_CUT_STEP + (at % 3)) {
        const size_t cut = at < len ? at : len; /* The whole is among them. */
        struct rig_answer a;
        memcpy(reply, full, len);
        rig_start(&r, b->options);
        rig_script(&r, 0, (struct rig_script){.reply = reply, .reply_len = cut, .then = RIG_CLOSE});
        rig_script(&r, 1,
                   (struct rig_script){.reply = "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"});
        ask(&r, b->head, b->body, &a);
        if (a.status == 200) {
            const bool well = says(&a, b->end), bad = says(&a, b->mark);
            assert_true(a.complete == well);
            assert_true(well != bad);
            complete += well;
            marked += bad;
            if (bad && verbatim)
                assert_memory_equal(a.body.data, b->events,
                                    (size_t)str_search(buf_str(&a.body), str_from(b->mark)));
        } else {
            assert_true(a.status >= 500);
        }
        assert_int_equal(rig_records(&r), 1);
        buf_deinit(&a.body);
        rig_stop(&r);
    }
    assert_true(complete > 0 && marked > 0);
    buf_deinit(&all.body);
}

static inline void cut_everywhere(const struct broken *b)
{
    cut_at_each(b, false);
}

#endif

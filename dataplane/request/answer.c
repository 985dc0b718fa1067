#include "dataplane/request/answer.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/digits.h"
#include "dataplane/request/charge.h"
#include "dataplane/request/dialect.h"
#include "dataplane/request/idempotency.h"
#include "dataplane/request/idempotency_table.h"
#include "dataplane/request/throttle.h"

#define ERROR_BODY_BYTES   1536
#define RESPONSE_ID_PREFIX "resp_"
#define ERROR_SAID_BYTES   8192 /* Escaped, a provider's words are six times as long at most. */

struct buf answer_arena_buf(struct request *r, size_t bytes)
{
    char *data = arena_alloc(&r->arena, bytes);
    struct buf b = {.data = data, .cap = data != NULL ? bytes : 0, .max = data != NULL ? bytes : 0};
    return b;
}

char *answer_put_usd(int64_t nanousd, char *at)
{
    uint64_t v = nanousd < 0 ? 0 : (uint64_t)nanousd;
    uint32_t frac = (uint32_t)(v % 1000000000);
    at = digits_put_u64(at, v / 1000000000);
    if (frac == 0)
        return at;
    at[0] = '.';
    at[1] = (char)('0' + frac / 100000000);
    digits_put_two(at + 2, frac / 1000000 % 100);
    digits_put_two(at + 4, frac / 10000 % 100);
    digits_put_two(at + 6, frac / 100 % 100);
    digits_put_two(at + 8, frac % 100);
    for (at += 10; at[-1] == '0';)
        at--;
    return at;
}

/* A head and an access line say the same cost one after the other, and requests that are alike
 * often cost the same. */
struct str answer_cost(const struct request *r)
{
    struct answer_cost *c = &r->env->cost;
    if (c->len == 0 || c->nanousd != r->cost_nanousd) {
        c->nanousd = r->cost_nanousd;
        c->len = (size_t)(answer_put_usd(r->cost_nanousd, c->text) - c->text);
    }
    return (struct str){c->text, c->len};
}

int answer_write_usd(int64_t nanousd, struct buf *out)
{
    char digits[ANSWER_USD_BYTES];
    return buf_append(out, digits, (size_t)(answer_put_usd(nanousd, digits) - digits));
}

/* Appends while nothing has failed; so that a head is written as a list. The room is asked for
 * once, and again only by what is longer than heads are. */
struct writer {
    struct buf *out;
    char *at;
    char *end;
    int rc;
};

#define HEAD_ROOM 1024U

static struct writer writer_open(struct buf *out)
{
    struct writer w = {.out = out, .rc = buf_reserve(out, HEAD_ROOM)};
    w.at = w.rc == 0 ? out->data + out->len : NULL;
    w.end = w.rc == 0 ? out->data + out->cap : NULL;
    return w;
}

static int writer_close(struct writer *w)
{
    if (w->rc == 0)
        w->out->len = (size_t)(w->at - w->out->data);
    return w->rc;
}

__attribute__((noinline)) static void writer_grow(struct writer *w, size_t bytes)
{
    if (w->rc != 0)
        return;
    w->out->len = (size_t)(w->at - w->out->data);
    w->rc = buf_reserve(w->out, bytes);
    w->at = w->rc == 0 ? w->out->data + w->out->len : NULL;
    w->end = w->rc == 0 ? w->out->data + w->out->cap : NULL;
}

/* true: there is room for so many bytes. */
static inline bool room_for(struct writer *w, size_t bytes)
{
    if ((size_t)(w->end - w->at) < bytes) {
        writer_grow(w, bytes);
        return w->rc == 0;
    }
    return true;
}

static inline void put(struct writer *w, struct str s)
{
    if (s.len == 0 || !room_for(w, s.len))
        return;
    memcpy(w->at, s.data, s.len);
    w->at += s.len;
}

/* An id of ours has its length known when compiled. */
static inline void put_id(struct writer *w, struct str s)
{
    if (s.len == UUID_TEXT_BYTES - 1)
        put(w, (struct str){s.data, UUID_TEXT_BYTES - 1});
    else
        put(w, s);
}

static void put_text(struct writer *w, const char *text)
{
    put(w, str_from(text));
}

static void put_u64(struct writer *w, uint64_t v)
{
    if (room_for(w, DIGITS_BYTES))
        w->at = digits_put_u64(w->at, v);
}

static void put_status(struct writer *w, unsigned status)
{
    if (status == 200) {
        put(w, STR("HTTP/1.1 200 OK\r\n"));
        return;
    }
    put(w, STR("HTTP/1.1 "));
    put_u64(w, status);
    put(w, STR(" "));
    put_text(w, http1_status_text(status));
    put(w, STR("\r\n"));
}

#define DATE "date: "

/* Written anew when the second is another. */
static void put_date(struct writer *w, const struct request *r)
{
    struct request_env *env = r->env;
    int64_t now_s = request_wall_us(r) / 1000000;
    if (now_s != env->date_s) {
        env->date_s = now_s;
        memcpy(env->date, DATE, sizeof DATE - 1);
        http1_format_date(now_s * 1000000, env->date + sizeof DATE - 1);
    }
    put(w, (struct str){env->date, sizeof DATE - 1 + HTTP1_DATE_BYTES - 1});
}

struct str answer_policy(const struct request *r)
{
    if (r->route == NULL)
        return STR("pinned");
    return r->policy == NULL ? STR("static") : r->policy->version_text;
}

static void put_served(struct writer *w, struct str provider, struct str model)
{
    put(w, STR("\r\nx-steelyard-served: "));
    put(w, provider);
    put(w, STR("/"));
    put(w, model);
}

/* By which policy, and who served at which try. */
static void put_choice(struct writer *w, const struct request *r)
{
    put(w, STR("\r\nx-steelyard-policy: "));
    put(w, answer_policy(r));
    put(w, STR("\r\nx-steelyard-cache: off\r\nx-steelyard-attempts: "));
    put_u64(w, r->attempt_count);
    put_served(w, r->attempt.target->deployment->provider->name, r->attempt.model->id);
}

/* The same bytes as the last time that the same was chosen: a snapshot's parts may lie where those
 * of one before it lay, but its generation is another. */
static void put_known_choice(struct writer *w, const struct request *r)
{
    const struct snapshot_deployment *d = r->attempt.target->deployment;
    struct answer_choice *c = &r->env->told[d->ordinal % REQUEST_TOLD];
    const struct answer_choice_key key = {
        .deployment = d,
        .route = r->route,
        .policy = r->policy,
        .generation = r->snapshot->generation,
        .era = r->snapshot->era,
        .attempts = r->attempt_count,
    };
    if (c->len != 0 && memcmp(&c->key, &key, sizeof key) == 0) {
        put(w, (struct str){c->text, c->len});
        return;
    }
    if (w->rc != 0)
        return;
    const size_t from = (size_t)(w->at - w->out->data);
    put_choice(w, r);
    if (w->rc != 0)
        return;
    const size_t len = (size_t)(w->at - w->out->data) - from;
    c->key = key;
    c->len = len <= sizeof c->text ? len : 0;
    memcpy(c->text, w->out->data + from, c->len);
}

static void put_decision(struct writer *w, struct request *r, bool early)
{
    put(w, STR("\r\nx-steelyard-decision-id: "));
    put(w, (struct str){r->id_text, UUID_TEXT_BYTES - 1});
    if (!early && r->committed && r->attempt.target != NULL) {
        put_known_choice(w, r);
        return;
    }
    put(w, STR("\r\nx-steelyard-policy: "));
    put(w, answer_policy(r));
    put(w, STR("\r\nx-steelyard-cache: off"));
    if (early)
        return;
    put(w, STR("\r\nx-steelyard-attempts: "));
    put_u64(w, r->attempt_count);
}

/* Of what was answered before: whose decision it was; nothing was tried or paid for now. */
static void put_repeated(struct writer *w, const struct idempotency_answer *a)
{
    put(w, STR("\r\nidempotent-replayed: true\r\nx-steelyard-decision-id: "));
    put(w, a->decision);
    put(w, STR("\r\nx-steelyard-policy: "));
    put(w, a->policy);
    put(w, STR("\r\nx-steelyard-cache: off\r\nx-steelyard-attempts: 0"
               "\r\nx-steelyard-cost-usd: 0"));
    put_served(w, a->provider, a->model);
}

static void put_warnings(struct writer *w, const struct request *r)
{
    for (uint8_t i = 0; i < r->warning_count; i++) {
        put(w, i == 0 ? STR("\r\nx-steelyard-warnings: ") : STR(","));
        put_text(w, r->work->warnings[i]);
    }
}

static void put_clamp(struct writer *w, const struct request *r)
{
    if (r->charge == NULL || r->charge->clamp == 0)
        return;
    put(w, STR("\r\nx-steelyard-budget-clamped: "));
    put_u64(w, r->charge->clamp);
}

static void put_session(struct writer *w, const struct request *r)
{
    if (r->work->session_text.len == 0)
        return;
    put(w, STR("\r\nx-steelyard-session: "));
    put(w, r->work->session_text);
}

/* What every head has. */
static void put_common(struct writer *w, struct request *r, bool early)
{
    const struct str id = r->request_id;
    put_status(w, r->status);
    put_date(w, r);
    put(w, STR("\r\nx-request-id: "));
    put_id(w, id);
    put(w, STR("\r\nrequest-id: "));
    put_id(w, id);
    if (r->decided) {
        put_decision(w, r, early);
        put_session(w, r);
    }
    if (r->repeated)
        put_repeated(w, idempotency_told(r));
    if (r->limits != NULL && room_for(w, THROTTLE_HEADERS_BYTES))
        w->at = throttle_put_headers(r, w->at);
    put_warnings(w, r);
    if (!early)
        put_clamp(w, r);
    if (!r->keep_alive)
        put(w, STR("\r\nconnection: close"));
    else if (r->minor_version == 0)
        put(w, STR("\r\nconnection: keep-alive"));
    put(w, STR("\r\ncontent-type: "));
    put(w, r->content_type);
}

static void put_retry(struct writer *w, bool again, int64_t wait_ms)
{
    put(w, again ? STR("\r\nx-should-retry: true") : STR("\r\nx-should-retry: false"));
    if (wait_ms < 0)
        return;
    put(w, STR("\r\nretry-after: "));
    put_u64(w, ((uint64_t)wait_ms + 999) / 1000);
    put(w, STR("\r\nretry-after-ms: "));
    put_u64(w, (uint64_t)wait_ms);
}

/* A wait that the row implies although none was measured. */
static int64_t fault_wait_ms(const struct request *r)
{
    if (r->detail.wait_ms >= 0 || r->fault == FAULT_BUDGET_SPENT) /* Perhaps for ever. */
        return r->detail.wait_ms;
    switch (fault_get(r->fault)->status) { /* The same in every dialect. */
    case 503:
        return r->fault == FAULT_NO_UPSTREAM ? -1 : r->fault == FAULT_UNAVAILABLE ? 200 : 1000;
    case 429:
        return 1000;
    default:
        return -1;
    }
}

/* A provider's own words are true of the answer if nobody else was asked. */
static bool passes_advice(const struct request *r)
{
    return r->attempt_count == 1 && r->attempt.exchange == NULL;
}

static void put_upstream(struct writer *w, const struct request *r)
{
    if (r->work != NULL && r->work->words.fields.len > 0 && passes_advice(r))
        put(w, r->work->words.fields);
}

int answer_write_head(struct request *r, uint64_t body_bytes, struct buf *out)
{
    struct writer w = writer_open(out);
    put_common(&w, r, false);
    put_upstream(&w, r);
    put(&w, STR("\r\ncontent-length: "));
    put_u64(&w, body_bytes);
    if (r->fault != FAULT_NONE) {
        put_retry(&w, fault_should_retry(r->fault, r->detail.wait_ms), fault_wait_ms(r));
    } else if (r->status >=
               400) { /* A provider's own answer: ours to say that nothing else helps. */
        put(&w, passes_advice(r) && r->work->words.retry == 1 ? STR("\r\nx-should-retry: true")
                                                              : STR("\r\nx-should-retry: false"));
        if (r->work->words.retry_after.len > 0) {
            put(&w, STR("\r\nretry-after: "));
            put(&w, r->work->words.retry_after);
        }
    } else if (r->decided && r->committed && !r->cost_unknown) {
        put(&w, STR("\r\nx-steelyard-cost-usd: "));
        put(&w, answer_cost(r));
    }
    put(&w, STR("\r\n\r\n"));
    return writer_close(&w);
}

int answer_write_stream_head(struct request *r, bool early, struct buf *out)
{
    struct writer w = writer_open(out);
    put_common(&w, r, early);
    if (!early)
        put_upstream(&w, r);
    put(&w, STR("\r\ncache-control: no-cache\r\nx-accel-buffering: no"));
    if (r->minor_version > 0)
        put(&w, STR("\r\ntransfer-encoding: chunked"));
    put(&w, STR("\r\n\r\n"));
    return writer_close(&w);
}

static struct dialect_error error_of(struct request *r, const struct responses_seen *seen)
{
    struct str id = {r->id_text, UUID_TEXT_BYTES - 1};
    return (struct dialect_error){
        .fault = r->fault,
        .detail = &r->detail,
        .request_id = r->request_id,
        .answer_id = r->decided ? id : r->request_id,
        .model = r->attempt.model != NULL ? r->attempt.model->id : STR_NULL,
        .seen = seen,
    };
}

void answer_set_fault(struct request *r)
{
    struct buf body =
        answer_arena_buf(r, r->detail.said.len > 0 ? ERROR_SAID_BYTES : ERROR_BODY_BYTES);
    const struct dialect_error error = error_of(r, NULL);
    r->status = dialect_status(r->dialect, r->fault);
    r->content_type = STR("application/json");
    r->piece_count = 0;
    if (fault_get(r->fault)->close)
        r->keep_alive = false;
    if (dialect_write_error(r->dialect, &error, &body) == 0) {
        r->pieces[0] = buf_str(&body);
    } else { /* Out of memory: what needs none. */
        r->pieces[0] = STR("{\"type\":\"error\",\"error\":{\"message\":\"Out of memory. Try again "
                           "later.\",\"type\":\"overloaded_error\",\"param\":null,\"code\":"
                           "\"overloaded\"}}");
        if (r->status < 500)
            r->status = 503;
    }
    r->piece_count = 1;
}

int answer_write_error_event(struct request *r, struct buf *out)
{
    const struct attempt *a = &r->attempt;
    /* A stream that was translated bears our own id. */
    struct responses_seen ours = {.next = a->sequence, .created_s = request_wall_us(r) / 1000000};
    ours.id_len = (uint8_t)(sizeof RESPONSE_ID_PREFIX - 1 + UUID_TEXT_BYTES - 1);
    memcpy(ours.id, RESPONSE_ID_PREFIX, sizeof RESPONSE_ID_PREFIX - 1);
    memcpy(ours.id + sizeof RESPONSE_ID_PREFIX - 1, r->id_text, UUID_TEXT_BYTES - 1);
    const struct responses_seen *theirs = a->reply.responses;
    const struct dialect_error error =
        error_of(r, theirs != NULL && theirs->next > 0 ? theirs : &ours);
    return dialect_write_error_event(r->dialect, &error, out);
}

int answer_write_refusal(enum fault fault, struct buf *out)
{
    struct buf body;
    struct writer w = writer_open(out);
    struct uuid id = uuid_v7(clock_wall_us());
    char text[UUID_TEXT_BYTES];
    uuid_format(&id, text);
    buf_init(&body, ERROR_BODY_BYTES);
    if (w.rc == 0)
        w.rc = fault_write_json(fault, &FAULT_DETAIL_NONE, &body);
    put_status(&w, fault_get(fault)->status);
    put(&w, STR("x-request-id: "));
    put_text(&w, text);
    put(&w, STR("\r\nrequest-id: "));
    put_text(&w, text);
    put(&w, STR("\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: "));
    put_u64(&w, body.len);
    put_retry(&w, fault_should_retry(fault, -1), fault_get(fault)->status == 503 ? 1000 : -1);
    put(&w, STR("\r\n\r\n"));
    put(&w, buf_str(&body));
    buf_deinit(&body);
    return writer_close(&w);
}

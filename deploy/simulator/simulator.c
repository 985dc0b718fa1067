/* Usual path: on_request -> exchange_begin (parse, answer, faults) -> timer -> words -> finish.
 * An exchange ends exactly once: answered whole, stream ended, cut on purpose, or client gone. */
#include "deploy/simulator/simulator.h"

#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/net/httpd.h"
#include "deploy/simulator/ledger.h"
#include "deploy/simulator/reply.h"

#define SIM_MACHINES_MAX 1000000
#define BODY_BYTES_MAX   (32U << 20)
#define REPLY_BYTES_MAX  (1U << 20)
#define TICK_MS          5U
#define TEXT_BYTES_MAX   4096U

enum fault_kind {
    FAULT_NOTHING,
    FAULT_ERROR,
    FAULT_RATE_LIMIT,
    FAULT_CUT,
    FAULT_SLOW,
    FAULT_NO_USAGE,
    FAULT_MUTE
};

struct simulator {
    uv_loop_t *loop;
    struct httpd *httpd;
    struct simulator_config config;
    struct simulator_stats stats;
    int ledger_fd;
    uint64_t number; /* Of requests so far. */
    void (*on_closed)(void *arg);
    void *closed_arg;
};

struct exchange {
    struct simulator *sim;
    struct httpd_request *req;
    uv_timer_t timer;
    struct reply reply;
    struct sim_reply answer;
    const struct sim_model *model;
    bool stream, include_usage, started;
    enum fault_kind fault;
    unsigned sent_words;
    uint64_t words_due_ns; /* When the first word is due; a whole answer is sent with its last. */
};

#define MEDIA_JSON STR("application/json")

/* What the request asks for, out of its JSON. */
struct asked {
    const struct sim_model *model;
    const char *model_name;
    char text[TEXT_BYTES_MAX]; /* The last user message, or what fits of it. */
    bool stream, include_usage;
    uint32_t max_tokens, tokens_in, choices;
};

static struct str content_text(const json_t *content)
{
    if (json_is_string(content))
        return (struct str){json_string_value(content), json_string_length(content)};
    size_t i;
    json_t *part;
    json_array_foreach(content, i, part)
    {
        const json_t *text = json_object_get(part, "text");
        if (json_is_string(text))
            return (struct str){json_string_value(text), json_string_length(text)};
    }
    return STR_NULL;
}

static bool read_messages(const json_t *messages, uint64_t token_bytes, struct asked *out)
{
    size_t i, bytes = 0;
    json_t *message;
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return false;
    json_array_foreach(messages, i, message)
    {
        struct str text = content_text(json_object_get(message, "content"));
        const char *role = json_string_value(json_object_get(message, "role"));
        bytes += text.len;
        if (role == NULL || strcmp(role, "user") == 0)
            if (!str_copy(str_slice(text, 0, TEXT_BYTES_MAX - 1), out->text, sizeof(out->text)))
                out->text[0] = '\0';
    }
    /* Four bytes a token and four tokens a message: the rule of thumb, as a fixed rule. */
    out->tokens_in =
        (uint32_t)((bytes + token_bytes - 1) / token_bytes + 4 * json_array_size(messages));
    return true;
}

static bool read_asked(const json_t *root, uint64_t token_bytes, struct asked *out)
{
    out->model_name = json_string_value(json_object_get(root, "model"));
    if (out->model_name == NULL ||
        !read_messages(json_object_get(root, "messages"), token_bytes, out))
        return false;
    out->model = sim_model_find(str_from(out->model_name));
    out->stream = json_is_true(json_object_get(root, "stream"));
    const json_t *options = json_object_get(root, "stream_options");
    out->include_usage = json_is_true(json_object_get(options, "include_usage"));
    const json_t *limit = json_object_get(root, "max_completion_tokens");
    if (!json_is_integer(limit))
        limit = json_object_get(root, "max_tokens");
    json_int_t most = json_is_integer(limit) ? json_integer_value(limit) : 0;
    const json_t *n = json_object_get(root, "n");
    json_int_t choices = json_is_integer(n) ? json_integer_value(n) : 1;
    if (choices < 1 || choices > REPLY_CHOICES_MAX)
        return false;
    out->choices = (uint32_t)choices;
    out->max_tokens = most > 0 && most < REPLY_TOKENS_MAX ? (uint32_t)most : 0;
    return true;
}

/* How many words are made by now, of a stream or not. */
static unsigned words_made(const struct exchange *x)
{
    uint64_t token_us = (uint64_t)x->model->token_us * x->sim->config.latency_percent / 100;
    uint64_t now = clock_mono_ns();
    if (now < x->words_due_ns)
        return 0;
    if (token_us == 0)
        return x->reply.words;
    uint64_t n = 1 + (now - x->words_due_ns) / 1000 / token_us;
    return n < x->reply.words ? (unsigned)n : x->reply.words;
}

/* `words` of each choice were made, and are billed whether somebody read them or not. */
static void ledger_write(struct exchange *x, unsigned status, unsigned words, const char *outcome)
{
    struct simulator *s = x->sim;
    const struct sim_billed b = {
        .outcome = outcome,
        .model = x->model,
        .answer = &x->answer,
        .number = s->stats.requests,
        .status = status,
        .stream = x->stream,
        .with_usage = x->reply.with_usage,
        .choices = x->reply.choices,
        .tokens_in = status == 200 ? x->reply.tokens_in : 0,
        .tokens_out = status == 200 ? words * x->reply.choices : 0,
        .price = &s->config.prices[x->model - sim_models],
    };
    s->stats.billed_nano += sim_ledger_write(s->ledger_fd, &b);
}

static void on_timer_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_timer_t *)handle, struct exchange, timer));
}

/* The request was finished; only the timer is left. */
static void exchange_end(struct exchange *x)
{
    uv_close((uv_handle_t *)&x->timer, on_timer_closed);
}

static void reply_error(struct httpd_request *req, unsigned status, const char *type,
                        const char *code, const char *message)
{
    struct buf body;
    buf_init(&body, REPLY_BYTES_MAX);
    if (reply_write_error(type, code, message, &body) == 0)
        httpd_reply(req, status, MEDIA_JSON, buf_str(&body));
    else
        httpd_abort(req);
    buf_deinit(&body);
}

static void finish_fault(struct exchange *x)
{
    struct simulator *s = x->sim;
    if (x->fault == FAULT_ERROR) {
        s->stats.errors++;
        ledger_write(x, 500, 0, "error");
        reply_error(x->req, 500, "server_error", "simulated_error", "An error as asked for");
    } else if (x->fault == FAULT_RATE_LIMIT) {
        s->stats.rate_limited++;
        ledger_write(x, 429, 0, "rate_limited");
        if (httpd_add_header(x->req, STR("retry-after-ms"), STR("200")) != 0)
            httpd_abort(x->req);
        else
            reply_error(x->req, 429, "requests", "rate_limit_exceeded", "Slow down as asked for");
    } else {
        s->stats.cut++;
        bool partly = x->stream && x->fault == FAULT_CUT;
        ledger_write(x, 200, partly ? x->sent_words : x->reply.words, "cut");
        httpd_abort(x->req);
    }
    exchange_end(x);
}

static void count_complete(struct exchange *x)
{
    struct simulator *s = x->sim;
    s->stats.complete++;
    s->stats.tokens_in += x->reply.tokens_in;
    s->stats.tokens_out += (uint64_t)x->reply.words * x->reply.choices;
    ledger_write(x, 200, x->reply.words, "complete");
}

static void finish_whole(struct exchange *x)
{
    struct buf body;
    buf_init(&body, REPLY_BYTES_MAX);
    if (reply_write_whole(&x->reply, &body) == 0) {
        count_complete(x);
        httpd_reply(x->req, 200, MEDIA_JSON, buf_str(&body));
    } else {
        httpd_abort(x->req);
    }
    buf_deinit(&body);
    exchange_end(x);
}

static void step_stream(struct exchange *x)
{
    struct buf out;
    buf_init(&out, REPLY_BYTES_MAX);
    int rc = 0;
    bool usage_null = x->include_usage && x->reply.with_usage;
    if (!x->started) {
        rc = httpd_start_stream(x->req, 200, STR("text/event-stream"));
        x->started = true;
    }
    unsigned due = words_made(x);
    if (due == 0)
        due = 1; /* The timer counts in milliseconds. */
    bool cutting = x->fault == FAULT_CUT && due >= (x->reply.words + 1) / 2;
    if (cutting)
        due = (x->reply.words + 1) / 2;
    for (; rc == 0 && x->sent_words < due; x->sent_words++)
        rc = reply_write_chunks(&x->reply, x->sent_words, usage_null, &out);
    bool last = !cutting && rc == 0 && x->sent_words == x->reply.words;
    if (last) {
        rc = reply_write_finish(&x->reply, usage_null, &out);
        if (rc == 0)
            count_complete(x); /* In the ledger before the last bytes leave. */
    }
    if (rc == 0 && out.len > 0)
        rc = httpd_write(x->req, buf_str(&out));
    buf_deinit(&out);
    if (cutting) {
        finish_fault(x);
    } else if (rc != 0 && rc != ERR_AGAIN) {
        httpd_abort(x->req);
        exchange_end(x);
    } else if (last) {
        httpd_end(x->req);
        exchange_end(x);
    } else {
        uv_timer_start(&x->timer, x->timer.timer_cb, TICK_MS, 0);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct exchange *x = container_of(timer, struct exchange, timer);
    if (x->fault == FAULT_ERROR || x->fault == FAULT_RATE_LIMIT || x->fault == FAULT_MUTE ||
        (x->fault == FAULT_CUT && !x->stream))
        finish_fault(x);
    else if (x->stream)
        step_stream(x);
    else
        finish_whole(x);
}

static void on_gone(void *arg, struct httpd_request *req)
{
    struct exchange *x = arg;
    x->sim->stats.cancelled++;
    unsigned made = words_made(x);
    ledger_write(x, 200, made > x->sent_words ? made : x->sent_words, "cancelled");
    httpd_abort(req);
    uv_timer_stop(&x->timer);
    exchange_end(x);
}

static enum fault_kind draw_fault(const struct simulator *s, uint64_t number)
{
    const struct sim_faults *f = &s->config.faults;
    const uint32_t ppm[] = {f->error_ppm, f->rate_limit_ppm, f->cut_ppm,
                            f->slow_ppm,  f->no_usage_ppm,   f->mute_ppm};
    struct siphash_key key = {.k0 = s->config.seed, .k1 = 0x6661756c7473ULL};
    uint64_t at = siphash_2_4(key, &number, sizeof(number)) % 1000000;
    for (size_t i = 0; i < sizeof(ppm) / sizeof(ppm[0]); i++) {
        if (at < ppm[i])
            return (enum fault_kind)(FAULT_ERROR + i);
        at -= ppm[i];
    }
    return FAULT_NOTHING;
}

static uint32_t machine_of(const struct simulator *s, uint64_t number)
{
    const struct sim_machines *m = &s->config.machines;
    return m->first + (m->count > 1 ? (uint32_t)(number % m->count) : 0);
}

static void exchange_begin(struct simulator *s, struct httpd_request *req,
                           const struct asked *asked)
{
    struct exchange *x = mem_zalloc(sizeof(*x));
    if (x == NULL || uv_timer_init(s->loop, &x->timer) != 0) {
        mem_free(x);
        httpd_abort(req);
        return;
    }
    x->sim = s;
    x->req = req;
    x->model = asked->model;
    x->stream = asked->stream;
    x->include_usage = asked->include_usage;
    x->fault = draw_fault(s, s->number);
    sim_model_answer(asked->model, str_from(asked->text), s->config.seed, &x->answer);
    reply_compose(asked->model, &x->answer, asked->max_tokens, asked->tokens_in, s->number,
                  &x->reply);
    x->reply.machine = machine_of(s, s->number);
    x->reply.choices = asked->choices;
    x->reply.with_usage = x->fault != FAULT_NO_USAGE;
    uint64_t wait_us = (uint64_t)asked->model->ttft_ms * s->config.latency_percent * 10;
    if (x->fault == FAULT_SLOW)
        wait_us += (uint64_t)s->config.faults.slow_ms * 1000;
    x->words_due_ns = clock_mono_ns() + wait_us * 1000;
    if (!x->stream)
        wait_us +=
            (uint64_t)asked->model->token_us * x->reply.words * s->config.latency_percent / 100;
    httpd_on_gone(req, on_gone, x);
    uv_timer_start(&x->timer, on_timer, (wait_us + 500) / 1000, 0);
}

static void on_chat(struct simulator *s, struct httpd_request *req)
{
    struct asked asked = {0};
    struct str body = httpd_body(req);
    json_t *root = json_loadb(body.data != NULL ? body.data : "", body.len, 0, NULL);
    uint64_t token_bytes = s->config.token_bytes != 0 ? s->config.token_bytes : 4;
    bool ok = root != NULL && read_asked(root, token_bytes, &asked);
    s->number++;
    s->stats.requests++;
    if (!ok)
        reply_error(req, 400, "invalid_request_error", "invalid_value",
                    "model and messages are needed, n is 1 to 8");
    else if (asked.model == NULL)
        reply_error(req, 404, "invalid_request_error", "model_not_found",
                    "no such model; GET /v1/models lists them");
    else
        exchange_begin(s, req, &asked);
    json_decref(root);
}

static void on_stats(struct simulator *s, struct httpd_request *req)
{
    struct buf body;
    buf_init(&body, REPLY_BYTES_MAX);
    const struct simulator_stats *t = &s->stats;
    int rc = buf_printf(&body,
                        "{\"simulated\":true,\"requests\":%llu,\"complete\":%llu,\"errors\":%llu,"
                        "\"rate_limited\":%llu,\"cut\":%llu,\"cancelled\":%llu,\"tokens_in\":%llu,"
                        "\"tokens_out\":%llu,\"billed_nano\":%lld}",
                        (unsigned long long)t->requests, (unsigned long long)t->complete,
                        (unsigned long long)t->errors, (unsigned long long)t->rate_limited,
                        (unsigned long long)t->cut, (unsigned long long)t->cancelled,
                        (unsigned long long)t->tokens_in, (unsigned long long)t->tokens_out,
                        (long long)t->billed_nano);
    if (rc == 0)
        httpd_reply(req, 200, MEDIA_JSON, buf_str(&body));
    else
        httpd_abort(req);
    buf_deinit(&body);
}

/* One rate of the body, if it is there. False: there, but not within 0..1. */
static bool read_rate(const json_t *root, const char *name, uint32_t *io_ppm)
{
    const json_t *value = json_object_get(root, name);
    if (value == NULL)
        return true;
    double rate = json_number_value(value);
    if (!json_is_number(value) || !(rate >= 0.0 && rate <= 1.0))
        return false;
    *io_ppm = (uint32_t)lround(rate * 1000000.0);
    return true;
}

static void on_faults(struct simulator *s, struct httpd_request *req)
{
    struct str body = httpd_body(req);
    json_t *root = json_loadb(body.data != NULL ? body.data : "", body.len, 0, NULL);
    struct sim_faults f = s->config.faults;
    bool ok = json_is_object(root) && read_rate(root, "error_rate", &f.error_ppm) &&
              read_rate(root, "rate_limit_rate", &f.rate_limit_ppm) &&
              read_rate(root, "cut_rate", &f.cut_ppm) &&
              read_rate(root, "slow_rate", &f.slow_ppm) &&
              read_rate(root, "no_usage_rate", &f.no_usage_ppm) &&
              read_rate(root, "mute_rate", &f.mute_ppm);
    const json_t *slow_ms = json_object_get(root, "slow_ms");
    if (json_is_integer(slow_ms) && json_integer_value(slow_ms) >= 0 &&
        json_integer_value(slow_ms) <= 600000)
        f.slow_ms = (uint32_t)json_integer_value(slow_ms);
    if (ok) {
        s->config.faults = f;
        httpd_reply(req, 200, MEDIA_JSON, STR("{\"ok\":true}"));
    } else {
        reply_error(req, 400, "invalid_request_error", "invalid_value",
                    "rates are numbers from 0 to 1");
    }
    json_decref(root);
}

static bool read_machine(const json_t *root, const char *name, int64_t min, uint32_t *out)
{
    const json_t *value = json_object_get(root, name);
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > SIM_MACHINES_MAX)
        return false;
    *out = (uint32_t)json_integer_value(value);
    return true;
}

static void on_machines(struct simulator *s, struct httpd_request *req)
{
    struct str body = httpd_body(req);
    json_t *root = json_loadb(body.data != NULL ? body.data : "", body.len, 0, NULL);
    struct sim_machines m;
    if (read_machine(root, "first", 0, &m.first) && read_machine(root, "count", 1, &m.count)) {
        s->config.machines = m;
        httpd_reply(req, 200, MEDIA_JSON, STR("{\"ok\":true}"));
    } else {
        reply_error(req, 400, "invalid_request_error", "invalid_value",
                    "first and count are whole numbers, count from 1");
    }
    json_decref(root);
}

static void on_models(struct httpd_request *req)
{
    struct buf body;
    buf_init(&body, REPLY_BYTES_MAX);
    if (reply_write_models(&body) == 0)
        httpd_reply(req, 200, MEDIA_JSON, buf_str(&body));
    else
        httpd_abort(req);
    buf_deinit(&body);
}

static void on_request(void *arg, struct httpd_request *req)
{
    struct simulator *s = arg;
    struct str path = httpd_path(req);
    bool post = httpd_method(req) == HTTP1_POST, get = httpd_method(req) == HTTP1_GET;
    if (httpd_add_header(req, STR("x-simulated"), STR("true")) != 0)
        httpd_abort(req);
    else if (post && str_is(path, "/v1/chat/completions"))
        on_chat(s, req);
    else if (get && str_is(path, "/v1/models"))
        on_models(req);
    else if (get && str_is(path, "/simulator/stats"))
        on_stats(s, req);
    else if (post && str_is(path, "/simulator/faults"))
        on_faults(s, req);
    else if (post && str_is(path, "/simulator/machines"))
        on_machines(s, req);
    else
        reply_error(req, 404, "invalid_request_error", "not_found", "no such path");
}

int simulator_start(uv_loop_t *loop, const struct simulator_config *config,
                    struct simulator **out_simulator, struct err *err)
{
    struct simulator *s = mem_zalloc(sizeof(*s));
    if (s == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    s->loop = loop;
    s->config = *config;
    s->ledger_fd = -1;
    int rc = 0;
    if (config->ledger_path != NULL)
        rc = sim_ledger_open(config->ledger_path, &s->ledger_fd, err);
    struct httpd_config http = {.address = config->address,
                                .max_connections = 8192,
                                .body_max_bytes = BODY_BYTES_MAX,
                                .on_request = on_request,
                                .arg = s};
    if (rc == 0)
        rc = httpd_start(loop, &http, &s->httpd, err);
    if (rc != 0) {
        if (s->ledger_fd >= 0)
            close(s->ledger_fd);
        mem_free(s);
        return rc;
    }
    *out_simulator = s;
    return 0;
}

static void on_httpd_closed(void *arg)
{
    struct simulator *s = arg;
    if (s->ledger_fd >= 0)
        close(s->ledger_fd);
    if (s->on_closed != NULL)
        s->on_closed(s->closed_arg);
    mem_free(s);
}

void simulator_close(struct simulator *s, void (*cb)(void *arg), void *arg)
{
    s->on_closed = cb;
    s->closed_arg = arg;
    httpd_close(s->httpd, on_httpd_closed, s);
}

uint16_t simulator_port(const struct simulator *s)
{
    return httpd_port(s->httpd);
}

struct simulator_stats simulator_stats(const struct simulator *s)
{
    return s->stats;
}

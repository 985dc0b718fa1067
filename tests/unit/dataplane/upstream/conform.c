#include "tests/unit/dataplane/upstream/conform.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "dataplane/upstream/lean.h"
#include "tests/lib/calm.h"

#define BODY_BYTES_MAX (64U << 20)

static const struct {
    const char *name;
    const struct transport_ops *ops;
    bool together; /* As a node has it: replies of a turn are worked on in its end. */
} transports[] = {
    {"libcurl", &transport_over_fetch, false},
    {"lean", &transport_lean, false},
    {"lean, together", &transport_lean, true},
};

static const struct transport_ops *current;
static bool current_together;

/* Where the two may differ. Everything that is not here is the same for both. */
static const struct {
    bool libcurl;
    bool lean;
    const char *why;
} differences[CONFORM_CASES] = {
    [CONFORM_SEES_HALF_LINES] = {false, true,
                                 "libcurl hands heads out line by line: bytes of a first line that "
                                 "never ended do not count as a reply seen"},
    [CONFORM_KEEPS_AFTER_NO_BODY] = {false, true,
                                     "libcurl throws away what follows a reply without a body, so "
                                     "its connection is closed"},
    [CONFORM_WANTS_CLOSE_NOTIFY] = {false, true,
                                    "libcurl takes the end of TCP for an end under TLS: a body "
                                    "without length or chunks may be cut unnoticed"},
    [CONFORM_SURVIVES_ALLOCATIONS] = {false, true,
                                      "libcurl 7.88 divides by zero when some of its allocations "
                                      "for a new connection fail"},
    [CONFORM_LOOKS_BEFORE_USE] =
        {true, false,
         "libcurl looks at a kept connection before each use, for a system "
         "call; lean is told by the loop, but not of what comes with the "
         "very turn of the next use"},
};

bool conform_is_libcurl(const struct conform *c)
{
    return c->ops == &transport_over_fetch;
}

bool conform_does(const struct conform *c, enum conform_case which)
{
    return conform_is_libcurl(c) ? differences[which].libcurl : differences[which].lean;
}

/* ---- the call's side ---- */

static void note_field(struct exchange *x, struct transport_call *call)
{
    const struct transport_ops *ops = x->conform->ops;
    struct str type = ops->header(call, STR("Content-TYPE"));
    x->type_absent = type.data == NULL;
    (void)str_copy(type, x->type, sizeof(x->type));
    assert_null(ops->header(call, STR("x-not-there")).data);
}

static enum fetch_flow on_head(void *arg, struct transport_call *call, unsigned status)
{
    struct exchange *x = arg;
    assert_false(x->conform->inside);
    assert_int_equal(x->dones, 0);
    assert_int_equal(x->pieces, 0);
    assert_true(status >= 200);
    x->heads++;
    x->status = status;
    note_field(x, call);
    if (x->cancel_in_head)
        x->conform->ops->cancel(call);
    return x->pause_in_head ? FETCH_PAUSE : FETCH_GO;
}

static enum fetch_flow on_body(void *arg, struct transport_call *call, struct str piece)
{
    struct exchange *x = arg;
    assert_false(x->conform->inside);
    assert_int_equal(x->heads, 1);
    assert_int_equal(x->dones, 0);
    assert_true(piece.len > 0);
    x->pieces++;
    x->delivered += piece.len;
    if (!x->drop)
        assert_int_equal(buf_append_str(&x->body, piece), 0);
    if (x->cancel_at == x->pieces)
        x->conform->ops->cancel(call);
    bool pause = x->pause_at == x->pieces || (x->pause_every && x->pieces % x->pause_every == 0);
    return pause ? FETCH_PAUSE : FETCH_GO;
}

static void offer(struct exchange *x)
{
    size_t n = 1;
    while (n > 0 && x->taken < x->grown.len) {
        struct str rest = str_slice(x->grown, x->taken, x->grown.len);
        struct str pieces[3] = {str_slice(rest, 0, 1), STR(""), str_slice(rest, 1, rest.len)};
        n = x->conform->ops->offer(x->call, pieces, 3);
        assert_true(n <= rest.len);
        x->taken += n;
    }
}

static void on_room(void *arg, struct transport_call *call)
{
    struct exchange *x = arg;
    assert_false(x->conform->inside);
    assert_ptr_equal(x->call, call);
    assert_int_equal(x->dones, 0);
    x->rooms++;
    offer(x);
}

void exchange_grow(struct exchange *x, struct str so_far)
{
    x->grown = so_far;
    x->conform->inside = true;
    offer(x);
    x->conform->inside = false;
}

static void on_done(void *arg, struct transport_call *call, const struct fetch_result *result)
{
    struct exchange *x = arg;
    assert_false(x->conform->inside);
    assert_ptr_equal(x->call, call);
    assert_int_equal(x->dones, 0);
    /* What holds for every end. */
    if (x->heads == 1)
        assert_int_equal(result->http_status, x->status);
    assert_true(result->body_bytes >= x->delivered);
    assert_true(result->request_sent || !result->reply_seen);
    assert_true(result->request_sent == (result->phase >= FETCH_HEAD));
    assert_true(result->request_sent || !result->request_taken);
    assert_true(result->reply_seen || x->heads == 0);
    assert_true((result->phase == FETCH_COMPLETE) == (result->status == 0));
    assert_true(result->status != 0 || x->heads == 1);
    assert_true(!result->reused || result->connect_ns == 0);
    x->result = *result;
    x->call = NULL;
    x->dones++;
    if (x->on_end != NULL)
        x->on_end(x);
}

static const struct transport_callbacks callbacks = {
    .on_head = on_head, .on_body = on_body, .on_room = on_room, .on_done = on_done};

static void reset(struct exchange *x, struct conform *c)
{
    if (x->conform == NULL)
        buf_init(&x->body, BODY_BYTES_MAX);
    buf_clear(&x->body);
    x->conform = c;
    x->status = x->heads = x->pieces = x->dones = 0;
    x->delivered = 0;
    x->grown = STR_NULL;
    x->taken = 0;
    x->rooms = 0;
    x->type[0] = '\0';
    x->result = (struct fetch_result){0};
}

void exchange_begin(struct conform *c, struct exchange *x, struct fetch_request request)
{
    if (c->origin == NULL)
        conform_origin(c, (struct fetch_origin_config){0});
    if (request.method.data == NULL)
        request.method =
            request.body_count > 0 || request.growing_bytes > 0 ? STR("POST") : STR("GET");
    if (request.target.data == NULL)
        request.target = STR("/");
    /* Who does not test these does not test the machine's speed. */
    if (request.timeouts.connect_ms == 0)
        request.timeouts.connect_ms = 30000;
    if (request.timeouts.tls_ms == 0)
        request.timeouts.tls_ms = 30000;
    reset(x, c);
    uv_update_time(&c->loop);
    c->inside = true;
    if (x->starve > 0)
        fault_arm_alloc(x->starve - 1);
    int rc = c->ops->start(c->origin, &request, &callbacks, x, &x->call);
    x->starved = x->starve > 0 && fault_disarm();
    c->inside = false;
    if (rc == ERR_NOMEM && (x->starved || x->nomem_is_fine)) {
        assert_null(x->call);
        return;
    }
    assert_int_equal(rc, 0);
    assert_non_null(x->call);
}

bool exchange_is_done(void *arg)
{
    return ((struct exchange *)arg)->dones > 0;
}

bool exchange_has_piece(void *arg)
{
    return ((struct exchange *)arg)->pieces > 0;
}

bool exchange_has_head(void *arg)
{
    return ((struct exchange *)arg)->heads > 0;
}

void exchange_wait(struct exchange *x)
{
    assert_true(wire_run(&x->conform->loop, exchange_is_done, x));
    wire_run_turns(&x->conform->loop, 3);
    assert_int_equal(x->dones, 1);
}

int exchange_run(struct conform *c, struct exchange *x, struct fetch_request request)
{
    exchange_begin(c, x, request);
    exchange_wait(x);
    return x->result.status;
}

void exchange_cancel(struct exchange *x)
{
    x->conform->inside = true;
    x->conform->ops->cancel(x->call);
    x->conform->inside = false;
}

void exchange_resume(struct exchange *x)
{
    x->conform->inside = true;
    x->conform->ops->resume(x->call);
    x->conform->inside = false;
}

void exchange_deinit(struct exchange *x)
{
    assert_null(x->call);
    buf_deinit(&x->body);
    *x = (struct exchange){0};
}

int conform_run(struct conform *c, struct fetch_request request)
{
    return exchange_run(c, &c->x, request);
}

void conform_expect(struct conform *c, int status, const char *body)
{
    assert_int_equal(conform_run(c, (struct fetch_request){0}), status);
    assert_string_equal(buf_cstr(&c->x.body), body);
}

/* ---- the upstream's side ---- */

bool conform_saw_gone(void *arg)
{
    return ((struct conform *)arg)->evil.gone > 0;
}

bool conform_saw_request(void *arg)
{
    return ((struct conform *)arg)->evil.requests > 0;
}

bool conform_saw_hold(void *arg)
{
    return ((struct conform *)arg)->evil.notes > 0;
}

bool conform_connected(void *arg)
{
    return ((struct conform *)arg)->evil.connections > 0;
}

/* ---- set-up ---- */

static void set_true(void *flag)
{
    *(bool *)flag = true;
}

static bool is_true(void *flag)
{
    return *(bool *)flag;
}

void conform_origin_drop(struct conform *c)
{
    bool closed = false;
    if (c->origin == NULL)
        return;
    c->inside = true;
    c->ops->origin_close(c->origin, set_true, &closed);
    assert_false(closed);
    c->inside = false;
    assert_true(wire_run(&c->loop, is_true, &closed));
    c->origin = NULL;
}

void conform_origin(struct conform *c, struct fetch_origin_config config)
{
    struct err err = {0};
    conform_origin_drop(c);
    if (config.url == NULL) {
        (void)snprintf(c->url, sizeof(c->url), "%s://127.0.0.1:%u",
                       c->evil.tls != NULL ? "https" : "http", c->evil.port);
        config.url = c->url;
        config.allow_private = true;
        config.allow_http = true;
    }
    assert_int_equal(c->ops->origin_create(c->transport, &config, &c->origin, &err), 0);
}

void conform_origin_at(struct conform *c, const char *scheme, const char *host, uint16_t port)
{
    char url[300];
    (void)snprintf(url, sizeof(url), "%s://%s:%u", scheme, host, port);
    conform_origin(
        c, (struct fetch_origin_config){.url = url, .allow_private = true, .allow_http = true});
}

void conform_serve(struct conform *c, SSL_CTX *tls)
{
    conform_origin_drop(c);
    if (c->evil_runs)
        evil_stop(&c->evil);
    evil_start(&c->evil, &c->loop, tls);
    c->evil_runs = true;
}

static void on_turn(uv_check_t *check)
{
    struct conform *c = container_of(check, struct conform, turn);
    c->ops->work(c->transport);
    c->ops->send(c->transport);
}

static void begin_turns(struct conform *c)
{
    assert_int_equal(uv_check_init(&c->loop, &c->turn), 0);
    uv_unref((uv_handle_t *)&c->turn);
    if (current_together)
        assert_int_equal(uv_check_start(&c->turn, on_turn), 0);
}

int conform_set_up(void **state)
{
    struct conform *c = mem_zalloc(sizeof(*c));
    assert_non_null(c);
    calm_clock();
    c->ops = current;
    assert_int_equal(uv_loop_init(&c->loop), 0);
    c->transport = c->ops->create(&c->loop);
    assert_non_null(c->transport);
    begin_turns(c);
    conform_serve(c, NULL);
    *state = c;
    return 0;
}

int conform_tear_down(void **state)
{
    struct conform *c = *state;
    bool closed = false;
    conform_origin_drop(c);
    uv_close((uv_handle_t *)&c->turn, NULL);
    c->ops->close(c->transport, set_true, &closed);
    assert_true(wire_run(&c->loop, is_true, &closed));
    evil_stop(&c->evil);
    wire_run_turns(&c->loop, 3);
    assert_int_equal(uv_loop_close(&c->loop), 0);
    if (c->x.conform != NULL)
        exchange_deinit(&c->x);
    mem_free(c);
    return 0;
}

int conform_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count)
{
    int failed = 0;
    assert_int_equal(fetch_global_init(NULL), 0);
    for (size_t i = 0; i < sizeof(transports) / sizeof(transports[0]); i++) {
        if (argc > 1 && strncmp(argv[1], transports[i].name, strlen(argv[1])) != 0)
            continue;
        current = transports[i].ops;
        current_together = transports[i].together;
        failed += _cmocka_run_group_tests(transports[i].name, tests, count, NULL, NULL);
    }
    fetch_global_deinit();
    return failed;
}

/* A source's machine: WAITING (until due_ms) -> FETCHING -> WAITING. Usual path: the timer finds it
 * due, asks, and the reply sets the credential and the next time. What can fail: the file of a
 * token cannot be read, the server cannot be reached, refuses, or says what is no token: all of
 * them are tried again, later each time. Sources that nobody holds are closed at the next turn of
 * the timer. */
#include "dataplane/credential/keeper.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/crypto/digest.h"
#include "common/net/fetch.h"
#include "dataplane/credential/aws.h"
#include "dataplane/credential/google.h"

#define ORIGIN_BYTES     512U
#define TARGET_BYTES     1024U
#define REPLY_BYTES_MAX  65536U
#define BODY_BYTES_MAX   65536U
#define TOKEN_FILE_MAX   16384U
#define ARENA_BYTES      32768U
#define RETRY_MS_MIN     1000U
#define RETRY_MS_MAX     60000U
#define TURN_MS_MAX      10000U
#define LIFE_MS_MIN      10000 /* Shorter ones are asked for again as after a failure. */
#define FETCH_TIMEOUT_MS 10000U

struct source {
    struct list link;
    struct keeper *keeper;
    struct credential *credential;
    enum keeper_kind kind;
    struct sha256 name; /* Of kind, region and secret. */
    struct arena_pool pool;
    struct arena arena; /* What follows lives here. */
    struct google_account account;
    struct str role, session, token_file;
    char origin_url[ORIGIN_BYTES];
    char target[TARGET_BYTES];
    struct fetch_origin *origin;
    struct fetch *fetch; /* NULL: waiting. */
    uint64_t due_ms;
    uint32_t failures; /* In a row. */
    int last;          /* What was logged last; 1: nothing yet. */
};

struct keeper {
    uv_timer_t timer;
    struct fetch_loop *loop;
    const char *(*env)(const char *name);
    struct list sources;
    uint32_t count;
    uint32_t closing; /* Sources whose origin is on its way out. */
    uint64_t fetched, failed;
    bool ending;
    bool loop_closed, timer_closed;
    void (*on_closed)(void *arg);
    void *on_closed_arg;
};

static const char *const kind_names[] = {
    [KEEPER_AWS_KEYS] = "aws_keys",
    [KEEPER_AWS_WEB_IDENTITY] = "aws_web_identity",
    [KEEPER_GOOGLE_ACCOUNT] = "google_service_account",
    [KEEPER_GOOGLE_METADATA] = "google_metadata",
};

static void on_timer(uv_timer_t *timer);

static const char *process_env(const char *name)
{
    return getenv(name);
}

static struct str env(const struct keeper *k, const char *name)
{
    return str_from(k->env(name));
}

/* ---- the next time ---- */

static void plan(struct keeper *k)
{
    uint64_t now_ms = clock_mono_ms(), wait_ms = TURN_MS_MAX;
    if (k->ending)
        return;
    LIST_FOREACH (it, &k->sources) {
        const struct source *s = container_of(it, struct source, link);
        if (s->fetch != NULL)
            continue;
        uint64_t left_ms = s->due_ms > now_ms ? s->due_ms - now_ms : 0;
        wait_ms = left_ms < wait_ms ? left_ms : wait_ms;
    }
    if (k->count > 0)
        (void)uv_timer_start(&k->timer, on_timer, wait_ms, 0);
    else
        (void)uv_timer_stop(&k->timer);
}

/* Between seven and eight tenths. */
static uint64_t refresh_after(uint64_t life_ms)
{
    return life_ms / 10 * 7 + rand_below(life_ms / 10 + 1);
}

static uint64_t retry_after(uint32_t failures)
{
    uint64_t wait_ms = (uint64_t)RETRY_MS_MIN << (failures < 6 ? failures : 6);
    wait_ms = wait_ms < RETRY_MS_MAX ? wait_ms : RETRY_MS_MAX;
    return wait_ms / 2 + rand_below(wait_ms / 2 + 1);
}

/* Once for each thing that goes wrong, and once when it is well again. */
static void note(struct source *s, int rc, unsigned status, struct str detail)
{
    const bool valid = credential_is_valid(s->credential, clock_mono_ms());
    const int what = 2 * rc - (rc != 0 && valid); /* That it ran out is another thing. */
    if (what == s->last)
        return;
    s->last = what;
    if (rc == 0)
        log_event(LOG_INFO, "credential fetched", LOG_TEXT_FIELD("kind", kind_names[s->kind]));
    else
        log_event(LOG_WARN, "credential cannot be fetched",
                  LOG_TEXT_FIELD("kind", kind_names[s->kind]),
                  LOG_TEXT_FIELD("cause", err_text(rc)), LOG_U64("status", status),
                  LOG_STR("code", detail), LOG_BOOL("valid", valid));
}

static void fail(struct source *s, int rc, unsigned status, struct str detail)
{
    s->keeper->failed++;
    s->due_ms = clock_mono_ms() + retry_after(s->failures++);
    note(s, rc, status, detail);
}

static int succeed(struct source *s, struct str text, int64_t life_ms)
{
    uint64_t now_ms = clock_mono_ms();
    if (life_ms < LIFE_MS_MIN)
        return ERR_RANGE;
    int rc = credential_set(s->credential, text, now_ms + (uint64_t)life_ms);
    if (rc != 0)
        return rc;
    s->keeper->fetched++;
    s->failures = 0;
    s->due_ms = now_ms + refresh_after((uint64_t)life_ms);
    note(s, 0, 0, STR_NULL);
    return 0;
}

/* ---- a fetch ---- */

static int read_reply(struct source *s, struct str body)
{
    struct buf text;
    int64_t value, life_ms = 0;
    buf_init(&text, CREDENTIAL_BYTES_MAX);
    int rc = buf_reserve_exact(&text, CREDENTIAL_BYTES_MAX); /* Growing would leave copies. */
    if (rc != 0)
        return rc;
    if (s->kind == KEEPER_AWS_WEB_IDENTITY) {
        rc = aws_read_assumed(body, &text, &value);
        if (rc == 0)
            life_ms = value * 1000 - clock_wall_us() / 1000;
    } else {
        rc = google_read_token(body, &text, &value);
        if (rc == 0)
            life_ms = value * 1000;
    }
    if (rc == 0)
        rc = succeed(s, buf_str(&text), life_ms);
    explicit_bzero(text.data, text.cap);
    buf_deinit(&text);
    return rc;
}

static void on_reply(void *arg, const struct fetch_reply *reply)
{
    struct source *s = arg;
    const struct fetch_result *result = &reply->result;
    s->fetch = NULL;
    if (s->keeper->ending || result->status == ERR_CANCELED)
        return;
    int rc = result->status;
    if (rc == 0)
        rc = result->http_status == 200 ? read_reply(s, buf_str(&reply->body)) : ERR_UPSTREAM;
    if (rc != 0)
        fail(s, rc, result->http_status, aws_read_error_code(buf_str(&reply->body)));
    plan(s->keeper);
}

static int open_origin(struct source *s)
{
    struct err err = {0};
    const struct fetch_origin_config config = {
        .url = s->origin_url,
        .allow_private = true, /* An endpoint inside a private network; https, or loopback. */
        .allow_http = true,
        .allow_metadata = s->kind == KEEPER_GOOGLE_METADATA,
        .max_connections = 1,
        .max_idle_connections = 1,
    };
    return s->origin != NULL ? 0 : fetch_origin_create(s->keeper->loop, &config, &s->origin, &err);
}

static int read_token_file(const struct source *s, struct buf *out)
{
    struct err err = {0};
    char path[4096];
    if (!str_copy(s->token_file, path, sizeof path))
        return ERR_INVALID;
    int rc = buf_read_file(out, path, TOKEN_FILE_MAX, &err);
    while (rc == 0 && out->len > 0 &&
           (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r'))
        out->len--;
    return rc;
}

static int print_body(struct source *s, struct buf *out)
{
    struct buf token;
    int rc = 0;
    switch (s->kind) {
    case KEEPER_AWS_KEYS:
    case KEEPER_GOOGLE_METADATA:
        break;
    case KEEPER_AWS_WEB_IDENTITY:
        buf_init(&token, TOKEN_FILE_MAX);
        rc = read_token_file(s, &token);
        if (rc == 0)
            rc = aws_print_assume(s->role, s->session, buf_str(&token), out);
        buf_deinit(&token);
        break;
    case KEEPER_GOOGLE_ACCOUNT:
        rc = google_print_grant(&s->account, clock_wall_us() / 1000000, out);
        break;
    }
    return rc;
}

static int send_form(struct source *s, struct str body)
{
    static const struct fetch_field form = {{"content-type", 12},
                                            {"application/x-www-form-urlencoded", 33}};
    static const struct fetch_field flavor = {{"metadata-flavor", 15}, {"Google", 6}};
    const bool asks = s->kind == KEEPER_GOOGLE_METADATA;
    const struct fetch_request request = {
        .method = asks ? STR("GET") : STR("POST"),
        .target = str_from(s->target),
        .fields = asks ? &flavor : &form,
        .field_count = 1,
        .body = &body,
        .body_count = asks ? 0 : 1,
        .timeouts = {.total_ms = FETCH_TIMEOUT_MS, .head_ms = FETCH_TIMEOUT_MS},
        .body_max_bytes = REPLY_BYTES_MAX,
    };
    return fetch_simple(s->origin, &request, on_reply, s, &s->fetch);
}

static void start(struct source *s)
{
    struct buf body;
    buf_init(&body, BODY_BYTES_MAX);
    int rc = open_origin(s);
    if (rc == 0)
        rc = print_body(s, &body);
    if (rc == 0)
        rc = send_form(s, buf_str(&body));
    buf_deinit(&body);
    if (rc != 0) {
        s->fetch = NULL;
        fail(s, rc, 0, STR_NULL);
    }
}

/* ---- sources ---- */

static void source_free(struct source *s)
{
    credential_unref(s->credential);
    if (s->account.key.len > 0)
        explicit_bzero((char *)(uintptr_t)s->account.key.data, s->account.key.len);
    arena_reset(&s->arena);
    arena_pool_deinit(&s->pool);
    mem_free(s);
}

static void end_when_closed(struct keeper *k);

static void on_origin_closed(void *arg)
{
    struct source *s = arg;
    struct keeper *k = s->keeper;
    source_free(s);
    k->closing--;
    end_when_closed(k);
}

static void source_close(struct source *s)
{
    list_remove(&s->link);
    s->keeper->count--;
    if (s->origin == NULL) {
        source_free(s);
        return;
    }
    s->keeper->closing++;
    fetch_origin_close(s->origin, on_origin_closed, s); /* A fetch gets its on_reply first. */
}

static void on_timer(uv_timer_t *timer)
{
    struct keeper *k = container_of(timer, struct keeper, timer);
    const uint64_t now_ms = clock_mono_ms();
    for (struct list *it = k->sources.next, *next; it != &k->sources; it = next) {
        struct source *s = container_of(it, struct source, link);
        next = it->next;
        if (!credential_is_shared(s->credential))
            source_close(s);
        else if (s->fetch == NULL && s->due_ms <= now_ms)
            start(s);
    }
    plan(k);
}

static int keep(struct source *s, struct str text, struct str *out)
{
    *out = arena_copy(&s->arena, text);
    return out->data != NULL ? 0 : ERR_NOMEM;
}

static bool put_url(struct source *s, struct str origin, struct str target)
{
    while (origin.len > 0 && origin.data[origin.len - 1] == '/')
        origin.len--;
    return origin.len > 0 && str_copy(origin, s->origin_url, sizeof s->origin_url) &&
           str_copy(target, s->target, sizeof s->target);
}

static bool is_region(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.data[i] >= 'a' && s.data[i] <= 'z') || (s.data[i] >= '0' && s.data[i] <= '9') ||
              s.data[i] == '-'))
            return false;
    return s.len > 0 && s.len <= 32;
}

static int fill_web_identity(struct source *s, struct str region)
{
    const struct keeper *k = s->keeper;
    struct str role = env(k, "AWS_ROLE_ARN"), file = env(k, "AWS_WEB_IDENTITY_TOKEN_FILE");
    struct str session = env(k, "AWS_ROLE_SESSION_NAME");
    struct str endpoint = env(k, "AWS_ENDPOINT_URL_STS");
    char url[128];
    struct buf made = {.data = url, .cap = sizeof url, .max = sizeof url};
    if (role.len == 0 || file.len == 0)
        return ERR_NOT_FOUND;
    if (endpoint.len == 0) {
        if (!is_region(region))
            return ERR_INVALID;
        if (buf_printf(&made, "https://sts.%.*s.amazonaws.com%s", STR_ARG(region),
                       str_starts(region, STR("cn-")) ? ".cn" : "") != 0)
            return ERR_INVALID;
        endpoint = buf_str(&made);
    }
    if (!put_url(s, endpoint, STR("/")))
        return ERR_INVALID;
    int rc = keep(s, role, &s->role);
    if (rc == 0)
        rc = keep(s, session.len > 0 ? session : STR("steelyard"), &s->session);
    return rc == 0 ? keep(s, file, &s->token_file) : rc;
}

static int fill_google(struct source *s, struct str secret)
{
    struct str origin, target;
    int rc = google_read_account(secret, &s->arena, &s->account);
    if (rc == 0)
        rc = google_split_uri(s->account.token_uri, &origin, &target);
    if (rc == 0 && !put_url(s, origin, target))
        rc = ERR_INVALID;
    return rc;
}

static int fill_metadata(struct source *s)
{
    struct str host = env(s->keeper, "GCE_METADATA_HOST");
    char url[ORIGIN_BYTES];
    struct buf made = {.data = url, .cap = sizeof url, .max = sizeof url};
    if (host.len == 0)
        host = STR(GOOGLE_METADATA);
    int rc = buf_printf(&made, "http://%.*s", STR_ARG(host));
    return rc == 0 && put_url(s, buf_str(&made), STR(GOOGLE_TOKEN_TARGET)) ? 0 : ERR_INVALID;
}

static int fill(struct source *s, struct str secret, struct str region)
{
    switch (s->kind) {
    case KEEPER_AWS_KEYS:
        break;
    case KEEPER_AWS_WEB_IDENTITY:
        return fill_web_identity(s, region);
    case KEEPER_GOOGLE_ACCOUNT:
        return fill_google(s, secret);
    case KEEPER_GOOGLE_METADATA:
        return fill_metadata(s);
    }
    return ERR_INVALID;
}

static int name_of(enum keeper_kind kind, struct str secret, struct str region, struct sha256 *out)
{
    struct digest_stream *d = digest_stream_create();
    const char head[2] = {(char)kind, (char)region.len};
    if (d == NULL)
        return ERR_NOMEM;
    digest_stream_update(d, head, sizeof head);
    digest_stream_update(d, region.data, region.len);
    digest_stream_update(d, secret.data, secret.len);
    *out = digest_stream_final(d);
    return 0;
}

static struct source *find(const struct keeper *k, const struct sha256 *name)
{
    LIST_FOREACH (it, &k->sources) {
        struct source *s = container_of(it, struct source, link);
        if (digest_equal(s->name.bytes, name->bytes, SHA256_BYTES))
            return s;
    }
    return NULL;
}

static int source_create(struct keeper *k, enum keeper_kind kind, const struct sha256 *name,
                         struct str secret, struct str region, struct source **out)
{
    struct source *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->keeper = k;
    s->kind = kind;
    s->name = *name;
    s->last = 1;
    s->due_ms = clock_mono_ms();
    list_init(&s->link);
    arena_pool_init(&s->pool, 0);
    arena_init(&s->arena, &s->pool, ARENA_BYTES);
    s->credential = credential_create();
    int rc = s->credential != NULL ? fill(s, secret, region) : ERR_NOMEM;
    if (rc != 0) {
        source_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

static int take_keys(struct str secret, struct credential **out)
{
    struct buf kept;
    buf_init(&kept, CREDENTIAL_BYTES_MAX);
    int rc = buf_reserve_exact(&kept, CREDENTIAL_BYTES_MAX);
    if (rc == 0)
        rc = aws_keys_normalize(secret, &kept);
    struct credential *c = rc == 0 ? credential_create() : NULL;
    if (rc == 0 && c == NULL)
        rc = ERR_NOMEM;
    if (rc == 0)
        rc = credential_set(c, buf_str(&kept), CREDENTIAL_FOREVER);
    if (kept.data != NULL)
        explicit_bzero(kept.data, kept.cap);
    buf_deinit(&kept);
    if (rc != 0)
        credential_unref(c);
    else
        *out = c;
    return rc;
}

int keeper_take(struct keeper *k, enum keeper_kind kind, struct str secret, struct str region,
                struct credential **out)
{
    struct sha256 name;
    if (kind == KEEPER_AWS_KEYS)
        return take_keys(secret, out);
    int rc = name_of(kind, secret, region, &name);
    if (rc != 0)
        return rc;
    struct source *s = find(k, &name);
    if (s == NULL) {
        if (k->ending || k->count == KEEPER_SOURCES_MAX)
            return ERR_LIMIT;
        rc = source_create(k, kind, &name, secret, region, &s);
        if (rc != 0)
            return rc;
        list_push_back(&k->sources, &s->link);
        k->count++;
    }
    *out = credential_ref(s->credential);
    plan(k);
    return 0;
}

void keeper_get_status(const struct keeper *k, struct keeper_status *out)
{
    const uint64_t now_ms = clock_mono_ms();
    *out = (struct keeper_status){.sources = k->count, .fetched = k->fetched, .failed = k->failed};
    LIST_FOREACH (it, &k->sources)
        out->valid +=
            credential_is_valid(container_of(it, struct source, link)->credential, now_ms);
}

/* ---- the keeper ---- */

struct keeper *keeper_create(const struct keeper_options *options)
{
    struct keeper *k = mem_zalloc(sizeof *k);
    if (k == NULL)
        return NULL;
    list_init(&k->sources);
    k->env = options->env != NULL ? options->env : process_env;
    k->loop = fetch_loop_create(options->loop);
    if (k->loop == NULL) {
        mem_free(k);
        return NULL;
    }
    (void)uv_timer_init(options->loop, &k->timer);
    return k;
}

static void end_when_closed(struct keeper *k)
{
    if (!k->ending || !k->loop_closed || !k->timer_closed || k->closing > 0)
        return;
    void (*cb)(void *arg) = k->on_closed;
    void *arg = k->on_closed_arg;
    mem_free(k);
    if (cb != NULL)
        cb(arg);
}

static void on_loop_closed(void *arg)
{
    struct keeper *k = arg;
    k->loop_closed = true;
    end_when_closed(k);
}

static void on_timer_closed(uv_handle_t *timer)
{
    struct keeper *k = container_of(timer, struct keeper, timer);
    k->timer_closed = true;
    end_when_closed(k);
}

void keeper_close(struct keeper *k, void (*cb)(void *arg), void *arg)
{
    k->ending = true;
    k->on_closed = cb;
    k->on_closed_arg = arg;
    while (!list_empty(&k->sources))
        source_close(container_of(k->sources.next, struct source, link));
    fetch_loop_close(k->loop, on_loop_closed, k);
    uv_close((uv_handle_t *)&k->timer, on_timer_closed);
}

/* Names and their answers. Usual path: a question for a name that is known is answered at once; one
 * that is not goes to the source, and all who ask meanwhile wait in the name's list. The reply is
 * kept and given to them. Ways it fails: the source refuses (no callback), says no, or takes longer
 * than anybody waits; the second and third fall back on an old answer while there is one. A name
 * that is being asked for is never evicted, because the source holds its question. */
#include "common/net/resolver.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/mem.h"

#define POSITIVE_MS_DEFAULT 30000U
#define NEGATIVE_MS_DEFAULT 1000U
#define STALE_MS_DEFAULT    3600000U
#define PATIENCE_MS_DEFAULT 250U
#define NAMES_MAX_DEFAULT   256U

struct resolver_question {
    uv_getaddrinfo_t system;
};

struct resolver_name {
    struct list node; /* In resolver->names. */
    struct resolver *resolver;
    struct list waiters; /* Only while asking. */
    struct resolver_question question;
    bool asking;
    uint64_t give_up_ms;      /* Of uv_now, while asking: when an old answer is taken. */
    uint64_t answered_ms;     /* When answer came; only with answer.count > 0. */
    uint64_t failed_until_ms; /* Before that DNS is not asked again. */
    int failure;              /* What is said until then. */
    struct resolver_answer answer;
    char host[RESOLVER_HOST_BYTES_MAX + 1];
};

struct resolver {
    uv_loop_t *loop;
    uv_timer_t timer; /* The next name's give_up_ms; once more when closing. */
    struct resolver_config config;
    struct resolver_source source;
    struct map by_host;
    struct list names; /* The one used last in front. */
    struct resolver_stats stats;
    bool closing;
    bool drained; /* Closing, and nobody waits any more. */
    resolver_close_cb close_cb;
    void *close_arg;
};

/* ---- the system's source ---- */

static int status_of_system(int uv_status)
{
    switch (uv_status) {
    case 0:
        return 0;
    case UV_EAI_NONAME:
    case UV_EAI_NODATA:
    case UV_EAI_ADDRFAMILY:
        return ERR_NOT_FOUND;
    default:
        return err_from_uv(uv_status);
    }
}

/* As many of each family as an answer could hold of it. */
static size_t collect(const struct addrinfo *list, union resolver_address *out)
{
    size_t in = 0;
    size_t in6 = 0;
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        union resolver_address *slot = &out[in + in6];
        if (a->ai_family == AF_INET && in < RESOLVER_ADDRESSES_MAX) {
            memcpy(&slot->in, a->ai_addr, sizeof(slot->in));
            in++;
        } else if (a->ai_family == AF_INET6 && in6 < RESOLVER_ADDRESSES_MAX) {
            memcpy(&slot->in6, a->ai_addr, sizeof(slot->in6));
            in6++;
        }
    }
    return in + in6;
}

static void on_system_reply(uv_getaddrinfo_t *system, int uv_status, struct addrinfo *list)
{
    struct resolver_question *q = container_of(system, struct resolver_question, system);
    union resolver_address addresses[2 * RESOLVER_ADDRESSES_MAX] = {0};
    size_t count = collect(list, addresses);
    int status = status_of_system(uv_status);
    uv_freeaddrinfo(list);
    resolver_reply(q, status == 0 && count == 0 ? ERR_NOT_FOUND : status, addresses, count);
}

static int ask_system(void *arg, struct resolver_question *q, const char *host)
{
    struct resolver *r = arg;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    return err_from_uv(uv_getaddrinfo(r->loop, &q->system, on_system_reply, host, NULL, &hints));
}

static void hurry_system(void *arg, struct resolver_question *q)
{
    (void)arg;
    (void)uv_cancel((uv_req_t *)&q->system); /* Refused once a thread has begun it. */
}

/* ---- names ---- */

static void destroy_name(struct resolver_name *n)
{
    struct resolver *r = n->resolver;
    assert(!n->asking && list_empty(&n->waiters));
    (void)map_remove(&r->by_host, str_from(n->host));
    list_remove(&n->node);
    r->stats.names--;
    mem_free(n);
}

static bool make_room(struct resolver *r)
{
    if (r->stats.names < r->config.names_max)
        return true;
    for (struct list *it = r->names.prev; it != &r->names; it = it->prev) {
        struct resolver_name *n = container_of(it, struct resolver_name, node);
        if (!n->asking) {
            destroy_name(n);
            return true;
        }
    }
    return false;
}

static int add_name(struct resolver *r, struct str host, struct resolver_name **out_name)
{
    if (!make_room(r))
        return ERR_BUSY;
    struct resolver_name *n = mem_zalloc(sizeof(*n));
    if (n == NULL)
        return ERR_NOMEM;
    n->resolver = r;
    list_init(&n->waiters);
    memcpy(n->host, host.data, host.len);
    if (map_put(&r->by_host, str_from(n->host), n, NULL) != 0) {
        mem_free(n);
        return ERR_NOMEM;
    }
    list_push_front(&r->names, &n->node);
    r->stats.names++;
    *out_name = n;
    return 0;
}

static int find_or_add(struct resolver *r, struct str host, struct resolver_name **out_name)
{
    struct resolver_name *n = map_get(&r->by_host, host);
    if (n == NULL)
        return add_name(r, host, out_name);
    list_remove(&n->node);
    list_push_front(&r->names, &n->node);
    *out_name = n;
    return 0;
}

static bool has_answer(const struct resolver_name *n, uint64_t now_ms, uint32_t max_age_ms)
{
    return n->answer.count > 0 && now_ms - n->answered_ms < max_age_ms;
}

/* Answers or fails all who wait; they may ask again meanwhile, and are then in no list of ours. */
static void tell_waiters(struct resolver_name *n, int status, bool stale)
{
    struct resolver *r = n->resolver;
    struct resolver_answer answer = n->answer;
    struct list told;
    list_init(&told);
    struct list *node;
    while ((node = list_pop_front(&n->waiters)) != NULL)
        list_push_back(&told, node);
    answer.stale = stale;
    while ((node = list_pop_front(&told)) != NULL) {
        struct resolver_query *q = container_of(node, struct resolver_query, node);
        r->stats.stale += status == 0 && stale;
        q->cb(q, status, status == 0 ? &answer : NULL);
    }
}

/* ---- questions ---- */

static void finish_closing(struct resolver *r);

static void cancel_all(struct resolver *r)
{
    for (struct list *it = r->names.next; it != &r->names; it = it->next)
        tell_waiters(container_of(it, struct resolver_name, node), ERR_CANCELED, false);
    r->drained = true;
    finish_closing(r);
}

static void on_timer(uv_timer_t *timer);

/* For the name that is impatient next. */
static void arm(struct resolver *r)
{
    uint64_t next_ms = UINT64_MAX;
    LIST_FOREACH (it, &r->names) {
        const struct resolver_name *n = container_of(it, struct resolver_name, node);
        if (n->asking && !list_empty(&n->waiters) && n->answer.count > 0 && n->give_up_ms < next_ms)
            next_ms = n->give_up_ms;
    }
    uint64_t now_ms = uv_now(r->loop);
    if (next_ms == UINT64_MAX)
        (void)uv_timer_stop(&r->timer);
    else
        (void)uv_timer_start(&r->timer, on_timer, next_ms > now_ms ? next_ms - now_ms : 0, 0);
}

static struct resolver_name *find_impatient(struct resolver *r)
{
    LIST_FOREACH (it, &r->names) {
        struct resolver_name *n = container_of(it, struct resolver_name, node);
        if (n->asking && !list_empty(&n->waiters) && n->answer.count > 0 &&
            n->give_up_ms <= uv_now(r->loop))
            return n;
    }
    return NULL;
}

static void on_timer(uv_timer_t *timer)
{
    struct resolver *r = container_of(timer, struct resolver, timer);
    struct resolver_name *n;
    if (r->closing) {
        cancel_all(r);
        return;
    }
    while (!r->closing && (n = find_impatient(r)) != NULL) {
        if (!has_answer(n, clock_mono_ms(), r->config.stale_ms))
            n->answer.count = 0; /* It grew too old while they waited; now only DNS can help. */
        else
            tell_waiters(n, 0, true);
    }
    if (!r->closing)
        arm(r);
}

static int ask(struct resolver_name *n)
{
    struct resolver *r = n->resolver;
    int rc = r->source.ask(r->source.arg, &n->question, n->host);
    if (rc != 0)
        return rc == ERR_NOMEM ? ERR_NOMEM : ERR_NOT_FOUND;
    n->asking = true;
    n->give_up_ms = uv_now(r->loop) + r->config.patience_ms;
    r->stats.asked++;
    r->stats.questions++;
    return 0;
}

/* RFC 8305 section 4 with a First Address Family Count of 1. */
static void take_in_turn(const union resolver_address *addresses, size_t count,
                         struct resolver_answer *out)
{
    size_t at[2] = {0, 0};
    unsigned turn = 0;
    unsigned missed = 0;
    const sa_family_t first = addresses[0].any.sa_family;
    out->count = 0;
    while (missed < 2 && out->count < RESOLVER_ADDRESSES_MAX) {
        size_t *i = &at[turn];
        while (*i < count && (addresses[*i].any.sa_family == first) == (turn == 1))
            (*i)++;
        missed = *i < count ? 0 : missed + 1;
        if (*i < count)
            out->addresses[out->count++] = addresses[(*i)++];
        turn = 1 - turn;
    }
}

void resolver_reply(struct resolver_question *q, int status,
                    const union resolver_address *addresses, size_t count)
{
    struct resolver_name *n = container_of(q, struct resolver_name, question);
    struct resolver *r = n->resolver;
    uint64_t now_ms = clock_mono_ms();
    assert(n->asking && r->stats.questions > 0);
    n->asking = false;
    r->stats.questions--;
    if (r->closing) {
        tell_waiters(n, ERR_CANCELED, false);
        finish_closing(r);
        return;
    }
    if (status == 0) {
        assert(count > 0);
        take_in_turn(addresses, count, &n->answer);
        n->answered_ms = now_ms;
        n->failed_until_ms = 0;
        tell_waiters(n, 0, false);
        return;
    }
    r->stats.failures++;
    if (status == ERR_NOT_FOUND || !has_answer(n, now_ms, r->config.stale_ms))
        n->answer.count = 0;
    n->failure = status == ERR_NOMEM ? ERR_NOMEM : ERR_NOT_FOUND;
    n->failed_until_ms = now_ms + r->config.negative_ms;
    tell_waiters(n, n->answer.count > 0 ? 0 : n->failure, true);
}

/* ---- lookups ---- */

/* Lower case; what no name has is refused. '%' is for scopes, which no caller may choose. */
static int normalise(struct str host, char *out, struct str *out_host)
{
    if (host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = str_slice(host, 1, host.len - 1);
    if (host.len == 0 || host.len > RESOLVER_HOST_BYTES_MAX)
        return ERR_INVALID;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.data[i];
        if (c <= ' ' || c >= 0x7f || c == '%' || c == '/')
            return ERR_INVALID;
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    out[host.len] = '\0';
    *out_host = (struct str){.data = out, .len = host.len};
    return 0;
}

static bool answer_numeric(const char *host, struct resolver_answer *out)
{
    union resolver_address address = {0};
    if (inet_pton(AF_INET, host, &address.in.sin_addr) == 1)
        address.in.sin_family = AF_INET;
    else if (inet_pton(AF_INET6, host, &address.in6.sin6_addr) == 1)
        address.in6.sin6_family = AF_INET6;
    else
        return false;
    *out = (struct resolver_answer){.count = 1, .addresses = {address}};
    return true;
}

static bool answer_localhost(struct str host, struct resolver_answer *out)
{
    if (host.len > 0 && host.data[host.len - 1] == '.')
        host = str_slice(host, 0, host.len - 1);
    if (!str_is(host, "localhost") && !str_ends(host, STR(".localhost")))
        return false;
    *out = (struct resolver_answer){.count = 2};
    out->addresses[0].in.sin_family = AF_INET;
    out->addresses[0].in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    out->addresses[1].in6.sin6_family = AF_INET6;
    out->addresses[1].in6.sin6_addr = in6addr_loopback;
    return true;
}

static int answer_from(struct resolver_name *n, bool stale, struct resolver_answer *out)
{
    *out = n->answer;
    out->stale = stale;
    n->resolver->stats.hits++;
    n->resolver->stats.stale += stale;
    return 0;
}

static int wait_for(struct resolver_name *n, struct resolver_query *q, resolver_cb cb)
{
    q->cb = cb;
    list_push_back(&n->waiters, &q->node);
    if (n->answer.count > 0)
        arm(n->resolver);
    return ERR_AGAIN;
}

int resolver_lookup(struct resolver *r, struct str host, struct resolver_answer *out_answer,
                    struct resolver_query *q, resolver_cb cb)
{
    char text[RESOLVER_HOST_BYTES_MAX + 1];
    struct resolver_name *n = NULL;
    if (r->closing)
        return ERR_CANCELED;
    int rc = normalise(host, text, &host);
    if (rc != 0)
        return rc;
    if (answer_numeric(text, out_answer) || answer_localhost(host, out_answer))
        return 0;
    rc = find_or_add(r, host, &n);
    if (rc != 0)
        return rc;
    const uint64_t now_ms = clock_mono_ms();
    const uint32_t positive_ms = r->config.positive_ms;
    const bool may_ask = !n->asking && now_ms >= n->failed_until_ms;
    if (has_answer(n, now_ms, positive_ms)) {
        if (may_ask && !has_answer(n, now_ms, positive_ms - positive_ms / 4))
            (void)ask(n); /* If it cannot be asked now, a later lookup will try. */
        return answer_from(n, false, out_answer);
    }
    const bool old = has_answer(n, now_ms, r->config.stale_ms);
    if (!old)
        n->answer.count = 0;
    if (n->asking) {
        if (old && uv_now(r->loop) >= n->give_up_ms)
            return answer_from(n, true, out_answer);
        r->stats.joined++;
        return wait_for(n, q, cb);
    }
    if (!may_ask)
        return old ? answer_from(n, true, out_answer) : n->failure;
    rc = ask(n);
    if (rc == 0)
        return wait_for(n, q, cb);
    return old ? answer_from(n, true, out_answer) : rc;
}

void resolver_forget(struct resolver_query *q)
{
    if (q->node.next != NULL)
        list_remove(&q->node);
}

/* ---- life ---- */

struct resolver *resolver_create(uv_loop_t *loop, const struct resolver_config *config)
{
    struct resolver *r = mem_zalloc(sizeof(*r));
    if (r == NULL)
        return NULL;
    const struct resolver_config c = config != NULL ? *config : (struct resolver_config){0};
    r->config = (struct resolver_config){
        .positive_ms = c.positive_ms != 0 ? c.positive_ms : POSITIVE_MS_DEFAULT,
        .negative_ms = c.negative_ms != 0 ? c.negative_ms : NEGATIVE_MS_DEFAULT,
        .stale_ms = c.stale_ms != 0 ? c.stale_ms : STALE_MS_DEFAULT,
        .patience_ms = c.patience_ms != 0 ? c.patience_ms : PATIENCE_MS_DEFAULT,
        .names_max = c.names_max != 0 ? c.names_max : NAMES_MAX_DEFAULT,
    };
    r->source = c.source != NULL
                    ? *c.source
                    : (struct resolver_source){.ask = ask_system, .hurry = hurry_system, .arg = r};
    r->loop = loop;
    (void)uv_timer_init(loop, &r->timer);
    map_init(&r->by_host);
    list_init(&r->names);
    return r;
}

static void on_closed(uv_handle_t *timer)
{
    struct resolver *r = container_of(timer, struct resolver, timer);
    resolver_close_cb cb = r->close_cb;
    void *arg = r->close_arg;
    while (!list_empty(&r->names))
        destroy_name(container_of(r->names.next, struct resolver_name, node));
    map_deinit(&r->by_host);
    mem_free(r);
    if (cb != NULL)
        cb(arg);
}

static void finish_closing(struct resolver *r)
{
    if (r->drained && r->stats.questions == 0 && !uv_is_closing((uv_handle_t *)&r->timer))
        uv_close((uv_handle_t *)&r->timer, on_closed);
}

void resolver_close(struct resolver *r, resolver_close_cb cb, void *arg)
{
    assert(!r->closing);
    r->closing = true;
    r->close_cb = cb;
    r->close_arg = arg;
    LIST_FOREACH (it, &r->names) {
        struct resolver_name *n = container_of(it, struct resolver_name, node);
        if (n->asking && r->source.hurry != NULL)
            r->source.hurry(r->source.arg, &n->question);
    }
    (void)uv_timer_start(&r->timer, on_timer, 0, 0);
}

struct resolver_stats resolver_stats(const struct resolver *r)
{
    return r->stats;
}

/* Usual path: clients begin with the names as they are written; the first answers of the resolver
 * replace them by addresses. The timer looks whether a client has gone on to another target since,
 * or the answers are old, and then asks for all names, one after the other; a name that has no
 * answer keeps its last addresses. */
#include "dataplane/control_targets.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#define LOOK_MS       1000U
#define AGAIN_MS      2000U  /* After a connection was lost, at most so often. */
#define OLD_MS        30000U /* And without any reason. */
#define ADDRESS_BYTES 80U
#define ADDRESSES_MAX 16U /* Of one name. */
#define TARGET_BYTES  320U

struct entry {
    char text[TARGET_BYTES]; /* As written. */
    char host[TARGET_BYTES]; /* "": a literal or a socket, nothing to ask. */
    char port[8];
    char addresses[ADDRESSES_MAX][ADDRESS_BYTES];
    size_t count; /* 0: not known, the name is the target. */
};

struct control_targets {
    uv_loop_t *loop;
    struct rpc_tls tls;
    bool has_tls;
    struct entry *entries;
    size_t count;
    struct rpc_client *clients[CONTROL_CLIENTS_MAX];
    uint64_t turns[CONTROL_CLIENTS_MAX];
    size_t client_count;
    uv_timer_t timer;
    uv_getaddrinfo_t query;
    bool asking;
    bool behind; /* A client did not take what is known. */
    size_t at;
    uint64_t asked_ms;
    bool closing;
    void (*on_closed)(void *user);
    void *user;
};

/* --- the list --- */

static bool is_literal(struct str host)
{
    char text[64];
    struct in6_addr any;
    return str_copy(host, text, sizeof text) &&
           (uv_inet_pton(AF_INET, text, &any) == 0 || uv_inet_pton(AF_INET6, text, &any) == 0);
}

static int read_entry(struct str text, struct entry *out, struct err *err)
{
    uint64_t port;
    if (!str_copy(text, out->text, sizeof out->text) || text.len == 0)
        return err_set(err, ERR_INVALID, "a target is empty or too long; a good one: control:8091");
    if (str_starts(text, STR("unix:")))
        return 0;
    size_t colon = text.len;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    struct str host = str_slice(text, 0, colon > 0 ? colon - 1 : 0);
    struct str number = str_slice(text, colon, text.len);
    if (host.len == 0 || str_parse_u64(number, 65535, &port) != 0 || port == 0 ||
        !str_copy(number, out->port, sizeof out->port))
        return err_set(err, ERR_INVALID, "'%s' is no host:port; a good one: control:8091",
                       out->text);
    if (host.data[0] != '[' && !is_literal(host))
        (void)str_copy(host, out->host, sizeof out->host);
    return 0;
}

static int read_list(struct control_targets *t, struct str list, struct err *err)
{
    struct str one;
    int rc = 0;
    while (rc == 0 && list.len > 0) {
        (void)str_cut(list, ',', &one, &list);
        if (t->count == CONTROL_TARGETS_MAX)
            return err_set(err, ERR_LIMIT, "more than %u targets", CONTROL_TARGETS_MAX);
        rc = read_entry(str_trim(one), &t->entries[t->count], err);
        t->count += rc == 0;
    }
    return rc == 0 && t->count == 0 ? err_set(err, ERR_INVALID, "no target is given") : rc;
}

/* --- what clients use --- */

static size_t gather(const struct control_targets *t, const char *targets[RPC_TARGETS_MAX],
                     const char *names[RPC_TARGETS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < t->count && n < RPC_TARGETS_MAX; i++) {
        const struct entry *e = &t->entries[i];
        if (e->count == 0) {
            names[n] = NULL;
            targets[n++] = e->text;
        }
        for (size_t a = 0; a < e->count && n < RPC_TARGETS_MAX; a++) {
            names[n] = e->host;
            targets[n++] = e->addresses[a];
        }
    }
    return n;
}

static void update(struct control_targets *t)
{
    const char *targets[RPC_TARGETS_MAX], *names[RPC_TARGETS_MAX];
    struct err err = {0};
    size_t n = gather(t, targets, names);
    t->behind = false;
    for (size_t i = 0; i < t->client_count; i++) {
        if (rpc_client_set_targets(t->clients[i], targets, names, n, &err) == 0)
            continue;
        t->behind = true;
        log_event(LOG_WARN, "addresses of control planes are not used",
                  LOG_TEXT_FIELD("error", err.message));
    }
}

/* --- names --- */

static void ask_next(struct control_targets *t);

static int compare_addresses(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Sorted, so that the same answer in another order changes nothing. */
static bool take_answer(struct entry *e, const struct addrinfo *list)
{
    char found[ADDRESSES_MAX][ADDRESS_BYTES], ip[64];
    size_t count = 0;
    memset(found, 0, sizeof found);
    for (const struct addrinfo *a = list; a != NULL && count < ADDRESSES_MAX; a = a->ai_next) {
        bool v6 = a->ai_family == AF_INET6;
        int rc =
            v6 ? uv_ip6_name((const struct sockaddr_in6 *)(const void *)a->ai_addr, ip, sizeof ip)
               : uv_ip4_name((const struct sockaddr_in *)(const void *)a->ai_addr, ip, sizeof ip);
        if (rc == 0)
            (void)snprintf(found[count++], ADDRESS_BYTES, v6 ? "[%s]:%s" : "%s:%s", ip, e->port);
    }
    qsort(found, count, ADDRESS_BYTES, compare_addresses);
    if (count == 0 || (count == e->count && memcmp(found, e->addresses, sizeof found) == 0))
        return false;
    memcpy(e->addresses, found, sizeof found);
    e->count = count;
    return true;
}

static void maybe_gone(struct control_targets *t);

static void on_answer(uv_getaddrinfo_t *query, int status, struct addrinfo *list)
{
    struct control_targets *t = query->data;
    struct entry *e = &t->entries[t->at++];
    t->asking = false;
    bool changed = status == 0 && take_answer(e, list);
    uv_freeaddrinfo(list);
    if (t->closing) {
        maybe_gone(t);
        return;
    }
    if (changed || t->behind)
        update(t);
    ask_next(t);
}

static void ask_next(struct control_targets *t)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    while (t->at < t->count) {
        struct entry *e = &t->entries[t->at];
        t->query.data = t;
        if (e->host[0] != '\0' &&
            uv_getaddrinfo(t->loop, &t->query, on_answer, e->host, e->port, &hints) == 0) {
            t->asking = true;
            return;
        }
        t->at++;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct control_targets *t = timer->data;
    uint64_t now_ms = clock_mono_ms();
    bool lost = false;
    for (size_t i = 0; i < t->client_count; i++) {
        uint64_t turn = rpc_client_turn(t->clients[i]);
        lost = lost || turn != t->turns[i];
    }
    if (t->asking || now_ms - t->asked_ms < (lost ? AGAIN_MS : OLD_MS))
        return;
    for (size_t i = 0; i < t->client_count; i++)
        t->turns[i] = rpc_client_turn(t->clients[i]);
    t->asked_ms = now_ms;
    t->at = 0;
    ask_next(t);
}

/* --- life --- */

int control_targets_create(uv_loop_t *loop, const char *list, const struct rpc_tls *tls,
                           struct control_targets **out_targets, struct err *err)
{
    struct control_targets *t = mem_zalloc(sizeof *t);
    struct entry *entries = mem_calloc(CONTROL_TARGETS_MAX, sizeof *entries);
    int rc = t == NULL || entries == NULL ? err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM)) : 0;
    if (rc == 0) {
        t->loop = loop;
        t->entries = entries;
        t->has_tls = tls != NULL;
        if (tls != NULL)
            t->tls = *tls;
        rc = read_list(t, str_from(list), err);
    }
    if (rc != 0) {
        mem_free(entries);
        mem_free(t);
        return rc;
    }
    (void)uv_timer_init(loop, &t->timer);
    t->timer.data = t;
    t->asked_ms = clock_mono_ms();
    (void)uv_timer_start(&t->timer, on_timer, LOOK_MS, LOOK_MS);
    ask_next(t);
    *out_targets = t;
    return 0;
}

int control_targets_client(struct control_targets *t, struct rpc_client **out_client,
                           struct err *err)
{
    const char *targets[RPC_TARGETS_MAX], *names[RPC_TARGETS_MAX];
    if (t->client_count == CONTROL_CLIENTS_MAX)
        return err_set(err, ERR_LIMIT, "too many clients");
    size_t n = gather(t, targets, names);
    int rc = rpc_client_create_list(t->loop, targets, names, n, t->has_tls ? &t->tls : NULL,
                                    t->client_count > 0 ? t->clients[0] : NULL, out_client, err);
    if (rc == 0) {
        t->turns[t->client_count] = rpc_client_turn(*out_client);
        t->clients[t->client_count++] = *out_client;
    }
    return rc;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct control_targets *t = handle->data;
    void (*cb)(void *) = t->on_closed;
    void *user = t->user;
    mem_free(t->entries);
    mem_free(t);
    cb(user);
}

static void maybe_gone(struct control_targets *t)
{
    if (!t->asking)
        uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}

void control_targets_close(struct control_targets *t, void (*cb)(void *user), void *user)
{
    assert(!t->closing);
    t->closing = true;
    t->on_closed = cb;
    t->user = user;
    (void)uv_timer_stop(&t->timer);
    if (t->asking)
        (void)uv_cancel((uv_req_t *)&t->query);
    maybe_gone(t);
}

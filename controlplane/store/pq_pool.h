/* pq_pool.h: what a pooled connection is made of, shared by pq_pool.c (connections) and
 * pq_session.c (their users). Private to controlplane/store. */
#ifndef STEELYARD_CONTROLPLANE_STORE_PQ_POOL_H
#define STEELYARD_CONTROLPLANE_STORE_PQ_POOL_H

#include "common/base/list.h"
#include "controlplane/store/pq_internal.h"

#define POOL_TICK_MS          250U
#define POOL_SILENCE_GRACE_MS 5000U

enum conn_state { CONN_DOWN, CONN_RESOLVING, CONN_CONNECTING, CONN_SETUP, CONN_READY, CONN_BUSY };

enum op_kind { OP_NONE, OP_QUERY, OP_COPY };

/* The statement in flight. */
struct op {
    enum op_kind kind;
    struct str copy; /* Borrowed from the caller. */
    size_t copy_sent;
    bool copy_open; /* The server takes data. */
    bool copy_ended;
    PGresult *result;     /* Last good result. */
    PGresult *error;      /* First bad one. */
    uint64_t deadline_ms; /* Of our own, after the server's. */
    pq_reply_cb cb;
    void *arg;
};

struct pq_session { /* A connection; handed out when READY. */
    struct pq_pool *pool;
    enum conn_state state;
    PGconn *conn;
    struct pq_options options;
    uv_poll_t *poll;
    int fd;
    int events;
    uv_timer_t retry;
    uv_getaddrinfo_t resolve;
    char hostaddr[64];
    bool resolving;    /* The getaddrinfo callback is still to come. */
    bool held;         /* By a session's user. */
    bool lost_pending; /* Lost inside a call of the user: ended from the next turn. */
    uint32_t backoff_ms;
    uint64_t connect_deadline_ms;
    struct op op;
    uv_work_t cancel_work;
    PGcancel *cancel; /* Set while a cancel runs on a worker thread. */
};

struct waiter {
    struct list node;
    uint64_t since_ms;
    pq_session_cb cb;
    void *arg;
};

struct pq_pool {
    uv_loop_t *loop;
    char *conninfo;
    char *application_name;
    char *setup;
    struct pq_pool_config config;
    struct pq_session *conns;
    struct list waiters;
    unsigned waiting;
    unsigned held;
    unsigned up;
    unsigned closing_handles; /* Until 0 the pool cannot be freed. */
    bool was_up;
    bool closing;
    bool served; /* Waiters are being served: no recursion. */
    uv_timer_t tick;
    pq_close_cb close_cb;
    void *close_arg;
};

/* pq_pool.c, for pq_session.c */
int pool_poll_want(struct pq_session *s, int events) MUST_CHECK;
void pool_on_tick(uv_timer_t *tick);   /* Serves waiters; also from the loop's next turn. */
void pool_on_retry(uv_timer_t *retry); /* Ends what is lost, or connects again. */
void pool_maybe_gone(struct pq_pool *pool);
/* pq_session.c, for pq_pool.c */
void pool_op_begin(struct pq_session *s, enum op_kind kind, pq_reply_cb cb, void *arg);

#endif

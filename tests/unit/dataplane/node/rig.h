/* rig.h: a worker's parts on the test's own loop, between scripted providers and scripted clients.
 * One thread, so that every test is repeatable under any sanitizer; nothing waits but for events.
 */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_NODE_RIG_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_NODE_RIG_H

#include <uv.h>

#include "common/base/buf.h"
#include "common/net/listener.h"
#include "dataplane/conn.h"
#include "dataplane/state/snapshot.h"
#include "dataplane/telemetry/spool.h"
#include "telemetry.pb-c.h"
#include "tests/lib/fault.h"

#define RIG_KEY       "sk-sy-0123456789-abcdefghijklmnopqrstuvwxyzABCDEF"
#define RIG_PROVIDERS 2
#define RIG_TURNS_MAX 400000

/* What a provider does with one request; the last one stays in force. */
enum rig_then {
    RIG_KEEP,  /* Next request on the same connection. */
    RIG_CLOSE, /* Clean end. */
    RIG_RESET, /* Cut. */
    RIG_HOLD,  /* Nothing more but what rig_say says. */
};
struct rig_script {
    const char *reply; /* NULL: nothing at all. */
    size_t reply_len;  /* 0: strlen. */
    enum rig_then then;
    size_t piece; /* Bytes a write, a loop turn between them; 0: all at once. */
    bool at_head; /* Replies as soon as the request's head is there. */
    bool at_once; /* Replies to the first bytes, whatever they are. */
};

struct rig_provider {
    struct rig *rig;
    struct listener *listener;
    struct rig_script scripts[8];
    size_t script_count;
    size_t requests; /* Complete ones. */
    size_t replies;  /* Begun. */
    size_t connections;
    size_t received; /* Bytes of requests, whole or not. */
    bool deaf;       /* Connections to come are not read from. */
    size_t gone;     /* Connections that the node closed. */
    struct buf last; /* Last request, whole. */
    struct list peers;
};

struct budget_table;

/* An account with one budget of a day, whose id is the account's plus 1000. */
#define RIG_ACCOUNTS 32
struct rig_account {
    uint64_t id;
    unsigned kind; /* enum account_kind */
    const char *name;
};

struct rig {
    uv_loop_t loop;
    struct budget_table *budgets; /* If there are accounts. */
    /* Called by rig_stop for each record, oldest first; NULL: none. */
    void (*on_row)(const Steelyard__Telemetry__V1__Decision *row, void *arg);
    void (*on_vote)(const Steelyard__Telemetry__V1__Feedback *vote, void *arg);
    void *on_row_arg; /* Of both. */
    uv_timer_t tick;
    uv_timer_t watchdog;
    bool timed_out;
    char dir[64];
    struct request_shared shared;
    struct request_env env;
    struct conn_pool conns;
    struct listener *listener;
    struct snapshot_cell *cell;
    struct snapshot_reader *reader;
    struct spool_set *spools;
    struct spool_options spool; /* Theirs. */
    struct metrics *metrics;
    struct endpoint_registry *registry;
    struct rig_provider providers[RIG_PROVIDERS];
};

/* Policy "best" of the route "auto" from version 1 to version 2. */
struct rig_rollout {
    uint64_t id; /* 0: there is a policy, and no rollout of it. */
    uint32_t state, stage, pct_bp;
    bool closed;
    bool one_artifact; /* Both versions have that of the stable one. */
    /* Filled by rig_publish, for replay; rig_rollout_deinit. */
    struct buf artifacts[2], params[2]; /* Stable, candidate. */
};
void rig_rollout_deinit(struct rig_rollout *rollout);

/* Of a stream that is cut everywhere, with a node for each cut: under TSan, which sees the same
 * threads in each, a few will do. */
#ifdef STEELYARD_TSAN
#define RIG_CUT_STEP 29
#else
#define RIG_CUT_STEP 1
#endif

struct rig_options {
    struct rig_rollout *rollout; /* NULL: the route has no policy. */
    uint32_t first_content_ms;   /* 0: the defaults. */
    uint32_t head_ms;
    uint32_t idle_ms;
    uint32_t route_timeout_ms;
    bool abort_stops_billing;
    bool without_snapshot;
    uint32_t stall_ms;
    uint32_t head_timeout_ms; /* Of clients. */
    uint64_t body_max_bytes;
    uint64_t memory_max_bytes; /* Of the process, for tables sized by it; 0: no bound. */
    uint64_t ring_bytes;       /* Of the spool: what fits if its writer is not run; 0: 256 KiB. */
    const char *key;           /* NULL: RIG_KEY. "": none. */
    uint64_t generation;       /* 0: 1. */
    /* What the key may do; NULL and 0: all. */
    char *key_endpoint;
    char *key_model;
    int64_t key_max_cost;
    uint64_t
        tier_above; /* 0: the price has no tier; else above it all costs three times as much. */
    uint64_t key_rpm, key_tpm, key_concurrency;
    const char *key_before;             /* The secret before the last rotation, for an hour. */
    const struct rig_account *accounts; /* The key's path: those of kinds org, team and key. */
    size_t account_count;
    const char *key_tag;     /* Of the key; NULL: none. */
    const char *small_there; /* The small model's name there; NULL: "up-small". */
    uint32_t max_output;     /* Of both models; 0: unknown. */
    int64_t write_price;     /* The small one's for what is written to a cache; 0: unknown. */
    int64_t large_price;     /* nano-USD a million tokens; 0: none is known. */
    const char *types[RIG_PROVIDERS]; /* Of the providers; NULL: "openai". */
    const char *version;              /* Of both providers' APIs; NULL: none is given. */
    const char *secret;               /* Theirs; NULL: "upstream-secret". */
    int credential;                   /* What it is (control.proto, Credential). */
    const char *region;               /* Of both; NULL: none. */
    struct keeper *keeper;            /* Of credentials that are fetched; NULL: none. */
    bool reject_unsupported;
    bool tls_there;    /* The first one is expected to speak TLS, which it does not. */
    bool public_only;  /* The first one may not have a private address, which it has. */
    bool fixed_header; /* Both get "x-title: ours" from their configuration. */
    /* Of control.proto: may change it. NULL: nothing. */
    void (*on_route)(void *route);
    void (*on_key)(void *key);
    void (*on_catalogue)(void *catalogue);
    void (*on_prices)(void *prices);
    unsigned way;                                               /* enum way, of the route "auto". */
    uint32_t weights[RIG_PROVIDERS], priorities[RIG_PROVIDERS]; /* All 0: none are given. */
    size_t candidates;                                          /* Of the route; 0: both. */
    const char *fallbacks[4]; /* By enum snapshot_fallback: one each; NULL: none. */
    uint32_t small_window;    /* Of the small model; 0: as of the large one. */
    bool small_twice;         /* The other provider has the small model, too, as "up-twin". */
    bool without_budgets;     /* The node keeps no table although there are accounts. */
};
/* The control plane hands out so much of a budget, in all. */
void rig_grant(struct rig *r, uint64_t budget, int64_t granted, int64_t limit);
void rig_exhaust(struct rig *r, uint64_t budget, int64_t granted); /* So much, and no more. */
/* So much, and others have to give back first. */
void rig_recall(struct rig *r, uint64_t budget, int64_t granted, int64_t limit);
void rig_contact(struct rig *r); /* It has answered the last report. */
/* What this node has of it: free, and spent or reserved. */
int64_t rig_free(struct rig *r, uint64_t budget);

void rig_start(struct rig *r, const struct rig_options *options);   /* NULL: all defaults. */
void rig_publish(struct rig *r, const struct rig_options *options); /* Another snapshot. */
/* Runs the group once for each transport: its name is the group's. */
int rig_run_for_each_transport(const struct CMUnitTest *tests, size_t count);
void rig_stop(struct rig *r);
void rig_script(struct rig *r, size_t provider, struct rig_script script); /* Appends. */
void rig_hear(struct rig *r, size_t provider);                             /* It is deaf no more. */
void rig_cut(struct rig *r, size_t provider); /* Closes all its connections. */
/* Of the request that it holds; nothing if that was given up meanwhile. last: it is answered. */
void rig_say(struct rig *r, size_t provider, const char *bytes, bool last);

/* How long the first deployment of this provider is still left alone, ms; 0: not at all. */
uint64_t rig_cooldown_ms(struct rig *r, size_t provider);
/* It is as good as new, and no attempt follows one that fails: for many failures in one rig. */
void rig_forgive(struct rig *r, size_t provider);

/* Turns the loop until the condition holds; fails the test when that takes far too long. */
#define rig_until(r, condition)                                                                    \
    do {                                                                                           \
        while (!(condition) && rig_turn(r)) {                                                      \
        }                                                                                          \
        assert_true(condition);                                                                    \
    } while (0)
bool rig_turn(struct rig *r); /* false: the watchdog barked. */

struct rig_client {
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct buf in;
    bool ended;  /* EOF. */
    bool broken; /* Reset. */
    bool closed;
    bool reading;
};
void rig_connect(struct rig *r, struct rig_client *c);
void rig_send(struct rig_client *c, const char *bytes, size_t len);
void rig_read_stop(struct rig_client *c);
void rig_read_start(struct rig_client *c);
void rig_disconnect(struct rig *r, struct rig_client *c);

/* A whole answer at the front of c->in: chunked, or with a length. */
struct rig_answer {
    unsigned status;
    struct str head;
    struct buf body; /* Decoded. */
    bool complete;   /* By length or last chunk. */
    size_t bytes;    /* Of in, when complete. */
};
void rig_answer_read(const struct rig_client *c, struct rig_answer *out); /* buf_deinit the body. */
bool rig_answered(const struct rig_client *c);                     /* A whole answer is there. */
bool rig_has_header(const struct rig_answer *a, const char *line); /* "name: value" */

/* POST /v1/chat/completions with the key and this body. */
void rig_ask(struct rig_client *c, const char *body);
/* Connects, asks, waits for a whole answer (or the end), reads it, disconnects. */
void rig_exchange(struct rig *r, const char *body, struct rig_answer *out);
void rig_exchange_raw(struct rig *r, const char *request, size_t len, struct rig_answer *out);

/* Records in the spool so far (outcomes, not intents). */
uint64_t rig_records(struct rig *r);

#endif

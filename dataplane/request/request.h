/* request.h: one request from its head to its record. A request walks a table of steps (steps.h);
 * which table is said by its path (paths.h). A step returns NEXT, WAIT (a callback will re-enter
 * the driver) or FAIL; a failure notes its answer and goes on at `account`, so that every request
 * is settled, reported and answered exactly once.
 *
 *   HEAD -> BODY (waits in `receive`) -> RUNNING -> DONE
 *
 * The outcome record is on disk before the terminal bytes go to the client, so whole answers, and
 * the end of streams, are sent by the last step (`report`).
 *
 * The client is reached through struct client_ops and everything a worker owns through struct
 * request_env: this folder knows neither sockets nor threads. All on the worker's thread. */
#ifndef STEELYARD_DATAPLANE_REQUEST_REQUEST_H
#define STEELYARD_DATAPLANE_REQUEST_REQUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/base/round.h"
#include "common/base/slab.h"
#include "common/crypto/uuid.h"
#include "common/net/http1.h"
#include "common/route/features.h"
#include "common/route/features_memo.h"
#include "common/route/policy.h"
#include "dataplane/llm/call.h"
#include "dataplane/llm/openai_shape.h"
#include "dataplane/llm/provider.h"
#include "dataplane/llm/reading_memory.h"
#include "dataplane/request/access.h"
#include "dataplane/request/charge_plan.h"
#include "dataplane/request/fault.h"
#include "dataplane/request/meters.h"
#include "dataplane/request/queue.h"
#include "dataplane/request/steering.h"
#include "dataplane/request/wishes.h"
#include "dataplane/telemetry/spool.h"
#include "dataplane/upstream/retry.h"
#include "dataplane/upstream/view.h"

struct generations;
struct hedge;
struct idempotency_answer;
struct idempotency_entry;
struct idempotency_table;
struct recall;
struct tr_exchange;

#define REQUEST_ARENA_BYTES_MAX                                                                    \
    (48U << 20)                 /* Of one request: what it parsed and what it built.               \
                                 */
#define REQUEST_ID_BYTES     48 /* Of an id that is kept in place; a longer one is in the arena. */
#define REQUEST_ATTEMPTS_MAX 3  /* RELIABILITY F16: two retries. */
#define REQUEST_TRIED_MAX    64 /* Deployments one request looks at. */
#define REQUEST_WARNINGS_MAX 16
#define REQUEST_PIECES_MAX   8
#define ANSWER_USD_BYTES     32 /* Of a cost as text. */

/* How the client's connection goes on. */
enum client_end {
    CLIENT_KEEP,  /* The next request may come. */
    CLIENT_CLOSE, /* Everything was sent; close cleanly. */
    CLIENT_CUT,   /* Close so that the client sees a broken answer. */
};

struct limits_hold;
struct limits_table;

struct client_ops {
    /* Bytes not taken by the socket at once are copied. ERR_CLOSED: the client is gone. */
    int (*send)(void *client, const struct str *pieces, size_t count);
    size_t (*queued)(const void *client); /* Bytes not yet taken by the kernel. */
    /* Head and body of the request are not looked at any more (after request_body only): their
     * memory is gone when this returns. At most once. */
    void (*release_input)(void *client);
    /* The request is over and its memory gone; last call, exactly once. */
    void (*done)(void *client, enum client_end end);
};

struct request_settings { /* Zero takes no default: see request_settings_init. */
    uint64_t body_max_bytes;
    uint32_t requests_max; /* At once on the node; 0: as many as there are connections. */
    uint32_t stream_head_after_ms;
    uint32_t keepalive_ms;
    uint32_t total_ms; /* Of a request whose route has no timeout. */
    uint32_t unseen_ms;
    uint32_t unseen_max;   /* Reads for usage after the client left; on the node. */
    uint32_t unseen_bytes; /* Of one such read. */
    uint32_t buffer_mark_bytes;
    uint32_t feedback_rate;       /* Votes a second of one key on one worker. */
    uint32_t pressure_from_q16;   /* Part of a budget from which on cost weighs more ... */
    uint32_t pressure_factor;     /* ... up to so many times, where nothing is left; 1: never. */
    uint64_t forward_early_bytes; /* Above it a body may go up while it comes; 0: none does. */
    bool access_log;
    bool durability_host;
};
void request_settings_init(struct request_settings *s);

/* What all workers share; the only members that change are atomics. */
struct request_shared {
    struct request_settings settings;
    struct budget_table *budgets; /* Of the node; NULL: requests that need it are refused. */
    _Atomic bool draining;
    _Atomic bool ending;      /* Drain time is over: running streams get their error. */
    _Atomic uint32_t unseen;  /* Reads for usage under way. */
    _Atomic uint32_t counted; /* Requests under way, while requests_max is not 0. */
    int64_t started_s;
    /* Best-effort memory of the node; each slot is overwritten by what comes. */
    _Atomic uint64_t *sticky;        /* Upper half: conversation; lower half: model. */
    _Atomic uint64_t *places;        /* Of sessions under affinity (session.c); as many. */
    _Atomic uint64_t *votes;         /* Decisions that have had their feedback. */
    struct retry_budget retries;     /* All workers': F16, F17. */
    _Atomic uint32_t lanes;          /* Of it that are given out. */
    struct generations *generations; /* Of the last requests (generations.h). */
    struct recall *recall;           /* Of the last answers (recall.h). */
    struct idempotency_table *idempotency;
    struct limits_table *limits; /* Borrowed; NULL: nothing has a rate. */
};
#define REQUEST_STICKY_SLOTS 16384U
#define REQUEST_VOTES_SLOTS  65536U
#define REQUEST_RATE_SLOTS   256U
/* settings are the defaults; memory_max: bytes that the process may use. ERR_NOMEM. */
int request_shared_init(struct request_shared *shared, uint64_t memory_max) MUST_CHECK;
void request_shared_deinit(struct request_shared *shared);

/* The series of requests that are alike (tally.h); found when first counted in. */
#define TALLY_TOKENS 5
struct tally_key {
    const void *path;
    const void *route;
    const void *deployment; /* NULL: none served. */
    uint64_t generation;    /* Of the snapshot. */
    uint64_t rest;          /* Its era << 32 | status << 16 | TALLY_* bits. */
};
enum { TALLY_USED = 1, TALLY_DECIDED = 2, TALLY_STREAMED = 4 };
struct tally_kind {
    struct tally_key key;
    struct metrics_series *requests, *duration, *overhead, *ttft, *cost, *attempts_ok;
    struct metrics_series *tokens[TALLY_TOKENS];
    struct access_common access;
};
#define REQUEST_KINDS 64U
/* The series of decisions that are alike. */
struct tally_choice {
    bool routed; /* Not pinned. */
    uint32_t era;
    uint64_t generation;
    const void *policy;
    const void *model;
    struct metrics_series *series; /* NULL: free. */
};
#define REQUEST_CHOICES 32U

/* What heads of answers say of the same choice (answer.c). */
struct answer_choice_key { /* No padding: compared as bytes. */
    const void *deployment, *route, *policy;
    uint64_t generation;
    uint32_t era;
    uint32_t attempts;
};
struct answer_choice {
    struct answer_choice_key key;
    size_t len; /* 0: none. */
    char text[216];
};
#define REQUEST_TOLD 32U

/* Requests that go on together (driver.c). More than so many, and what each needs is no longer in
 * the caches when it is its turn again. */
#define COHORT_MAX 16U
struct cohort {
    uv_check_t turn;              /* After the events of a turn of the loop. */
    void (*bring)(void *clients); /* Hands over what they sent in the turn. NULL: nothing waits. */
    void (*send)(void *clients);  /* Sends what was posted to them. NULL: nothing is. */
    void *clients;
    bool open;    /* Who may go on is gathered. */
    bool running; /* They are on the stack: who may go on now does so at once. */
    uint32_t count;
    struct request *members[COHORT_MAX];
};

/* One per worker. */
struct request_env {
    struct request_shared *shared;
    uv_loop_t *loop;
    struct upstream upstream;
    struct spool *spool;
    struct meters meters;
    uint32_t lane;      /* Of shared->retries. */
    struct queue queue; /* Of requests whose deployments have enough to do. */
    struct arena_pool chunks;
    struct slab holds;        /* Of requests with limits. */
    struct slab slab;         /* Of requests ... */
    struct freelist requests; /* ... and those kept with their buffers. */
    struct freelist works;
    struct freelist scans;
    struct freelist charges;
    struct freelist hedges;
    struct list hedge_waits; /* Requests whose first attempt is given some time; the first is due */
    uint64_t hedge_due_ms;   /* then, or later. 0: none waits. */
    uv_timer_t hedge_timer;
    struct tally_kind kinds[REQUEST_KINDS];
    struct tally_choice choices[REQUEST_CHOICES];
    struct list active; /* Its front is looked at next by the tick. */
    uint32_t active_count;
    struct round round;
    bool shedding;      /* F24: memory is short; nothing new is admitted. Set from above. */
    uint32_t mark_most; /* What a stream's buffer mark is at most now (F23). Set from above. */
    struct cohort cohort;
    struct list polled; /* Waiting for a time or for stable storage; run every few ms. */
    uv_timer_t poll_timer;
    struct buf head; /* Scratch of one call. */
    struct buf out;
    struct openai_shapes shapes; /* Of events. */
    struct openai_shapes reply_shapes;
    struct prints prints;
    struct provider_out relayed; /* Scratch of one read of a stream. */
    struct json json;
    struct reading_memory readings;       /* Of callers' bodies. */
    struct pattern_room *patterns;        /* NULL until a condition needs it. */
    struct features_memo *features;       /* NULL: out of memory, then nothing is remembered. */
    const struct request_path *last_path; /* NULL: none. */
    struct str last_path_text;            /* Static; the whole path as sent. */
    uint32_t last_route;                  /* In snapshot.routes, whatever lies there by now. */
    struct request *begun; /* By the read that is being worked on; NULL: none. Set NULL by conn. */
    bool wall_known;
    uint64_t wall_read_ns;
    int64_t wall_ahead_us;           /* Of the monotonic clock. */
    char date[6 + HTTP1_DATE_BYTES]; /* Behind its field's name. */
    int64_t date_s;
    struct answer_choice told[REQUEST_TOLD];
    struct answer_cost { /* The last one written. */
        int64_t nanousd;
        size_t len; /* 0: none. */
        char text[ANSWER_USD_BYTES];
    } cost;
    uint64_t served;
    struct keyring_memory keys;
    struct vote_rate {
        int64_t second;
        uint32_t count;
    } vote_rates[REQUEST_RATE_SLOTS]; /* By key. */
};
/* upstream is the caller's to init. */
void request_env_init(struct request_env *env, struct request_shared *shared, uv_loop_t *loop,
                      struct spool *spool, struct metrics_shard *shard);
/* Gives back what is kept beyond what is in use now. */
void request_env_trim(struct request_env *env);
/* No request is active any more; close the loop's turn, then deinit. */
void request_env_close(struct request_env *env);
void request_env_deinit(struct request_env *env); /* Upstream was closed. */

enum step_result { STEP_NEXT, STEP_WAIT, STEP_FAIL };
struct request;
typedef enum step_result (*step_fn)(struct request *r);

/* Where the stream to the client stands. */
enum stream_state {
    STREAM_NONE,      /* Whole answer, or no head sent yet. */
    STREAM_HEAD_SENT, /* 200 and comments only: the status is committed, the content is not. */
    STREAM_COMMITTED, /* Content was sent: there is no second attempt. */
};

/* One try, from start to on_done. */
struct attempt {
    struct transport_call *call;  /* NULL: none under way. */
    struct tr_exchange *exchange; /* Owned; NULL: the provider is asked in the caller's dialect. */
    const struct upstream_target *target;
    const struct snapshot_model *model;
    const struct provider_adapter *adapter; /* Of the caller's dialect. */
    struct record_attempt *record;          /* In request.attempts. */
    uint64_t start_ns;
    uint64_t content_ns; /* First content; 0: none yet. */
    uint64_t last_ms;    /* Last event. */
    unsigned status;
    bool started;
    bool restarted; /* Once, after a kept connection turned out dead. */
    bool streaming;
    bool cancelled; /* We asked it to end. */
    bool paused;
    bool complete; /* The reply said everything it had to. */
    bool unseen;   /* Nothing of it goes to a client: he left, or another serves. */
    bool read_on;  /* It is read all the same, for its usage (shared->unseen). */
    bool unsaid;   /* Not started: r->work->refusal says what has no words there. */
    bool wait_known;
    bool busy;                      /* It said that it has too much to do. */
    enum snapshot_fallback due : 8; /* After it; ANY: no list in particular. */
    enum record_reason reason : 8;  /* Set before cancelling; OK otherwise. */
    uint32_t sequence;              /* Of the stream's next event, in the responses dialect. */
    uint32_t wait_ms;               /* Its Retry-After; not known: until its limits come back. */
    uint32_t unseen_left;           /* Bytes that may yet be read unseen. */
    /* Zeroed up to here by the next one. */
    struct provider_reply reply;
    struct buf body; /* Of a whole reply or an error. */
};

/* What a provider's head says beside its reply; of the attempt at hand. */
struct attempt_words {
    struct str retry_after; /* Passed through from a provider's 4xx. */
    struct str fields;      /* Whole header lines, each after "\r\n". */
    struct str error_name;  /* Of an error reply that says it in its head. */
    int8_t retry;           /* Its x-should-retry; -1: none. */
};

/* A request that may get a second attempt beside the first (hedge.h). */
struct hedge_wait {
    struct list link; /* env->hedge_waits */
    struct request *request;
    uint64_t at_ms;      /* 0: in no list. */
    const char *refused; /* Why none has begun when it was due; static. */
};

/* A body that goes up while it comes (early.h). */
#define EARLY_PIECES_MAX (3 + 5) /* While it comes, and the rest. */
struct early_body {
    struct str pieces[EARLY_PIECES_MAX]; /* As they go up; the last may become longer. */
    size_t count;
    size_t at; /* What has been sent ends here ... */
    size_t offset;
    size_t end;   /* Of the caller's body, as far as the pieces go. */
    bool growing; /* The running attempt's. */
    bool whole;   /* The rest is known: what the provider has can be a request. */
};

/* What the decision and the attempts need: borrowed from env when the body is there, given back
 * with the request, or once nothing of it is needed any more. The large arrays are written before
 * they are read. */
struct request_work {
    struct steering steering;
    struct wishes *wishes;   /* In the arena; NULL: none, as nearly always. */
    struct str pin_provider; /* "provider/model": only these deployments ... */
    struct str pin_name;     /* ... or those that are called so. */
    struct str session_text; /* x-steelyard-session of the answer; len 0: none. */
    struct attempt_words words;
    struct hedge_wait hedge_wait;
    struct hedge *hedge;         /* The second attempt's; NULL: there was none, as nearly always. */
    uint8_t own_warnings;        /* Those before an attempt's. */
    struct call_refusal refusal; /* Of an attempt that was not started. */
    uint64_t conversation;       /* Keyed hash; 0: none. */
    uint64_t session_model;      /* Hash of the model that served it last; 0: unknown. */
    uint32_t session_deployment; /* Of the deployment, under affinity; 0: unknown. */
    uint64_t text_hash;          /* Keyed, of the whole dialogue: the same question has the same. */
    uint64_t failed_mask;        /* Candidates with nothing left to try. */
    uint32_t candidate_count;
    uint32_t tried_count;
    const struct upstream_target *next_target; /* Picked, not yet started ... */
    struct picked picked;                      /* ... and how. */
    struct early_body early;
    struct policy_request policy_request;
    bool in_rollout;
    bool required;    /* Something is (required.h). */
    bool by_target;   /* `way` is the order of a target. */
    bool queued;      /* Waits for room in env->queue. */
    bool ignore_here; /* As ignore_breakers, of the deployments of the picked model alone. */
    uint64_t room_until_ms; /* Waits for room in the spool until then; 0: it does not. */
    /* The list that is due after what went wrong last; ANY: none. */
    enum snapshot_fallback due;
    /* Zeroed up to here. */
    struct way_input way;          /* If policy_request.way is it. */
    struct record_rollout rollout; /* If in_rollout. */
    struct call call;
    struct policy_decision decision;
    struct features features;
    struct policy_candidate candidates[POLICY_CANDIDATES_MAX];
    struct record_candidate candidate_names[POLICY_CANDIDATES_MAX];
    const struct snapshot_model *candidate_models[POLICY_CANDIDATES_MAX];
    const struct snapshot_price *candidate_prices[POLICY_CANDIDATES_MAX]; /* NULL: unknown. */
    struct charge_plan plan;
    uint32_t tried[REQUEST_TRIED_MAX]; /* Deployment ordinals. */
    const char *warnings[REQUEST_WARNINGS_MAX];
    struct record_attempt attempts[REQUEST_ATTEMPTS_MAX];
};

struct request {
    struct list link; /* env->active */
    struct list poll_link;
    struct request_env *env;
    const struct client_ops *client;
    void *client_arg;
    const struct http1_head *head; /* Borrowed; NULL once let go. */
    const struct request_path *path;
    struct charge *charge;            /* NULL: no budget is charged. */
    struct idempotency_entry *repeat; /* Held (idempotency.h); NULL: it said no key. */
    struct request_work *work;        /* NULL until the body is there, and once let go. */
    unsigned step;
    bool client_gone;
    bool in_driver;
    bool wake; /* Re-entered from below: run again. */
    bool failed;
    bool refused; /* Failed at the head; the small body is read first, to keep the connection. */
    bool body_wanted;
    bool body_ready;
    bool scan_given_up;
    bool early;          /* Runs, or ran, before its body was whole (early.h). */
    bool early_declined; /* It never will. */
    bool early_keep;     /* keep_alive once the body is whole. */
    bool keep_alive;
    struct arena arena;
    struct str body;
    struct request_scan *scan; /* Of a body that arrives in parts; NULL: none. */

    uint64_t start_ns;
    int64_t start_us;
    uint64_t deadline_ms;
    uint64_t overhead_ns;
    uint64_t now_ns; /* Read once when the driver is entered, and before the record. */

    struct str request_id;
    char id_space[REQUEST_ID_BYTES];
    struct str path_text; /* As sent; in the arena unless path_is_static. */
    bool path_is_static;
    uint8_t warning_count;
    bool recorded;
    bool cost_unknown;
    bool repeated; /* It is told again what `repeat` holds. */
    enum http1_method method : 8;
    enum dialect dialect : 8; /* The caller's. */
    uint8_t minor_version;    /* Of the request; head may be gone. */
    struct uuid id;
    char id_text[UUID_TEXT_BYTES];

    struct upstream_view *view;
    const struct snapshot *snapshot;
    const struct identity *identity;
    const struct snapshot_route *route;   /* NULL: pinned. */
    const struct snapshot_policy *policy; /* NULL: none. */
    uint32_t flags;                       /* RECORD_FLAG_* */
    bool decided;
    bool stream_broken;
    bool gathered; /* In env->cohort. */
    bool plenty;   /* What others of the cohort take changes nothing for it. */
    struct spool_intent *intent;
    spool_position position;

    /* Of the call; noted when an attempt opens. */
    uint32_t tokens_in; /* Estimate. */
    bool wants_stream;
    bool wants_usage; /* The usage event of the stream. */
    bool wants_cost;  /* What it cost, in there. */
    bool wants_price; /* The same as OpenRouter says it: usage.cost. */

    struct attempt attempt;
    struct limits_hold *limits; /* NULL: nothing on its path is limited. */
    uint32_t attempt_count;
    unsigned status;                 /* What the client got or gets. */
    struct record_attempt *attempts; /* In work, or row. */
    uint32_t at_position;            /* Candidate that serves, or POLICY_NONE. */
    uint32_t wait_ms;                /* Smallest known wait of what was tried. */
    bool wait_known;
    bool ignore_breakers; /* More than half are out: all are used (F14). */
    bool counted;         /* Among the node's. */
    bool committed;       /* A reply that goes to the client is there. */
    uint64_t retry_at_ms; /* Backoff; 0: none. */
    uint32_t answer_hash; /* Of the id in the answer; 0: none was seen. */

    enum stream_state stream;
    enum fault fault;
    enum record_status outcome;
    uint64_t sent_ms; /* Last byte to the client. */
    uint64_t ttft_ns; /* First content byte to the client, from start; 0: none. */

    struct fault_detail detail;
    struct str content_type;
    size_t piece_count;
    union {
        struct str pieces[REQUEST_PIECES_MAX]; /* Of a whole answer. */
        struct {                               /* Of a stream without its work. */
            struct record_attempt row;
            char provider_id[REQUEST_ID_BYTES];
        };
    };
    int64_t cost_nanousd;
};

_Static_assert(sizeof(struct request) <= 1152, "what a live stream costs");

/* The head was read: begins a request, authenticates it and answers at once if that is refused.
 * head and what it points to stay until done(). NULL: at capacity, or out of memory; nothing was
 * sent. */
struct request *request_begin(struct request_env *env, const struct client_ops *ops, void *client,
                              const struct http1_head *head);
/* After begin, unless done() came: whether the body is awaited (else it is answered already). */
bool request_wants_body(const struct request *r);
/* Part of the body is there, and more is to come: what there is of it; it may move. true: it is
 * wrong as it stands, whatever follows. */
bool request_body_part(struct request *r, struct str so_far);
/* After that: answered by what there is, which stays until done(); the rest is never read. */
void request_body_wrong(struct request *r, struct str so_far);
/* Asked after a part that is not wrong: would it go up now if head and body stayed in place? */
bool request_may_forward(struct request *r);
/* From now on they do, until done(); parts and body are handed on as before. It may end at once. */
void request_forward(struct request *r, struct str so_far);
/* The whole body; stays until done(). */
void request_body(struct request *r, struct str body);
/* The body could not be read. */
void request_reject(struct request *r, enum fault fault);
void request_gone(struct request *r);     /* The client left. */
void request_writable(struct request *r); /* What was queued has gone below half of the mark. */
/* Every tenth of a second or so, for everything that is due: each request is looked at about once a
 * second, of a few each time. */
void request_env_tick(struct request_env *env);

/* ---- for steps ---- */
uint64_t request_now_ms(void);
enum step_result request_fail(struct request *r, enum fault fault); /* Notes it; STEP_FAIL. */
void request_warn(struct request *r, const char *code);             /* Static text. */
enum client_end request_client_end(const struct request *r);        /* Once all was sent. */
/* From a step: what was put into the answer is all; only accounting and the report follow. */
enum step_result request_answered(struct request *r);
void request_run(struct request *r);                     /* From callbacks ... */
void request_run_at(struct request *r, uint64_t now_ns); /* ... that know the time already. */
/* As request_run_at, or a little later: with what else may go on in this turn of the loop. */
void request_go_on(struct request *r, uint64_t now_ns);
int64_t request_wall_us(const struct request *r);   /* At now_ns. */
int64_t request_steady_us(const struct request *r); /* The same for budgets: clock.h. */
void request_poll(struct request *r);               /* Run again in a few ms; once. */

#endif

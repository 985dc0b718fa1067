/* call.h: one admin request on its way. Private to controlplane/admin. */
#ifndef STEELYARD_CONTROLPLANE_ADMIN_CALL_H
#define STEELYARD_CONTROLPLANE_ADMIN_CALL_H

#include <jansson.h>

#include "common/json/json_writer.h"
#include "controlplane/admin/admin.h"
#include "controlplane/admin/spread.h"
#include "controlplane/replicas/replicas.h"

#define CALL_PARAM_BYTES 128U
#define CALL_LIMIT_MAX   1000

enum admin_dialect { DIALECT_STEELYARD, DIALECT_LITELLM }; /* How errors look. */

/* Who asks. The operator key of the state directory is an admin without bounds; every other
 * credential is an api_key row with a role, and never gives more than that row has. */
struct admin_caller {
    enum admin_role role;
    int64_t id;              /* Of the api_key row; 0: the operator key. */
    int64_t org, team, user; /* Accounts it is bound to; 0: not bound. */
    char name[136];          /* For the audit log: "operator", or "key:" and the public id. */
};
static inline bool caller_is_bound(const struct admin_caller *c)
{
    return c->org != 0 || c->team != 0 || c->user != 0;
}

struct admin_route;

struct admin_call {
    struct admin *admin;
    const struct admin_config *config;
    const struct admin_route *route;
    struct httpd_request *req;
    struct admin_caller caller;
    bool is_allowed;                 /* The caller may use the route. */
    struct sha256 given;             /* Digest of the credential, until its row is found. */
    char param[2][CALL_PARAM_BYTES]; /* {…} of the pattern, in order. */
    json_t *body;                    /* Of a POST; an object, maybe empty. */
    const struct publish_set *set;   /* As it was when the request came; may be NULL. */
    size_t connected_nodes;
    uint64_t label_maturity_ms;
    unsigned status;      /* Of the answer; 0: 200. */
    struct buf out;       /* The answer's JSON. */
    struct json_writer w; /* Writes into out. */
    json_t *reply;        /* Of a change, whole but for who has it; NULL: the answer is in out. */
    bool publish_changed; /* finish looks at the head. */
    uint64_t generation;  /* That a change made; 0: none. */
    uint64_t wait_ms;     /* For the nodes to have it, at most. */
    struct spread_wait wait;
    union { /* What run leaves for finish. */
        struct train_request train;
        struct abort_wish abort;
        struct {
            bool ok;
            int64_t schema, decisions, last_hour, feedback, config_age_s;
            struct buf policies;         /* Lines, without the acked counts. */
            struct replicas_node *nodes; /* That any replica knows. */
            size_t node_count;
            struct buf replicas, roles; /* JSON arrays. */
        } status_facts;
        struct {
            char job[UUID_TEXT_BYTES];
        } job;
    } state;
};

/* prepare: on the loop, before; an error answers. run: on a worker with a connection (NULL: none is
 * needed); writes w. finish: on the loop, after, with run's result; may change it. */
typedef int (*call_prepare_cb)(struct admin_call *call, struct err *err);
typedef int (*call_run_cb)(struct admin_call *call, struct pq_conn *c, struct err *err);
typedef int (*call_finish_cb)(struct admin_call *call, int status, struct err *err);

struct admin_route {
    const char *method;
    const char *prefix;   /* "/api/v1", or "". */
    const char *pattern;  /* Below it. */
    enum admin_role role; /* The least that may call it. */
    bool scoped;  /* Answers a caller that is bound to an account for that account alone; what is
                   * not scoped refuses such callers. */
    bool changes; /* Needs the fence; body is read. */
    const char *const *fields; /* Of the body, NULL-terminated; others are refused. */
    enum admin_dialect dialect;
    call_prepare_cb prepare;
    call_run_cb run;
    call_finish_cb finish;
};

/* A query parameter, percent-decoded; false: not given. ERR_INVALID through *io_rc. */
bool call_query(const struct admin_call *call, const char *name, char *out, size_t out_bytes,
                int *io_rc);
int call_limit(const struct admin_call *call, int64_t *out_limit, struct err *err) MUST_CHECK;
/* "2026-11-21T00:00:00Z", "2026-11-21" or an age like "7d". */
int call_time(struct str text, int64_t *out_us) MUST_CHECK;
int call_query_time(const struct admin_call *call, const char *name, bool *out_given,
                    int64_t *out_us, struct err *err) MUST_CHECK;
/* What bounds a page of a list: `limit`, and `since` and `until` where they were given; where not,
 * since_us and until_us stay. */
struct call_page {
    int64_t limit;
    bool has_since, has_until;
    int64_t since_us, until_us;
};
int call_query_page(const struct admin_call *call, struct call_page *io_page,
                    struct err *err) MUST_CHECK;
/* A time, or null where none was given. */
void call_params_time(struct pq_params *p, bool given, int64_t us);
/* Two parameters: since and until, or null. */
void call_page_params(const struct call_page *page, struct pq_params *p);

/* Body fields. Unknown ones are refused by name (reliability row B28). */
int call_check_fields(const json_t *object, const char *const *known, struct err *err) MUST_CHECK;
/* NULL and rc 0: absent. */
int call_text(const json_t *object, const char *name, bool required, size_t max_bytes,
              const char **out_text, struct err *err) MUST_CHECK;
struct publish_actor call_actor(const struct admin_call *call);

/* Shared writers. */
void call_write_time(struct json_writer *w, const char *key, const struct pq_result *r, int row,
                     int column); /* null when NULL. */
void call_write_usd(struct json_writer *w, const char *key, int64_t nanousd);
void call_write_column(struct json_writer *w, const char *key, const struct pq_result *r, int row,
                       int column); /* Text or null. */
/* Q16 to ten-thousandths, rounded: for json_writer_fixed(…, 4). */
static inline int64_t call_q16(uint32_t q16)
{
    return ((int64_t)q16 * 10000 + 32768) / 65536;
}
void call_write_hex(struct json_writer *w, const char *key, const void *data, size_t len);
const struct publish_resource *call_resource(const struct admin_call *call, struct str key);

/* --- change.c: "wait" of the body, where the route takes it. */
int change_read_wait(struct admin_call *call, struct err *err) MUST_CHECK;

/* --- routes.c ---------------------------------------------------------------------------------
 */
extern const struct admin_route admin_routes[]; /* Ends with a NULL method. */

/* --- auth.c -----------------------------------------------------------------------------------
 */
/* A digest of the credential is taken; false: it cannot be one. *out_operator: it is the operator
 * key. Otherwise auth_find decides, on a worker. */
bool auth_read(struct admin_call *call, struct str header, bool *out_operator);
/* Fills call->caller from the row of the credential. ERR_UNAUTHENTICATED: unknown, wrong, disabled,
 * expired, or a key that calls models. */
int auth_find(struct admin_call *call, struct pq_conn *c, struct err *err);
/* ERR_DENIED unless the caller may use call->route. */
int auth_allow(const struct admin_call *call, struct err *err) MUST_CHECK;
const char *auth_role_name(enum admin_role role);

/* Handlers, one file per noun. */
int spend_list(struct admin_call *call, struct pq_conn *c, struct err *err);
int spend_checks(struct admin_call *call, struct pq_conn *c, struct err *err);
int spend_reconcile(struct admin_call *call, struct pq_conn *c, struct err *err);
int keys_create(struct admin_call *call, struct pq_conn *c, struct err *err);
int keys_list(struct admin_call *call, struct pq_conn *c, struct err *err);
int keys_show(struct admin_call *call, struct pq_conn *c, struct err *err);
int keys_update(struct admin_call *call, struct pq_conn *c, struct err *err);
int keys_rotate(struct admin_call *call, struct pq_conn *c, struct err *err);
int keys_disable(struct admin_call *call, struct pq_conn *c, struct err *err);
int keys_enable(struct admin_call *call, struct pq_conn *c, struct err *err);
int keys_expire(struct admin_call *call, struct pq_conn *c, struct err *err);
int keys_delete(struct admin_call *call, struct pq_conn *c, struct err *err);
int accounts_create(struct admin_call *call, struct pq_conn *c, struct err *err);
int accounts_list(struct admin_call *call, struct pq_conn *c, struct err *err);
int accounts_show(struct admin_call *call, struct pq_conn *c, struct err *err);
int accounts_update(struct admin_call *call, struct pq_conn *c, struct err *err);
int accounts_delete(struct admin_call *call, struct pq_conn *c, struct err *err);
int budgets_set(struct admin_call *call, struct pq_conn *c, struct err *err);
int budgets_list(struct admin_call *call, struct pq_conn *c, struct err *err);
int budgets_show(struct admin_call *call, struct pq_conn *c, struct err *err);
int budgets_update(struct admin_call *call, struct pq_conn *c, struct err *err);
int budgets_delete(struct admin_call *call, struct pq_conn *c, struct err *err);
int models_list(struct admin_call *call, struct err *err);
int models_fingerprints(struct admin_call *call, struct pq_conn *c, struct err *err);
int policies_drift(struct admin_call *call, struct pq_conn *c, struct err *err);
int catalog_list(struct admin_call *call, struct pq_conn *c, struct err *err);
int catalog_show(struct admin_call *call, struct pq_conn *c, struct err *err);
int catalog_lint_run(struct admin_call *call, struct pq_conn *c, struct err *err);
int catalog_import_run(struct admin_call *call, struct pq_conn *c, struct err *err);
int budgets_reprice(struct admin_call *call, struct pq_conn *c, struct err *err);
int status_run(struct admin_call *call, struct pq_conn *c, struct err *err);
int config_finish(struct admin_call *call, int status, struct err *err);
int status_finish(struct admin_call *call, int status, struct err *err);
int policies_list(struct admin_call *call, struct pq_conn *c, struct err *err);
int policies_show(struct admin_call *call, struct pq_conn *c, struct err *err);
int policies_frontier(struct admin_call *call, struct pq_conn *c, struct err *err);
int policies_calibrate(struct admin_call *call, struct pq_conn *c, struct err *err);
int policies_explain(struct admin_call *call, struct pq_conn *c, struct err *err);
int policies_promote(struct admin_call *call, struct pq_conn *c, struct err *err);
int policies_rollback(struct admin_call *call, struct pq_conn *c, struct err *err);
int train_run(struct admin_call *call, struct pq_conn *c, struct err *err);
int train_finish(struct admin_call *call, int status, struct err *err);
int rollouts_list(struct admin_call *call, struct pq_conn *c, struct err *err);
int rollouts_show(struct admin_call *call, struct pq_conn *c, struct err *err);
int rollouts_history(struct admin_call *call, struct pq_conn *c, struct err *err);
int rollouts_start(struct admin_call *call, struct pq_conn *c, struct err *err);
int rollouts_revert(struct admin_call *call, struct pq_conn *c, struct err *err);
int rollouts_override(struct admin_call *call, struct pq_conn *c, struct err *err);
int rollouts_override_end(struct admin_call *call, struct pq_conn *c, struct err *err);
int rollouts_pause(struct admin_call *call, struct pq_conn *c, struct err *err);
int rollouts_resume(struct admin_call *call, struct pq_conn *c, struct err *err);
int rollouts_advance(struct admin_call *call, struct pq_conn *c, struct err *err);
int rollouts_abort_prepare(struct admin_call *call, struct err *err);
int rollouts_abort(struct admin_call *call, struct pq_conn *c, struct err *err);
int rollouts_abort_finish(struct admin_call *call, int status, struct err *err);
int rollouts_freeze(struct admin_call *call, struct pq_conn *c, struct err *err);
int rollouts_unfreeze(struct admin_call *call, struct pq_conn *c, struct err *err);
int jobs_show(struct admin_call *call, struct pq_conn *c, struct err *err);
int decisions_list(struct admin_call *call, struct pq_conn *c, struct err *err);
int decisions_show(struct admin_call *call, struct pq_conn *c, struct err *err);
int decisions_why(struct admin_call *call, struct pq_conn *c, struct err *err);
int decisions_replay(struct admin_call *call, struct pq_conn *c, struct err *err);
int report_run(struct admin_call *call, struct pq_conn *c, struct err *err);
int decisions_export(struct admin_call *call, struct pq_conn *c, struct err *err);
int audit_request(struct admin_call *call, struct pq_conn *c, struct err *err);
int audit_key(struct admin_call *call, struct pq_conn *c, struct err *err);
int audit_off_greedy(struct admin_call *call, struct pq_conn *c, struct err *err);
int audit_served_elsewhere(struct admin_call *call, struct pq_conn *c, struct err *err);
int audit_spend(struct admin_call *call, struct pq_conn *c, struct err *err);
int audit_rollout(struct admin_call *call, struct pq_conn *c, struct err *err);
int audit_list(struct admin_call *call, struct pq_conn *c, struct err *err);

#endif

/* The table of routes: who may call what, and which fields a body may have. The matrix in
 * docs/reference/admin-api.md is generated from it, and a test compares the two. */
#include "controlplane/admin/litellm.h"

/* A row whose role is ROLE_NONE has an array of negative size in it. */
#define ROLE(r) ((enum admin_role)((r) + 0 * (int)sizeof(char[(r) != ROLE_NONE ? 1 : -1])))
/* About everything: credentials bound to an account are refused. */
#define READ(path, role_, prepare_, run_, finish_)                                                 \
    {                                                                                              \
        .method = "GET", .prefix = "/api/v1", .pattern = path, .role = ROLE(role_),                \
        .prepare = prepare_, .run = run_, .finish = finish_                                        \
    }
#define CHANGE(path, role_, run_, finish_, ...)                                                    \
    {                                                                                              \
        .method = "POST", .prefix = "/api/v1", .pattern = path, .role = ROLE(role_),               \
        .changes = true, .fields = (const char *const[]){__VA_ARGS__, NULL}, .run = run_,          \
        .finish = finish_                                                                          \
    }
/* Also for credentials bound to an account: the handler looks at call->caller. */
#define READ_SCOPED(path, role_, run_)                                                             \
    {                                                                                              \
        .method = "GET", .prefix = "/api/v1", .pattern = path, .role = ROLE(role_),                \
        .scoped = true, .run = run_                                                                \
    }
#define CHANGE_SCOPED(path, role_, run_, ...)                                                      \
    {                                                                                              \
        .method = "POST", .prefix = "/api/v1", .pattern = path, .role = ROLE(role_),               \
        .scoped = true, .changes = true, .fields = (const char *const[]){__VA_ARGS__, NULL},       \
        .run = run_                                                                                \
    }

#define CHANGE_FIELDS "reason", "dry_run"
/* Nodes go by it: the call is answered when they have it (spread.h), unless "wait" says otherwise.
 */
#define NODES_FIELDS  CHANGE_FIELDS, "wait"
#define KEY_FIELDS                                                                                 \
    "name", "routes", "models", "endpoints", "expires", "team", "org", "user", "tags", "rpm",      \
        "tpm", "concurrency", "max_cost_usd", "budgets", "no_explore", "may_no_log", "metadata",   \
        "require_regions", "data_collection", "zdr"
#define BUDGET_FIELDS                                                                              \
    "limit_usd", "period", "tz", "anchor", "mode", "carry", "warn_percent", "offline_usd", "webhook"
#define PLAN_FIELDS                                                                                \
    "stages", "shadow", "evidence_from_percent", "evidence", "inconclusive", "stale_after",        \
        "ready_percent", "bucket", "guards", "ratio_alpha", "declared_saving", "ttl"
#define ACCOUNT_ROUTES(path, ...)                                                                  \
    READ_SCOPED(path, ROLE_VIEWER, accounts_list),                                                 \
        CHANGE(path, ROLE_ADMIN, accounts_create, NULL, "name", "rpm", "tpm", "concurrency",       \
               "disabled", __VA_ARGS__, NODES_FIELDS),                                             \
        READ_SCOPED(path "/{name}", ROLE_VIEWER, accounts_show),                                   \
        CHANGE(path "/{name}/update", ROLE_ADMIN, accounts_update, NULL, "rpm", "tpm",             \
               "concurrency", "disabled", __VA_ARGS__, NODES_FIELDS),                              \
        CHANGE(path "/{name}/delete", ROLE_ADMIN, accounts_delete, NULL, NODES_FIELDS)

/* LiteLLM's: whole paths. What has no meaning here is in the list so that it can be refused unless
 * it is empty, as their clients often send it. */
#define THEIRS_READ(path, role_, scoped_, run_)                                                    \
    {                                                                                              \
        .method = "GET", .prefix = "", .pattern = path, .role = ROLE(role_), .scoped = scoped_,    \
        .dialect = DIALECT_LITELLM, .run = run_                                                    \
    }
#define THEIRS(path, role_, scoped_, run_, ...)                                                    \
    {                                                                                              \
        .method = "POST", .prefix = "", .pattern = path, .role = ROLE(role_), .scoped = scoped_,   \
        .changes = true, .fields = (const char *const[]){__VA_ARGS__, NULL},                       \
        .dialect = DIALECT_LITELLM, .run = run_                                                    \
    }
#define THEIRS_CHANGE(path, role_, scoped_, run_, ...)                                             \
    THEIRS(path, role_, scoped_, run_, __VA_ARGS__, "wait")
#define THEIR_MONEY "max_budget", "budget_duration", "soft_budget"
#define THEIR_RATES "tpm_limit", "rpm_limit", "max_parallel_requests"
#define THEIR_KEY                                                                                  \
    "key_alias", "team_id", "user_id", "organization_id", "models", "tags", "metadata", "blocked", \
        "duration", "expires", THEIR_MONEY, THEIR_RATES, "aliases", "config", "permissions",       \
        "guardrails", "model_max_budget"
#define THEIR_ACCOUNT                                                                              \
    "metadata", "blocked", THEIR_MONEY, THEIR_RATES, "models", "model_aliases", "guardrails",      \
        "permissions", "model_max_budget"
#define THEIR_TEAM                                                                                 \
    "team_id", "team_alias", "organization_id", THEIR_ACCOUNT, "members_with_roles", "members",    \
        "admins"
#define THEIR_USER "user_id", "user_alias", "user_email", "user_role", THEIR_ACCOUNT, "teams"

const struct admin_route admin_routes[] = {
    READ("/status", ROLE_VIEWER, NULL, status_run, status_finish),
    READ("/config", ROLE_OPERATOR, NULL, NULL, config_finish),
    READ_SCOPED("/keys", ROLE_VIEWER, keys_list),
    CHANGE_SCOPED("/keys", ROLE_OPERATOR, keys_create, KEY_FIELDS, "role", NODES_FIELDS),
    READ_SCOPED("/keys/{id}", ROLE_VIEWER, keys_show),
    CHANGE_SCOPED("/keys/{id}/update", ROLE_OPERATOR, keys_update, KEY_FIELDS, NODES_FIELDS),
    CHANGE_SCOPED("/keys/{id}/rotate", ROLE_OPERATOR, keys_rotate, "overlap", NODES_FIELDS),
    CHANGE_SCOPED("/keys/{id}/disable", ROLE_OPERATOR, keys_disable, NODES_FIELDS),
    CHANGE_SCOPED("/keys/{id}/enable", ROLE_OPERATOR, keys_enable, NODES_FIELDS),
    CHANGE_SCOPED("/keys/{id}/expire", ROLE_OPERATOR, keys_expire, "at", NODES_FIELDS),
    CHANGE_SCOPED("/keys/{id}/delete", ROLE_OPERATOR, keys_delete, NODES_FIELDS),
    ACCOUNT_ROUTES("/teams", "metadata", "org"),
    ACCOUNT_ROUTES("/orgs", "metadata"),
    ACCOUNT_ROUTES("/users", "metadata"),
    ACCOUNT_ROUTES("/tags", "metadata"),
    READ_SCOPED("/budgets", ROLE_VIEWER, budgets_list),
    CHANGE("/budgets", ROLE_ADMIN, budgets_set, NULL, "account", BUDGET_FIELDS, NODES_FIELDS),
    CHANGE("/budgets/reprice", ROLE_ADMIN, budgets_reprice, NULL, "model", "since", "until",
           "cursor", CHANGE_FIELDS),
    READ_SCOPED("/budgets/{id}", ROLE_VIEWER, budgets_show),
    CHANGE("/budgets/{id}/update", ROLE_ADMIN, budgets_update, NULL, BUDGET_FIELDS, NODES_FIELDS),
    CHANGE("/budgets/{id}/delete", ROLE_ADMIN, budgets_delete, NULL, NODES_FIELDS),
    READ_SCOPED("/spend", ROLE_VIEWER, spend_list),
    READ("/spend/checks", ROLE_VIEWER, NULL, spend_checks, NULL),
    CHANGE("/spend/reconcile", ROLE_OPERATOR, spend_reconcile, NULL, "since", "reason"),
    READ("/models", ROLE_VIEWER, models_list, NULL, NULL),
    READ("/models/fingerprints", ROLE_VIEWER, NULL, models_fingerprints, NULL),
    READ("/catalog", ROLE_VIEWER, NULL, catalog_list, NULL),
    READ("/catalog/show", ROLE_VIEWER, NULL, catalog_show, NULL),
    READ("/catalog/lint", ROLE_VIEWER, NULL, catalog_lint_run, NULL),
    CHANGE("/catalog/import", ROLE_ADMIN, catalog_import_run, NULL, "source", "source_date",
           "valid_from", "accept_large", "max_factor", "rows", CHANGE_FIELDS),
    READ("/policies", ROLE_VIEWER, NULL, policies_list, NULL),
    READ("/policies/{name}/frontier", ROLE_VIEWER, NULL, policies_frontier, NULL),
    READ("/policies/{name}/rollouts", ROLE_VIEWER, NULL, rollouts_list, NULL),
    READ("/policies/{name}/history", ROLE_VIEWER, NULL, rollouts_history, NULL),
    READ("/policies/{name}/drift", ROLE_VIEWER, NULL, policies_drift, NULL),
    READ("/policies/{name}/{version}", ROLE_VIEWER, NULL, policies_show, NULL),
    READ("/policies/{name}/{version}/explain", ROLE_VIEWER, NULL, policies_explain, NULL),
    READ("/policies/{name}/{version}/calibrate", ROLE_VIEWER, NULL, policies_calibrate, NULL),
    CHANGE("/policies/{name}/train", ROLE_ADMIN, train_run, train_finish, "target", "data",
           "promote", "reason"),
    CHANGE("/policies/{name}/rollback", ROLE_ADMIN, policies_rollback, NULL, "reason", "to"),
    CHANGE("/policies/{name}/{version}/promote", ROLE_ADMIN, policies_promote, NULL, "reason"),
    CHANGE("/policies/{name}/rollouts", ROLE_ADMIN, rollouts_start, NULL, "version", PLAN_FIELDS,
           CHANGE_FIELDS),
    CHANGE("/policies/{name}/revert", ROLE_ADMIN, rollouts_revert, NULL, "to", PLAN_FIELDS,
           CHANGE_FIELDS),
    CHANGE("/policies/{name}/override", ROLE_ADMIN, rollouts_override, NULL, "version", "expires",
           CHANGE_FIELDS),
    CHANGE("/policies/{name}/freeze", ROLE_ADMIN, rollouts_freeze, NULL, CHANGE_FIELDS),
    CHANGE("/policies/{name}/unfreeze", ROLE_ADMIN, rollouts_unfreeze, NULL, CHANGE_FIELDS),
    READ("/rollouts", ROLE_VIEWER, NULL, rollouts_list, NULL),
    READ("/rollouts/{id}", ROLE_VIEWER, NULL, rollouts_show, NULL),
    CHANGE("/rollouts/{id}/pause", ROLE_OPERATOR, rollouts_pause, NULL, "reason"),
    CHANGE("/rollouts/{id}/resume", ROLE_ADMIN, rollouts_resume, NULL, "reason"),
    CHANGE("/rollouts/{id}/promote", ROLE_ADMIN, rollouts_advance, NULL, "reason"),
    {.method = "POST",
     .prefix = "/api/v1",
     .pattern = "/rollouts/{id}/abort",
     .role = ROLE(ROLE_OPERATOR),
     .changes = true,
     .fields = (const char *const[]){"reason", NULL},
     .prepare = rollouts_abort_prepare,
     .run = rollouts_abort,
     .finish = rollouts_abort_finish},
    CHANGE("/rollouts/{id}/end", ROLE_ADMIN, rollouts_override_end, NULL, "reason"),
    CHANGE("/rollouts/freeze", ROLE_ADMIN, rollouts_freeze, NULL, CHANGE_FIELDS),
    CHANGE("/rollouts/unfreeze", ROLE_ADMIN, rollouts_unfreeze, NULL, CHANGE_FIELDS),
    READ("/jobs/{id}", ROLE_VIEWER, NULL, jobs_show, NULL),
    READ("/decisions", ROLE_VIEWER, NULL, decisions_list, NULL),
    CHANGE("/decisions/replay", ROLE_OPERATOR, decisions_replay, NULL, "since", "limit"),
    READ("/decisions/export", ROLE_VIEWER, NULL, decisions_export, NULL),
    READ("/decisions/{id}", ROLE_VIEWER, NULL, decisions_show, NULL),
    READ("/decisions/{id}/why", ROLE_VIEWER, NULL, decisions_why, NULL),
    READ("/report", ROLE_VIEWER, NULL, report_run, NULL),
    READ("/audit", ROLE_VIEWER, NULL, audit_list, NULL),
    READ("/audit/requests/{id}", ROLE_VIEWER, NULL, audit_request, NULL),
    READ("/audit/keys/{id}", ROLE_VIEWER, NULL, audit_key, NULL),
    READ("/audit/off-greedy", ROLE_VIEWER, NULL, audit_off_greedy, NULL),
    READ("/audit/served-elsewhere", ROLE_VIEWER, NULL, audit_served_elsewhere, NULL),
    READ("/audit/spend", ROLE_VIEWER, NULL, audit_spend, NULL),
    READ("/audit/rollouts/{id}", ROLE_VIEWER, NULL, audit_rollout, NULL),
    THEIRS_CHANGE("/key/generate", ROLE_OPERATOR, true, litellm_key_generate, THEIR_KEY),
    THEIRS_CHANGE("/key/update", ROLE_OPERATOR, true, litellm_key_update, "key", THEIR_KEY),
    THEIRS_CHANGE("/key/delete", ROLE_OPERATOR, true, litellm_key_delete, "keys"),
    THEIRS_READ("/key/info", ROLE_VIEWER, true, litellm_key_info),
    THEIRS_READ("/key/list", ROLE_VIEWER, true, litellm_key_list),
    THEIRS_CHANGE("/key/block", ROLE_OPERATOR, true, litellm_key_block, "key"),
    THEIRS_CHANGE("/key/unblock", ROLE_OPERATOR, true, litellm_key_unblock, "key"),
    THEIRS_CHANGE("/key/regenerate", ROLE_OPERATOR, true, litellm_key_regenerate, "key",
                  "grace_period"),
    THEIRS_CHANGE("/team/new", ROLE_ADMIN, false, litellm_team_new, THEIR_TEAM),
    THEIRS_CHANGE("/team/update", ROLE_ADMIN, false, litellm_team_update, THEIR_TEAM),
    THEIRS_READ("/team/info", ROLE_VIEWER, false, litellm_team_info),
    THEIRS_READ("/team/list", ROLE_VIEWER, false, litellm_team_list),
    THEIRS_CHANGE("/team/member_add", ROLE_ADMIN, false, litellm_team_member_add, "team_id",
                  "member", "max_budget_in_team"),
    THEIRS_CHANGE("/user/new", ROLE_ADMIN, false, litellm_user_new, THEIR_USER, "auto_create_key",
                  "key_alias", "duration"),
    THEIRS_CHANGE("/user/update", ROLE_ADMIN, false, litellm_user_update, THEIR_USER),
    THEIRS_READ("/user/info", ROLE_VIEWER, false, litellm_user_info),
    THEIRS_CHANGE("/budget/new", ROLE_ADMIN, false, litellm_budget_set, "budget_id", THEIR_MONEY,
                  THEIR_RATES, "model_max_budget"),
    THEIRS_CHANGE("/budget/update", ROLE_ADMIN, false, litellm_budget_set, "budget_id", THEIR_MONEY,
                  THEIR_RATES, "model_max_budget"),
    THEIRS("/budget/info", ROLE_VIEWER, false, litellm_budget_info, "budgets"),
    THEIRS_READ("/budget/list", ROLE_VIEWER, false, litellm_budget_list),
    THEIRS_READ("/spend/logs", ROLE_VIEWER, false, litellm_spend_logs),
    THEIRS_READ("/spend/keys", ROLE_VIEWER, false, litellm_spend_keys),
    THEIRS_READ("/spend/tags", ROLE_VIEWER, false, litellm_spend_tags),
    THEIRS_READ("/global/spend/report", ROLE_VIEWER, false, litellm_global_report),
    {.method = NULL},
};

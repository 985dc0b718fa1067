/* The table of routes: who may call what, and which fields a body may have. The matrix in
 * docs/reference/admin-api.md is generated from it, and a test compares the two. */
#include "controlplane/admin/call.h"

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

const struct admin_route admin_routes[] = {
    READ("/status", ROLE_VIEWER, NULL, status_run, status_finish),
    READ("/keys", ROLE_VIEWER, NULL, keys_list, NULL),
    CHANGE("/keys", ROLE_ADMIN, keys_create, NULL, "name", "routes", "models", "expires", "reason"),
    CHANGE("/keys/{id}/disable", ROLE_ADMIN, keys_disable, NULL, "reason"),
    READ("/models", ROLE_VIEWER, models_list, NULL, NULL),
    READ("/policies", ROLE_VIEWER, NULL, policies_list, NULL),
    READ("/policies/{name}/frontier", ROLE_VIEWER, NULL, policies_frontier, NULL),
    READ("/policies/{name}/{version}", ROLE_VIEWER, NULL, policies_show, NULL),
    CHANGE("/policies/{name}/train", ROLE_ADMIN, train_run, train_finish, "target", "data",
           "promote", "reason"),
    CHANGE("/policies/{name}/rollback", ROLE_ADMIN, policies_rollback, NULL, "reason", "to"),
    CHANGE("/policies/{name}/{version}/promote", ROLE_ADMIN, policies_promote, NULL, "reason"),
    READ("/jobs/{id}", ROLE_VIEWER, NULL, jobs_show, NULL),
    READ("/decisions", ROLE_VIEWER, NULL, decisions_list, NULL),
    CHANGE("/decisions/replay", ROLE_OPERATOR, decisions_replay, NULL, "since", "limit"),
    READ("/decisions/{id}", ROLE_VIEWER, NULL, decisions_show, NULL),
    READ("/decisions/{id}/why", ROLE_VIEWER, NULL, decisions_why, NULL),
    READ("/report", ROLE_VIEWER, NULL, report_run, NULL),
    READ("/audit", ROLE_VIEWER, NULL, audit_list, NULL),
    {.method = NULL},
};

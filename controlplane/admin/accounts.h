/* accounts.h: keys, accounts and budgets as the handlers share them. All run on a worker, between
 * change_begin and change_end where they change something. Private to controlplane/admin. */
#ifndef STEELYARD_CONTROLPLANE_ADMIN_ACCOUNTS_H
#define STEELYARD_CONTROLPLANE_ADMIN_ACCOUNTS_H

#include "controlplane/admin/spec.h"

#define KEY_TEXT_BYTES 160 /* sk-sy-<id>-<secret>, with the id of any file's key. */

/* --- accounts.c -------------------------------------------------------------------------------
 */
/* "team:web", or a key's public id after "key:". create: makes a missing user, tag or model.
 * ERR_NOT_FOUND; ERR_INVALID for another shape. */
int account_find(struct admin_call *call, struct pq_conn *c, const char *text, bool create,
                 int64_t *out_id, struct err *err) MUST_CHECK;
int account_find_kind(struct admin_call *call, struct pq_conn *c, const char *kind,
                      const char *name, bool create, int64_t *out_id, struct err *err) MUST_CHECK;
/* Makes or changes one from the fields of body: name (of a new one), org, rpm, tpm,
 * concurrency, disabled, metadata. name NULL: a new one. */
int account_put(struct admin_call *call, struct pq_conn *c, const char *kind, const char *name,
                const json_t *body, json_t *detail, int64_t *out_id, struct err *err) MUST_CHECK;
int account_json(struct pq_conn *c, int64_t id, json_t **out_json, struct err *err) MUST_CHECK;
bool account_name_ok(const char *name);

/* --- budgets.c, budgets_calls.c
 * --------------------------------------------------------------------------------
 */
/* Sets the budget of an account for a period from the fields of `body` (limit_usd and period must
 * be given for a new one). id 0: the live one of (account, period) or a new one; else that one.
 * detail gets what was set. */
int budget_put(struct admin_call *call, struct pq_conn *c, const json_t *body, int64_t account,
               int64_t id, json_t *detail, int64_t *out_id, struct err *err) MUST_CHECK;
int budget_json(struct pq_conn *c, int64_t id, json_t **out_json, struct err *err) MUST_CHECK;
extern const char *const budget_fields[]; /* Of one budget inside another body. */
/* No request may be charged to more budgets than the protocol carries (16). account: the one that
 * got a budget, or the key that moved. */
int budget_check_paths(struct pq_conn *c, int64_t account, struct err *err) MUST_CHECK;

/* --- rights.c ---------------------------------------------------------------------------------
 */
/* What the caller may see of api_key k: takes three parameters, numbered n, n+1, n+2. */
#define RIGHTS_SQL(a, b, c)                                                                        \
    "($" #a "::bigint = 0 OR k.org_id = $" #a ") AND ($" #b "::bigint = 0 OR k.team_id = $" #b     \
    ") AND ($" #c "::bigint = 0 OR k.user_id = $" #c ")"
void rights_params(const struct admin_call *call, struct pq_params *p);
/* ERR_DENIED, naming the field, when the key as it now stands has more than the caller. */
int rights_check(struct admin_call *call, struct pq_conn *c, int64_t key,
                 struct err *err) MUST_CHECK;
/* ERR_CONFLICT when a live key that this credential made has more than the credential now has: what
 * was given out would no longer be counted. */
int rights_check_below(struct pq_conn *c, int64_t maker, struct err *err) MUST_CHECK;

/* --- keys.c, keys_read.c
 * -----------------------------------------------------------------------------------
 */
enum key_action {
    KEY_SHOW,
    KEY_UPDATE, /* What the key may do changes: only its maker and admins. */
    KEY_ENABLE,
    KEY_ROTATE,
    KEY_STOP, /* Disable, expire, delete. */
};
struct key_row {
    int64_t id;
    char public_id[CALL_PARAM_BYTES];
    bool is_mine, has_role, from_file, has_budget;
};
/* The live key that the caller names, if the caller may do that to it. ERR_NOT_FOUND also for what
 * the caller may not see; ERR_CONFLICT: deleted. */
int key_find(struct admin_call *call, struct pq_conn *c, const char *public_id,
             enum key_action action, struct key_row *out, struct err *err) MUST_CHECK;
/* The pieces of the handlers below, for other dialects: body's fields are those of POST /keys.
 * out_text: the whole key, to be erased by the caller. */
int key_create(struct admin_call *call, struct pq_conn *c, const json_t *body, struct key_row *out,
               char out_text[KEY_TEXT_BYTES], json_t *detail, struct err *err) MUST_CHECK;
int key_update(struct admin_call *call, struct pq_conn *c, const json_t *body,
               const struct key_row *key, json_t *detail, struct err *err) MUST_CHECK;
int key_rotate(struct admin_call *call, struct pq_conn *c, const struct key_row *key,
               uint64_t overlap_ms, char out_text[KEY_TEXT_BYTES], struct err *err) MUST_CHECK;
int key_block(struct pq_conn *c, const struct key_row *key, bool blocked,
              struct err *err) MUST_CHECK;
/* ERR_CONFLICT for a credential that made keys which still live. */
int key_delete(struct pq_conn *c, const struct key_row *key, struct err *err) MUST_CHECK;
/* Nodes learn of it with the commit. */
int key_publish(struct pq_conn *c, const struct key_row *key, struct err *err) MUST_CHECK;
int key_json(struct pq_conn *c, int64_t id, json_t **out_json, struct err *err) MUST_CHECK;

#endif

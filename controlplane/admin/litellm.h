/* litellm.h: the management endpoints of LiteLLM's proxy with its field names, for scripts that
 * were written for it. Each body becomes one of ours and takes the same way; what we cannot honour
 * is refused by name. Their ids are our names: team_id is a team's name, user_id a user's,
 * budget_id an account ("team:web"). Private to controlplane/admin. */
#ifndef STEELYARD_CONTROLPLANE_ADMIN_LITELLM_H
#define STEELYARD_CONTROLPLANE_ADMIN_LITELLM_H

#include "controlplane/admin/accounts.h"

/* Refuses fields (NULL-terminated) that are there and not empty: they have no meaning here. */
int litellm_refuse(const json_t *body, const char *const *fields, struct err *err) MUST_CHECK;
/* Refuses parameters of the query that are none of known. */
int litellm_check_query(const struct admin_call *call, const char *const *known,
                        struct err *err) MUST_CHECK;
/* Sets out[to] to body[from], null too. */
void litellm_copy(const json_t *body, const char *from, json_t *out, const char *to);

/* max_budget, budget_duration and soft_budget, for the account: sets, changes or (max_budget null)
 * removes its budget. */
int litellm_budget(struct admin_call *call, struct pq_conn *c, const json_t *body, int64_t account,
                   json_t *detail, struct err *err) MUST_CHECK;
/* The same as one of our budget bodies; NULL: they say nothing. limit: of the budget that is there,
 * in nano-USD, or 0. */
int litellm_native_budget(const json_t *body, int64_t limit, json_t **out,
                          struct err *err) MUST_CHECK;
/* Adds max_budget, budget_duration, soft_budget, budget_reset_at and spend of an account: of its
 * budget's current period, or of all time without a budget. */
int litellm_add_budget(struct pq_conn *c, int64_t account, json_t *out, struct err *err) MUST_CHECK;
/* A key in their words; text: the whole key when it was just made, or NULL. */
int litellm_key_json(struct pq_conn *c, const struct key_row *key, const char *text,
                     json_t **out_json, struct err *err) MUST_CHECK;
/* A key made from their body. */
int litellm_make_key(struct admin_call *call, struct pq_conn *c, const json_t *body,
                     struct key_row *out, char out_text[KEY_TEXT_BYTES], json_t *detail,
                     struct err *err) MUST_CHECK;

int litellm_spend_logs(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_spend_keys(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_spend_tags(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_global_report(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_key_generate(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_key_update(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_key_delete(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_key_info(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_key_list(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_key_block(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_key_unblock(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_key_regenerate(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_team_new(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_team_update(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_team_info(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_team_list(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_team_member_add(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_user_new(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_user_update(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_user_info(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_budget_set(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_budget_info(struct admin_call *call, struct pq_conn *c, struct err *err);
int litellm_budget_list(struct admin_call *call, struct pq_conn *c, struct err *err);

#endif

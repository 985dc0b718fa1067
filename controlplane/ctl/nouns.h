/* nouns.h: what each row of the command table runs; one file per noun. */
#ifndef STEELYARD_CONTROLPLANE_CTL_NOUNS_H
#define STEELYARD_CONTROLPLANE_CTL_NOUNS_H

#include "controlplane/ctl/ctl.h"

enum ctl_exit status_show(struct ctl *c);
enum ctl_exit doctor_run(struct ctl *c);
enum ctl_exit report_show(struct ctl *c);
enum ctl_exit keys_create(struct ctl *c);
enum ctl_exit keys_list(struct ctl *c);
enum ctl_exit keys_show(struct ctl *c);
enum ctl_exit keys_update(struct ctl *c);
enum ctl_exit keys_rotate(struct ctl *c);
enum ctl_exit keys_disable(struct ctl *c);
enum ctl_exit keys_enable(struct ctl *c);
enum ctl_exit keys_expire(struct ctl *c);
enum ctl_exit keys_delete(struct ctl *c);
enum ctl_exit teams_list(struct ctl *c);
enum ctl_exit teams_show(struct ctl *c);
enum ctl_exit teams_create(struct ctl *c);
enum ctl_exit teams_set(struct ctl *c);
enum ctl_exit teams_delete(struct ctl *c);
enum ctl_exit budgets_set(struct ctl *c);
enum ctl_exit budgets_list(struct ctl *c);
enum ctl_exit budgets_show(struct ctl *c);
enum ctl_exit budgets_remove(struct ctl *c);
enum ctl_exit spend_show(struct ctl *c);
enum ctl_exit spend_checks(struct ctl *c);
enum ctl_exit spend_reconcile(struct ctl *c);
enum ctl_exit models_list(struct ctl *c);
enum ctl_exit models_fingerprints(struct ctl *c);
enum ctl_exit budgets_reprice(struct ctl *c);
enum ctl_exit catalog_list(struct ctl *c);
enum ctl_exit catalog_show(struct ctl *c);
enum ctl_exit catalog_import(struct ctl *c);
enum ctl_exit catalog_diff(struct ctl *c);
enum ctl_exit catalog_lint_show(struct ctl *c);
enum ctl_exit policies_list(struct ctl *c);
enum ctl_exit policies_show(struct ctl *c);
enum ctl_exit policies_train(struct ctl *c);
enum ctl_exit policies_train_offline(struct ctl *c); /* With --data. */
enum ctl_exit policies_route(struct ctl *c);
enum ctl_exit policies_calibrate(struct ctl *c);
enum ctl_exit policies_explain(struct ctl *c);
enum ctl_exit policies_promote(struct ctl *c);
enum ctl_exit policies_rollback(struct ctl *c);
enum ctl_exit policies_rollout(struct ctl *c);
enum ctl_exit policies_revert(struct ctl *c);
enum ctl_exit policies_canary(struct ctl *c);
enum ctl_exit policies_pause(struct ctl *c);
enum ctl_exit policies_resume(struct ctl *c);
enum ctl_exit policies_history(struct ctl *c);
enum ctl_exit policies_drift(struct ctl *c);
enum ctl_exit policies_freeze(struct ctl *c);
enum ctl_exit policies_unfreeze(struct ctl *c);
enum ctl_exit policies_override(struct ctl *c);
enum ctl_exit policies_frontier(struct ctl *c);
enum ctl_exit decisions_list(struct ctl *c);
enum ctl_exit decisions_show(struct ctl *c);
enum ctl_exit decisions_why(struct ctl *c);
enum ctl_exit decisions_replay(struct ctl *c);
enum ctl_exit decisions_export(struct ctl *c);
enum ctl_exit audit_request(struct ctl *c);
enum ctl_exit audit_key(struct ctl *c);
enum ctl_exit audit_off_greedy(struct ctl *c);
enum ctl_exit audit_served_elsewhere(struct ctl *c);
enum ctl_exit audit_spend(struct ctl *c);
enum ctl_exit audit_rollout(struct ctl *c);
enum ctl_exit audit_log(struct ctl *c);
enum ctl_exit audit_export(struct ctl *c);
enum ctl_exit config_validate(struct ctl *c);
enum ctl_exit config_diff(struct ctl *c);
enum ctl_exit config_apply(struct ctl *c);
enum ctl_exit config_schema(struct ctl *c);
enum ctl_exit import_file(struct ctl *c);
enum ctl_exit serve_run(struct ctl *c);
enum ctl_exit version_show(struct ctl *c);
enum ctl_exit completion_show(struct ctl *c);
enum ctl_exit docs_show(struct ctl *c);

/* The figures and the plot of a frontier reply; shared with the offline twin. */
enum ctl_exit frontier_print(struct ctl *c, const json_t *frontier);

/* "7d", "12h" (before now) or an RFC 3339 time -> RFC 3339 in out (40 bytes). NULL in: out "". */
int nouns_time(const char *text, char out[40], struct err *err) MUST_CHECK;

#endif

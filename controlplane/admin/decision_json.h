/* decision_json.h: a decision as the admin API writes it: a row of a list, and the parts of its
 * record. Private to controlplane/admin. */
#ifndef STEELYARD_CONTROLPLANE_ADMIN_DECISION_JSON_H
#define STEELYARD_CONTROLPLANE_ADMIN_DECISION_JSON_H

#include "controlplane/admin/call.h"
#include "telemetry.pb-c.h"

/* What decision_write_row reads, in this order, of `decision d`; DECISION_COLUMN_COUNT of them. */
#define DECISION_COLUMNS                                                                           \
    "d.request_id, d.ts, coalesce(k.public_id, d.key_id::text), d.route, d.alias, "                \
    "d.chosen_model, "                                                                             \
    "d.served_model, v.name || '@' || v.version, d.status, d.http_status, d.cost, d.tokens_in, "   \
    "d.tokens_out, d.ttft_ms, d.latency_ms, d.attempts, d.flags, (SELECT f.score_q16 FROM "        \
    "feedback f WHERE f.request_id = d.request_id AND f.ts BETWEEN d.ts - interval '1 minute' "    \
    "AND "                                                                                         \
    "d.ts + interval '1 minute' ORDER BY array_position(ARRAY['eval', 'judge', 'thumb', "          \
    "'implicit'], f.source), f.received LIMIT 1)"
#define DECISION_FROM                                                                              \
    " FROM decision d LEFT JOIN api_key k ON k.id = d.key_id LEFT JOIN LATERAL (SELECT name, "     \
    "version FROM policy_version WHERE params = d.params_sha LIMIT 1) v ON true "

#define DECISION_COLUMN_COUNT 18

void decision_write_row(struct json_writer *w, const struct pq_result *r, int row);
/* Without the number of attempts: where decision_write_attempts follows in the same object. */
void decision_write_columns(struct json_writer *w, const struct pq_result *r, int row);
/* Members of the object at hand, from the record. */
void decision_write_facts(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d);
void decision_write_candidates(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d);
void decision_write_attempts(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d);
/* The names of exclusion bits, as an array. */
void decision_write_bits(struct json_writer *w, const char *key, uint32_t excl);
/* Member `rollout`, opened with its id; false: null was written, for there was none. The caller
 * writes `arm` and `stage`, in the order of its answer, and ends it. */
bool decision_begin_rollout(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d);
void decision_write_arm(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d);
/* What is told of the candidate's own choice besides its numbers: whether it was the same one, or
 * why models were excluded from it. */
enum decision_shadow { DECISION_SHADOW_SAME, DECISION_SHADOW_EXCLUDED };
void decision_end_rollout(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d,
                          enum decision_shadow more);
/* Which candidates were excluded, and why: {"model": ["BUDGET"]}. */
void decision_write_exclusions(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d);
const char *decision_model(const Steelyard__Telemetry__V1__Decision *d, uint32_t i); /* Or NULL. */
/* The record in a bytea column, unpacked; the caller frees it (free_unpacked). ERR_CORRUPT. */
int decision_unpack(const struct pq_result *r, int row, int column,
                    Steelyard__Telemetry__V1__Decision **out, struct err *err) MUST_CHECK;

#endif

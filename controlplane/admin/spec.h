/* spec.h: fields of a body, checked one by one, as the columns they become. The columns are a JSON
 * object that jsonb_populate_record lays over a row: what was not given keeps its value there, null
 * clears. The first error stays in status and its message in err; later calls then do nothing.
 * Private to controlplane/admin. */
#ifndef STEELYARD_CONTROLPLANE_ADMIN_SPEC_H
#define STEELYARD_CONTROLPLANE_ADMIN_SPEC_H

#include "controlplane/admin/call.h"

#define SPEC_NAMES_MAX 256

struct spec {
    const json_t *body;
    json_t *columns;
    struct err *err;
    int status;
};
void spec_init(struct spec *s, const json_t *body, struct err *err);
void spec_deinit(struct spec *s);

bool spec_has(const struct spec *s, const char *field); /* Given, maybe as null. */
void spec_set(struct spec *s, const char *column,
              json_t *value); /* Takes value; NULL: no memory. */
void spec_fail(struct spec *s, const char *format, ...) PRINTF_LIKE(2, 3); /* ERR_INVALID */

/* One line of 1 to max_bytes. */
void spec_text(struct spec *s, const char *field, const char *column, size_t max_bytes);
/* One of words (NULL-terminated). */
void spec_word(struct spec *s, const char *field, const char *column, const char *const *words);
/* A list of names, each of them one of known unless that is NULL; null is the empty list. */
void spec_names(struct spec *s, const char *field, const char *column, const char *const *known,
                size_t known_count);
void spec_count(struct spec *s, const char *field, const char *column, uint64_t min, uint64_t max);
/* USD as decimal text ("5.00") or a whole number, to nano-USD; at least min. */
void spec_usd(struct spec *s, const char *field, const char *column, int64_t min);
void spec_bool(struct spec *s, const char *field, const char *column);
/* RFC 3339 or an age from now on ("90d"). future: must be to come. */
void spec_time(struct spec *s, const char *field, const char *column, bool future);
void spec_object(struct spec *s, const char *field, const char *column); /* Kept as text. */
void spec_time_us(struct spec *s, const char *column, int64_t unix_us);

void dump_free(char *text); /* What json_dumps gave; NULL is allowed. */

/* The columns as text for a parameter. */
int spec_param(struct spec *s, struct pq_params *p) MUST_CHECK;

/* How SQL of the admin API writes times and money. */
#define SQL_TIME(x) "to_char(" x " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
#define SQL_USD(x)  "trim_scale(" x " * 0.000000001)::text"

/* A change with its audit row: after begin and the caller's own statements, ends the transaction,
 * or takes it back when the body says dry_run. detail: what changed (borrowed, no secrets). The
 * answer is `reply` with "generation" or "dry_run" added, and where the route waits for nodes
 * "nodes"; it is taken, also on error. */
int change_end(struct admin_call *call, struct pq_conn *c, const char *action, const char *subject,
               const json_t *detail, json_t *reply, struct err *err) MUST_CHECK;
/* begin with the caller as actor; checks "reason" and "dry_run". */
int change_begin(struct admin_call *call, struct pq_conn *c, struct err *err) MUST_CHECK;
bool change_is_dry(const struct admin_call *call);

/* One JSON value that a statement gives as text. ERR_NOT_FOUND without a row. */
int query_json(struct pq_conn *c, const char *sql, struct pq_params *p, json_t **out_json,
               struct err *err) MUST_CHECK;
/* A page: rows of (json text, cursor text); writes {"items", "next"}. */
int query_page(struct admin_call *call, struct pq_conn *c, const char *sql, struct pq_params *p,
               int64_t limit, struct err *err) MUST_CHECK;
/* What there is of `name` ($1), as much as the call's limit says ($2); no page follows. */
int query_few(struct admin_call *call, struct pq_conn *c, const char *sql, struct str name,
              struct err *err) MUST_CHECK;
/* Writes a value into call->w. */
int write_json(struct admin_call *call, const json_t *value) MUST_CHECK;

#endif

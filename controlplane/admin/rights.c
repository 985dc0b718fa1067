/* A key maker never gives more than it has. One statement compares the rows as they will be after
 * the commit; it runs inside the change's transaction, which holds the head's lock, so that two
 * changes cannot both pass where together they would not.
 *
 * What can be used up (rates, budgets) is shared out: the sum over all keys of a maker stays within
 * the maker's own. A removed key still counts for its budgets until a period has gone by, because
 * it may have spent them. */
#include <string.h>

#include "controlplane/admin/accounts.h"

void rights_params(const struct admin_call *call, struct pq_params *p)
{
    pq_params_i64(p, call->caller.org);
    pq_params_i64(p, call->caller.team);
    pq_params_i64(p, call->caller.user);
}

/* m has this much; k and m's other keys together must not have more. */
#define SHARED(column)                                                                             \
    " WHEN m." column " IS NOT NULL AND (k." column " IS NULL OR k." column                        \
    " + coalesce((SELECT sum(o." column ") FROM api_key o WHERE o.maker = m.id AND o.id <> k.id "  \
    "AND o.removed IS NULL), 0) > m." column ") THEN '" column "'"
#define WITHIN(column)                                                                             \
    " WHEN cardinality(m." column ") > 0 AND NOT (cardinality(k." column ") > 0 AND k." column     \
    " <@ m." column ") THEN '" column "'"

/* A rule a line. k, and m that made it: the first field that is too much, or NULL. Budgets have the
 * same bounds as the maker's, so that no money is counted in two periods. */
/* clang-format off */
#define EXCEEDS                                                                                    \
    "CASE"                                                                                         \
    " WHEN array_position(ARRAY['viewer', 'operator', 'admin'], k.role) > "                        \
    "array_position(ARRAY['viewer', 'operator', 'admin'], m.role) THEN 'role'"                     \
    " WHEN m.org_id IS NOT NULL AND k.org_id IS DISTINCT FROM m.org_id THEN 'org'"                 \
    " WHEN m.team_id IS NOT NULL AND k.team_id IS DISTINCT FROM m.team_id THEN 'team'"             \
    " WHEN m.user_id IS NOT NULL AND k.user_id IS DISTINCT FROM m.user_id THEN 'user'" WITHIN(     \
        "routes") WITHIN("models")                                                                 \
        WITHIN(                                                                                    \
            "endpoints") " WHEN NOT (m.tags <@ k.tags) THEN 'tags'"                                \
                         " WHEN m.max_cost_nano < coalesce(k.max_cost_nano, m.max_cost_nano + 1) " \
                         "THEN 'max_cost_usd'"                                                     \
                         " WHEN m.expires < coalesce(k.expires, 'infinity') THEN 'expires'"        \
                         " WHEN k.may_no_log AND NOT m.may_no_log THEN 'may_no_log'"               \
                         " WHEN m.no_explore AND NOT k.no_explore THEN 'no_explore'"               \
                         " WHEN m.zdr AND NOT k.zdr THEN 'zdr'"                                    \
                         " WHEN m.data_collection = 'deny' AND NOT k.zdr "                         \
                         "AND k.data_collection IS DISTINCT FROM 'deny' THEN 'data_collection'"    \
                             WITHIN("require_regions") SHARED("rpm")                               \
                             SHARED("tpm") SHARED(                                                 \
                                 "concurrency") " WHEN EXISTS (SELECT FROM budget mine WHERE "     \
                                                "mine.account_id = m.id "                          \
                                                "AND mine.removed IS NULL AND ("                   \
                                                "NOT EXISTS (SELECT FROM budget b WHERE "          \
                                                "b.account_id = k.id AND b.removed IS NULL "       \
                                                "AND b.period = mine.period AND b.tz = mine.tz "   \
                                                "AND b.anchor IS NOT DISTINCT FROM mine.anchor "   \
                                                "AND (b.mode = 'strict' OR mine.mode = 'soft')) "  \
                                                "OR (SELECT sum(b.limit_nano) > mine.limit_nano "  \
                                                "OR "                                              \
                                                "sum(b.offline_nano) > mine.offline_nano FROM "    \
                                                "budget b JOIN api_key o "                         \
                                                "ON o.id = b.account_id WHERE (o.id = k.id OR "    \
                                                "o.maker = m.id) "                                 \
                                                "AND b.period = mine.period AND (b.removed IS "    \
                                                "NULL OR b.period = 'total' OR "                   \
                                                "b.removed > now() - ('1 ' || "                    \
                                                "b.period)::interval)))) THEN 'budgets'"           \
                                                " END"
/* clang-format on */

static const char above_sql[] =
    "SELECT " EXCEEDS " FROM api_key k, api_key m WHERE k.id = $1 AND m.id = $2";
static const char below_sql[] =
    "SELECT x.field, x.public_id FROM (SELECT k.public_id, " EXCEEDS
    " AS field FROM api_key k, api_key m WHERE m.id = $1 AND k.maker = m.id AND k.removed IS NULL) "
    "x WHERE x.field IS NOT NULL LIMIT 1";

int rights_check_below(struct pq_conn *c, int64_t maker, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, maker);
    int rc = pq_conn_query(c, below_sql, &p, &r, err);
    if (rc == 0 && pq_result_rows(r) > 0)
        rc = err_set(err, ERR_CONFLICT,
                     "%s: key %s, which it made, would have more; change or delete that first",
                     pq_result_text(r, 0, 0).data, pq_result_text(r, 0, 1).data);
    pq_result_destroy(r);
    return rc;
}

int rights_check(struct admin_call *call, struct pq_conn *c, int64_t key, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    if (call->caller.id == 0)
        return 0;
    pq_params_i64(&p, key);
    pq_params_i64(&p, call->caller.id);
    int rc = pq_conn_query(c, above_sql, &p, &r, err);
    if (rc != 0)
        return rc;
    if (pq_result_rows(r) != 1)
        rc = err_set(err, ERR_DENIED, "the credential is gone");
    else if (!pq_result_is_null(r, 0, 0))
        rc = err_set(err, ERR_DENIED, "%s: that is more than your own credential has",
                     pq_result_text(r, 0, 0).data);
    pq_result_destroy(r);
    return rc;
}

#include "controlplane/rollout/fold.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/ingest/intake_canary.h"
#include "controlplane/rollout/exclusions.h"

#define APART    64  /* cluster of units that are left out */
#define SEEN_BIT 15U /* canary_unit.valued: came to the candidate at all */
#define ARMS     2U

/* --- the rows --------------------------------------------------------------------------------
 */

/* One per connection: a worker keeps its own. */
static int make_table(struct pq_conn *c, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(c, "SELECT to_regclass('pg_temp.fold_in') IS NOT NULL", NULL, &r, err);
    if (rc != 0)
        return rc;
    bool there = pq_result_bool(r, 0, 0);
    pq_result_destroy(r);
    if (there)
        return 0;
    return pq_conn_script(
        c,
        "CREATE TEMP TABLE fold_in (unit_hash bigint, arm smallint, stage smallint, slot smallint, "
        "stratum smallint, cluster smallint, is_vote boolean, is_new boolean, flags integer, "
        "events integer, cost double precision, tokens double precision, quality double precision, "
        "known_events integer, known_valued integer, chosen_q integer, chosen_cost bigint, "
        "shadow_q integer, shadow_cost bigint) ON COMMIT DELETE ROWS",
        err);
}

struct range {
    char from[ROLLOUT_XID_BYTES], to[ROLLOUT_XID_BYTES];
};

/* Up to where rows can be taken: below the oldest running transaction, and no more than the most.
 */
static int find_range(struct pq_conn *c, const struct rollout *r, struct range *out,
                      struct fold_result *result, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *q = NULL;
    pq_params_i64(&p, r->id);
    pq_params_text(&p, str_from(r->folded_xid));
    pq_params_i64(&p, FOLD_ROWS_MAX);
    int rc = pq_conn_query(
        c,
        "WITH now AS (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS low, "
        "pg_snapshot_xmax(pg_current_snapshot()) AS high), "
        "full_at AS (SELECT o.xid FROM canary_obs o, now WHERE o.rollout_id = $1 AND o.xid >= "
        "$2::xid8 AND o.xid < now.low ORDER BY o.xid OFFSET $3 LIMIT 1) "
        "SELECT coalesce((SELECT xid FROM full_at WHERE xid > $2::xid8), low), "
        "EXISTS (SELECT FROM full_at WHERE xid > $2::xid8), $2::xid8 > high, "
        "coalesce((SELECT (extract(epoch FROM min(o.bucket)) * 1000000)::bigint FROM canary_obs o "
        "WHERE o.rollout_id = $1 AND o.xid >= low), 0) FROM now",
        &p, &q, err);
    if (rc != 0)
        return rc;
    memcpy(out->from, r->folded_xid, sizeof out->from);
    (void)str_copy(pq_result_text(q, 0, 0), out->to, sizeof out->to);
    result->more = pq_result_bool(q, 0, 1);
    result->went_back = pq_result_bool(q, 0, 2);
    result->waiting_us = pq_result_i64(q, 0, 3);
    pq_result_destroy(q);
    return 0;
}

static int affected(struct pq_conn *c, const char *sql, struct pq_params *p, uint64_t *out_rows,
                    struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(c, sql, p, &r, err);
    if (rc == 0)
        *out_rows = pq_result_affected(r);
    pq_result_destroy(r);
    return rc;
}

static void range_params(struct pq_params *p, const struct rollout *r, const struct range *range)
{
    pq_params_i64(p, r->id);
    pq_params_text(p, str_from(range->from));
    pq_params_text(p, str_from(range->to));
}

static void number_param(struct pq_params *p, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.17g", value);
    pq_params_text(p, str_from(text));
}

/* Bits of `events` are 1 << guard_metric; a threshold of 0 is unknown, and nothing is above it. */
static int take_decisions(struct pq_conn *c, const struct rollout *r, const struct range *range,
                          uint64_t *out_rows, struct err *err)
{
    struct pq_params p = {0};
    range_params(&p, r, range);
    number_param(&p, r->baseline.latency_p95_ms);
    number_param(&p, r->baseline.cost_p99);
    number_param(&p, r->baseline.cost_cap);
    number_param(&p, r->baseline.tokens_cap);
    return affected(
        c,
        "INSERT INTO fold_in SELECT o.unit_hash, o.arm, o.stage, o.slot, o.stratum, "
        "CASE WHEN u.apart THEN 64 ELSE o.cluster END, false, u.unit_hash IS NULL AND "
        "row_number() OVER (PARTITION BY o.unit_hash ORDER BY o.bucket, o.request_id) = 1, "
        "o.flags, (o.flags & 1) | (CASE WHEN o.flags & 4 <> 0 THEN 2 ELSE 0 END) | "
        "(CASE WHEN o.flags & 16 <> 0 AND $4::float8 > 0 AND o.latency_ms > $4::float8 THEN 4 ELSE "
        "0 END) | (CASE WHEN $5::float8 > 0 AND o.cost > $5::float8 THEN 8 ELSE 0 END) | "
        "(CASE WHEN o.flags & 8 <> 0 THEN 32 ELSE 0 END), "
        "CASE WHEN o.flags & 16 <> 0 AND o.cost >= 0 THEN CASE WHEN $6::float8 > 0 THEN "
        "least(o.cost, $6::float8) ELSE o.cost END END, "
        "CASE WHEN o.flags & 16 <> 0 THEN CASE WHEN $7::float8 > 0 THEN least(o.tokens_out, "
        "$7::float8) ELSE o.tokens_out END END, NULL, coalesce(u.events, 0), coalesce(u.valued, "
        "0), o.chosen_q, o.chosen_cost, o.shadow_q, o.shadow_cost FROM canary_obs o LEFT JOIN "
        "canary_unit u ON u.rollout_id = o.rollout_id AND u.unit_hash = o.unit_hash WHERE "
        "o.rollout_id = $1 AND o.xid >= $2::xid8 AND o.xid < $3::xid8",
        &p, out_rows, err);
}

/* Votes that came since, for decisions that are there; and decisions that came since, for votes
 * that were there. Votes of requests from before the rollout are none of its own; saying so lets
 * the server leave out old days. */
#define VOTE_COLUMNS                                                                               \
    "SELECT o.unit_hash, o.arm, o.stage, o.slot, o.stratum, CASE WHEN u.apart THEN 64 ELSE "       \
    "o.cluster END, true, false, 0, CASE WHEN f.source = 'thumb' AND f.score_q16 < 32768 THEN 16 " \
    "ELSE 0 END, NULL::float8, NULL::float8, f.score_q16 / 65536.0::float8, coalesce(u.events, "   \
    "0), coalesce(u.valued, 0), NULL::integer, NULL::bigint, NULL::integer, NULL::bigint "
#define VOTE_UNIT                                                                                  \
    "LEFT JOIN canary_unit u ON u.rollout_id = o.rollout_id AND u.unit_hash = o.unit_hash WHERE "  \
    "f.source IN ('eval', 'judge', 'thumb') AND f.ts >= $4::timestamptz - interval '1 hour' AND "
static int take_votes(struct pq_conn *c, const struct rollout *r, const struct range *range,
                      uint64_t *out_rows, struct err *err)
{
    struct pq_params p = {0};
    range_params(&p, r, range);
    pq_params_time_us(&p, r->created_ms * 1000);
    return affected(
        c,
        "INSERT INTO fold_in " VOTE_COLUMNS "FROM feedback f JOIN canary_obs o ON o.request_id = "
        "f.request_id AND o.rollout_id = $1 " VOTE_UNIT "f.xid >= $2::xid8 AND f.xid < $3::xid8 "
        "AND o.xid < $3::xid8 UNION ALL " VOTE_COLUMNS "FROM canary_obs o JOIN feedback f ON "
        "f.request_id = o.request_id " VOTE_UNIT "o.rollout_id = $1 AND o.xid >= $2::xid8 AND "
        "o.xid < $3::xid8 AND f.xid < $2::xid8",
        &p, out_rows, err);
}

/* --- the cells -------------------------------------------------------------------------------
 */

static int add_fold(struct pq_conn *c, const struct rollout *r, const struct range *range,
                    int64_t now_us, uint64_t term, const struct fold_result *result,
                    struct err *err)
{
    struct pq_params p = {0};
    range_params(&p, r, range);
    pq_params_i64(&p, (int64_t)r->fold);
    pq_params_time_us(&p, now_us);
    pq_params_i64(&p, (int64_t)result->rows);
    pq_params_i64(&p, (int64_t)result->votes);
    pq_params_i64(&p, (int64_t)term);
    return pq_conn_query(c,
                         "INSERT INTO canary_fold (rollout_id, from_xid, to_xid, fold, bucket, "
                         "rows, votes, term) VALUES ($1, $2::xid8, $3::xid8, $4, $5, $6, $7, $8)",
                         &p, NULL, err);
}

static void shares_param(struct pq_params *p, const struct rollout *r)
{
    char text[16 * ROLLOUT_STAGES_MAX];
    int n = snprintf(text, sizeof text, "{");
    for (uint32_t i = 0; i < r->plan.machine.stages; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%u", i == 0 ? "" : ",",
                      r->plan.machine.stage[i].share_bp);
    (void)snprintf(text + n, sizeof text - (size_t)n, "}");
    pq_params_text(p, str_from(text));
}

/* Columns of the cells, in the order in which they are read below. */
enum cell_column {
    CELL_STAGE,
    CELL_STRATUM,
    CELL_ARM,
    CELL_CLUSTER,
    CELL_N,
    CELL_EXPOSURES,
    CELL_NEW_STABLE,
    CELL_NEW_CANDIDATE,
    CELL_FAILED,
    CELL_EVENTS,                             /* GUARD_EVENTS of them. */
    CELL_MEANS = CELL_EVENTS + GUARD_EVENTS, /* GUARD_MEANS times n, sum, sumsq. */
    CELL_DIFFERS = CELL_MEANS + 3 * GUARD_MEANS,
    CELL_SHADOWED,
};

#define UNITS_WITH(bit) "count(DISTINCT unit_hash) FILTER (WHERE events & " bit " <> 0)"
#define MOMENTS(column)                                                                            \
    "count(" column "), coalesce(sum(" column "), 0), coalesce(sum(" column " * " column "), 0)"

/* clang-format off */
static int add_cells(struct pq_conn *c, const struct rollout *r, int64_t now_us,
                     struct pq_result **out_cells, struct err *err)
{
    struct pq_params p = {0};
    pq_params_i64(&p, r->id);
    pq_params_i64(&p, (int64_t)r->fold);
    pq_params_time_us(&p, now_us);
    shares_param(&p, r);
    return pq_conn_query(c,
        "WITH cell AS (INSERT INTO canary_cell (rollout_id, fold, bucket, stage, arm, stratum, "
        "cluster, n, exposures, new_stable, new_candidate, failed, errors, timeouts, slow, dear, "
        "disliked, clamped, cost_n, cost_sum, cost_sumsq, quality_n, quality_sum, quality_sumsq, "
        "tokens_n, tokens_sum, tokens_sumsq, differs, shadowed) SELECT $1, $2, $3, stage, arm, "
        "stratum, cluster, count(*) FILTER (WHERE NOT is_vote), "
        "count(DISTINCT unit_hash) FILTER (WHERE NOT is_vote), "
        "count(*) FILTER (WHERE is_new AND slot >= ($4::integer[])[stage + 1]), "
        "count(*) FILTER (WHERE is_new AND slot < ($4::integer[])[stage + 1]), "
        "count(*) FILTER (WHERE flags & 1 <> 0), "
        UNITS_WITH("1") ", " UNITS_WITH("2") ", " UNITS_WITH("4") ", "
        UNITS_WITH("8") ", " UNITS_WITH("16") ", " UNITS_WITH("32") ", "
        MOMENTS("cost") ", " MOMENTS("quality") ", " MOMENTS("tokens") ", "
        "count(*) FILTER (WHERE flags & 64 <> 0), count(*) FILTER (WHERE flags & 32 <> 0) "
        "FROM fold_in GROUP BY stage, arm, stratum, cluster RETURNING *) SELECT stage, stratum, "
        "arm, cluster, n, exposures, new_stable, new_candidate, failed, errors, timeouts, slow, "
        "dear, disliked, clamped, cost_n, cost_sum, cost_sumsq, quality_n, quality_sum, "
        "quality_sumsq, tokens_n, tokens_sum, tokens_sumsq, differs, shadowed FROM cell ORDER BY "
        "stage, stratum, arm, cluster",
        &p, out_cells, err);
}

/* clang-format on */

/* --- units -----------------------------------------------------------------------------------
 */

/* How many of the candidate's units have an event or a value for the first time. */
static int count_units(struct pq_conn *c, struct rollout_counts *counts, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(
        c,
        "SELECT count(*) FILTER (WHERE e & 1 <> 0), count(*) FILTER (WHERE e & 2 <> 0), "
        "count(*) FILTER (WHERE e & 4 <> 0), count(*) FILTER (WHERE e & 8 <> 0), "
        "count(*) FILTER (WHERE e & 16 <> 0), count(*) FILTER (WHERE e & 32 <> 0), "
        "count(*) FILTER (WHERE v & 64 <> 0), count(*) FILTER (WHERE v & 128 <> 0), "
        "count(*) FILTER (WHERE v & 256 <> 0), count(*) FILTER (WHERE v & 32768 <> 0) FROM ("
        "SELECT bit_or(events) & ~max(known_events) AS e, bit_or((CASE WHEN cost IS NOT NULL THEN "
        "64 ELSE 0 END) | (CASE WHEN quality IS NOT NULL THEN 128 ELSE 0 END) | (CASE WHEN tokens "
        "IS NOT NULL THEN 256 ELSE 0 END) | (CASE WHEN is_vote THEN 0 ELSE 32768 END)) & "
        "~max(known_valued) AS v FROM fold_in WHERE arm = 2 AND cluster < 64 GROUP BY unit_hash) x",
        NULL, &r, err);
    if (rc != 0)
        return rc;
    for (unsigned i = 0; i < GUARD_EVENTS; i++)
        counts->units_event[i] += (uint64_t)pq_result_i64(r, 0, (int)i);
    for (unsigned i = 0; i < GUARD_MEANS; i++)
        counts->units_valued[i] += (uint64_t)pq_result_i64(r, 0, (int)(GUARD_EVENTS + i));
    counts->units += (uint64_t)pq_result_i64(r, 0, GUARD_METRICS);
    pq_result_destroy(r);
    return 0;
}

static int keep_units(struct pq_conn *c, const struct rollout *r, struct err *err)
{
    struct pq_params p = {0};
    pq_params_i64(&p, r->id);
    pq_params_i64(&p, (int64_t)r->fold);
    return pq_conn_query(
        c,
        "INSERT INTO canary_unit AS u (rollout_id, unit_hash, first_fold, exposures, events, "
        "valued) SELECT $1, unit_hash, $2, count(*) FILTER (WHERE NOT is_vote), "
        "coalesce(bit_or(CASE WHEN arm = 2 AND cluster < 64 THEN events END), 0), "
        "coalesce(bit_or(CASE WHEN arm = 2 AND cluster < 64 THEN (CASE WHEN cost IS NOT NULL THEN "
        "64 ELSE 0 END) | (CASE WHEN quality IS NOT NULL THEN 128 ELSE 0 END) | (CASE WHEN tokens "
        "IS NOT NULL THEN 256 ELSE 0 END) | (CASE WHEN is_vote THEN 0 ELSE 32768 END) END), 0) "
        "FROM fold_in GROUP BY unit_hash ORDER BY unit_hash ON CONFLICT (rollout_id, unit_hash) DO "
        "UPDATE SET exposures = u.exposures + excluded.exposures, events = u.events | "
        "excluded.events, valued = u.valued | excluded.valued",
        &p, NULL, err);
}

static int set_apart(struct pq_conn *c, const struct rollout *r, int64_t unit, struct err *err)
{
    struct pq_params p = {0};
    pq_params_i64(&p, r->id);
    pq_params_i64(&p, unit);
    return pq_conn_query(c,
                         "UPDATE canary_unit SET apart = true WHERE rollout_id = $1 AND unit_hash "
                         "= $2",
                         &p, NULL, err);
}

/* From the next fold on: no bucket's own data choose which of it counts. */
static int mark_heavy(struct pq_conn *c, struct rollout *r, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *q = NULL;
    pq_params_i64(&p, r->id);
    pq_params_i64(&p, (int64_t)(r->counts.total * EXCLUSION_SHARE_BP / 10000));
    int rc = pq_conn_query(c,
                           "SELECT unit_hash, exposures FROM canary_unit WHERE rollout_id = $1 AND "
                           "exposures >= $2 AND NOT apart ORDER BY exposures DESC LIMIT 64",
                           &p, &q, err);
    if (rc != 0)
        return rc;
    for (int i = 0; i < pq_result_rows(q) && rc == 0; i++) {
        if (!exclusion_is_heavy((uint64_t)pq_result_i64(q, i, 1), r->counts.total))
            continue;
        rc = set_apart(c, r, pq_result_i64(q, i, 0), err);
        r->counts.apart++;
    }
    pq_result_destroy(q);
    return rc;
}

/* What the versions expect of themselves, over requests that stable served. */
static int add_shadow(struct pq_conn *c, struct rollout_counts *counts, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(c,
                           "SELECT count(*), coalesce(sum(chosen_cost), 0)::float8, "
                           "coalesce(sum(shadow_cost), 0)::float8, coalesce(sum(chosen_q), "
                           "0)::float8, coalesce(sum(shadow_q), 0)::float8 FROM fold_in WHERE NOT "
                           "is_vote AND arm = 1 AND chosen_cost IS NOT NULL AND shadow_cost IS NOT "
                           "NULL AND shadow_q IS NOT NULL",
                           NULL, &r, err);
    if (rc != 0)
        return rc;
    counts->shadow_n += (uint64_t)pq_result_i64(r, 0, 0);
    counts->chosen_cost += pq_result_double(r, 0, 1);
    counts->shadow_cost += pq_result_double(r, 0, 2);
    counts->chosen_q += pq_result_double(r, 0, 3);
    counts->shadow_q += pq_result_double(r, 0, 4);
    pq_result_destroy(r);
    return 0;
}

/* --- to the guards ---------------------------------------------------------------------------
 */

static uint64_t cell_u64(const struct pq_result *cells, int row, unsigned column)
{
    return (uint64_t)pq_result_i64(cells, row, (int)column);
}

static int32_t cell_stage(const struct pq_result *cells, int row)
{
    return (int32_t)pq_result_i64(cells, row, CELL_STAGE);
}

static bool is_tested(const struct pq_result *cells, int row)
{
    int64_t arm = pq_result_i64(cells, row, CELL_ARM);
    return (arm == 1 || arm == 2) && pq_result_i64(cells, row, CELL_CLUSTER) < APART;
}

static unsigned arm_index(const struct pq_result *cells, int row)
{
    return (unsigned)pq_result_i64(cells, row, CELL_ARM) - 1;
}

/* Votes come long after the requests, and other units' than those that come meanwhile: what is
 * known of them is the share that the candidate nominally had when their requests came. */
static void use_nominal_share(struct event_cell *cell, uint32_t share_bp)
{
    uint64_t k = cell->events[0] + cell->events[1] + 1;
    cell->exposures[0] = k * (ROLLOUT_SHARE_ALL_BP - share_bp);
    cell->exposures[1] = k * share_bp;
}

static void fold_events(struct rollout *r, int32_t stage, struct event_cell cell[GUARD_EVENTS])
{
    uint32_t share_bp = r->plan.machine.stage[stage].share_bp;
    use_nominal_share(&cell[GUARD_THUMB_DOWN], share_bp);
    for (unsigned i = 0; i < GUARD_EVENTS; i++) {
        if (i == GUARD_THUMB_DOWN && cell[i].events[0] + cell[i].events[1] == 0)
            continue;
        guards_fold_event(&r->guards, (enum guard_metric)i, &cell[i]);
    }
}

/* Rows stand in the order of stage and stratum. */
static void feed_events(struct rollout *r, const struct pq_result *cells)
{
    int rows = pq_result_rows(cells);
    for (int i = 0; i < rows;) {
        struct event_cell cell[GUARD_EVENTS] = {0};
        int32_t stage = cell_stage(cells, i);
        int64_t stratum = pq_result_i64(cells, i, CELL_STRATUM);
        for (; i < rows && cell_stage(cells, i) == stage &&
               pq_result_i64(cells, i, CELL_STRATUM) == stratum;
             i++) {
            if (!is_tested(cells, i))
                continue;
            unsigned arm = arm_index(cells, i);
            uint64_t exposures = cell_u64(cells, i, CELL_EXPOSURES);
            int64_t cluster = pq_result_i64(cells, i, CELL_CLUSTER);
            for (unsigned k = 0; k < GUARD_EVENTS; k++) {
                uint64_t events = cell_u64(cells, i, CELL_EVENTS + k);
                cell[k].exposures[arm] += exposures;
                cell[k].events[arm] += events;
                if (arm == 0 && cluster >= 0) {
                    cell[k].cluster_exposures[cluster] += exposures;
                    cell[k].cluster_events[cluster] += events;
                }
            }
        }
        if (stage >= 0 && stage < (int32_t)r->plan.machine.stages)
            fold_events(r, stage, cell);
    }
}

static double share_of(const struct rollout *r, int32_t stage)
{
    return stage < 0 ? 0 : (double)r->plan.machine.stage[stage].share_bp / ROLLOUT_SHARE_ALL_BP;
}

static void feed_units(struct rollout *r, const struct pq_result *cells)
{
    int rows = pq_result_rows(cells);
    for (int i = 0; i < rows;) {
        uint64_t stable = 0, candidate = 0;
        int32_t stage = cell_stage(cells, i);
        for (; i < rows && cell_stage(cells, i) == stage; i++) {
            stable += cell_u64(cells, i, CELL_NEW_STABLE);
            candidate += cell_u64(cells, i, CELL_NEW_CANDIDATE);
        }
        if (stage >= 0 && stage < (int32_t)r->plan.machine.stages)
            guards_fold_units(&r->guards, share_of(r, stage), stable, candidate);
    }
}

static void add_moments(struct mean_cell *cell, const struct pq_result *cells, int row,
                        unsigned metric)
{
    int column = (int)(CELL_MEANS + 3 * metric);
    cell->n += (uint64_t)pq_result_i64(cells, row, column);
    cell->sum += pq_result_double(cells, row, column + 1);
    cell->sumsq += pq_result_double(cells, row, column + 2);
}

/* bucket: GUARD_MEANS of them, for work. */
static void feed_means(struct rollout *r, const struct pq_result *cells, struct mean_bucket *bucket)
{
    int rows = pq_result_rows(cells);
    for (int i = 0; i < rows;) {
        int32_t stage = cell_stage(cells, i);
        memset(bucket, 0, GUARD_MEANS * sizeof *bucket);
        for (; i < rows && cell_stage(cells, i) == stage; i++) {
            if (!is_tested(cells, i))
                continue;
            unsigned arm = arm_index(cells, i);
            int64_t cluster = pq_result_i64(cells, i, CELL_CLUSTER);
            for (unsigned k = 0; k < GUARD_MEANS; k++)
                add_moments(&bucket[k].cell[arm][cluster], cells, i, k);
        }
        if (stage >= (int32_t)r->plan.machine.stages)
            continue;
        for (unsigned k = 0; k < GUARD_MEANS; k++) {
            bucket[k].pi = share_of(r, stage);
            guards_fold_mean(&r->guards, (enum guard_metric)(GUARD_EVENTS + k), &bucket[k]);
        }
    }
}

static void count_cells(struct rollout_counts *counts, const struct pq_result *cells)
{
    double *const sums[GUARD_MEANS] = {counts->cost, counts->quality, counts->tokens};
    uint64_t *const ns[GUARD_MEANS] = {counts->cost_n, counts->quality_n, counts->tokens_n};
    for (int i = 0; i < pq_result_rows(cells); i++) {
        uint64_t n = cell_u64(cells, i, CELL_N);
        int32_t stage = cell_stage(cells, i);
        counts->total += n;
        counts->shadowed += cell_u64(cells, i, CELL_SHADOWED);
        counts->differs += cell_u64(cells, i, CELL_DIFFERS);
        if (pq_result_i64(cells, i, CELL_ARM) == 3)
            counts->unavailable += n;
        if (!is_tested(cells, i) || stage >= (int32_t)ROLLOUT_STAGES_MAX)
            continue;
        unsigned arm = arm_index(cells, i);
        counts->requests[stage + 1][arm] += n;
        counts->failed[arm] += cell_u64(cells, i, CELL_FAILED);
        for (unsigned k = 0; k < GUARD_MEANS; k++) {
            ns[k][arm] += cell_u64(cells, i, CELL_MEANS + 3 * k);
            sums[k][arm] += pq_result_double(cells, i, (int)(CELL_MEANS + 3 * k + 1));
        }
    }
}

static int fold_taken(struct pq_conn *c, struct rollout *r, const struct range *range,
                      int64_t now_us, uint64_t term, const struct fold_result *result,
                      struct err *err)
{
    struct pq_result *cells = NULL;
    struct mean_bucket *bucket = mem_calloc(GUARD_MEANS, sizeof *bucket);
    if (bucket == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    r->fold++;
    int rc = add_fold(c, r, range, now_us, term, result, err);
    if (rc == 0)
        rc = add_cells(c, r, now_us, &cells, err);
    if (rc == 0)
        rc = count_units(c, &r->counts, err);
    if (rc == 0)
        rc = add_shadow(c, &r->counts, err);
    if (rc == 0)
        rc = keep_units(c, r, err);
    if (rc == 0) {
        count_cells(&r->counts, cells);
        r->counts.votes += result->votes;
        feed_events(r, cells);
        feed_units(r, cells);
        feed_means(r, cells, bucket);
        rc = mark_heavy(c, r, err);
    }
    pq_result_destroy(cells);
    mem_free(bucket);
    return rc;
}

int rollout_fold(struct pq_conn *c, struct rollout *r, int64_t now_us, uint64_t term,
                 struct fold_result *out, struct err *err)
{
    struct range range;
    struct fold_result result = {0};
    int rc = make_table(c, err);
    if (rc == 0)
        rc = find_range(c, r, &range, &result, err);
    if (rc == 0 && result.went_back) {
        *out = result;
        return 0;
    }
    if (rc == 0)
        rc = take_decisions(c, r, &range, &result.rows, err);
    if (rc == 0)
        rc = take_votes(c, r, &range, &result.votes, err);
    if (rc == 0 && result.rows + result.votes > 0)
        rc = fold_taken(c, r, &range, now_us, term, &result, err);
    if (rc == 0) {
        memcpy(r->folded_xid, range.to, sizeof r->folded_xid);
        *out = result;
    }
    return rc;
}

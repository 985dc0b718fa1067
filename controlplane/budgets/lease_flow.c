/* One life's rows through a transaction: lock the periods, read the rows of all lives on them,
 * decide (lease.h, grant.h), write back, notify whom something is recalled from. A period that is
 * not there yet is made in a statement of its own before, so that no new row is locked out of
 * order.
 */
#include "controlplane/budgets/lease_flow.h"

#include "common/base/buf.h"
#include "common/base/mem.h"

#define TEXT_MAX   (1U << 22)
#define OTHERS_MAX 65536

/* ---- arrays as text ---- */

struct list_text {
    struct buf b;
    int rc;
};

static void list_begin(struct list_text *l)
{
    buf_init(&l->b, TEXT_MAX);
    l->rc = buf_append_char(&l->b, '{');
}

static void list_i64(struct list_text *l, int64_t value)
{
    if (l->rc == 0 && l->b.len > 1)
        l->rc = buf_append_char(&l->b, ',');
    if (l->rc == 0)
        l->rc = buf_append_i64(&l->b, value);
}

static void list_end(struct list_text *l, struct pq_params *p)
{
    if (l->rc == 0)
        l->rc = buf_append_char(&l->b, '}');
    if (l->rc != 0 && p->status == 0)
        p->status = l->rc;
    pq_params_text(p, l->rc == 0 ? buf_str(&l->b) : (struct str){0});
    buf_deinit(&l->b);
}

/* ---- finding and locking periods ---- */

/* $1..$4: budgets, starts (0: now), cfgs, next; $5: final (any period that a node names exists). */
#define RESOLVED                                                                                   \
    "WITH u AS (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::int[]) "           \
    "  WITH ORDINALITY AS t(budget, start_us, cfg, next, n)), "                                    \
    "cur AS (SELECT u.n, b.*, u.start_us, u.cfg AS had, u.next = 1 AS next, "                      \
    "  (budget_period_bounds(b.period, b.tz, b.anchor, CASE WHEN u.start_us = 0 THEN now() "       \
    "    ELSE steelyard_time(u.start_us) END)).* FROM u JOIN budget b ON b.id = u.budget), "       \
    "want AS (SELECT cur.n, cur.id, cur.removed IS NULL AS known, cur.mode = 'strict' AS strict, " \
    "  cur.cfg AS cfg_now, cur.offline_nano, cur.limit_nano, cur.carry, "                          \
    "  CASE WHEN cur.next THEN nx.period_start WHEN cur.start_us = 0 THEN cur.period_start "       \
    "    ELSE steelyard_time(cur.start_us) END AS period_start, "                                  \
    "  CASE WHEN cur.start_us = 0 OR cur.next THEN cur.cfg ELSE cur.had END AS cfg, "              \
    "  CASE WHEN cur.next THEN nx.period_end WHEN cur.start_us = 0 OR cur.had = cur.cfg "          \
    "    THEN cur.period_end ELSE now() END AS period_end "                                        \
    "  FROM cur LEFT JOIN LATERAL budget_period_bounds(cur.period, cur.tz, cur.anchor, "           \
    "    cur.period_end) nx ON cur.next AND cur.period_end <> 'infinity' "                         \
    "  WHERE NOT cur.next OR (cur.had = cur.cfg AND cur.removed IS NULL "                          \
    "    AND cur.period_end < now() + interval '3 minutes')) "

static const char lock_periods[] =
    RESOLVED "SELECT w.n, w.id, w.known, w.strict, w.cfg_now, w.offline_nano, w.limit_nano, "
             "steelyard_us(p.period_start), w.cfg, steelyard_us(p.period_end), p.committed, "
             "p.settled, p.adjust "
             "FROM want w JOIN budget_period p ON p.budget_id = w.id AND "
             "p.period_start = w.period_start AND p.cfg = w.cfg "
             "ORDER BY p.budget_id, p.period_start, p.cfg FOR UPDATE OF p";

/* Those that are missing. A debt is what the period before spent or promised above its limit. */
static const char make_periods[] = RESOLVED
    ", made AS (INSERT INTO budget_period (budget_id, period_start, cfg, period_end, limit_nano) "
    "SELECT DISTINCT ON (w.id, w.period_start, w.cfg) w.id, w.period_start, w.cfg, w.period_end, "
    "w.limit_nano FROM want w WHERE NOT EXISTS (SELECT FROM budget_period p WHERE "
    "p.budget_id = w.id AND p.period_start = w.period_start AND p.cfg = w.cfg) "
    "ORDER BY w.id, w.period_start, w.cfg ON CONFLICT DO NOTHING "
    "RETURNING budget_id, period_start, cfg) "
    "SELECT m.budget_id, m.period_start::text, m.cfg, d.debt FROM made m "
    "JOIN budget b ON b.id = m.budget_id AND b.carry = 'debt', "
    "LATERAL (SELECT greatest(o.committed + o.adjust - o.limit_nano, 0) AS debt "
    "  FROM budget_period o WHERE o.budget_id = m.budget_id AND o.period_start < m.period_start "
    "  ORDER BY o.period_start DESC, o.cfg DESC LIMIT 1) d WHERE d.debt > 0";

static void usage_params(const struct lease_flow *f, struct pq_params *p)
{
    struct list_text budget, start, cfg, next;
    list_begin(&budget);
    list_begin(&start);
    list_begin(&cfg);
    list_begin(&next);
    for (uint32_t i = 0; i < f->count; i++) {
        list_i64(&budget, (int64_t)f->usage[i].budget);
        list_i64(&start, f->usage[i].start_us);
        list_i64(&cfg, (int32_t)f->usage[i].cfg);
        list_i64(&next, f->usage[i].next);
    }
    list_end(&budget, p);
    list_end(&start, p);
    list_end(&cfg, p);
    list_end(&next, p);
}

int lease_flow_make_periods(struct lease_flow *f, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    usage_params(f, &p);
    int rc = pq_conn_query(f->conn, make_periods, &p, &r, err);
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++) {
        struct pq_params d = {0};
        pq_params_i64(&d, pq_result_i64(r, i, 0));
        pq_params_text(&d, pq_result_text(r, i, 1));
        pq_params_i64(&d, pq_result_i64(r, i, 2));
        pq_params_i64(&d, pq_result_i64(r, i, 3));
        rc =
            pq_conn_query(f->conn,
                          "INSERT INTO budget_adjust (budget_id, period_start, cfg, amount, actor, "
                          "reason) VALUES ($1, $2::timestamptz, $3, $4, 'steelyard', "
                          "'debt carried over')",
                          &d, NULL, err);
    }
    pq_result_destroy(r);
    return rc;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Two usages of one period in a message (an ask beside a report): together they are one. */
static void usage_merge(struct grant_usage *u, const struct grant_usage *v)
{
    u->settled = most(u->settled, v->settled);
    u->returned = most(u->returned, v->returned);
    u->reserved = most(u->reserved, v->reserved);
    u->want = most(u->want, v->want);
    u->need = most(u->need, v->need);
    u->granted = most(u->granted, v->granted);
}

static void item_add(struct lease_flow *f, const struct pq_result *r, int row)
{
    const struct lease_usage *u = &f->usage[pq_result_i64(r, row, 0) - 1];
    struct lease_item item = {
        .usage = u->usage,
        .budget = (uint64_t)pq_result_i64(r, row, 1),
        .known = pq_result_bool(r, row, 2),
        .strict = pq_result_bool(r, row, 3),
        .cfg_now = (uint32_t)pq_result_i64(r, row, 4),
        .offline = pq_result_i64(r, row, 5),
        .period = {.limit = pq_result_i64(r, row, 6),
                   .committed = pq_result_i64(r, row, 10),
                   .settled = pq_result_i64(r, row, 11),
                   .adjust = pq_result_i64(r, row, 12)},
        .start_us = pq_result_i64(r, row, 7),
        .cfg = (uint32_t)pq_result_i64(r, row, 8),
        .end_us = pq_result_i64(r, row, 9),
    };
    if (u->next) /* Its counters are those of the period before. */
        item.usage = (struct grant_usage){.want = u->usage.want};
    struct lease_item *last = f->item_count > 0 ? &f->items[f->item_count - 1] : NULL;
    if (last != NULL && last->budget == item.budget && last->start_us == item.start_us &&
        last->cfg == item.cfg)
        usage_merge(&last->usage, &item.usage);
    else
        f->items[f->item_count++] = item;
}

/* *out_missing: some period is not there; roll back and make it. */
static int periods_lock(struct lease_flow *f, bool *out_missing, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    usage_params(f, &p);
    int rc = pq_conn_query(f->conn, lock_periods, &p, &r, err);
    f->item_count = 0;
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++)
        item_add(f, r, i);
    if (rc == 0)
        *out_missing = pq_result_rows(r) < (int)f->count;
    pq_result_destroy(r);
    return rc;
}

/* ---- rows ---- */

static void key_params(const struct lease_flow *f, struct pq_params *p)
{
    struct list_text budget, start, cfg;
    list_begin(&budget);
    list_begin(&start);
    list_begin(&cfg);
    for (uint32_t i = 0; i < f->item_count; i++) {
        list_i64(&budget, (int64_t)f->items[i].budget);
        list_i64(&start, f->items[i].start_us);
        list_i64(&cfg, (int32_t)f->items[i].cfg);
    }
    list_end(&budget, p);
    list_end(&start, p);
    list_end(&cfg, p);
}

#define KEYS                                                                                       \
    "unnest($1::bigint[], $2::bigint[], $3::int[]) WITH ORDINALITY AS k(budget, start_us, cfg, n)"

/* A new statement, so that it sees what was committed while the periods were waited for. */
static const char read_rows[] =
    "SELECT k.n, a.node_id = $4::uuid AND a.epoch = $5, a.g, a.s, a.r, a.overage, a.state, "
    "a.reserved, a.last_report > clock_timestamp() - interval '60 seconds', a.node_id, a.epoch "
    "FROM " KEYS " JOIN budget_alloc a ON a.budget_id = k.budget AND "
    "a.period_start = steelyard_time(k.start_us) AND a.cfg = k.cfg "
    "WHERE a.state = 0 OR (a.node_id = $4::uuid AND a.epoch = $5) ORDER BY k.n LIMIT $6";

static void row_read(struct lease_flow *f, int row)
{
    const struct pq_result *r = f->others;
    uint32_t at = (uint32_t)pq_result_i64(r, row, 0) - 1;
    struct lease_item *i = &f->items[at];
    int64_t g = pq_result_i64(r, row, 2), s = pq_result_i64(r, row, 3),
            back = pq_result_i64(r, row, 4);
    if (i->others == NULL)
        i->others = &f->holdings[row];
    if (pq_result_bool(r, row, 1)) {
        i->row = (struct grant_row){.g = g,
                                    .s = s,
                                    .r = back,
                                    .overage = pq_result_i64(r, row, 5),
                                    .state = (enum grant_state)pq_result_i64(r, row, 6)};
        f->own[at] = true;
        /* Keeps its place among the holdings, with nothing to recall. */
    } else {
        f->holdings[row] = (struct grant_holding){.outstanding = g - s - back,
                                                  .reserved = pq_result_i64(r, row, 7)};
        i->others_active += pq_result_bool(r, row, 8);
    }
    i->other_count++;
}

static int rows_read(struct lease_flow *f, struct err *err)
{
    struct pq_params p = {0};
    key_params(f, &p);
    pq_params_text(&p, str_from(f->node));
    pq_params_i64(&p, f->epoch);
    pq_params_i64(&p, OTHERS_MAX);
    int rc = pq_conn_query(f->conn, read_rows, &p, &f->others, err);
    if (rc != 0)
        return rc;
    int rows = pq_result_rows(f->others);
    f->holdings = mem_calloc((size_t)rows + 1, sizeof(*f->holdings));
    f->own = mem_calloc((size_t)f->item_count + 1, sizeof(*f->own));
    if (f->holdings == NULL || f->own == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    for (int i = 0; i < rows; i++)
        row_read(f, i);
    return 0;
}

/* ---- writing back ---- */

static const char write_rows[] =
    "WITH v AS (SELECT k.budget, steelyard_time(k.start_us) AS start, k.cfg, w.* FROM " KEYS
    " JOIN unnest($6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], "
    "$11::int[], $12::bigint[], $13::bigint[], $14::bigint[]) WITH ORDINALITY "
    "AS w(g, s, r, overage, reserved, state, committed, settled, lim, m) ON w.m = k.n), "
    "p AS (UPDATE budget_period t SET committed = v.committed, settled = v.settled, "
    "limit_nano = v.lim FROM v WHERE t.budget_id = v.budget AND t.period_start = v.start AND "
    "t.cfg = v.cfg) "
    "INSERT INTO budget_alloc (budget_id, period_start, cfg, node_id, epoch, g, s, r, overage, "
    "reserved, state, last_report) SELECT budget, start, cfg, $4::uuid, $5, g, s, r, overage, "
    "reserved, state, clock_timestamp() FROM v "
    "ON CONFLICT (budget_id, period_start, cfg, node_id, epoch) DO UPDATE SET g = excluded.g, "
    "s = excluded.s, r = excluded.r, overage = excluded.overage, reserved = excluded.reserved, "
    "state = excluded.state, last_report = excluded.last_report";

static int rows_write(struct lease_flow *f, struct err *err)
{
    enum { COLUMNS = 9 };
    struct pq_params p = {0};
    struct list_text list[COLUMNS];
    key_params(f, &p);
    pq_params_text(&p, str_from(f->node));
    pq_params_i64(&p, f->epoch);
    for (int c = 0; c < COLUMNS; c++)
        list_begin(&list[c]);
    for (uint32_t i = 0; i < f->item_count; i++) {
        const struct lease_item *it = &f->items[i];
        const int64_t values[COLUMNS] = {it->row.g,
                                         it->row.s,
                                         it->row.r,
                                         it->row.overage,
                                         it->usage.reserved,
                                         (int64_t)it->row.state,
                                         it->period.committed,
                                         it->period.settled,
                                         it->period.limit};
        for (int c = 0; c < COLUMNS; c++)
            list_i64(&list[c], values[c]);
    }
    for (int c = 0; c < COLUMNS; c++)
        list_end(&list[c], &p);
    return pq_conn_query(f->conn, write_rows, &p, NULL, err);
}

/* The budget_alloc rows of others are guarded by the periods' locks; a transaction that hands out
 * recalls skips what is locked. */
static int recall_one(struct lease_flow *f, const struct lease_item *it, int row, struct err *err)
{
    struct pq_params p = {0};
    pq_params_i64(&p, (int64_t)it->budget);
    pq_params_i64(&p, it->start_us);
    pq_params_i64(&p, (int32_t)it->cfg);
    pq_params_text(&p, pq_result_text(f->others, row, 9));
    pq_params_i64(&p, pq_result_i64(f->others, row, 10));
    pq_params_i64(&p, it->alloc.keep);
    return pq_conn_query(f->conn,
                         "WITH r AS (UPDATE budget_alloc SET recall_keep = $6 WHERE budget_id = $1 "
                         "AND period_start = steelyard_time($2) AND cfg = $3 AND "
                         "node_id = $4::uuid AND epoch = $5 AND state = 0) "
                         "SELECT pg_notify('" LEASE_RECALL_CHANNEL "', $4::uuid::text)",
                         &p, NULL, err);
}

static int recalls_write(struct lease_flow *f, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < f->item_count; i++) {
        const struct lease_item *it = &f->items[i];
        for (uint32_t n = 0; rc == 0 && n < it->other_count; n++)
            if (it->others[n].chosen)
                rc = recall_one(f, it, (int)(&it->others[n] - f->holdings), err);
    }
    return rc;
}

/* ---- one life's items ---- */

static void flow_decide(struct lease_flow *f)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->item_count; i++) {
        struct lease_item *it = &f->items[i];
        switch (f->kind) {
        case LEASE_FLOW_REPORT:
            if (!f->open && !f->own[i])
                continue; /* Nothing new for a life that is over. */
            lease_decide(it, &f->moment);
            break;
        case LEASE_FLOW_FINAL:
            grant_final(&it->period, &it->row, &it->usage, f->exact, it->strict);
            break;
        case LEASE_FLOW_LOSE:
            grant_lose(&it->period, &it->row, it->strict);
            break;
        case LEASE_FLOW_RELEASE:
            grant_release(&it->period, &it->row);
            break;
        }
        f->items[kept++] = *it;
    }
    f->item_count = kept;
}

void lease_flow_deinit(struct lease_flow *f)
{
    pq_result_destroy(f->others);
    mem_free(f->holdings);
    mem_free(f->own);
    mem_free(f->items);
    f->others = NULL;
    f->holdings = NULL;
    f->own = NULL;
    f->items = NULL;
    f->item_count = 0;
}

int lease_flow_run(struct lease_flow *f, bool made, struct err *err)
{
    bool missing = false;
    if (f->count == 0)
        return 0;
    f->items = mem_calloc(f->count, sizeof(*f->items));
    if (f->items == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    int rc = periods_lock(f, &missing, err);
    if (rc == 0 && missing && !made)
        return ERR_AGAIN; /* Those still missing then are of budgets that nobody knows. */
    if (rc == 0 && f->item_count > 0)
        rc = rows_read(f, err);
    if (rc == 0)
        flow_decide(f);
    if (rc == 0 && f->item_count > 0)
        rc = rows_write(f, err);
    if (rc == 0)
        rc = recalls_write(f, err);
    return rc;
}

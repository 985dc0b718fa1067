/* Gauges that only the database knows: looked up once a minute on a worker, shown as they were
 * then. Every replica does it: they only read. */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "controlplane/plane_internal.h"
#include "controlplane/store/migrate.h"

#define BOOKS_MS 60000U

/* A budget burns when it is used up twice as far as its period has passed, and by a tenth at least.
 */
static const char sql[] =
    "SELECT (SELECT count(*) FROM budget b JOIN budget_period p ON p.budget_id = b.id WHERE "
    "b.removed IS NULL AND p.period_start <= now() AND p.period_end > now() AND "
    "isfinite(p.period_end) AND p.limit_nano > 0 AND p.settled + p.adjust > p.limit_nano / 10 AND "
    "(p.settled + p.adjust)::numeric / p.limit_nano > 2 * extract(epoch FROM now() - "
    "p.period_start) / extract(epoch FROM p.period_end - p.period_start)), "
    "(SELECT count(DISTINCT rollout_id) FROM rollout_event WHERE actor = 'controller' AND to_state "
    "IN ('hold', 'halted', 'rolled_back') AND ts > now() - interval '1 hour')";

static int run_books(void *arg, struct pq_conn *c, struct err *err)
{
    struct plane *p = arg;
    struct pq_result *r = NULL;
    struct plane_books *b = &p->next_books; /* The loop does not look at it meanwhile. */
    int rc = partitions_default_rows(c, &b->default_rows, err);
    if (rc == 0)
        rc = partitions_days_ahead(c, clock_wall_us(), &b->days_ahead, err);
    if (rc == 0)
        rc = pq_conn_query(c, sql, NULL, &r, err);
    if (rc == 0) {
        b->budgets_burning = (uint64_t)pq_result_i64(r, 0, 0);
        b->rollouts_stopped = (uint64_t)pq_result_i64(r, 0, 1);
    }
    pq_result_destroy(r);
    return rc;
}

static void on_books(void *arg, int status, const struct err *err)
{
    struct plane *p = arg;
    p->reading_books = false;
    if (status == 0) {
        p->books = p->next_books;
        p->books.known = true;
    } else if (status != ERR_CANCELED) {
        log_event(LOG_WARN, "partitions and budgets not looked at",
                  LOG_TEXT_FIELD("error", err->message));
    }
}

void plane_read_books(struct plane *p)
{
    uint64_t now = clock_mono_ms();
    if (p->reading_books || (p->last_books_ms != 0 && now - p->last_books_ms < BOOKS_MS))
        return;
    p->last_books_ms = now;
    p->reading_books = work_submit(p->work, run_books, on_books, p) == 0;
}

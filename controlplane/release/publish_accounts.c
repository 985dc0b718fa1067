/* The Accounts resource: one row per account and budget, in order, packed as they come. */
#include <string.h>

#include "common/base/mem.h"
#include "control.pb-c.h"
#include "controlplane/release/publish.h"

#define ACCOUNTS_BYTES_MAX (64U << 20)
#define BUDGETS_MAX        4 /* One per period kind. */

struct packing {
    struct buf body;
    bool started;
    Steelyard__Control__V1__Account account; /* Not yet appended. Its name is in name. */
    char name[128];
    Steelyard__Control__V1__Budget budgets[BUDGETS_MAX];
    Steelyard__Control__V1__Budget *pointers[BUDGETS_MAX];
};

static Steelyard__Control__V1__AccountKind kind_of(struct str kind)
{
    static const char *const names[] = {"", "org", "team", "key", "user", "tag", "model"};
    for (unsigned i = 1; i < sizeof names / sizeof names[0]; i++) {
        if (str_is(kind, names[i]))
            return (Steelyard__Control__V1__AccountKind)i;
    }
    return STEELYARD__CONTROL__V1__ACCOUNT_KIND__ACCOUNT_UNKNOWN;
}

static Steelyard__Control__V1__BudgetPeriod period_of(struct str period)
{
    static const char *const names[] = {"", "day", "week", "month", "total"};
    for (unsigned i = 1; i < sizeof names / sizeof names[0]; i++) {
        if (str_is(period, names[i]))
            return (Steelyard__Control__V1__BudgetPeriod)i;
    }
    return STEELYARD__CONTROL__V1__BUDGET_PERIOD__PERIOD_UNKNOWN;
}

/* Field 1 of Accounts. */
static int flush_account(struct packing *p)
{
    if (!p->started)
        return 0;
    size_t len = steelyard__control__v1__account__get_packed_size(&p->account);
    uint8_t head[12];
    size_t n = 0;
    head[n++] = 1 << 3 | 2;
    for (size_t rest = len;; rest >>= 7) {
        head[n++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80U : 0U));
        if (rest <= 0x7f)
            break;
    }
    int rc = buf_append(&p->body, head, n);
    if (rc == 0)
        rc = buf_reserve(&p->body, len);
    if (rc == 0)
        p->body.len += steelyard__control__v1__account__pack(&p->account,
                                                             (uint8_t *)p->body.data + p->body.len);
    p->started = false;
    return rc;
}

static int begin_account(struct packing *p, const struct pq_result *row)
{
    steelyard__control__v1__account__init(&p->account);
    if (!str_copy(pq_result_text(row, 0, 2), p->name, sizeof p->name))
        return ERR_TOO_LARGE;
    p->account.id = (uint64_t)pq_result_i64(row, 0, 0);
    p->account.kind = kind_of(pq_result_text(row, 0, 1));
    p->account.name = p->name;
    p->account.parent = (uint64_t)pq_result_i64(row, 0, 3);
    p->account.rpm = (uint64_t)pq_result_i64(row, 0, 4);
    p->account.tpm = (uint64_t)pq_result_i64(row, 0, 5);
    p->account.concurrency = (uint64_t)pq_result_i64(row, 0, 6);
    p->account.budgets = p->pointers;
    p->started = true;
    return 0;
}

/* Columns: id, kind, name, parent, rpm, tpm, concurrency, then of the budget: id, limit, strict,
 * warn, offline, period, cfg. */
static int on_row(void *arg, const struct pq_result *row)
{
    struct packing *p = arg;
    int rc = 0;
    if (!p->started || p->account.id != (uint64_t)pq_result_i64(row, 0, 0)) {
        rc = flush_account(p);
        if (rc == 0)
            rc = begin_account(p, row);
    }
    if (rc != 0 || pq_result_is_null(row, 0, 7))
        return rc;
    if (p->account.n_budgets == BUDGETS_MAX)
        return ERR_LIMIT;
    Steelyard__Control__V1__Budget *b = &p->budgets[p->account.n_budgets];
    steelyard__control__v1__budget__init(b);
    b->id = (uint64_t)pq_result_i64(row, 0, 7);
    b->limit = pq_result_i64(row, 0, 8);
    b->strict = pq_result_bool(row, 0, 9);
    b->warn_permille = (uint32_t)pq_result_i64(row, 0, 10);
    b->offline_nano = pq_result_i64(row, 0, 11);
    b->period = period_of(pq_result_text(row, 0, 12));
    b->cfg = (uint32_t)pq_result_i64(row, 0, 13);
    p->pointers[p->account.n_budgets++] = b;
    return 0;
}

int publish_put_accounts(struct pq_conn *c, struct err *err)
{
    struct packing *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return err_set(err, ERR_NOMEM, "accounts: %s", err_text(ERR_NOMEM));
    buf_init(&p->body, ACCOUNTS_BYTES_MAX);
    int rc = pq_conn_stream(
        c,
        "SELECT a.id, a.kind, a.name, a.parent, a.rpm, a.tpm, a.concurrency, b.id, b.limit_nano, "
        "b.mode = 'strict', b.warn_permille, b.offline_nano, b.period, b.cfg FROM pushed_account a "
        "LEFT JOIN budget b ON b.account_id = a.id AND b.removed IS NULL "
        "ORDER BY a.id < 0, a.id, b.id",
        NULL, on_row, p, err);
    if (rc == 0)
        rc = flush_account(p);
    if (rc == 0) {
        struct publish_change change = {
            .key = STR("accounts"),
            .type = STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_ACCOUNTS,
            .body = p->body.len > 0 ? buf_str(&p->body) : STR("")};
        rc = publish_put(c, &change, err);
    } else if (err != NULL && err->message[0] == '\0') {
        (void)err_set(err, rc, "accounts: %s", err_text(rc));
    }
    buf_deinit(&p->body);
    mem_free(p);
    return rc;
}

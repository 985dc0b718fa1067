/* GET /v1/key: what the caller's own key may spend and has spent, under the names that OpenRouter
 * has for it. The limit is that of the key's own account; what was used of it is what this node
 * knows: the control plane's last word on others and what this node has spent since, in steps of
 * 1/65,536 of the limit. A key without a limit of its own has neither. */
#include "common/json/json_writer.h"
#include "dataplane/budget/allocation.h"
#include "dataplane/request/steps.h"

__extension__ typedef __int128 wide;

static const struct account *own_account(const struct request *r)
{
    const struct identity *who = r->identity;
    for (uint32_t i = 0; i < who->account_count; i++) {
        const struct account *a = accounts_find(&r->snapshot->accounts, who->accounts[i]);
        if (a != NULL && a->kind == ACCOUNT_KEY && a->budget_count > 0)
            return a;
    }
    return NULL;
}

struct used {
    int64_t limit; /* nano-USD */
    int64_t used;  /* -1: not known here. */
    enum account_period period;
};

static struct used read_budget(const struct request *r, const struct account_budget *b)
{
    struct budget_ref ref;
    struct used u = {.limit = b->limit_nanousd, .used = -1, .period = b->period};
    const struct budget_table *table = r->env->shared->budgets;
    if (table == NULL || budget_find(table, b->id, request_steady_us(r), &ref) != 0)
        return u;
    u.used = (int64_t)((wide)b->limit_nanousd * budget_ref_pressure(&ref) / BUDGET_PRESSURE_ONE);
    return u;
}

static int64_t left(const struct used *u)
{
    return u->used < 0 ? u->limit : u->limit - u->used;
}

/* Of several the one with the least left: it is what stops the key. */
static bool tightest(const struct request *r, struct used *out)
{
    const struct account *a = own_account(r);
    for (uint32_t i = 0; a != NULL && i < a->budget_count; i++) {
        const struct used u = read_budget(r, &a->budgets[i]);
        if (i == 0 || left(&u) < left(out))
            *out = u;
    }
    return a != NULL;
}

static void write_usd(struct json_writer *w, const char *name, bool known, int64_t nanousd)
{
    json_writer_key(w, name);
    if (known)
        json_writer_fixed(w, nanousd, 9);
    else
        json_writer_null(w);
}

static void write_rate(struct json_writer *w, const struct key_terms *terms)
{
    json_writer_key(w, "rate_limit");
    json_writer_begin_object(w);
    json_writer_key(w, "requests");
    json_writer_i64(w, terms->rpm != 0 ? (int64_t)terms->rpm : -1); /* As there: no limit. */
    json_writer_key(w, "interval");
    json_writer_text(w, "1m");
    json_writer_end_object(w);
}

enum step_result step_key(struct request *r)
{
    struct json_writer w;
    struct used u = {.used = -1};
    const bool limited = tightest(r, &u);
    const bool known = limited && u.used >= 0;
    struct buf *out = &r->env->out; /* Stays as it is until `report` has sent it. */
    buf_clear(out);
    json_writer_init(&w, out);
    json_writer_begin_object(&w);
    json_writer_key(&w, "data");
    json_writer_begin_object(&w);
    json_writer_key(&w, "label");
    json_writer_string(&w, r->identity->name.len > 0 ? r->identity->name : r->identity->public_id);
    write_usd(&w, "limit", limited, u.limit);
    write_usd(&w, "usage", known, u.used);
    write_usd(&w, "limit_remaining", known, u.limit - u.used);
    json_writer_key(&w, "limit_reset");
    json_writer_text(&w, limited ? account_period_name(u.period) : NULL);
    json_writer_key(&w, "is_free_tier");
    json_writer_bool(&w, false);
    write_rate(&w, r->identity->terms);
    json_writer_end_object(&w);
    json_writer_end_object(&w);
    if (json_writer_finish(&w) != 0)
        return request_fail(r, FAULT_OVERLOAD);
    r->status = 200;
    r->pieces[0] = buf_str(out);
    r->piece_count = 1;
    return STEP_NEXT;
}

/* The Accounts resource: read when a snapshot is built, looked up by requests. */
#include "dataplane/state/accounts.h"

#include "common/link/wire.h"
#include "control.pb-c.h"
#include "dataplane/state/builder.h"

typedef Steelyard__Control__V1__Accounts AccountsBody;
typedef Steelyard__Control__V1__Account AccountBody;
typedef Steelyard__Control__V1__Budget BudgetBody;

const char *account_kind_name(enum account_kind kind)
{
    static const char *const names[ACCOUNT_KINDS] = {"account", "org", "team", "key",
                                                     "user",    "tag", "model"};
    return names[kind < ACCOUNT_KINDS ? kind : ACCOUNT_UNKNOWN];
}

const char *account_period_name(enum account_period period)
{
    static const char *const names[ACCOUNT_PERIODS] = {"period", "day", "week", "month", "total"};
    return names[period < ACCOUNT_PERIODS ? period : ACCOUNT_PERIOD_UNKNOWN];
}

/* ---- looking up ---- */

static uint32_t slot_of(const struct accounts *a, uint64_t id)
{
    return (uint32_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 32) & a->id_mask;
}

/* At most half of the slots are used: the search ends. */
const struct account *accounts_find(const struct accounts *a, uint64_t id)
{
    if (a->count == 0)
        return NULL;
    for (uint32_t i = slot_of(a, id); a->by_id[i] != 0; i = (i + 1) & a->id_mask)
        if (a->list[a->by_id[i] - 1].id == id)
            return &a->list[a->by_id[i] - 1];
    return NULL;
}

const struct account *accounts_user(const struct accounts *a, struct str name)
{
    return a->users && name.len > 0 ? map_get(&a->users_by_name, name) : NULL;
}

const struct account *accounts_tag(const struct accounts *a, struct str name)
{
    return a->tags && name.len > 0 ? map_get(&a->tags_by_name, name) : NULL;
}

/* ---- building ---- */

static int take_budgets(struct builder *b, const AccountBody *m, struct account *out)
{
    if (m->n_budgets > ACCOUNT_BUDGETS_MAX)
        return builder_refuse(b, ERR_LIMIT, "LIMIT", "account %llu has more than %u budgets",
                              (unsigned long long)m->id, ACCOUNT_BUDGETS_MAX);
    struct account_budget *budgets = builder_alloc(b, m->n_budgets, sizeof(*budgets));
    if (budgets == NULL)
        return builder_no_memory(b);
    for (size_t i = 0; i < m->n_budgets; i++) {
        const BudgetBody *body = m->budgets[i];
        if (body->id == 0 || body->limit <= 0)
            return builder_refuse(b, ERR_INVALID, "INVALID",
                                  "account %llu: a budget without an id or with no limit",
                                  (unsigned long long)m->id);
        /* A period that this build does not know is still a limit: its bounds come with the grant.
         */
        uint32_t period = (uint32_t)body->period;
        budgets[i] = (struct account_budget){
            .id = body->id,
            .limit_nanousd = body->limit,
            .period =
                period < ACCOUNT_PERIODS ? (enum account_period)period : ACCOUNT_PERIOD_UNKNOWN,
            .strict = body->strict,
        };
    }
    out->budgets = budgets;
    out->budget_count = (uint32_t)m->n_budgets;
    return 0;
}

static int put_name(struct builder *b, struct account *account)
{
    struct accounts *a = &b->s->accounts;
    switch (account->kind) {
    case ACCOUNT_USER:
        a->users |= account->budget_count > 0;
        return builder_put(b, &a->users_by_name, account->name, account, "end user");
    case ACCOUNT_TAG:
        a->tags |= account->budget_count > 0;
        return builder_put(b, &a->tags_by_name, account->name, account, "tag");
    case ACCOUNT_MODEL: {
        /* A name that the catalogue does not have serves nothing, so nothing is charged to it. */
        struct snapshot_model *model = map_get(&b->s->models_by_id, account->name);
        if (model != NULL) {
            model->account = account;
            b->s->accounts.models |= account->budget_count > 0;
        }
        return 0;
    }
    case ACCOUNT_UNKNOWN:
    case ACCOUNT_ORG:
    case ACCOUNT_TEAM:
    case ACCOUNT_KEY:
    case ACCOUNT_KINDS:
        break;
    }
    return 0;
}

static int put_id(struct builder *b, uint32_t place)
{
    struct accounts *a = &b->s->accounts;
    uint64_t id = a->list[place].id;
    uint32_t i = slot_of(a, id);
    for (; a->by_id[i] != 0; i = (i + 1) & a->id_mask)
        if (a->list[a->by_id[i] - 1].id == id)
            return builder_refuse(b, ERR_EXISTS, "DUPLICATE", "account %llu appears twice",
                                  (unsigned long long)id);
    a->by_id[i] = place + 1;
    return 0;
}

static int take_account(struct builder *b, const AccountBody *m, struct account *out)
{
    uint32_t kind = (uint32_t)m->kind;
    out->id = m->id;
    out->kind = kind < ACCOUNT_KINDS ? (enum account_kind)kind : ACCOUNT_UNKNOWN;
    out->rpm = m->rpm;
    out->tpm = m->tpm;
    out->concurrency = m->concurrency;
    int rc = builder_name(b, "name of an account", m->name, &out->name);
    if (rc == 0)
        rc = take_budgets(b, m, out);
    return rc == 0 ? put_name(b, out) : rc;
}

static int take_list(struct builder *b, const AccountsBody *body)
{
    struct accounts *a = &b->s->accounts;
    size_t slots = 16;
    if (body->n_accounts > ACCOUNTS_MAX)
        return builder_refuse(b, ERR_LIMIT, "LIMIT", "more than %u accounts", ACCOUNTS_MAX);
    while (slots < 2 * body->n_accounts)
        slots *= 2;
    struct account *list = builder_alloc(b, body->n_accounts, sizeof(*list));
    a->by_id = builder_alloc(b, slots, sizeof(*a->by_id));
    if (list == NULL || a->by_id == NULL)
        return builder_no_memory(b);
    a->list = list;
    a->id_mask = (uint32_t)slots - 1;
    for (size_t i = 0; i < body->n_accounts; i++) {
        int rc = take_account(b, body->accounts[i], &list[i]);
        if (rc == 0)
            rc = put_id(b, (uint32_t)i);
        if (rc != 0)
            return rc;
    }
    a->count = (uint32_t)body->n_accounts;
    return 0;
}

int build_accounts(struct builder *b)
{
    ProtobufCMessage *m;
    int rc = builder_unpack(b, "accounts", &steelyard__control__v1__accounts__descriptor, &m);
    if (rc != 0 || m == NULL)
        return rc;
    rc = take_list(b, (const AccountsBody *)m);
    wire_free(m);
    return rc;
}

/* accounts.h: whose money a request spends: organisations, teams, keys, end users, tags and models
 * that have a budget or a rate (docs/budgets.md). Part of a snapshot: built once with it, immutable
 * afterwards, readable from any thread. Accounts that are only metered are not here. */
#ifndef STEELYARD_DATAPLANE_STATE_ACCOUNTS_H
#define STEELYARD_DATAPLANE_STATE_ACCOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/map.h"
#include "common/base/str.h"

#define ACCOUNTS_MAX        1000000U
#define ACCOUNT_BUDGETS_MAX 4U /* One for each kind of period. */

enum account_kind { /* As in control.proto. */
                    ACCOUNT_UNKNOWN,
                    ACCOUNT_ORG,
                    ACCOUNT_TEAM,
                    ACCOUNT_KEY,
                    ACCOUNT_USER,
                    ACCOUNT_TAG,
                    ACCOUNT_MODEL,
                    ACCOUNT_KINDS
};
const char *account_kind_name(enum account_kind kind); /* "team" */

enum account_period { /* As in control.proto. */
                      ACCOUNT_PERIOD_UNKNOWN,
                      ACCOUNT_PERIOD_DAY,
                      ACCOUNT_PERIOD_WEEK,
                      ACCOUNT_PERIOD_MONTH,
                      ACCOUNT_PERIOD_TOTAL,
                      ACCOUNT_PERIODS
};
const char *account_period_name(enum account_period period); /* "day" */

struct account_budget {
    uint64_t id;
    int64_t limit_nanousd;
    enum account_period period;
    bool strict;
};

struct account {
    uint64_t id;
    struct str name; /* Of a key: its public id. Of a model: its id in the catalogue. */
    enum account_kind kind;
    uint32_t budget_count;
    const struct account_budget *budgets;
    uint64_t rpm; /* 0: no limit, as the next two. */
    uint64_t tpm;
    uint64_t concurrency;
};

struct accounts {
    const struct account *list;
    uint32_t count;   /* 0: nobody has a limit, and there is nothing to look up. */
    bool users;       /* Some end user has a budget. */
    bool tags;        /* Some tag has ... */
    bool models;      /* ... or some model's group. */
    uint32_t *by_id;  /* Places in list + 1; 0: free. Open addressing. */
    uint32_t id_mask; /* Slots of it - 1. */
    struct map users_by_name;
    struct map tags_by_name;
};

/* NULL: it has no limit. A few loads. */
const struct account *accounts_find(const struct accounts *a, uint64_t id);
const struct account *accounts_user(const struct accounts *a, struct str name);
const struct account *accounts_tag(const struct accounts *a, struct str name);

#endif

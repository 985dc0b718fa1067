/* The rig's prices and accounts, the control plane that hands out budgets, and what the records
 * say. */
#include <string.h>

#include "common/base/clock.h"
#include "common/link/wire.h"
#include "control.pb-c.h"
#include "dataplane/budget/allocation.h"
#include "dataplane/telemetry/shipper_read.h"
#include "tests/unit/dataplane/node/rig_internal.h"

void rig_put_prices(struct resource_set *set, const struct rig_options *o)
{
    Steelyard__Control__V1__Price price[2], twin;
    Steelyard__Control__V1__Price *ptrs[3] = {&price[0], &price[1]};
    Steelyard__Control__V1__Prices prices = STEELYARD__CONTROL__V1__PRICES__INIT;
    struct buf body;
    for (size_t i = 0; i < 2; i++) {
        steelyard__control__v1__price__init(&price[i]);
        price[i].price_id = 11 + i;
        price[i].cached_input = -1;
        price[i].cache_write = -1;
    }
    price[0].provider = (char *)(uintptr_t) "one";
    price[0].model = (char *)(uintptr_t) "small";
    if (o->write_price != 0)
        price[0].cache_write = o->write_price;
    price[0].input = 1000000000; /* 1 USD a million: 1000 nano-USD a token. */
    price[0].output = 2000000000;
    Steelyard__Control__V1__PriceTier tier = STEELYARD__CONTROL__V1__PRICE_TIER__INIT;
    Steelyard__Control__V1__PriceTier *tiers = &tier;
    tier.above = o->tier_above;
    tier.input = 3 * price[0].input;
    tier.output = 3 * price[0].output;
    tier.cached_input = tier.cache_write = tier.cache_write_1h = tier.reasoning = -1;
    price[0].tiers = &tiers;
    price[0].n_tiers = o->tier_above != 0 ? 1 : 0;
    price[1].provider = (char *)(uintptr_t) "two";
    price[1].model = (char *)(uintptr_t) "large";
    price[1].input = price[1].output = o->large_price;
    prices.prices = ptrs;
    prices.n_prices = o->large_price != 0 ? 2 : 1;
    if (o->small_twice) { /* It costs the same there. */
        twin = price[0];
        twin.price_id = 13;
        twin.provider = price[1].provider;
        ptrs[prices.n_prices++] = &twin;
    }
    if (o->on_prices != NULL)
        o->on_prices(&prices);
    buf_init(&body, 4096);
    RIG_PACK(steelyard__control__v1__prices, prices, body);
    rig_put(set, STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_PRICES, "prices", &body);
    buf_deinit(&body);
}

void rig_put_accounts(struct resource_set *set, const struct rig_options *o)
{
    Steelyard__Control__V1__Account account[RIG_ACCOUNTS];
    Steelyard__Control__V1__Account *list[RIG_ACCOUNTS];
    Steelyard__Control__V1__Budget budget[RIG_ACCOUNTS];
    Steelyard__Control__V1__Budget *budgets[RIG_ACCOUNTS];
    Steelyard__Control__V1__Accounts accounts = STEELYARD__CONTROL__V1__ACCOUNTS__INIT;
    struct buf body;
    assert_true(o->account_count <= RIG_ACCOUNTS);
    for (size_t i = 0; i < o->account_count; i++) {
        steelyard__control__v1__account__init(&account[i]);
        steelyard__control__v1__budget__init(&budget[i]);
        account[i].id = o->accounts[i].id;
        account[i].kind = (Steelyard__Control__V1__AccountKind)o->accounts[i].kind;
        account[i].name = (char *)(uintptr_t)o->accounts[i].name;
        budget[i].id = account[i].id + 1000;
        budget[i].limit = 1000000000;
        budget[i].strict = 1;
        budget[i].period = STEELYARD__CONTROL__V1__BUDGET_PERIOD__PERIOD_DAY;
        budgets[i] = &budget[i];
        account[i].budgets = &budgets[i];
        account[i].n_budgets = 1;
        list[i] = &account[i];
    }
    accounts.accounts = list;
    accounts.n_accounts = o->account_count;
    buf_init(&body, 65536);
    RIG_PACK(steelyard__control__v1__accounts, accounts, body);
    rig_put(set, STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_ACCOUNTS, "accounts", &body);
    buf_deinit(&body);
}

/* ---- budgets ---- */

void rig_start_budgets(struct rig *r)
{
    char dir[96];
    struct budget_recovery found;
    struct err err = {0};
    (void)snprintf(dir, sizeof dir, "%s/budget", r->dir);
    const struct budget_table_options options = {
        .dir = dir, .node_id.bytes = {7}, .boot_id.bytes = {1}, .slots_max = 1024};
    if (budget_table_create(&options, &r->budgets, &found, &err) != 0)
        fail_msg("%s", err.message);
    budget_table_opened(r->budgets);
    r->shared.budgets = r->budgets;
}

void rig_contact(struct rig *r)
{
    static struct budget_report report;
    uint64_t now_ms = clock_mono_ms();
    int64_t wall_us = clock_wall_us();
    while (budget_table_report(r->budgets, now_ms, wall_us, &report)) {
        const struct budget_answer answer = {.acked_report = report.report_no,
                                             .lease_epoch = budget_table_epoch(r->budgets),
                                             .now_us = wall_us,
                                             .fence_after_s = 3600};
        assert_true(budget_table_answered(r->budgets, &answer, now_ms, wall_us));
    }
}

/* what: the plane's other words. */
static void allocate(struct rig *r, uint64_t budget, int64_t granted, int64_t limit,
                     struct budget_alloc what)
{
    const int64_t day = INT64_C(86400000000);
    int64_t wall_us = clock_wall_us();
    const struct budget_alloc alloc = {.budget = budget,
                                       .period_start_us = wall_us / day * day,
                                       .period_end_us = (wall_us / day + 1) * day,
                                       .cfg = 1,
                                       .granted = granted,
                                       .limit = limit,
                                       .exhausted = what.exhausted,
                                       .recalling = what.recalling};
    rig_contact(r);
    assert_int_equal(budget_table_apply(r->budgets, &alloc, clock_mono_ms(), wall_us), 0);
}

void rig_grant(struct rig *r, uint64_t budget, int64_t granted, int64_t limit)
{
    allocate(r, budget, granted, limit, (struct budget_alloc){0});
}

void rig_exhaust(struct rig *r, uint64_t budget, int64_t granted)
{
    allocate(r, budget, granted, granted, (struct budget_alloc){.exhausted = true});
}

void rig_recall(struct rig *r, uint64_t budget, int64_t granted, int64_t limit)
{
    allocate(r, budget, granted, limit, (struct budget_alloc){.recalling = true});
}

int64_t rig_free(struct rig *r, uint64_t budget)
{
    struct budget_ref ref;
    assert_int_equal(budget_find(r->budgets, budget, clock_wall_us(), &ref), 0);
    return budget_ref_free(&ref);
}

/* ---- rows ---- */

static void read_epoch(struct rig *r, struct spool_epoch *epoch)
{
    struct shipper_cursor c;
    struct str record;
    uint64_t gap_to;
    shipper_cursor_init(&c, r->spools, epoch);
    while (shipper_cursor_next(&c, &record, &gap_to) == SHIPPER_RECORD) {
        ProtobufCMessage *m = NULL;
        assert_int_equal(wire_unpack(&steelyard__telemetry__v1__record__descriptor, record, &m), 0);
        const Steelyard__Telemetry__V1__Record *row = (const Steelyard__Telemetry__V1__Record *)m;
        if (row->body_case == STEELYARD__TELEMETRY__V1__RECORD__BODY_FEEDBACK && r->on_vote != NULL)
            r->on_vote(row->feedback, r->on_row_arg);
        if (row->body_case == STEELYARD__TELEMETRY__V1__RECORD__BODY_DECISION && r->on_row != NULL)
            r->on_row(row->decision, r->on_row_arg);
        wire_free(m);
    }
    shipper_cursor_deinit(&c);
}

void rig_read_rows(struct rig *r, const struct spool_options *options)
{
    struct spool_recovery recovery;
    struct err err = {0};
    spool_set_destroy(r->spools);
    assert_int_equal(spool_set_create(options, &r->spools, &recovery, &err), 0);
    LIST_FOREACH (it, &r->spools->epochs)
        read_epoch(r, container_of(it, struct spool_epoch, link));
}

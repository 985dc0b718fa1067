#include "tests/unit/dataplane/node/charge_fixture.h"

#include <string.h>

const struct rig_account charge_five[5] = {
    {1, ACCOUNT_ORG, "acme"},  {2, ACCOUNT_TEAM, "search"}, {3, ACCOUNT_KEY, "0123456789"},
    {4, ACCOUNT_TAG, "app=x"}, {5, ACCOUNT_USER, "alice"},
};

static void add_charge(struct sums *s, const Steelyard__Telemetry__V1__Charge *c, int64_t cost)
{
    assert_in_range(c->budget, 1001, 1000 + RIG_ACCOUNTS - 1);
    assert_true(c->period_start_us > 0);
    assert_int_equal(c->cfg, 1);
    s->of[c->budget - 1000] += cost;
}

static void on_row(const Steelyard__Telemetry__V1__Decision *row, void *arg)
{
    struct sums *s = arg;
    int64_t of_attempts = 0;
    s->rows++;
    s->charged += row->n_charge > 0;
    for (size_t i = 0; i < row->n_charge; i++)
        add_charge(s, row->charge[i], row->cost);
    for (size_t i = 0; i < row->n_attempt; i++) {
        const Steelyard__Telemetry__V1__Attempt *a = row->attempt[i];
        of_attempts += a->cost;
        assert_true(a->usage != 0 || a->cost == 0);
        uint32_t usage = (uint32_t)a->usage;
        assert_int_equal(usage == RECORD_USAGE_COUNTED || usage == RECORD_USAGE_ESTIMATED,
                         (a->flags & RECORD_FLAG_USAGE_ESTIMATED) != 0);
        s->usage = usage;
        for (size_t k = 0; k < a->n_charge; k++)
            add_charge(s, a->charge[k], a->cost);
    }
    assert_true(of_attempts == row->cost);
    s->attempts = (uint32_t)row->n_attempt;
    s->cost += row->cost;
    s->reserved = row->reserved;
    s->clamp = (uint32_t)row->budget_clamp;
    s->excl = row->n_cand > 0 ? row->cand[0]->excl : 0;
    s->lambda = row->lambda;
    s->pressure = row->budget_pressure;
    s->status = row->status;
    s->flags = row->flags;
    s->epoch = row->lease_epoch;
}

void charge_begin(struct rig *r, const struct rig_options *o, struct sums *s, int64_t granted)
{
    memset(s, 0, sizeof *s);
    rig_start(r, o);
    r->on_row = on_row;
    r->on_row_arg = s;
    for (size_t i = 0; granted > 0 && i < o->account_count; i++)
        rig_grant(r, o->accounts[i].id + 1000, granted, PLENTY);
}

struct rig_options charge_options_of(const struct rig_account *accounts, size_t count)
{
    return (struct rig_options){.abort_stops_billing = true,
                                .accounts = accounts,
                                .account_count = count,
                                .max_output = MAX_OUT};
}

struct rig_script charge_whole_reply(void)
{
    return (struct rig_script){.reply = replies_whole()};
}

bool charge_says(const struct rig_answer *a, const char *text)
{
    return str_search(buf_str(&a->body), str_from(text)) >= 0;
}

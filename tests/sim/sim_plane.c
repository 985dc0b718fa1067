#include "sim_plane.h"

#include <string.h>

static struct sim_life *life_of(struct sim_plane *p, uint32_t node, uint64_t epoch)
{
    for (uint32_t i = 0; i < p->db.life_count; i++)
        if (p->db.lives[i].node == node && p->db.lives[i].epoch == epoch)
            return &p->db.lives[i];
    return NULL;
}

static struct sim_life *life_make(struct sim_plane *p, uint32_t node, uint64_t epoch,
                                  int64_t now_us)
{
    struct sim_life *l = life_of(p, node, epoch);
    if (l != NULL)
        return l;
    if (p->db.life_count == SIM_LIVES) {
        p->fault = "too many lives for the simulation";
        return NULL;
    }
    l = &p->db.lives[p->db.life_count++];
    *l =
        (struct sim_life){.node = node, .epoch = epoch, .registered_us = now_us, .last_us = now_us};
    return l;
}

static struct sim_row *row_of(struct sim_plane *p, uint32_t budget, uint32_t period, uint32_t life,
                              bool make)
{
    for (uint32_t i = 0; i < p->db.row_count; i++) {
        struct sim_row *r = &p->db.rows[i];
        if (r->budget == budget && r->period == period && r->life == life)
            return r;
    }
    if (!make)
        return NULL;
    if (p->db.row_count == SIM_ROWS) {
        p->fault = "too many rows for the simulation";
        return NULL;
    }
    p->db.rows[p->db.row_count] =
        (struct sim_row){.budget = budget, .period = period, .life = life};
    return &p->db.rows[p->db.row_count++];
}

uint32_t sim_plane_period(const struct sim_plane *p, int64_t now_us)
{
    return (uint32_t)((now_us - p->epoch_us) / SIM_PERIOD_US);
}

static struct sim_period *period_of(struct sim_plane *p, uint32_t budget, uint32_t period)
{
    struct sim_period *x = &p->db.period[budget][period];
    x->p.limit = p->budget[budget].limit; /* As the budget says now. */
    x->made = true;
    return x;
}

static bool some_life_unechoed(const struct sim_plane *p)
{
    for (uint32_t i = 0; i < p->db.life_count; i++) {
        const struct sim_life *l = &p->db.lives[i];
        if (!l->closed && !l->lost && l->echo_era != p->era)
            return true;
    }
    return false;
}

static struct grant_usage usage_of(const struct budget_usage *u)
{
    return (struct grant_usage){.settled = u->settled,
                                .returned = u->returned,
                                .reserved = u->reserved,
                                .want = u->want,
                                .need = u->need,
                                .granted = u->granted};
}

static uint32_t life_index(const struct sim_plane *p, const struct sim_life *l)
{
    return (uint32_t)(l - p->db.lives);
}

static void monotone(struct sim_plane *p, const struct grant_row *was, const struct grant_row *is)
{
    if (is->g < was->g || is->s < was->s || is->r < was->r)
        p->fault = "a counter fell";
}

static void report_one(struct sim_plane *p, struct sim_life *l, const struct budget_usage *u,
                       const struct lease_moment *m, struct sim_down *out)
{
    uint32_t b = (uint32_t)u->budget - 1;
    uint32_t at = sim_plane_period(p, u->period_start_us != 0 ? u->period_start_us : m->now_us);
    at += u->next;
    if (at >= SIM_PERIODS)
        return;
    struct sim_period *period = period_of(p, b, at);
    struct sim_row *row = row_of(p, b, at, life_index(p, l), true);
    if (row == NULL)
        return;
    struct grant_holding others[SIM_LIVES];
    struct sim_row *rows[SIM_LIVES];
    struct lease_item item = {.usage = usage_of(u),
                              .budget = u->budget,
                              .known = true,
                              .strict = p->budget[b].strict,
                              .cfg_now = 1,
                              .offline = p->budget[b].offline,
                              .start_us = p->epoch_us + (int64_t)at * SIM_PERIOD_US,
                              .end_us = p->epoch_us + (int64_t)(at + 1) * SIM_PERIOD_US,
                              .cfg = 1,
                              .period = period->p,
                              .row = row->row,
                              .others = others};
    if (u->next)
        item.usage.settled = item.usage.returned = item.usage.granted = 0;
    for (uint32_t i = 0; i < p->db.row_count; i++) {
        struct sim_row *r = &p->db.rows[i];
        if (r == row || r->budget != b || r->period != at || r->row.state != GRANT_ACTIVE)
            continue;
        rows[item.other_count] = r;
        others[item.other_count++] = (struct grant_holding){
            .outstanding = r->row.g - r->row.s - r->row.r, .reserved = r->reserved};
        item.others_active += m->now_us - r->last_us < GRANT_ACTIVE_US;
    }
    lease_decide(&item, m);
    monotone(p, &row->row, &item.row);
    period->p = item.period;
    row->row = item.row;
    row->reserved = u->reserved;
    row->last_us = m->now_us;
    for (uint32_t i = 0; i < item.other_count; i++)
        if (others[i].chosen) {
            rows[i]->recall = true;
            p->pushed[p->db.lives[rows[i]->life].node] = true;
        }
    const struct lease_alloc *a = &item.alloc;
    if (item.tell && out->count < sizeof out->alloc / sizeof out->alloc[0])
        out->alloc[out->count++] = (struct budget_alloc){.budget = a->budget,
                                                         .period_start_us = a->start_us,
                                                         .period_end_us = a->end_us,
                                                         .cfg = a->cfg,
                                                         .exhausted = a->exhausted,
                                                         .recall = a->recall,
                                                         .recalling = a->recalling,
                                                         .granted = a->granted,
                                                         .keep = a->keep,
                                                         .limit = a->limit,
                                                         .spent_others = a->spent_others,
                                                         .offline = a->offline};
}

/* ---- lives that end ---- */

static void final_row(struct sim_plane *p, struct sim_row *row, const struct grant_usage *u,
                      bool exact)
{
    struct sim_period *period = period_of(p, row->budget, row->period);
    bool strict = p->budget[row->budget].strict;
    struct grant_row was = row->row;
    int64_t before = period->p.committed;
    /* What a soft budget gives out again although it may have been spent. */
    bool blind = !exact && !strict && was.state != GRANT_CLOSED;
    grant_final(&period->p, &row->row, u, exact, strict);
    if (blind)
        p->released[row->budget][row->period] +=
            before - period->p.committed + (u != NULL ? u->settled + u->returned : 0);
    monotone(p, &was, &row->row);
}

static void final_life(struct sim_plane *p, uint32_t node, const struct budget_report *r,
                       int64_t now_us)
{
    struct sim_life *l = life_make(p, node, r->final_epoch, now_us);
    if (l == NULL)
        return;
    for (uint32_t i = 0; i < r->final_count; i++) {
        const struct budget_usage *u = &r->final[i];
        struct grant_usage g = usage_of(u);
        struct sim_row *row =
            row_of(p, (uint32_t)u->budget - 1, sim_plane_period(p, u->period_start_us),
                   life_index(p, l), true);
        if (row != NULL)
            final_row(p, row, &g, r->final_exact);
    }
    if (!r->final_last)
        return;
    for (uint32_t i = 0; i < p->db.row_count; i++)
        if (p->db.rows[i].life == life_index(p, l) && p->db.rows[i].row.state != GRANT_CLOSED &&
            r->final_exact)
            final_row(p, &p->db.rows[i], NULL, true);
    l->closed = true;
}

void sim_plane_sweep(struct sim_plane *p, int64_t now_us)
{
    int64_t silent_us = ((int64_t)p->fence_after_s + GRANT_STREAM_MAX_S) * 1000000;
    for (uint32_t i = 0; i < p->db.life_count; i++) {
        struct sim_life *l = &p->db.lives[i];
        if (l->closed || l->lost || now_us - l->last_us < silent_us)
            continue;
        l->lost = true;
        for (uint32_t n = 0; n < p->db.row_count; n++) {
            struct sim_row *row = &p->db.rows[n];
            if (row->life != i)
                continue;
            struct sim_period *period = period_of(p, row->budget, row->period);
            int64_t before = period->p.committed;
            grant_lose(&period->p, &row->row, p->budget[row->budget].strict);
            p->released[row->budget][row->period] += before - period->p.committed;
        }
    }
}

/* ---- messages ---- */

static void take_recalls(struct sim_plane *p, const struct sim_life *l, struct sim_down *out)
{
    for (uint32_t i = 0; i < p->db.row_count; i++) {
        struct sim_row *r = &p->db.rows[i];
        if (!r->recall || r->life != life_index(p, l) ||
            out->count == sizeof out->alloc / sizeof out->alloc[0])
            continue;
        r->recall = false;
        struct sim_period *period = period_of(p, r->budget, r->period);
        out->alloc[out->count++] = (struct budget_alloc){
            .budget = r->budget + 1U,
            .period_start_us = p->epoch_us + (int64_t)r->period * SIM_PERIOD_US,
            .period_end_us = p->epoch_us + (int64_t)(r->period + 1) * SIM_PERIOD_US,
            .cfg = 1,
            .recall = true,
            .keep = grant_min(period->p.limit),
            .granted = r->row.g,
            .limit = period->p.limit,
            .spent_others = period->p.settled - r->row.s,
            .offline = p->budget[r->budget].offline};
    }
    p->pushed[l->node] = false;
}

void sim_plane_report(struct sim_plane *p, uint32_t node, const struct budget_report *r,
                      uint32_t *io_echo_era, int64_t now_us, struct sim_down *out)
{
    *out = (struct sim_down){.answer = {.acked_report = r->report_no,
                                        .lease_epoch = r->lease_epoch,
                                        .now_us = now_us,
                                        .fence_after_s = p->fence_after_s}};
    if (r->final_epoch != 0)
        final_life(p, node, r, now_us);
    struct sim_life *l = r->lease_epoch != 0 ? life_make(p, node, r->lease_epoch, now_us) : NULL;
    if (l == NULL)
        return;
    bool open = !l->closed && !l->lost;
    if (open)
        l->last_us = now_us;
    else
        out->answer.epoch_closed = r->lease_epoch;
    if (r->echo_begin)
        *io_echo_era = p->era;
    if (open && r->echo_end && *io_echo_era == p->era)
        l->echo_era = p->era;
    out->answer.echo = l->echo_era != p->era && *io_echo_era != p->era;
    const struct lease_moment m = {.now_us = now_us,
                                   .failover_us = p->failover_us,
                                   .unechoed = some_life_unechoed(p),
                                   .young = now_us - l->registered_us < p->loss_window_us};
    for (uint32_t i = 0; i < r->usage_count; i++) {
        struct sim_row *row = NULL;
        const struct budget_usage *u = &r->usage[i];
        if (!open) { /* Nothing new for a life that is over. */
            uint32_t at = sim_plane_period(p, u->period_start_us);
            if (u->period_start_us == 0 || u->next ||
                (row = row_of(p, (uint32_t)u->budget - 1, at, life_index(p, l), false)) == NULL)
                continue;
        }
        report_one(p, l, u, &m, out);
    }
    take_recalls(p, l, out);
}

bool sim_plane_push(struct sim_plane *p, uint32_t node, uint64_t epoch, struct sim_down *out)
{
    const struct sim_life *l = life_of(p, node, epoch);
    *out = (struct sim_down){.answer = {.lease_epoch = epoch}};
    p->pushed[node] = false;
    if (l == NULL)
        return false;
    take_recalls(p, l, out);
    return out->count > 0;
}

/* ---- the database ---- */

void sim_plane_save(struct sim_plane *p, int64_t now_us)
{
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < SIM_SAVES; i++)
        if (p->saved_us[i] < p->saved_us[oldest])
            oldest = i;
    p->saves[oldest] = p->db;
    p->saved_us[oldest] = now_us;
}

void sim_plane_failover(struct sim_plane *p, int64_t now_us, uint64_t pick)
{
    uint32_t best = SIM_SAVES;
    for (uint32_t i = 0; i < SIM_SAVES; i++) {
        uint32_t at = (uint32_t)((pick + i) % SIM_SAVES);
        if (p->saved_us[at] != 0 && now_us - p->saved_us[at] <= p->loss_window_us)
            best = at;
    }
    if (best < SIM_SAVES) {
        p->db = p->saves[best];
        for (uint32_t i = 0; i < SIM_SAVES; i++)
            if (p->saved_us[i] > p->saved_us[best])
                p->saved_us[i] = 0; /* Never was. */
    }
    p->era++;
    p->failover_us = now_us;
}

void sim_plane_check(struct sim_plane *p)
{
    int64_t committed[SIM_BUDGETS][SIM_PERIODS] = {0}, settled[SIM_BUDGETS][SIM_PERIODS] = {0};
    for (uint32_t i = 0; i < p->db.row_count; i++) {
        const struct sim_row *r = &p->db.rows[i];
        committed[r->budget][r->period] += r->row.g - r->row.r;
        settled[r->budget][r->period] += r->row.s;
        if (r->row.g < r->row.s + r->row.r || r->row.s < 0 || r->row.r < 0)
            p->fault = "a row's counters contradict each other";
    }
    for (uint32_t b = 0; b < p->budget_count; b++)
        for (uint32_t n = 0; n < SIM_PERIODS; n++)
            if (p->db.period[b][n].p.committed != committed[b][n] ||
                p->db.period[b][n].p.settled != settled[b][n])
                p->fault = "committed is not the sum of g - r, or settled not that of s";
}

/* report.c: the figures of one look as JSON: what was seen, what each guard says of it and how sure
 * it is, and what is being waited for. Money in nano-USD, quality and shares from 0 to 1. */
#include <math.h>

#include "controlplane/rollout/look.h"

static json_t *pair(uint64_t stable, uint64_t candidate)
{
    return json_pack("{s:I, s:I}", "stable", (json_int_t)stable, "candidate",
                     (json_int_t)candidate);
}

/* JSON has no infinity; a likelihood ratio can be one. */
static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *mean_or_null(double sum, uint64_t n)
{
    return n == 0 ? json_null() : real(sum / (double)n);
}

static json_t *event_json(const struct rollout *r, const struct guard_report *report,
                          enum guard_metric metric)
{
    const struct event_guard *g = &r->guards.event[metric];
    const struct guard_rule *rule = &r->plan.rules.metric[metric];
    json_t *o = json_pack(
        "{s:s, s:o, s:f, s:f, s:f, s:o, s:I}", "verdict",
        guard_verdict_name(report->verdict[metric]).data, "log_m", real(report->log_m[metric]),
        "breach_at", -log(rule->alpha), "alpha", rule->alpha, "margin", rule->margin, "events",
        pair(g->events[0], g->events[1]), "units", (json_int_t)r->counts.units_event[metric]);
    /* Votes are weighed by the nominal share: there are no exposures to show. */
    if (o != NULL && metric != GUARD_THUMB_DOWN &&
        json_object_set_new(o, "exposures", pair(g->exposures[0], g->exposures[1])) != 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static json_t *mean_json(const struct rollout *r, const struct guard_report *report,
                         enum guard_metric metric)
{
    unsigned i = metric - GUARD_EVENTS;
    const struct mean_interval *x = &report->interval[i];
    const struct guard_rule *rule = &r->plan.rules.metric[metric];
    const struct rollout_counts *n = &r->counts;
    const double *const sums[GUARD_MEANS] = {n->cost, n->quality, n->tokens};
    const uint64_t *const ns[GUARD_MEANS] = {n->cost_n, n->quality_n, n->tokens_n};
    bool shown = report->verdict[metric] != GUARD_NO_DATA;
    return json_pack(
        "{s:s, s:f, s:f, s:f, s:o, s:{s:o, s:o}, s:I, s:o, s:o, s:o, s:o}", "verdict",
        guard_verdict_name(report->verdict[metric]).data, "alpha", rule->alpha, "margin",
        rule->margin, "goal", rule->goal, "n", pair(ns[i][0], ns[i][1]), "mean", "stable",
        mean_or_null(sums[i][0], ns[i][0]), "candidate", mean_or_null(sums[i][1], ns[i][1]),
        "units", (json_int_t)n->units_valued[i], "low", shown ? real(x->low) : json_null(),
        "difference", shown ? real(x->mean) : json_null(), "high",
        shown ? real(x->high) : json_null(), "of_stable", shown ? real(x->stable) : json_null());
}

static json_t *guards_json(const struct rollout *r, const struct guard_report *report)
{
    json_t *o = json_object();
    for (unsigned i = 0; i < GUARD_METRICS; i++) {
        enum guard_metric metric = (enum guard_metric)i;
        json_t *guard = !r->plan.rules.metric[i].on ? json_pack("{s:s}", "verdict", "off")
                        : i < GUARD_EVENTS          ? event_json(r, report, metric)
                                                    : mean_json(r, report, metric);
        if (guard == NULL || json_object_set_new(o, guard_metric_name(metric).data, guard) != 0) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

static json_t *ratio_json(const struct rollout *r, const struct guard_report *report)
{
    const struct ratio_guard *g = &r->guards.ratio;
    return json_pack("{s:b, s:o, s:f, s:o, s:f}", "mismatch", report->ratio_mismatch, "log_m",
                     real(report->ratio_log_m), "hold_at", -log(r->plan.rules.ratio_alpha), "units",
                     pair(g->units[0], g->units[1]), "expected_candidate", g->expected);
}

static json_t *shadow_json(const struct rollout_counts *n)
{
    double k = (double)n->shadow_n;
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "requests", (json_int_t)n->shadowed,
                     "differs", mean_or_null((double)n->differs, n->shadowed), "cost_stable",
                     mean_or_null(n->chosen_cost, n->shadow_n), "cost_candidate",
                     mean_or_null(n->shadow_cost, n->shadow_n), "quality_stable",
                     mean_or_null(n->chosen_q / 65536, n->shadow_n), "quality_candidate",
                     k > 0 ? real(n->shadow_q / 65536 / k) : json_null());
}

int report_write(const struct rollout *r, const struct rollout_facts *facts,
                 const struct rollout_edge *edge, json_t **out_report)
{
    bool names_metric = edge->reason == ROLLOUT_REASON_BREACH ||
                        edge->reason == ROLLOUT_REASON_INCONCLUSIVE ||
                        edge->reason == ROLLOUT_REASON_WANTS_EVIDENCE;
    json_t *o = json_pack(
        "{s:s, s:o, s:I, s:o, s:I, s:I, s:I, s:I, s:{s:i, s:i}, s:I, s:b, s:b, s:o, s:o, s:o, "
        "s:{s:i, s:b}}",
        "reason", rollout_reason_name(edge->reason).data, "metric",
        names_metric ? json_string(guard_metric_name(edge->metric).data) : json_null(), "fold",
        (json_int_t)r->fold, "requests", pair(facts->requests[0], facts->requests[1]), "units",
        (json_int_t)facts->units, "units_apart", (json_int_t)r->counts.apart, "unavailable",
        (json_int_t)r->counts.unavailable, "votes", (json_int_t)r->counts.votes, "nodes",
        "connected", (int)facts->nodes, "ready", (int)facts->nodes_ready, "data_age_s",
        (json_int_t)facts->data_age_s, "frozen", facts->frozen, "tripped", facts->guards.tripped,
        "guards", guards_json(r, &facts->guards), "sample_ratio", ratio_json(r, &facts->guards),
        "shadow", shadow_json(&r->counts), "replay", "decisions", (int)facts->replayed, "mismatch",
        facts->replay_mismatch);
    if (o == NULL)
        return ERR_NOMEM;
    *out_report = o;
    return 0;
}

#include "controlplane/rollout/guards.h"

#include <math.h>

#define ALPHA_ALL  0.05
#define ALPHA_ONE  0.01
/* What the metrics without a share of their own have together, less the sample ratio's. */
#define ALPHA_REST ((ALPHA_ONE - RATIO_ALPHA) / 5.0)
#define MARGIN_MAX 8.0

static const struct metric {
    struct str name;
    double alpha, margin;
    bool relative; /* Means: the margin is a share of stable's mean. */
    bool lower_is_worse;
} metrics[GUARD_METRICS] = {
    [GUARD_ERROR] = {.name = {"error", 5}, .alpha = ALPHA_ONE},
    [GUARD_TIMEOUT] = {.name = {"timeout", 7}, .alpha = ALPHA_REST},
    [GUARD_LATENCY] = {.name = {"latency", 7}, .alpha = ALPHA_ONE, .margin = 0.1},
    [GUARD_COST_TAIL] = {.name = {"cost_tail", 9}, .alpha = ALPHA_REST, .margin = 0.5},
    [GUARD_THUMB_DOWN] = {.name = {"thumb_down", 10}, .alpha = ALPHA_REST},
    [GUARD_CLAMP] = {.name = {"clamp", 5}, .alpha = ALPHA_REST, .margin = 0.1},
    [GUARD_COST] = {.name = {"cost", 4}, .alpha = ALPHA_ONE, .margin = 0.05, .relative = true},
    [GUARD_QUALITY] = {.name = {"quality", 7},
                       .alpha = ALPHA_ONE,
                       .margin = 0.02,
                       .lower_is_worse = true},
    [GUARD_TOKENS] = {.name = {"tokens", 6}, .alpha = ALPHA_REST, .margin = 0.05, .relative = true},
};

struct str guard_metric_name(enum guard_metric metric)
{
    return metrics[metric].name;
}

bool guard_metric_find(struct str name, enum guard_metric *out)
{
    for (uint32_t i = 0; i < GUARD_METRICS; i++) {
        if (!str_eq(name, metrics[i].name))
            continue;
        *out = (enum guard_metric)i;
        return true;
    }
    return false;
}

struct str guard_verdict_name(enum guard_verdict verdict)
{
    switch (verdict) {
    case GUARD_NO_DATA:
        return STR("no_data");
    case GUARD_UNDECIDED:
        return STR("undecided");
    case GUARD_HARMLESS:
        return STR("harmless");
    case GUARD_SHOWN:
        return STR("shown");
    case GUARD_BREACH:
        return STR("breach");
    }
    return STR("unknown");
}

void guard_rules_default(struct guard_rules *rules)
{
    *rules = (struct guard_rules){.ratio_alpha = RATIO_ALPHA};
    for (uint32_t i = 0; i < GUARD_METRICS; i++)
        rules->metric[i] = (struct guard_rule){.alpha = metrics[i].alpha,
                                               .margin = metrics[i].margin,
                                               .goal = metrics[i].margin,
                                               .on = true};
}

int guard_rules_check(const struct guard_rules *rules, struct err *err)
{
    double sum = rules->ratio_alpha;
    if (!(rules->ratio_alpha > 0.0 && rules->ratio_alpha < 1.0))
        return err_set(err, ERR_INVALID, "alpha of the sample ratio is not in (0, 1)");
    for (uint32_t i = 0; i < GUARD_METRICS; i++) {
        const struct guard_rule *r = &rules->metric[i];
        const char *name = metrics[i].name.data;
        if (!(r->alpha > 0.0 && r->alpha < 1.0))
            return err_set(err, ERR_INVALID, "alpha of guard %s is not in (0, 1)", name);
        if (!(r->margin >= 0.0 && r->margin <= MARGIN_MAX))
            return err_set(err, ERR_INVALID, "margin of guard %s is not in [0, 8]", name);
        if (!(r->goal >= -1.0 && r->goal <= r->margin))
            return err_set(err, ERR_INVALID, "goal of guard %s is not in [-1, its margin]", name);
        sum += r->on ? r->alpha : 0.0;
    }
    if (sum > ALPHA_ALL * (1.0 + 1e-9))
        return err_set(err, ERR_INVALID, "alphas of all guards sum to %.4g, more than 0.05", sum);
    return 0;
}

void guards_init(struct guards *g, const struct guard_rules *rules,
                 const struct guard_baseline *baseline)
{
    *g = (struct guards){.rules = *rules};
    for (uint32_t i = 0; i < GUARD_EVENTS; i++)
        event_guard_init(&g->event[i], rules->metric[i].margin);
    for (uint32_t i = 0; i < GUARD_MEANS; i++)
        mean_guard_init(&g->mean[i], baseline->mean[i],
                        i + GUARD_EVENTS == GUARD_QUALITY ? 1.0 : baseline->cap[i]);
    ratio_guard_init(&g->ratio);
}

void guards_fold_event(struct guards *g, enum guard_metric metric, const struct event_cell *cell)
{
    if (g->rules.metric[metric].on && metric < GUARD_EVENTS)
        event_guard_fold(&g->event[metric], cell);
}

void guards_fold_mean(struct guards *g, enum guard_metric metric, const struct mean_bucket *bucket)
{
    if (g->rules.metric[metric].on && metric >= GUARD_EVENTS)
        mean_guard_fold(&g->mean[metric - GUARD_EVENTS], bucket);
}

void guards_fold_units(struct guards *g, double pi, uint64_t stable, uint64_t candidate)
{
    ratio_guard_fold(&g->ratio, pi, stable, candidate);
}

static enum guard_verdict judge_event(const struct event_guard *g, const struct guard_rule *rule,
                                      uint64_t units)
{
    if (g->exposures[0] == 0 || g->exposures[1] == 0)
        return GUARD_NO_DATA;
    return event_guard_breached(g, rule->alpha, units) ? GUARD_BREACH : GUARD_HARMLESS;
}

/* A relative margin is a share of stable's mean, which is itself an estimate: its error is at most
 * the interval's, so the interval is widened by the margin's share of itself. */
static enum guard_verdict judge_mean(const struct mean_interval *x, const struct guard_rule *rule,
                                     const struct metric *metric)
{
    const double base = metric->relative ? fabs(x->stable) : 1.0;
    const double sign = metric->lower_is_worse ? -1.0 : 1.0;
    const double wider = (metric->relative ? 1.0 + fmax(rule->margin, fabs(rule->goal)) : 1.0);
    const double half = (x->high - x->low) / 2.0 * wider;
    const double harm = sign * x->mean;
    if (harm - half > rule->margin * base)
        return GUARD_BREACH;
    if (harm + half <= rule->goal * base)
        return GUARD_SHOWN;
    return harm <= rule->goal * base ? GUARD_HARMLESS : GUARD_UNDECIDED;
}

static bool trips(const struct guard_look *look)
{
    return look->recent_requests >= GUARD_TRIP_REQUESTS_MIN &&
           look->recent_units >= GUARD_TRIP_UNITS_MIN &&
           look->recent_errors > look->recent_requests / 2;
}

void guards_look(struct guards *g, const struct guard_look *look, struct guard_report *out)
{
    *out = (struct guard_report){.ratio_log_m = ratio_guard_log_m(&g->ratio),
                                 .ratio_mismatch =
                                     ratio_guard_breached(&g->ratio, g->rules.ratio_alpha),
                                 .tripped = trips(look)};
    for (uint32_t i = 0; i < GUARD_EVENTS; i++) {
        out->log_m[i] = event_guard_log_m(&g->event[i]);
        out->lumps[i] = event_guard_lumps(&g->event[i]);
        out->verdict[i] = judge_event(&g->event[i], &g->rules.metric[i], look->units_event[i]);
    }
    for (uint32_t i = 0; i < GUARD_MEANS; i++) {
        const uint32_t metric = GUARD_EVENTS + i;
        const struct guard_rule *rule = &g->rules.metric[metric];
        struct mean_interval *x = &out->interval[i];
        if (mean_guard_look(&g->mean[i], rule->alpha, look->units_valued[i], x))
            out->verdict[metric] = judge_mean(x, rule, &metrics[metric]);
    }
}

#include "controlplane/rollout/plan.h"

#include <math.h>
#include <string.h>

#define DURATION_S_MAX (90U * 86400U)
#define BP_PER_PERCENT 100.0
#define TTL_S_MIN      30U
#define TTL_S_MAX      86400U /* Nodes take no more. */

const char *const plan_fields[] = {"stages",
                                   "shadow",
                                   "evidence_from_percent",
                                   "evidence",
                                   "inconclusive",
                                   "stale_after",
                                   "ready_percent",
                                   "bucket",
                                   "guards",
                                   "ratio_alpha",
                                   "declared_saving",
                                   "ttl",
                                   NULL};

static const char *const inconclusive_names[] = {
    [ROLLOUT_INCONCLUSIVE_HOLD] = "hold",
    [ROLLOUT_INCONCLUSIVE_PROMOTE_IF_HARMLESS] = "promote_if_harmless",
    [ROLLOUT_INCONCLUSIVE_ROLLBACK] = "rollback",
};

void plan_default(struct rollout_plan *plan)
{
    memset(plan, 0, sizeof *plan);
    rollout_config_default(&plan->machine);
    guard_rules_default(&plan->rules);
    plan->bucket_s = PLAN_BUCKET_S_DEFAULT;
}

void plan_revert(struct rollout_plan *plan)
{
    plan_default(plan);
    rollout_config_revert(&plan->machine);
    plan->bucket_s = PLAN_BUCKET_S_REVERT;
}

/* --- reading -----------------------------------------------------------------------------------
 */

static int read_duration(const json_t *object, const char *name, uint32_t *io_s, struct err *err)
{
    const json_t *value = json_object_get(object, name);
    uint64_t ms;
    if (value == NULL)
        return 0;
    if (!json_is_string(value) ||
        str_parse_duration_ms(str_from(json_string_value(value)), &ms) != 0 ||
        ms > DURATION_S_MAX * UINT64_C(1000) || ms % 1000 != 0)
        return err_set(err, ERR_INVALID, "\"%s\" must be whole seconds like 30m, up to 90d", name);
    *io_s = (uint32_t)(ms / 1000);
    return 0;
}

static int read_u64(const json_t *object, const char *name, uint64_t max, uint64_t *io_value,
                    struct err *err)
{
    const json_t *value = json_object_get(object, name);
    if (value == NULL)
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > max)
        return err_set(err, ERR_INVALID, "\"%s\" must be a number from 0 to %llu", name,
                       (unsigned long long)max);
    *io_value = (uint64_t)json_integer_value(value);
    return 0;
}

static int read_number(const json_t *object, const char *name, double *io_value, struct err *err)
{
    const json_t *value = json_object_get(object, name);
    if (value == NULL)
        return 0;
    if (!json_is_number(value) || !isfinite(json_number_value(value)))
        return err_set(err, ERR_INVALID, "\"%s\" must be a number", name);
    *io_value = json_number_value(value);
    return 0;
}

static int check_members(const json_t *object, const char *what, const char *const *names,
                         struct err *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return err_set(err, ERR_INVALID, "\"%s\" must be an object", what);
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;
        while (names[i] != NULL && strcmp(names[i], key) != 0)
            i++;
        if (names[i] == NULL)
            return err_set(err, ERR_INVALID, "\"%s\" has no member \"%s\"", what, key);
    }
    return 0;
}

static int read_percent(const json_t *value, uint32_t *out_bp, struct err *err)
{
    double bp = json_is_number(value) ? json_number_value(value) * BP_PER_PERCENT : 0;
    if (!(bp >= 1 && bp <= ROLLOUT_SHARE_ALL_BP) || fabs(bp - nearbyint(bp)) > 1e-6)
        return err_set(err, ERR_INVALID, "a share is a percentage from 0.01 to 100 in hundredths");
    *out_bp = (uint32_t)nearbyint(bp);
    return 0;
}

/* 5, or {"percent": 5, "dwell": "1h", ...}. */
static int read_stage(const json_t *value, struct rollout_stage *stage, struct err *err)
{
    static const char *const names[] = {"percent", "dwell", "dwell_max", "requests", "units", NULL};
    if (!json_is_object(value))
        return read_percent(value, &stage->share_bp, err);
    int rc = check_members(value, "stages", names, err);
    if (rc == 0)
        rc = read_percent(json_object_get(value, "percent"), &stage->share_bp, err);
    if (rc == 0)
        rc = read_duration(value, "dwell", &stage->dwell_min_s, err);
    if (rc == 0)
        rc = read_duration(value, "dwell_max", &stage->dwell_max_s, err);
    if (rc == 0)
        rc = read_u64(value, "requests", INT64_MAX, &stage->requests_min, err);
    return rc != 0 ? rc : read_u64(value, "units", INT64_MAX, &stage->units_min, err);
}

/* What a share asks for unless said otherwise: as the default stage that is nearest below. */
static struct rollout_stage stage_like(const struct rollout_config *defaults, uint32_t share_bp)
{
    struct rollout_stage found = defaults->stage[0];
    for (uint32_t i = 1; i < defaults->stages; i++) {
        if (defaults->stage[i].share_bp <= share_bp)
            found = defaults->stage[i];
    }
    return found;
}

static int read_stages(const json_t *list, struct rollout_config *config, struct err *err)
{
    struct rollout_config defaults;
    if (list == NULL)
        return 0;
    if (!json_is_array(list) || json_array_size(list) == 0 ||
        json_array_size(list) > ROLLOUT_STAGES_MAX)
        return err_set(err, ERR_INVALID, "\"stages\" must be a list of 1 to %u stages",
                       ROLLOUT_STAGES_MAX);
    rollout_config_default(&defaults);
    config->stages = (uint32_t)json_array_size(list);
    for (uint32_t i = 0; i < config->stages; i++) {
        const json_t *value = json_array_get(list, i);
        struct rollout_stage *stage = &config->stage[i];
        int rc = read_stage(value, stage, err); /* For the share alone ... */
        if (rc != 0)
            return rc;
        *stage = stage_like(&defaults, stage->share_bp);
        rc = read_stage(value, stage, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int read_shadow(const json_t *value, struct rollout_config *config, struct err *err)
{
    static const char *const names[] = {"dwell", "dwell_max", "requests", NULL};
    if (value == NULL)
        return 0;
    int rc = check_members(value, "shadow", names, err);
    if (rc == 0)
        rc = read_duration(value, "dwell", &config->shadow_min_s, err);
    if (rc == 0)
        rc = read_duration(value, "dwell_max", &config->shadow_max_s, err);
    return rc != 0 ? rc : read_u64(value, "requests", INT64_MAX, &config->shadow_requests_min, err);
}

static int read_evidence(const json_t *list, struct rollout_config *config, struct err *err)
{
    if (list == NULL)
        return 0;
    if (!json_is_array(list))
        return err_set(err, ERR_INVALID, "\"evidence\" must be a list of guards");
    config->evidence = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        enum guard_metric metric;
        if (name == NULL || !guard_metric_find(str_from(name), &metric))
            return err_set(err, ERR_INVALID, "there is no guard \"%s\"", name == NULL ? "" : name);
        config->evidence |= 1U << metric;
    }
    return 0;
}

static int read_inconclusive(const json_t *value, struct rollout_config *config, struct err *err)
{
    const char *name = json_string_value(value);
    if (value == NULL)
        return 0;
    for (unsigned i = 0; name != NULL && i < 3; i++) {
        if (strcmp(name, inconclusive_names[i]) == 0) {
            config->inconclusive = (enum rollout_inconclusive)i;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID,
                   "\"inconclusive\" must be hold, promote_if_harmless or rollback");
}

static int read_guards(const json_t *object, struct guard_rules *rules, struct err *err)
{
    static const char *const names[] = {"alpha", "margin", "goal", "on", NULL};
    const char *key;
    json_t *value;
    if (object == NULL)
        return 0;
    if (!json_is_object(object))
        return err_set(err, ERR_INVALID, "\"guards\" must be an object");
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        enum guard_metric metric;
        const json_t *on = json_object_get(value, "on");
        if (!guard_metric_find(str_from(key), &metric))
            return err_set(err, ERR_INVALID, "there is no guard \"%s\"", key);
        struct guard_rule *rule = &rules->metric[metric];
        int rc = check_members(value, key, names, err);
        if (rc == 0)
            rc = read_number(value, "alpha", &rule->alpha, err);
        if (rc == 0 && json_object_get(value, "margin") != NULL) {
            rc = read_number(value, "margin", &rule->margin, err);
            rule->goal = rule->margin;
        }
        if (rc == 0)
            rc = read_number(value, "goal", &rule->goal, err);
        if (rc == 0 && on != NULL && !json_is_boolean(on))
            rc = err_set(err, ERR_INVALID, "\"on\" of guard %s must be true or false", key);
        if (rc != 0)
            return rc;
        if (on != NULL)
            rule->on = json_is_true(on);
    }
    return 0;
}

/* A version that is meant to be cheaper must be. */
static int read_saving(const json_t *object, struct guard_rules *rules, struct err *err)
{
    double saving = 0;
    if (json_object_get(object, "declared_saving") == NULL)
        return 0;
    int rc = read_number(object, "declared_saving", &saving, err);
    if (rc == 0 && !(saving >= 0 && saving < 1))
        rc = err_set(err, ERR_INVALID, "\"declared_saving\" must be a share from 0 to 1");
    if (rc == 0)
        rules->metric[GUARD_COST].goal = -saving;
    return rc;
}

/* What must be shown can only be shown by a guard that is on. */
static int check_evidence(const struct rollout_plan *plan, struct err *err)
{
    for (uint32_t i = 0; i < GUARD_METRICS; i++) {
        if ((plan->machine.evidence & 1U << i) != 0 && !plan->rules.metric[i].on)
            return err_set(err, ERR_INVALID, "evidence is asked of guard %s, which is off",
                           guard_metric_name((enum guard_metric)i).data);
    }
    return 0;
}

int plan_read(const json_t *object, struct rollout_plan *plan, struct err *err)
{
    struct rollout_config *m = &plan->machine;
    uint64_t ready = m->ready_percent;
    const json_t *from = json_object_get(object, "evidence_from_percent");
    int rc = read_stages(json_object_get(object, "stages"), m, err);
    if (rc == 0)
        rc = read_shadow(json_object_get(object, "shadow"), m, err);
    if (rc == 0 && from != NULL)
        rc = read_percent(from, &m->evidence_from_bp, err);
    if (rc == 0)
        rc = read_evidence(json_object_get(object, "evidence"), m, err);
    if (rc == 0)
        rc = read_inconclusive(json_object_get(object, "inconclusive"), m, err);
    if (rc == 0)
        rc = read_duration(object, "stale_after", &m->stale_after_s, err);
    if (rc == 0)
        rc = read_duration(object, "ttl", &m->ttl_s, err);
    if (rc == 0 && (m->ttl_s < TTL_S_MIN || m->ttl_s > TTL_S_MAX))
        rc = err_set(err, ERR_INVALID, "\"ttl\" must be from 30s, three heartbeats, to 24h");
    if (rc == 0)
        rc = read_u64(object, "ready_percent", 100, &ready, err);
    m->ready_percent = (uint32_t)ready;
    if (rc == 0)
        rc = read_duration(object, "bucket", &plan->bucket_s, err);
    if (rc == 0 && (plan->bucket_s < 1 || plan->bucket_s > 300))
        rc = err_set(err, ERR_INVALID, "\"bucket\" must be from 1s to 5m");
    if (rc == 0)
        rc = read_guards(json_object_get(object, "guards"), &plan->rules, err);
    if (rc == 0)
        rc = read_number(object, "ratio_alpha", &plan->rules.ratio_alpha, err);
    if (rc == 0)
        rc = read_saving(object, &plan->rules, err);
    if (rc == 0)
        rc = rollout_config_check(m, err);
    if (rc == 0)
        rc = guard_rules_check(&plan->rules, err);
    return rc != 0 ? rc : check_evidence(plan, err);
}

/* --- writing -----------------------------------------------------------------------------------
 */

static json_t *duration(uint32_t s)
{
    return json_sprintf("%us", s);
}

static json_t *percent(uint32_t bp)
{
    return bp % 100 == 0 ? json_integer(bp / 100) : json_real(bp / BP_PER_PERCENT);
}

static json_t *stages_json(const struct rollout_config *m)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < m->stages; i++) {
        const struct rollout_stage *s = &m->stage[i];
        json_t *stage =
            json_pack("{s:o, s:o, s:o, s:I, s:I}", "percent", percent(s->share_bp), "dwell",
                      duration(s->dwell_min_s), "dwell_max", duration(s->dwell_max_s), "requests",
                      (json_int_t)s->requests_min, "units", (json_int_t)s->units_min);
        if (stage == NULL || json_array_append_new(list, stage) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *evidence_json(uint32_t bits)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < GUARD_METRICS; i++) {
        if ((bits & 1U << i) != 0 &&
            json_array_append_new(list,
                                  json_string(guard_metric_name((enum guard_metric)i).data)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *guards_json(const struct guard_rules *rules)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < GUARD_METRICS; i++) {
        const struct guard_rule *r = &rules->metric[i];
        json_t *rule = json_pack("{s:f, s:f, s:f, s:b}", "alpha", r->alpha, "margin", r->margin,
                                 "goal", r->goal, "on", r->on);
        if (rule == NULL ||
            json_object_set_new(object, guard_metric_name((enum guard_metric)i).data, rule) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

int plan_write(const struct rollout_plan *plan, json_t **out_object)
{
    const struct rollout_config *m = &plan->machine;
    json_t *o =
        json_pack("{s:o, s:{s:o, s:o, s:I}, s:o, s:o, s:s, s:o, s:o, s:i, s:o, s:o, s:f}", "stages",
                  stages_json(m), "shadow", "dwell", duration(m->shadow_min_s), "dwell_max",
                  duration(m->shadow_max_s), "requests", (json_int_t)m->shadow_requests_min,
                  "evidence_from_percent", percent(m->evidence_from_bp), "evidence",
                  evidence_json(m->evidence), "inconclusive", inconclusive_names[m->inconclusive],
                  "stale_after", duration(m->stale_after_s), "ttl", duration(m->ttl_s),
                  "ready_percent", (int)m->ready_percent, "bucket", duration(plan->bucket_s),
                  "guards", guards_json(&plan->rules), "ratio_alpha", plan->rules.ratio_alpha);
    if (o == NULL)
        return ERR_NOMEM;
    *out_object = o;
    return 0;
}

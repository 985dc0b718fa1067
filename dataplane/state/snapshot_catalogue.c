/* Providers, prices, models and routes of a snapshot. */
#include "dataplane/state/builder.h"

#include "common/link/wire.h"
#include "control.pb-c.h"

typedef Steelyard__Control__V1__Catalogue Catalogue;
typedef Steelyard__Control__V1__Prices Prices;
typedef Steelyard__Control__V1__Model Model;
typedef Steelyard__Control__V1__Route Route;

/* ---- prices ---- */

struct price_rows {
    struct snapshot_price rows[SNAPSHOT_PRICES_MAX];
    uint32_t count;
};

/* Of fields that came later, where 0 has to mean "not said"; out of range stays out of range. */
static int64_t later_rate(uint64_t v)
{
    return v == 0 ? PRICE_UNKNOWN : v - 1 > INT64_MAX ? INT64_MAX : (int64_t)(v - 1);
}

static bool read_price(const Steelyard__Control__V1__Price *p, struct price *out)
{
    *out = (struct price){.base = {.input = p->input,
                                   .output = p->output,
                                   .cached_read = p->cached_input,
                                   .cache_write = p->cache_write,
                                   .cache_write_1h = later_rate(p->cache_write_1h),
                                   .reasoning = later_rate(p->reasoning)}};
    if (p->n_tiers > PRICE_TIERS_MAX)
        return false;
    for (; out->tier_count < p->n_tiers; out->tier_count++) {
        const Steelyard__Control__V1__PriceTier *t = p->tiers[out->tier_count];
        out->tiers[out->tier_count] =
            (struct price_tier){.above = t->above,
                                .rates = {.input = t->input,
                                          .output = t->output,
                                          .cached_read = t->cached_input,
                                          .cache_write = t->cache_write,
                                          .cache_write_1h = t->cache_write_1h,
                                          .reasoning = t->reasoning}};
    }
    return price_is_valid(out);
}

static int take_price(struct builder *b, const Steelyard__Control__V1__Price *p)
{
    struct price price;
    if (!read_price(p, &price))
        return builder_refuse(b, ERR_INVALID, "INVALID", "price %llu is out of range",
                              (unsigned long long)p->price_id);
    const char *text = arena_printf(&b->s->arena, "%s\n%s", p->provider, p->model);
    if (text == NULL)
        return builder_no_memory(b);
    struct str key = str_from(text);
    struct price_rows *rows = map_get(&b->prices, key);
    if (rows == NULL) {
        rows = builder_alloc(b, 1, sizeof(*rows));
        if (rows == NULL || map_put(&b->prices, key, rows, NULL) != 0)
            return builder_no_memory(b);
    }
    if (rows->count == SNAPSHOT_PRICES_MAX)
        return builder_refuse(b, ERR_LIMIT, "LIMIT",
                              "more than %d prices of one model at one provider",
                              SNAPSHOT_PRICES_MAX);
    uint32_t at = rows->count++;
    for (; at > 0 && rows->rows[at - 1].valid_from_us < p->valid_from_us; at--)
        rows->rows[at] = rows->rows[at - 1];
    rows->rows[at] = (struct snapshot_price){
        .id = p->price_id,
        .valid_from_us = p->valid_from_us,
        .price = price,
    };
    return 0;
}

static int build_prices(struct builder *b)
{
    ProtobufCMessage *m;
    int rc = builder_unpack(b, "prices", &steelyard__control__v1__prices__descriptor, &m);
    if (rc != 0 || m == NULL)
        return rc;
    const Prices *prices = (const Prices *)m;
    for (size_t i = 0; rc == 0 && i < prices->n_prices; i++)
        rc = take_price(b, prices->prices[i]);
    wire_free(m);
    return rc;
}

/* ---- models ---- */

static int take_deployment(struct builder *b, const Model *m, size_t index,
                           struct snapshot_deployment *d)
{
    const Steelyard__Control__V1__Deployment *p = m->deployments[index];
    d->provider = map_get(&b->providers, str_from(p->provider));
    if (d->provider == NULL)
        return builder_refuse(b, ERR_NOT_FOUND, "REFERENCE",
                              "model '%s' names unknown provider '%s'", m->id, p->provider);
    int rc = builder_name(b, "upstream model", p->upstream_model, &d->upstream_model);
    if (rc != 0)
        return rc;
    const char *name = arena_printf(&b->s->arena, "%s/%s", p->provider, p->upstream_model);
    if (name == NULL)
        return builder_no_memory(b);
    d->name = str_from(name);
    d->weight = p->weight != 0 ? p->weight : 1;
    d->priority = p->priority;
    for (int i = 0; d->provider->kind != NULL && i < DIALECT_CALLERS; i++)
        d->dialects[i] =
            host_dialect_for_model(d->provider->kind, (enum dialect)i, d->upstream_model);
    rc = builder_text(b, str_from(p->region), &d->region);
    if (rc != 0)
        return rc;
    d->data = require_data_terms(p->data, d->provider->collects_nothing);
    d->ordinal = b->deployments++;
    const char *key = arena_printf(&b->s->arena, "%s\n%s", p->provider, m->id);
    if (key == NULL)
        return builder_no_memory(b);
    const struct price_rows *rows = map_get(&b->prices, str_from(key));
    if (rows != NULL) {
        d->prices = rows->rows;
        d->price_count = rows->count;
    }
    return 0;
}

static int take_model(struct builder *b, const Model *m, struct snapshot_model *out)
{
    int rc = builder_name(b, "model", m->id, &out->id);
    if (rc != 0)
        return rc;
    out->name_hash = scope_hash(out->id);
    out->plain = str_is_plain(out->id);
    out->display_name = out->id;
    if (m->display_name[0] != '\0')
        rc = builder_name(b, "display name", m->display_name, &out->display_name);
    if (rc != 0)
        return rc;
    if (m->n_deployments == 0 || m->n_deployments > SNAPSHOT_DEPLOYMENTS_MAX)
        return builder_refuse(b, ERR_INVALID, "INVALID", "model '%s' has %zu deployments (1 to %d)",
                              m->id, m->n_deployments, SNAPSHOT_DEPLOYMENTS_MAX);
    if (m->prior_quality_q16 > 65536)
        return builder_refuse(b, ERR_INVALID, "INVALID", "model '%s': prior quality above 1",
                              m->id);
    struct snapshot_deployment *list = builder_alloc(b, m->n_deployments, sizeof(*list));
    if (list == NULL)
        return builder_no_memory(b);
    out->deployments = list;
    out->deployment_count = (uint32_t)m->n_deployments;
    for (size_t i = 0; rc == 0 && i < m->n_deployments; i++)
        rc = take_deployment(b, m, i, &list[i]);
    out->context_window = m->context_window;
    out->max_output = m->max_output;
    out->capabilities = m->capabilities;
    out->prior_q16 = m->prior_quality_q16 != 0 ? m->prior_quality_q16 : POLICY_NO_PRIOR;
    out->prior_out = m->prior_output_tokens;
    out->created_s = m->created;
    return rc == 0 ? builder_put(b, &b->s->models_by_id, out->id, out, "model") : rc;
}

static int build_models(struct builder *b, const Catalogue *c)
{
    if (c->n_models > SNAPSHOT_MODELS_MAX)
        return builder_refuse(b, ERR_LIMIT, "LIMIT", "more than %d models", SNAPSHOT_MODELS_MAX);
    struct snapshot_model *list = builder_alloc(b, c->n_models, sizeof(*list));
    if (list == NULL)
        return builder_no_memory(b);
    b->s->models = list;
    b->s->model_count = (uint32_t)c->n_models;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->n_models; i++) {
        list[i].ordinal = (uint32_t)i;
        rc = take_model(b, c->models[i], &list[i]);
    }
    b->s->deployment_count = b->deployments;
    return rc;
}

/* ---- routes ---- */

static const struct snapshot_policy *next_version(const struct snapshot_policy *p)
{
    return p != NULL && p->rollout != NULL ? p->rollout->candidate : NULL;
}

static int32_t ordinal_in(const struct snapshot_policy *p, const struct snapshot_model *model)
{
    return p != NULL && p->artifact != NULL ? artifact_model(p->artifact, model->id)
                                            : POLICY_UNKNOWN_MODEL;
}

static int unknown_model(struct builder *b, const Route *m, const char *id)
{
    return builder_refuse(b, ERR_NOT_FOUND, "REFERENCE", "route '%s' names unknown model '%s'",
                          m->name, id);
}

static int take_candidates(struct builder *b, const Route *m, struct snapshot_route *out)
{
    if (m->n_models == 0 || m->n_models > POLICY_CANDIDATES_MAX)
        return builder_refuse(b, ERR_INVALID, "INVALID", "route '%s' has %zu models (1 to %d)",
                              m->name, m->n_models, POLICY_CANDIDATES_MAX);
    if ((m->n_weights != 0 && m->n_weights != m->n_models) ||
        (m->n_priorities != 0 && m->n_priorities != m->n_models))
        return builder_refuse(b, ERR_INVALID, "INVALID",
                              "route '%s' has not as many weights or priorities as models",
                              m->name);
    struct snapshot_candidate *list = builder_alloc(b, m->n_models, sizeof(*list));
    if (list == NULL)
        return builder_no_memory(b);
    out->candidates = list;
    out->candidate_count = (uint32_t)m->n_models;
    for (size_t i = 0; i < m->n_models; i++) {
        const char *id = m->models[i];
        const struct snapshot_model *model = snapshot_model(b->s, str_from(id));
        if (model == NULL)
            return unknown_model(b, m, id);
        for (size_t j = 0; j < i; j++)
            if (list[j].model == model)
                return builder_refuse(b, ERR_EXISTS, "DUPLICATE",
                                      "route '%s' names model '%s' twice", m->name, id);
        list[i] = (struct snapshot_candidate){
            .model = model,
            .ordinal = ordinal_in(out->policy, model),
            .next_ordinal = ordinal_in(next_version(out->policy), model),
            .weight = m->n_weights != 0 ? m->weights[i] : 1,
            .priority = m->n_priorities != 0 ? m->priorities[i] : 0,
        };
        if (list[i].weight > WAY_WEIGHT_MAX)
            return builder_refuse(b, ERR_INVALID, "INVALID", "route '%s': weight above %u", m->name,
                                  WAY_WEIGHT_MAX);
    }
    return 0;
}

static int take_fallbacks(struct builder *b, const Route *m, char *const *names, size_t count,
                          struct snapshot_models *out)
{
    if (count > SNAPSHOT_FALLBACKS_MAX)
        return builder_refuse(b, ERR_LIMIT, "LIMIT", "route '%s' has more than %d fallbacks",
                              m->name, SNAPSHOT_FALLBACKS_MAX);
    const struct snapshot_model **list =
        builder_alloc(b, count, sizeof(const struct snapshot_model *));
    if (list == NULL)
        return builder_no_memory(b);
    *out = (struct snapshot_models){.items = list, .count = (uint32_t)count};
    for (size_t i = 0; i < count; i++) {
        list[i] = snapshot_model(b->s, str_from(names[i]));
        if (list[i] == NULL)
            return unknown_model(b, m, names[i]);
    }
    return 0;
}

static int take_all_fallbacks(struct builder *b, const Route *m, struct snapshot_route *out)
{
    struct snapshot_models *f = out->fallbacks;
    int rc = take_fallbacks(b, m, m->fallbacks, m->n_fallbacks, &f[SNAPSHOT_FALLBACK_ANY]);
    if (rc == 0)
        rc = take_fallbacks(b, m, m->context_window_fallbacks, m->n_context_window_fallbacks,
                            &f[SNAPSHOT_FALLBACK_CONTEXT_WINDOW]);
    if (rc == 0)
        rc = take_fallbacks(b, m, m->content_policy_fallbacks, m->n_content_policy_fallbacks,
                            &f[SNAPSHOT_FALLBACK_CONTENT_POLICY]);
    if (rc == 0)
        rc = take_fallbacks(b, m, m->rate_limit_fallbacks, m->n_rate_limit_fallbacks,
                            &f[SNAPSHOT_FALLBACK_RATE_LIMIT]);
    return rc;
}

/* What cannot be read must not be forgotten: it would let through what it is to keep away. */
static int take_require(struct builder *b, const Route *m, struct snapshot_route *out)
{
    const Steelyard__Control__V1__Require *q = m->require;
    if (q == NULL)
        return 0;
    if (q->n_regions > REQUIRE_REGIONS_MAX)
        return builder_refuse(b, ERR_LIMIT, "LIMIT", "route '%s' requires more than %d regions",
                              m->name, REQUIRE_REGIONS_MAX);
    struct str *regions = builder_alloc(b, q->n_regions, sizeof(*regions));
    if (regions == NULL)
        return builder_no_memory(b);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < q->n_regions; i++)
        rc = builder_text(b, str_from(q->regions[i]), &regions[i]);
    out->require = (struct require){
        .regions = regions, .region_count = (uint32_t)q->n_regions, .data = q->data};
    return rc;
}

static int bad_targets(struct builder *b, const Route *m)
{
    return builder_refuse(b, ERR_INVALID, "INVALID",
                          "route '%s': targets or conditions are malformed", m->name);
}

static int take_targets(struct builder *b, const Route *m, struct snapshot_route *out)
{
    if (m->n_targets > TREE_TARGETS_MAX)
        return bad_targets(b, m);
    struct tree_target *list = builder_alloc(b, m->n_targets, sizeof(*list));
    if (list == NULL)
        return builder_no_memory(b);
    for (size_t i = 0; i < m->n_targets; i++) {
        const Steelyard__Control__V1__Target *t = m->targets[i];
        if (t->n_members > TREE_MEMBERS_MAX || t->n_weights != t->n_members)
            return bad_targets(b, m);
        struct tree_member *members = builder_alloc(b, t->n_members, sizeof(*members));
        if (members == NULL)
            return builder_no_memory(b);
        for (size_t k = 0; k < t->n_members; k++)
            members[k] = (struct tree_member){.what = t->members[k], .weight = t->weights[k]};
        list[i] = (struct tree_target){
            .balance = t->balance, .count = (uint32_t)t->n_members, .members = members};
    }
    out->tree = (struct tree){
        .models = out->candidate_count, .count = (uint32_t)m->n_targets, .targets = list};
    return tree_valid(&out->tree) ? 0 : bad_targets(b, m);
}

static int take_steps(struct builder *b, const Steelyard__Control__V1__Condition *c,
                      struct snapshot_condition *out)
{
    if (c->n_steps > RULE_STEPS_MAX)
        return ERR_INVALID;
    struct rule_step *steps = builder_alloc(b, c->n_steps, sizeof(*steps));
    if (steps == NULL)
        return builder_no_memory(b);
    for (size_t i = 0; i < c->n_steps; i++) {
        const Steelyard__Control__V1__RuleStep *s = c->steps[i];
        if (s->n_values > RULE_VALUES_MAX || s->op >= RULE_OPS)
            return ERR_INVALID;
        struct str *values = builder_alloc(b, s->n_values, sizeof(*values));
        if (values == NULL)
            return builder_no_memory(b);
        steps[i] = (struct rule_step){.op = (enum rule_op)s->op,
                                      .count = s->count,
                                      .values = values,
                                      .value_count = (uint32_t)s->n_values};
        int rc = builder_text(b, str_from(s->path), &steps[i].path);
        for (size_t k = 0; rc == 0 && k < s->n_values; k++)
            rc = builder_text(b, str_from(s->values[k]), &values[k]);
        if (rc == 0 && s->op == RULE_REGEX && s->n_values == 1)
            rc = pattern_compile(values[0], &b->s->arena, &steps[i].pattern, NULL);
        if (rc == ERR_NOMEM)
            return builder_no_memory(b);
        if (rc != 0)
            return rc;
    }
    *out =
        (struct snapshot_condition){.steps = steps, .count = (uint32_t)c->n_steps, .then = c->then};
    return rule_valid(steps, out->count) ? 0 : ERR_INVALID;
}

static int take_conditions(struct builder *b, const Route *m, struct snapshot_route *out)
{
    const uint32_t targets = out->tree.models + out->tree.count;
    if (m->n_conditions > SNAPSHOT_CONDITIONS_MAX || m->default_target > targets)
        return bad_targets(b, m);
    out->default_target = m->default_target != 0 ? m->default_target - 1 : POLICY_NONE;
    struct snapshot_condition *list = builder_alloc(b, m->n_conditions, sizeof(*list));
    if (list == NULL)
        return builder_no_memory(b);
    out->conditions = list;
    out->condition_count = (uint32_t)m->n_conditions;
    for (size_t i = 0; i < m->n_conditions; i++) {
        int rc = take_steps(b, m->conditions[i], &list[i]);
        if (rc == ERR_INVALID || (rc == 0 && list[i].then >= targets))
            return bad_targets(b, m);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int take_route(struct builder *b, const Route *m, struct snapshot_route *out)
{
    int rc = builder_name(b, "route", m->name, &out->name);
    if (rc != 0)
        return rc;
    if (m->policy[0] != '\0') {
        out->policy = snapshot_policy(b->s, str_from(m->policy));
        if (out->policy == NULL)
            return builder_refuse(b, ERR_NOT_FOUND, "REFERENCE",
                                  "route '%s' names unknown policy '%s'", m->name, m->policy);
    }
    out->name_hash = scope_hash(out->name);
    out->timeout_ms = m->timeout_ms;
    out->retries = m->retries != 0 || m->no_retries ? m->retries : SNAPSHOT_RETRIES;
    if (m->hedge != NULL) {
        out->hedge_share = m->hedge->max_share;
        out->hedge_after_ms = m->hedge->after_ms;
    }
    /* A way that is not known here leaves the order of the list. */
    out->way = (uint32_t)m->way < WAYS ? (enum way)m->way : WAY_PRIORITY;
    rc = take_candidates(b, m, out);
    if (rc == 0)
        rc = take_all_fallbacks(b, m, out);
    if (rc == 0)
        rc = take_targets(b, m, out);
    if (rc == 0)
        rc = take_conditions(b, m, out);
    if (rc == 0)
        rc = take_require(b, m, out);
    const uint64_t affinity_s = (m->affinity_ms + 999) / 1000;
    out->affinity_s =
        affinity_s > SNAPSHOT_AFFINITY_S_MAX ? SNAPSHOT_AFFINITY_S_MAX : (uint32_t)affinity_s;
    return rc == 0 ? builder_put(b, &b->s->routes_by_name, out->name, out, "route") : rc;
}

static int build_routes(struct builder *b, const Catalogue *c)
{
    if (c->n_routes > SNAPSHOT_ROUTES_MAX)
        return builder_refuse(b, ERR_LIMIT, "LIMIT", "more than %d routes", SNAPSHOT_ROUTES_MAX);
    struct snapshot_route *list = builder_alloc(b, c->n_routes, sizeof(*list));
    if (list == NULL)
        return builder_no_memory(b);
    b->s->routes = list;
    b->s->route_count = (uint32_t)c->n_routes;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->n_routes; i++) {
        list[i].ordinal = (uint32_t)i;
        rc = take_route(b, c->routes[i], &list[i]);
    }
    return rc;
}

int build_catalogue(struct builder *b)
{
    ProtobufCMessage *m = NULL;
    int rc = build_prices(b);
    if (rc == 0)
        rc = builder_unpack(b, "catalogue", &steelyard__control__v1__catalogue__descriptor, &m);
    static const Catalogue empty = STEELYARD__CONTROL__V1__CATALOGUE__INIT;
    const Catalogue *c = m != NULL ? (const Catalogue *)m : &empty;
    const struct resource *r = b->at;
    if (rc == 0)
        rc = build_providers(b, c);
    if (rc == 0)
        rc = build_models(b, c);
    if (rc == 0)
        rc = build_policies(b);
    if (rc == 0)
        rc = build_rollouts(b);
    if (rc == 0) {
        b->at = r;
        rc = build_routes(b, c);
    }
    wire_free(m);
    return rc;
}

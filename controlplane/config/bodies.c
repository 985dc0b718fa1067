/* Configuration -> the bodies that are pushed to nodes. Order of the file, no time of day, no
 * random numbers: the same file gives the same bytes, so an unchanged file is no change. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/crypto/digest.h"
#include "common/route/policy.h"
#include "common/route/require.h"
#include "common/route/way.h"
#include "control.pb-c.h"
#include "controlplane/config/config.h"
#include "controlplane/config/model.h"
#include "controlplane/config/rules.h"

#define BODY_ARENA_MAX (64U << 20)

/* Messages are built in an arena of their own and packed from there. */
struct body {
    struct arena_pool chunks;
    struct arena arena;
    bool nomem;
};

static void body_init(struct body *b)
{
    *b = (struct body){0};
    arena_pool_init(&b->chunks, 0);
    arena_init(&b->arena, &b->chunks, BODY_ARENA_MAX);
}

static int body_pack(struct body *b, const ProtobufCMessage *message, struct buf *out)
{
    int rc = b->nomem ? ERR_NOMEM : 0;
    if (rc == 0) {
        size_t len = protobuf_c_message_get_packed_size(message);
        rc = buf_reserve(out, len);
        if (rc == 0)
            out->len += protobuf_c_message_pack(message, (uint8_t *)out->data + out->len);
    }
    arena_reset(&b->arena);
    arena_pool_deinit(&b->chunks);
    return rc;
}

static char *body_text(struct body *b, struct str s)
{
    static char empty[1] = "";
    if (s.len == 0)
        return empty;
    struct str copy = arena_copy(&b->arena, s);
    b->nomem = b->nomem || copy.data == NULL;
    return copy.data == NULL ? empty : (char *)(uintptr_t)copy.data;
}

/* An array of `count` pointers to as many zeroed structs. */
static void *body_array(struct body *b, size_t count, size_t size, void ***out_pointers)
{
    *out_pointers = NULL;
    if (count == 0)
        return NULL;
    char *items = arena_zalloc(&b->arena, count, size);
    void **pointers = arena_zalloc(&b->arena, count, sizeof *pointers);
    if (items == NULL || pointers == NULL) {
        b->nomem = true;
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        pointers[i] = items + i * size;
    *out_pointers = pointers;
    return items;
}

static char **body_texts(struct body *b, const struct texts *t)
{
    if (t->count == 0)
        return NULL;
    char **out = arena_zalloc(&b->arena, t->count, sizeof *out);
    if (out == NULL) {
        b->nomem = true;
        return NULL;
    }
    for (size_t i = 0; i < t->count; i++)
        out[i] = body_text(b, t->items[i]);
    return out;
}

/* --- catalogue ---------------------------------------------------------------------------------
 */

/* 1 + the position of the first provider with the same domain name; 0: a domain of its own. */
static uint32_t domain_of(const struct root_config *root, const struct provider_config *p)
{
    const struct provider_config *all = root->providers.data;
    if (p->failure_domain.len == 0)
        return 0;
    uint32_t i = 0;
    while (!str_eq(all[i].failure_domain, p->failure_domain))
        i++;
    return i + 1;
}

static void fill_headers(struct body *b, const struct pairs *from,
                         Steelyard__Control__V1__Provider *out)
{
    void **pointers;
    Steelyard__Control__V1__Header *h = body_array(b, from->count, sizeof *h, &pointers);
    for (size_t i = 0; h != NULL && i < from->count; i++) {
        steelyard__control__v1__header__init(&h[i]);
        h[i].name = body_text(b, from->names[i]);
        h[i].value = body_text(b, from->values[i]);
    }
    out->n_headers = h == NULL ? 0 : from->count;
    out->headers = (Steelyard__Control__V1__Header **)(void *)pointers;
}

/* As a provider states them. */
static uint32_t terms_of(const struct provider_config *p)
{
    uint32_t own = p->data_collection == 2 ? REQUIRE_NOT_COLLECTED : 0;
    if (p->zdr)
        own |= REQUIRE_NOT_KEPT;
    return require_data_terms(own, p->collects_nothing);
}

/* The deployment's own words first: what they leave open its provider says. */
static uint32_t terms_at(const struct deployment_config *d, const struct provider_config *p)
{
    uint32_t own = d->data_collection == 2 ? REQUIRE_NOT_COLLECTED : 0;
    if (d->zdr)
        own |= REQUIRE_NOT_KEPT;
    if (d->data_collection != 1 && p != NULL)
        own |= terms_of(p);
    return require_data_terms(own, false) | REQUIRE_STATED;
}

static struct str region_of(const struct deployment_config *d, const struct provider_config *p)
{
    return d->region.len > 0 || p == NULL ? d->region : host_region(p->host, p->region, d->model);
}

static Steelyard__Control__V1__Require *make_require(struct body *b, const struct require_config *q)
{
    const uint32_t data = config_require_data(q);
    if (q->region.count == 0 && data == 0)
        return NULL;
    Steelyard__Control__V1__Require *out = arena_zalloc(&b->arena, 1, sizeof *out);
    if (out == NULL) {
        b->nomem = true;
        return NULL;
    }
    steelyard__control__v1__require__init(out);
    out->n_regions = q->region.count;
    out->regions = body_texts(b, &q->region);
    out->data = data;
    return out;
}

static void fill_provider(struct body *b, const struct root_config *root,
                          const struct provider_config *p, Steelyard__Control__V1__Provider *out)
{
    steelyard__control__v1__provider__init(out);
    Steelyard__Control__V1__Timeouts *t = arena_zalloc(&b->arena, 1, sizeof *t);
    if (t == NULL) {
        b->nomem = true;
        return;
    }
    steelyard__control__v1__timeouts__init(t);
    t->connect_ms = (uint32_t)p->timeouts.connect_ms;
    t->tls_ms = (uint32_t)p->timeouts.tls_ms;
    t->head_ms = (uint32_t)p->timeouts.head_ms;
    t->first_content_ms = (uint32_t)p->timeouts.first_content_ms;
    t->between_events_ms = (uint32_t)p->timeouts.between_events_ms;
    t->total_ms = (uint32_t)p->timeouts.total_ms;
    out->timeouts = t;
    out->name = body_text(b, p->item.name);
    out->type = body_text(b, p->host->name);
    out->base_url = body_text(b, p->base_url);
    out->secret_ref = body_text(b, p->api_key);
    out->allow_private = p->is_private || p->host->local;
    out->abort_stops_billing = p->abort_stops_billing;
    out->propagate = p->propagate;
    out->collects_nothing = terms_of(p) == (REQUIRE_NOT_COLLECTED | REQUIRE_NOT_KEPT);
    out->ca_file = body_text(b, p->ca_file);
    out->failure_domain = domain_of(root, p);
    out->catalog = body_text(b, p->catalog);
    out->transport = (Steelyard__Control__V1__Transport)p->transport;    /* In the table's order. */
    out->credential = (Steelyard__Control__V1__Credential)p->credential; /* This one, too. */
    out->version = body_text(b, p->version);
    out->region = body_text(b, p->region);
    out->project = body_text(b, p->project);
    out->reject_unsupported = p->compat.unsupported != 0;
    out->no_repair = !p->compat.repair;
    fill_headers(b, &p->headers, out);
}

static const struct provider_config *provider_of(const struct root_config *root, struct str name)
{
    const struct provider_config *all = root->providers.data;
    for (size_t i = 0; i < root->providers.count; i++) {
        if (str_eq(all[i].item.name, name))
            return &all[i];
    }
    return NULL; /* Checked: does not happen in a parsed file. */
}

static const struct catalog_row *known_of(const struct root_config *root,
                                          const struct deployment_config *d)
{
    const struct provider_config *p = provider_of(root, d->provider);
    return p == NULL ? NULL : prices_shipped(prices_vendor(p->base_url, p->catalog), d->model);
}

/* Facts of the shipped table that hold at every deployment: the smallest. */
static uint32_t known_limit(const struct root_config *root, const struct model_config *m,
                            bool output)
{
    const struct deployment_config *d = m->deployments.data;
    uint32_t least = 0;
    for (size_t i = 0; i < m->deployments.count; i++) {
        const struct catalog_row *k = known_of(root, &d[i]);
        if (k == NULL)
            return 0;
        uint32_t value = output ? k->max_output : k->context;
        if (i == 0 || value < least)
            least = value;
    }
    return least;
}

static void fill_model(struct body *b, const struct root_config *root, const struct model_config *m,
                       Steelyard__Control__V1__Model *out)
{
    void **pointers;
    const struct deployment_config *from = m->deployments.data;
    steelyard__control__v1__model__init(out);
    Steelyard__Control__V1__Deployment *d =
        body_array(b, m->deployments.count, sizeof *d, &pointers);
    for (size_t i = 0; d != NULL && i < m->deployments.count; i++) {
        steelyard__control__v1__deployment__init(&d[i]);
        d[i].provider = body_text(b, from[i].provider);
        d[i].upstream_model = body_text(b, from[i].model);
        d[i].weight = (uint32_t)from[i].weight;
        const struct provider_config *p = provider_of(root, from[i].provider);
        d[i].region = body_text(b, region_of(&from[i], p));
        d[i].data = terms_at(&from[i], p);
        d[i].priority = (uint32_t)from[i].priority;
    }
    out->id = body_text(b, m->item.name);
    out->display_name = body_text(b, m->display_name);
    out->n_deployments = d == NULL ? 0 : m->deployments.count;
    out->deployments = (Steelyard__Control__V1__Deployment **)(void *)pointers;
    out->context_window =
        m->context_window > 0 ? (uint32_t)m->context_window : known_limit(root, m, false);
    out->max_output = m->max_output > 0 ? (uint32_t)m->max_output : known_limit(root, m, true);
    out->capabilities = (uint32_t)m->capabilities; /* Words in the order of ModelCapability. */
    out->prior_quality_q16 = (uint32_t)m->prior_quality_q16;
    out->prior_output_tokens = (uint32_t)m->prior_output_tokens;
}

static void fill_candidates(struct body *b, const struct route_config *r, enum way way,
                            Steelyard__Control__V1__Route *out)
{
    const struct candidate_config *from = r->models.data;
    const size_t count = r->models.count;
    if (count == 0)
        return;
    out->models = arena_zalloc(&b->arena, count, sizeof *out->models);
    out->weights = arena_zalloc(&b->arena, count, sizeof *out->weights);
    out->priorities = arena_zalloc(&b->arena, count, sizeof *out->priorities);
    if (out->models == NULL || out->weights == NULL || out->priorities == NULL) {
        b->nomem = true;
        return;
    }
    out->n_models = count;
    if (way != WAY_LEARNED)
        out->n_weights = out->n_priorities = count;
    for (size_t i = 0; i < count; i++) {
        out->models[i] = body_text(b, from[i].model);
        out->weights[i] = (uint32_t)from[i].weight;
        out->priorities[i] = (uint32_t)from[i].priority;
        if (way == WAY_PRIORITY && from[i].priority == 0)
            out->priorities[i] = (uint32_t)i + 1;
    }
}

static void fill_targets(struct body *b, const struct route_config *r,
                         Steelyard__Control__V1__Route *out)
{
    void **pointers;
    const struct target_config *from = r->targets.data;
    Steelyard__Control__V1__Target *t = body_array(b, r->targets.count, sizeof *t, &pointers);
    for (size_t i = 0; t != NULL && i < r->targets.count; i++) {
        const struct member_config *m = from[i].of.data;
        const size_t count = from[i].of.count;
        steelyard__control__v1__target__init(&t[i]);
        t[i].name = body_text(b, from[i].item.name);
        t[i].balance = from[i].strategy != 0;
        t[i].members = arena_zalloc(&b->arena, count + 1, sizeof *t[i].members);
        t[i].weights = arena_zalloc(&b->arena, count + 1, sizeof *t[i].weights);
        if (t[i].members == NULL || t[i].weights == NULL) {
            b->nomem = true;
            return;
        }
        t[i].n_members = t[i].n_weights = count;
        for (size_t k = 0; k < count; k++) {
            t[i].members[k] = rules_find(r, m[k].target);
            t[i].weights[k] = (uint32_t)m[k].weight;
        }
    }
    out->n_targets = t == NULL ? 0 : r->targets.count;
    out->targets = (Steelyard__Control__V1__Target **)(void *)pointers;
}

/* Of a checked file. */
static void fill_condition(struct body *b, const struct route_config *r,
                           const struct condition_config *from,
                           Steelyard__Control__V1__Condition *out)
{
    void **pointers;
    struct findings none = {0};
    struct rule_step steps[RULE_STEPS_MAX];
    steelyard__control__v1__condition__init(out);
    out->then = rules_find(r, from->then);
    const uint32_t count = rules_compile(&none, from->query, &b->arena, steps);
    Steelyard__Control__V1__RuleStep *s = body_array(b, count, sizeof *s, &pointers);
    for (uint32_t i = 0; s != NULL && i < count; i++) {
        steelyard__control__v1__rule_step__init(&s[i]);
        s[i].op = steps[i].op;
        s[i].count = steps[i].count;
        s[i].path = body_text(b, steps[i].path);
        const struct texts values = {.items = steps[i].values, .count = steps[i].value_count};
        s[i].n_values = values.count;
        s[i].values = body_texts(b, &values);
    }
    out->n_steps = s == NULL ? 0 : count;
    out->steps = (Steelyard__Control__V1__RuleStep **)(void *)pointers;
}

static void fill_conditions(struct body *b, const struct route_config *r,
                            Steelyard__Control__V1__Route *out)
{
    void **pointers;
    const struct condition_config *from = r->conditions.data;
    Steelyard__Control__V1__Condition *c = body_array(b, r->conditions.count, sizeof *c, &pointers);
    for (size_t i = 0; c != NULL && i < r->conditions.count; i++)
        fill_condition(b, r, &from[i], &c[i]);
    out->n_conditions = c == NULL ? 0 : r->conditions.count;
    out->conditions = (Steelyard__Control__V1__Condition **)(void *)pointers;
    if (r->default_target.len > 0)
        out->default_target = rules_find(r, r->default_target) + 1;
}

/* A map turns it on, unless it says otherwise. */
static uint64_t affinity_of(const struct affinity_config *a)
{
    bool on = a->on;
    if (a->item.node != NULL && a->item.node->kind == YAML_MAP) {
        const struct yaml_node *n = a->item.node->first;
        while (n != NULL && !str_is(n->key, "enabled"))
            n = n->next;
        on = on || n == NULL;
    }
    return on ? a->ttl_ms : 0;
}

static void fill_hedge(struct body *b, const struct hedge_config *from,
                       Steelyard__Control__V1__Route *out)
{
    void **pointers;
    if (from->after == 0 || from->max_share == 0)
        return;
    Steelyard__Control__V1__Hedge *h = body_array(b, 1, sizeof *h, &pointers);
    if (h == NULL)
        return;
    steelyard__control__v1__hedge__init(h);
    h->after_ms = from->after == TABLE_DELAY_P95 ? 0 : (uint32_t)from->after;
    h->max_share = (uint32_t)from->max_share;
    out->hedge = h;
}

static void fill_route(struct body *b, const struct route_config *r,
                       Steelyard__Control__V1__Route *out)
{
    enum way way = WAY_LEARNED;
    if (way_find(str_from(table_strategies[r->strategy]), &way) != 0)
        way = WAY_LEARNED; /* A word that has no way: a test compares them. */
    steelyard__control__v1__route__init(out);
    out->name = body_text(b, r->item.name);
    /* What a way orders is none of a policy's decisions. */
    out->policy = body_text(b, way == WAY_LEARNED ? r->policy : STR(""));
    out->way = (Steelyard__Control__V1__Way)way; /* In the table's order. */
    fill_candidates(b, r, way, out);
    fill_targets(b, r, out);
    fill_conditions(b, r, out);
    const struct fallbacks_config *f = &r->fallbacks;
    out->n_fallbacks = f->usual.count;
    out->fallbacks = body_texts(b, &f->usual);
    out->n_context_window_fallbacks = f->context_window.count;
    out->context_window_fallbacks = body_texts(b, &f->context_window);
    out->n_content_policy_fallbacks = f->content_policy.count;
    out->content_policy_fallbacks = body_texts(b, &f->content_policy);
    out->n_rate_limit_fallbacks = f->rate_limit.count;
    out->rate_limit_fallbacks = body_texts(b, &f->rate_limit);
    out->timeout_ms = (uint32_t)r->timeout_ms;
    out->retries = (uint32_t)r->retries;
    out->no_retries = r->retries == 0;
    out->require = make_require(b, &r->require);
    out->affinity_ms = affinity_of(&r->affinity);
    fill_hedge(b, &r->hedge, out);
}

int config_catalogue(const struct config *c, struct buf *out)
{
    struct body b;
    void **pointers;
    const struct root_config *root = &c->root;
    const struct provider_config *providers = root->providers.data;
    const struct model_config *models = root->models.data;
    const struct route_config *routes = root->routes.data;
    Steelyard__Control__V1__Catalogue m = STEELYARD__CONTROL__V1__CATALOGUE__INIT;
    body_init(&b);
    Steelyard__Control__V1__Provider *p =
        body_array(&b, root->providers.count, sizeof *p, &pointers);
    m.providers = (Steelyard__Control__V1__Provider **)(void *)pointers;
    for (size_t i = 0; p != NULL && i < root->providers.count; i++, m.n_providers++)
        fill_provider(&b, root, &providers[i], &p[i]);
    Steelyard__Control__V1__Model *d = body_array(&b, root->models.count, sizeof *d, &pointers);
    m.models = (Steelyard__Control__V1__Model **)(void *)pointers;
    for (size_t i = 0; d != NULL && i < root->models.count; i++, m.n_models++)
        fill_model(&b, root, &models[i], &d[i]);
    Steelyard__Control__V1__Route *r = body_array(&b, root->routes.count, sizeof *r, &pointers);
    m.routes = (Steelyard__Control__V1__Route **)(void *)pointers;
    for (size_t i = 0; r != NULL && i < root->routes.count; i++, m.n_routes++)
        fill_route(&b, &routes[i], &r[i]);
    return body_pack(&b, &m.base, out);
}

/* --- prices ------------------------------------------------------------------------------------
 */

int config_parse_day(struct str day, int64_t *out_us)
{
    static const unsigned before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    static const unsigned length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint64_t y, m, d;
    if (day.len != 10 || day.data[4] != '-' || day.data[7] != '-' ||
        str_parse_u64(str_slice(day, 0, 4), 9999, &y) != 0 ||
        str_parse_u64(str_slice(day, 5, 7), 12, &m) != 0 ||
        str_parse_u64(str_slice(day, 8, 10), 31, &d) != 0 || y < 1970 || m < 1 || d < 1)
        return ERR_INVALID;
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    if (d > length[m - 1] + (m == 2 && leap ? 1 : 0))
        return ERR_INVALID;
    uint64_t days = (y - 1970) * 365 + (y - 1969) / 4 - (y - 1901) / 100 + (y - 1601) / 400 +
                    before[m - 1] + (m > 2 && leap ? 1 : 0) + d - 1;
    *out_us = (int64_t)(days * 86400000000ULL);
    return 0;
}

/* `day` is what the model says, for a price that does not. */
static bool given_price(const struct price_config *p, struct str day, struct price_fact *out)
{
    const struct tier_config *t = p->tiers.data;
    *out = (struct price_fact){
        .price = {.base = {p->input, p->output, p->cached_input, p->cache_write, p->cache_write_1h,
                           p->reasoning}},
        .source = STEELYARD__CONTROL__V1__PRICE_SOURCE__PRICE_SOURCE_CONFIG,
    };
    for (size_t i = 0; i < p->tiers.count && i < PRICE_TIERS_MAX; i++)
        out->price.tiers[out->price.tier_count++] =
            (struct price_tier){t[i].above,
                                {t[i].input, t[i].output, t[i].cached_input, t[i].cache_write,
                                 t[i].cache_write_1h, t[i].reasoning}};
    if (p->valid_from.len > 0)
        day = p->valid_from;
    if (day.len > 0 && config_parse_day(day, &out->valid_from_us) != 0)
        return false;
    return p->input >= 0 && p->output >= 0 && p->tiers.count <= PRICE_TIERS_MAX &&
           price_known(&out->price);
}

int config_model_prices(const struct model_config *m, struct price_fact out[PRICES_GIVEN_MAX],
                        size_t *out_count)
{
    const struct price_config *dated = m->prices.data;
    size_t count = 0;
    if (m->price.item.node != NULL && !given_price(&m->price, m->valid_from, &out[count++]))
        return ERR_INVALID;
    for (size_t i = 0; i < m->prices.count; i++) {
        struct price_fact fact;
        if (count == PRICES_GIVEN_MAX || !given_price(&dated[i], STR(""), &fact))
            return ERR_INVALID;
        size_t at = count++;
        for (; at > 0 && out[at - 1].valid_from_us >= fact.valid_from_us; at--) {
            if (out[at - 1].valid_from_us == fact.valid_from_us)
                return ERR_EXISTS;
            out[at] = out[at - 1];
        }
        out[at] = fact;
    }
    *out_count = count;
    return 0;
}

/* Of a checked file. */
static void fill_prices(struct body *b, const struct model_config *m, struct str provider,
                        Steelyard__Control__V1__Price *out, size_t *io_count)
{
    struct price_fact facts[PRICES_GIVEN_MAX];
    size_t count = 0;
    if (config_model_prices(m, facts, &count) != 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (prices_write(&b->arena, provider, m->item.name, &facts[i], &out[*io_count]) != 0)
            b->nomem = true;
        ++*io_count;
    }
}

int config_prices(const struct config *c, struct buf *out)
{
    struct body b;
    void **pointers;
    size_t most = 0;
    const struct model_config *models = c->root.models.data;
    Steelyard__Control__V1__Prices m = STEELYARD__CONTROL__V1__PRICES__INIT;
    for (size_t i = 0; i < c->root.models.count; i++)
        most += models[i].deployments.count * (1 + models[i].prices.count);
    body_init(&b);
    Steelyard__Control__V1__Price *p = body_array(&b, most, sizeof *p, &pointers);
    m.prices = (Steelyard__Control__V1__Price **)(void *)pointers;
    for (size_t i = 0; p != NULL && i < c->root.models.count; i++) {
        const struct deployment_config *d = models[i].deployments.data;
        for (size_t j = 0; j < models[i].deployments.count; j++) {
            bool repeated = false; /* Two deployments of a model at one provider: one price. */
            for (size_t k = 0; k < j; k++)
                repeated = repeated || str_eq(d[k].provider, d[j].provider);
            if (!repeated)
                fill_prices(&b, &models[i], d[j].provider, p, &m.n_prices);
        }
    }
    return body_pack(&b, &m.base, out);
}

/* --- limits and params ---------------------------------------------------------------------------
 */

int config_limits(const struct config *c, const struct config_keys *keys, struct buf *out)
{
    struct body b;
    Steelyard__Control__V1__Limits m = STEELYARD__CONTROL__V1__LIMITS__INIT;
    struct config_keys copy = *keys;
    m.feature_key = (ProtobufCBinaryData){16, copy.feature};
    m.draw_key = (ProtobufCBinaryData){16, copy.draw};
    m.decision_id_key = (ProtobufCBinaryData){16, copy.decision_id};
    m.text_key = (ProtobufCBinaryData){16, copy.text};
    m.hash_key_id = copy.hash_key_id;
    if (c != NULL) {
        m.body_max_bytes = (uint32_t)c->root.server.body_max_bytes;
        m.stream_head_after_ms = (uint32_t)c->root.server.stream_head_after_ms;
        m.keepalive_ms = (uint32_t)c->root.server.keepalive_ms;
    }
    body_init(&b);
    return body_pack(&b, &m.base, out);
}

/* Before anything was learned: what policy_params_init says, with the floor of the file and what of
 * its exploration is right then. Lambda 0 prefers quality until a frontier tells what quality
 * costs. */
int config_params(const struct config *c, size_t index, struct buf *out)
{
    struct body b;
    struct policy_params start;
    struct config_policy p = config_policy_at(c, index);
    Steelyard__Control__V1__Params m = STEELYARD__CONTROL__V1__PARAMS__INIT;
    policy_params_init(&start);
    body_init(&b);
    m.policy = body_text(&b, p.name);
    m.lambda = start.lambda;
    m.mu = start.mu;
    m.floor_q16 = p.quality_floor_q16;
    m.gamma = start.gamma;
    m.explore_most = p.explore;
    m.eps_cap = policy_explore_cap(p.explore, 0, 0);
    m.delta_q16 = start.delta_q16;
    m.stick_margin = start.stick_margin;
    return body_pack(&b, &m.base, out);
}

/* --- keys of the deployment
 * ------------------------------------------------------------------------ */

static void derive(const uint8_t root_key[32], const char *label, uint8_t out[16])
{
    uint8_t text[64];
    size_t len = strlen(label);
    memcpy(text, root_key, 32);
    memcpy(text + 32, label, len);
    struct sha256 sum = digest_sha256(text, 32 + len);
    memcpy(out, sum.bytes, 16);
}

void config_keys_derive(const uint8_t root_key[32], struct config_keys *out_keys)
{
    derive(root_key, "feature", out_keys->feature);
    derive(root_key, "draw", out_keys->draw);
    derive(root_key, "decision-id", out_keys->decision_id);
    derive(root_key, "text", out_keys->text);
    struct sha256 sum = digest_sha256(out_keys->feature, 16);
    out_keys->hash_key_id = (uint32_t)sum.bytes[0] | (uint32_t)sum.bytes[1] << 8 |
                            (uint32_t)sum.bytes[2] << 16 | (uint32_t)sum.bytes[3] << 24;
}

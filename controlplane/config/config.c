/* From text to a checked configuration. First the shape (yaml, table), then what the fields mean
 * together: names that must exist, prices, hashes. All findings of both are reported together
 * unless the text is no YAML at all. */
#include "controlplane/config/config.h"

#include <string.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/options.h"
#include "common/crypto/digest.h"
#include "controlplane/config/model.h"
#include "controlplane/config/rules.h"

#define ARENA_BYTES_MAX (64U << 20)
#define NAMES_MAX       4096U
#define DAY_MS          86400000U

static bool is_name(struct str s)
{
    if (s.len == 0 || s.len > 127)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == ',' || c == '@')
            return false;
    }
    return true;
}

static const void *find_item(const struct items *items, size_t size, struct str name)
{
    for (size_t i = 0; i < items->count; i++) {
        const struct item *item = (const void *)((const char *)items->data + i * size);
        if (str_eq(item->name, name))
            return item;
    }
    return NULL;
}

/* The nearest name of a map, or NULL. */
static const char *nearest_item(const struct items *items, size_t size, struct str name)
{
    const char **known = mem_calloc(items->count + 1, sizeof *known);
    char text[128];
    const char *near = NULL;
    if (known != NULL && str_copy(name, text, sizeof text)) {
        /* Names are NUL-terminated copies in the arena. */
        for (size_t i = 0; i < items->count; i++)
            known[i] = ((const struct item *)(const void *)((const char *)items->data + i * size))
                           ->name.data;
        near = options_nearest(text, known);
    }
    mem_free(known);
    return near;
}

static void check_known(struct findings *f, const struct yaml_node *node, struct str name,
                        const struct items *items, size_t size, const char *what)
{
    if (node == NULL || name.len == 0 || find_item(items, size, name) != NULL)
        return;
    const char *near = nearest_item(items, size, name);
    table_finding(f, node, "there is no %s \"%.*s\"%s%s%s", what, STR_ARG(str_slice(name, 0, 64)),
                  near == NULL ? "" : "; did you mean \"", near == NULL ? "" : near,
                  near == NULL ? "" : "\"?");
}

static void check_texts(struct findings *f, const struct texts *t, const struct items *items,
                        size_t size, const char *what)
{
    for (size_t i = 0; i < t->count; i++) {
        check_known(f, t->nodes[i], t->items[i], items, size, what);
        for (size_t j = 0; j < i; j++) {
            if (str_eq(t->items[i], t->items[j])) {
                table_finding(f, t->nodes[i], "\"%.*s\" is listed twice",
                              STR_ARG(str_slice(t->items[i], 0, 64)));
                break;
            }
        }
    }
}

static void check_names(struct findings *f, const struct items *items, size_t size)
{
    for (size_t i = 0; i < items->count; i++) {
        const struct item *item = (const void *)((const char *)items->data + i * size);
        if (!is_name(item->name))
            table_finding(f, item->node,
                          "a name has letters, digits and punctuation but no space, comma, quote, "
                          "backslash or @");
    }
}

static const struct yaml_node *child(const struct yaml_node *node, const char *key)
{
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
        if (str_is(n->key, key))
            return n;
    }
    return NULL;
}

#define HEADERS_MAX 16U

/* A field of ours, of the connection, or one that holds a credential. */
static bool is_reserved(struct str name)
{
    static const struct str names[] = {{"authorization", 13},
                                       {"x-api-key", 9},
                                       {"api-key", 7},
                                       {"x-goog-api-key", 14},
                                       {"cookie", 6},
                                       {"proxy-authorization", 19},
                                       {"host", 4},
                                       {"content-length", 14},
                                       {"content-type", 12},
                                       {"transfer-encoding", 17},
                                       {"connection", 10},
                                       {"expect", 6},
                                       {"x-amz-security-token", 20},
                                       {"x-amz-date", 10}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_eq_nocase(name, names[i]))
            return true;
    return false;
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return s.len > 0 && s.len <= 64;
}

static bool is_field_value(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < ' ' || s.data[i] > '~')
            return false;
    return s.len > 0 && s.len <= 1024 && s.data[0] != ' ' && s.data[s.len - 1] != ' ';
}

static void check_headers(struct findings *f, const struct provider_config *p)
{
    const struct pairs *h = &p->headers;
    if (h->count > HEADERS_MAX)
        table_finding(f, child(p->item.node, "headers"), "at most %u fields", HEADERS_MAX);
    for (size_t i = 0; i < h->count; i++) {
        if (!is_token(h->names[i]))
            table_finding(f, h->nodes[i],
                          "a field's name has small letters, digits and '-', at most 64");
        else if (is_reserved(h->names[i]))
            table_finding(f, h->nodes[i],
                          "this field is set by the node; a key belongs to api_key");
        else if (!is_field_value(h->values[i]))
            table_finding(f, h->nodes[i], "a value is one line of printable ASCII");
    }
}

/* The type's own, which may follow from region and project. */
static void fill_address(struct findings *f, struct arena *arena, struct provider_config *p)
{
    char room[256];
    struct buf made = {.data = room, .cap = sizeof room, .max = sizeof room};
    p->base_url = p->host->base_url;
    if (p->base_url.len > 0)
        return;
    int rc = host_address(p->host, p->region, p->project, &made);
    if (rc == 0)
        p->base_url = arena_copy(arena, buf_str(&made));
    if (rc == ERR_INVALID)
        table_finding(
            f, p->item.node, "\"base_url\" is missing: that of the type %.*s follows from %s",
            STR_ARG(p->host->name),
            p->host->dialect == DIALECT_BEDROCK ? "\"region\"" : "\"project\" and \"region\"");
    else if (p->base_url.len == 0)
        table_finding(f, p->item.node, "\"base_url\" is missing: the type %.*s has no usual one",
                      STR_ARG(p->host->name));
}

/* What api_key holds must be what the type can show; nodes say what it is worth. */
static void check_credential(struct findings *f, const struct provider_config *p)
{
    static const struct {
        enum host_auth auth;
        bool key, region;
        const char *of;
    } rows[] = {{.of = NULL},
                {HOST_AUTH_SIGV4, true, true, "bedrock"},
                {HOST_AUTH_SIGV4, false, true, "bedrock"},
                {HOST_AUTH_GOOGLE, true, false, "vertex and vertex-anthropic"},
                {HOST_AUTH_GOOGLE, false, false, "vertex and vertex-anthropic"}};
    const struct yaml_node *at = child(p->item.node, "credential");
    if (p->credential == 0 || p->credential >= sizeof rows / sizeof rows[0])
        return;
    if (p->host->auth != rows[p->credential].auth)
        table_finding(f, at, "is for the types %s", rows[p->credential].of);
    else if (rows[p->credential].key && p->api_key.len == 0)
        table_finding(f, at, "\"api_key\" is missing: it says where the nodes find the secret");
    else if (!rows[p->credential].key && p->api_key.len > 0)
        table_finding(f, child(p->item.node, "api_key"),
                      "is not used: nodes find this credential in their environment");
    if (rows[p->credential].region && p->region.len == 0)
        table_finding(f, at, "\"region\" is missing: signatures name it");
}

static void check_region(struct findings *f, const struct yaml_node *at, struct str region)
{
    if (at != NULL && region.len > 0 && !require_region_valid(region))
        table_finding(f, at, "a region has 1 to %d letters, digits and '-'",
                      REQUIRE_REGION_BYTES_MAX);
}

static void check_require(struct findings *f, const struct require_config *q)
{
    const struct texts *t = &q->region;
    if (t->count > REQUIRE_REGIONS_MAX)
        table_finding(f, child(q->item.node, "region"), "at most %d regions", REQUIRE_REGIONS_MAX);
    for (size_t i = 0; i < t->count; i++) {
        if (t->items[i].len == 0)
            table_finding(f, t->nodes[i], "a region must not be empty");
        check_region(f, t->nodes[i], t->items[i]);
    }
    /* Asked for, and nothing named: nobody could tell what was meant. */
    if (q->item.node != NULL && q->item.node->kind == YAML_MAP && t->count == 0 &&
        child(q->item.node, "region") != NULL)
        table_finding(f, child(q->item.node, "region"), "at least one region is needed");
}

static void check_terms(struct findings *f, const struct yaml_node *owner, uint64_t collection,
                        bool keeps_nothing)
{
    if (collection == 1 && keeps_nothing)
        table_finding(f, child(owner, "data_collection"), "allow contradicts that nothing is kept");
}

static void check_provider(struct findings *f, struct arena *arena, struct provider_config *p)
{
    const struct host *host = p->host;
    if (host == NULL)
        return; /* Said already. */
    if (p->catalog.len == 0 && (p->base_url.len == 0 || host->base_url.len == 0))
        p->catalog = host->catalog;
    if (p->base_url.len == 0)
        fill_address(f, arena, p);
    check_headers(f, p);
    check_credential(f, p);
    check_region(f, child(p->item.node, "region"), p->region);
    check_terms(f, p->item.node, p->data_collection, p->collects_nothing || p->zdr);
    while (p->base_url.len > 0 && p->base_url.data[p->base_url.len - 1] == '/')
        p->base_url.len--;
    if (p->ca_file.len > 0 && p->ca_file.data[0] != '/')
        table_finding(f, child(p->item.node, "ca_file"), "must be an absolute path");
}

static void check_day(struct findings *f, const struct yaml_node *owner, struct str day)
{
    int64_t us;
    if (day.len > 0 && config_parse_day(day, &us) != 0)
        table_finding(f, child(owner, "valid_from"), "must be a day, e.g. 2026-11-01");
}

static void check_tiers(struct findings *f, const struct price_config *p)
{
    const struct tier_config *t = p->tiers.data;
    if (p->tiers.count > PRICE_TIERS_MAX)
        table_finding(f, child(p->item.node, "tiers"), "at most %d tiers", PRICE_TIERS_MAX);
    for (size_t i = 1; i < p->tiers.count; i++) {
        if (t[i].above <= t[i - 1].above)
            table_finding(f, child(t[i].item.node, "above"), "must rise from tier to tier");
    }
}

static void check_prices(struct findings *f, const struct model_config *m)
{
    const struct price_config *dated = m->prices.data;
    struct price_fact facts[PRICES_GIVEN_MAX];
    size_t count, before = f->count;
    check_day(f, m->item.node, m->valid_from);
    if (m->price.item.node != NULL) {
        check_day(f, m->price.item.node, m->price.valid_from);
        check_tiers(f, &m->price);
    }
    if (m->prices.count >= PRICES_GIVEN_MAX)
        table_finding(f, child(m->item.node, "prices"), "at most %d prices", PRICES_GIVEN_MAX - 1);
    for (size_t i = 0; i < m->prices.count; i++) {
        if (dated[i].valid_from.len == 0)
            table_finding(f, dated[i].item.node, "\"valid_from\" is missing");
        check_day(f, dated[i].item.node, dated[i].valid_from);
        check_tiers(f, &dated[i]);
    }
    if (f->count > before)
        return; /* Said already. */
    int rc = config_model_prices(m, facts, &count);
    if (rc == ERR_EXISTS)
        table_finding(f, child(m->item.node, "prices"), "two prices hold from the same day");
    else if (rc != 0 && f->count == 0)
        table_finding(f, m->item.node,
                      "a price is out of range: at most 1000000 USD a million "
                      "tokens");
}

static void check_model(struct findings *f, struct model_config *m, const struct root_config *root)
{
    struct deployment_config *d = m->deployments.data;
    const struct yaml_node *list = child(m->item.node, "deployments");
    if (list != NULL && list->kind == YAML_LIST && m->deployments.count == 0)
        table_finding(f, list, "at least one deployment is needed");
    for (size_t i = 0; i < m->deployments.count; i++) {
        check_known(f, child(d[i].item.node, "provider"), d[i].provider, &root->providers,
                    sizeof(struct provider_config), "provider");
        check_region(f, child(d[i].item.node, "region"), d[i].region);
        check_terms(f, d[i].item.node, d[i].data_collection, d[i].zdr);
        if (d[i].model.len == 0)
            d[i].model = m->item.name;
    }
    if (find_item(&root->routes, sizeof(struct route_config), m->item.name) != NULL)
        table_finding(f, m->item.node,
                      "a route has the same name: clients could not tell them "
                      "apart");
    check_prices(f, m);
}

static void check_candidates(struct findings *f, const struct route_config *r,
                             const struct root_config *root)
{
    const struct candidate_config *c = r->models.data;
    const bool learned = str_is(str_from(table_strategies[r->strategy]), "learned");
    for (size_t i = 0; i < r->models.count; i++) {
        const struct yaml_node *name = c[i].item.node;
        if (name->kind == YAML_MAP) {
            if (learned && (child(name, "weight") != NULL || child(name, "priority") != NULL))
                table_finding(f, name, "weight and priority need a strategy other than learned");
            name = child(name, "model");
        }
        if (name == NULL)
            continue;
        check_known(f, name, c[i].model, &root->models, sizeof(struct model_config), "model");
        for (size_t j = 0; j < i; j++) {
            if (str_eq(c[i].model, c[j].model)) {
                table_finding(f, name, "\"%.*s\" is listed twice",
                              STR_ARG(str_slice(c[i].model, 0, 64)));
                break;
            }
        }
    }
}

static void check_target(struct findings *f, const struct route_config *r,
                         const struct yaml_node *node, struct str name)
{
    if (node != NULL && name.len > 0 && rules_find(r, name) == UINT32_MAX)
        table_finding(f, node, "neither a model of this route nor a target: \"%.*s\"",
                      STR_ARG(str_slice(name, 0, 64)));
}

static const struct yaml_node *name_node(const struct item *item, const char *key)
{
    return item->node->kind == YAML_MAP ? child(item->node, key) : item->node;
}

/* Of a target all of whose members are known; false: some are not. */
static bool members_of(const struct route_config *r, const struct target_config *t,
                       struct tree_member *out)
{
    const struct member_config *m = t->of.data;
    for (size_t i = 0; i < t->of.count; i++) {
        out[i] = (struct tree_member){.what = rules_find(r, m[i].target),
                                      .weight = (uint32_t)m[i].weight};
        if (out[i].what == UINT32_MAX)
            return false;
    }
    return true;
}

static void check_tree(struct findings *f, struct arena *arena, const struct route_config *r)
{
    const struct target_config *t = r->targets.data;
    struct tree_target *targets = arena_zalloc(arena, r->targets.count + 1, sizeof *targets);
    bool known = targets != NULL;
    for (size_t i = 0; known && i < r->targets.count; i++) {
        struct tree_member *m = arena_zalloc(arena, t[i].of.count + 1, sizeof *m);
        known = m != NULL && members_of(r, &t[i], m);
        targets[i] = (struct tree_target){
            .balance = t[i].strategy != 0, .count = (uint32_t)t[i].of.count, .members = m};
    }
    const struct tree tree = {.models = (uint32_t)r->models.count,
                              .count = (uint32_t)r->targets.count,
                              .targets = targets};
    if (known && r->models.count <= CONFIG_ROUTE_MODELS_MAX && !tree_valid(&tree))
        table_finding(f, child(r->item.node, "targets"),
                      "a target contains itself, has no members or more than %d, or there are more "
                      "than %d targets or %d levels",
                      TREE_MEMBERS_MAX, TREE_TARGETS_MAX, TREE_DEPTH_MAX);
}

static void check_targets(struct findings *f, struct arena *arena, const struct route_config *r)
{
    const struct target_config *t = r->targets.data;
    const struct condition_config *c = r->conditions.data;
    struct rule_step steps[RULE_STEPS_MAX];
    for (size_t i = 0; i < r->targets.count; i++) {
        const struct member_config *m = t[i].of.data;
        const struct candidate_config *models = r->models.data;
        for (size_t k = 0; k < r->models.count; k++)
            if (str_eq(models[k].model, t[i].item.name))
                table_finding(f, t[i].item.node, "a model of this route has the same name");
        for (size_t k = 0; k < t[i].of.count; k++)
            check_target(f, r, name_node(&m[k].item, "target"), m[k].target);
    }
    if (r->targets.count > 0)
        check_tree(f, arena, r);
    if (r->conditions.count > CONFIG_CONDITIONS_MAX)
        table_finding(f, child(r->item.node, "conditions"), "at most %d conditions",
                      CONFIG_CONDITIONS_MAX);
    for (size_t i = 0; i < r->conditions.count; i++) {
        if (c[i].query != NULL)
            (void)rules_compile(f, c[i].query, arena, steps);
        check_target(f, r, child(c[i].item.node, "then"), c[i].then);
    }
    check_target(f, r, child(r->item.node, "default"), r->default_target);
}

static void check_route(struct findings *f, struct arena *arena, const struct route_config *r,
                        const struct root_config *root)
{
    check_targets(f, arena, r);
    check_require(f, &r->require);
    const struct yaml_node *list = child(r->item.node, "models");
    if (list != NULL && list->kind == YAML_LIST && list->count == 0)
        table_finding(f, list, "at least one model is needed");
    if (r->models.count > CONFIG_ROUTE_MODELS_MAX)
        table_finding(f, list, "at most %d models", CONFIG_ROUTE_MODELS_MAX);
    check_candidates(f, r, root);
    const struct texts *lists[] = {&r->fallbacks.usual, &r->fallbacks.context_window,
                                   &r->fallbacks.content_policy, &r->fallbacks.rate_limit};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        check_texts(f, lists[i], &root->models, sizeof(struct model_config), "model");
    if (!str_is(r->policy, "default"))
        check_known(f, child(r->item.node, "policy"), r->policy, &root->policies,
                    sizeof(struct policy_config), "policy");
}

static void check_policy(struct findings *f, const struct policy_config *p)
{
    if (p->objective.quality_q16 > 0 && p->objective.quality_floor_q16 > 0)
        table_finding(f, child(p->item.node, "objective"),
                      "give either quality (relative to the best model) or quality_floor "
                      "(absolute), not both");
    if (p->item.name.len > 64)
        table_finding(f, p->item.node, "names of policies have at most 64 bytes");
}

static void check_key(struct findings *f, struct key_config *k, const struct root_config *root,
                      size_t index)
{
    const struct key_config *all = root->keys.data;
    const struct yaml_node *hash = child(k->item.node, "hash");
    if (k->id.len > 0 && (!is_name(k->id) || k->id.len > 64))
        table_finding(f, child(k->item.node, "id"), "ids have 1 to 64 bytes without spaces");
    if (hash != NULL && (!str_starts(k->hash, STR("sha256:")) ||
                         hex_decode(str_slice(k->hash, 7, k->hash.len), k->sha256, 32) != 0))
        table_finding(f, hash, "must be sha256: and 64 hex digits; never the key itself");
    for (size_t i = 0; i < index; i++) {
        if (str_eq(all[i].id, k->id) && k->id.len > 0)
            table_finding(f, child(k->item.node, "id"), "id \"%.*s\" is used twice",
                          STR_ARG(k->id));
        else if (hash != NULL && str_eq(all[i].hash, k->hash) && k->hash.len > 0)
            table_finding(f, hash, "the same key stands under two ids");
    }
    check_texts(f, &k->routes, &root->routes, sizeof(struct route_config), "route");
    check_texts(f, &k->models, &root->models, sizeof(struct model_config), "model");
    check_require(f, &k->require);
}

static void check_sizes(struct findings *f, const struct root_config *root)
{
    const struct items *all[] = {&root->providers, &root->models, &root->routes, &root->policies,
                                 &root->keys};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i]->count > NAMES_MAX)
            table_finding(f, root->item.node, "more than %u entries in one map", NAMES_MAX);
    }
}

static void check_all(struct findings *f, struct arena *arena, struct root_config *root)
{
    struct provider_config *providers = root->providers.data;
    struct model_config *models = root->models.data;
    struct route_config *routes = root->routes.data;
    struct policy_config *policies = root->policies.data;
    struct key_config *keys = root->keys.data;
    check_sizes(f, root);
    if (f->count > 0 && root->models.count > NAMES_MAX)
        return; /* The checks below compare names with names. */
    check_names(f, &root->providers, sizeof *providers);
    check_names(f, &root->models, sizeof *models);
    check_names(f, &root->routes, sizeof *routes);
    check_names(f, &root->policies, sizeof *policies);
    for (size_t i = 0; i < root->providers.count; i++)
        check_provider(f, arena, &providers[i]);
    for (size_t i = 0; i < root->models.count; i++)
        check_model(f, &models[i], root);
    for (size_t i = 0; i < root->routes.count; i++)
        check_route(f, arena, &routes[i], root);
    for (size_t i = 0; i < root->policies.count; i++)
        check_policy(f, &policies[i]);
    for (size_t i = 0; i < root->keys.count; i++)
        check_key(f, &keys[i], root, i);
}

/* The policy "default" exists also when the file does not name it. */
static int add_default_policy(struct config *c)
{
    struct items *p = &c->root.policies;
    if (find_item(p, sizeof(struct policy_config), STR("default")) != NULL)
        return 0;
    struct policy_config *all = arena_zalloc(&c->arena, p->count + 1, sizeof(struct policy_config));
    if (all == NULL)
        return ERR_NOMEM;
    if (p->count > 0)
        memcpy(all, p->data, p->count * sizeof *all);
    all[p->count].item.name = STR("default");
    all[p->count].explore = UINT32_MAX / 20;
    all[p->count].explore_spend = UINT32_MAX / 50;
    all[p->count].retrain_ms = 6 * UINT64_C(3600000);
    p->data = all;
    p->count++;
    return 0;
}

int config_parse(struct str text, const char *name, enum config_origin origin,
                 struct config **out_config, struct buf *out_errors, struct err *err)
{
    struct findings findings;
    struct yaml_node *tree;
    struct config *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    findings_init(&findings, name);
    arena_pool_init(&c->chunks, 0);
    arena_init(&c->arena, &c->chunks, ARENA_BYTES_MAX);
    int rc = yaml_parse(text, &c->arena, &findings, &tree);
    if (rc == 0)
        rc = table_read(tree, &c->arena, origin, &findings, &c->root);
    if (rc == 0)
        check_all(&findings, &c->arena, &c->root);
    if (rc == 0 && findings.count == 0)
        rc = add_default_policy(c);
    if (rc == 0 && findings.count > 0)
        rc = ERR_SYNTAX;
    if (rc == ERR_SYNTAX && err != NULL)
        *err = findings.first;
    else if (rc != 0)
        (void)err_set(err, rc, "%s: %s", name, err_text(rc));
    if (rc == ERR_SYNTAX && out_errors != NULL &&
        buf_append_str(out_errors, buf_str(&findings.text)) != 0)
        rc = ERR_NOMEM;
    findings_deinit(&findings);
    if (rc != 0) {
        config_destroy(c);
        return rc;
    }
    *out_config = c;
    return 0;
}

int config_load(const char *path, struct config **out_config, struct buf *out_errors,
                struct err *err)
{
    struct buf text = {0};
    int rc = buf_read_file(&text, path, CONFIG_BYTES_MAX, err);
    if (rc == 0)
        rc = config_parse(buf_str(&text), path, CONFIG_LOCAL_FILE, out_config, out_errors, err);
    else if (out_errors != NULL && err != NULL)
        rc = buf_printf(out_errors, "%s\n", err->message) == 0 ? rc : ERR_NOMEM;
    buf_deinit(&text);
    return rc;
}

void config_destroy(struct config *c)
{
    if (c == NULL)
        return;
    arena_reset(&c->arena);
    arena_pool_deinit(&c->chunks);
    mem_free(c);
}

/* --- what others ask ---------------------------------------------------------------------------
 */

size_t config_policy_count(const struct config *c)
{
    return c->root.policies.count;
}

struct config_policy config_policy_at(const struct config *c, size_t index)
{
    const struct policy_config *p = &((const struct policy_config *)c->root.policies.data)[index];
    return (struct config_policy){.name = p->item.name,
                                  .quality_q16 = (uint32_t)p->objective.quality_q16,
                                  .quality_floor_q16 = (uint32_t)p->objective.quality_floor_q16,
                                  .explore = (uint32_t)p->explore,
                                  .explore_spend = (double)p->explore_spend / UINT32_MAX,
                                  .retrain_ms = p->retrain_ms};
}

size_t config_key_count(const struct config *c)
{
    return c->root.keys.count;
}

struct config_key config_key_at(const struct config *c, size_t index)
{
    const struct key_config *k = &((const struct key_config *)c->root.keys.data)[index];
    return (struct config_key){.id = k->id,
                               .sha256 = k->sha256,
                               .routes = k->routes.items,
                               .route_count = k->routes.count,
                               .models = k->models.items,
                               .model_count = k->models.count,
                               .rpm = k->rpm,
                               .tpm = k->tpm,
                               .concurrency = k->concurrency,
                               .regions = k->require.region.items,
                               .region_count = k->require.region.count,
                               .require_data = config_require_data(&k->require)};
}

size_t config_model_count(const struct config *c)
{
    return c->root.models.count;
}

struct str config_model_id(const struct config *c, size_t index)
{
    return ((const struct model_config *)c->root.models.data)[index].item.name;
}

bool config_has_route(const struct config *c, struct str name)
{
    return find_item(&c->root.routes, sizeof(struct route_config), name) != NULL;
}

struct config_settings config_settings(const struct config *c)
{
    return (struct config_settings){
        .database = c->root.store.postgres,
        .listen = c->root.server.listen,
        .retention_days = (c->root.store.retention_ms + DAY_MS - 1) / DAY_MS,
        .label_maturity_ms = c->root.telemetry.label_maturity_ms,
    };
}

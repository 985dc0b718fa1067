/* The result before it is text: providers, models, routes; then the text. */
#include <string.h>

#include "controlplane/catalog/rows.h"
#include "controlplane/config/config.h"
#include "controlplane/config/table.h"
#include "controlplane/import/internal.h"

#define PROVIDERS_MAX   1000U
#define NAMES_MAX       4096U
#define WEIGHT_MAX      1000000U
#define YAML_BYTES_MAX  CONFIG_BYTES_MAX
#define GIVEN_TRIES_MAX 1000U

bool plan_text_add(struct import *i, struct plan_text **list, struct str text, struct str value)
{
    struct plan_text **at = list;
    for (; *at != NULL; at = &(*at)->next) {
        if (str_eq((*at)->text, text))
            return false;
    }
    struct plan_text *t = arena_zalloc(&i->arena, 1, sizeof *t);
    if (t == NULL) {
        i->status = ERR_NOMEM;
        return false;
    }
    t->text = text;
    t->value = value;
    *at = t;
    return true;
}

static bool same_headers(const struct plan_text *a, const struct plan_text *b)
{
    while (a != NULL && b != NULL && str_eq(a->text, b->text) && str_eq(a->value, b->value)) {
        a = a->next;
        b = b->next;
    }
    return a == NULL && b == NULL;
}

static bool same_provider(const struct plan_provider *a, const struct plan_provider *b)
{
    return a->host == b->host && str_eq(a->base_url, b->base_url) && str_eq(a->key, b->key) &&
           str_eq(a->credential, b->credential) && str_eq(a->version, b->version) &&
           str_eq(a->region, b->region) && str_eq(a->project, b->project) &&
           a->total_ms == b->total_ms && a->first_content_ms == b->first_content_ms &&
           a->is_private == b->is_private && a->reject == b->reject &&
           same_headers(a->headers, b->headers);
}

const struct plan_provider *plan_provider(struct import *i, const struct plan_provider *like)
{
    unsigned same_host = 0;
    for (struct plan_provider *p = i->plan.providers; p != NULL; p = p->next) {
        if (same_provider(p, like))
            return p;
        same_host += p->host == like->host;
    }
    struct plan_provider *made = arena_zalloc(&i->arena, 1, sizeof *made);
    if (made == NULL || i->plan.provider_count == PROVIDERS_MAX) {
        i->status = made == NULL ? ERR_NOMEM : ERR_LIMIT;
        return NULL;
    }
    *made = *like;
    made->next = NULL;
    made->name = same_host == 0
                     ? like->host->name
                     : value_join(i, "%.*s-%u", STR_ARG(like->host->name), same_host + 1);
    if (i->plan.last_provider == NULL)
        i->plan.providers = made;
    else
        i->plan.last_provider->next = made;
    i->plan.last_provider = made;
    i->plan.provider_count++;
    return made;
}

struct plan_model *plan_find_model(const struct import *i, struct str name)
{
    struct plan_model *m = i->plan.models;
    while (m != NULL && !str_eq(m->name, name))
        m = m->next;
    return m;
}

struct plan_model *plan_model(struct import *i, struct str name, const struct yaml_node *origin)
{
    struct plan_model *m = plan_find_model(i, name);
    if (m != NULL)
        return m;
    m = arena_zalloc(&i->arena, 1, sizeof *m);
    if (m == NULL || i->plan.model_count == NAMES_MAX) {
        i->status = m == NULL ? ERR_NOMEM : ERR_LIMIT;
        return NULL;
    }
    *m = (struct plan_model){.name = name, .given = name, .origin = origin};
    for (unsigned r = 0; r < RATES; r++)
        m->rates[r] = -1;
    if (i->plan.last_model == NULL)
        i->plan.models = m;
    else
        i->plan.last_model->next = m;
    i->plan.last_model = m;
    i->plan.model_count++;
    return m;
}

struct plan_deployment *plan_deploy(struct import *i, struct plan_model *m,
                                    const struct plan_provider *provider, struct str model)
{
    struct plan_deployment *d = arena_zalloc(&i->arena, 1, sizeof *d);
    if (d == NULL) {
        i->status = ERR_NOMEM;
        return NULL;
    }
    *d = (struct plan_deployment){.provider = provider, .model = model, .weight = WEIGHT_ONE};
    if (m->last == NULL)
        m->deployments = d;
    else
        m->last->next = d;
    m->last = d;
    return d;
}

struct plan_route *plan_find_route(const struct import *i, struct str name)
{
    struct plan_route *r = i->plan.routes;
    while (r != NULL && !str_eq(r->name, name))
        r = r->next;
    return r;
}

struct plan_route *plan_route(struct import *i, struct str name)
{
    struct plan_route *r = plan_find_route(i, name);
    if (r != NULL)
        return r;
    r = arena_zalloc(&i->arena, 1, sizeof *r);
    if (r == NULL || i->plan.route_count == NAMES_MAX) {
        i->status = r == NULL ? ERR_NOMEM : ERR_LIMIT;
        return NULL;
    }
    *r = (struct plan_route){.name = name, .retries = -1};
    if (i->plan.last_route == NULL)
        i->plan.routes = r;
    else
        i->plan.last_route->next = r;
    i->plan.last_route = r;
    i->plan.route_count++;
    return r;
}

static const struct field *route_field(const char *name)
{
    const struct field *f = config_root_section.fields;
    while (f->name != NULL && strcmp(f->name, "routes") != 0)
        f++;
    for (f = f->section->fields; f->name != NULL; f++) {
        if (strcmp(f->name, name) == 0)
            return f;
    }
    return NULL;
}

bool plan_has_strategies(void)
{
    return route_field("strategy") != NULL;
}

bool plan_has_typed_fallbacks(void)
{
    const struct field *f = route_field("fallbacks");
    return f != NULL && f->kind == FIELD_SECTION;
}

/* ---- the text ---- */

void plan_put(struct import *i, const char *text)
{
    int rc = buf_append_text(&i->yaml, text);
    if (rc != 0 && i->status == 0)
        i->status = rc == ERR_NOMEM ? ERR_NOMEM : ERR_LIMIT;
}

static bool is_bare(struct str s)
{
    char first = s.len > 0 ? s.data[0] : '0';
    if (!((first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z')))
        return false;
    for (size_t c = 0; c < s.len; c++) {
        char b = s.data[c];
        bool ok = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
                  b == '_' || b == '-' || b == '.' || b == '/' ||
                  (b == ':' && c + 1 < s.len && s.data[c + 1] != ' ');
        if (!ok)
            return false;
    }
    return !str_eq_nocase(s, STR("null")) && !str_eq_nocase(s, STR("true")) &&
           !str_eq_nocase(s, STR("false"));
}

/* A scalar; all texts here are printable ASCII. */
void plan_put_text(struct import *i, struct str s)
{
    bool bare = is_bare(s);
    int rc = 0;
    if (!bare)
        plan_put(i, "\"");
    for (size_t c = 0; c < s.len && rc == 0; c++) {
        if (!bare && (s.data[c] == '"' || s.data[c] == '\\'))
            plan_put(i, "\\");
        rc = buf_append_char(&i->yaml, s.data[c]);
    }
    if (rc != 0 && i->status == 0)
        i->status = rc == ERR_NOMEM ? ERR_NOMEM : ERR_LIMIT;
    if (!bare)
        plan_put(i, "\"");
}

void plan_put_number(struct import *i, const char *name, uint64_t value, const char *unit)
{
    plan_put(i, name);
    if (buf_append_u64(&i->yaml, value) != 0 && i->status == 0)
        i->status = ERR_LIMIT;
    plan_put(i, unit);
}

static void put_time(struct import *i, const char *name, uint64_t ms)
{
    plan_put_number(i, name, ms % 1000 == 0 ? ms / 1000 : ms, ms % 1000 == 0 ? "s\n" : "ms\n");
}

static void put_field(struct import *i, const char *name, struct str value)
{
    if (value.len == 0)
        return;
    plan_put(i, name);
    plan_put_text(i, value);
    plan_put(i, "\n");
}

static void put_provider(struct import *i, const struct plan_provider *p)
{
    plan_put(i, "  ");
    plan_put_text(i, p->name);
    plan_put(i, ":\n");
    put_field(i, "    type: ", p->host->name);
    put_field(i, "    base_url: ", p->base_url);
    put_field(i, "    api_key: ", p->key);
    put_field(i, "    credential: ", p->credential);
    put_field(i, "    version: ", p->version);
    put_field(i, "    region: ", p->region);
    put_field(i, "    project: ", p->project);
    if (p->is_private && !p->host->local)
        plan_put(i, "    private: true\n");
    if (p->headers != NULL)
        plan_put(i, "    headers:\n");
    for (const struct plan_text *h = p->headers; h != NULL; h = h->next) {
        plan_put(i, "      ");
        plan_put_text(i, h->text);
        plan_put(i, ": ");
        plan_put_text(i, h->value);
        plan_put(i, "\n");
    }
    if (p->reject)
        plan_put(i, "    compat: {unsupported_params: reject}\n");
    if (p->total_ms > 0 || p->first_content_ms > 0)
        plan_put(i, "    timeouts:\n");
    if (p->first_content_ms > 0)
        put_time(i, "      first_content: ", p->first_content_ms);
    if (p->total_ms > 0)
        put_time(i, "      total: ", p->total_ms);
}

uint64_t plan_common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static void put_deployments(struct import *i, const struct plan_model *m)
{
    uint64_t unit = WEIGHT_ONE, largest = 1;
    bool even = true;
    for (const struct plan_deployment *d = m->deployments; d != NULL; d = d->next) {
        unit = plan_common_divisor(unit, d->weight);
        largest = d->weight > largest ? d->weight : largest;
        even = even && d->weight == m->deployments->weight;
    }
    while (largest / unit > WEIGHT_MAX)
        unit *= 10;
    plan_put(i, "    deployments:\n");
    for (const struct plan_deployment *d = m->deployments; d != NULL; d = d->next) {
        uint64_t weight = d->weight / unit;
        put_field(i, "      - provider: ", d->provider->name);
        put_field(i, "        model: ", d->model);
        if (!even)
            plan_put_number(i, "        weight: ", weight == 0 ? 1 : weight, "\n");
        if (d->priority > 0)
            plan_put_number(i, "        priority: ", d->priority, "\n");
        put_field(i, "        region: ", d->region);
    }
}

static void put_model(struct import *i, const struct plan_model *m)
{
    static const char *const rates[RATES] = {"input",       "output",         "cached_input",
                                             "cache_write", "cache_write_1h", "reasoning"};
    char text[32];
    plan_put(i, "  ");
    plan_put_text(i, m->given);
    plan_put(i, ":\n");
    put_deployments(i, m);
    if (m->context_window > 0)
        plan_put_number(i, "    context_window: ", m->context_window, "\n");
    if (m->max_output > 0)
        plan_put_number(i, "    max_output: ", m->max_output, "\n");
    if (m->rates[0] < 0 || m->rates[1] < 0)
        return;
    plan_put(i, "    price:\n");
    for (unsigned r = 0; r < RATES; r++) {
        if (m->rates[r] < 0)
            continue;
        plan_put(i, "      ");
        plan_put(i, rates[r]);
        plan_put(i, ": ");
        plan_put(i, catalog_rate_text(m->rates[r], text));
        plan_put(i, " USD\n");
    }
}

static void put_list(struct import *i, const char *name, const char *indent,
                     const struct plan_text *list)
{
    if (list == NULL)
        return;
    plan_put(i, name);
    for (const struct plan_text *t = list; t != NULL; t = t->next) {
        const struct plan_model *m = plan_find_model(i, t->text);
        plan_put(i, indent);
        plan_put(i, t->weight > 0 ? "- model: " : "- ");
        plan_put_text(i, m == NULL ? t->text : m->given);
        plan_put(i, "\n");
        if (t->weight > 0) {
            plan_put(i, indent);
            plan_put_number(i, "  weight: ", t->weight, "\n");
        }
    }
}

static void put_route(struct import *i, const struct plan_route *r)
{
    bool typed = r->too_long != NULL || r->refused != NULL;
    plan_put(i, "  ");
    plan_put_text(i, r->name);
    plan_put(i, ":\n");
    if (r->strategy != NULL)
        put_field(i, "    strategy: ", str_from(r->strategy));
    put_list(i, "    models:\n", "      ", r->models);
    if (typed)
        plan_put(i, "    fallbacks:\n");
    put_list(i, typed ? "      default:\n" : "    fallbacks:\n", typed ? "        " : "      ",
             r->fallbacks);
    put_list(i, "      context_window:\n", "        ", r->too_long);
    put_list(i, "      content_policy:\n", "        ", r->refused);
    plan_put_tree(i, r);
    if (r->timeout_ms > 0)
        put_time(i, "    timeout: ", r->timeout_ms);
    if (r->retries >= 0)
        plan_put_number(i, "    retries: ", (uint64_t)r->retries, "\n");
}

static bool is_given(const struct import *i, struct str name)
{
    for (const struct plan_model *m = i->plan.models; m != NULL; m = m->next) {
        if (str_eq(m->given, name) || str_eq(m->name, name))
            return true;
    }
    return plan_find_route(i, name) != NULL;
}

/* Clients say the route's name; the model behind it takes another. */
static void name_models(struct import *i)
{
    for (struct plan_model *m = i->plan.models; m != NULL; m = m->next) {
        if (plan_find_route(i, m->name) == NULL)
            continue;
        struct str name = value_join(i, "%.*s-group", STR_ARG(m->name));
        for (unsigned n = 2; i->status == 0 && n < GIVEN_TRIES_MAX && is_given(i, name); n++)
            name = value_join(i, "%.*s-group-%u", STR_ARG(m->name), n);
        m->given = name;
    }
}

int plan_print(struct import *i)
{
    struct plan_route *kept = NULL, **to = &kept;
    name_models(i);
    /* A route to nothing is none. */
    for (struct plan_route *r = i->plan.routes; r != NULL; r = r->next) {
        if (r->models != NULL) {
            *to = r;
            to = &r->next;
        }
    }
    *to = NULL;
    i->plan.routes = kept;
    plan_put(i, "# Imported from ");
    plan_put(i, import_format_name(i->format));
    plan_put(i,
             ": read the findings, then check it with `steelyard config validate`.\nversion: 1\n");
    plan_put(i, i->plan.providers == NULL ? "providers: {}\n" : "providers:\n");
    for (const struct plan_provider *p = i->plan.providers; p != NULL && i->status == 0;
         p = p->next)
        put_provider(i, p);
    plan_put(i, i->plan.models == NULL ? "models: {}\n" : "models:\n");
    for (const struct plan_model *m = i->plan.models; m != NULL && i->status == 0; m = m->next)
        put_model(i, m);
    if (i->plan.routes != NULL)
        plan_put(i, "routes:\n");
    for (const struct plan_route *r = i->plan.routes; r != NULL && i->status == 0; r = r->next)
        put_route(i, r);
    return i->status;
}

/* What a request wishes is read, from its body, its head and its model's name; and left out of what
 * goes to a provider. */
#include <string.h>

#include "common/base/rand.h"
#include "dataplane/request/steps.h"
#include "dataplane/request/ways.h"
#include "dataplane/request/wishes_apply.h"
#include "dataplane/request/wishes_plan.h"

#define OPENROUTER STR("openrouter")

/* ---- reading ---- */

static enum step_result refuse(struct request *r, int rc, const struct wishes_refusal *refusal,
                               enum fault fault)
{
    if (rc == ERR_NOMEM)
        return request_fail(r, FAULT_OVERLOAD);
    r->detail.param = refusal->param;
    r->detail.message = refusal->message;
    return request_fail(r, fault);
}

static struct wishes *own(struct request *r)
{
    if (r->work->wishes != NULL)
        return r->work->wishes;
    struct wishes *w = arena_alloc(&r->arena, sizeof *w);
    if (w != NULL)
        wishes_init(w);
    r->work->wishes = w;
    return w;
}

static struct str value_of(const struct request *r, enum call_wish which)
{
    const struct call_span *span = &r->work->call.wishes[which].value;
    return str_slice(r->body, span->at, span->at + span->len);
}

static int read_body(struct request *r, struct wishes *w, struct wishes_refusal *refusal)
{
    static int (*const readers[CALL_WISHES])(struct json * json, struct str text,
                                             struct arena * arena, struct wishes * w,
                                             struct wishes_refusal * refusal) = {
        [CALL_WISH_MODELS] = wishes_read_models,
        [CALL_WISH_PROVIDER] = wishes_read_provider,
        [CALL_WISH_ROUTE] = wishes_read_route,
        [CALL_WISH_USAGE] = wishes_read_usage,
    };
    int rc = 0;
    for (uint32_t i = 0; i < CALL_WISHES && rc == 0; i++) {
        struct str value = value_of(r, i);
        if (value.len > 0 && readers[i] != NULL)
            rc = readers[i](&r->env->json, value, &r->arena, w, refusal);
    }
    struct str preferences = value_of(r, CALL_WISH_PREFERENCES);
    if (rc == 0 && preferences.len > 0)
        rc = wishes_read_preferences(&r->env->json, preferences, "modelPreferences", &r->arena, w,
                                     refusal);
    return rc;
}

/* The model of the body stands before its list. */
static void put_model_first(struct request *r, struct wishes *w)
{
    const struct call *call = &r->work->call;
    if (w->target_count == 0 || call->model_value.len == 0 ||
        str_eq(w->targets[0].model, call->model))
        return;
    const uint32_t kept =
        w->target_count < WISHES_TARGETS_MAX ? w->target_count : WISHES_TARGETS_MAX - 1;
    memmove(&w->targets[1], &w->targets[0], kept * sizeof w->targets[0]);
    w->targets[0] = (struct wishes_target){.model = call->model, .path = STR("model")};
    w->target_count = kept + 1;
}

static int read_head(struct request *r, struct wishes *w, struct wishes_refusal *refusal)
{
    struct steering *s = &r->work->steering;
    struct json *json = &r->env->json;
    struct str tags[RECORD_TAGS_MAX];
    uint32_t count = 0;
    int rc = 0;
    if (s->preferences.len > 0)
        rc = wishes_read_preferences(json, s->preferences, "x-steelyard-preferences", &r->arena, w,
                                     refusal);
    if (rc == 0 && s->portkey_config.len > 0)
        rc = wishes_read_portkey(json, s->portkey_config, &r->arena, w, refusal);
    if (rc == 0 && s->portkey_metadata.len > 0)
        rc = wishes_read_metadata(json, s->portkey_metadata, &r->arena, tags, RECORD_TAGS_MAX,
                                  &count, refusal);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        if (steering_add_tag(s, tags[i]))
            continue;
        *refusal = (struct wishes_refusal){.param = STR("x-portkey-metadata"),
                                           .message = "These are no tags, or too many of them."};
        rc = ERR_INVALID;
    }
    return rc;
}

static bool provider_known(const struct request *r, struct str name)
{
    for (uint32_t i = 0; i < r->snapshot->provider_count; i++) {
        const struct snapshot_provider *p = &r->snapshot->providers[i];
        if (wishes_names_provider(name, p->name, p->type,
                                  p->kind != NULL ? p->kind->title : STR_NULL))
            return true;
    }
    return false;
}

/* A plan's, all of them: a name that means nobody is wrong whatever is chosen. */
static bool targets_known(const struct request *r, struct wishes_target *targets, uint32_t count,
                          struct wishes_refusal *refusal)
{
    for (uint32_t i = 0; i < count; i++) {
        struct wishes_target *t = &targets[i];
        if (t->virtual_key.len > 0 && (t->provider.len == 0 || provider_known(r, t->virtual_key)))
            t->provider = t->virtual_key;
        if (t->provider.len == 0 || provider_known(r, t->provider))
            continue;
        *refusal = (struct wishes_refusal){
            .param = t->path, .message = "No such provider is configured on the gateway."};
        return false;
    }
    return true;
}

static bool holds(void *arg, const struct rule_step *steps, uint32_t count)
{
    return ways_hold(arg, steps, count);
}

/* Of a plan, those that conditions and shares choose; the body is looked at once more, and only for
 * conditions over it. */
static int choose_targets(struct request *r, struct wishes *w, struct wishes_refusal *refusal)
{
    bool asks_params = false;
    struct wishes_plan *plan = w->plan;
    if (!(plan == NULL ? targets_known(r, w->targets, w->target_count, refusal)
                       : targets_known(r, plan->leaves, plan->leaf_count, refusal)))
        return ERR_INVALID;
    if (plan == NULL)
        return 0;
    if (wishes_plan_asks(plan, &asks_params) && asks_params &&
        json_parse(&r->env->json, r->body, NULL) != 0)
        json_reset(&r->env->json, 0);
    ways_begin(r);
    int rc = wishes_choose(w, holds, r, rand_u64(), refusal);
    ways_end(r);
    return rc;
}

static void warn(struct request *r, const struct wishes *w)
{
    if (w->ignored & WISHES_IGNORED_QUANTIZATIONS)
        request_warn(r, "quantizations_ignored");
    if (w->ignored & WISHES_IGNORED_PREFERRED)
        request_warn(r, "preferred_limits_ignored");
    if (w->ignored & WISHES_IGNORED_CACHE)
        request_warn(r, "portkey_cache_ignored");
}

enum step_result wishes_take(struct request *r)
{
    struct wishes_refusal refusal = {.param = STR_NULL};
    struct call *call = &r->work->call;
    struct wishes *w = own(r);
    if (w == NULL)
        return request_fail(r, FAULT_OVERLOAD);
    int rc = read_body(r, w, &refusal);
    if (rc != 0)
        return refuse(r, rc, &refusal, FAULT_BAD_FIELD);
    put_model_first(r, w);
    if (call->model.len == 0 && w->target_count > 0)
        call->model = w->targets[0].model;
    if (call->model.len == 0) {
        r->detail.param = STR("model");
        return request_fail(r, FAULT_MISSING_FIELD);
    }
    rc = read_head(r, w, &refusal);
    if (rc != 0)
        return refuse(r, rc, &refusal, FAULT_BAD_HEADER);
    rc = choose_targets(r, w, &refusal);
    if (rc != 0)
        return refuse(r, rc, &refusal, FAULT_BAD_HEADER);
    wishes_reserve(w, call);
    warn(r, w);
    return STEP_NEXT;
}

/* Where a router's name is no route's: the first of the policy of that name, else the one that is
 * called as in the documentation, else the only one. */
static struct str default_route(const struct snapshot *s, struct str policy)
{
    for (uint32_t i = 0; i < s->route_count; i++)
        if (s->routes[i].policy != NULL && str_eq(s->routes[i].policy->name, policy))
            return s->routes[i].name;
    if (snapshot_route(s, STR("auto")) == NULL && s->route_count == 1)
        return s->routes[0].name;
    return STR("auto");
}

bool wishes_in_name(struct request *r, struct str *io_name)
{
    struct str name;
    struct wishes *w = own(r);
    if (w == NULL)
        return false;
    if (wishes_read_suffix(*io_name, w, io_name))
        return true;
    if (!wishes_read_router(*io_name, w, &name))
        return false;
    *io_name = snapshot_route(r->snapshot, name) != NULL ? name : default_route(r->snapshot, name);
    return true;
}

/* ---- the body ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* With the comma behind it, or else the one before it. */
static void blank(char *text, uint32_t from, uint32_t to)
{
    uint32_t behind = to, before = from;
    while (is_blank(text[behind]))
        behind++;
    if (text[behind] == ',') {
        to = behind + 1;
    } else {
        while (is_blank(text[before - 1]))
            before--;
        if (text[before - 1] == ',')
            from = before - 1;
    }
    memset(text + from, ' ', to - from);
}

/* What names models here is for nobody else. */
static bool is_for(enum call_wish which, const struct snapshot_provider *p)
{
    return (which == CALL_WISH_PROVIDER || which == CALL_WISH_USAGE) && p->kind != NULL &&
           str_eq(p->kind->name, OPENROUTER);
}

bool wishes_leave_out(struct request *r, const struct call *call, const struct snapshot_provider *p,
                      struct str *io_body)
{
    char *text = arena_alloc(&r->arena, io_body->len);
    if (text == NULL)
        return false;
    memcpy(text, io_body->data, io_body->len);
    for (uint32_t i = 0; i < CALL_WISHES; i++) {
        const struct call_span *member = &call->wishes[i].member;
        if (member->len > 0 && !is_for(i, p))
            blank(text, member->at, member->at + member->len);
    }
    io_body->data = text;
    return true;
}

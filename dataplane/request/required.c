#include "dataplane/request/required.h"

#include "dataplane/request/steps.h"
#include "dataplane/request/wishes_apply.h"

static const struct require nothing;

static const struct require *of_route(const struct request *r)
{
    return r->route != NULL ? &r->route->require : &nothing;
}

void required_note(struct request *r)
{
    r->work->required = !require_is_any(of_route(r)) ||
                        !require_is_any(&r->identity->terms->require) ||
                        (r->work->wishes != NULL && r->work->wishes->data != 0);
}

uint32_t required_lacks_some(const struct request *r, const struct snapshot_deployment *d)
{
    uint32_t lacks = require_lacks(of_route(r), d->region, d->data) |
                     require_lacks(&r->identity->terms->require, d->region, d->data);
    /* What the request asks for, a provider that reads it there obeys by itself. */
    if (r->work->wishes != NULL && !wishes_pass_on(d->provider) &&
        (r->work->wishes->data & ~d->data) != 0)
        lacks |= POLICY_EXCL(PRIVACY_CLASS);
    return lacks;
}

uint32_t required_lacks_model(const struct request *r, const struct snapshot_model *m)
{
    uint32_t all = 0;
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct snapshot_deployment *d = &m->deployments[i];
        if (required_pin_misses(r, d))
            continue;
        const uint32_t lacks = required_lacks(r, d);
        if (lacks == 0)
            return 0;
        all |= lacks;
    }
    return all;
}

/* ---- what is told ---- */

#define REGIONS_TEXT_MAX 512U

static int put_regions(struct buf *out, const char *who, const struct require *q)
{
    if (q->region_count == 0)
        return 0;
    int rc = buf_printf(out, "%s%s requires region ", out->len > 0 ? ", and " : "", who);
    for (uint32_t i = 0; rc == 0 && i < q->region_count; i++)
        rc = buf_printf(out, "%s%.*s", i > 0 ? " or " : "", STR_ARG(q->regions[i]));
    return rc;
}

static int put_data(struct buf *out, const char *who, uint32_t data)
{
    if (data == 0)
        return 0;
    return buf_printf(out, "%s%s requires %s", out->len > 0 ? ", and " : "", who,
                      (data & REQUIRE_NOT_KEPT) != 0 ? "zdr: true" : "data_collection: deny");
}

/* The longest that fits: a list that is cut is no list. */
static struct str say(struct request *r, bool region)
{
    const struct require *route = of_route(r), *key = &r->identity->terms->require;
    char *data = arena_alloc(&r->arena, REGIONS_TEXT_MAX);
    struct buf out = {.data = data, .cap = REGIONS_TEXT_MAX, .max = REGIONS_TEXT_MAX};
    if (data == NULL)
        return STR_NULL;
    int rc =
        region ? put_regions(&out, "the route", route) : put_data(&out, "the route", route->data);
    if (rc == 0)
        rc = region ? put_regions(&out, "the key", key) : put_data(&out, "the key", key->data);
    if (rc == 0 && !region && r->work->wishes != NULL)
        rc = put_data(&out, "the request", r->work->wishes->data);
    if (rc == 0)
        rc = buf_append_text(&out, "; no deployment of what was asked for states that.");
    return rc == 0 ? buf_str(&out) : STR_NULL;
}

enum step_result required_refuse(struct request *r, enum policy_exclusion_index exclusion)
{
    const bool region = exclusion == POLICY_EXCLUSION_REGION;
    const bool wished = !region && of_route(r)->data == 0 && r->identity->terms->require.data == 0;
    meters_reject(&r->env->meters, region ? "region" : "data_policy");
    r->detail.said = say(r, region);
    if (wished) /* As those answer whose word it is. */
        return request_fail(r, FAULT_WISHES);
    return request_fail(r, region ? FAULT_REGION_REQUIRED : FAULT_DATA_REQUIRED);
}

/* Who is asking, and which view of the configuration they get. The credential is the first found in
 * a fixed order; a repeated or oversized one is as good as none (RELIABILITY B23). */
#include <string.h>

#include "common/base/clock.h"
#include "dataplane/request/steps.h"

/* In the order in which they are looked for. */
static const struct str names[] = {
    {"authorization", 13}, {"x-api-key", 9}, {"api-key", 7}, {"x-goog-api-key", 14}};
enum { NAMES = sizeof names / sizeof names[0] };

static struct str credential(const struct request *r)
{
    struct str value = STR_NULL;
    size_t count = 0;
    unsigned i = 0;
    while (i < NAMES && (count = http1_field_find(r->head, names[i], &value)) == 0)
        i++;
    if (count != 1) /* None, or repeated. */
        return STR_NULL;
    if (i != 0)
        return value;
    if (value.len < 7 || (memcmp(value.data, "Bearer ", 7) != 0 && /* The usual. */
                          !str_eq_nocase(str_slice(value, 0, 7), STR("bearer "))))
        return STR_NULL;
    value = (struct str){value.data + 7, value.len - 7};
    return value.len > 0 && value.data[0] > ' ' ? value : str_trim(value); /* Its end is. */
}

static bool may_call(const struct request *r)
{
    const struct scope *endpoints = r->identity->terms->endpoints;
    if (endpoints == NULL)
        return true;
    const struct str name = r->path->endpoint;
    return scope_has_name(endpoints, name, scope_hash(name));
}

enum step_result step_authenticate(struct request *r)
{
    r->view = upstream_pin(&r->env->upstream);
    if (r->view == NULL) { /* No policy and no keys yet. */
        meters_reject(&r->env->meters, "draining");
        return request_fail(r, FAULT_UNAVAILABLE);
    }
    r->snapshot = r->view->snapshot;
    /* Also asked for nothing and for too much, so that both cost the same. */
    struct str key = credential(r);
    if (keyring_recall(&r->snapshot->keyring, &r->env->keys, key, r->start_us, &r->identity) != 0) {
        r->identity = NULL;
        meters_reject(&r->env->meters, "auth");
        return request_fail(r, FAULT_NO_KEY);
    }
    if (!may_call(r)) { /* As if there were no such path. */
        meters_reject(&r->env->meters, "auth");
        return request_fail(r, FAULT_NOT_FOUND);
    }
    return STEP_NEXT;
}

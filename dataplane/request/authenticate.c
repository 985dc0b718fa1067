/* Who is asking, and which view of the configuration they get. The credential is the first found in
 * a fixed order; a repeated or oversized one is as good as none (RELIABILITY B23). */
#include "common/base/clock.h"
#include "dataplane/request/steps.h"

static struct str credential(const struct request *r)
{
    static const struct str names[] = {
        {"authorization", 13}, {"x-api-key", 9}, {"api-key", 7}, {"x-goog-api-key", 14}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct str value = http1_field_get(r->head, names[i]);
        if (value.data == NULL)
            continue;
        if (http1_field_count(r->head, names[i]) != 1)
            return STR_NULL;
        if (i > 0)
            return value;
        if (value.len < 7 || !str_eq_nocase(str_slice(value, 0, 7), STR("bearer ")))
            return STR_NULL;
        return str_trim(str_slice(value, 7, value.len));
    }
    return STR_NULL;
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
    if (keyring_find(&r->snapshot->keyring, key, r->start_us, &r->identity) != 0) {
        r->identity = NULL;
        meters_reject(&r->env->meters, "auth");
        return request_fail(r, FAULT_NO_KEY);
    }
    return STEP_NEXT;
}

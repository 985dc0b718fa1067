/* wishes_apply.h: wishes where a request is decided and tried. All of it is asked only of requests
 * that have some (r->work->wishes), but for the inline functions. */
#ifndef STEELYARD_DATAPLANE_REQUEST_WISHES_APPLY_H
#define STEELYARD_DATAPLANE_REQUEST_WISHES_APPLY_H

#include "dataplane/request/request.h"

static inline bool wishes_wanted(const struct request *r)
{
    const struct steering *s = &r->work->steering;
    return r->work->call.wished ||
           s->preferences.len + s->portkey_config.len + s->portkey_metadata.len > 0;
}
/* Reads them from body and head. FAIL: something in there is malformed, or names what is not
 * configured. */
enum step_result wishes_take(struct request *r);
/* Those in the model's own name; *io_name becomes what is left of it. false: there are none. */
bool wishes_in_name(struct request *r, struct str *io_name);

/* It is told the same wishes as we are, and obeys them for those behind it. */
static inline bool wishes_pass_on(const struct snapshot_provider *p)
{
    return p->kind != NULL && str_is(p->kind->name, "openrouter");
}

/* May this deployment of the model serve, as far as the request itself goes? */
bool wishes_allow(const struct request *r, const struct snapshot_model *m,
                  const struct snapshot_deployment *d);
/* ... any of the model's? */
bool wishes_serve(const struct request *r, const struct snapshot_model *m);
/* ... this one after those that were tried? */
bool wishes_try(const struct request *r, const struct snapshot_model *m,
                const struct snapshot_deployment *d);
/* Deployments of a model are not equal: whether wishes_prefer says anything. */
bool wishes_rank(const struct wishes *w);
bool wishes_prefer(const struct request *r, const struct snapshot_model *m,
                   const struct upstream_target *t, const struct upstream_target *than);
/* The target that a deployment of the model stands for; NULL: none. */
const struct wishes_target *wishes_target_of(const struct wishes *w, const struct snapshot_model *m,
                                             const struct snapshot_provider *p);
/* After the route's own fallbacks; POLICY_NONE: none is left. */
uint32_t wishes_fallback(const struct request *r);

/* The route's way, or that which the request sorts by. */
enum way wishes_way(const struct request *r, enum way own_way);
/* Candidates are filled: excludes who is not meant by a hint, and sorts. */
void wishes_arrange(struct request *r);
/* What a threshold comes to; the request of the policy is filled. */
void wishes_decide(struct request *r, const struct artifact *a, const struct policy_params *params);
/* Lambda and mu of a version of the policy. */
void wishes_weigh(const struct wishes *w, const struct policy_params *params,
                  struct policy_request *q);
/* The preference that is recorded. */
static inline int32_t wishes_position(const struct request *r)
{
    return r->work->wishes != NULL ? r->work->wishes->position : POLICY_PREFER_NONE;
}

/* The body without what is not for this provider: those bytes are blanks in it, so that every
 * offset stays true. false: no memory. */
bool wishes_leave_out(struct request *r, const struct call *call, const struct snapshot_provider *p,
                      struct str *io_body);

/* ---- wishes_terms.c: how the attempt's target is asked ---- */

/* The time of the attempt, at most own_ms. */
uint32_t wishes_timeout(const struct request *r, uint32_t own_ms);
/* It failed: may somebody else be asked, or the same one again? */
bool wishes_may_go_on(const struct request *r);
bool wishes_may_repeat(const struct request *r);
/* The most output that any target may be asked for is what money is put aside for. */
void wishes_reserve(const struct wishes *w, struct call *call);
/* The body as the target is to be asked, with a call of its own; both are left if nothing is
 * written over. ERR_INVALID: r->work->refusal says why it cannot be asked so. */
int wishes_override(struct request *r, const struct call **io_call, struct str *io_body) MUST_CHECK;

#endif

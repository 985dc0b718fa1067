/* ask.h: what goes to a provider for an attempt: address, fields and body. In the caller's dialect
 * its own bytes with some spans replaced; in another what the attempt's exchange prints. The one
 * place where a credential meets a connection (P5). */
#ifndef STEELYARD_DATAPLANE_REQUEST_ASK_H
#define STEELYARD_DATAPLANE_REQUEST_ASK_H

#include "dataplane/request/steps.h"

#define ASK_FIELDS_MAX 48

struct ask {
    struct fetch_request request; /* timeouts and limits are the caller's to set. */
    struct fetch_field fields[ASK_FIELDS_MAX];
    struct str pieces[PROVIDER_REQUEST_PIECES_MAX];
};

/* ERR_INVALID: it cannot be said to this provider, and r->work->refusal says why. ERR_DENIED: the
 * origin is not the one that the credential is for. ERR_UNSUPPORTED, ERR_NOMEM. */
int ask_build(struct request *r, struct ask *a) MUST_CHECK;

/* The caller is warned of what the attempt at hand has changed, and of no other's. */
void ask_note(struct request *r);

/* Fields of a request that is built; what is too much is left out. */
static inline void ask_put(struct ask *a, struct str name, struct str value)
{
    if (a->request.field_count < ASK_FIELDS_MAX)
        a->fields[a->request.field_count++] = (struct fetch_field){name, value};
}
/* ask_auth.c. The key or token, where it is a field; ERR_UNAUTHENTICATED: it ran out just now. */
int ask_put_auth(struct request *r, const struct upstream_target *t, struct ask *a) MUST_CHECK;
/* Signed as a whole instead, when all else is there. */
static inline bool ask_is_signed(const struct snapshot_provider *p)
{
    return p->credential == SNAPSHOT_CREDENTIAL_AWS_KEYS ||
           p->credential == SNAPSHOT_CREDENTIAL_AWS_WEB_IDENTITY;
}
int ask_sign(struct request *r, struct ask *a) MUST_CHECK;

/* In which dialect this deployment is asked. Its provider's type is known. */
static inline enum dialect ask_dialect(const struct request *r, const struct snapshot_deployment *d)
{
    return d->dialects[r->dialect];
}
/* Whether it answers what this path asks for. */
static inline bool ask_may_serve(const struct request *r, const struct snapshot_provider *p)
{
    return p->kind != NULL && (r->path->adapter == NULL || r->path->serves == 0 ||
                               (p->kind->serves & r->path->serves) != 0);
}
/* ... and can be asked from here. */
static inline bool ask_may(const struct request *r, const struct snapshot_provider *p)
{
    return !p->secret_missing &&
           (p->shown == NULL || credential_is_valid(p->shown, r->now_ns / 1000000)) &&
           ask_may_serve(r, p);
}
/* Whether it counts the tokens of a dialogue. */
bool ask_counts(const struct snapshot_provider *p);
/* Another dialect than the caller's has words for this call. */
bool ask_can_translate(const struct request *r, enum dialect d);
/* A deviation that excludes it for this call: what its dialect has no words for. */
static inline bool ask_can_say(const struct request *r, const struct snapshot_deployment *d)
{
    if (d->provider->kind == NULL || r->path->adapter != NULL)
        return d->provider->kind != NULL;
    return ask_dialect(r, d) == r->dialect || ask_can_translate(r, ask_dialect(r, d));
}

#endif

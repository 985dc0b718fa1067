/* How an attempt shows who asks: a field with a key or a token, or a signature over what is sent
 * (AWS), made for this attempt when body and address are known. */
#include <string.h>

#include "common/base/url.h"
#include "common/crypto/sigv4.h"
#include "dataplane/credential/aws.h"
#include "dataplane/request/ask.h"

#define HOST_BYTES  (URL_HOST_BYTES_MAX + 9U)
#define SIGNED_MAX  4U
#define AWS_SERVICE STR("bedrock")

/* ---- a field ---- */

struct shown {
    struct str name;
    struct str prefix;
};

static int show(const struct snapshot_provider *p, struct shown *out)
{
    static const struct shown bearer = {{"authorization", 13}, {"Bearer ", 7}};
    *out = bearer;
    switch (p->kind->auth) {
    case HOST_AUTH_API_KEY:
        *out = (struct shown){STR("api-key"), STR_NULL};
        return 0;
    case HOST_AUTH_X_API_KEY:
        *out = (struct shown){STR("x-api-key"), STR_NULL};
        return 0;
    case HOST_AUTH_X_GOOG:
        *out = (struct shown){STR("x-goog-api-key"), STR_NULL};
        return 0;
    case HOST_AUTH_NONE:
    case HOST_AUTH_BEARER:
    case HOST_AUTH_SIGV4: /* With an API key. */
    case HOST_AUTH_GOOGLE:
        return 0;
    }
    return ERR_UNSUPPORTED;
}

static int put_shown(struct request *r, struct ask *a, const struct shown *shown, struct str secret)
{
    const size_t len = shown->prefix.len + secret.len;
    char *value = arena_alloc(&r->arena, len);
    if (value == NULL)
        return ERR_NOMEM;
    if (shown->prefix.len > 0)
        memcpy(value, shown->prefix.data, shown->prefix.len);
    memcpy(value + shown->prefix.len, secret.data, secret.len);
    ask_put(a, shown->name, (struct str){value, len});
    return 0;
}

int ask_put_auth(struct request *r, const struct upstream_target *t, struct ask *a)
{
    const struct snapshot_provider *p = t->deployment->provider;
    static const struct shown bearer = {{"authorization", 13}, {"Bearer ", 7}};
    struct shown shown;
    struct str token;
    if (p->secret == NULL && p->shown == NULL)
        return 0;
    if (!str_is(p->origin, t->origin->url))
        return ERR_DENIED;
    if (ask_is_signed(p))
        return 0;
    if (p->shown != NULL) {
        int rc = credential_get(p->shown, request_now_ms(), &r->arena, &token);
        return rc == 0 ? put_shown(r, a, &bearer, token) : rc;
    }
    int rc = show(p, &shown);
    return rc == 0 ? put_shown(r, a, &shown, secret_get(p->secret)) : rc;
}

/* ---- a signature ---- */

/* As the transports write it: without the port that is usual. */
static int print_host(const struct snapshot_provider *p, struct buf *out)
{
    const bool v6 = str_find(p->host, ':') >= 0;
    int rc = buf_printf(out, "%s%.*s%s", v6 ? "[" : "", STR_ARG(p->host), v6 ? "]" : "");
    return rc == 0 && p->port != (p->tls ? 443 : 80) ? buf_printf(out, ":%u", (unsigned)p->port)
                                                     : rc;
}

static struct sigv4_request request_of(const struct ask *a, const struct sigv4_field *fields,
                                       size_t count)
{
    struct sigv4_request out = {
        .method = a->request.method, .fields = fields, .field_count = count};
    (void)str_cut(a->request.target, '?', &out.path, &out.query);
    return out;
}

int ask_sign(struct request *r, struct ask *a)
{
    const struct snapshot_provider *p = r->attempt.target->deployment->provider;
    struct sigv4_keys keys;
    struct str kept;
    char host[HOST_BYTES], *time = arena_alloc(&r->arena, SIGV4_TIME_BYTES);
    char *room = arena_alloc(&r->arena, SIGV4_AUTH_BYTES);
    struct buf name = {.data = host, .cap = sizeof host, .max = sizeof host};
    struct buf value = {.data = room, .cap = SIGV4_AUTH_BYTES, .max = SIGV4_AUTH_BYTES};
    if (time == NULL || room == NULL)
        return ERR_NOMEM;
    if (p->shown == NULL || a->request.growing_bytes != 0)
        return ERR_UNSUPPORTED;
    int rc = credential_get(p->shown, request_now_ms(), &r->arena, &kept);
    if (rc == 0)
        rc = aws_keys_read(kept, &keys);
    if (rc == 0)
        rc = print_host(p, &name);
    if (rc != 0)
        return rc;
    sigv4_time(request_wall_us(r) / 1000000, time);
    const struct sigv4_field fields[SIGNED_MAX] = {
        {STR("content-type"), STR("application/json")},
        {STR("host"), buf_str(&name)},
        {STR("x-amz-date"), {time, SIGV4_TIME_BYTES - 1}},
        {STR("x-amz-security-token"), keys.token},
    };
    struct sigv4_request request =
        request_of(a, fields, keys.token.len > 0 ? SIGNED_MAX : SIGNED_MAX - 1);
    rc = sigv4_payload(a->pieces, a->request.body_count, &request.payload);
    if (rc == 0)
        rc = sigv4_sign(&request, &keys, p->region, AWS_SERVICE, time, &value);
    /* The arena's memory is used again: only what is sent stays there. */
    explicit_bzero((char *)(uintptr_t)keys.secret_key.data, keys.secret_key.len);
    if (rc != 0)
        return rc == ERR_INVALID ? ERR_UNSUPPORTED : rc;
    ask_put(a, STR("authorization"), buf_str(&value));
    ask_put(a, fields[2].name, fields[2].value);
    if (keys.token.len > 0)
        ask_put(a, fields[3].name, keys.token);
    return 0;
}

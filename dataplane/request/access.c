#include "dataplane/request/access.h"

#include "common/base/digits.h"
#include "common/base/log.h"
#include "common/base/log_put.h"
#include "common/crypto/uuid.h"

#define ID_BYTES (UUID_TEXT_BYTES - 1)

/* Names of the fields, quotes, a status. */
#define MARKS_BYTES 112U

/* `,"method":"POST","path":"/v1/chat/completions","code":200,"request_id":"` */
static char *put_head(char *at, const struct access *a)
{
    at = log_put_str(LOG_PUT(at, ",\"method\":"), a->method);
    if (at == NULL || (at = log_put_str(LOG_PUT(at, ",\"path\":"), a->path)) == NULL)
        return NULL;
    at = digits_put_u64(LOG_PUT(at, ",\"code\":"), a->status);
    return LOG_PUT(at, ",\"request_id\":\"");
}

/* `","route":"auto","served":"provider/model","ttft_ms":` */
static char *put_tail(char *at, const struct access *a)
{
    at = log_put_str(LOG_PUT(at, "\",\"route\":"), a->route);
    if (at == NULL || (at = log_put_str(LOG_PUT(at, ",\"served\":"), a->served)) == NULL)
        return NULL;
    return LOG_PUT(at, ",\"ttft_ms\":");
}

static bool know(struct access_common *c, const struct access *a)
{
    c->head_len = 0;
    if (a->method.len + a->path.len + a->route.len + a->served.len >
        ACCESS_COMMON_BYTES - MARKS_BYTES)
        return false;
    char *const middle = put_head(c->text, a);
    char *const end = middle != NULL ? put_tail(middle, a) : NULL;
    if (end == NULL)
        return false;
    c->method = a->method.data;
    c->path = a->path.data;
    c->served = a->served.data;
    c->tail_len = (uint16_t)(end - middle);
    c->head_len = (uint16_t)(middle - c->text);
    return true;
}

static bool knows(const struct access_common *c, const struct access *a)
{
    return c->head_len != 0 && c->path == a->path.data && c->served == a->served.data &&
           c->method == a->method.data && a->path_stays;
}

static inline char *put_id(char *at, struct str id)
{
    if (id.len == ID_BYTES) /* One of ours; its length is known when compiled. */
        return log_put_bytes(at, id.data, ID_BYTES);
    return log_put_bytes(at, id.data, id.len);
}

/* The same bytes as below, if no text needs care. */
static bool put_line(struct access_common *c, const struct access *a, int64_t wall_us)
{
    if (!knows(c, a) && !know(c, a))
        return false;
    char *at = log_open("request", wall_us);
    if (at == NULL)
        return false;
    at = put_id(log_put_bytes(at, c->text, c->head_len), a->request_id);
    at = put_id(LOG_PUT(at, "\",\"decision_id\":\""), a->decision_id);
    at = log_put_bytes(at, c->text + c->head_len, c->tail_len);
    at = digits_put_u64(at, a->ttft_ms);
    at = digits_put_u64(LOG_PUT(at, ",\"dur_ms\":"), a->duration_ms);
    at = digits_put_u64(LOG_PUT(at, ",\"tokens_in\":"), a->tokens_in);
    at = digits_put_u64(LOG_PUT(at, ",\"tokens_out\":"), a->tokens_out);
    at = log_put_bytes(LOG_PUT(at, ",\"cost_usd\":\""), a->cost_usd.data, a->cost_usd.len);
    at = digits_put_u64(LOG_PUT(at, "\",\"attempts\":"), a->attempts);
    at = log_put_str(LOG_PUT(at, ",\"key_id\":"), a->key_id);
    if (at == NULL)
        return false;
    log_close(a->client_gone ? LOG_PUT(at, ",\"client_gone\":true")
                             : LOG_PUT(at, ",\"client_gone\":false"));
    return true;
}

void access_write(struct access_common *common, const struct access *a, int64_t wall_us)
{
    if (put_line(common, a, wall_us))
        return;
    log_event(LOG_INFO, "request", LOG_STR("method", a->method), LOG_STR("path", a->path),
              LOG_U64("code", a->status), LOG_STR("request_id", a->request_id),
              LOG_STR("decision_id", a->decision_id), LOG_STR("route", a->route),
              LOG_STR("served", a->served), LOG_U64("ttft_ms", a->ttft_ms),
              LOG_U64("dur_ms", a->duration_ms), LOG_U64("tokens_in", a->tokens_in),
              LOG_U64("tokens_out", a->tokens_out), LOG_STR("cost_usd", a->cost_usd),
              LOG_U64("attempts", a->attempts), LOG_STR("key_id", a->key_id),
              LOG_BOOL("client_gone", a->client_gone));
}

#include "common/net/fetch_check.h"

#include "common/base/url.h"
#include "common/net/http1.h"
#include "common/net/http1_chars.h"

/* Of an origin: nothing but a slash may follow host and port. */
static int parse_url(struct str text, struct fetch_url *out)
{
    struct url url;
    if (url_parse(text, &url) != 0 || (url.path.len > 0 && !str_is(url.path, "/")) ||
        !http1_is_host(url.authority.data, url.authority.len) || str_find(url.host, '%') >= 0)
        return ERR_INVALID;
    struct str origin = str_slice(text, 0, text.len - url.path.len);
    if (origin.len >= FETCH_URL_BYTES)
        return ERR_INVALID;
    struct str host = url.host;
    if (url.authority.data[0] == '[') /* As it stands there. */
        host = (struct str){url.authority.data, host.len + 2};
    *out = (struct fetch_url){.tls = url.tls,
                              .origin = origin,
                              .authority = url.authority,
                              .host = host,
                              .port = url.port};
    return 0;
}

int fetch_check_origin(const struct fetch_origin_config *config, struct fetch_url *out_url,
                       struct err *err)
{
    struct fetch_url url;
    if (parse_url(str_from(config->url), &url) != 0)
        return err_set(err, ERR_INVALID,
                       "origin '%s' is not valid; for example https://api.example.com",
                       config->url != NULL ? config->url : "");
    if (!url.tls && !(config->allow_http && config->allow_private))
        return err_set(err, ERR_DENIED, "origin '%s': plain http only to a private address",
                       config->url);
    if ((config->client_cert_file == NULL) != (config->client_key_file == NULL))
        return err_set(err, ERR_INVALID, "origin '%s': client certificate and key go together",
                       config->url);
    *out_url = url;
    return 0;
}

bool fetch_field_is_reserved(struct str name)
{
    switch (name.len) {
    case 4:
        return str_eq_nocase(name, STR("host"));
    case 6:
        return str_eq_nocase(name, STR("expect"));
    case 10:
        return str_eq_nocase(name, STR("connection"));
    case 14:
        return str_eq_nocase(name, STR("content-length"));
    case 17:
        return str_eq_nocase(name, STR("transfer-encoding"));
    default: /* A length, not a state. */
        return false;
    }
}

static bool is_target(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] <= 0x20 || (unsigned char)s.data[i] >= 0x7f)
            return false;
    return s.len > 0 && s.data[0] == '/';
}

int fetch_check_request(const struct fetch_request *r)
{
    if (!http1_is_token(r->method) || !is_target(r->target))
        return ERR_INVALID;
    if (r->field_count > FETCH_FIELDS_MAX || r->body_count > FETCH_BODY_SPANS_MAX)
        return ERR_INVALID;
    for (size_t i = 0; i < r->field_count; i++)
        if (!http1_is_token(r->fields[i].name) || !http1_is_field_value(r->fields[i].value) ||
            fetch_field_is_reserved(r->fields[i].name))
            return ERR_INVALID;
    return 0;
}

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value != 0 ? value : fallback;
}

struct fetch_timeouts fetch_timeouts_or_default(const struct fetch_timeouts *t)
{
    return (struct fetch_timeouts){
        .connect_ms = or_default(t->connect_ms, 2000),
        .tls_ms = or_default(t->tls_ms, 3000),
        .head_ms = or_default(t->head_ms, 30000),
        .first_byte_ms = or_default(t->first_byte_ms, 60000),
        .idle_ms = or_default(t->idle_ms, 30000),
        .total_ms = or_default(t->total_ms, 600000),
    };
}

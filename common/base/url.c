#include "common/base/url.h"

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '@' || c == '?' || c == '#' || c == '\\')
            return false;
    }
    return true;
}

/* The host and, .data NULL where there is none, the port's digits. */
static bool split(struct str authority, struct str *out_host, struct str *out_port)
{
    size_t end = authority.len; /* Of the host, with its brackets. */
    *out_host = authority;
    *out_port = STR_NULL;
    if (authority.len > 0 && authority.data[0] == '[') {
        ptrdiff_t bracket = str_find(authority, ']');
        if (bracket < 0)
            return false;
        *out_host = str_slice(authority, 1, (size_t)bracket);
        end = (size_t)bracket + 1;
    } else if (str_find(authority, ':') >= 0) {
        end = (size_t)str_find(authority, ':');
        *out_host = str_slice(authority, 0, end);
    }
    if (end == authority.len)
        return true;
    *out_port = str_slice(authority, end + 1, authority.len);
    return authority.data[end] == ':';
}

int url_parse(struct str text, struct url *out)
{
    struct str rest, host, port;
    if (str_starts(text, STR("https://")))
        rest = str_slice(text, 8, text.len);
    else if (str_starts(text, STR("http://")))
        rest = str_slice(text, 7, text.len);
    else
        return ERR_INVALID;
    bool tls = text.data[4] == 's';
    ptrdiff_t slash = str_find(rest, '/');
    struct str authority = slash < 0 ? rest : str_slice(rest, 0, (size_t)slash);
    uint64_t number = tls ? 443 : 80;
    if (!is_plain(rest) || !split(authority, &host, &port) || host.len == 0 ||
        host.len > URL_HOST_BYTES_MAX ||
        (port.data != NULL && (str_parse_u64(port, UINT16_MAX, &number) != 0 || number == 0)))
        return ERR_INVALID;
    *out = (struct url){.tls = tls,
                        .authority = authority,
                        .host = host,
                        .path = str_slice(rest, authority.len, rest.len),
                        .port = (uint16_t)number};
    return 0;
}

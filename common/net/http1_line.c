/* The first line of a head: method, target and version, or version and status. */
#include <string.h>

#include "common/net/http1_internal.h"
#include "common/net/http1_scan.h"

const char http1_root_path[] = "/";

static bool parse_version(struct str s, uint8_t *out_minor, bool *out_known)
{
    if (s.len != 8 || memcmp(s.data, "HTTP/", 5) != 0 || s.data[6] != '.')
        return false;
    if (s.data[5] < '0' || s.data[5] > '9' || s.data[7] < '0' || s.data[7] > '9')
        return false;
    *out_known = s.data[5] == '1' && s.data[7] <= '1';
    *out_minor = (uint8_t)(s.data[7] - '0');
    return true;
}

static bool parse_method(struct str s, enum http1_method *out_method)
{
    static const enum http1_method known[] = {HTTP1_POST,  HTTP1_GET,    HTTP1_HEAD,   HTTP1_PUT,
                                              HTTP1_PATCH, HTTP1_DELETE, HTTP1_OPTIONS};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (str_is(s, http1_method_name(known[i]))) {
            *out_method = known[i];
            return true;
        }
    }
    return false;
}

/* uri-host [ ":" port ] (RFC 3986 section 3.2), without the exotic parts of reg-name. */
bool http1_is_host(const char *data, size_t len)
{
    size_t at = 0;
    if (len == 0)
        return false;
    if (data[0] == '[') {
        for (at = 1; at < len && data[at] != ']'; at++) {
            char c = data[at];
            bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
            if (!hex && c != ':' && c != '.')
                return false;
        }
        if (at == len || at == 1)
            return false;
        at++;
    } else {
        while (at < len && http1_is_hostchar(data[at]))
            at++;
        if (at == 0 || (at < len && data[at] != ':'))
            return false;
    }
    if (at == len)
        return true;
    if (data[at] != ':' || len - at > 6)
        return false;
    for (at++; at < len; at++)
        if (data[at] < '0' || data[at] > '9')
            return false;
    return true;
}

/* Splits path and query; a fragment never belongs on the wire. */
static enum http1_reason parse_origin_form(struct http1_head *h, struct str s)
{
    if (str_find(s, '#') >= 0)
        return HTTP1_REASON_BAD_TARGET;
    ptrdiff_t mark = str_find(s, '?');
    h->path = mark < 0 ? s : str_slice(s, 0, (size_t)mark);
    h->query = mark < 0 ? STR_NULL : str_slice(s, (size_t)mark + 1, s.len);
    if (h->path.len == 0)
        h->path = (struct str){.data = http1_root_path, .len = 1};
    return HTTP1_REASON_NONE;
}

static enum http1_reason parse_target(struct http1_head *h, struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] <= 0x20 || (unsigned char)s.data[i] >= 0x7f)
            return HTTP1_REASON_BAD_TARGET;
    if (s.len == 0)
        return HTTP1_REASON_BAD_REQUEST_LINE;
    h->target = s;
    if (s.data[0] == '/')
        return parse_origin_form(h, s);
    if (str_is(s, "*")) {
        h->path = s;
        return h->method == HTTP1_OPTIONS ? HTTP1_REASON_NONE : HTTP1_REASON_BAD_TARGET;
    }
    size_t scheme = 0;
    if (str_eq_nocase(str_slice(s, 0, 7), STR("http://")))
        scheme = 7;
    else if (str_eq_nocase(str_slice(s, 0, 8), STR("https://")))
        scheme = 8;
    else
        return HTTP1_REASON_BAD_TARGET;
    size_t end = scheme;
    while (end < s.len && s.data[end] != '/' && s.data[end] != '?' && s.data[end] != '#')
        end++;
    h->host = str_slice(s, scheme, end); /* Compared with Host once the head is complete. */
    if (str_find(h->host, '@') >= 0)
        return HTTP1_REASON_TARGET_USERINFO;
    if (!http1_is_host(h->host.data, h->host.len))
        return HTTP1_REASON_BAD_TARGET;
    h->flags |= SEEN_ABSOLUTE;
    return parse_origin_form(h, str_slice(s, end, s.len));
}

/* POST, a path without query, HTTP/1.1: what nearly every request is, and no more is decided here
 * than the general way would decide. */
static bool is_plain_post(struct http1_head *h, struct str line)
{
    static const char post[] = "POST /", version[] = " HTTP/1.1";
    const size_t before = sizeof post - 1, after = sizeof version - 1;
    if (line.len < before + after || memcmp(line.data, post, before) != 0)
        return false;
    size_t end = http1_scan_path(line.data, before, line.len);
    if (line.len - end != after || memcmp(line.data + end, version, after) != 0)
        return false;
    h->method = HTTP1_POST;
    h->minor_version = 1;
    h->target = (struct str){.data = line.data + before - 1, .len = end - before + 1};
    h->path = h->target;
    h->query = STR_NULL;
    return true;
}

/* method SP target SP version, single spaces only. The version comes first, so that a preface of
 * HTTP/2 is told about the version and not about its method. */
enum http1_reason http1_parse_request_line(struct http1_head *h, struct str line)
{
    if (is_plain_post(h, line))
        return HTTP1_REASON_NONE;
    struct str method;
    struct str target;
    struct str version;
    struct str rest;
    bool known = false;
    if (!str_cut(line, ' ', &method, &rest) || !str_cut(rest, ' ', &target, &version))
        return HTTP1_REASON_BAD_REQUEST_LINE; /* HTTP/0.9 too. */
    if (!http1_is_token(method) || !parse_version(version, &h->minor_version, &known))
        return HTTP1_REASON_BAD_REQUEST_LINE;
    if (!known)
        return HTTP1_REASON_BAD_VERSION;
    if (!parse_method(method, &h->method))
        return HTTP1_REASON_METHOD_UNKNOWN;
    return parse_target(h, target);
}

/* version SP 3DIGIT [SP phrase]; the last space is often left out in the wild. */
enum http1_reason http1_parse_status_line(struct http1_head *h, struct str line)
{
    bool known = false;
    uint64_t status = 0;
    if (line.len >= 13 && memcmp(line.data, "HTTP/1.1 200 ", 13) == 0) {
        h->minor_version = 1;
        h->status = 200;
        h->phrase = str_slice(line, 13, line.len);
        return HTTP1_REASON_NONE;
    }
    if (line.len < 12 || line.data[8] != ' ' || (line.len > 12 && line.data[12] != ' '))
        return HTTP1_REASON_BAD_STATUS_LINE;
    if (!parse_version(str_slice(line, 0, 8), &h->minor_version, &known))
        return HTTP1_REASON_BAD_STATUS_LINE;
    if (!known)
        return HTTP1_REASON_BAD_VERSION;
    if (str_parse_u64(str_slice(line, 9, 12), 599, &status) != 0 || status < 100 || status == 101)
        return HTTP1_REASON_BAD_STATUS_LINE; /* 101: nothing was ever asked to be upgraded. */
    h->status = (unsigned)status;
    h->phrase = str_slice(line, 13, line.len);
    return HTTP1_REASON_NONE;
}

#include "common/net/http1.h"

#include <assert.h>
#include <string.h>

#include "common/net/http1_chars.h"
#include "common/net/http1_scan.h"

static const struct {
    const char *name;
    const char *text;
    unsigned status;
    bool closes;
} reasons[HTTP1_REASON_COUNT] = {
#define X(name_, status_, closes_, text_)                                                          \
    [HTTP1_REASON_##                                                                               \
        name_] = {.name = #name_, .text = (text_), .status = (status_), .closes = (closes_)},
    HTTP1_REASON_TABLE(X)
#undef X
};

unsigned http1_reason_status(enum http1_reason reason)
{
    assert((unsigned)reason < HTTP1_REASON_COUNT);
    return reasons[reason].status;
}

bool http1_reason_closes(enum http1_reason reason)
{
    assert((unsigned)reason < HTTP1_REASON_COUNT);
    return reasons[reason].closes;
}

const char *http1_reason_text(enum http1_reason reason)
{
    assert((unsigned)reason < HTTP1_REASON_COUNT);
    return reasons[reason].text;
}

const char *http1_reason_name(enum http1_reason reason)
{
    assert((unsigned)reason < HTTP1_REASON_COUNT);
    return reasons[reason].name;
}

const char *http1_status_text(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } rows[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {429, "Too Many Requests"},
        {503, "Service Unavailable"},
        {100, "Continue"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {424, "Failed Dependency"},
        {425, "Too Early"},
        {428, "Precondition Required"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
        {529, "Overloaded"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].status == status)
            return rows[i].text;
    return "Unknown";
}

const char *http1_method_name(enum http1_method method)
{
    switch (method) {
    case HTTP1_GET:
        return "GET";
    case HTTP1_HEAD:
        return "HEAD";
    case HTTP1_POST:
        return "POST";
    case HTTP1_PUT:
        return "PUT";
    case HTTP1_PATCH:
        return "PATCH";
    case HTTP1_DELETE:
        return "DELETE";
    case HTTP1_OPTIONS:
        return "OPTIONS";
    }
    return "";
}

#define T(c) [(unsigned char)(c)] = 1
#define H(c) [(unsigned char)(c)] = 3
const uint8_t http1_token_bytes[256] = {
    T('!'), T('#'), T('$'), H('%'), T('&'), T('\''), T('*'), T('+'), H('-'), H('.'), T('^'),
    H('_'), T('`'), T('|'), H('~'), H('0'), H('1'),  H('2'), H('3'), H('4'), H('5'), H('6'),
    H('7'), H('8'), H('9'), H('A'), H('B'), H('C'),  H('D'), H('E'), H('F'), H('G'), H('H'),
    H('I'), H('J'), H('K'), H('L'), H('M'), H('N'),  H('O'), H('P'), H('Q'), H('R'), H('S'),
    H('T'), H('U'), H('V'), H('W'), H('X'), H('Y'),  H('Z'), H('a'), H('b'), H('c'), H('d'),
    H('e'), H('f'), H('g'), H('h'), H('i'), H('j'),  H('k'), H('l'), H('m'), H('n'), H('o'),
    H('p'), H('q'), H('r'), H('s'), H('t'), H('u'),  H('v'), H('w'), H('x'), H('y'), H('z'),
};
#undef H
#undef T

size_t http1_find_control(const char *data, size_t at, size_t end)
{
    return http1_scan_control(data, at, end);
}

bool http1_is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!http1_is_tchar(s.data[i]))
            return false;
    return s.len > 0;
}

bool http1_is_field_value(struct str s)
{
    size_t at = 0;
    while ((at = http1_find_control(s.data, at, s.len)) < s.len) {
        if (s.data[at] != '\t')
            return false;
        at++;
    }
    return true;
}

struct str http1_field_name(const struct http1_head *h, size_t index)
{
    assert(index < h->field_count);
    const struct http1_field *f = &h->fields[index];
    return (struct str){.data = h->base + f->name_at, .len = f->name_len};
}

struct str http1_field_value(const struct http1_head *h, size_t index)
{
    assert(index < h->field_count);
    const struct http1_field *f = &h->fields[index];
    return (struct str){.data = h->base + f->value_at, .len = f->value_len};
}

/* Few callers ask in another case than lower; those pay for it. */
static inline bool field_is(const char *base, const struct http1_field *f, struct str name)
{
    const char *data = base + f->name_at;
    if (f->name_len != name.len || ((data[0] ^ name.data[0]) & ~0x20) != 0) /* Most differ here. */
        return false;
    return (name.len >= 4 && http1_name_is(data, name.data, name.len)) ||
           str_eq_nocase((struct str){data, name.len}, name);
}

struct str http1_field_look(const struct http1_head *h, struct str name)
{
    assert(name.len > 0);
    const char *base = h->base;
    const struct http1_field *const end = h->fields + h->field_count;
    for (const struct http1_field *f = h->fields; f < end; f++)
        if (field_is(base, f, name))
            return (struct str){.data = base + f->value_at, .len = f->value_len};
    return STR_NULL;
}

size_t http1_field_seek(const struct http1_head *h, struct str name, struct str *out_value)
{
    size_t count = 0;
    const char *base = h->base;
    const struct http1_field *const end = h->fields + h->field_count;
    for (const struct http1_field *f = h->fields; f < end; f++) {
        if (f->name_len != name.len || !http1_name_is(base + f->name_at, name.data, name.len))
            continue;
        if (count++ == 0)
            *out_value = (struct str){.data = base + f->value_at, .len = f->value_len};
    }
    return count;
}

size_t http1_field_count(const struct http1_head *h, struct str name)
{
    assert(name.len > 0);
    size_t count = 0;
    for (size_t i = 0; i < h->field_count; i++)
        if (field_is(h->base, &h->fields[i], name))
            count++;
    return count;
}

bool http1_field_is_hop_by_hop(const struct http1_head *h, struct str name)
{
    static const struct str fixed[] = {
        {"connection", 10}, {"keep-alive", 10}, {"te", 2},
        {"trailer", 7},     {"upgrade", 7},     {"transfer-encoding", 17},
        {"host", 4},        {"expect", 6},      {"content-length", 14},
        {"cookie", 6},      {"set-cookie", 10},
    };
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        if (str_eq_nocase(name, fixed[i]))
            return true;
    if (str_eq_nocase(str_slice(name, 0, 6), STR("proxy-")))
        return true;
    for (size_t i = 0; i < h->field_count; i++) {
        if (!field_is(h->base, &h->fields[i], STR("connection")))
            continue;
        struct str rest = http1_field_value(h, i);
        struct str item;
        bool more = true;
        while (more) {
            more = str_cut(rest, ',', &item, &rest);
            if (str_eq_nocase(str_trim(item), name))
                return true;
        }
    }
    return false;
}

bool http1_content_type_is(const struct http1_head *h, struct str type)
{
    struct str essence;
    struct str rest;
    (void)str_cut(http1_field_get(h, STR("content-type")), ';', &essence, &rest);
    return str_eq_nocase(str_trim(essence), type);
}

static bool is_boundary_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("'()+_,-./:=? ", c) != NULL);
}

enum http1_reason http1_multipart_boundary(const struct http1_head *h, struct str *out_boundary)
{
    if (!http1_content_type_is(h, STR("multipart/form-data")))
        return HTTP1_REASON_BAD_CONTENT_TYPE;
    struct str item;
    struct str rest;
    struct str boundary = STR_NULL;
    bool more = str_cut(http1_field_get(h, STR("content-type")), ';', &item, &rest);
    while (more) {
        struct str name;
        struct str value;
        more = str_cut(rest, ';', &item, &rest);
        if (!str_cut(item, '=', &name, &value) || !str_eq_nocase(str_trim(name), STR("boundary")))
            continue;
        if (boundary.data != NULL)
            return HTTP1_REASON_BAD_BOUNDARY;
        boundary = str_trim(value);
    }
    if (boundary.len >= 2 && boundary.data[0] == '"' && boundary.data[boundary.len - 1] == '"')
        boundary = str_slice(boundary, 1, boundary.len - 1);
    if (boundary.len == 0 || boundary.len > 70 || boundary.data[boundary.len - 1] == ' ')
        return HTTP1_REASON_BAD_BOUNDARY;
    for (size_t i = 0; i < boundary.len; i++)
        if (!is_boundary_byte(boundary.data[i]))
            return HTTP1_REASON_BAD_BOUNDARY;
    *out_boundary = boundary;
    return HTTP1_REASON_NONE;
}

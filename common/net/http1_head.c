/* Heads, line by line. A line is taken apart once its CRLF is there; until then only the bytes that
 * are new are searched for control bytes. Limits are checked against positions, never against how
 * much happened to arrive, so that the verdict does not depend on the split. */
#include <assert.h>
#include <string.h>

#include "common/net/http1.h"
#include "common/net/http1_chars.h"

/* FIRST_LINE -> FIELDS -> DONE, REJECTED from both; a 1xx reply goes back to FIRST_LINE. */
enum head_state { HEAD_FIRST_LINE, HEAD_FIELDS, HEAD_DONE, HEAD_REJECTED };

enum head_flag {
    SEEN_HOST = 1,
    SEEN_LENGTH = 2,
    SEEN_CODING = 4,
    SAYS_CLOSE = 8,
    SKIPPED_BLANK_LINE = 16,
    SEEN_ABSOLUTE = 32,
};

static const char root_path[] = "/";

static void head_restart(struct http1_head *h)
{
    h->reason = HTTP1_REASON_NONE;
    h->minor_version = 0;
    h->keep_alive = false;
    h->expect_continue = false;
    h->body_encoded = false;
    h->body_kind = HTTP1_BODY_NONE;
    h->content_length = 0;
    h->method = HTTP1_GET;
    h->target = STR_NULL;
    h->path = STR_NULL;
    h->query = STR_NULL;
    h->host = STR_NULL;
    h->status = 0;
    h->phrase = STR_NULL;
    h->field_count = 0;
    h->state = HEAD_FIRST_LINE;
    h->flags = 0;
}

/* The fields array is left as it is: field_count says how much of it means anything. */
static void head_init(struct http1_head *h, bool response, bool reply_to_head)
{
    head_restart(h);
    h->head_bytes = 0;
    h->interim_count = 0;
    h->base = NULL;
    h->response = response;
    h->reply_to_head = reply_to_head;
    h->start_at = 0;
    h->line_at = 0;
    h->scan_at = 0;
}

void http1_request_init(struct http1_head *h)
{
    head_init(h, false, false);
}

void http1_response_init(struct http1_head *h, enum http1_method request_method)
{
    head_init(h, true, request_method == HTTP1_HEAD);
}

bool http1_head_begun(const struct http1_head *h)
{
    return h->state != HEAD_FIRST_LINE || h->scan_at > h->start_at || h->interim_count > 0;
}

static void slice_rebase(struct str *s, uintptr_t from, const char *to)
{
    if (s->data != NULL && s->data != root_path)
        s->data = to + ((uintptr_t)s->data - from);
}

void http1_head_rebase(struct http1_head *h, const char *data)
{
    uintptr_t from = (uintptr_t)h->base;
    if (h->base != NULL && h->base != data) {
        slice_rebase(&h->target, from, data);
        slice_rebase(&h->path, from, data);
        slice_rebase(&h->query, from, data);
        slice_rebase(&h->host, from, data);
        slice_rebase(&h->phrase, from, data);
    }
    h->base = data;
}

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
        for (; at < len && data[at] != ':'; at++) {
            char c = data[at];
            bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
            if (!alnum && c != '-' && c != '.' && c != '_' && c != '~' && c != '%')
                return false;
        }
        if (at == 0)
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
        h->path = (struct str){.data = root_path, .len = 1};
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

/* method SP target SP version, single spaces only. The version comes first, so that a preface of
 * HTTP/2 is told about the version and not about its method. */
static enum http1_reason parse_request_line(struct http1_head *h, struct str line)
{
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
static enum http1_reason parse_status_line(struct http1_head *h, struct str line)
{
    bool known = false;
    uint64_t status = 0;
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

static enum http1_reason note_length(struct http1_head *h, struct str value)
{
    if ((h->flags & SEEN_LENGTH) != 0)
        return HTTP1_REASON_LENGTH_REPEATED;
    h->flags |= SEEN_LENGTH;
    if (str_parse_u64(value, UINT64_MAX >> 1, &h->content_length) != 0)
        return HTTP1_REASON_BAD_LENGTH;
    return HTTP1_REASON_NONE;
}

static enum http1_reason note_host(struct http1_head *h, struct str value)
{
    if ((h->flags & SEEN_HOST) != 0)
        return HTTP1_REASON_HOST_REPEATED;
    h->flags |= SEEN_HOST;
    if (!http1_is_host(value.data, value.len))
        return HTTP1_REASON_BAD_HOST;
    if ((h->flags & SEEN_ABSOLUTE) == 0)
        h->host = value;
    else if (!str_eq_nocase(h->host, value))
        return HTTP1_REASON_TARGET_OTHER_HOST;
    return HTTP1_REASON_NONE;
}

static void note_connection(struct http1_head *h, struct str value)
{
    struct str item;
    bool more = true;
    while (more) {
        more = str_cut(value, ',', &item, &value);
        if (str_eq_nocase(str_trim(item), STR("close")))
            h->flags |= SAYS_CLOSE;
    }
}

/* The few fields that decide framing and reuse; told apart by length first. */
static enum http1_reason note_field(struct http1_head *h, struct str name, struct str value)
{
    switch (name.len) {
    case 4:
        if (!h->response && str_eq_nocase(name, STR("host")))
            return note_host(h, value);
        break;
    case 6:
        if (!h->response && str_eq_nocase(name, STR("expect"))) {
            if (!str_eq_nocase(value, STR("100-continue")))
                return HTTP1_REASON_EXPECTATION;
            h->expect_continue = true;
        }
        break;
    case 10:
        if (str_eq_nocase(name, STR("connection")))
            note_connection(h, value);
        break;
    case 14:
        if (str_eq_nocase(name, STR("content-length")))
            return note_length(h, value);
        break;
    case 16:
        if (str_eq_nocase(name, STR("content-encoding")) && !str_eq_nocase(value, STR("identity")))
            h->body_encoded = true;
        break;
    case 17:
        if (str_eq_nocase(name, STR("transfer-encoding"))) {
            if ((h->flags & SEEN_CODING) != 0 || !str_eq_nocase(value, STR("chunked")))
                return HTTP1_REASON_BAD_CODING;
            h->flags |= SEEN_CODING;
        }
        break;
    default: /* A length, not a state: no other field matters here. */
        break;
    }
    return HTTP1_REASON_NONE;
}

static enum http1_reason parse_field(struct http1_head *h, const char *data, uint32_t at,
                                     uint32_t end)
{
    if (data[at] == ' ' || data[at] == '\t')
        return HTTP1_REASON_FOLDED_LINE;
    uint32_t colon = at;
    while (colon < end && http1_is_tchar(data[colon]))
        colon++;
    if (colon == at || colon == end || data[colon] != ':')
        return HTTP1_REASON_BAD_FIELD_NAME;
    if (h->field_count == HTTP1_FIELDS_MAX)
        return HTTP1_REASON_FIELDS_TOO_MANY;
    uint32_t value = colon + 1;
    while (value < end && (data[value] == ' ' || data[value] == '\t'))
        value++;
    while (end > value && (data[end - 1] == ' ' || data[end - 1] == '\t'))
        end--;
    h->fields[h->field_count++] = (struct http1_field){
        .name_at = at,
        .value_at = value,
        .name_len = (uint16_t)(colon - at),
        .value_len = (uint16_t)(end - value),
    };
    return note_field(h, (struct str){.data = data + at, .len = colon - at},
                      (struct str){.data = data + value, .len = end - value});
}

/* RFC 9112 section 6.3, after everything doubtful was refused. */
static enum http1_reason decide_framing(struct http1_head *h)
{
    if ((h->flags & SEEN_CODING) != 0) {
        if ((h->flags & SEEN_LENGTH) != 0)
            return HTTP1_REASON_LENGTH_AND_CODING;
        if (h->minor_version == 0)
            return HTTP1_REASON_BAD_CODING;
        h->body_kind = HTTP1_BODY_CHUNKED;
    } else if ((h->flags & SEEN_LENGTH) != 0) {
        h->body_kind = h->content_length > 0 ? HTTP1_BODY_LENGTH : HTTP1_BODY_NONE;
    } else {
        h->body_kind = h->response ? HTTP1_BODY_UNTIL_CLOSE : HTTP1_BODY_NONE;
    }
    if (h->response && (h->reply_to_head || h->status == 204 || h->status == 304))
        h->body_kind = HTTP1_BODY_NONE;
    h->keep_alive = h->minor_version == 1 && (h->flags & SAYS_CLOSE) == 0 &&
                    h->body_kind != HTTP1_BODY_UNTIL_CLOSE;
    return HTTP1_REASON_NONE;
}

/* The blank line at [.., end). Sets state to DONE, or back to FIRST_LINE after an interim reply. */
static enum http1_reason head_finish(struct http1_head *h, uint32_t end)
{
    if (h->response && h->status < 200) {
        if (h->interim_count == HTTP1_INTERIM_MAX)
            return HTTP1_REASON_INTERIM_TOO_MANY;
        head_restart(h);
        h->interim_count++;
        h->start_at = end;
        return HTTP1_REASON_NONE;
    }
    if (!h->response && (h->flags & SEEN_HOST) == 0 && h->minor_version == 1)
        return HTTP1_REASON_HOST_MISSING;
    if (h->minor_version == 0)
        h->expect_continue = false; /* RFC 9110 section 10.1.1. */
    enum http1_reason reason = decide_framing(h);
    if (reason == HTTP1_REASON_NONE) {
        h->head_bytes = end;
        h->state = HEAD_DONE;
    }
    return reason;
}

/* One line [h->line_at, end) whose CRLF is there. */
static enum http1_reason head_line(struct http1_head *h, const char *data, uint32_t end)
{
    uint32_t at = h->line_at;
    if (h->state == HEAD_FIELDS)
        return at == end ? head_finish(h, end + 2) : parse_field(h, data, at, end);
    if (at == end && !h->response && (h->flags & SKIPPED_BLANK_LINE) == 0) {
        h->flags |= SKIPPED_BLANK_LINE; /* RFC 9112 section 2.2: one is ignored. */
        h->start_at = end + 2;
        return HTTP1_REASON_NONE;
    }
    struct str line = {.data = data + at, .len = end - at};
    h->state = HEAD_FIELDS;
    return h->response ? parse_status_line(h, line) : parse_request_line(h, line);
}

static enum http1_result head_reject(struct http1_head *h, enum http1_reason reason)
{
    h->reason = reason;
    h->state = HEAD_REJECTED;
    return HTTP1_REJECTED;
}

static enum http1_reason line_too_long(const struct http1_head *h)
{
    return h->state == HEAD_FIRST_LINE && !h->response ? HTTP1_REASON_LINE_TOO_LONG
                                                       : HTTP1_REASON_FIELD_TOO_LONG;
}

enum http1_result http1_head_parse(struct http1_head *h, const char *data, size_t len)
{
    if (h->state == HEAD_REJECTED)
        return HTTP1_REJECTED;
    http1_head_rebase(h, data);
    const uint32_t head_max =
        h->response ? HTTP1_RESPONSE_HEAD_BYTES_MAX : HTTP1_REQUEST_HEAD_BYTES_MAX;
    while (h->state != HEAD_DONE) {
        size_t line_stop = h->response ? head_max : (size_t)h->line_at + HTTP1_LINE_BYTES_MAX + 1;
        size_t end = len < line_stop ? len : line_stop;
        end = end < head_max ? end : head_max;
        size_t at = h->scan_at < end ? http1_find_control(data, h->scan_at, end) : end;
        h->scan_at = (uint32_t)at;
        if (at == end) {
            if (at == head_max)
                return head_reject(h, HTTP1_REASON_HEAD_TOO_LARGE);
            if (at == line_stop)
                return head_reject(h, line_too_long(h));
            return HTTP1_MORE;
        }
        if (data[at] == '\t') {
            h->scan_at++; /* Fine in a value; everywhere else the line is refused as a whole. */
            continue;
        }
        if (data[at] != '\r')
            return head_reject(h, HTTP1_REASON_BAD_BYTE);
        if (at + 2 > head_max)
            return head_reject(h, HTTP1_REASON_HEAD_TOO_LARGE);
        if (at + 1 == len)
            return HTTP1_MORE;
        if (data[at + 1] != '\n')
            return head_reject(h, HTTP1_REASON_BAD_BYTE);
        enum http1_reason reason = head_line(h, data, (uint32_t)at);
        if (reason != HTTP1_REASON_NONE)
            return head_reject(h, reason);
        h->line_at = (uint32_t)at + 2;
        h->scan_at = h->line_at;
    }
    return HTTP1_DONE;
}

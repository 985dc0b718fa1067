/* Heads, line by line. A line is taken apart once its CRLF is there; until then only the bytes that
 * are new are searched for control bytes. Limits are checked against positions, never against how
 * much happened to arrive, so that the verdict does not depend on the split. */
#include <assert.h>
#include <string.h>

#include "common/net/http1.h"
#include "common/net/http1_internal.h"
#include "common/net/http1_scan.h"

/* FIRST_LINE -> FIELDS -> DONE, REJECTED from both; a 1xx reply goes back to FIRST_LINE. */
enum head_state { HEAD_FIRST_LINE, HEAD_FIELDS, HEAD_DONE, HEAD_REJECTED };

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
    h->names = 0;
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
    if (s->data != NULL && s->data != http1_root_path)
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

#define LENGTH_DIGITS_PLAIN 18U /* So many are always in range. */

static enum http1_reason note_length(struct http1_head *h, struct str value)
{
    if ((h->flags & SEEN_LENGTH) != 0)
        return HTTP1_REASON_LENGTH_REPEATED;
    h->flags |= SEEN_LENGTH;
    if (value.len == 0 || value.len > LENGTH_DIGITS_PLAIN) /* Too long, or led by zeros. */
        return str_parse_u64(value, UINT64_MAX >> 1, &h->content_length) != 0
                   ? HTTP1_REASON_BAD_LENGTH
                   : HTTP1_REASON_NONE;
    uint64_t length = 0;
    for (size_t i = 0; i < value.len; i++) {
        unsigned digit = (unsigned char)value.data[i] - (unsigned)'0';
        if (digit > 9)
            return HTTP1_REASON_BAD_LENGTH;
        length = length * 10 + digit;
    }
    h->content_length = length;
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
    bool more = value.len != 10 || memcmp(value.data, "keep-alive", 10) != 0; /* The usual. */
    while (more) {
        more = str_cut(value, ',', &item, &value);
        if (str_eq_nocase(str_trim(item), STR("close")))
            h->flags |= SAYS_CLOSE;
    }
}

/* Lengths of the names below; a bit for each, the rest of a longer one is cut off. */
#define NOTED_LENGTHS                                                                              \
    (UINT64_C(1) << 4 | UINT64_C(1) << 6 | UINT64_C(1) << 10 | UINT64_C(1) << 14 |                 \
     UINT64_C(1) << 16 | UINT64_C(1) << 17)

/* The few fields that decide framing and reuse (http1_is_noted); told apart by length first. The
 * name is a token. */
static enum http1_reason note_field(struct http1_head *h, struct str name, struct str value)
{
    switch (name.len) {
    case 4:
        if (!h->response && http1_name_is(name.data, "host", 4))
            return note_host(h, value);
        break;
    case 6:
        if (!h->response && http1_name_is(name.data, "expect", 6)) {
            if (!str_eq_nocase(value, STR("100-continue")))
                return HTTP1_REASON_EXPECTATION;
            h->expect_continue = true;
        }
        break;
    case 10:
        if (http1_name_is(name.data, "connection", 10))
            note_connection(h, value);
        break;
    case 14:
        if (http1_name_is(name.data, "content-length", 14))
            return note_length(h, value);
        break;
    case 16:
        if (http1_name_is(name.data, "content-encoding", 16) &&
            !str_eq_nocase(value, STR("identity")))
            h->body_encoded = true;
        break;
    case 17:
        if (http1_name_is(name.data, "transfer-encoding", 17)) {
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

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* false: surely none of them. */
static inline bool may_be_noted(const char *name, size_t len)
{
    const uint64_t begins = UINT64_C(1) << ('c' & 63) | UINT64_C(1) << ('e' & 63) |
                            UINT64_C(1) << ('h' & 63) | UINT64_C(1) << ('t' & 63);
    return (NOTED_LENGTHS >> (len & 63) & 1) != 0 && (begins >> ((name[0] | 0x20) & 63) & 1) != 0;
}

bool http1_is_noted(struct str name)
{
    static const struct str noted[] = {{"host", 4},
                                       {"expect", 6},
                                       {"connection", 10},
                                       {"content-length", 14},
                                       {"content-encoding", 16},
                                       {"transfer-encoding", 17}};
    for (size_t i = 0; i < sizeof noted / sizeof noted[0]; i++)
        if (name.len == noted[i].len && http1_name_is(name.data, noted[i].data, name.len))
            return true;
    return false;
}

static inline void set_field(struct http1_field *f, size_t at, size_t colon, size_t value,
                             size_t end)
{
    f->name_at = (uint16_t)at;
    f->value_at = (uint16_t)value;
    f->name_len = (uint16_t)(colon - at);
    f->value_len = (uint16_t)(end - value);
}

/* A line without control bytes but tabs; its name, a token, ends at colon. */
static enum http1_reason take_field(struct http1_head *h, const char *data, size_t at, size_t colon,
                                    size_t end)
{
    size_t value = colon + 1;
    if (h->field_count == HTTP1_FIELDS_MAX)
        return HTTP1_REASON_FIELDS_TOO_MANY;
    while (value < end && is_blank(data[value]))
        value++;
    while (end > value && is_blank(data[end - 1]))
        end--;
    set_field(&h->fields[h->field_count++], at, colon, value, end);
    h->names |= http1_name_bit(data + at, colon - at);
    return note_field(h, (struct str){.data = data + at, .len = colon - at},
                      (struct str){.data = data + value, .len = end - value});
}

static enum http1_reason parse_field(struct http1_head *h, const char *data, uint32_t at,
                                     uint32_t end)
{
    if (is_blank(data[at]))
        return HTTP1_REASON_FOLDED_LINE;
    uint32_t colon = (uint32_t)http1_scan_name(data, at, end);
    if (colon == at || colon == end || data[colon] != ':')
        return HTTP1_REASON_BAD_FIELD_NAME;
    return take_field(h, data, at, colon, end);
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
    return h->response ? http1_parse_status_line(h, line) : http1_parse_request_line(h, line);
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

/* Whole lines of fields, while nothing about them is unusual; what is, and a line whose end is not
 * there yet, is left to the loop below. Begins and ends at the begin of a line. No line is longer
 * than allowed, for no more than that is looked at. */
static enum http1_reason plain_fields(struct http1_head *h, const char *data, size_t len)
{
    const size_t head_max =
        h->response ? HTTP1_RESPONSE_HEAD_BYTES_MAX : HTTP1_REQUEST_HEAD_BYTES_MAX;
    size_t at = h->line_at, end = at + HTTP1_LINE_BYTES_MAX + 2;
    struct http1_field *f = &h->fields[h->field_count], *const fields_end =
                                                            &h->fields[HTTP1_FIELDS_MAX];
    enum http1_reason reason = HTTP1_REASON_NONE;
    uint64_t names = h->names;
    end = end < len ? end : len;
    end = end < head_max ? end : head_max;
    while (f < fields_end) {
        size_t colon = http1_scan_name(data, at, end);
        if (colon == at || colon == end || data[colon] != ':')
            break;
        size_t stop = http1_scan_control(data, colon + 1, end);
        if (stop + 2 > end || memcmp(data + stop, "\r\n", 2) != 0)
            break;
        size_t value = colon + 1 + (data[colon + 1] == ' '), value_end = stop;
        /* Blank, high, or the end of an empty value. */
        if ((signed char)data[value] <= ' ' || (signed char)data[stop - 1] <= ' ') {
            while (value < stop && is_blank(data[value]))
                value++;
            while (value_end > value && is_blank(data[value_end - 1]))
                value_end--;
        }
        set_field(f++, at, colon, value, value_end);
        names |= http1_name_bit(data + at, colon - at);
        if (may_be_noted(data + at, colon - at)) {
            reason = note_field(h, (struct str){.data = data + at, .len = colon - at},
                                (struct str){.data = data + value, .len = value_end - value});
            if (reason != HTTP1_REASON_NONE)
                break; /* Where the line begins does not matter any more. */
        }
        at = stop + 2;
    }
    h->names = names;
    h->field_count = (uint16_t)(f - h->fields);
    if (reason == HTTP1_REASON_NONE && at + 2 <= end && memcmp(data + at, "\r\n", 2) == 0) {
        at += 2;
        reason = head_finish(h, (uint32_t)at);
    }
    h->line_at = h->scan_at = (uint32_t)at;
    return reason;
}

enum http1_result http1_head_parse(struct http1_head *h, const char *data, size_t len)
{
    if (h->state == HEAD_REJECTED)
        return HTTP1_REJECTED;
    http1_head_rebase(h, data);
    const uint32_t head_max =
        h->response ? HTTP1_RESPONSE_HEAD_BYTES_MAX : HTTP1_REQUEST_HEAD_BYTES_MAX;
    while (h->state != HEAD_DONE) {
        if (h->state == HEAD_FIELDS && h->scan_at == h->line_at) {
            enum http1_reason reason = plain_fields(h, data, len);
            if (reason != HTTP1_REASON_NONE)
                return head_reject(h, reason);
            if (h->state == HEAD_DONE)
                break;
        }
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

/* The head of a request, composed in one go in the loop's buffer, and what is left of a request
 * that could not be sent at once. */
#include <string.h>

#include "common/base/mem.h"
#include "dataplane/upstream/lean_internal.h"

#define DIGITS_MAX 20U

static char *put(char *at, struct str s)
{
    memcpy(at, s.data, s.len);
    return at + s.len;
}

static char *put_u64(char *at, uint64_t value)
{
    char reversed[DIGITS_MAX];
    size_t len = 0;
    do {
        reversed[len++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (len > 0)
        *at++ = reversed[--len];
    return at;
}

/* A method for which "no body" is worth saying (RFC 9110 section 8.6). */
static bool expects_body(struct str method)
{
    return str_is(method, "POST") || str_is(method, "PUT") || str_is(method, "PATCH");
}

int lean_request_compose(struct transport_origin *o, const struct fetch_request *r,
                         struct str *out_head)
{
    static const struct str length_name = {"Content-Length: ", 16};
    struct buf *text = &o->transport->text;
    size_t bytes = r->method.len + 1 + r->target.len + o->after_target_bytes + length_name.len +
                   DIGITS_MAX + 4;
    uint64_t body_bytes = 0;
    int rc = fetch_check_request(r);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < r->field_count; i++)
        bytes += r->fields[i].name.len + r->fields[i].value.len + 4;
    for (size_t i = 0; i < r->body_count; i++)
        body_bytes += r->body[i].len;
    buf_clear(text);
    rc = buf_reserve(text, bytes);
    if (rc != 0)
        return rc;
    char *at = put(text->data, r->method);
    *at++ = ' ';
    at = put(at, r->target);
    at = put(at, (struct str){o->after_target, o->after_target_bytes});
    for (size_t i = 0; i < r->field_count; i++) {
        at = put(at, r->fields[i].name);
        *at++ = ':';
        *at++ = ' ';
        struct str value = str_trim(r->fields[i].value);
        if (value.len > 0)
            at = put(at, value);
        *at++ = '\r';
        *at++ = '\n';
    }
    if (body_bytes > 0 || expects_body(r->method)) {
        at = put(at, length_name);
        at = put_u64(at, body_bytes);
        *at++ = '\r';
        *at++ = '\n';
    }
    *at++ = '\r';
    *at++ = '\n';
    *out_head = (struct str){text->data, (size_t)(at - text->data)};
    return 0;
}

struct lean_unsent *lean_unsent_create(struct str head, const struct str *spans, size_t count)
{
    struct lean_unsent *u = mem_alloc(sizeof *u + count * sizeof *spans + head.len);
    if (u == NULL)
        return NULL;
    *u = (struct lean_unsent){
        .head = (char *)&u->spans[count], .head_bytes = head.len, .span_count = count};
    if (count > 0)
        memcpy(u->spans, spans, count * sizeof *spans);
    memcpy(u->head, head.data, head.len);
    return u;
}

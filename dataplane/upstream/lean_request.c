/* The head of a request, composed in one go in the loop's buffer, and what is left of a request
 * that could not be sent at once. */
#include <string.h>

#include "common/base/digits.h"
#include "common/base/mem.h"
#include "common/net/http1_scan.h"
#include "dataplane/upstream/lean_internal.h"

static const struct str length_name = {"Content-Length: ", 16};

static char *put(char *at, struct str s)
{
    if (s.len > 0)
        memcpy(at, s.data, s.len);
    return at + s.len;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* A method for which "no body" is worth saying (RFC 9110 section 8.6). */
static bool expects_body(struct str method)
{
    return str_is(method, "POST") || str_is(method, "PUT") || str_is(method, "PATCH");
}

/* Upper bound of the head's bytes. */
static size_t bytes_max(const struct transport_origin *o, const struct fetch_request *r)
{
    size_t bytes = r->method.len + 1 + r->target.len + o->after_target_bytes + length_name.len +
                   DIGITS_BYTES + 4;
    for (size_t i = 0; i < r->field_count; i++)
        bytes += r->fields[i].name.len + r->fields[i].value.len + 4;
    return bytes;
}

static char *put_value(char *at, struct str value)
{
    while (value.len > 0 && is_blank(value.data[value.len - 1]))
        value.len--;
    while (value.len > 0 && is_blank(value.data[0])) {
        value.data++;
        value.len--;
    }
    return put(at, value);
}

/* ---- the rules of fetch_check_request, asked of the composed text ---- */

/* There each part is followed by a byte that is known and cannot belong to it, so that the parts
 * are scanned in whole blocks: the method must end at our space, the target at our next one. */
static bool first_line_is_sound(const struct fetch_request *r, const char *text, size_t end)
{
    size_t at = r->method.len + 1;
    size_t stop = at + r->target.len;
    if (r->method.len == 0 || http1_scan_name(text, 0, end) != r->method.len || text[at] != '/')
        return false;
    while ((at = http1_scan_path(text, at, end)) < stop && (text[at] == '?' || text[at] == '#'))
        at++;
    return at == stop;
}

/* Every name must end at our colon, and there must be as many lines as fields: a line break that
 * was brought along makes one too many. */
static bool fields_are_sound(const struct fetch_request *r, const char *text, size_t at,
                             size_t stop, size_t end)
{
    for (size_t i = 0; i < r->field_count; i++) {
        struct str name = r->fields[i].name;
        if (name.len == 0 || http1_scan_name(text, at, end) != at + name.len ||
            fetch_field_is_reserved(name))
            return false;
        at += name.len;
        while ((at = http1_scan_control(text, at, end)) < stop && text[at] == '\t')
            at++;
        if (at >= stop || text[at] != '\r' || text[at + 1] != '\n')
            return false;
        at += 2;
    }
    return at == stop;
}

/* ---- the head ---- */

int lean_request_compose(struct transport_origin *o, const struct fetch_request *r,
                         struct str *out_head)
{
    struct buf *text = &o->transport->text;
    uint64_t body_bytes = r->growing_bytes;
    if (r->field_count > FETCH_FIELDS_MAX || r->body_count > FETCH_BODY_SPANS_MAX ||
        (r->growing_bytes != 0 && r->body_count != 0))
        return ERR_INVALID;
    for (size_t i = 0; i < r->body_count; i++)
        body_bytes += r->body[i].len;
    buf_clear(text);
    int rc = buf_reserve(text, bytes_max(o, r));
    if (rc != 0)
        return rc;
    char *at = put(text->data, r->method);
    *at++ = ' ';
    at = put(at, r->target);
    at = put(at, (struct str){o->after_target, o->after_target_bytes});
    char *fields = at;
    for (size_t i = 0; i < r->field_count; i++) {
        at = put(at, r->fields[i].name);
        *at++ = ':';
        *at++ = ' ';
        at = put_value(at, r->fields[i].value);
        *at++ = '\r';
        *at++ = '\n';
    }
    char *fields_end = at;
    if (body_bytes > 0 || expects_body(r->method)) {
        at = put(at, length_name);
        at = digits_put_u64(at, body_bytes);
        *at++ = '\r';
        *at++ = '\n';
    }
    *at++ = '\r';
    *at++ = '\n';
    *out_head = (struct str){text->data, (size_t)(at - text->data)};
    size_t end = out_head->len;
    bool sound = first_line_is_sound(r, text->data, end) &&
                 fields_are_sound(r, text->data, (size_t)(fields - text->data),
                                  (size_t)(fields_end - text->data), end);
    return sound ? 0 : ERR_INVALID;
}

struct lean_unsent *lean_unsent_create(struct transport *t, struct str head,
                                       const struct str *spans, size_t count)
{
    size_t bytes = sizeof(struct lean_unsent) + count * sizeof *spans + head.len;
    bool pooled = bytes <= LEAN_UNSENT_BYTES;
    struct lean_unsent *u = pooled ? slab_take(&t->unsent_slab) : mem_alloc(bytes);
    if (u == NULL)
        return NULL;
    *u = (struct lean_unsent){.head = (char *)&u->spans[count],
                              .head_bytes = head.len,
                              .span_count = count,
                              .pooled = pooled};
    if (count > 0)
        memcpy(u->spans, spans, count * sizeof *spans);
    memcpy(u->head, head.data, head.len);
    return u;
}

void lean_unsent_free(struct transport_call *c)
{
    struct lean_unsent *u = c->unsent;
    c->unsent = NULL;
    if (u != NULL && u->pooled)
        slab_give(&c->origin->transport->unsent_slab, u);
    else
        mem_free(u);
}

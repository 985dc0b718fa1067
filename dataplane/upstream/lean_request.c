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

/* Requests to an origin begin alike but for the length of their bodies. Is what stands in the text
 * what these parts make? Each is as long as that one's, so they stand where it stands; and what is
 * the same was found sound. */
static bool is_asked_again(const struct transport_origin *o, const struct fetch_request *r)
{
    const struct lean_asked *k = &o->asked;
    const char *at = k->text.data;
    if (k->lasting_bytes == 0 || r->field_count != k->field_count ||
        r->method.len != k->method_bytes || r->target.len != k->target_bytes ||
        !str_same(at, r->method.data, k->method_bytes))
        return false;
    at += k->method_bytes + 1;
    if (!str_same(at, r->target.data, k->target_bytes))
        return false;
    at += k->target_bytes + o->after_target_bytes;
    for (size_t i = 0; i < k->field_count; i++) {
        const struct str name = r->fields[i].name, value = r->fields[i].value;
        const char *value_at = at + name.len + 2;
        if (name.len != k->field_bytes[i].name || value.len != k->field_bytes[i].value ||
            !str_same(at, name.data, name.len) || !str_same(value_at, value.data, value.len))
            return false;
        at = value_at + value.len + 2;
    }
    return true;
}

/* Not if a value came with blanks around it, which the text lacks. */
static void note_asked(struct transport_origin *o, const struct fetch_request *r,
                       size_t lasting_bytes)
{
    struct lean_asked *k = &o->asked;
    size_t bytes = r->method.len + 1 + r->target.len + o->after_target_bytes;
    if (r->field_count > LEAN_ASKED_FIELDS)
        return;
    k->method_bytes = (uint32_t)r->method.len;
    k->target_bytes = (uint32_t)r->target.len;
    k->field_count = r->field_count;
    for (size_t i = 0; i < r->field_count; i++) {
        k->field_bytes[i].name = (uint32_t)r->fields[i].name.len;
        k->field_bytes[i].value = (uint32_t)r->fields[i].value.len;
        bytes += r->fields[i].name.len + r->fields[i].value.len + 4;
    }
    k->lasting_bytes = bytes == lasting_bytes ? bytes : 0;
}

/* All but the length of the body and the blank line. */
static int compose_lasting(struct transport_origin *o, const struct fetch_request *r)
{
    struct buf *text = &o->asked.text;
    o->asked.lasting_bytes = 0;
    buf_clear(text);
    int rc = buf_reserve(text, bytes_max(o, r));
    if (rc != 0)
        return rc;
    char *at = put(text->data, r->method);
    *at++ = ' ';
    at = put(at, r->target);
    at = put(at, (struct str){o->after_target, o->after_target_bytes});
    const size_t fields = (size_t)(at - text->data);
    for (size_t i = 0; i < r->field_count; i++) {
        at = put(at, r->fields[i].name);
        *at++ = ':';
        *at++ = ' ';
        at = put_value(at, r->fields[i].value);
        *at++ = '\r';
        *at++ = '\n';
    }
    const size_t end = (size_t)(at - text->data);
    memcpy(at, "\r\n", 2); /* The scans end at what is known. */
    if (!first_line_is_sound(r, text->data, end + 2) ||
        !fields_are_sound(r, text->data, fields, end, end + 2))
        return ERR_INVALID;
    text->len = end;
    note_asked(o, r, end);
    return 0;
}

int lean_request_compose(struct transport_origin *o, const struct fetch_request *r,
                         struct str *out_head)
{
    struct buf *text = &o->asked.text;
    uint64_t body_bytes = r->growing_bytes;
    if (r->field_count > FETCH_FIELDS_MAX || r->body_count > FETCH_BODY_SPANS_MAX ||
        (r->growing_bytes != 0 && r->body_count != 0))
        return ERR_INVALID;
    for (size_t i = 0; i < r->body_count; i++)
        body_bytes += r->body[i].len;
    int rc = is_asked_again(o, r) ? 0 : compose_lasting(o, r);
    if (rc != 0)
        return rc;
    char *at = text->data + text->len;
    if (body_bytes > 0 || expects_body(r->method)) {
        at = put(at, length_name);
        at = digits_put_u64(at, body_bytes);
        *at++ = '\r';
        *at++ = '\n';
    }
    *at++ = '\r';
    *at++ = '\n';
    *out_head = (struct str){text->data, (size_t)(at - text->data)};
    return 0;
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

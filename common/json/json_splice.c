#include "common/json/json_splice.h"

#include <stdbool.h>

#include "common/json/json_internal.h"

/* Walks the members in order and lets bytes of the body through in the largest pieces. */
struct splice {
    const struct json *j;
    struct str *spans;
    size_t count;
    size_t done;      /* The body up to here is in the spans, or was cut. */
    size_t insert_at; /* Behind the last member that is kept. */
    bool any_kept;
    bool cutting; /* Since `done`: a run of removed members. */
};

static void splice_put(struct splice *s, struct str span)
{
    if (span.len > 0)
        s->spans[s->count++] = span;
}

static void splice_through(struct splice *s, size_t to)
{
    splice_put(s, str_slice(s->j->text, s->done, to));
    s->done = to;
}

static const struct json_edit *splice_edit_of(const struct json *j, uint32_t key,
                                              const struct json_edit *edits, size_t edit_count)
{
    for (size_t i = 0; i < edit_count; i++) {
        if (json_string_is(j, key, edits[i].key))
            return &edits[i];
    }
    return NULL;
}

static void splice_member(struct splice *s, uint32_t key, uint32_t value,
                          const struct json_edit *edit)
{
    const struct json_node *k = &s->j->nodes[key];
    const struct json_node *v = &s->j->nodes[value];
    if (edit != NULL && edit->value.data == NULL) {
        /* Whether the comma before or after goes too is known when the next kept one is met. */
        if (!s->cutting)
            splice_through(s, s->any_kept ? s->insert_at : k->start);
        s->cutting = true;
        return;
    }
    if (s->cutting) {
        /* With a kept member before, its comma was held back. */
        if (s->any_kept)
            splice_put(s, STR(","));
        s->done = k->start;
        s->cutting = false;
    }
    if (edit != NULL) {
        splice_through(s, v->start);
        splice_put(s, edit->value);
        s->done = v->end;
    }
    s->insert_at = v->end;
    s->any_kept = true;
}

static bool key_needs_no_escape(struct str key)
{
    return key.len == 0 || json_bare_length((const unsigned char *)key.data, key.len) == key.len;
}

int json_splice(const struct json *j, const struct json_edit *edits, size_t edit_count,
                struct str *spans, size_t *out_span_count)
{
    uint32_t key = JSON_NONE;
    uint32_t value = JSON_NONE;
    if (json_kind(j, JSON_ROOT) != JSON_OBJECT)
        return ERR_INVALID;
    for (size_t i = 0; i < edit_count; i++) {
        if (!key_needs_no_escape(edits[i].key))
            return ERR_INVALID;
    }
    const struct json_node *root = &j->nodes[JSON_ROOT];
    struct splice s = {.j = j, .spans = spans, .insert_at = root->start + 1};
    for (uint32_t at = 0; json_next_member(j, JSON_ROOT, &at, &key, &value);)
        splice_member(&s, key, value, splice_edit_of(j, key, edits, edit_count));
    if (s.cutting)
        s.done = s.j->nodes[value].end;
    else
        splice_through(&s, s.insert_at);
    for (size_t i = 0; i < edit_count; i++) {
        if (edits[i].value.data == NULL || json_get(j, JSON_ROOT, edits[i].key) != JSON_NONE)
            continue;
        splice_put(&s, s.any_kept ? STR(",\"") : STR("\""));
        splice_put(&s, edits[i].key);
        splice_put(&s, STR("\":"));
        splice_put(&s, edits[i].value);
        s.any_kept = true;
    }
    splice_through(&s, j->text.len);
    *out_span_count = s.count;
    return 0;
}

size_t json_splice_length(const struct str *spans, size_t span_count)
{
    size_t total = 0;
    for (size_t i = 0; i < span_count; i++)
        total += spans[i].len;
    return total;
}

int json_splice_flatten(const struct str *spans, size_t span_count, struct buf *out)
{
    int rc = buf_reserve(out, json_splice_length(spans, span_count));
    size_t before = out->len;
    for (size_t i = 0; i < span_count && rc == 0; i++)
        rc = buf_append_str(out, spans[i]);
    if (rc != 0)
        out->len = before;
    return rc;
}

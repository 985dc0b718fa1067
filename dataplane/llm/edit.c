#include "dataplane/llm/edit.h"

#include <string.h>

#include "common/json/json_writer.h"

int edit_quote(struct arena *arena, struct str text, struct str *out)
{
    if (json_writer_is_bare(text)) {
        char *bare = arena_alloc(arena, text.len + 2);
        if (bare == NULL)
            return ERR_NOMEM;
        bare[0] = bare[text.len + 1] = '"';
        memcpy(bare + 1, text.data, text.len);
        *out = (struct str){bare, text.len + 2};
        return 0;
    }
    size_t cap = 6 * text.len + 2;
    char *data = arena_alloc(arena, cap);
    struct buf b = {.data = data, .cap = cap, .max = cap};
    if (data == NULL)
        return ERR_NOMEM;
    if (buf_append_char(&b, '"') != 0 || json_writer_escape(&b, text) != 0 ||
        buf_append_char(&b, '"') != 0)
        return ERR_TOO_LARGE;
    *out = buf_str(&b);
    return 0;
}

int edit_model(const struct call *call, struct str upstream_model, struct arena *arena,
               struct edit *e)
{
    struct str quoted;
    if (call->model_value.len > 0 &&
        json_writer_is_bare(upstream_model)) { /* Between its quotes. */
        *e = (struct edit){.at = call->model_value.at + 1,
                           .cut = call->model_value.len - 2,
                           .put = upstream_model};
        return 0;
    }
    int rc = edit_quote(arena, upstream_model, &quoted);
    *e = (struct edit){.at = call->model_value.at, .cut = call->model_value.len, .put = quoted};
    if (rc != 0 || call->model_value.len > 0)
        return rc;
    const struct str name = STR("\"model\":");
    char *member = arena_alloc(arena, name.len + quoted.len + 1);
    if (member == NULL)
        return ERR_NOMEM;
    memcpy(member, name.data, name.len);
    memcpy(member + name.len, quoted.data, quoted.len);
    member[name.len + quoted.len] = ',';
    *e = (struct edit){.at = call->object_open, .put = {member, name.len + quoted.len + 1}};
    return 0;
}

int edit_number(uint32_t number, const struct call_span *at, struct arena *arena, struct edit *e)
{
    enum { DIGITS = 10 };
    char *data = arena_alloc(arena, DIGITS);
    struct buf b = {.data = data, .cap = DIGITS, .max = DIGITS};
    if (data == NULL)
        return ERR_NOMEM;
    int rc = buf_append_u64(&b, number);
    *e = (struct edit){.at = at->at, .cut = at->len, .put = buf_str(&b)};
    return rc;
}

int edit_think(const struct call *call, struct arena *arena, struct edit *edits, size_t *io_count)
{
    static const struct str off[CALL_THINKS] = {
        [CALL_THINK_THINKING] = {"{\"type\":\"disabled\"}", 19},
        [CALL_THINK_REASONING] = {"{\"enabled\":false}", 17},
    };
    int rc = 0;
    for (int way = 0; rc == 0 && way < CALL_THINKS; way++) {
        const struct call_think *think = &call->think[way];
        switch (call_clamp_of(call, (enum call_think_way)way)) {
        case CALL_CLAMP_NOTHING:
            break;
        case CALL_CLAMP_LOWERS:
            rc = edit_number(call->clamp_out - 1, &think->tokens_value, arena,
                             &edits[(*io_count)++]);
            break;
        case CALL_CLAMP_SWITCHES_OFF:
            edits[(*io_count)++] = (struct edit){think->value.at, think->value.len, off[way]};
            break;
        }
    }
    return rc;
}

/* Few, nearly always in order. */
static void sort_edits(struct edit *e, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k > 0 && e[k - 1].at > e[k].at; k--) {
            struct edit later = e[k - 1];
            e[k - 1] = e[k];
            e[k] = later;
        }
}

size_t edit_apply(struct str text, struct edit *edits, size_t count, struct str *out_pieces)
{
    size_t from = 0, n = 0;
    sort_edits(edits, count);
    for (size_t i = 0; i < count; i++) {
        out_pieces[n++] = str_slice(text, from, edits[i].at);
        out_pieces[n++] = edits[i].put;
        from = edits[i].at + edits[i].cut;
    }
    out_pieces[n++] = str_slice(text, from, text.len);
    return n;
}

int edit_cut(const struct call *call, struct str body, const struct edit *edits, size_t count,
             struct arena *arena, struct str *out_piece)
{
    size_t all = count + call->cut_count, bytes = body.len, len = 0;
    struct edit *e = arena_alloc(arena, all * sizeof *e);
    struct str *pieces = arena_alloc(arena, EDIT_PIECES(all) * sizeof *pieces);
    if (e == NULL || pieces == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < call->cut_count; i++)
        e[i] = (struct edit){call->cuts[i].at, call->cuts[i].len, STR_NULL};
    for (size_t i = 0; i < count; i++) {
        e[call->cut_count + i] = edits[i];
        bytes += edits[i].put.len;
    }
    size_t n = edit_apply(body, e, all, pieces);
    char *text = arena_alloc(arena, bytes);
    if (text == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].len > 0)
            memcpy(text + len, pieces[i].data, pieces[i].len);
        len += pieces[i].len;
    }
    *out_piece = (struct str){text, len};
    return 0;
}

static uint32_t offset_in(const struct json *j, const char *at)
{
    return (uint32_t)(at - j->text.data);
}

static int note_model(struct edit_reply *e, const struct json *j, uint32_t node,
                      const struct provider_rewrite *rewrite)
{
    if (node == JSON_NONE || rewrite->model.len == 0 || json_string_is(j, node, rewrite->model))
        return 0;
    struct buf b = {.data = e->quoted, .cap = sizeof e->quoted, .max = sizeof e->quoted};
    if (buf_append_char(&b, '"') != 0 || json_writer_escape(&b, rewrite->model) != 0 ||
        buf_append_char(&b, '"') != 0)
        return ERR_TOO_LARGE;
    struct str raw = json_raw(j, node);
    e->edits[e->count++] = (struct edit){offset_in(j, raw.data), (uint32_t)raw.len, buf_str(&b)};
    return 0;
}

uint32_t edit_same_cost(const struct json *j, uint32_t usage, struct str member)
{
    return str_starts(member, EDIT_COST) ? json_get(j, usage, STR("cost")) : JSON_NONE;
}

/* Behind its '{': the member, and a comma if others follow. */
static void note_usage(struct edit_reply *e, const struct json *j, uint32_t node, struct str member)
{
    uint32_t theirs = edit_same_cost(j, node, member);
    if (theirs != JSON_NONE) {
        struct str raw = json_raw(j, theirs);
        e->edits[e->count++] = (struct edit){offset_in(j, raw.data), (uint32_t)raw.len,
                                             str_slice(member, EDIT_COST.len, member.len)};
        return;
    }
    uint32_t at = offset_in(j, json_raw(j, node).data) + 1;
    e->edits[e->count++] = (struct edit){at, 0, member};
    if (json_count(j, node) > 0)
        e->edits[e->count++] = (struct edit){at, 0, STR(",")};
}

int edit_reply_note(struct edit_reply *e, const struct json *j, uint32_t object,
                    const struct provider_rewrite *rewrite, const struct call_usage *usage)
{
    e->count = 0;
    int rc = note_model(e, j, json_get(j, object, STR("model")), rewrite);
    uint32_t node = json_get(j, object, STR("usage"));
    if (rc != 0 || rewrite->usage_member == NULL || json_kind(j, node) != JSON_OBJECT)
        return rc;
    struct str member = rewrite->usage_member(rewrite->arg, usage);
    if (member.len > 0)
        note_usage(e, j, node, member);
    return 0;
}

int edit_reply_apply(const struct json *j, struct str body, const struct provider_rewrite *rewrite,
                     const struct call_usage *usage, struct arena *arena, struct str *out_pieces,
                     size_t *out_count)
{
    struct edit_reply *e = arena_alloc(arena, sizeof *e); /* Pieces point into it. */
    if (e == NULL)
        return ERR_NOMEM;
    int rc = edit_reply_note(e, j, JSON_ROOT, rewrite, usage);
    if (rc == 0)
        *out_count = edit_apply(body, e->edits, e->count, out_pieces);
    return rc;
}

static bool data_in_raw(const struct sse_event *event)
{
    return event->data.data >= event->raw.data &&
           event->data.data < event->raw.data + event->raw.len;
}

static int append_all(struct buf *out, const struct str *pieces, size_t count)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = buf_append_str(out, pieces[i]);
    return rc;
}

/* Several data lines: line ends between the tokens of JSON are only space. */
static int append_as_line(const struct sse_event *event, const struct str *pieces, size_t count,
                          struct buf *out)
{
    struct buf line;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += pieces[i].len;
    buf_init(&line, bytes);
    int rc = append_all(&line, pieces, count);
    if (rc == 0)
        rc = sse_write_event(out, event->name, buf_str(&line));
    buf_deinit(&line);
    return rc;
}

int edit_append_event(const struct sse_event *event, struct edit_reply *e, struct buf *out)
{
    struct str pieces[EDIT_PIECES(EDITS_MAX)];
    if (e->count == 0)
        return buf_append_str(out, event->raw);
    size_t n = edit_apply(event->data, e->edits, e->count, pieces);
    if (!data_in_raw(event))
        return append_as_line(event, pieces, n, out);
    const char *data_end = event->data.data + event->data.len;
    const char *raw_end = event->raw.data + event->raw.len;
    int rc = buf_append(out, event->raw.data, (size_t)(event->data.data - event->raw.data));
    if (rc == 0)
        rc = append_all(out, pieces, n);
    if (rc == 0)
        rc = buf_append(out, data_end, (size_t)(raw_end - data_end));
    return rc;
}

int edit_event(const struct sse_event *event, struct edit_reply *e, struct provider_out *out)
{
    if (e->count == 0)
        return provider_out_add(out, event->raw);
    int rc = provider_out_gather(out);
    if (rc != 0)
        return rc;
    size_t before = out->gathered->len;
    rc = edit_append_event(event, e, out->gathered);
    out->bytes += out->gathered->len - before;
    return rc;
}

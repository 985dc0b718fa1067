/* A checked body on its way up: sent on in spans. */
#include <string.h>

#include "common/base/buf.h"
#include "common/json/json_writer.h"
#include "dataplane/llm/openai_internal.h"

size_t openai_stream_edit(const struct call *call, struct openai_edit *e)
{
    const struct call_span *options = &call->stream_options_value;
    const struct call_span *usage = &call->include_usage_value;
    if (!call->stream || call->include_usage)
        return 0;
    if (options->len == 0)
        *e = (struct openai_edit){call->object_open, 0,
                                  STR("\"stream_options\":{\"include_usage\":true},")};
    else if (usage->len != 0)
        *e = (struct openai_edit){usage->at, usage->len, STR("true")};
    else if (options->len == 4) /* null */
        *e = (struct openai_edit){options->at, options->len, STR("{\"include_usage\":true}")};
    else
        *e = (struct openai_edit){options->at + 1, 0,
                                  call->stream_options_empty ? STR("\"include_usage\":true")
                                                             : STR("\"include_usage\":true,")};
    return 1;
}

/* Between quotation marks, escaped where it must be; nearly no name has to. */
static int quote(struct arena *arena, struct str text, struct str *out)
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

int openai_model_edit(const struct call *call, struct str upstream_model, struct arena *arena,
                      struct openai_edit *e)
{
    *e = (struct openai_edit){.at = call->model_value.at, .cut = call->model_value.len};
    return quote(arena, upstream_model, &e->put);
}

/* The most output that is asked for: in place of what the caller asked, or added. */
static int clamp_edits(const struct call *call, struct arena *arena, struct openai_edit *e,
                       size_t *io_count)
{
    static const char *const names[] = {"\"max_tokens\":", "\"max_completion_tokens\":"};
    const struct call_span *given[] = {&call->max_tokens_value, &call->max_completion_value};
    enum { ROOM = 40 };
    char *data = arena_alloc(arena, ROOM);
    struct buf b = {.data = data, .cap = ROOM, .max = ROOM};
    if (data == NULL)
        return ERR_NOMEM;
    bool named = given[0]->len != 0 || given[1]->len != 0;
    int rc = named ? 0 : buf_append_text(&b, names[call->clamp_complete]);
    if (rc == 0)
        rc = buf_append_u64(&b, call->clamp_out);
    if (rc == 0 && !named)
        rc = buf_append_char(&b, ',');
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < 2; i++)
        if (given[i]->len != 0)
            e[(*io_count)++] = (struct openai_edit){given[i]->at, given[i]->len, buf_str(&b)};
    if (!named)
        e[(*io_count)++] = (struct openai_edit){call->object_open, 0, buf_str(&b)};
    return 0;
}

/* At most four, nearly always in order. */
static void sort_edits(struct openai_edit *e, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k > 0 && e[k - 1].at > e[k].at; k--) {
            struct openai_edit later = e[k - 1];
            e[k - 1] = e[k];
            e[k] = later;
        }
}

int openai_write_call(const struct call *call, struct str body, struct str upstream_model,
                      struct arena *arena, struct str *out_pieces, size_t *out_count)
{
    struct openai_edit edits[4];
    size_t count = openai_stream_edit(call, &edits[0]);
    int rc = 0;
    if (!str_eq(upstream_model, call->model))
        rc = openai_model_edit(call, upstream_model, arena, &edits[count++]);
    if (rc == 0 && call->clamp_out != 0)
        rc = clamp_edits(call, arena, edits, &count);
    if (rc != 0)
        return rc;
    sort_edits(edits, count);
    size_t from = 0, n = 0;
    for (size_t i = 0; i < count; i++) {
        out_pieces[n++] = str_slice(body, from, edits[i].at);
        out_pieces[n++] = edits[i].put;
        from = edits[i].at + edits[i].cut;
    }
    out_pieces[n++] = str_slice(body, from, body.len);
    *out_count = n;
    return 0;
}

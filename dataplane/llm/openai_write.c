/* A checked body on its way up: sent on in spans. */
#include "common/base/buf.h"
#include "dataplane/llm/openai_internal.h"

size_t openai_stream_edit(const struct call *call, struct edit *e)
{
    const struct call_span *options = &call->stream_options_value;
    const struct call_span *usage = &call->include_usage_value;
    if (!call->stream || call->include_usage)
        return 0;
    if (options->len == 0)
        *e = (struct edit){call->object_open, 0,
                           STR("\"stream_options\":{\"include_usage\":true},")};
    else if (usage->len != 0)
        *e = (struct edit){usage->at, usage->len, STR("true")};
    else if (options->len == 4) /* null */
        *e = (struct edit){options->at, options->len, STR("{\"include_usage\":true}")};
    else
        *e = (struct edit){options->at + 1, 0,
                           call->stream_options_empty ? STR("\"include_usage\":true")
                                                      : STR("\"include_usage\":true,")};
    return 1;
}

/* The most output that is asked for: in place of what the caller asked, or added. */
static int clamp_edits(const struct call *call, struct arena *arena, struct edit *e,
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
            e[(*io_count)++] = (struct edit){given[i]->at, given[i]->len, buf_str(&b)};
    if (!named)
        e[(*io_count)++] = (struct edit){call->object_open, 0, buf_str(&b)};
    return 0;
}

int openai_write_call(const struct call *call, struct str body, struct str upstream_model,
                      struct arena *arena, struct str *out_pieces, size_t *out_count)
{
    enum { USUAL_EDITS = 4 };
    struct edit edits[USUAL_EDITS + CALL_THINKS];
    size_t count = openai_stream_edit(call, &edits[0]);
    int rc = 0;
    if (edit_renames(call, upstream_model))
        rc = edit_model(call, upstream_model, arena, &edits[count++]);
    if (rc == 0 && call->clamp_out != 0) {
        rc = clamp_edits(call, arena, edits, &count);
        if (rc == 0)
            rc = edit_think(call, arena, edits, &count);
    }
    if (rc != 0)
        return rc;
    if (count <= USUAL_EDITS) {
        *out_count = edit_apply(body, edits, count, out_pieces);
        return 0;
    }
    *out_count = 1; /* More than there may be pieces. */
    return edit_cut(call, body, edits, count, arena, out_pieces);
}

/* A body on its way up while it still comes: spans of what is there, with the model renamed.
 * Whether a stream's usage has to be asked for is known at the end only, but the length goes first:
 * so the body is declared longer by what that may take, and where nothing is asked for blanks stand
 * before its last bracket. The value of stream_options, if there is one, waits for the end, and so
 * does all that follows the messages: what is not for a provider (call.h, wishes) may be there. */
#include "dataplane/llm/openai_internal.h"

#define STREAM_OPTIONS ",\"stream_options\":{\"include_usage\":true}"

_Static_assert(sizeof STREAM_OPTIONS - 1 == OPENAI_PART_PAD, "the longest edit");

size_t openai_part_end(const struct json *json)
{
    uint32_t key_end;
    size_t inside = json_scan_inside(json);
    (void)json_scan_member(json, STR("stream_options"), &key_end);
    if (key_end != 0 && key_end < inside)
        inside = key_end;
    uint32_t messages = json_scan_member(json, STR("messages"), &key_end);
    if (key_end == 0)
        return 0; /* What a caller wishes may yet come. */
    return messages != JSON_NONE && json->nodes[messages].end < inside ? json->nodes[messages].end
                                                                       : inside;
}

int openai_write_part(const struct call *call, struct str body, size_t end,
                      struct str upstream_model, struct arena *arena, struct str *out_pieces,
                      size_t *out_count)
{
    size_t from = 0, n = 0;
    if (edit_renames(call, upstream_model)) {
        struct edit e;
        int rc = edit_model(call, upstream_model, arena, &e);
        if (rc != 0)
            return rc;
        out_pieces[n++] = str_slice(body, 0, e.at);
        out_pieces[n++] = e.put;
        from = e.at + e.cut;
    }
    out_pieces[n++] = str_slice(body, from, end);
    *out_count = n;
    return 0;
}

/* Where it is too late for one, the caller's choice stands, and usage is estimated. */
static bool rest_edit(const struct call *call, size_t from, struct edit *e)
{
    if (openai_stream_edit(call, e) == 0)
        return false;
    if (call->stream_options_value.len == 0)
        *e = (struct edit){call->object_close, 0, STR(STREAM_OPTIONS)};
    return e->at >= from;
}

void openai_write_rest(const struct call *call, struct str body, size_t from,
                       struct str *out_pieces, size_t *out_count)
{
    static const char blanks[] = "                                                ";
    struct edit e;
    size_t n = 0, pad = OPENAI_PART_PAD;
    if (rest_edit(call, from, &e)) {
        out_pieces[n++] = str_slice(body, from, e.at);
        out_pieces[n++] = e.put;
        from = e.at + e.cut;
        pad = pad + e.cut - e.put.len;
    }
    out_pieces[n++] = str_slice(body, from, call->object_close);
    out_pieces[n++] = (struct str){blanks, pad};
    out_pieces[n++] = str_slice(body, call->object_close, body.len);
    *out_count = n;
}

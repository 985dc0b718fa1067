/* Pieces of a response: items, and the object around them with every member that the types of the
 * dialect's clients promise. */
#include <string.h>

#include "dataplane/llm/responses.h"
#include "dataplane/translate/responses_internal.h"
#include "dataplane/translate/seal.h"

#define ID_BYTES 40U /* Of the answer's, in those of its items: they go back, and may have 64. */

static void say_said(struct pen *p, struct tr_said said)
{
    PEN(p, "\"");
    if (said.escaped)
        pen_put(p, said.text);
    else
        pen_escaped(p, said.text);
    PEN(p, "\"");
}

static void say_status(struct pen *p, enum tr_responses_status status)
{
    static const char *const names[] = {"in_progress", "completed", "incomplete"};
    PEN(p, ",\"status\":\"");
    pen_text(p, names[status]);
    PEN(p, "\"");
}

static struct str bare_id(const struct tr_print *print)
{
    return str_starts(print->id, STR("resp_")) ? str_slice(print->id, 5, print->id.len) : print->id;
}

void tr_responses_say_id(struct pen *p, const struct tr_print *print, const char *kind,
                         uint32_t index)
{
    PEN(p, "\"");
    pen_text(p, kind);
    PEN(p, RESPONSES_OWN_ID);
    pen_escaped(p, str_slice(bare_id(print), 0, ID_BYTES));
    PEN(p, "_");
    pen_number(p, index);
    PEN(p, "\"");
}

void tr_responses_say_part(struct pen *p, bool refusal, struct tr_said text)
{
    if (refusal) {
        PEN(p, "{\"type\":\"refusal\",\"refusal\":");
        say_said(p, text);
        PEN(p, "}");
        return;
    }
    PEN(p, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":");
    say_said(p, text);
    PEN(p, "}");
}

void tr_responses_say_message(struct pen *p, const struct tr_print *print, uint32_t index,
                              enum tr_responses_status status, struct str parts)
{
    PEN(p, "{\"id\":");
    tr_responses_say_id(p, print, "msg_", index);
    PEN(p, ",\"type\":\"message\"");
    say_status(p, status);
    PEN(p, ",\"role\":\"assistant\",\"content\":[");
    pen_put(p, parts);
    PEN(p, "]}");
}

void tr_responses_say_call(struct pen *p, const struct tr_print *print, uint32_t index,
                           enum tr_responses_status status, const struct tr_call *call,
                           struct tr_said said)
{
    PEN(p, "{\"id\":");
    tr_responses_say_id(p, print, call->custom ? "ctc_" : "fc_", index);
    if (call->custom)
        PEN(p, ",\"type\":\"custom_tool_call\"");
    else
        PEN(p, ",\"type\":\"function_call\"");
    say_status(p, status);
    PEN(p, ",\"call_id\":");
    pen_quoted(p, call->id);
    PEN(p, ",\"name\":");
    pen_quoted(p, call->name);
    if (call->custom)
        PEN(p, ",\"input\":");
    else
        PEN(p, ",\"arguments\":");
    say_said(p, said);
    PEN(p, "}");
}

static void say_sealed(struct pen *p, const struct tr_print *print, char mark, struct str opaque)
{
    char room[TR_SEAL_BYTES_MAX];
    struct str kind = {.data = &mark, .len = mark != 0};
    PEN(p, ",\"encrypted_content\":\"");
    pen_put(p, tr_seal_prefix(print->vendor, print->maker, room));
    pen_put(p, kind);
    pen_escaped(p, opaque);
    PEN(p, "\"");
}

void tr_responses_say_reasoning(struct pen *p, const struct tr_print *print, uint32_t index,
                                struct tr_said text, char mark, struct str opaque)
{
    PEN(p, "{\"id\":");
    tr_responses_say_id(p, print, "rs_", index);
    PEN(p, ",\"type\":\"reasoning\",\"summary\":[");
    if (text.text.data != NULL) {
        PEN(p, "{\"type\":\"summary_text\",\"text\":");
        say_said(p, text);
        PEN(p, "}");
    }
    PEN(p, "]");
    if (opaque.len > 0)
        say_sealed(p, print, mark, opaque);
    PEN(p, "}");
}

/* ---- the object ---- */

const char *tr_responses_status_of(enum call_finish finish, const char **out_reason)
{
    *out_reason = NULL;
    switch (finish) {
    case CALL_FINISH_LENGTH:
        *out_reason = "max_output_tokens";
        return "incomplete";
    case CALL_FINISH_CONTENT_FILTER:
        *out_reason = "content_filter";
        return "incomplete";
    case CALL_FINISH_NONE:
    case CALL_FINISH_STOP:
    case CALL_FINISH_TOOL_CALLS:
    case CALL_FINISH_OTHER:
        break;
    }
    return "completed";
}

void tr_responses_say_head(struct pen *p, const struct tr_print *print, const char *status,
                           const char *incomplete)
{
    PEN(p, "{\"id\":\"resp_");
    pen_escaped(p, bare_id(print));
    PEN(p, "\",\"object\":\"response\",\"created_at\":");
    pen_number(p, print->created_s > 0 ? (uint64_t)print->created_s : 0);
    PEN(p, ",\"status\":\"");
    pen_text(p, status);
    PEN(p, "\",\"error\":null,\"incomplete_details\":");
    if (incomplete != NULL) {
        PEN(p, "{\"reason\":\"");
        pen_text(p, incomplete);
        PEN(p, "\"}");
    } else {
        PEN(p, "null");
    }
    PEN(p, ",\"model\":");
    pen_quoted(p, print->model);
    PEN(p, ",\"output\":[");
}

static void say_usage(struct pen *p, const struct tr_print *print, const struct call_usage *u)
{
    uint64_t cached = u->tokens_cached < u->tokens_in ? u->tokens_cached : u->tokens_in;
    struct str member = STR_NULL;
    PEN(p, "{\"input_tokens\":");
    pen_number(p, u->tokens_in);
    PEN(p, ",\"input_tokens_details\":{\"cached_tokens\":");
    pen_number(p, cached);
    PEN(p, ",\"cache_write_tokens\":");
    pen_number(p, u->tokens_cache_write);
    PEN(p, "},\"output_tokens\":");
    pen_number(p, u->tokens_out);
    PEN(p, ",\"output_tokens_details\":{\"reasoning_tokens\":");
    pen_number(p, u->tokens_reasoning);
    PEN(p, "},\"total_tokens\":");
    pen_number(p, u->tokens_in + u->tokens_out);
    if (print->usage_member != NULL)
        member = print->usage_member(print->arg, u);
    if (member.len > 0) {
        PEN(p, ",");
        pen_put(p, member);
    }
    PEN(p, "}");
}

void tr_responses_say_tail(struct pen *p, const struct tr_print *print,
                           const struct call_usage *usage)
{
    PEN(p, "],");
    if (print->echo.len > 0)
        pen_put(p, print->echo);
    else
        PEN(p, "\"instructions\":null,\"metadata\":{},\"parallel_tool_calls\":true,"
               "\"temperature\":null,\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":null,"
               "\"store\":false");
    PEN(p, ",\"usage\":");
    if (usage != NULL)
        say_usage(p, print, usage);
    else
        PEN(p, "null");
    PEN(p, "}");
}

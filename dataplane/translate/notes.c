#include "dataplane/translate/notes.h"

#include <string.h>

#include "dataplane/translate/custom.h"
#include "dataplane/translate/names.h"

#define WORD_BYTES_MAX 48U

void tr_terms_deinit(struct tr_terms *terms)
{
    tr_names_destroy(terms->names);
    tr_customs_destroy(terms->customs);
    terms->names = NULL;
    terms->customs = NULL;
}

void tr_note(struct tr_terms *terms, const char *code)
{
    for (uint32_t i = 0; i < terms->note_count; i++)
        if (strcmp(terms->notes[i], code) == 0)
            return;
    if (terms->note_count < TR_NOTES_MAX)
        terms->notes[terms->note_count++] = code;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.';
}

void tr_note_word(struct tr_terms *terms, const char *prefix, struct str word)
{
    size_t head = strlen(prefix);
    size_t len = word.len < WORD_BYTES_MAX ? word.len : WORD_BYTES_MAX;
    if (terms->words_used + head + len + 1 > sizeof terms->words)
        return;
    char *at = terms->words + terms->words_used;
    memcpy(at, prefix, head);
    for (size_t i = 0; i < len; i++)
        at[head + i] = is_word(word.data[i]) ? word.data[i] : '_';
    at[head + len] = '\0';
    uint32_t count = terms->note_count;
    tr_note(terms, at);
    if (terms->note_count > count)
        terms->words_used += (uint32_t)(head + len + 1);
}

int tr_refuse(struct call_refusal *refusal, const char *param, const char *message)
{
    *refusal = (struct call_refusal){
        .defect = CALL_BAD_FIELD, .offset = -1, .param = str_from(param), .message = message};
    return ERR_INVALID;
}

int tr_drop(const struct tr_target *target, struct tr_terms *terms, struct call_refusal *refusal,
            const char *param)
{
    if (target->reject_unsupported)
        return tr_refuse(refusal, param, "is not supported by this model's provider");
    tr_note_word(terms, "dropped_", str_from(param));
    return 0;
}

int tr_drop_unknown(const struct tr_request *request, const struct tr_target *target,
                    struct tr_terms *terms, struct call_refusal *refusal)
{
    for (uint32_t i = 0; i < request->unknown_count; i++) {
        int rc = tr_drop(target, terms, refusal, request->unknown[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

struct str tr_param_for(enum dialect caller, struct str param)
{
    static const struct {
        const char *neutral, *responses, *anthropic;
    } names[] = {
        {"max_completion_tokens", "max_output_tokens", "max_tokens"},
        {"messages", "input", "messages"},
        {"parallel_tool_calls", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use"},
        {"reasoning_effort", "reasoning.effort", "output_config.effort"},
        {"response_format", "text.format", "output_config.format"},
        {"stop", "stop", "stop_sequences"},
        {"user", "safety_identifier", "metadata.user_id"},
        {"verbosity", "text.verbosity", "verbosity"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_is(param, names[i].neutral)) {
            if (caller == DIALECT_RESPONSES)
                return str_from(names[i].responses);
            if (caller == DIALECT_ANTHROPIC)
                return str_from(names[i].anthropic);
        }
    return param;
}

/* "output_config.effort" */
static bool stands_in(const struct json *body, struct str path)
{
    uint32_t node = JSON_ROOT;
    while (path.len > 0 && node != JSON_NONE) {
        ptrdiff_t dot = str_find(path, '.');
        size_t end = dot >= 0 ? (size_t)dot : path.len;
        node = json_get(body, node, str_slice(path, 0, end));
        path = str_slice(path, end + (dot >= 0 ? 1 : 0), path.len);
    }
    return node != JSON_NONE;
}

struct str tr_param_in(enum dialect caller, struct str param, const struct json *body)
{
    static const struct {
        const char *neutral;
        const char *others[4]; /* Of any dialect. */
    } names[] = {
        {"logprobs", {"top_logprobs", "include"}},
        {"max_completion_tokens", {"max_tokens"}},
        {"reasoning_effort", {"thinking", "reasoning", "include_reasoning"}},
        {"response_format", {"output_format"}},
        {"service_tier", {"speed"}},
        {"tool_choice", {"function_call"}},
        {"tools", {"functions"}},
        {"user", {"user", "safety_identifier"}},
    };
    const struct str usual = tr_param_for(caller, param);
    if (stands_in(body, usual))
        return usual;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (size_t k = 0; str_is(param, names[i].neutral) && k < 4; k++)
            if (names[i].others[k] != NULL && stands_in(body, str_from(names[i].others[k])))
                return str_from(names[i].others[k]);
    return usual;
}

int tr_notes_print(const struct tr_terms *terms, struct buf *out)
{
    for (uint32_t i = 0; i < terms->note_count; i++) {
        int rc = i > 0 ? buf_append_text(out, ", ") : 0;
        if (rc == 0)
            rc = buf_append_text(out, terms->notes[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

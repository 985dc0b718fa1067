/* What a Messages provider's failure was: by its type, by words that stand for more than the type
 * says, and by the status where the body says nothing. */
#include "dataplane/translate/anthropic_internal.h"
#include "dataplane/translate/erring.h"

static const struct {
    struct str type;
    enum tr_error_kind kind;
} types[] = {
    {{"invalid_request_error", 21}, TR_ERROR_INVALID_REQUEST},
    {{"request_too_large", 17}, TR_ERROR_CONTEXT_LENGTH},
    {{"authentication_error", 20}, TR_ERROR_AUTHENTICATION},
    {{"permission_error", 16}, TR_ERROR_PERMISSION},
    {{"not_found_error", 15}, TR_ERROR_NOT_FOUND},
    {{"rate_limit_error", 16}, TR_ERROR_RATE_LIMITED},
    {{"billing_error", 13}, TR_ERROR_QUOTA},
    {{"overloaded_error", 16}, TR_ERROR_OVERLOADED},
    {{"timeout_error", 13}, TR_ERROR_TIMEOUT},
    {{"api_error", 9}, TR_ERROR_UPSTREAM},
    {{"conflict_error", 14}, TR_ERROR_UPSTREAM},
};

static const struct tr_status_kind statuses[] = {
    {400, TR_ERROR_INVALID_REQUEST}, {401, TR_ERROR_AUTHENTICATION},  {402, TR_ERROR_QUOTA},
    {403, TR_ERROR_PERMISSION},      {404, TR_ERROR_NOT_FOUND},       {408, TR_ERROR_TIMEOUT},
    {413, TR_ERROR_CONTEXT_LENGTH},  {422, TR_ERROR_INVALID_REQUEST}, {429, TR_ERROR_RATE_LIMITED},
    {503, TR_ERROR_OVERLOADED},      {504, TR_ERROR_TIMEOUT},         {529, TR_ERROR_OVERLOADED},
};

/* An invalid request that is something else by its words. */
static const struct tr_saying sayings[] = {
    {{"prompt is too long", 18}, TR_ERROR_CONTEXT_LENGTH},
    {{"exceed context limit", 20}, TR_ERROR_CONTEXT_LENGTH},
    {{"exceeds the context window", 26}, TR_ERROR_CONTEXT_LENGTH},
    {{"content filtering policy", 24}, TR_ERROR_CONTENT_POLICY},
    {{"content policy", 14}, TR_ERROR_CONTENT_POLICY},
    {{"usage policy", 12}, TR_ERROR_CONTENT_POLICY},
    {{"credit balance is too low", 25}, TR_ERROR_QUOTA},
};

static enum tr_error_kind kind_of(unsigned status, struct str type)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (str_eq(type, types[i].type))
            return types[i].kind;
    return tr_error_of_status(statuses, sizeof statuses / sizeof statuses[0], status);
}

void anthropic_error_of(unsigned status, struct str type, struct str message, struct str code,
                        struct tr_error *out)
{
    *out = (struct tr_error){.kind = kind_of(status, type),
                             .message = tr_error_message(message),
                             .code = code.len > 0 ? code : type,
                             .wait_ms = -1};
    out->kind = tr_error_by_words(out->kind, sayings, sizeof sayings / sizeof sayings[0], message);
    if (str_ends(code, STR("_spend_limit_reached")))
        out->kind = TR_ERROR_QUOTA;
}

void anthropic_read_error(struct json *json, unsigned status, struct str name, struct str body,
                          struct arena *arena, struct tr_error *out)
{
    (void)name;
    if (json_parse(json, body, NULL) != 0)
        json_reset(json, UINT32_MAX); /* No JSON: the status alone. */
    uint32_t error = json_get(json, JSON_ROOT, STR("error"));
    uint32_t details = json_get(json, error, STR("details"));
    anthropic_error_of(status, tr_error_text(json, json_get(json, error, STR("type")), arena),
                       tr_error_text(json, json_get(json, error, STR("message")), arena),
                       tr_error_text(json, json_get(json, details, STR("error_code")), arena), out);
}

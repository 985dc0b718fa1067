/* What Cohere says when it refuses (PROVIDER-TRANSLATION section 11): {"message","id"}, or no JSON
 * at all. */
#include "dataplane/translate/cohere_internal.h"
#include "dataplane/translate/erring.h"

static const struct tr_status_kind statuses[] = {
    {401, TR_ERROR_AUTHENTICATION}, {402, TR_ERROR_QUOTA},          {403, TR_ERROR_PERMISSION},
    {404, TR_ERROR_NOT_FOUND},      {408, TR_ERROR_TIMEOUT},        {413, TR_ERROR_CONTEXT_LENGTH},
    {429, TR_ERROR_RATE_LIMITED},   {498, TR_ERROR_AUTHENTICATION}, {499, TR_ERROR_UPSTREAM},
    {503, TR_ERROR_OVERLOADED},     {504, TR_ERROR_TIMEOUT},
};

/* What a status is by its words. */
static const struct {
    enum tr_error_kind of;
    const char *words;
    enum tr_error_kind kind;
} sayings[] = {
    {TR_ERROR_INVALID_REQUEST, "too many tokens", TR_ERROR_CONTEXT_LENGTH},
    {TR_ERROR_INVALID_REQUEST, "maximum context", TR_ERROR_CONTEXT_LENGTH},
    {TR_ERROR_INVALID_REQUEST, "content policy", TR_ERROR_CONTENT_POLICY},
    {TR_ERROR_INVALID_REQUEST, "blocked output", TR_ERROR_CONTENT_POLICY},
    {TR_ERROR_INVALID_REQUEST, "blocked input", TR_ERROR_CONTENT_POLICY},
    {TR_ERROR_INVALID_REQUEST, "invalid api token", TR_ERROR_AUTHENTICATION},
    {TR_ERROR_RATE_LIMITED, "/ month", TR_ERROR_QUOTA},
    {TR_ERROR_RATE_LIMITED, "per month", TR_ERROR_QUOTA},
    {TR_ERROR_RATE_LIMITED, "monthly", TR_ERROR_QUOTA},
    {TR_ERROR_RATE_LIMITED, "billing", TR_ERROR_QUOTA},
};

static enum tr_error_kind kind_of(unsigned status)
{
    return tr_error_of_status(statuses, sizeof statuses / sizeof statuses[0], status);
}

void cohere_error_of(unsigned status, struct str message, struct tr_error *out)
{
    message = tr_error_message(message);
    *out = (struct tr_error){.kind = kind_of(status), .message = message, .wait_ms = -1};
    for (size_t i = 0; i < sizeof sayings / sizeof sayings[0]; i++)
        if (out->kind == sayings[i].of && str_search(message, str_from(sayings[i].words)) >= 0) {
            out->kind = sayings[i].kind;
            return;
        }
}

void cohere_read_error(struct json *json, unsigned status, struct str name, struct str body,
                       struct arena *arena, struct tr_error *out)
{
    struct str message = STR_NULL;
    (void)name;
    if (json_parse(json, body, NULL) == 0)
        message = tr_error_text(json, json_get(json, JSON_ROOT, STR("message")), arena);
    cohere_error_of(status, message, out);
}

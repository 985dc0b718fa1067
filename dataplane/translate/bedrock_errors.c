/* What failed at Bedrock: by the name of the exception, by words that stand for more than the name
 * says, and by the status where there is no name. */
#include "dataplane/translate/bedrock_internal.h"
#include "dataplane/translate/erring.h"

static const struct {
    const char *name;
    enum tr_error_kind kind;
} names[] = {
    {"ValidationException", TR_ERROR_INVALID_REQUEST},
    {"AccessDeniedException", TR_ERROR_PERMISSION},
    {"UnrecognizedClientException", TR_ERROR_AUTHENTICATION},
    {"ExpiredTokenException", TR_ERROR_AUTHENTICATION},
    {"ExpiredToken", TR_ERROR_AUTHENTICATION},
    {"InvalidSignatureException", TR_ERROR_AUTHENTICATION},
    {"IncompleteSignatureException", TR_ERROR_AUTHENTICATION},
    {"InvalidClientTokenId", TR_ERROR_AUTHENTICATION},
    {"MissingAuthenticationTokenException", TR_ERROR_AUTHENTICATION},
    {"ResourceNotFoundException", TR_ERROR_NOT_FOUND},
    {"ThrottlingException", TR_ERROR_RATE_LIMITED},
    {"TooManyRequestsException", TR_ERROR_RATE_LIMITED},
    {"ModelNotReadyException", TR_ERROR_RATE_LIMITED},
    {"ServiceQuotaExceededException", TR_ERROR_QUOTA},
    {"ServiceUnavailableException", TR_ERROR_OVERLOADED},
    {"ModelTimeoutException", TR_ERROR_TIMEOUT},
    {"InternalServerException", TR_ERROR_UPSTREAM},
    {"InternalFailure", TR_ERROR_UPSTREAM},
    {"ModelErrorException", TR_ERROR_UPSTREAM},
    {"ModelStreamErrorException", TR_ERROR_UPSTREAM},
};

static const struct tr_status_kind statuses[] = {
    {400, TR_ERROR_INVALID_REQUEST}, {401, TR_ERROR_AUTHENTICATION}, {403, TR_ERROR_PERMISSION},
    {404, TR_ERROR_NOT_FOUND},       {408, TR_ERROR_TIMEOUT},        {413, TR_ERROR_CONTEXT_LENGTH},
    {424, TR_ERROR_UPSTREAM},        {429, TR_ERROR_RATE_LIMITED},   {503, TR_ERROR_OVERLOADED},
    {504, TR_ERROR_TIMEOUT},
};

/* An invalid request that is something else by its words. */
static const struct tr_saying sayings[] = {
    {{"nput is too long", 16}, TR_ERROR_CONTEXT_LENGTH},
    {{"rompt is too long", 17}, TR_ERROR_CONTEXT_LENGTH},
    {{"oo many input tokens", 20}, TR_ERROR_CONTEXT_LENGTH},
    {{"exceed context limit", 20}, TR_ERROR_CONTEXT_LENGTH},
    {{"maximum context length", 22}, TR_ERROR_CONTEXT_LENGTH},
    {{"exceeds the maximum number of tokens", 36}, TR_ERROR_CONTEXT_LENGTH},
    {{"content filtering policy", 24}, TR_ERROR_CONTENT_POLICY},
    {{"content policy", 14}, TR_ERROR_CONTENT_POLICY},
    {{"uardrail intervened", 19}, TR_ERROR_CONTENT_POLICY},
};

/* "com.amazon.coral.service#ThrottlingException:http://..." -> "ThrottlingException" */
static struct str bare(struct str name)
{
    struct str head, rest;
    (void)str_cut(name, ':', &head, &rest);
    ptrdiff_t hash = str_find(head, '#');
    return hash >= 0 ? str_slice(head, (size_t)hash + 1, head.len) : head;
}

static enum tr_error_kind kind_of(unsigned status, struct str name)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_eq_nocase(name, str_from(names[i].name)))
            return names[i].kind;
    return tr_error_of_status(statuses, sizeof statuses / sizeof statuses[0], status);
}

void bedrock_error_of(unsigned status, struct str name, struct str message, struct tr_error *out)
{
    name = bare(name);
    *out = (struct tr_error){.kind = kind_of(status, name),
                             .message = tr_error_message(message),
                             .code = str_valid_utf8(name) ? name : STR_NULL,
                             .wait_ms = -1};
    out->kind = tr_error_by_words(out->kind, sayings, sizeof sayings / sizeof sayings[0], message);
}

void bedrock_read_error(struct json *json, unsigned status, struct str name, struct str body,
                        struct arena *arena, struct tr_error *out)
{
    if (json_parse(json, body, NULL) != 0)
        json_reset(json, UINT32_MAX); /* No JSON: status and name alone. */
    uint32_t message = json_get(json, JSON_ROOT, STR("message"));
    if (message == JSON_NONE)
        message = json_get(json, JSON_ROOT, STR("Message"));
    if (name.len == 0)
        name = tr_error_text(json, json_get(json, JSON_ROOT, STR("__type")), arena);
    bedrock_error_of(status, name, tr_error_text(json, message, arena), out);
}

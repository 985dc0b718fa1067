#include "dataplane/translate/dialects.h"

static const struct tr_caller_dialect *const callers[DIALECT_CALLERS] = {
    [DIALECT_OPENAI] = &tr_caller_openai,
    [DIALECT_RESPONSES] = &tr_caller_responses,
    [DIALECT_ANTHROPIC] = &tr_caller_anthropic,
};

static const struct tr_provider_dialect *const providers[DIALECTS] = {
    [DIALECT_OPENAI] = &tr_provider_openai,       [DIALECT_RESPONSES] = &tr_provider_responses,
    [DIALECT_ANTHROPIC] = &tr_provider_anthropic, [DIALECT_GEMINI] = &tr_provider_gemini,
    [DIALECT_BEDROCK] = &tr_provider_bedrock,     [DIALECT_COHERE] = &tr_provider_cohere,
};

const struct tr_caller_dialect *tr_caller_find(enum dialect dialect)
{
    return (size_t)dialect < DIALECT_CALLERS ? callers[dialect] : NULL;
}

const struct tr_provider_dialect *tr_provider_find(enum dialect dialect)
{
    return (size_t)dialect < DIALECTS ? providers[dialect] : NULL;
}

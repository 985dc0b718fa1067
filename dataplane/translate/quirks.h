/* quirks.h: how a model deviates from its dialect, as data: the first row of one table whose
 * pattern the model's name matches. Patterns are globs ('*', '?', '[a-z]'), matched in place:
 * nothing is compiled and nothing is kept. Facts are of 2026-11. Pure. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_QUIRKS_H
#define STEELYARD_DATAPLANE_TRANSLATE_QUIRKS_H

#include "dataplane/translate/neutral.h"

enum tr_quirk {
    /* temperature, top_p, top_k, logprobs, penalties and logit_bias are refused ... */
    TR_QUIRK_NO_SAMPLING = 1 << 0,
    TR_QUIRK_SAMPLING_AT_NONE = 1 << 1,  /* ... the first three not at effort none. */
    TR_QUIRK_ONE_SAMPLING = 1 << 2,      /* temperature or top_p, not both. */
    TR_QUIRK_NO_THINKING_OFF = 1 << 3,   /* Reasoning cannot be switched off. */
    TR_QUIRK_NO_BUDGET = 1 << 4,         /* Takes efforts, no budgets. */
    TR_QUIRK_NO_FORCED_TOOL = 1 << 5,    /* required and a named tool are refused: auto. */
    TR_QUIRK_SCHEMA = 1 << 6,            /* Has structured output by schema. */
    TR_QUIRK_DEVELOPER = 1 << 7,         /* System texts have the role developer. */
    TR_QUIRK_MAX_COMPLETION = 1 << 8,    /* max_completion_tokens (must). */
    TR_QUIRK_REASONS = 1 << 9,           /* Knows efforts at all (or budgets). */
    TR_QUIRK_NO_SYSTEM = 1 << 10,        /* System texts go before the first user text. */
    TR_QUIRK_LEVEL = 1 << 11,            /* gemini: thinkingLevel, not thinkingBudget. */
    TR_QUIRK_CALL_SIGNATURE = 1 << 12,   /* gemini: a replayed functionCall must be signed. */
    TR_QUIRK_RESULT_PARTS = 1 << 13,     /* gemini: functionResponse.parts. */
    TR_QUIRK_NO_PENALTIES = 1 << 14,     /* gemini 2.5: refused by the developer API. */
    TR_QUIRK_PREFILL = 1 << 15,          /* A last turn of the assistant is continued. */
    TR_QUIRK_THINKS_UNASKED = 1 << 16,   /* Reasons unless told not to. */
    TR_QUIRK_REASONING_ALWAYS = 1 << 17, /* deepseek: reasoning_content on all turns. */
    TR_QUIRK_NINE_IDS = 1 << 19,         /* Ids of calls are nine of [a-zA-Z0-9]. */
    TR_QUIRK_BETWEEN_TOOLS = 1 << 20,    /* anthropic: off is {type:between_tools}. */
    TR_QUIRK_URLS = 1 << 21,             /* gemini: takes https addresses in fileData. */
    TR_QUIRK_VERBOSITY = 1 << 22,        /* openai: verbosity is known. */
    TR_QUIRK_JSON_SCHEMA = 1 << 23,      /* gemini: takes JSON schemas as they are. */
    TR_QUIRK_CUSTOM_TOOLS = 1 << 24,     /* openai: tools whose input is a text. */
    TR_QUIRK_ANY_TOOL = 1 << 25,         /* bedrock: no tool can be named, but any be required. */
    TR_QUIRK_CACHE_POINTS = 1 << 26,     /* bedrock: cachePoint in system and messages. */
    TR_QUIRK_RESULT_STATUS = 1 << 27,    /* bedrock: a result may say that it is an error. */
    TR_QUIRK_TOP_K = 1 << 28,            /* bedrock: top_k is a field of the model's own ... */
    TR_QUIRK_TOP_K_NOVA = 1 << 29,       /* ... or inferenceConfig.topK among those. */
};
/* bedrock: where an effort stands in additionalModelRequestFields. */
enum tr_effort_field {
    TR_EFFORT_FIELD_NONE,
    TR_EFFORT_FIELD_THINKING,  /* thinking{type,budget_tokens}, output_config.effort */
    TR_EFFORT_FIELD_PLAIN,     /* reasoning_effort */
    TR_EFFORT_FIELD_REASONING, /* reasoning.effort */
    TR_EFFORT_FIELD_NOVA,      /* reasoningConfig{type,maxReasoningEffort} */
};

struct tr_quirks {
    enum dialect dialect;
    const char *pattern;
    uint32_t flags;                 /* enum tr_quirk */
    uint32_t max_output;            /* Tokens; 0: unknown. */
    uint32_t efforts;               /* TR_EFFORT_BITs it takes; 0: all, or unknown. */
    int32_t budget_min, budget_max; /* Tokens of reasoning; 0: no bound is known. */
    enum tr_effort_field effort_field;
};
static inline bool tr_quirks_has(const struct tr_quirks *q, enum tr_quirk flag)
{
    return (q->flags & (uint32_t)flag) != 0;
}

/* Never NULL: the last row of a dialect matches all. Claude on bedrock has anthropic's row; what
 * stands before the last '/' of a name in chat completions is not looked at. */
const struct tr_quirks *tr_quirks_find(enum dialect dialect, struct str model);
bool tr_glob_match(const char *pattern, struct str text); /* ASCII letters in either case. */

#endif

#include "dataplane/translate/quirks.h"

#define F(name) TR_QUIRK_##name
#define B(name) (1U << (unsigned)TR_EFFORT_##name)

#define LOW_TO_HIGH   (B(LOW) | B(MEDIUM) | B(HIGH))
#define LOW_TO_MAX    (LOW_TO_HIGH | B(XHIGH) | B(MAX))
#define CLAUDE        (F(SCHEMA) | F(REASONS))
#define CLAUDE_FIXED  (CLAUDE | F(NO_SAMPLING) | F(NO_BUDGET))
#define OPENAI        (F(SCHEMA) | F(MAX_COMPLETION))
#define OPENAI_THINKS (OPENAI | F(REASONS) | F(DEVELOPER) | F(NO_BUDGET))
#define GPT_5         (OPENAI_THINKS | F(VERBOSITY) | F(CUSTOM_TOOLS))
#define NOVA          (F(CACHE_POINTS) | F(RESULT_STATUS) | F(TOP_K_NOVA))
#define GEMINI        F(SCHEMA) | F(URLS) | F(JSON_SCHEMA)

#define ROW(d, pattern, flags, out, efforts, min, max, field)                                      \
    {                                                                                              \
        DIALECT_##d, pattern, (uint32_t)(flags), out, efforts, min, max, TR_EFFORT_FIELD_##field   \
    }

/* Of each dialect the first row that matches; more special ones stand above. */
static const struct tr_quirks rows[] = {
    ROW(ANTHROPIC, "*claude-sonnet-5-5*",
        CLAUDE_FIXED | F(NO_THINKING_OFF) | F(NO_FORCED_TOOL) | F(BETWEEN_TOOLS) |
            F(THINKS_UNASKED),
        128000, LOW_TO_MAX, 0, 0, THINKING),
    ROW(ANTHROPIC, "*claude-opus-5-5*",
        CLAUDE_FIXED | F(NO_THINKING_OFF) | F(NO_FORCED_TOOL) | F(THINKS_UNASKED), 128000,
        LOW_TO_MAX, 0, 0, THINKING),
    ROW(ANTHROPIC, "*claude-haiku-5-5*", CLAUDE_FIXED, 128000, LOW_TO_MAX, 0, 0, THINKING),
    ROW(ANTHROPIC, "*claude-opus-5*", CLAUDE | F(NO_SAMPLING), 128000, LOW_TO_MAX, 1024, 0,
        THINKING),
    ROW(ANTHROPIC, "*claude-fable-5-1*",
        CLAUDE_FIXED | F(NO_THINKING_OFF) | F(NO_FORCED_TOOL) | F(THINKS_UNASKED), 128000,
        LOW_TO_MAX, 0, 0, THINKING),
    ROW(ANTHROPIC, "*claude-fable-5*", CLAUDE_FIXED | F(NO_THINKING_OFF) | F(THINKS_UNASKED),
        128000, LOW_TO_MAX, 0, 0, THINKING),
    ROW(ANTHROPIC, "*claude-opus-4-[78]*", CLAUDE | F(NO_SAMPLING), 128000, LOW_TO_MAX, 1024, 0,
        THINKING),
    ROW(ANTHROPIC, "*claude-sonnet-5*", CLAUDE | F(NO_SAMPLING) | F(THINKS_UNASKED), 128000,
        LOW_TO_MAX, 1024, 0, THINKING),
    ROW(ANTHROPIC, "*claude-*-4-6*", CLAUDE, 128000, LOW_TO_HIGH | B(MAX), 1024, 0, THINKING),
    ROW(ANTHROPIC, "*claude-*-4-5*", CLAUDE | F(ONE_SAMPLING) | F(PREFILL), 64000, LOW_TO_HIGH,
        1024, 0, THINKING),
    ROW(ANTHROPIC, "*claude-opus-4-1*", CLAUDE | F(ONE_SAMPLING) | F(PREFILL), 32000, 0, 1024, 0,
        THINKING),
    ROW(ANTHROPIC, "*claude-sonnet-4*", F(REASONS) | F(PREFILL), 64000, 0, 1024, 0, THINKING),
    ROW(ANTHROPIC, "*claude-opus-4*", F(REASONS) | F(PREFILL), 32000, 0, 1024, 0, THINKING),
    ROW(ANTHROPIC, "*claude-3-7*", F(REASONS) | F(PREFILL), 64000, 0, 1024, 0, THINKING),
    ROW(ANTHROPIC, "*claude-3-5*", F(PREFILL), 8192, 0, 0, 0, NONE),
    ROW(ANTHROPIC, "*claude-3*", F(PREFILL), 4096, 0, 0, 0, NONE),
    /* A newer one: the newest shape. */
    ROW(ANTHROPIC, "*claude-*", CLAUDE_FIXED, 128000, LOW_TO_MAX, 0, 0, THINKING),
    ROW(ANTHROPIC, "minimax*", F(REASONS), 0, 0, 1024, 0, THINKING),
    ROW(ANTHROPIC, "*", F(REASONS) | F(PREFILL), 0, 0, 1024, 0, THINKING),

    ROW(OPENAI, "o[0-9]*", OPENAI_THINKS | F(NO_SAMPLING) | F(NO_THINKING_OFF), 100000, LOW_TO_HIGH,
        0, 0, PLAIN),
    ROW(OPENAI, "gpt-5-chat*", OPENAI, 16384, 0, 0, 0, NONE),
    ROW(OPENAI, "gpt-5.[1-9]*", GPT_5 | F(NO_SAMPLING) | F(SAMPLING_AT_NONE), 128000,
        B(NONE) | LOW_TO_HIGH | B(XHIGH), 0, 0, PLAIN),
    ROW(OPENAI, "gpt-5*", GPT_5 | F(NO_SAMPLING) | F(NO_THINKING_OFF), 128000,
        B(MINIMAL) | LOW_TO_HIGH, 0, 0, PLAIN),
    ROW(OPENAI, "gpt-[6-9]*", GPT_5 | F(NO_SAMPLING), 128000, LOW_TO_MAX, 0, 0, PLAIN),
    ROW(OPENAI, "gpt-[1-9][0-9]*", GPT_5 | F(NO_SAMPLING), 128000, LOW_TO_MAX, 0, 0, PLAIN),
    ROW(OPENAI, "gpt-4o*-search-preview*", OPENAI | F(NO_SAMPLING), 16384, 0, 0, 0, NONE),
    ROW(OPENAI, "gpt-4o*", OPENAI, 16384, 0, 0, 0, NONE),
    ROW(OPENAI, "gpt-4.1*", OPENAI, 32768, 0, 0, 0, NONE),
    ROW(OPENAI, "gpt-4*", F(MAX_COMPLETION), 0, 0, 0, 0, NONE),
    ROW(OPENAI, "gpt-3.5*", F(MAX_COMPLETION), 4096, 0, 0, 0, NONE),
    ROW(OPENAI, "*gpt-oss*", F(REASONS) | F(NO_BUDGET) | F(NO_THINKING_OFF) | F(SCHEMA), 0,
        LOW_TO_HIGH, 0, 0, PLAIN),
    ROW(OPENAI, "*deepseek-v4*", F(REASONS) | F(REASONING_ALWAYS), 0, 0, 0, 0, PLAIN),
    ROW(OPENAI, "*deepseek-reasoner*", F(REASONS) | F(NO_SAMPLING) | F(NO_THINKING_OFF), 0, 0, 0, 0,
        NONE),
    ROW(OPENAI, "*grok-4*", F(SCHEMA) | F(REASONS) | F(NO_THINKING_OFF), 0, LOW_TO_HIGH, 0, 0,
        PLAIN),
    ROW(OPENAI, "*grok-3-mini*", F(SCHEMA) | F(REASONS) | F(NO_THINKING_OFF), 0, B(LOW) | B(HIGH),
        0, 0, PLAIN),
    ROW(OPENAI, "magistral*", F(SCHEMA) | F(REASONS), 0, 0, 0, 0, NONE),
    ROW(OPENAI, "*gemini-*", F(SCHEMA) | F(REASONS) | F(CALL_SIGNATURE), 0, 0, 0, 0, PLAIN),
    ROW(OPENAI, "*claude-*", F(REASONS), 0, 0, 1024, 0, PLAIN),
    ROW(OPENAI, "*", F(SCHEMA), 0, 0, 0, 0, PLAIN),

    ROW(GEMINI, "*gemini-2.5-pro*",
        GEMINI | F(REASONS) | F(NO_PENALTIES) | F(NO_THINKING_OFF) | F(THINKS_UNASKED), 65536, 0,
        128, 32768, NONE),
    ROW(GEMINI, "*gemini-2.5-flash-lite*", GEMINI | F(REASONS) | F(NO_PENALTIES), 65536, 0, 512,
        24576, NONE),
    ROW(GEMINI, "*gemini-2.5*", GEMINI | F(REASONS) | F(NO_PENALTIES) | F(THINKS_UNASKED), 65536, 0,
        1, 24576, NONE),
    ROW(GEMINI, "*gemini-[12].*", F(SCHEMA), 8192, 0, 0, 0, NONE),
    ROW(GEMINI, "*gemini-*-pro*",
        GEMINI | F(REASONS) | F(NO_THINKING_OFF) | F(NO_BUDGET) | F(LEVEL) | F(CALL_SIGNATURE) |
            F(RESULT_PARTS) | F(THINKS_UNASKED),
        65536, B(LOW) | B(HIGH), 0, 0, NONE),
    ROW(GEMINI, "*gemma-*", F(NO_SYSTEM), 8192, 0, 0, 0, NONE),
    ROW(GEMINI, "*",
        GEMINI | F(REASONS) | F(NO_THINKING_OFF) | F(NO_BUDGET) | F(LEVEL) | F(CALL_SIGNATURE) |
            F(RESULT_PARTS) | F(THINKS_UNASKED),
        65536, B(MINIMAL) | LOW_TO_HIGH, 0, 0, NONE),

    ROW(BEDROCK, "*openai.gpt-oss*",
        F(REASONS) | F(NO_BUDGET) | F(NO_THINKING_OFF) | F(NO_FORCED_TOOL), 0, LOW_TO_HIGH, 0, 0,
        PLAIN),
    ROW(BEDROCK, "*openai.gpt-[5-9]*", F(REASONS) | F(NO_BUDGET) | F(NO_SAMPLING), 0, LOW_TO_HIGH,
        0, 0, REASONING),
    ROW(BEDROCK, "*amazon.nova-2*", NOVA | F(REASONS) | F(NO_BUDGET), 0, LOW_TO_HIGH, 0, 0, NOVA),
    ROW(BEDROCK, "*amazon.nova*", NOVA, 10000, 0, 0, 0, NONE),
    ROW(BEDROCK, "*mistral.*", F(NINE_IDS) | F(ANY_TOOL) | F(TOP_K), 0, 0, 0, 0, NONE),
    ROW(BEDROCK, "*", F(NO_FORCED_TOOL), 0, 0, 0, 0, NONE),

    ROW(COHERE, "*reasoning*", F(SCHEMA) | F(REASONS), 32768, 0, 1, 0, NONE),
    ROW(COHERE, "*", F(SCHEMA), 0, 0, 0, 0, NONE),
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* One element of a pattern against one byte; *io_pattern moves past the element. */
static bool match_one(const char **io_pattern, char c)
{
    const char *p = *io_pattern;
    bool found = false;
    if (*p != '[') {
        *io_pattern = p + 1;
        return *p == '?' || lower(*p) == c;
    }
    for (p++; *p != ']' && *p != '\0'; p++) {
        if (p[1] == '-' && p[2] != ']' && p[2] != '\0') {
            found |= c >= lower(p[0]) && c <= lower(p[2]);
            p += 2;
        } else
            found |= lower(*p) == c;
    }
    *io_pattern = *p == ']' ? p + 1 : p;
    return found;
}

/* On a mismatch the last '*' takes one byte more: no more than text times pattern steps. */
bool tr_glob_match(const char *pattern, struct str text)
{
    const char *star = NULL;
    size_t star_at = 0, at = 0;
    while (at < text.len) {
        const char *next = pattern;
        if (*pattern == '*') {
            star = ++pattern;
            star_at = at;
            continue;
        }
        if (*pattern != '\0' && match_one(&next, lower(text.data[at]))) {
            pattern = next;
            at++;
            continue;
        }
        if (star == NULL)
            return false;
        pattern = star;
        at = ++star_at;
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

const struct tr_quirks *tr_quirks_find(enum dialect dialect, struct str model)
{
    if (dialect == DIALECT_BEDROCK && tr_glob_match("*anthropic.claude*", model))
        dialect = DIALECT_ANTHROPIC;
    if (dialect == DIALECT_RESPONSES)
        dialect = DIALECT_OPENAI;
    if (dialect == DIALECT_OPENAI) /* Hosts put the maker before the name: "openai/gpt-5". */
        for (ptrdiff_t at = str_find(model, '/'); at >= 0; at = str_find(model, '/'))
            model = str_slice(model, (size_t)at + 1, model.len);
    const struct tr_quirks *last = &rows[0];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].dialect != dialect)
            continue;
        last = &rows[i];
        if (tr_glob_match(last->pattern, model))
            break;
    }
    return last;
}

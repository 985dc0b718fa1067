/* Published prices of widely used models at their makers, in nano-USD per million tokens, and their
 * token limits.
 * As of 2026-07-02. Source: the public catalogue models.dev (MIT licence, (c) 2025 models.dev),
 * rows of the makers' own hosts; figures are facts, typed into this table. Prices below the first
 * size tier; a file's own `price:` always wins. */
#include "controlplane/config/prices.h"

#include <string.h>

#define U (-1) /* Unknown. */

/* Sorted by host, then model: the lookup is a binary search. */
static const struct price_known known[] = {
    /* host, model, input, output, cached input, cache write, context, largest output */
    {"api.anthropic.com", "claude-haiku-4-5", 1000000000, 5000000000, 100000000, 1250000000, 200000,
     64000},
    {"api.anthropic.com", "claude-opus-4-5", 5000000000, 25000000000, 500000000, 6250000000, 200000,
     64000},
    {"api.anthropic.com", "claude-opus-4-8", 5000000000, 25000000000, 500000000, 6250000000,
     1000000, 128000},
    {"api.anthropic.com", "claude-sonnet-4-5", 3000000000, 15000000000, 300000000, 3750000000,
     200000, 64000},
    {"api.anthropic.com", "claude-sonnet-4-6", 3000000000, 15000000000, 300000000, 3750000000,
     1000000, 64000},
    {"api.anthropic.com", "claude-sonnet-5", 2000000000, 10000000000, 200000000, 2500000000,
     1000000, 128000},
    {"api.deepseek.com", "deepseek-chat", 140000000, 280000000, 2800000, U, 1000000, 384000},
    {"api.deepseek.com", "deepseek-reasoner", 140000000, 280000000, 2800000, U, 1000000, 384000},
    {"api.deepseek.com", "deepseek-v4-flash", 140000000, 280000000, 2800000, U, 1000000, 384000},
    {"api.deepseek.com", "deepseek-v4-pro", 435000000, 870000000, 3625000, U, 1000000, 384000},
    {"api.groq.com", "llama-3.1-8b-instant", 50000000, 80000000, U, U, 131072, 131072},
    {"api.groq.com", "llama-3.3-70b-versatile", 590000000, 790000000, U, U, 131072, 32768},
    {"api.groq.com", "openai/gpt-oss-120b", 150000000, 600000000, 75000000, U, 131072, 65536},
    {"api.groq.com", "openai/gpt-oss-20b", 75000000, 300000000, 37500000, U, 131072, 65536},
    {"api.mistral.ai", "codestral-latest", 300000000, 900000000, U, U, 256000, 4096},
    {"api.mistral.ai", "ministral-8b-latest", 100000000, 100000000, U, U, 128000, 128000},
    {"api.mistral.ai", "mistral-large-latest", 500000000, 1500000000, U, U, 262144, 262144},
    {"api.mistral.ai", "mistral-medium-latest", 400000000, 2000000000, U, U, 262144, 262144},
    {"api.mistral.ai", "mistral-small-latest", 150000000, 600000000, U, U, 256000, 256000},
    {"api.openai.com", "gpt-4.1", 2000000000, 8000000000, 500000000, U, 1047576, 32768},
    {"api.openai.com", "gpt-4.1-mini", 400000000, 1600000000, 100000000, U, 1047576, 32768},
    {"api.openai.com", "gpt-4.1-nano", 100000000, 400000000, 25000000, U, 1047576, 32768},
    {"api.openai.com", "gpt-4o", 2500000000, 10000000000, 1250000000, U, 128000, 16384},
    {"api.openai.com", "gpt-4o-mini", 150000000, 600000000, 75000000, U, 128000, 16384},
    {"api.openai.com", "gpt-5", 1250000000, 10000000000, 125000000, U, 400000, 128000},
    {"api.openai.com", "gpt-5-mini", 250000000, 2000000000, 25000000, U, 400000, 128000},
    {"api.openai.com", "gpt-5-nano", 50000000, 400000000, 5000000, U, 400000, 128000},
    {"api.openai.com", "gpt-5.1", 1250000000, 10000000000, 125000000, U, 400000, 128000},
    {"api.openai.com", "gpt-5.2", 1750000000, 14000000000, 175000000, U, 400000, 128000},
    {"api.openai.com", "gpt-5.4", 2500000000, 15000000000, 250000000, U, 1050000, 128000},
    {"api.openai.com", "gpt-5.4-mini", 750000000, 4500000000, 75000000, U, 400000, 128000},
    {"api.openai.com", "gpt-5.4-nano", 200000000, 1250000000, 20000000, U, 400000, 128000},
    {"api.openai.com", "gpt-5.5", 5000000000, 30000000000, 500000000, U, 1050000, 128000},
    {"api.openai.com", "o3", 2000000000, 8000000000, 500000000, U, 200000, 100000},
    {"api.openai.com", "o4-mini", 1100000000, 4400000000, 275000000, U, 200000, 100000},
    {"api.x.ai", "grok-4.3", 1250000000, 2500000000, 200000000, U, 1000000, 30000},
    {"generativelanguage.googleapis.com", "gemini-2.5-flash", 300000000, 2500000000, 30000000, U,
     1048576, 65536},
    {"generativelanguage.googleapis.com", "gemini-2.5-flash-lite", 100000000, 400000000, 10000000,
     U, 1048576, 65536},
    {"generativelanguage.googleapis.com", "gemini-2.5-pro", 1250000000, 10000000000, 125000000, U,
     1048576, 65536},
    {"generativelanguage.googleapis.com", "gemini-3.5-flash", 1500000000, 9000000000, 150000000, U,
     1048576, 65536},
};

const struct price_known *prices_find(struct str host, struct str model)
{
    size_t low = 0, high = sizeof known / sizeof known[0];
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = str_compare(host, str_from(known[mid].host));
        if (order == 0)
            order = str_compare(model, str_from(known[mid].model));
        if (order == 0)
            return &known[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

size_t prices_count(void)
{
    return sizeof known / sizeof known[0];
}

const struct price_known *prices_at(size_t index)
{
    return &known[index];
}

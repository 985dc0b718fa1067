#include "common/route/picked.h"

const char *picked_by_name(uint32_t by)
{
    static const char *const names[] = {
#define X(name, text) text,
        PICKED_BY_TABLE(X)
#undef X
    };
    return names[by < PICKED_BYS ? by : PICKED_BY_UNKNOWN];
}

const char *picked_passed_name(uint32_t index)
{
    static const char *const names[] = {
#define X(name, text) text,
        PICKED_PASSED_TABLE(X)
#undef X
    };
    return index < PICKED_PASSES ? names[index] : NULL;
}

/* In the order of TranslationNote: a test compares them. */
static const char *const notes[PICKED_NOTES] = {
    "other",
    "dropped_other",
    "added_user_message",
    "clamped_max_tokens",
    "clamped_temperature",
    "clipped_max_tokens",
    "clipped_reasoning_effort",
    "clipped_stop",
    "declared_stub_tool",
    "filled_result",
    "first_call_only",
    "flattened_tools",
    "format_in_words",
    "lowered_reasoning_effort",
    "orphaned_result",
    "raised_max_tokens",
    "reasoning_not_off",
    "reasoning_off_unsigned",
    "renamed_tool",
    "schema_as_text",
    "tool_choice_auto",
    "tool_choice_required",
    "unforced_tool_choice",
    "dropped_cache_control",
    "dropped_call",
    "dropped_citations",
    "dropped_media",
    "dropped_reasoning_effort",
    "dropped_frequency_penalty",
    "dropped_presence_penalty",
    "dropped_logit_bias",
    "dropped_logprobs",
    "dropped_top_logprobs",
    "dropped_n",
    "dropped_seed",
    "dropped_stop",
    "dropped_temperature",
    "dropped_top_p",
    "dropped_top_k",
    "dropped_user",
    "dropped_metadata",
    "dropped_store",
    "dropped_service_tier",
    "dropped_verbosity",
    "dropped_response_format",
    "dropped_parallel_tool_calls",
    "dropped_tool_choice",
    "dropped_prediction",
    "dropped_prompt_cache_key",
    "dropped_safety_identifier",
    "dropped_web_search_options",
    "dropped_modalities",
    "dropped_audio",
    "clamped_thinking_budget",
    "dropped_thinking",
    "custom_tool_as_function",
    "unenforced_grammar",
    "dropped_include",
    "dropped_truncation",
    "dropped_messages.name",
};

#define FIRST_OF_ITS_OWN 2U

uint64_t picked_note_bit(struct str note)
{
    for (uint32_t i = FIRST_OF_ITS_OWN; i < PICKED_NOTES; i++)
        if (str_is(note, notes[i]))
            return UINT64_C(1) << i;
    return str_starts(note, STR("dropped_")) ? 2 : 1;
}

const char *picked_note_name(uint32_t index)
{
    return index < PICKED_NOTES ? notes[index] : NULL;
}

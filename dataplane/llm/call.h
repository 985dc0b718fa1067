/* call.h: what a request asks for and what a reply said, whatever dialect carried it. Slices are
 * borrowed from the request body or the reply: nothing is copied that is not changed. Pure. */
#ifndef STEELYARD_DATAPLANE_LLM_CALL_H
#define STEELYARD_DATAPLANE_LLM_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

#define CALL_TOOLS_MAX       64 /* Names that are kept; more are counted. */
#define CALL_MODEL_BYTES_MAX 256
#define CALL_CHOICES_MAX     8

/* Bytes [at, at + len) of the request body. */
struct call_span {
    uint32_t at;
    uint32_t len; /* 0 and at 0: not there. */
};

/* Members of a body by which a caller steers: read by dataplane/request/wishes, not said to a
 * provider that does not know them. */
enum call_wish {
    CALL_WISH_MODELS,
    CALL_WISH_PROVIDER,
    CALL_WISH_ROUTE,
    CALL_WISH_USAGE,
    CALL_WISH_PREFERENCES,
    CALL_WISHES
};
struct call_wish_spans {
    struct call_span member; /* From its key to the end of its value. */
    struct call_span value;  /* len 0: it is not there, or null. */
};

/* Ways to ask for reasoning within so many tokens, which a provider wants below the most output. */
enum call_think_way {
    CALL_THINK_THINKING,  /* thinking.budget_tokens, as Anthropic has it; in chat bodies, too. */
    CALL_THINK_REASONING, /* reasoning.max_tokens, as OpenRouter has it. */
    CALL_THINKS
};
struct call_think {
    struct call_span value;        /* The whole object. */
    struct call_span tokens_value; /* In it. */
    uint32_t tokens;               /* 0: none was asked for. */
};

struct call {
    struct str model; /* As asked for, unescaped; len 0: only a list of models is. */
    bool stream;
    bool include_usage; /* The caller asked for the usage chunk. */
    bool has_tools;
    bool has_images;
    bool json_mode;         /* response_format json_object or json_schema. */
    bool reasoning;         /* reasoning_effort other than none. */
    bool sealed;            /* Reasoning is in it that we handed out for another dialect. */
    uint32_t choices;       /* n. */
    uint32_t max_tokens;    /* 0: not set. */
    int32_t temperature_q8; /* FEATURES_TEMPERATURE_UNSET: not set. */
    uint32_t messages;
    uint32_t turns; /* User messages. */
    uint32_t images;
    uint32_t tool_count;
    struct str tools[CALL_TOOLS_MAX];
    /* Unescaped; of a long one perhaps only what features_input asks for: its ends. */
    struct str text;       /* Last user message. */
    struct str system;     /* First system or developer message. */
    uint64_t system_bytes; /* All of it. */
    struct str dialogue;   /* The messages as they stand in the body; borrowed from it. */
    uint64_t text_bytes;   /* Of all messages. */
    uint32_t tokens_in;    /* Estimate. */
    bool previous_failed;
    /* Where the body is changed before it goes upstream. */
    struct call_span model_value;          /* With quotes; len 0: it is to be added. */
    struct call_span stream_options_value; /* Whole value; len 0: no such field. */
    struct call_span include_usage_value;
    bool stream_options_empty;
    struct call_span max_tokens_value;
    struct call_span max_completion_value;
    /* What no tokenizer can exceed: a token a byte of text, a table for images. For reservations.
     */
    uint32_t tokens_most;
    struct str user;     /* Of the caller's own users; len 0: none. */
    bool price_varies;   /* Asks for what the price of a token does not say (a faster tier, ...). */
    uint32_t clamp_out;  /* Not 0: the most output tokens that are asked for upstream ... */
    bool clamp_complete; /* ... as max_completion_tokens, if the caller named neither. */
    /* Lowered with the most output, or switched off (call_clamp_of). */
    struct call_think think[CALL_THINKS];
    uint32_t think_least; /* Fewer than these CALL_THINK_REASONING may not ask for; of the model. */
    /* Names what lives with one provider or in one dialect alone (an earlier response, a hosted
     * tool, a file by its id): the path of the first such member; len 0: nothing does. It goes to
     * providers of the caller's dialect only. */
    struct str bound_to;
    /* Reasoning that was handed out under our seal: it was made in another dialect, and goes to no
     * provider of this one. In order, apart from each other; in the arena. */
    const struct call_span *cuts;
    uint32_t cut_count;
    bool input_elsewhere; /* Some of the input is not in the body: its size is not known. */
    bool wished;          /* One of these is there. */
    struct call_wish_spans wishes[CALL_WISHES];
    uint64_t tokens_q8; /* Of all that is in the body, in 1/256: what tokens_in is rounded from. */
    /* The body has one text, the whole content of its one message: here, inside of the quotes.
     * Other bytes that may stand there change nothing but `text` and the estimates. at 0: it is not
     * so. */
    struct call_span only_text;
    uint32_t object_open;  /* Offset just past the body's '{' ... */
    uint32_t object_close; /* ... and of its '}'. */
};

/* What a clamp of the output does to the tokens of reasoning. */
#define CALL_THINK_BUDGET_MIN 1024U /* Anthropic refuses less. */
enum call_clamp { CALL_CLAMP_NOTHING, CALL_CLAMP_LOWERS, CALL_CLAMP_SWITCHES_OFF };
static inline enum call_clamp call_clamp_of(const struct call *c, enum call_think_way way)
{
    const uint32_t least = way == CALL_THINK_THINKING ? CALL_THINK_BUDGET_MIN : c->think_least;
    if (c->clamp_out == 0 || c->think[way].tokens == 0 || c->think[way].tokens < c->clamp_out)
        return CALL_CLAMP_NOTHING;
    return c->clamp_out > 1 && c->clamp_out > least ? CALL_CLAMP_LOWERS : CALL_CLAMP_SWITCHES_OFF;
}

/* What a provider says a call took. Counts are whole, cached and reasoning are parts of them. */
struct call_usage {
    bool known;
    bool suspect;                   /* Negative, absurd or contradictory: not to be billed by. */
    uint32_t tokens_cache_write_1h; /* Those of tokens_cache_write that are kept an hour. */
    uint64_t tokens_in;
    uint64_t tokens_out;
    uint64_t tokens_cached;
    uint64_t tokens_cache_write;
    uint64_t tokens_reasoning;
};

/* INTERFACES: finish values are the OpenAI ones. */
enum call_finish {
    CALL_FINISH_NONE,
    CALL_FINISH_STOP,
    CALL_FINISH_LENGTH,
    CALL_FINISH_TOOL_CALLS,
    CALL_FINISH_CONTENT_FILTER,
    CALL_FINISH_OTHER
};
const char *call_finish_name(enum call_finish f); /* "stop"; "" for NONE. */
enum call_finish call_finish_of(struct str name); /* OTHER for what it does not know. */

#endif

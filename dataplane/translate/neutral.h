/* neutral.h: what is asked and answered, in the words of no vendor. A request that goes to a
 * provider of another dialect than its caller's is read into this and printed from it; the reply
 * comes back as events. The same dialect on both sides never passes through here (llm/).
 *
 * Every text is UTF-8, unescaped, and borrowed: from the caller's body, from the reply at hand or
 * from the arena the reader was given. Anything that is JSON by itself (a schema, the arguments of
 * a call) is the raw text of one whole value, valid as it stands. Nothing here allocates. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_NEUTRAL_H
#define STEELYARD_DATAPLANE_TRANSLATE_NEUTRAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"
#include "common/hosts/hosts.h"
#include "dataplane/llm/call.h"

#define TR_TURNS_MAX       4096U  /* Of a request ... */
#define TR_PARTS_MAX       16384U /* ... over all of its turns. */
#define TR_TOOLS_MAX       512U
#define TR_STOPS_MAX       16U
#define TR_CACHE_MARKS_MAX 4U /* That a provider takes; the earliest go first. */
#define TR_NUMBER_SCALE    6U /* Numbers with a fraction are integers of 10^-6. */
#define TR_UNSET           INT64_MIN

/* A mark that what precedes and includes a part is worth caching; ttl_s 0: none, else 300 or 3600.
 */
struct tr_cache {
    uint32_t ttl_s;
};

enum tr_part_kind {
    TR_PART_TEXT,
    TR_PART_IMAGE,
    TR_PART_FILE,
    TR_PART_AUDIO,
    TR_PART_REASONING,
    TR_PART_CALL,
    TR_PART_RESULT,
    TR_PART_REFUSAL,
};

/* Bytes given by value (base64), by address or by a vendor's id; one of them. */
struct tr_media {
    struct str mime;   /* "image/png"; may be empty with a URL. */
    struct str base64; /* Standard alphabet. */
    struct str url;
    struct str id;
    struct str name;   /* Of a file; may be empty. */
    struct str detail; /* "low", "high", ...; may be empty. */
};
struct tr_reasoning {
    struct str text;
    struct str signature; /* What the vendor signed it with ... */
    struct str opaque;    /* ... or all of it, unreadable (redacted or encrypted). */
    struct str id;        /* Of the item, where the dialect has one. */
    enum dialect
        vendor; /* Who made it, as the prefix we issued says (seal.h); DIALECTS: nobody knows. */
    uint32_t maker;
};
struct tr_call {
    struct str id;
    struct str name;
    struct str arguments; /* As the model wrote it: perhaps no JSON at all. */
    struct str signature; /* Gemini's thoughtSignature, unsealed; else empty. */
    enum dialect vendor;  /* In a request: who signed it, as of reasoning. */
    uint32_t maker;
    bool custom; /* Of a custom tool: the arguments are its input, a text. */
};
struct tr_part;
struct tr_result {
    struct str call_id;
    struct str name;             /* Of the tool, where the caller says it; else empty. */
    const struct tr_part *parts; /* Text, images, files. */
    uint32_t part_count;
    bool is_error;
    bool custom; /* Of a custom tool's call (tr_turns_prepare finds out). */
};

struct tr_part {
    enum tr_part_kind kind;
    struct tr_cache cache;
    union {
        struct str text; /* TEXT, REFUSAL */
        struct tr_media media;
        struct tr_reasoning reasoning;
        struct tr_call call;
        struct tr_result result;
    };
};

enum tr_role { TR_USER, TR_ASSISTANT, TR_TOOL };
struct tr_turn { /* TR_TOOL holds results alone. */
    enum tr_role role;
    struct tr_part *parts;
    uint32_t part_count;
};

struct tr_tool {
    struct str name;
    struct str description;
    struct str schema; /* JSON object; empty: none was given. */
    int8_t strict;     /* -1: not said. */
    struct tr_cache cache;
    /* A custom tool of OpenAI's dialects: it is given a text, not JSON, perhaps one that must match
     * a grammar. A provider without them gets a function instead (custom.h). */
    bool custom;
    struct str grammar; /* Empty: any text. */
    struct str syntax;  /* "lark" or "regex". */
};
enum tr_choice {
    TR_CHOICE_UNSET,
    TR_CHOICE_AUTO,
    TR_CHOICE_NONE,
    TR_CHOICE_REQUIRED,
    TR_CHOICE_NAMED
};
enum tr_format { TR_FORMAT_TEXT, TR_FORMAT_JSON, TR_FORMAT_SCHEMA };
enum tr_effort { /* Rising; a model that lacks one gets the nearest below. */
                 TR_EFFORT_UNSET,
                 TR_EFFORT_NONE,
                 TR_EFFORT_MINIMAL,
                 TR_EFFORT_LOW,
                 TR_EFFORT_MEDIUM,
                 TR_EFFORT_HIGH,
                 TR_EFFORT_XHIGH,
                 TR_EFFORT_MAX,
};
enum tr_tier { TR_TIER_UNSET, TR_TIER_AUTO, TR_TIER_DEFAULT, TR_TIER_FLEX, TR_TIER_PRIORITY };

struct tr_pair {
    struct str key;
    struct str value;
};

struct tr_request {
    struct str model;       /* As asked for. */
    struct tr_part *system; /* Texts, in order, wherever in the dialogue they stood. */
    uint32_t system_count;
    uint32_t system_apart; /* The first so many stood apart from the dialogue (instructions). */
    struct tr_turn *turns;
    uint32_t turn_count;
    struct tr_tool *tools;
    uint32_t tool_count;
    enum tr_choice tool_choice;
    struct str tool_name; /* Of TR_CHOICE_NAMED. */
    int8_t parallel;      /* 0: at most one call; -1: not said. */
    int64_t max_output;   /* Tokens; TR_UNSET. */
    struct str stops[TR_STOPS_MAX];
    uint32_t stop_count;
    int64_t temperature, top_p; /* TR_NUMBER_SCALE; TR_UNSET. So are the penalties. */
    int64_t frequency_penalty, presence_penalty;
    int64_t top_k, seed; /* Whole; TR_UNSET. */
    uint32_t choices;    /* n; at least 1. */
    int8_t logprobs;     /* -1: not said. */
    int64_t top_logprobs;
    enum tr_effort effort;
    int64_t think_budget; /* Tokens of reasoning; TR_UNSET. 0: off. */
    bool think_auto;      /* Asked to reason as the model sees fit. */
    int8_t think_shown;   /* The reasoning's text (or summary) is wanted; -1: not said. */
    bool think_hidden;    /* ... and if it comes all the same, it is left out of the answer. */
    bool details;         /* The caller takes reasoning as OpenRouter gives it. */
    enum tr_format format;
    struct str format_name;
    struct str format_description;
    struct str format_schema; /* JSON object. */
    int8_t format_strict;
    struct str verbosity; /* "low", "medium", "high" or empty. */
    struct str cache_key;
    struct str user;
    struct tr_pair *metadata;
    uint32_t metadata_count;
    enum tr_tier tier;
    bool stream;
    /* What the caller's dialect has and this has not: for the list of what was dropped. Paths made
     * here, such as "logit_bias". */
    const char *const *unknown; /* Static or in the arena. */
    uint32_t unknown_count;
};

/* ---- the reply ---- */

enum tr_event_kind {
    TR_EVENT_START,     /* id, model of the provider. At most once, first. */
    TR_EVENT_TEXT,      /* text: the next piece of the answer. */
    TR_EVENT_REFUSAL,   /* text: the next piece of a refusal in words. */
    TR_EVENT_REASONING, /* text: the next piece of reasoning. */
    TR_EVENT_SEAL,      /* opaque: the signature of the reasoning before it ... */
    TR_EVENT_REDACTED,  /* ... or reasoning that is opaque as a whole. */
    TR_EVENT_CALL,      /* A call begins: call.id (may be empty), call.name, call.signature,
                         * call.custom. */
    TR_EVENT_ARGUMENTS, /* text: the next piece of arguments of the call `call_index`. */
    TR_EVENT_PART_END,  /* What was open (text, reasoning or a call) is whole. May be left out: the
                         * next beginning ends it, except for calls that come side by side. */
    TR_EVENT_FINISH,    /* finish, vendor_finish, stop_sequence. */
    TR_EVENT_USAGE,     /* usage: cumulative, the last one counts. */
    TR_EVENT_ERROR,     /* error: the provider gave up. Last. */
    TR_EVENT_PING,      /* It is alive. */
    TR_EVENT_DONE,      /* The dialect's end mark came. Last. */
};

/* What a provider's failure was (PROVIDER-TRANSLATION section 11). */
enum tr_error_kind {
    TR_ERROR_INVALID_REQUEST,
    TR_ERROR_CONTEXT_LENGTH,
    TR_ERROR_CONTENT_POLICY,
    TR_ERROR_AUTHENTICATION,
    TR_ERROR_PERMISSION,
    TR_ERROR_NOT_FOUND,
    TR_ERROR_RATE_LIMITED,
    TR_ERROR_QUOTA,
    TR_ERROR_OVERLOADED,
    TR_ERROR_TIMEOUT,
    TR_ERROR_UPSTREAM,
};
struct tr_error {
    enum tr_error_kind kind;
    struct str message; /* The vendor's words; may be empty. At most 1 KiB, valid UTF-8. */
    struct str code;    /* The vendor's own; may be empty. */
    int64_t wait_ms;    /* That the body names; -1. */
};

struct tr_event {
    enum tr_event_kind kind;
    uint32_t choice;     /* Which of n answers; 0 where there is one. */
    uint32_t call_index; /* CALL, ARGUMENTS, PART_END of a call: 0, 1, ... in order of their
                            beginning. */
    struct str text;
    struct str opaque;
    struct str id, model; /* START; the model where it is said. */
    struct str system;    /* Beside model: a host's system_fingerprint. */
    struct tr_call call;  /* CALL; arguments empty */
    enum call_finish finish;
    struct str vendor_finish;
    struct str stop_sequence;
    struct call_usage usage;
    struct tr_error error;
};

/* Where a reader puts what it found, in order. Returns 0, or ERR_TOO_LARGE / ERR_NOMEM, which the
 * reader hands on at once. What the event points to need not outlive the call. */
struct tr_sink {
    int (*put)(void *arg, const struct tr_event *event);
    void *arg;
};

/* A whole reply, collected from its events (collect.h); each part is whole. */
struct tr_answer_part {
    enum tr_part_kind kind; /* TEXT, REFUSAL, REASONING, CALL */
    struct str text;        /* TEXT, REFUSAL, REASONING; arguments of a CALL. */
    struct str opaque; /* REASONING: signature, or all of it if text is empty and `redacted`. */
    bool redacted;
    struct tr_call call;
};
struct tr_choice_answer {
    const struct tr_answer_part *parts;
    uint32_t part_count;
    enum call_finish finish;
    struct str vendor_finish;
    struct str stop_sequence;
};
struct tr_answer {
    const struct tr_choice_answer *choices;
    uint32_t choice_count;
    struct call_usage usage;
};

#endif

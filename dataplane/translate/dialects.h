/* dialects.h: the two tables of this room. A caller's dialect reads requests and prints replies; a
 * provider's prints requests and reads replies and errors. Any of the one goes with any of the
 * other; exchange.h joins them. All functions are pure: bytes in, bytes or events out. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_DIALECTS_H
#define STEELYARD_DATAPLANE_TRANSLATE_DIALECTS_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/json/json.h"
#include "dataplane/llm/provider.h"
#include "dataplane/translate/neutral.h"

/* What the printing of a request says beside its bytes: what was dropped or changed (codes for
 * x-steelyard-warnings and the record, such as "dropped_seed": static text, each once; what is past
 * the room is not noted), and how the reply is to be read because of it. */
#define TR_NOTES_MAX 16
struct tr_names;
struct tr_customs;
struct tr_terms {
    const char *notes[TR_NOTES_MAX];
    uint32_t note_count;
    bool
        first_call_only; /* One call was asked for of who cannot be told so: the rest is dropped. */
    bool
        answer_is_a_tool; /* A schema went as the forced tool "json": its arguments are the text. */
    struct tr_names *names; /* Of tools that had to be renamed (names.h); the exchange undoes it. */
    struct tr_customs *customs; /* Which tools are custom ones (custom.h); NULL: none. */
    char words[1024];           /* Private: of notes that are made of a caller's words. */
    uint32_t words_used;
}; /* Freed by tr_terms_deinit (notes.h). */
void tr_note(struct tr_terms *terms, const char *code);

/* How a model wants to be asked: a row of the quirks table (quirks.h), never a branch in code. */
struct tr_quirks;

/* Whom a request is printed for. */
struct tr_target {
    struct str model;        /* The name there. */
    uint32_t max_output;     /* Of the model, tokens; 0: unknown. */
    uint32_t clamp_output;   /* A budget's: at most so many; 0: none. */
    uint32_t capabilities;   /* ModelCapability bits; 0: unknown. */
    const struct host *host; /* Whose variant of the dialect. */
    struct str provider;     /* Its name here. */
    uint32_t maker;          /* As seals say it (seal.h); the exchange sets it. 0: nobody. */
    struct str version;      /* anthropic_version or api-version; empty: the default. */
    const struct tr_quirks *quirks;
    bool reject_unsupported; /* compat.unsupported_params: reject. */
    bool no_repair;          /* compat.repair: false. */
    const uint8_t *id_key;   /* 16 bytes: keyed hash for ids that are mapped (ids.h). */
};

/* What a printer knows of the request. */
struct tr_print {
    struct str id;    /* Of the answer: made from the request's id; letters, digits, '-', '_'. */
    struct str model; /* That is answered. */
    int64_t created_s;
    bool want_usage;     /* openai: stream_options.include_usage. */
    uint32_t tokens_in;  /* Estimate, where a dialect says it first. */
    enum dialect vendor; /* Whose reasoning is sealed into the answer (seal.h). */
    uint32_t maker;
    bool details;    /* openai: reasoning as OpenRouter gives it (tr_request.details). */
    struct str echo; /* Made by the caller dialect's print_echo when the request was read; a
                      * stream prints it long after the request is gone. Else empty. */
    struct str (*usage_member)(void *arg,
                               const struct call_usage *usage); /* As provider_rewrite. */
    void *arg;
};

struct tr_caller_dialect {
    enum dialect dialect;
    /* A body that llm's read_call has accepted. out borrows from body and arena. ERR_INVALID with
     * *refusal, ERR_NOMEM, ERR_TOO_LARGE. */
    int (*read_request)(const struct json *j, struct arena *arena, struct tr_request *out,
                        struct call_refusal *refusal);
    /* What the answer repeats of the request, as JSON members without braces; NULL: nothing. out
     * takes 24 KiB; ERR_TOO_LARGE: nothing is repeated, and tr_print.echo is empty. */
    int (*print_echo)(const struct tr_request *request, struct buf *out);
    /* ---- the stream: state_bytes of zeroed memory a stream, where it stands in it ---- */
    size_t state_bytes;
    /* Appends what the caller gets for this event: whole frames, or nothing. For TR_EVENT_DONE: the
     * frames that end a good stream (held back until the record is written). TR_EVENT_ERROR is not
     * given to it: the request's own fault is told (write_error). ERR_NOMEM, ERR_TOO_LARGE. */
    int (*print_event)(void *state, const struct tr_print *print, const struct tr_event *event,
                       struct buf *out);
    void (*end)(void *state); /* Frees what the state owns; NULL: nothing. */
    /* The same answer as one body. */
    int (*print_answer)(const struct tr_print *print, const struct tr_answer *answer,
                        struct buf *out);
};

/* One frame of a provider's stream: an SSE event, or a frame of an event stream of AWS. */
struct tr_frame {
    struct str name; /* event: or :event-type / :exception-type; may be empty. */
    struct str data; /* JSON, or the dialect's end mark. */
    bool exception;  /* :message-type exception. */
};

enum tr_framing { TR_FRAMING_SSE, TR_FRAMING_AWS };

/* How bytes become frames where that is not SSE: a reader of state_bytes of zeroed memory. */
struct tr_frames {
    size_t state_bytes;
    /* As sse_reader_next: consumes the front of *io_input; *out is valid until the next call.
     * False: the input is used up, or status says what is wrong (then nothing more is ever
     * yielded). */
    bool (*next)(void *state, struct str *io_input, struct tr_frame *out);
    int (*status)(const void *state);  /* 0, ERR_TOO_LARGE, ERR_CORRUPT, ERR_NOMEM. */
    bool (*is_cut)(const void *state); /* Amid a frame: an end here is no clean one. */
    void (*deinit)(void *state);
};

struct tr_provider_dialect {
    enum dialect dialect;
    enum tr_framing framing;
    const struct tr_frames *frames; /* Of TR_FRAMING_AWS; NULL with SSE. */
    struct str content_type;        /* That a stream must have: "text/event-stream". */
    size_t event_bytes_max;         /* Of one SSE event; 0: SSE_EVENT_BYTES_MAX. */
    /* The whole body. ERR_INVALID with *refusal; ERR_NOMEM, ERR_TOO_LARGE. Names of tools are
     * mapped here (names.h); terms.first_call_only and answer_is_a_tool are carried out by the
     * exchange. */
    int (*print_request)(const struct tr_request *request, const struct tr_target *target,
                         struct arena *arena, struct tr_terms *terms, struct call_refusal *refusal,
                         struct buf *out);
    /* After the provider's prefix: "/v1/messages", "/models/M:streamGenerateContent?alt=sse". */
    int (*print_path)(const struct tr_target *target, bool stream, struct buf *out);
    /* ---- replies; state_bytes of zeroed memory an attempt ----
     * What readers need not do, as the exchange does it for all: names of tools as the caller knows
     * them, ids for calls that have none, STOP with calls as TOOL_CALLS, one call alone, a tool's
     * arguments as the text, finish OTHER printed as STOP, sums of usage (B38). */
    size_t state_bytes;
    /* One frame of a stream. ERR_PROTOCOL: not what the dialect allows; what the sink says. An
     * error object is TR_EVENT_ERROR and 0. json is scratch. */
    int (*read_frame)(void *state, struct json *json, const struct tr_frame *frame,
                      const struct tr_sink *sink);
    /* The stream ended cleanly: says DONE where that is how this dialect ends (gemini), else
     * nothing. */
    int (*read_end)(void *state, const struct tr_sink *sink);
    /* A whole reply, with START, FINISH and USAGE; ends with DONE. */
    int (*read_reply)(struct json *json, struct str body, const struct tr_sink *sink);
    void (*end)(void *state); /* Frees what the state owns; NULL: nothing. */
    /* An error reply: kind from status and body; never fails. out borrows from body and arena.
     * name: the x-amzn-errortype of the head, else empty. */
    void (*read_error)(struct json *json, unsigned status, struct str name, struct str body,
                       struct arena *arena, struct tr_error *out);
};

const struct tr_caller_dialect *
tr_caller_find(enum dialect dialect); /* Not NULL for the first DIALECT_CALLERS. */
const struct tr_provider_dialect *tr_provider_find(enum dialect dialect);

extern const struct tr_caller_dialect tr_caller_openai, tr_caller_responses, tr_caller_anthropic;
extern const struct tr_provider_dialect tr_provider_openai, tr_provider_responses,
    tr_provider_anthropic, tr_provider_gemini, tr_provider_bedrock, tr_provider_cohere;

#endif

/* gemini_internal.h: what the files of the generateContent dialect share: the developer API of
 * Google and Vertex AI. Source: the types of Google's Gen AI SDKs, November 2026. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_GEMINI_INTERNAL_H
#define STEELYARD_DATAPLANE_TRANSLATE_GEMINI_INTERNAL_H

#include "common/json/json_writer.h"
#include "dataplane/translate/asking.h"
#include "dataplane/translate/dialects.h"
#include "dataplane/translate/notes.h"
#include "dataplane/translate/quirks.h"
#include "dataplane/translate/replying.h"
#include "dataplane/translate/turns.h"

/* ---- printing a request ---- */

struct gemini_asking {
    const struct tr_request *request;
    const struct tr_target *target;
    struct arena *arena;
    struct tr_terms *terms;
    struct call_refusal *refusal;
    struct json_writer *w;
    struct tr_turns turns;
    struct json scratch;
    bool vertex; /* Else the developer API. */
    /* How a format is asked for. */
    enum gemini_format {
        GEMINI_FORMAT_NONE,
        GEMINI_FORMAT_JSON,    /* Any: responseMimeType alone. */
        GEMINI_FORMAT_SCHEMA,  /* ... with responseJsonSchema ... */
        GEMINI_FORMAT_OPENAPI, /* ... or with responseSchema. */
        GEMINI_FORMAT_WORDS,
    } format;
    struct str openapi; /* Of GEMINI_FORMAT_OPENAPI. */
};
static inline bool gemini_has(const struct gemini_asking *a, enum tr_quirk quirk)
{
    return tr_quirks_has(a->target->quirks, quirk);
}

int gemini_print_request(const struct tr_request *request, const struct tr_target *target,
                         struct arena *arena, struct tr_terms *terms, struct call_refusal *refusal,
                         struct buf *out) MUST_CHECK;
int gemini_print_path(const struct tr_target *target, bool stream, struct buf *out) MUST_CHECK;
/* Decides how the format is asked for; ERR_INVALID: the schema is none. */
int gemini_plan_format(struct gemini_asking *a) MUST_CHECK;
/* Members of the body. */
int gemini_put_dialogue(struct gemini_asking *a) MUST_CHECK; /* systemInstruction, contents */
int gemini_put_tools(struct gemini_asking *a) MUST_CHECK;    /* tools, toolConfig */
void gemini_put_thinking(struct gemini_asking *a); /* thinkingConfig, in generationConfig. */
int gemini_plan_thinking(struct gemini_asking *a) MUST_CHECK;

/* ---- reading a reply ---- */

#define GEMINI_PATH_BYTES 512U
#define GEMINI_STEPS_MAX  32U

/* Arguments that come as values at JSON paths (Vertex: partialArgs), on their way to a text. The
 * last path is kept, so that it is known which objects and arrays are open. */
struct gemini_args {
    bool open;      /* A call is under way. */
    bool begun;     /* Its arguments have a first byte. */
    bool in_string; /* The value under way goes on. */
    uint32_t path_len;
    char path[GEMINI_PATH_BYTES]; /* "$.a.b[0]" */
};
/* Appends what one value, or the end, adds to the text. ERR_PROTOCOL: not a path that can follow;
 * ERR_TOO_LARGE: too long or too deep. */
int gemini_args_put(struct gemini_args *args, const struct json *j, uint32_t partial,
                    struct buf *out) MUST_CHECK;
int gemini_args_end(struct gemini_args *args, struct buf *out) MUST_CHECK;

struct gemini_frames {
    struct tr_replying r;
    struct buf text; /* Of arguments that come in pieces. */
    struct call_usage usage;
    bool started, ended;
    uint32_t seen; /* A bit a choice. */
    uint32_t finished;
    uint32_t calls[CALL_CHOICES_MAX]; /* So far. */
    struct gemini_args args[CALL_CHOICES_MAX];
};
int gemini_read_frame(void *state, struct json *json, const struct tr_frame *frame,
                      const struct tr_sink *sink) MUST_CHECK;
int gemini_read_end(void *state, const struct tr_sink *sink) MUST_CHECK;
int gemini_read_reply(struct json *json, struct str body, const struct tr_sink *sink) MUST_CHECK;
void gemini_frames_end(void *state);

#define GEMINI_ERROR_ROOM 1152U /* 1 KiB of message and a code. */
/* The object behind "error", in an array or not; JSON_NONE: there is none. */
uint32_t gemini_error_node(const struct json *j);
/* status 0: it came in a stream. The texts lie in room. */
void gemini_error_of(const struct json *j, unsigned status, char room[GEMINI_ERROR_ROOM],
                     struct tr_error *out);
void gemini_read_error(struct json *json, unsigned status, struct str name, struct str body,
                       struct arena *arena, struct tr_error *out);

#endif

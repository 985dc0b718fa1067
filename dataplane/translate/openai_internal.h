/* openai_internal.h: what the files of the chat completions dialect share. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_OPENAI_INTERNAL_H
#define STEELYARD_DATAPLANE_TRANSLATE_OPENAI_INTERNAL_H

#include "dataplane/translate/asking.h"
#include "dataplane/translate/pen.h"
#include "dataplane/translate/reading.h"
#include "dataplane/translate/replying.h"

/* ---- caller: requests ---- */
int tr_openai_read_messages(struct tr_reading *r, uint32_t node) MUST_CHECK;
int tr_openai_read_tools(struct tr_reading *r, uint32_t node) MUST_CHECK;
int tr_openai_read_functions(struct tr_reading *r, uint32_t node) MUST_CHECK;
int tr_openai_read_choice(struct tr_reading *r, uint32_t node) MUST_CHECK;
int tr_openai_read_function_choice(struct tr_reading *r, uint32_t node) MUST_CHECK;
/* Of a choice that allows some of the tools: the others go. After all tools are read. */
int tr_openai_keep_allowed(struct tr_reading *r, uint32_t choice) MUST_CHECK;
/* What another dialect has no way to do: unsupported_parameter at the node. */
int tr_openai_unsupported(struct tr_reading *r, uint32_t node, const char *message) MUST_CHECK;
/* A text, or parts, behind those at parts; nothing if it is not given. Room is the caller's: */
uint32_t tr_openai_content_count(const struct tr_reading *r, uint32_t content); /* At most. */
int tr_openai_read_content(struct tr_reading *r, uint32_t content, struct tr_part *parts,
                           uint32_t *io_count) MUST_CHECK;
/* The mark of OpenAI (prompt_cache_breakpoint) counts as Anthropic's shorter one. */
int tr_openai_read_mark(struct tr_reading *r, uint32_t node, struct tr_cache *out) MUST_CHECK;
/* OpenRouter's reasoning_details of a message: how many parts of a turn they are at most, those
 * parts, and the signatures among them that are of calls, once these are read. */
uint32_t tr_openai_details_count(const struct tr_reading *r, uint32_t list);
int tr_openai_read_details(struct tr_reading *r, uint32_t list, struct tr_turn *turn) MUST_CHECK;
int tr_openai_read_details_of_calls(struct tr_reading *r, uint32_t list,
                                    struct tr_turn *turn) MUST_CHECK;
/* Fields that the responses dialect has alike; each is given (tr_is_given). */
int tr_openai_read_effort(struct tr_reading *r, uint32_t node) MUST_CHECK;
int tr_openai_read_schema(struct tr_reading *r, uint32_t node) MUST_CHECK; /* {name,schema,...} */
int tr_openai_read_verbosity(struct tr_reading *r, uint32_t node) MUST_CHECK;
int tr_openai_read_tier(struct tr_reading *r, uint32_t node) MUST_CHECK;
int tr_openai_read_user(struct tr_reading *r, uint32_t node) MUST_CHECK;
int tr_openai_read_safety_identifier(struct tr_reading *r, uint32_t node) MUST_CHECK;
int tr_openai_read_cache_key(struct tr_reading *r, uint32_t node) MUST_CHECK;
int tr_openai_read_store(struct tr_reading *r, uint32_t node) MUST_CHECK;
int tr_openai_read_top_logprobs(struct tr_reading *r, uint32_t node) MUST_CHECK;
int tr_openai_read_max_output(struct tr_reading *r, uint32_t node) MUST_CHECK;
/* The members of a body through the table, and then which tools the choice leaves. */
int tr_openai_read_body(const struct json *j, struct arena *arena, const struct tr_field *fields,
                        size_t count, struct tr_request *out,
                        struct call_refusal *refusal) MUST_CHECK;
int tr_openai_read_request(const struct json *j, struct arena *arena, struct tr_request *out,
                           struct call_refusal *refusal) MUST_CHECK;

/* ---- caller: replies ---- */
/* A vendor's opaque value under its seal, quoted. */
void tr_openai_say_sealed(struct pen *p, const struct tr_print *print, struct str value);
/* One of reasoning_details: a text, with its signature or (opaque empty) without; what is opaque as
 * a whole, or signs the call of that id. index: which reasoning of the answer it belongs to. */
void tr_openai_say_detail(struct pen *p, const struct tr_print *print, uint32_t index,
                          struct str text, struct str opaque);
void tr_openai_say_detail_opaque(struct pen *p, const struct tr_print *print, uint32_t index,
                                 struct str opaque, struct str call_id);

/* ---- provider: requests ---- */
int tr_openai_print_request(const struct tr_request *request, const struct tr_target *target,
                            struct arena *arena, struct tr_terms *terms,
                            struct call_refusal *refusal, struct buf *out) MUST_CHECK;
int tr_openai_print_path(const struct tr_target *target, bool stream, struct buf *out) MUST_CHECK;

/* What is alike in the responses dialect: a text that is hashed if it is too long for its field,
 * the pairs of metadata, "flex", a name in a path. */
void tr_openai_print_identity(struct tr_asking *a, const char *key, struct str text);
int tr_openai_print_metadata(struct tr_asking *a) MUST_CHECK;
const char *tr_openai_tier_name(enum tr_tier tier);
int tr_openai_put_encoded(struct buf *out, struct str text) MUST_CHECK;
/* {"type":"function",...}; strict: whether it is so is said, if the caller did. */
void tr_openai_print_tool(struct tr_asking *a, const struct tr_tool *tool, bool strict);
/* A choice that is one word, required as the host calls it; true: a tool is named instead. */
bool tr_openai_print_choice(struct tr_asking *a, struct str required) MUST_CHECK;
/* An object of what members puts into it, once names of tools are known and
 * what has no place is dropped. On an error out is as it was. */
int tr_openai_print_body(struct tr_asking *a, int (*members)(struct tr_asking *a),
                         struct buf *out) MUST_CHECK;
/* The array of messages. extra: a text for the model behind all system texts; may be empty. */
int tr_openai_print_messages(struct tr_asking *a, struct str extra) MUST_CHECK;

/* What the host signed, as reasoning_details of a message; false: there is none. */
bool tr_openai_print_details(struct tr_asking *a, const struct tr_turn *turn) MUST_CHECK;
bool tr_openai_is_detail(const struct tr_part *part);

/* ---- provider: replies ---- */
#define TR_OPENAI_CALLS_MAX 128U /* Of one reply. */

/* The reasoning that is open in an answer. */
enum tr_openai_thought {
    TR_OPENAI_THOUGHT_NONE,
    TR_OPENAI_THOUGHT_TEXT,
    TR_OPENAI_THOUGHT_SUMMARY
};

/* Which call a delta belongs to: hosts say so by index, by id, or not at all. */
struct tr_openai_calls {
    struct tr_openai_call {
        uint64_t id;    /* Hash; 0: none was given. */
        int32_t said;   /* The host's index; negative: none was given. */
        uint32_t index; /* Ours: calls of a choice, as they begin. */
        uint8_t choice;
    } * known; /* TR_OPENAI_CALLS_MAX, made with the first. */
    uint32_t count;
    uint32_t begun[CALL_CHOICES_MAX];
    bool whole; /* Of a whole message each call is its own. */
    enum tr_openai_thought thought[CALL_CHOICES_MAX];
    struct buf held; /* Opaque reasoning that came behind calls: what is said before the finish. */
};
void tr_openai_calls_end(struct tr_openai_calls *calls); /* Frees. */
/* What a delta or message of a choice says, in order. ERR_TOO_LARGE: more calls than that. */
int tr_openai_put_message(struct tr_replying *r, struct tr_openai_calls *calls, uint32_t choice,
                          uint32_t message) MUST_CHECK;

/* Its reasoning, with what the host signed of it (openai_signed.c); what of that had to wait. */
int tr_openai_put_reasoning(struct tr_replying *r, struct tr_openai_calls *calls, uint32_t choice,
                            uint32_t message) MUST_CHECK;
int tr_openai_put_held(struct tr_replying *r, struct tr_openai_calls *calls,
                       uint32_t choice) MUST_CHECK;

#define TR_OPENAI_ERROR_ROOM 1152U /* 1 KiB of message and a code. */
/* From a parsed error; status 0: it came in a stream. The texts lie in room. */
void tr_openai_error_of(const struct json *j, unsigned status, char room[TR_OPENAI_ERROR_ROOM],
                        struct tr_error *out);
void tr_openai_read_error(struct json *json, unsigned status, struct str name, struct str body,
                          struct arena *arena, struct tr_error *out);

#endif

/* anthropic_internal.h: what the files of the Messages dialect share. Source: the Messages API as
 * the SDKs of October 2026 have it (versions 2023-06-01 and 2026-10-21). */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_ANTHROPIC_INTERNAL_H
#define STEELYARD_DATAPLANE_TRANSLATE_ANTHROPIC_INTERNAL_H

#include "common/json/json_writer.h"
#include "dataplane/translate/asking.h"
#include "dataplane/translate/dialects.h"
#include "dataplane/translate/notes.h"
#include "dataplane/translate/quirks.h"
#include "dataplane/translate/reading.h"
#include "dataplane/translate/replying.h"
#include "dataplane/translate/turns.h"

/* ---- caller: reading a request ---- */

int anthropic_read_request(const struct json *j, struct arena *arena, struct tr_request *out,
                           struct call_refusal *refusal) MUST_CHECK;
/* "system" and the turns of "messages"; texts of role system join the former. */
int anthropic_read_dialogue(struct tr_reading *r) MUST_CHECK;
/* How many parts a content makes: a string, or blocks. */
uint32_t anthropic_count_parts(const struct tr_reading *r, uint32_t content);
/* The blocks of a content into parts made for them, from *io_at on: those that are results alone
 * (results), or all others. */
int anthropic_read_blocks(struct tr_reading *r, uint32_t content, bool results, bool assistant,
                          struct tr_part *parts, uint32_t *io_at) MUST_CHECK;
int anthropic_read_tools(struct tr_reading *r, uint32_t node) MUST_CHECK;
int anthropic_read_choice(struct tr_reading *r, uint32_t node) MUST_CHECK;

/* ---- caller: printing a reply ---- */

/* How far the arguments of a call have come, as JSON. */
struct anthropic_scan {
    uint32_t depth;
    bool begun, in_string, escaped;
};
/* Where a stream stands. One block is open at a time; calls that come side by side wait. */
struct anthropic_printing {
    bool started;
    bool open;
    enum tr_part_kind kind; /* Of the open block. */
    uint32_t index;         /* Of the open block, or of the next one. */
    uint32_t call_index;    /* Of the open call. */
    bool any_arguments;     /* Of the open call. */
    struct anthropic_scan scan;
    struct buf waiting; /* Records of calls that are not open yet (anthropic_print_calls.c). */
    enum call_finish finish;
    struct call_usage usage;
    uint32_t stop_len;
    char stop[256]; /* The stop sequence that was hit. */
};
int anthropic_print_event(void *state, const struct tr_print *print, const struct tr_event *event,
                          struct buf *out) MUST_CHECK;
void anthropic_print_end(void *state);
int anthropic_print_answer(const struct tr_print *print, const struct tr_answer *answer,
                           struct buf *out) MUST_CHECK;
/* Calls of a stream: CALL, ARGUMENTS and PART_END events; all that waits when `flush`. */
int anthropic_print_call(struct anthropic_printing *p, const struct tr_event *event,
                         struct buf *out) MUST_CHECK;
int anthropic_print_calls_end(struct anthropic_printing *p, struct buf *out) MUST_CHECK;
/* Frames of one block. */
void anthropic_begin_frame(struct json_writer *w, struct buf *out, const char *name);
int anthropic_end_frame(struct json_writer *w, struct buf *out) MUST_CHECK;
int anthropic_open_call(struct anthropic_printing *p, struct str id, struct str name,
                        struct buf *out) MUST_CHECK;
int anthropic_print_delta(const struct anthropic_printing *p, const char *type, const char *member,
                          struct str text, struct buf *out) MUST_CHECK;
int anthropic_close_block(struct anthropic_printing *p, struct buf *out) MUST_CHECK;
struct str anthropic_stop_reason(enum call_finish finish, struct str stop_sequence);
/* "usage":{...}; final: with the member that the caller asked for. */
void anthropic_put_usage(struct json_writer *w, const struct tr_print *print,
                         const struct call_usage *usage, bool final);

/* ---- provider: printing a request ---- */

struct anthropic_asking {
    const struct tr_request *request;
    const struct tr_target *target;
    struct arena *arena;
    struct tr_terms *terms;
    struct call_refusal *refusal;
    struct json_writer *w;
    struct tr_turns turns;
    struct json scratch;
    int64_t max_output;
    bool max_is_ours; /* The caller named none. */
    /* How it is to reason. */
    enum anthropic_thinking {
        ANTHROPIC_THINKING_UNSAID,
        ANTHROPIC_THINKING_OFF,
        ANTHROPIC_THINKING_BETWEEN,
        ANTHROPIC_THINKING_ADAPTIVE,
        ANTHROPIC_THINKING_BUDGET,
    } thinking;
    enum tr_effort effort; /* For output_config; UNSET: none. */
    int64_t budget;
    /* How a format is asked for. */
    enum anthropic_format {
        ANTHROPIC_FORMAT_NONE,
        ANTHROPIC_FORMAT_NATIVE,
        ANTHROPIC_FORMAT_TOOL,
        ANTHROPIC_FORMAT_WORDS,
    } format;
    uint32_t marks_to_skip, marks_left; /* Caching. */
};

int anthropic_print_request(const struct tr_request *request, const struct tr_target *target,
                            struct arena *arena, struct tr_terms *terms,
                            struct call_refusal *refusal, struct buf *out) MUST_CHECK;
int anthropic_print_path(const struct tr_target *target, bool stream, struct buf *out) MUST_CHECK;
/* Reasons by itself, unless told not to, or told to. */
bool anthropic_thinks(const struct anthropic_asking *a);
/* Decides max_output, thinking, effort and format. */
int anthropic_plan(struct anthropic_asking *a) MUST_CHECK;
/* The turns were prepared: a turn with calls whose reasoning is lost is taken without any. */
void anthropic_plan_unsigned(struct anthropic_asking *a);
void anthropic_put_cache(struct anthropic_asking *a, const struct tr_cache *cache);
int anthropic_put_messages(struct anthropic_asking *a) MUST_CHECK;
int anthropic_put_tools(struct anthropic_asking *a) MUST_CHECK;
int anthropic_put_choice(struct anthropic_asking *a) MUST_CHECK;

/* ---- provider: reading a reply ---- */

/* What a block is; it tells what its deltas are. */
enum anthropic_block {
    ANTHROPIC_BLOCK_NONE,
    ANTHROPIC_BLOCK_TEXT,
    ANTHROPIC_BLOCK_THINKING,
    ANTHROPIC_BLOCK_CALL,
    ANTHROPIC_BLOCK_OTHER, /* What the provider did by itself: there are no words for it. */
};
struct anthropic_frames {
    struct tr_replying r;
    struct call_usage usage;
    enum anthropic_block block; /* The open one. */
    uint32_t calls;             /* So far. */
};
int anthropic_read_frame(void *state, struct json *json, const struct tr_frame *frame,
                         const struct tr_sink *sink) MUST_CHECK;
int anthropic_read_whole(struct json *json, struct str body, const struct tr_sink *sink) MUST_CHECK;
int anthropic_read_end(void *state, const struct tr_sink *sink) MUST_CHECK;
void anthropic_frames_end(void *state);
void anthropic_read_error(struct json *json, unsigned status, struct str name, struct str body,
                          struct arena *arena, struct tr_error *out);
/* The same of an error object that lies in a parse; texts are slices of it where they can be. */
void anthropic_error_of(unsigned status, struct str type, struct str message, struct str code,
                        struct tr_error *out);

#endif

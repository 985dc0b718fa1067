/* cohere_internal.h: what the files of Cohere's v2 chat share. Source: the types of Cohere's SDKs,
 * November 2026. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_COHERE_INTERNAL_H
#define STEELYARD_DATAPLANE_TRANSLATE_COHERE_INTERNAL_H

#include "common/json/json_writer.h"
#include "dataplane/translate/notes.h"
#include "dataplane/translate/openai_internal.h"
#include "dataplane/translate/quirks.h"
#include "dataplane/translate/turns.h"

/* ---- printing a request ---- */

/* A format that cannot be asked for (beside tools and documents) is asked for in words. */
bool cohere_format_in_words(const struct tr_asking *a, const struct tr_turns *turns);
int cohere_prepare_turns(struct tr_asking *a, struct tr_turns *out) MUST_CHECK;
/* Files of the dialogue are documents of the request, unless it has tools: then they are texts. */
bool cohere_has_documents(const struct tr_asking *a, const struct tr_turns *turns);
int cohere_put_messages(struct tr_asking *a, const struct tr_turns *turns) MUST_CHECK;
int cohere_put_documents(struct tr_asking *a, const struct tr_turns *turns) MUST_CHECK;
int cohere_print_request(const struct tr_request *request, const struct tr_target *target,
                         struct arena *arena, struct tr_terms *terms, struct call_refusal *refusal,
                         struct buf *out) MUST_CHECK;
int cohere_print_path(const struct tr_target *target, bool stream, struct buf *out) MUST_CHECK;

/* ---- reading a reply ---- */

struct cohere_frames {
    struct tr_replying r;
    bool ended;
    bool call_open;
    uint32_t calls; /* So far. */
};
int cohere_read_frame(void *state, struct json *json, const struct tr_frame *frame,
                      const struct tr_sink *sink) MUST_CHECK;
int cohere_read_end(void *state, const struct tr_sink *sink) MUST_CHECK;
int cohere_read_reply(struct json *json, struct str body, const struct tr_sink *sink) MUST_CHECK;
void cohere_frames_end(void *state);
/* Texts are as they are given, the message cut. */
void cohere_error_of(unsigned status, struct str message, struct tr_error *out);
void cohere_read_error(struct json *json, unsigned status, struct str name, struct str body,
                       struct arena *arena, struct tr_error *out);

#endif

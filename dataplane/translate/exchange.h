/* exchange.h: one attempt at a provider of another dialect than the caller's: the request is read
 * and printed anew, the reply is read into events and printed as the caller's dialect has it. It
 * stands beside provider_adapter and gives the same answers (kinds of events, usage, finish, text
 * seen), so that relaying, accounting and recording need not know which of the two is at work.
 *
 *   create -> write -> (read_next ... read_end | read_reply | read_error) -> destroy
 *
 * What it owns is bounded: 64 KiB of maps and state beside the frame under way. One thread. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_EXCHANGE_H
#define STEELYARD_DATAPLANE_TRANSLATE_EXCHANGE_H

#include "dataplane/translate/dialects.h"

struct tr_exchange;

struct tr_exchange_config { /* Texts are copied. */
    enum dialect caller, provider;
    struct tr_target target;
    struct str answer_id; /* The request's id. */
    struct str answer_model;
    int64_t created_s;
    uint32_t tokens_in;
    bool stream;
    bool want_usage;
    struct str (*usage_member)(void *arg, const struct call_usage *usage);
    void *arg;
};

/* NULL: out of memory, or there is no such dialect (tr_caller_find, tr_provider_find). */
struct tr_exchange *tr_exchange_create(const struct tr_exchange_config *config);
void tr_exchange_destroy(struct tr_exchange *x); /* NULL is allowed. */

/* json holds the parse of the caller's body. The provider's body lies in the arena, as one piece;
 * so does the path behind the provider's prefix. ERR_INVALID with *refusal; ERR_NOMEM. */
int tr_exchange_write(struct tr_exchange *x, const struct json *json, struct arena *arena,
                      struct str *out_body, struct str *out_path,
                      struct call_refusal *refusal) MUST_CHECK;
const struct tr_terms *tr_exchange_terms(const struct tr_exchange *x);

/* One frame off the front of a piece of the reply, as provider_read_next: notes finish, usage and
 * text in reply, adds what the caller gets to out (gathered). The frames that end the stream are
 * put into reply->end instead. False: the piece is used up, or nothing can be read any more;
 * whatever is wrong was PROVIDER_BAD once. A frame may hold content and the end at once: then it is
 * PROVIDER_CONTENT, and reply->done is set. */
bool tr_exchange_read_next(struct tr_exchange *x, struct json *json, struct provider_reply *reply,
                           struct str *io_input, struct provider_out *out,
                           enum provider_event *out_kind);
/* The stream ended cleanly at the transport: reply->done afterwards if it is whole, which it also
 * is if the provider said why it stopped and left its end mark out. */
void tr_exchange_read_end(struct tr_exchange *x, struct json *json, struct provider_reply *reply,
                          struct provider_out *out);
/* The error of a TR_EVENT_ERROR that was PROVIDER_ERROR; borrowed until destroy. */
const struct tr_error *tr_exchange_error(const struct tr_exchange *x);
/* A whole reply as the caller gets it. ERR_PROTOCOL: no such reply, or it was an error
 * (tr_exchange_error). ERR_NOMEM, ERR_TOO_LARGE. */
int tr_exchange_read_reply(struct tr_exchange *x, struct json *json, struct provider_reply *reply,
                           struct str body, struct arena *arena, struct str *out_body) MUST_CHECK;
/* What a reply with an error status said. */
void tr_exchange_read_error(struct tr_exchange *x, struct json *json, unsigned status,
                            struct str name, struct str body, struct arena *arena,
                            struct tr_error *out);

#endif

/* replying.h: what the readers of providers' replies share: the strings of one frame or body,
 * unescaped, without an arena. A string without escapes is a slice of the frame; the others are
 * written one behind the other into a buffer that is made as large as the frame, once, so that
 * none of them moves. They live until the next tr_replying_begin. For counts of tokens there is
 * reply_count (dataplane/llm/reply.h). Pure. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_REPLYING_H
#define STEELYARD_DATAPLANE_TRANSLATE_REPLYING_H

#include "dataplane/translate/dialects.h"

#define TR_REPLYING_KEEP 16384U /* A larger buffer is given back with the next frame. */

struct tr_replying {
    struct json *json;
    struct buf text; /* Zeroed is fine. The owner calls buf_deinit. */
    const struct tr_sink *sink;
};

/* Parses. ERR_PROTOCOL: no JSON; ERR_NOMEM. Strings taken before are gone. */
int tr_replying_begin(struct tr_replying *r, struct json *json, struct str data,
                      const struct tr_sink *sink) MUST_CHECK;
/* Anything but a string is STR_NULL and 0. A string may be taken twice, not three times. */
int tr_reply_text(struct tr_replying *r, uint32_t node, struct str *out) MUST_CHECK;
/* A text event, if there is any text. */
int tr_reply_put_text(struct tr_replying *r, uint32_t node, struct tr_event event) MUST_CHECK;
static inline MUST_CHECK int tr_reply_put(const struct tr_replying *r, const struct tr_event *event)
{
    return r->sink->put(r->sink->arg, event);
}

#endif

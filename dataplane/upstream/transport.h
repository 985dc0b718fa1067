/* transport.h: an attempt on the wire. A table of functions, so that a leaner implementation may
 * stand beside the one over common/net/fetch; the words (request, result, timeouts, phases) are
 * fetch's.
 *
 * One struct transport per worker loop; an origin is scheme, host and port with their TLS and
 * address rules and owns its connections; a call is one exchange. Exactly one on_done for each
 * successful start, later, never from inside start, cancel or resume. All on the loop's thread. */
#ifndef STEELYARD_DATAPLANE_UPSTREAM_TRANSPORT_H
#define STEELYARD_DATAPLANE_UPSTREAM_TRANSPORT_H

#include <uv.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/net/fetch.h"

struct transport; /* Opaque to users; each implementation has its own. */
struct transport_origin;
struct transport_call;

struct transport_callbacks {
    enum fetch_flow (*on_head)(void *arg, struct transport_call *call, unsigned status);
    enum fetch_flow (*on_body)(void *arg, struct transport_call *call, struct str piece);
    /* A growing body's next bytes may be taken now. Only after an offer that was not taken whole;
     * never from inside one. NULL where no body grows. */
    void (*on_room)(void *arg, struct transport_call *call);
    /* Last; the call and what it lent are gone when this returns. */
    void (*on_done)(void *arg, struct transport_call *call, const struct fetch_result *result);
};

struct transport_ops {
    struct transport *(*create)(uv_loop_t *loop); /* NULL: out of memory. */
    /* Every origin must have been closed. cb may be NULL. */
    void (*close)(struct transport *t, fetch_close_cb cb, void *arg);
    int (*origin_create)(struct transport *t, const struct fetch_origin_config *config,
                         struct transport_origin **out_origin, struct err *err);
    /* Cancels what still runs. cb may be NULL. */
    void (*origin_close)(struct transport_origin *o, fetch_close_cb cb, void *arg);
    /* The bytes the body spans point to must stay until on_done; all else is copied. */
    int (*start)(struct transport_origin *o, const struct fetch_request *request,
                 const struct transport_callbacks *callbacks, void *arg,
                 struct transport_call **out_call);
    void (*cancel)(struct transport_call *call); /* The connection is closed, not pooled (F19). */
    void (*resume)(struct transport_call *call);
    /* The spans of the body are not looked at any more: their bytes may go before on_done. */
    bool (*sent)(const struct transport_call *call);
    /* For a request with growing_bytes: the next bytes of its body. Returns how many were taken;
     * what is left stays the caller's, who offers it again in on_room, or with more. A reply may
     * come before the body is whole; the connection is not used again then. NULL: this transport
     * takes whole bodies only, and start says ERR_UNSUPPORTED. */
    size_t (*offer)(struct transport_call *call, const struct str *pieces, size_t count);
    /* All of the body is there, and no bytes of it but those offered next are missing: the reply is
     * waited for from now on, as these timeouts say; the total stays as it was. */
    void (*whole)(struct transport_call *call, const struct fetch_timeouts *timeouts);
    /* Of the reply, inside on_head only: the head is gone when that returns, so that no stream has
     * to keep one. .data NULL: absent. The first one of that name. */
    struct str (*header)(const struct transport_call *call, struct str name);
    /* The same, one after the other; false: there are no more. */
    bool (*field)(const struct transport_call *call, size_t index, struct str *out_name,
                  struct str *out_value);
    /* Works on replies that were read in this turn of the loop and held back for the others'. Who
     * calls it once does so after every poll of the loop. NULL: nothing is held back. */
    void (*work)(struct transport *t);
    /* Sends what calls that began since `work` have, and ends those that ended badly: at the end of
     * the same turn, inside no call of their owners'. With `work`, or NULL. */
    void (*send)(struct transport *t);
    /* Gives memory back that was not needed since the last time; about once a second. NULL: it
     * keeps none. */
    void (*trim)(struct transport *t);
};

extern const struct transport_ops transport_over_fetch;

#endif

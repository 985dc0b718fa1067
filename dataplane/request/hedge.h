/* hedge.h: a second attempt beside a first one that shows nothing (RELIABILITY F17,
 * docs/decisions/0224). Off unless the request's route says after how long it begins.
 *
 * It goes to another deployment of the same model, if one is healthy and has room, if the node has
 * not had its share of them, and if all budgets of the request cover its worst case, too: else the
 * first one stays alone. At most one a request; never with a part of a body, and never once
 * anything of an answer is on its way. The first of the two with content (of a stream) or a whole
 * answer serves; the other is ended, or read on unseen where that is what its provider bills
 * anyway. Both have their rows, and both are paid for.
 *
 * r->attempt, "the attempt at hand", is what serves or is closest to it; the other one stands in
 * struct hedge. All code of attempts is about the one at hand: while a callback of the transport
 * concerns the other, the two change places.
 *
 * The worker's thread. */
#ifndef STEELYARD_DATAPLANE_REQUEST_HEDGE_H
#define STEELYARD_DATAPLANE_REQUEST_HEDGE_H

#include "dataplane/request/attempt.h"

/*                content, or a whole answer             the other's end
 *   HEDGE_BOTH --------------------------> HEDGE_DECIDED ---------------> HEDGE_OVER
 *       |                                                                     ^
 *       +-- one ends without: the other goes on, as if it were alone ---------+
 */
enum hedge_state {
    HEDGE_BOTH,    /* Both are under way, and nothing of either is a client's. */
    HEDGE_DECIDED, /* The one at hand serves; the other was told to end, or is read on. */
    HEDGE_OVER,    /* The other has ended; its row says how. */
};

struct hedge {
    void *link; /* Of the free list. */
    enum hedge_state state;
    uint64_t until_ms;    /* So long the other may be read on. */
    uint64_t answered_ns; /* The client had his answer before the other's end; 0: he did not. */
    struct attempt_words words; /* The other's. */
    struct attempt other;
};

/* The first attempt has begun: the second may in a while. */
void hedge_arm_route(struct request *r);
static inline void hedge_arm(struct request *r)
{
    if (r->route != NULL && r->route->hedge_share != 0 && r->attempt_count == 1)
        hedge_arm_route(r);
}

static inline struct hedge *hedge_of(const struct request *r)
{
    return r->work != NULL ? r->work->hedge : NULL;
}

/* ---- for callbacks ---- */

void hedge_turn(struct request *r); /* The two change places. */
/* The attempt of this call is the one at hand afterwards. true: they have changed places. */
static inline bool hedge_face(struct request *r, const struct transport_call *call)
{
    if (r->attempt.call == call)
        return false;
    hedge_turn(r);
    return true;
}
/* The one at hand serves. */
void hedge_decide(struct request *r);
/* The one at hand has ended, and has been judged; faced: by changing places. */
void hedge_ended(struct request *r, bool faced);

void hedge_client_gone(struct request *r);
void hedge_tick(struct request *r, uint64_t now_ms);

/* ---- the end ---- */

/* Before the account. false: the other has not ended yet; if that may take its time the client is
 * answered meanwhile. Afterwards the row of the one that served is the last. */
bool hedge_settled(struct request *r);
void hedge_give(struct request *r); /* Waits no more, and its memory. */
void hedge_deinit(struct request_env *env);

#endif

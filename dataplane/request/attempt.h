/* attempt.h: tries of one request at deployments: which one next, what an exchange came to, when to
 * stop. One is under way at a time, or two for a while (hedge.h): all of this is about the one at
 * hand.
 *
 *   picked -> open (row in the record, intent on disk) -> started -> [content] -> ended
 *
 * The end of an exchange is on_done of the transport and nothing else: whoever wants it to stop
 * says why (attempt_stop) and waits for that. */
#ifndef STEELYARD_DATAPLANE_REQUEST_ATTEMPT_H
#define STEELYARD_DATAPLANE_REQUEST_ATTEMPT_H

#include "dataplane/request/request.h"

void attempt_init(struct attempt *a);
void attempt_release(struct attempt *a);      /* At the end; it is not under way. */
void attempt_release_body(struct attempt *a); /* What was gathered of a reply. */
void attempt_deinit(struct attempt *a);       /* Its buffers go, too. */

/* pick.c: the next deployment, into r->next_target and r->at_position. false: nothing is left. */
bool attempt_pick(struct request *r);
/* The picked candidate is out; the next one. */
bool attempt_pick_other(struct request *r);
/* The one just tried may be tried once more (nothing else is left and the fault may pass). */
bool attempt_pick_again(struct request *r);

/* For a second attempt beside the one at hand: another deployment of its model that is healthy,
 * however many are not. NULL: there is none. */
const struct upstream_target *attempt_pick_beside(struct request *r);

/* Makes the row of the picked one; until attempt_start it may be abandoned. */
void attempt_open(struct request *r);
void attempt_abandon(struct request *r);

/* exchange.c. An error: nothing was started (the row says why). */
int attempt_start(struct request *r) MUST_CHECK;
void attempt_stop(struct request *r, enum record_reason reason);
void attempt_note_call(struct request *r); /* What an exchange needs of the call, once known. */
void attempt_whole(struct request *r);     /* early.c: the running one's body is all there. */
bool attempt_running(const struct request *r);
void attempt_resume(struct request *r);
/* What the error reply of a provider of another dialect says. */
struct tr_error;
void attempt_read_error(struct request *r, struct tr_error *out);
/* Reading on unseen pays where the provider bills the whole answer anyway (F19). false: it does
 * not, or may not, and the attempt is as before. */
bool attempt_read_on(struct request *r);
/* Bytes that came unseen. False: they are too many, and the attempt was stopped. */
bool attempt_take_unseen(struct request *r, size_t bytes);
void attempt_leave_client(struct request *r); /* He is gone: read on, or stopped. */
/* What is due with time; false: it was told to end, or is not under way. */
bool attempt_look(struct request *r, uint64_t deadline_ms, uint64_t now_ms);

/* Driven from request.c. */
void attempt_client_gone(struct request *r);
void attempt_client_writable(struct request *r);
void attempt_tick(struct request *r, uint64_t now_ms);

#endif

/* hedge_fixture.h: a rig whose route has second attempts, at two deployments of one model that say
 * what the test says, when it says it. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_NODE_HEDGE_FIXTURE_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_NODE_HEDGE_FIXTURE_H

#include "dataplane/request/hedge.h"
#include "dataplane/request/meters.h"
#include "tests/unit/dataplane/node/charge_fixture.h"

/* Longer than any test: a second attempt is due when the test says so. */
#define HEDGE_AFTER_MS 3600000
#define HEDGE_FIVE     214748365U /* 5 % of 2^32. */

extern uint32_t hedge_after_ms; /* Of routes to come; 0: by the 95th percentile. */
void hedge_route(void *route);  /* rig_options.on_route */
struct rig_options hedge_options(void);
void hedge_allow(struct rig *r); /* Enough requests were served for one to be hedged. */
bool hedge_waits(struct rig *r); /* For its time to come. */
void hedge_due(struct rig *r);   /* It has come, of all that wait, at the end of the next turn. */
unsigned hedge_counted(struct rig *r, const char *result);
/* Nothing that came before has failed or was hedged. */
void hedge_forget_failures(struct rig *r);
void hedge_settle_loop(struct rig *r); /* Until what was sent has arrived. */

/* A letter of what an attempt does: Head, Text, End; X: it fails. Whole answers: W; B: a 400. */
void hedge_say(struct rig *r, size_t provider, int who, char what, bool headed);
const char *hedge_text(int who); /* The first one's, or the second's. */

#endif

/* charge_fixture.h: a rig with accounts, and what its records say of them. A token in costs 1000
 * nano-USD at "small", one out 2000; an unknown rate of cache writes counts as twice the input. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_NODE_CHARGE_FIXTURE_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_NODE_CHARGE_FIXTURE_H

#include "common/base/clock.h"
#include "dataplane/budget/allocation.h"
#include "dataplane/llm/tokens.h"
#include "dataplane/request/charge.h"
#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rig.h"

#define PLENTY    INT64_C(1000000000)
#define MAX_OUT   1000
#define COST      20000 /* 10 tokens in and 5 out. */
#define WORST_IN  (2000 * (int64_t)(sizeof ASK - 1 + TOKENS_MESSAGE_MOST))
#define WORST     (WORST_IN + INT64_C(2000) * MAX_OUT)
#define ASK_SMALL "{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define ASK_LARGE "{\"model\":\"large\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define UNWELL    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

/* Of an organisation, a team, a key, a tag and an end user; the first n of them. */
extern const struct rig_account charge_five[5];

struct sums {
    size_t rows, charged;
    int64_t of[RIG_ACCOUNTS]; /* By account: what the rows say. */
    int64_t cost, reserved, lambda;
    uint32_t clamp, excl, pressure, usage, attempts, status, flags;
    uint64_t epoch;
};

/* Starts the rig, grants so much of each budget; rig_stop sums the rows up. */
void charge_begin(struct rig *r, const struct rig_options *o, struct sums *s, int64_t granted);
struct rig_options charge_options_of(const struct rig_account *accounts, size_t count);
struct rig_script charge_whole_reply(void);
bool charge_says(const struct rig_answer *a, const char *text);

#endif

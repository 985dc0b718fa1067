/* rates.h: shares limits of requests, tokens and concurrency out between nodes
 * (docs/decisions/0155). Pure: reports go in, answers come out; time is passed in, nothing is
 * stored anywhere else.
 *
 * All figures are parts of a limit (RATES_ONE is the whole), so limits themselves are not known
 * here and may change at any time. At every instant, for every account and kind, the sum of what
 * nodes may be using is at most RATES_ONE; for that, what a node may be using is known from above:
 *   - a safe share of every account, which only an answer that was applied makes smaller;
 *   - instead of it a share of one account, for RATES_TTL_MS from the report it answers; then the
 *     smaller of both until RATES_HOLD_MS after it came, then the safe share again;
 *   - answers that were sent and not yet applied, and what is still under way.
 * A decrease is sent first; an increase is what is certainly free when it is sent.
 *
 * A plane that has just begun knows no older shares: it answers nothing for RATES_LEARN_MS, by when
 * they are over, and then holds back what nodes that it has not met may count on. A silent node
 * keeps its safe share for RATES_FORGET_MS. */
#ifndef STEELYARD_CONTROLPLANE_BUDGETS_RATES_H
#define STEELYARD_CONTROLPLANE_BUDGETS_RATES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

#define RATES_ONE          (UINT32_C(1) << 30)
#define RATES_KINDS        3U /* Requests, tokens, concurrency. */
#define RATES_NODES_MAX    1000U
#define RATES_ACCOUNTS_MAX 65536U /* Asked for of late. */
#define RATES_SHARES_MAX   8192U  /* In one answer; what is above keeps its safe share. */
#define RATES_TTL_MS       10000U
#define RATES_HOLD_MS      20000U
#define RATES_MARGIN_MS    200U /* Clocks do not go alike. */
#define RATES_LEARN_MS     (RATES_TTL_MS + RATES_MARGIN_MS)
#define RATES_STRANGERS_MS                                                                         \
    60000U /* So long new nodes alone do not mean that there are no others. */
#define RATES_SILENT_MS   4000U
#define RATES_FORGET_MS   600000U
#define RATES_IDLE_MS     60000U
#define RATES_FLOOR_SHIFT 4U /* One of 16 parts is for nodes that did not ask yet. */

struct rates_key { /* A node's id, and its life. */
    uint8_t node[16];
    uint64_t life;
};
struct rates_demand {
    uint64_t account;
    uint32_t want[RATES_KINDS]; /* May be above RATES_ONE. */
    uint32_t held;              /* Requests under way. */
};
struct rates_report {
    struct rates_key key;
    uint64_t report_no; /* Rising within a life. */
    uint64_t term;      /* The highest one the node has heard. */
    uint64_t applied;   /* Number of the last answer that was applied in this life; 0: none. */
    uint32_t safe;
    uint32_t nodes; /* That the node was told of; 0: it is new. */
    bool leaving;   /* It lets nothing through any more. */
    uint32_t count;
    const struct rates_demand *demands;
};
struct rates_share {
    uint64_t account;
    uint32_t share[RATES_KINDS];
};
struct rates_answer {
    uint64_t report_no;
    uint64_t answer_no;
    uint64_t term;
    uint32_t safe;
    uint32_t nodes;
    uint32_t count;
    const struct rates_share *shares; /* Until the next call. */
};

struct rates;
/* term: above every earlier plane's. first: there was none, so there is nothing to learn. NULL: out
 * of memory. */
struct rates *rates_create(uint64_t term, bool first, uint64_t now_ms);
void rates_destroy(struct rates *r);

/* 1: *out_answer is to be sent. 0: nothing is to be said (still learning, an old report, a node
 * that left). ERR_CONFLICT: the node has heard a higher term: this plane was deposed; ERR_LIMIT:
 * too many nodes; ERR_INVALID: figures no node sends; ERR_NOMEM: nothing changed. */
int rates_report(struct rates *r, const struct rates_report *report, uint64_t now_ms,
                 struct rates_answer *out_answer) MUST_CHECK;

struct rates_stats {
    uint32_t nodes, silent;
    uint32_t accounts, shared; /* Asked for; with shares of their own. */
    uint64_t full;             /* Accounts that were not taken in, since the start. */
    bool learning;
};
void rates_get_stats(const struct rates *r, uint64_t now_ms, struct rates_stats *out_stats);

#endif

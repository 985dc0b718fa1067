/* rates_internal.h: what rates.c (nodes, reports, answers) and rates_split.c (who gets what) share.
 */
#ifndef STEELYARD_CONTROLPLANE_BUDGETS_RATES_INTERNAL_H
#define STEELYARD_CONTROLPLANE_BUDGETS_RATES_INTERNAL_H

#include "common/base/list.h"
#include "controlplane/budgets/rates.h"

/* What one node has of one account. */
struct rates_part {
    uint32_t want[RATES_KINDS];
    uint32_t held;
    /* Applied for certain. */
    bool shared; /* Else the safe share. */
    uint32_t share[RATES_KINDS];
    uint64_t share_ms; /* When it was last sent. */
    /* Sent and perhaps applied: the most of each since what is above. */
    uint64_t sent_no; /* The last of them; 0: none is open. */
    bool sent_shared; /* The last one. */
    bool sent_safe;   /* One of them. */
    uint32_t sent[RATES_KINDS];
    uint32_t sent_most[RATES_KINDS];
    uint64_t sent_ms;
};

struct rates_account {
    struct list link;
    uint64_t id;
    uint64_t asked_ms;
    bool split; /* Some node has, or may have, a share of its own. */
    uint32_t part_count;
    struct rates_part *parts; /* By place of the node. */
};

struct rates_node {
    bool used;
    bool met; /* Counted among those of an earlier plane. */
    struct rates_key key;
    uint64_t heard_ms;
    uint64_t report_no;
    uint64_t sent_no; /* The last answer; 0: none in this life. */
    bool open;        /* It is not known to be applied. */
    uint32_t safe;
    uint32_t sent_safe; /* The most of the open ones. */
    uint32_t last_safe; /* The last one. */
};

struct rates {
    uint64_t term;
    bool first;
    uint64_t began_ms;
    uint64_t answer_no;
    uint32_t told_nodes; /* The most that any node was told of by an earlier plane, */
    uint32_t met_nodes;  /* how many such nodes were met, */
    uint32_t unmet;      /* and what the others may count on as their safe shares. */
    struct rates_node *nodes;
    uint32_t place_count; /* Places in use are below it. */
    struct list accounts;
    uint32_t account_count;
    uint32_t split_count;
    uint64_t swept_ms;
    struct rates_account **index; /* By id; open addressing. */
    uint32_t index_mask;
    struct rates_share *shares; /* Of the answer. */
    uint64_t full;
};

static inline uint32_t rates_min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}
static inline uint32_t rates_max(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

bool rates_is_silent(const struct rates_node *n, uint64_t now_ms);
uint32_t rates_node_count(const struct rates *r);
/* What a node may be using as its safe share. */
uint32_t rates_safe_most(const struct rates_node *n);
/* Held back for nodes that were not met yet. */
uint32_t rates_unmet(const struct rates *r, uint64_t now_ms);
/* What a node may be using of an account at some time until what is sent now has ended. */
uint32_t rates_part_most(const struct rates_node *n, const struct rates_part *p, unsigned kind,
                         uint64_t now_ms);
/* What a node should have; true: shares of their own, else everybody's safe share will do. */
bool rates_target(const struct rates *r, const struct rates_account *a, uint32_t place,
                  uint64_t now_ms, uint32_t out_target[RATES_KINDS]);
/* Of that, what is certainly free. */
uint32_t rates_free(const struct rates *r, const struct rates_account *a, uint32_t place,
                    unsigned kind, uint64_t now_ms);

#endif

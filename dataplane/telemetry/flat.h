/* flat.h: what a worker hands over, as it stands in its ring: plain values as a block, arrays
 * behind them, then the lengths of all texts, then the texts. Writing is a few copies, and of
 * encoding only what makes less to copy, the indices of features; reading checks every bound,
 * because after a crash the bytes come from a file. In the byte order and with the struct layouts
 * of this build: SPOOL_RING_VERSION stands for them, flat.c checks the sizes. Pure; thread-safe. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_FLAT_H
#define STEELYARD_DATAPLANE_TELEMETRY_FLAT_H

#include "dataplane/telemetry/record.h"
#include "dataplane/telemetry/record_indices.h"

/* A text is stored with at most one byte more than what is kept of it, so that the packer sees that
 * it must be cut. */
#define FLAT_TEXT_MAX (RECORD_TEXT_BYTES_MAX + 1U)
/* Error codes and finish reasons are words of our own. */
#define FLAT_WORD_MAX 64U

#define FLAT_HELD_MAX   (16U + RECORD_GROUP_MAX * 24U)
#define FLAT_PRINT_MAX  (10U + RECORD_PRINT_BYTES_MAX)
#define FLAT_PICKED_MAX 24U
#define FLAT_ATTEMPT_MAX                                                                           \
    (80U + FLAT_HELD_MAX + 2U * (4U + FLAT_TEXT_MAX) + FLAT_PRINT_MAX + FLAT_PICKED_MAX)
#define FLAT_OUTCOME_MAX  (64U + 2U * (4U + FLAT_WORD_MAX)) /* Without attempts. */
#define FLAT_FEEDBACK_MAX (44U + 3U * 4U + 2U * FLAT_TEXT_MAX + RECORD_COMMENT_BYTES_MAX)
#define FLAT_DECISION_MAX 40960U

/* Bytes an attempt takes at the end, whatever it will have come to. */
static inline uint32_t flat_attempt_bound(const struct record_attempt *a)
{
    uint32_t server = a->server.len < FLAT_TEXT_MAX ? (uint32_t)a->server.len : FLAT_TEXT_MAX;
    return 80U + FLAT_HELD_MAX + 8U + server + FLAT_TEXT_MAX + FLAT_PRINT_MAX + FLAT_PICKED_MAX;
}

/* Each writes at `at` (8-byte aligned, the maximum above free) and gives the end; packed_features
 * is not read. The caller has checked the counts against the RECORD_*_MAX. */
uint8_t *flat_put_decision(uint8_t *at, const struct record_decision *d);
uint8_t *flat_put_outcome(uint8_t *at, const struct record_outcome *o);
uint8_t *flat_put_attempt(uint8_t *at, const struct record_attempt *a);
uint8_t *flat_put_feedback(uint8_t *at, const struct record_feedback *f);

/* Where a read decision's parts stand; large, one for a thread. */
struct flat_scratch {
    uint64_t accounts[RECORD_ACCOUNTS_MAX];
    struct record_charge charges[RECORD_CHARGES_MAX];
    struct record_held held[RECORD_ATTEMPTS_MAX];
    struct str tags[RECORD_TAGS_MAX];
    struct features features;           /* Its dense values, and indices of old rings. */
    uint8_t packed[RECORD_INDICES_MAX]; /* Of rings before version 8. */
    struct policy_candidate candidates[POLICY_CANDIDATES_MAX];
    struct record_candidate models[POLICY_CANDIDATES_MAX];
    struct policy_decision decision;
    struct record_rollout rollout;
    struct way_input way;
    struct record_attempt attempts[RECORD_ATTEMPTS_MAX];
};
/* Reads what stands at the start of *data and moves it on. Results borrow from data and scratch.
 * false: malformed. */
bool flat_take_decision(struct str *data, struct flat_scratch *scratch, struct record_decision *d);
bool flat_take_outcome(struct str *data, struct flat_scratch *scratch, struct record_outcome *o);
/* What was held, if anything, is read into *held. */
bool flat_take_attempt(struct str *data, struct record_held *held, struct record_attempt *a);
bool flat_take_feedback(struct str *data, struct record_feedback *f);

#endif

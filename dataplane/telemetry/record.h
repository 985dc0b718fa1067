/* record.h: one request as the control plane will store it. The request path fills struct
 * record_decision when the decision stands and struct record_outcome when all is over (every
 * pointer is borrowed for the call); the writer packs them as parts of one telemetry.Decision
 * without allocating. What the router computed is taken as it is from
 * common/route: nothing is copied field by field on the way.
 *
 * Enumerations (DecisionStatus, DecisionFlag, AttemptReason) are those of telemetry.proto; their
 * values are repeated here so that the request path need not see protobuf. A test compares them.
 * Pure; thread-safe. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_RECORD_H
#define STEELYARD_DATAPLANE_TELEMETRY_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/crypto/uuid.h"
#include "common/route/features.h"
#include "common/route/picked.h"
#include "common/route/policy.h"

#define RECORD_BYTES_MAX    65536U
#define RECORD_ATTEMPTS_MAX 16U
#define RECORD_TAGS_MAX     16U
#define RECORD_ACCOUNTS_MAX 16U
#define RECORD_CHARGES_MAX  16U /* Budgets of a decision ... */
#define RECORD_GROUP_MAX    4U  /* ... and of the group of an attempt's model. */
#define RECORD_TEXT_BYTES_MAX                                                                      \
    256U /* Any string of a decision is cut here, at a UTF-8 boundary.                             \
          */
#define RECORD_COMMENT_BYTES_MAX 2048U
#define RECORD_PRINT_BYTES_MAX   112U /* Text of a fingerprint. */

enum record_status {
    RECORD_STATUS_UNKNOWN = 0,
    RECORD_STATUS_OK = 1,
    RECORD_STATUS_CANCELLED = 2,
    RECORD_STATUS_PARTIAL = 3,
    RECORD_STATUS_FAILED = 4,
    RECORD_STATUS_NODE_CRASH = 5,
    RECORD_STATUS_DECIDED = 6,
};

enum record_flag {
    RECORD_FLAG_EXPLORED = 1,
    RECORD_FLAG_STICKY = 2,
    RECORD_FLAG_PINNED = 4,
    RECORD_FLAG_FALLBACK_SERVED = 8,
    RECORD_FLAG_STREAM = 16,
    RECORD_FLAG_CLIENT_RETRY = 32,
    RECORD_FLAG_USAGE_ESTIMATED = 64,
    RECORD_FLAG_USAGE_SUSPECT = 128,
    RECORD_FLAG_FEATURES_DROPPED =
        256, /* None were taken (early.h), or the spool was nearly full. */
    RECORD_FLAG_COST_UNKNOWN = 512,
    RECORD_FLAG_NO_POLICY = 1024,
    RECORD_FLAG_SENT_AGAIN = 2048, /* Of an attempt: the first time it did not arrive. */
    RECORD_FLAG_HEDGE = 4096,      /* Of an attempt: begun while another ran (hedge.h). */
};
/* The DecisionFlag bits that policy_decide knows. */
uint32_t record_flags_from_policy(uint32_t policy_flags);

enum record_reason {
    RECORD_REASON_OK = 0,
    RECORD_REASON_CONNECT = 1,
    RECORD_REASON_TLS = 2,
    RECORD_REASON_TIMEOUT = 3,
    RECORD_REASON_STATUS = 4,
    RECORD_REASON_RATE_LIMITED = 5,
    RECORD_REASON_AUTH = 6,
    RECORD_REASON_PROTOCOL = 7,
    RECORD_REASON_CUT = 8,
    RECORD_REASON_CANCELLED = 9,
    RECORD_REASON_CLIENT_ERROR = 10,
    RECORD_REASON_ADDRESS = 11,
    RECORD_REASON_NODE_CRASH = 12,
};

enum record_usage { /* UsageSource of telemetry.proto. */
                    RECORD_USAGE_NONE = 0,
                    RECORD_USAGE_PROVIDER = 1,
                    RECORD_USAGE_COUNTED = 2,
                    RECORD_USAGE_ESTIMATED = 3,
};

struct record_charge { /* One budget in one period. */
    uint64_t budget;
    int64_t period_start_us;
    uint32_t cfg;
};

/* What was reserved for an attempt, on all budgets of its decision and on these. */
struct record_held {
    int64_t reserved_nanousd;
    uint32_t charge_count;
    struct record_charge charges[RECORD_GROUP_MAX];
};

enum record_arm { /* Of Decision.arm. */
                  RECORD_ARM_NONE = 0,
                  RECORD_ARM_STABLE = 1,
                  RECORD_ARM_CANDIDATE = 2,
                  RECORD_ARM_UNAVAILABLE = 3,
};

/* The part that a decision has in a rollout. Copied by the ring as one block. */
struct record_rollout {
    uint64_t id;
    uint64_t unit; /* Keyed hash of what is always served by the same arm. */
    uint32_t stage;
    uint32_t arm; /* enum record_arm */
    uint32_t slot;
    uint32_t has_shadow; /* 1: the rest is there. */
    /* The greedy choice of the version that did not serve. */
    int64_t shadow_cost_nanousd; /* Or PRICE_UNKNOWN. */
    uint32_t shadow_chosen;      /* Position + 1, 0: nothing was left to choose. */
    uint32_t shadow_q;           /* Q16 */
    uint32_t shadow_excl_any;
    uint32_t zero;
    uint8_t shadow_params_sha[32];
    /* The weights it chose by. */
    int64_t shadow_lambda;
    int64_t shadow_mu;
    uint32_t shadow_floor_q16;
    uint32_t shadow_out_cap;
    uint32_t shadow_ranked; /* The first so many candidates were known to it by name. */
    uint32_t zero_too;
};

/* In the three structs below plain values stand first and what is borrowed behind them, because the
 * spool's ring copies the first part as one block (flat.c checks the sizes). */
struct record_attempt {
    int64_t start_us;
    uint64_t price_id;
    int64_t cost_nanousd;
    uint32_t model; /* Position among the candidates. */
    uint32_t ttft_ms;
    uint32_t total_ms;
    uint32_t status; /* HTTP status, 0: none came. */
    enum record_reason reason;
    uint32_t tokens_in;
    uint32_t tokens_out;
    uint32_t tokens_cached;
    uint32_t tokens_reasoning;
    uint32_t tokens_cache_write;
    uint32_t flags;                 /* RECORD_FLAG_USAGE_*, _SENT_AGAIN, _HEDGE */
    uint32_t usage;                 /* enum record_usage: whose counts the tokens are. */
    const struct record_held *held; /* NULL: there is no budget. */
    struct str server;              /* "provider/upstream-model": snapshot_deployment.name. */
    struct str provider_id;         /* The provider's request id. */
    uint32_t tokens_cache_write_1h; /* Those of tokens_cache_write that are kept an hour. */
    uint32_t fingerprint_text_len;
    uint64_t fingerprint;         /* What the answer said that made it (llm/print.h); 0: none. */
    const char *fingerprint_text; /* If it is to be told; of at most RECORD_PRINT_BYTES_MAX. */
    struct picked picked;         /* How its deployment was; place 0: nothing is known. */
};

struct record_candidate { /* What the router's own structs do not hold. */
    struct str model;     /* Id of the catalogue. */
    uint64_t price_id;    /* 0: unknown. */
};

/* What is known when the decision was made: the intent. */
struct record_decision {
    struct uuid request_id;
    int64_t ts_us; /* Fixed when the intent is written. */
    uint64_t key_id;
    uint64_t generation;
    int64_t reserved_nanousd;
    uint64_t lease_epoch; /* Of the charges; 0: none. */
    int64_t lambda;
    int64_t mu;
    int64_t max_cost_nanousd;
    uint32_t account_count;
    uint32_t charge_count;
    uint32_t pressure_q16; /* How far the tightest budget was used up when it was decided. */
    uint32_t tag_count;
    uint32_t segment;
    uint32_t era;
    uint32_t hash_key_id;
    uint32_t config_age_s;
    int32_t ts_correction_us;
    uint32_t t_in;
    int32_t pref;
    int32_t budget_clamp;
    uint32_t flags; /* RECORD_FLAG_* as far as known; the outcome's replace them. */
    uint32_t t_out_cap;
    uint32_t floor_q16;
    uint32_t max_latency_ms;
    uint32_t explore; /* 1: exploration was allowed, whether or not there was anything to explore.
                       */
    const uint64_t *accounts;
    const struct record_charge *charges; /* Each of the whole cost. */
    const struct str *tags;              /* "k=v" as the caller sent them. */
    const struct features *features;     /* NULL: none were made. */
    struct str packed_features;          /* Its indices (record_indices.h): what is encoded. */
    /* The decision. count of both = decision->count; all NULL when it never came to one. */
    const struct policy_candidate *candidates;
    const struct record_candidate *models;
    const struct policy_decision *decision;
    const struct record_rollout *rollout; /* NULL: it has no part in any. */
    const struct way_input *way;          /* NULL: the policy's order; count is decision->count. */
    struct str conv_hash;                 /* Bytes. */
    struct str text_hash;
    struct str alias;
    struct str policy_version; /* 32 bytes of the artifact's sha256, or empty. */
    struct str params_sha;     /* 32 bytes, or empty. */
    struct str endpoint;       /* "chat.completions", "decision" */
    struct str client_request_id;
    struct str route;
    struct str task;
    struct str client_nonce;
};

/* What is known only at the end. */
struct record_outcome {
    int64_t cost_nanousd;
    uint32_t attempt_count;
    enum record_status status;
    uint32_t served; /* Candidate position + 1, 0: none. */
    uint32_t flags;  /* RECORD_FLAG_*, all of them. */
    uint32_t http_status;
    uint32_t ttft_ms;
    uint32_t duration_ms;
    uint32_t overhead_us;
    const struct record_attempt *attempts;
    struct str error_code;
    struct str finish_reason;
};

struct record_feedback {
    struct uuid request_id;
    int64_t ts_us;
    uint64_t key_id;
    struct str source; /* "eval", "judge", "thumb", "implicit" */
    int32_t score_q16; /* 0..65536 */
    struct str label;
    struct str comment;  /* Bytes; cut at RECORD_COMMENT_BYTES_MAX. */
    uint32_t label_prob; /* Chance with which it was asked for, of 2^32; 0: always. */
};

enum record_detail {
    RECORD_FULL,       /* Everything. */
    RECORD_NO_FEATURES /* Class B left out, flag FEATURES_DROPPED set (unless there were none). */
};

/* Bytes are written to out[0..cap); *out_len is set on success. ERR_TOO_LARGE when they do not fit;
 * ERR_INVALID for counts above the maxima (a bug of the caller). Text that is not UTF-8 is written
 * with '?' for each bad byte, so that no record can spoil a batch.
 *
 * Both give a part of one telemetry.Decision: protobuf reads two messages in a row as their merge,
 * so a whole one is the decision's bytes with the outcome's behind them. RECORD_BYTES_MAX holds
 * both together, whatever they contain. */
int record_encode_decision(const struct record_decision *d, enum record_detail detail, uint8_t *out,
                           size_t cap, size_t *out_len) MUST_CHECK;
/* more_flags: RECORD_FLAG_FEATURES_DROPPED when the decision's part was written without. */
int record_encode_outcome(const struct record_outcome *o, uint32_t more_flags, uint8_t *out,
                          size_t cap, size_t *out_len) MUST_CHECK;
int record_encode_attempt(const struct record_attempt *a, uint8_t *out, size_t cap,
                          size_t *out_len) MUST_CHECK; /* telemetry.Attempt; endpoint is 0. */
int record_encode_feedback(const struct record_feedback *f, uint8_t *out, size_t cap,
                           size_t *out_len) MUST_CHECK; /* telemetry.Feedback */
int record_encode_gap(uint64_t from, uint64_t to, const char *reason, uint8_t *out, size_t cap,
                      size_t *out_len) MUST_CHECK; /* telemetry.Gap */

#endif

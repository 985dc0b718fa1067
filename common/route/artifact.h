/* artifact.h: the policy file. Decode and check, encode; what it means is in score.h and policy.h.
 *
 * File, all little endian:
 *   "SYPOL1\0\0" | u32 version | u32 flags (0) | u64 body_len | sha256(body) | body
 * Body: sections, each `u32 tag | u32 0 | u64 length | payload | zeros to a multiple of 8`, in the
 * order of enum artifact_section, each at most once. TASK and VOCAB may be missing.
 * The version id of a policy is the sha256 of the file.
 *
 * In memory each feature index has ONE row of int16 lanes, [quality | length | task] with each
 * group padded to a multiple of 8 and the row to 16, so that a feature costs one run of cache
 * lines. A decoded artifact is immutable and may be read by any thread; whoever shares it counts
 * the references. Decoding proves that no arithmetic of score.h and policy.h can overflow for any
 * feature vector (reason ARTIFACT_BOUNDS otherwise). */
#ifndef STEELYARD_COMMON_ROUTE_ARTIFACT_H
#define STEELYARD_COMMON_ROUTE_ARTIFACT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/crypto/digest.h"
#include "common/route/features.h"

#define ARTIFACT_VERSION         1
#define ARTIFACT_HEADER_BYTES    56
#define ARTIFACT_BYTES_MAX       (32U << 20)
#define ARTIFACT_MODELS_MAX      64
#define ARTIFACT_TASKS_MAX       31
#define ARTIFACT_LANES_MAX       160
#define ARTIFACT_KNOTS_MAX       32
#define ARTIFACT_SEGMENTS_MAX    64
#define ARTIFACT_FRONTIER_MAX    64
#define ARTIFACT_METRICS_MAX     256
#define ARTIFACT_VOCAB_MAX       65536
#define ARTIFACT_NAME_BYTES_MAX  256
#define ARTIFACT_SELFTESTS_MAX   64
#define ARTIFACT_INDEX_BITS_MIN  8
#define ARTIFACT_INDEX_BITS_MAX  16
#define ARTIFACT_SHIFT_MAX       40 /* Of sparse weights. */
#define ARTIFACT_DENSE_SHIFT_MAX 30 /* Products are at most 2^30; the sums are proved to fit. */
#define ARTIFACT_SCORE_MAX       (INT32_C(1) << 30) /* |z|, |length|, |class score| stay within. */
#define ARTIFACT_OFFSET_MAX      (INT32_C(1) << 26) /* Of off[m] in the parameters. */
#define ARTIFACT_LAMBDA_MAX      (INT64_C(1) << 60)

enum artifact_section { /* Tags are the first four letters of these names. */
                        ARTIFACT_META,
                        ARTIFACT_DENSE,
                        ARTIFACT_W,
                        ARTIFACT_LEN,
                        ARTIFACT_TASK,
                        ARTIFACT_CALIB,
                        ARTIFACT_TABLES,
                        ARTIFACT_LAMBDA,
                        ARTIFACT_EXPLORE,
                        ARTIFACT_VOCAB,
                        ARTIFACT_SELFTEST,
                        ARTIFACT_SECTIONS
};

/* Why a file was refused (reliability row B42); names via artifact_reason_name. */
#define ARTIFACT_REASON_TABLE(X)                                                                   \
    X(OK, "accepted")                                                                              \
    X(NOMEM, "out of memory")                                                                      \
    X(TRUNCATED, "shorter than its header")                                                        \
    X(MAGIC, "not a policy file")                                                                  \
    X(VERSION, "format version not supported")                                                     \
    X(FLAGS, "unknown flags")                                                                      \
    X(SIZE, "size differs from the header or is above the limit")                                  \
    X(CHECKSUM, "checksum differs")                                                                \
    X(SECTIONS, "sections missing, unknown, repeated, out of order or cut")                        \
    X(META_FORMAT, "META malformed")                                                               \
    X(DIMENSIONS, "dimensions out of range or not those of the sections")                          \
    X(FEATURE_SPEC, "made for another feature specification")                                      \
    X(BOUNDS, "weights could overflow the integer arithmetic")                                     \
    X(CALIBRATION, "calibration not monotone or out of range")                                     \
    X(TABLES_DIFFER, "fixed tables differ from this program's")                                    \
    X(FRONTIER, "frontier not ordered or out of range")                                            \
    X(EXPLORATION, "exploration parameters out of range")                                          \
    X(VOCABULARY, "vocabulary malformed")                                                          \
    X(SELFTEST_FORMAT, "self-test vectors malformed or none")                                      \
    X(SELFTEST_DIFFERS, "self-test gives other results")                                           \
    X(DEPLOYMENT, "made with another deployment's hash key")                                       \
    X(NOT_NEWER, "generation not newer than the one in service")

enum artifact_reason {
#define X(name, text) ARTIFACT_##name##_REASON,
    ARTIFACT_REASON_TABLE(X)
#undef X
        ARTIFACT_REASONS
};
const char *artifact_reason_name(enum artifact_reason reason); /* "CHECKSUM" */
const char *artifact_reason_text(enum artifact_reason reason);

struct artifact_metric { /* value * 10^-decimals */
    struct str name;
    int64_t value;
    uint8_t decimals;
};

struct artifact_meta {
    uint64_t generation;
    struct sha256 parent;   /* Zero: none. */
    int64_t window_from_us; /* Training window, unix microseconds. */
    int64_t window_to_us;
    uint64_t row_count;
    struct sha256 data_digest; /* Of the row file. */
    uint32_t feature_spec;     /* FEATURES_SPEC */
    uint64_t hash_key_id;      /* Which deployment key the indices were hashed with. */
    const struct artifact_metric *metrics;
    uint32_t metric_count;
};

/* Scales, chosen by the trainer. Scores are Q16: quality in logits (whatever CALIB maps to
 * quality), length in log2(tokens), task classes in base-2 logits. With n set features,
 *   linear = sum(W) * fixed_rsqrt[n] >> shift,  dense = sum_d(D[d] * x[d] >> dense_shift). */
struct artifact_scale {
    uint8_t quality_shift; /* 0..ARTIFACT_SHIFT_MAX */
    uint8_t length_shift;
    uint8_t task_shift;
    uint8_t quality_dense_shift; /* 0..ARTIFACT_DENSE_SHIFT_MAX */
    uint8_t length_dense_shift;
    uint8_t task_dense_shift;
};

/* Monotone piecewise-linear z -> q, flat outside. z strictly ascending, q non-decreasing. */
struct artifact_calib {
    uint32_t count; /* 1..ARTIFACT_KNOTS_MAX */
    int32_t z[ARTIFACT_KNOTS_MAX];
    uint32_t q[ARTIFACT_KNOTS_MAX]; /* Q16, 0..65536 */
};

struct artifact_point { /* What one lambda gives on held-out data, a request on average. */
    int64_t lambda;     /* quality per nano-USD * 2^60 */
    int64_t cost_nanousd;
    uint32_t quality_q16;
};

struct artifact_segment {
    uint32_t id; /* 0: all traffic without a segment of its own. */
    struct str name;
    int64_t lambda;       /* In service until PARAMS say otherwise. */
    uint32_t floor_q16;   /* Quality floor. */
    uint32_t point_count; /* 0..ARTIFACT_FRONTIER_MAX; lambda ascending, cost non-increasing. */
    struct artifact_point points[ARTIFACT_FRONTIER_MAX];
};

struct artifact_explore {
    uint32_t gamma;      /* Inverse-gap weighting, per unit of quality. */
    uint32_t eps_cap;    /* Largest total exploration probability, of 2^32. */
    uint32_t delta_q16;  /* Candidates further below the best quality are not explored. */
    uint32_t cost_ratio; /* Nor are those dearer than this times the greedy choice. */
};

struct artifact_vocab { /* Sorted by index. */
    uint16_t index;
    struct str text;
};

struct artifact {
    struct artifact_meta meta;
    struct sha256 id; /* Of the whole file. */
    uint64_t section_bytes[ARTIFACT_SECTIONS];
    struct artifact_scale scale;
    uint32_t index_bits;  /* Rows = 2^index_bits; a feature's row is index >> (16 - index_bits). */
    uint32_t model_count; /* 1..64 */
    uint32_t task_count;  /* 0: no TASK section. */
    uint32_t model_pad;   /* Multiples of 8; in rows of 4 or 8 lanes half of them. */
    uint32_t task_pad;
    /* Multiple of 16, or 4 or 8: [model_pad quality | model_pad length | task_pad]. */
    uint32_t row_lanes;
    struct str models[ARTIFACT_MODELS_MAX]; /* By ordinal: the id string of the catalogue. */
    struct str tasks[ARTIFACT_TASKS_MAX];
    const int16_t *rows;                               /* 64-byte aligned, row_lanes a row. */
    int16_t dense[FEATURES_DENSE][ARTIFACT_LANES_MAX]; /* Lanes as in a row. */
    int32_t bias[ARTIFACT_LANES_MAX];
    int32_t task_quality[ARTIFACT_TASKS_MAX][ARTIFACT_MODELS_MAX]; /* G, in z units. */
    int32_t task_length[ARTIFACT_TASKS_MAX][ARTIFACT_MODELS_MAX];
    struct artifact_calib calib[ARTIFACT_MODELS_MAX];
    struct artifact_explore explore;
    const struct artifact_segment *segments;
    uint32_t segment_count;
    const struct artifact_vocab *vocab;
    uint32_t vocab_count;
    struct str selftest; /* Payload of SELFTEST, read by selftest.h. */
    void *block;         /* Private: what the pointers above point into. */
    void *row_block;     /* Private. */
};

/* *out_reason is always set. On success the caller owns *out_artifact (artifact_destroy). Copies
 * what it keeps. ERR_NOMEM, or ERR_CORRUPT / ERR_VERSION / ERR_TOO_LARGE with the reason. Does not
 * run the self-test: see selftest_run and artifact_load. */
int artifact_decode(struct str file, struct artifact **out_artifact,
                    enum artifact_reason *out_reason, struct err *err) MUST_CHECK;
void artifact_destroy(struct artifact *a);

const struct artifact_segment *artifact_segment(const struct artifact *a,
                                                uint32_t id); /* or NULL */
/* Ordinal of a model, or -1. */
int32_t artifact_model(const struct artifact *a, struct str model);
/* Text of an index; len 0 when unknown. */
struct str artifact_word(const struct artifact *a, uint16_t index);

/* What a trainer fills; everything is borrowed for the call. Arrays are dense, without padding. */
struct artifact_spec {
    struct artifact_meta meta;
    struct artifact_scale scale;
    uint32_t index_bits;
    uint32_t model_count;
    uint32_t task_count;
    const struct str *models;
    const struct str *tasks;
    const int16_t *quality;             /* [2^index_bits][model_count] */
    const int16_t *length;              /* [2^index_bits][model_count] */
    const int16_t *task;                /* [2^index_bits][task_count]; NULL if task_count is 0 */
    const int16_t *quality_dense;       /* [FEATURES_DENSE][model_count] */
    const int16_t *length_dense;        /* [FEATURES_DENSE][model_count] */
    const int16_t *task_dense;          /* [FEATURES_DENSE][task_count] */
    const int32_t *quality_bias;        /* [model_count] */
    const int32_t *length_bias;         /* [model_count] */
    const int32_t *task_bias;           /* [task_count] */
    const int32_t *task_quality;        /* [task_count][model_count] */
    const int32_t *task_length;         /* [task_count][model_count] */
    const struct artifact_calib *calib; /* [model_count] */
    const struct artifact_segment *segments;
    uint32_t segment_count;
    struct artifact_explore explore;
    const struct artifact_vocab *vocab;
    uint32_t vocab_count;
    struct str selftest; /* From selftest_build; len 0 while it is being made. */
};

/* Appends the file to out. Same spec, same bytes. What artifact_decode would refuse is refused with
 * ERR_INVALID (dimensions); other rules are checked by decoding, as selftest_build does. */
int artifact_encode(const struct artifact_spec *spec, struct buf *out, struct err *err) MUST_CHECK;

/* Knots of fixed_logistic_q16: q = logistic(z). For a model without calibration data. */
void artifact_calib_logistic(struct artifact_calib *out_calib);

#endif

/* guards.h: everything that can stop a rollout by its numbers: the table of metrics with their
 * shares of the chance of a false alarm, the state of all tests, and what they say at one look. The
 * tests themselves are event_guard.h, mean_guard.h and ratio.h; docs/guards.md tells them in plain
 * words. Pure: no clock, no I/O. */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_GUARDS_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_GUARDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "controlplane/rollout/event_guard.h"
#include "controlplane/rollout/mean_guard.h"
#include "controlplane/rollout/ratio.h"

/* The order and numbers are stored: append only. */
enum guard_metric {
    GUARD_ERROR = 0,  /* Events: the request failed. */
    GUARD_TIMEOUT,    /* It failed for want of time. */
    GUARD_LATENCY,    /* Slower than the frozen baseline's 95th percentile. */
    GUARD_COST_TAIL,  /* Dearer than its 99th. */
    GUARD_THUMB_DOWN, /* A person said that the answer was bad. */
    GUARD_CLAMP,      /* A budget shortened the answer. */
    GUARD_COST,       /* Means: nano-USD per request. */
    GUARD_QUALITY,    /* Label in [0, 1]. */
    GUARD_TOKENS,     /* Output tokens per request. */
};
#define GUARD_EVENTS  6U /* GUARD_ERROR .. GUARD_CLAMP */
#define GUARD_MEANS   3U /* GUARD_COST .. GUARD_TOKENS */
#define GUARD_METRICS (GUARD_EVENTS + GUARD_MEANS)

/* What a guard says. Missing data is neither a pass nor a zero: it is NO_DATA, and what needs
 * evidence waits for it. */
enum guard_verdict {
    GUARD_NO_DATA = 0, /* Too few requests or units to say anything. */
    GUARD_UNDECIDED,   /* Data, but neither harm nor its absence is shown, and it leans to harm. */
    GUARD_HARMLESS,    /* The estimate lies within the margin, its interval does not; events: no
                          breach. */
    GUARD_SHOWN,       /* The whole interval lies within the margin: non-inferior. */
    GUARD_BREACH,      /* Harm is shown. */
};

struct guard_rule {
    double alpha;  /* Chance of a false alarm over the whole rollout. */
    double margin; /* Events: d, tolerated excess of the rate. Means: how much worse is still no
                      harm, relative to stable's mean (cost, tokens) or absolute (quality); >= 0. */
    double goal;   /* Means: non-inferior when surely not worse than this. The margin by default;
                      negative for a declared saving (-0.1: at least 10 % less). */
    bool on;       /* Off: not folded, says NO_DATA. */
};
struct guard_rules {
    struct guard_rule metric[GUARD_METRICS];
    double ratio_alpha;
};

struct guards {
    struct guard_rules rules;
    struct event_guard event[GUARD_EVENTS];
    struct mean_guard mean[GUARD_MEANS];
    struct ratio_guard ratio;
};

/* What is needed beside the folded sums. Units are distinct ones, of the candidate, since the
 * rollout began. */
struct guard_look {
    uint64_t units;                     /* Seen in the candidate's arm. */
    uint64_t units_valued[GUARD_MEANS]; /* Of these, with a value of the metric. */
    uint64_t units_event[GUARD_EVENTS]; /* Of these, with an event. */
    /* The candidate's last GUARD_TRIP_WINDOW_S seconds, for the trip wire. */
    uint64_t recent_requests, recent_errors, recent_units;
};
#define GUARD_TRIP_WINDOW_S     60U
#define GUARD_TRIP_REQUESTS_MIN 20U
#define GUARD_TRIP_UNITS_MIN    5U

struct guard_report {
    enum guard_verdict verdict[GUARD_METRICS];
    double log_m[GUARD_EVENTS]; /* A breach from log(1 / alpha) * lumps on. */
    double lumps[GUARD_EVENTS];
    struct mean_interval interval[GUARD_MEANS]; /* Zero where the verdict is NO_DATA. */
    double ratio_log_m;
    bool ratio_mismatch; /* Hold: the arms do not get the units that they should. */
    bool tripped;        /* More than half of the candidate's recent requests failed. */
};

/* Names as in the API and in evidence: "error", "timeout", "latency", "cost_tail", "thumb_down",
 * "clamp", "cost", "quality", "tokens". */
struct str guard_metric_name(enum guard_metric metric);
bool guard_metric_find(struct str name, enum guard_metric *out);
struct str guard_verdict_name(enum guard_verdict verdict);

/* alpha 0.01 for error, latency, cost, quality; 0.01 shared by the rest and the sample ratio: 0.05
 * for a whole rollout. Margins: latency 0.1, cost tail 0.5, clamp 0.1, other events 0; cost and
 * tokens 5 %, quality 0.02. */
void guard_rules_default(struct guard_rules *rules);
/* ERR_INVALID: an alpha, margin or goal outside its range, or alphas that sum to more than 0.05. */
int guard_rules_check(const struct guard_rules *rules, struct err *err) MUST_CHECK;

/* What stable was like before, frozen when the rollout is made. */
struct guard_baseline {
    double mean[GUARD_MEANS];
    /* 99.5th percentile, at which values are winsorised before they are summed; 0: none was above
     * 0, and nothing is winsorised. A label's is 1, whatever is given. */
    double cap[GUARD_MEANS];
};
/* rules: checked. */
void guards_init(struct guards *g, const struct guard_rules *rules,
                 const struct guard_baseline *baseline);
/* Metrics whose rule is off ignore what is folded. Buckets in the order of their time. */
void guards_fold_event(struct guards *g, enum guard_metric metric, const struct event_cell *cell);
void guards_fold_mean(struct guards *g, enum guard_metric metric, const struct mean_bucket *bucket);
void guards_fold_units(struct guards *g, double pi, uint64_t stable, uint64_t candidate);
/* Not const: the first look with enough data fixes rho2, which must be stored with the rest. */
void guards_look(struct guards *g, const struct guard_look *look, struct guard_report *out);

/* The state as bytes (versioned, little endian; equal states give equal bytes), so that the next
 * leader goes on where this one stopped. ERR_NOMEM. Decoding: ERR_INVALID for bytes that this did
 * not write. */
int guards_encode(const struct guards *g, struct buf *out) MUST_CHECK;
int guards_decode(struct str bytes, struct guards *out, struct err *err) MUST_CHECK;

#endif

/* machine.h: what happens to a rollout next. One pure function: where it is and the facts of one
 * look go in, an edge comes out (or none, and why). Who calls it writes the edge into rollout_event
 * and carries it out in the same transaction; nothing here has a clock or does I/O.
 *
 *            acked, seen enough       dwell, requests, units, (>= 25 %) evidence
 *   SHADOW ----------------> CANARY(0) --> CANARY(1) --> ... --> CANARY(last) --> PROMOTED
 *      |  \                   |  ^ ^                                  |
 *      |   \  too long,       |  | |  operator, new evidence          |
 *      |    \ sample ratio    v  | |                                  |
 *      |     +------------> HOLD-+ |                                  |
 *      |                      |    | operator                         |
 *      +--- NACK, stale ------+--> HALTED <---------------------------+   traffic is back on stable
 *      |    unwatched         |      |                                |
 *      +----------------------+------+--------------------------------+
 *                             | breach, operator
 *                             v
 *                        ROLLED_BACK                      terminal, as PROMOTED is
 *
 * FREEZE blocks every forward edge (to CANARY, to PROMOTED) and no other one. A breach or an
 * operator's rollback is obeyed in every state that is not terminal, before anything else. */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_MACHINE_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "controlplane/rollout/guards.h"

/* Numbers are stored: append only. */
enum rollout_state {
    ROLLOUT_STATE_SHADOW = 1, /* The candidate decides beside stable; serves nobody. */
    ROLLOUT_STATE_CANARY,     /* Serves its stage's share. */
    ROLLOUT_STATE_HOLD,       /* As CANARY (or SHADOW, stage -1), and goes no further by itself. */
    ROLLOUT_STATE_HALTED,     /* Serves nobody until an operator resumes. */
    ROLLOUT_STATE_PROMOTED,
    ROLLOUT_STATE_ROLLED_BACK,
};

#define ROLLOUT_STAGES_MAX   16U
#define ROLLOUT_SHARE_ALL_BP 10000U
#define ROLLOUT_NO_STAGE     (-1) /* Of SHADOW. HOLD and HALTED keep the stage they came from. */

struct rollout_stage {
    uint32_t share_bp; /* 1..10000; rising. */
    uint32_t dwell_min_s;
    uint32_t dwell_max_s;  /* Then HOLD, or what `inconclusive` says. */
    uint64_t requests_min; /* Of each arm, in this stage. The stable arm's at shares below 100 %. */
    uint64_t units_min;    /* Of the candidate, since the rollout began. */
};
enum rollout_inconclusive {
    ROLLOUT_INCONCLUSIVE_HOLD = 0,
    ROLLOUT_INCONCLUSIVE_PROMOTE_IF_HARMLESS, /* Goes on if all evidence at least leans that way. */
    ROLLOUT_INCONCLUSIVE_ROLLBACK,
};
struct rollout_config {
    struct rollout_stage stage[ROLLOUT_STAGES_MAX];
    uint32_t stages;
    uint32_t shadow_min_s, shadow_max_s;
    uint64_t shadow_requests_min; /* Decided in shadow. 0: no need of any. */
    uint32_t evidence_from_bp;    /* Stages from this share on are left only with evidence; 2500. */
    uint32_t evidence; /* Bits (1 << guard_metric) that must be SHOWN; cost and quality. */
    enum rollout_inconclusive inconclusive;
    uint32_t ttl_s;         /* Nodes go back to stable by themselves when unwatched so long; 600. */
    uint32_t stale_after_s; /* Guard data older than this halt; 300. */
    uint32_t ready_percent; /* Of connected nodes, before a stage starts; 99. */
};

enum rollout_command {
    ROLLOUT_COMMAND_NONE = 0,
    ROLLOUT_COMMAND_HOLD,     /* SHADOW or CANARY -> HOLD. */
    ROLLOUT_COMMAND_RESUME,   /* HOLD or HALTED -> where it was. */
    ROLLOUT_COMMAND_ADVANCE,  /* To the next stage without waiting, but never past harm. */
    ROLLOUT_COMMAND_HALT,     /* -> HALTED. */
    ROLLOUT_COMMAND_ROLLBACK, /* -> ROLLED_BACK. */
};

/* The facts of one look. Times are of one wall clock, the database's. */
struct rollout_facts {
    int64_t now_ms;
    int64_t last_look_ms; /* Of any leader, for this rollout; its creation before the first. */
    /* How far the node's guard data are behind that is furthest behind; a node with nothing to send
     * is not behind. */
    int64_t data_age_s;
    uint32_t nodes;       /* Connected. */
    uint32_t nodes_ready; /* Of these, have acknowledged the candidate. */
    uint64_t shadow_requests;
    uint64_t requests[2]; /* In this stage, without units set apart: stable, candidate. */
    uint64_t units;       /* Of the candidate, since the rollout began. */
    bool nack;            /* A node refused the candidate, failed its self-test or crashed on it. */
    uint32_t replayed;    /* The candidate's decisions that were recomputed. For people. */
    bool replay_mismatch; /* One of them did not come out again. */
    bool frozen;          /* Freeze, global or of this policy; or an override pins its version. */
    enum rollout_command command;
    struct guard_report guards;
};

/* Why an edge was taken, or why none was. Stored by name. */
enum rollout_reason {
    ROLLOUT_REASON_NONE = 0, /* Terminal: nothing happens any more. */
    /* Edges. */
    ROLLOUT_REASON_READY,    /* Forward: everything that was asked for is there. */
    ROLLOUT_REASON_HARMLESS, /* Forward: inconclusive, and promote_if_harmless. */
    ROLLOUT_REASON_OPERATOR,
    ROLLOUT_REASON_NEW_EVIDENCE, /* HOLD -> CANARY. */
    ROLLOUT_REASON_BREACH,       /* `metric` says which guard. */
    ROLLOUT_REASON_TRIP_WIRE,
    ROLLOUT_REASON_INCONCLUSIVE, /* Longest dwell over without evidence. */
    ROLLOUT_REASON_TOO_FEW,      /* Longest dwell over without requests or units. */
    ROLLOUT_REASON_NOT_ACKED,    /* Longest dwell over, and too few nodes have the candidate. */
    ROLLOUT_REASON_SAMPLE_RATIO,
    ROLLOUT_REASON_NACK,
    ROLLOUT_REASON_REPLAY,
    ROLLOUT_REASON_STALE,
    ROLLOUT_REASON_UNWATCHED,
    /* No edge: what is being waited for. */
    ROLLOUT_REASON_DWELL,
    ROLLOUT_REASON_WANTS_REQUESTS,
    ROLLOUT_REASON_WANTS_UNITS,
    ROLLOUT_REASON_WANTS_EVIDENCE, /* `metric` says the first that is missing. */
    ROLLOUT_REASON_WANTS_NODES,
    ROLLOUT_REASON_WANTS_OPERATOR, /* HOLD and HALTED. */
    ROLLOUT_REASON_FROZEN,
    ROLLOUT_REASON_REFUSED, /* The command is not possible here. */
};

/* Where a rollout is. */
struct rollout_place {
    enum rollout_state state;
    int32_t stage;           /* Index, or ROLLOUT_NO_STAGE. */
    int64_t state_since_ms;  /* When it came into this state. */
    int64_t stage_since_ms;  /* Dwell counts from here, HOLD included; a resume resets it. */
    enum rollout_reason why; /* Of the edge that led to this state. */
};

struct rollout_edge {
    bool changes; /* False: `to` is where it was. */
    struct rollout_place to;
    enum rollout_reason reason;
    enum guard_metric metric; /* Of BREACH, INCONCLUSIVE and WANTS_EVIDENCE. */
    bool reset_ratio;         /* An operator resumed: the sample-ratio test begins anew
                                 (ratio_guard_init), else it would hold again at once. */
};

struct rollout_edge rollout_step(const struct rollout_config *config,
                                 const struct rollout_place *place,
                                 const struct rollout_facts *facts);

/* Share of slots that the candidate serves there, in basis points. */
uint32_t rollout_share_bp(const struct rollout_config *config, const struct rollout_place *place);
bool rollout_is_terminal(enum rollout_state state);

/* Shadow 10 min; 1, 5, 25, 50, 100 % for 30 min, 1 h, 2 h, 6 h, 10 min, each 24 h at most. */
void rollout_config_default(struct rollout_config *config);
/* Straight to 100 % without evidence: for `revert`, whose candidate served before. */
void rollout_config_revert(struct rollout_config *config);
/* ERR_INVALID with what is wrong. */
int rollout_config_check(const struct rollout_config *config, struct err *err) MUST_CHECK;
/* Where a new rollout starts: in shadow, however short that may be. */
struct rollout_place rollout_start(int64_t now_ms);

struct str rollout_state_name(enum rollout_state state);    /* "shadow", .. "rolled_back" */
struct str rollout_reason_name(enum rollout_reason reason); /* "ready", "breach", .. */
bool rollout_state_find(struct str name, enum rollout_state *out);
bool rollout_reason_find(struct str name, enum rollout_reason *out);

#endif

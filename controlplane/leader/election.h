/* election.h: one replica's part in the elections of all roles, over etcd. Pure: no clock, no
 * network; time is passed in, what to ask etcd comes out, its answers go in.
 *
 * One lease for the replica, one key a role: <prefix><role>/<lease>. Who has the lowest
 * create_revision under a role owns it, for as long as his lease lives. An owner trusts that until
 * `trust_ms` after it *sent* the last keep-alive that was confirmed, by its own monotonic clock:
 * the lease itself lasts longer, so the next owner begins after this one has ended.
 *
 * Roles are entered one after the other, each replica beginning elsewhere, and who got one pauses:
 * so replicas that start together share them. A role whose owner goes is entered at once. Who came
 * late is given his share: whoever stands, for rebalance_ms, directly before one that owns fewer
 * roles by two or more may step behind him. So a role moves only towards evenness, never to and
 * fro. */
#ifndef STEELYARD_CONTROLPLANE_LEADER_ELECTION_H
#define STEELYARD_CONTROLPLANE_LEADER_ELECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/leader/leader.h"

/* Milliseconds. */
struct election_config {
    uint32_t ttl_ms;       /* Of the lease, whole seconds: 10 s. */
    uint32_t keepalive_ms; /* ttl * 3 / 10 */
    uint32_t trust_ms;     /* ttl * 7 / 10 */
    uint32_t poll_ms;      /* How often the keys are listed. */
    uint32_t answer_ms;    /* An answer that takes longer is none. */
    uint32_t rebalance_ms; /* ttl * 3 */
    uint32_t pause_ms;     /* Before the next role, once one is led here; times their number. */
    unsigned first_role;   /* Where this replica begins. */
};
struct election_config election_config_of(uint32_t ttl_ms, unsigned first_role);

enum election_ask {
    ELECTION_GRANT,     /* /v3/lease/grant with ttl. */
    ELECTION_KEEPALIVE, /* /v3/lease/keepalive of lease. */
    ELECTION_ENTER,     /* Put role's key under lease, unless it is there. */
    ELECTION_LIST,      /* All keys, in the order of create_revision. */
    ELECTION_LEAVE,     /* Delete role's key if its create_revision is still `revision`. */
};
struct election_op {
    enum election_ask ask;
    int64_t lease;
    enum leader_role role;
    int64_t revision;
    uint64_t sent_ms; /* Private. */
};

/* What etcd answered. */
struct election_key {
    enum leader_role role;
    int64_t lease;
    int64_t create_revision;
};
struct election_answer {
    /* 0; ERR_NOT_FOUND: etcd does not know the lease; anything else: no answer, try again. */
    int status;
    int64_t lease;                   /* GRANT */
    int64_t ttl_s;                   /* KEEPALIVE; 0 or less: the lease is over. */
    const struct election_key *keys; /* LIST, by rising create_revision. */
    uint32_t key_count;
};

/*  Of the session:  NONE -> GRANTING -> HELD -> NONE (etcd says that the lease is over; one that
 * was not confirmed for long is asked for on: if it lives after all, nobody else can have owned
 * what its keys own) Of a role:       OUT -> ENTERING -> IN -> OWNER; any -> OUT with the session;
 * OWNER -> LEAVING
 * -> OUT (election_leave) */
enum election_session { SESSION_NONE, SESSION_GRANTING, SESSION_HELD };
enum election_place { PLACE_OUT, PLACE_ENTERING, PLACE_IN, PLACE_OWNER, PLACE_LEAVING };

struct election {
    struct election_config config;
    enum election_session session;
    int64_t lease;
    uint64_t confirmed_ms; /* When the last confirmed keep-alive, or the grant, was sent. */
    uint64_t next_beat_ms; /* Of the next keep-alive. */
    uint64_t next_ask_ms;  /* Of the next of all else. */
    bool beating, asking;  /* An answer is awaited. */
    uint64_t next_list_ms;
    uint64_t next_enter_ms;
    struct {
        enum election_place place;
        bool had_owner;         /* The last list had one. */
        uint64_t uneven_ms;     /* Since when the next in line owns far fewer; 0: it does not. */
        int64_t revision;       /* create_revision of our key, once it was seen. */
        uint64_t not_before_ms; /* No new try. */
        uint64_t again_ms;      /* Of election_leave, counted from when it is done. */
    } roles[LEADER_ROLES];
};

void election_init(struct election *e, const struct election_config *config, uint64_t now_ms);
/* True: ask this now, and give the answer to election_answer (one of status != 0 at the latest
 * after answer_ms; later ones are to be dropped). At most one keep-alive and one other are under
 * way. Call it until it says false; then again at election_wake_ms, and after each answer. */
bool election_next(struct election *e, uint64_t now_ms, struct election_op *out_op);
void election_answer(struct election *e, const struct election_op *op,
                     const struct election_answer *answer, uint64_t now_ms);
uint64_t election_wake_ms(const struct election *e, uint64_t now_ms);
/* The revision that won the role; 0: it is not ours now, by this clock. */
int64_t election_owned(const struct election *e, enum leader_role role, uint64_t now_ms);
/* The next in line for this role has had far fewer roles than we for long enough: it is for the
 * caller to find the moment and to leave (soon again in line: in one poll). */
bool election_is_surplus(const struct election *e, enum leader_role role, uint64_t now_ms);
/* Gives the role, or the place in its line, up; no new try before `again_ms` from now. */
void election_leave(struct election *e, enum leader_role role, uint64_t again_ms, uint64_t now_ms);

#endif

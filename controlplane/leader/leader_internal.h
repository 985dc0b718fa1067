/* leader_internal.h: what leader.c (roles, and who is told) and the sources of terms share:
 * leader_alone.c (Postgres alone) and leader_etcd.c (elections). */
#ifndef STEELYARD_CONTROLPLANE_LEADER_INTERNAL_H
#define STEELYARD_CONTROLPLANE_LEADER_INTERNAL_H

#include "controlplane/leader/leader.h"

/* Where terms come from. */
struct leader_source {
    int (*start)(struct leader *l, struct err *err);
    void (*resign)(struct leader *l); /* No role is taken again. Once; stop follows. */
    void (*stop)(struct leader *l);   /* Ends with leader_stopped. */
    bool (*holds)(const struct leader *l, enum leader_role role);        /* By the clock, now. */
    void (*give_up)(struct leader *l, enum leader_role role);            /* Deposed in Postgres. */
    void (*get_stats)(const struct leader *l, struct leader_stats *out); /* NULL: zeros. */
};
extern const struct leader_source leader_alone, leader_etcd;

struct leader {
    uv_loop_t *loop;
    struct leader_config config;
    char holder[LEADER_HOLDER_BYTES];
    const struct leader_source *source;
    void *source_state;
    uint64_t term[LEADER_ROLES]; /* 0: not held. */
    uint64_t told[LEADER_ROLES]; /* By on_change. */
    bool first[LEADER_ROLES];
    uint64_t deposed[LEADER_ROLES];
    uv_async_t changed;
    bool resigned;
    bool closing;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* The source says: this role has this term here now (0: none). on_change follows. */
void leader_set(struct leader *l, enum leader_role role, uint64_t term, bool first);
void leader_stopped(struct leader *l);

#endif

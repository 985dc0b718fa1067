/* plane_internal.h: struct plane, shared by plane.c (order), plane_boot.c (what must be true before
 * anything is served) and plane_links.c (what the rooms ask of each other). */
#ifndef STEELYARD_CONTROLPLANE_PLANE_INTERNAL_H
#define STEELYARD_CONTROLPLANE_PLANE_INTERNAL_H

#include <sys/stat.h>

#include "common/metrics/metrics.h"
#include "common/net/httpd.h"
#include "common/net/probes.h"
#include "controlplane/admin/admin.h"
#include "controlplane/budgets/lease_service.h"
#include "controlplane/config/config.h"
#include "controlplane/evidence/evidence.h"
#include "controlplane/ingest/intake.h"
#include "controlplane/leader/leader.h"
#include "controlplane/leader/words.h"
#include "controlplane/nodes/nodes.h"
#include "controlplane/plane.h"
#include "controlplane/release/apply.h"
#include "controlplane/release/publish.h"
#include "controlplane/release/train.h"
#include "controlplane/replicas/replicas.h"
#include "controlplane/rollout/controller.h"
#include "controlplane/spend/keeper.h"
#include "controlplane/store/work.h"

#define PLANE_HOLDER_BYTES 128

/*   BOOTING --schema--> LOADING --snapshot--> SERVING
 *       \_________________|_________________/
 *                         | SIGTERM
 *   CLOSED <-- CLOSING <-- LEAVING
 *
 * LEAVING: not ready and without roles; whoever still comes is served (--drain-delay). CLOSING: nobody
 * else is let in, what runs may end (--drain-timeout), then the parts are closed one by one. */
enum plane_state {
    PLANE_BOOTING,
    PLANE_LOADING,
    PLANE_SERVING,
    PLANE_LEAVING,
    PLANE_CLOSING,
    PLANE_CLOSED
};

struct plane {
    uv_loop_t *loop;
    const struct settings *settings;
    enum plane_state state;
    int status; /* Why it ended by itself. */
    uv_timer_t timer;
    uv_timer_t drain_timer; /* From plane_drain on. */
    uint64_t drain_until_ms; /* When LEAVING or CLOSING has lasted long enough. */
    bool parts_closing; /* close_next has begun. */
    uint64_t last_partitions_ms;
    uint64_t last_books_ms;
    bool reading_books; /* A job fills next_books. */
    struct plane_books {
        bool known;
        uint64_t default_rows; /* In DEFAULT partitions. */
        uint64_t days_ahead;   /* With partitions. */
        uint64_t budgets_burning;
        uint64_t rollouts_stopped; /* By guards, in the last hour. */
    } books, next_books;
    struct leader_claim keeper_claim; /* Of the job about partitions. */
    bool booting;                     /* A boot job runs. */
    bool applying;
    char holder[PLANE_HOLDER_BYTES]; /* "host/pid": who leads. */
    char conninfo[4096];
    struct config *config; /* NULL: no --config. */
    struct config *next_config;
    struct stat file_seen;      /* Of the file that was read last. */
    uint64_t retention_days;    /* Of decisions, as the upkeep under way was told. */
    uint64_t label_maturity_ms; /* Of the file; training leaves younger feedback out. */
    struct config_keys keys;
    struct secret *operator_key;
    struct work *work;
    struct work *claims; /* The leader's own, so that no other work delays a takeover. */
    struct leader *leader;
    struct replicas *replicas;
    struct publish *publish;
    struct intake *intake;
    struct lease_service *leases;
    struct trainer *trainer;
    struct nodes *nodes;
    struct admin *admin;
    struct keeper *keeper;
    struct controller *rollouts;
    struct words *words; /* NULL: without etcd. */
    struct evidence *evidence;
    struct nodes_resources *resources; /* Of the current generation. */
    struct metrics *metrics;
    struct metrics_shard *shard;
    struct httpd *probes_httpd;
    struct probes probes;
    struct probe_check checks[3];
    void (*on_closed)(void *arg);
    void *on_closed_arg;
};

/* plane_boot.c: one attempt, on a worker thread; on_booted follows on the loop. */
void plane_boot(struct plane *p);
void plane_booted(struct plane *p); /* In plane.c: the state machine goes on. */
void plane_fail(struct plane *p, int status);
bool plane_node_at(void *plane, size_t index, struct replicas_node *out_node);
void plane_leads(void *plane, char *out, size_t out_bytes);
bool plane_is_busy(void *plane, enum leader_role role);
void plane_on_role(void *plane, enum leader_role role, uint64_t term);
void plane_apply(struct plane *p, struct config *config); /* Takes config. */
void plane_read_books(struct plane *p);                   /* Often; it looks once a minute. */
void plane_maintain(struct plane *p);                     /* Partitions, hourly. */

/* plane_links.c */
extern const struct nodes_release_ops plane_release_ops;
extern const struct nodes_intake_ops plane_intake_ops;
extern const struct nodes_lease_ops plane_lease_ops;
void plane_on_watch(void *plane, const uint64_t *ids, size_t count);
void plane_on_abort(void *plane, uint64_t id);
void plane_on_wish(void *plane, const struct abort_wish *wish);
void plane_on_word(void *plane, struct str name, struct str value);
void plane_on_recall(void *plane, struct str node_id);
void plane_on_set(void *plane, const struct publish_set *set);
void plane_count_reload(struct plane *p, bool ok);
int plane_metrics_create(struct plane *p, struct err *err) MUST_CHECK;
/* Policies of the file, for evidence_config.policy. */
bool plane_policy(void *plane, size_t index, struct evidence_policy *out);
extern const struct metrics_family plane_metrics_table[];

#endif

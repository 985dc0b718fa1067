/* planes_fixture.h: a fake plane (release and intake in memory) behind the real nodes server, and a
 * node's sync, spool and shipper in front of it, all on one loop over real gRPC. */
#ifndef STEELYARD_TESTS_PLANES_FIXTURE_H
#define STEELYARD_TESTS_PLANES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "controlplane/nodes/nodes.h"
#include "dataplane/state/sync.h"
#include "dataplane/telemetry/record_indices.h"
#include "dataplane/telemetry/shipper.h"

#define PLANE_EPOCHS 64
#define PLANE_ROWS   65536

struct stored_epoch {
    uint64_t epoch;
    uint64_t next_seq;
};

struct plane {
    uv_loop_t *loop;
    struct nodes *nodes;
    char address[64];
    /* Release. */
    struct nodes_resources *resources;
    uint32_t debounce_ms; /* 0: pushed at once, whatever it is. */
    unsigned accepted, refused;
    uint64_t accepted_generation;
    char last_code[64], last_key[128];
    unsigned waves_refused;
    char last_policy[64];     /* Whose wave a node refused. */
    uint32_t wave_healthy_ms; /* 0: as nodes.h has it. */
    uint32_t rollout_ttl_s;   /* Of rollouts published; 0: none is said. */
    /* Intake. */
    struct stored_epoch epochs[PLANE_EPOCHS];
    size_t epoch_count;
    uint8_t *rows; /* How often each record's number (its t_in) was stored. */
    uint64_t stored, gaps, gap_records, crashes, feedback;
    bool ready;
    unsigned lose_one_in; /* This share of commits fails. 0: none. */
    unsigned busy_one_in;
    unsigned delay_ms_max; /* Of a commit. */
    uint64_t (*random)(void);
};
void plane_init(struct plane *p, uv_loop_t *loop);
void plane_deinit(struct plane *p);
/* Listens on a loopback address that no other process uses, so that a plane that comes back finds
 * its port free and a node without a plane meets no stranger. NULL: a free port of it. */
void plane_start(struct plane *p, const char *address, const struct rpc_tls *tls);
void plane_stop(struct plane *p); /* Runs the loop. */
/* Replaces what is published. bodies[i] belongs to keys[i]. */
void plane_publish(struct plane *p, uint32_t era, uint64_t generation, const char *const *keys,
                   const struct str *bodies, size_t count);

/* Packed bodies of a small working set: one provider, models "small" and "large", route "main",
 * key "sk-sy-abcdefghij-secret". Free with buf_deinit. */
void body_catalogue(struct buf *out, const char *policy);
void body_keys(struct buf *out, bool disabled);
void body_limits(struct buf *out);
#define TEST_KEY "sk-sy-abcdefghij-secret"

typedef bool (*planes_done)(void *arg);
/* Runs the loop until done; fails the test after two minutes and says what was waited for. */
#define run_until(loop, done, arg) run_until_named(loop, done, arg, #done)
void run_until_named(uv_loop_t *loop, planes_done done, void *arg, const char *name);

char *temp_dir_make(void); /* Under $TMPDIR or /tmp; temp_dir_remove frees. */
void temp_dir_remove(char *dir);

/* A decision whose t_in is `number`, that needs no pointers but these. */
struct sample {
    struct record_decision d;
    struct record_outcome o;
    struct policy_decision decision;
    struct policy_candidate candidates[3];
    struct record_candidate models[3];
    struct record_attempt attempts[2];
    struct features features;
    uint8_t packed[RECORD_INDICES_MAX];
    struct str tags[2];
    uint64_t accounts[2];
    struct record_charge charges[2];
    struct record_held held;
    struct record_rollout rollout;
};
void sample_init(struct sample *s, uint32_t number);

#endif

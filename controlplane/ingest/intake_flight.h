/* intake_flight.h: streams and the transactions that empty them; shared by intake.c (queues) and
 * intake_flight.c (one transaction). Private to controlplane/ingest. */
#ifndef STEELYARD_CONTROLPLANE_INGEST_INTAKE_FLIGHT_H
#define STEELYARD_CONTROLPLANE_INGEST_INTAKE_FLIGHT_H

#include "common/base/list.h"
#include "common/base/map.h"
#include "controlplane/ingest/intake.h"
#include "controlplane/ingest/intake_rows.h"
#include "controlplane/store/pq.h"

#define FLIGHT_RECORDS_MAX 4000U
#define FLIGHT_BYTES_MAX   (4U << 20)
#define FLIGHT_SQL_BYTES   8192U

struct batch {
    struct list node;
    struct buf records;
    struct str rest; /* Of records: what is not known to be committed. */
    uint64_t seq;    /* Of the first record of rest. */
    uint64_t bytes;
    uint64_t since_ms;
    intake_cb cb;
    void *arg;
    uint32_t stored;
    uint32_t duplicates;
    uint32_t quarantined;
};

struct stream {
    char key[24]; /* node id, epoch */
    struct uuid node_id;
    uint64_t epoch;
    struct list batches;
    struct list ready; /* In intake.ready while it waits for a flight. */
    bool in_flight;
    uint64_t not_before_ms;
    uint32_t limit;   /* Records of the next flight; halves on refusal. */
    uint64_t bad_seq; /* This record alone goes to the dead letters; 0: none. */
    char bad_sqlstate[PQ_SQLSTATE_BYTES];
    char bad_reason[256];
};

enum flight_state {
    FLIGHT_IDLE,
    FLIGHT_TAKE,
    FLIGHT_LOCK,
    FLIGHT_DECISION,
    FLIGHT_ATTEMPT,
    FLIGHT_FEEDBACK,
    FLIGHT_GAP,
    FLIGHT_BAD,
    FLIGHT_USAGE,
    FLIGHT_CANDIDATE,
    FLIGHT_SPEND,
    FLIGHT_CHARGE,
    FLIGHT_PRINT,
    FLIGHT_CANARY,
    FLIGHT_COMMIT,
    FLIGHT_ROLLBACK,
};

struct flight {
    struct intake *intake;
    enum flight_state state;
    struct stream *stream;
    struct pq_session *session;
    struct intake_rows rows;
    uint64_t next_seq;  /* As locked. */
    uint64_t after_seq; /* As it will be after the commit. */
    uint32_t records;   /* New ones of this flight. */
    uint32_t duplicates;
    bool hole;        /* The first batch starts behind next_seq. */
    int retry_status; /* Why a rollback is under way. */
    char sql[FLIGHT_SQL_BYTES];
};

struct intake {
    uv_loop_t *loop;
    struct intake_config config;
    struct pq_pool *pool;
    struct map streams;
    struct list ready;
    struct flight *flights;
    uv_timer_t tick;
    bool closing;
    bool pool_gone;
    struct intake_stats stats;
    intake_close_cb close_cb;
    void *close_arg;
};

/* intake_flight.c: starts on a stream that has batches; ends by flight_end -> the functions below.
 */
void flight_on_session(void *arg, int status, struct pq_session *session);

/* intake.c, for intake_flight.c */
void batch_end(struct intake *in, struct batch *b, enum intake_outcome outcome, uint64_t next_seq);
void stream_expire(struct intake *in, struct stream *s, uint64_t now_ms);
void stream_ready(struct intake *in, struct stream *s);
void stream_maybe_free(struct intake *in, struct stream *s);
void intake_serve(struct intake *in);
void intake_maybe_gone(struct intake *in);

#endif

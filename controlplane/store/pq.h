/* pq.h: PostgreSQL. The only header whose .c files see libpq.
 *
 * Two ways in, same parameters and results:
 *  - a pool of connections on the loop (asynchronous): pq_pool, pq_query, pq_session. For ingestion
 *    and for hints, which never wait for each other.
 *  - one blocking connection (pq_conn) for worker threads: migrations, admin work, training.
 * A lost connection is reconnected with backoff; what was running on it ends with ERR_UNAVAILABLE,
 * and whether it was committed is then unknown: repeat only what is safe to repeat.
 *
 * Errors: ERR_UNAVAILABLE connection lost or not there; ERR_TIMEOUT statement timeout or cancelled;
 * ERR_EXISTS unique violation; ERR_INVALID data the server refuses (SQLSTATE class 22, 23, 54);
 * ERR_CONFLICT serialisation failure or deadlock; ERR_DATABASE anything else. */
#ifndef STEELYARD_CONTROLPLANE_STORE_PQ_H
#define STEELYARD_CONTROLPLANE_STORE_PQ_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

/* --- parameters ------------------------------------------------------------------------------ */

#define PQ_PARAMS_MAX 24

/* Values of $1, $2, ... in order of the calls. Copies what it is given; an error (out of memory,
 * too many, a NUL in text) is kept and returned by the query. Zero-initialised is empty. */
struct pq_params {
    struct buf bytes;
    struct {
        size_t offset;
        size_t len;
        bool is_null;
        bool is_binary;
    } item[PQ_PARAMS_MAX];
    unsigned count;
    int status;
};
void pq_params_deinit(struct pq_params *p);
void pq_params_text(struct pq_params *p, struct str value); /* .data NULL: NULL. Any type's text. */
void pq_params_i64(struct pq_params *p, int64_t value);
void pq_params_bytes(struct pq_params *p, struct str value);  /* bytea; .data NULL: NULL. */
void pq_params_time_us(struct pq_params *p, int64_t unix_us); /* timestamptz */
void pq_params_bool(struct pq_params *p, bool value);
void pq_params_null(struct pq_params *p);

/* --- results --------------------------------------------------------------------------------- */

/* Rows come in text format. Values are borrowed from the result; NULL reads as empty, 0, false. */
struct pq_result;
int pq_result_rows(const struct pq_result *r);
uint64_t pq_result_affected(const struct pq_result *r); /* Of INSERT, UPDATE, DELETE, COPY. */
bool pq_result_is_null(const struct pq_result *r, int row, int column);
struct str pq_result_text(const struct pq_result *r, int row, int column); /* NUL-terminated. */
int64_t pq_result_i64(const struct pq_result *r, int row, int column);
bool pq_result_bool(const struct pq_result *r, int row, int column);
double pq_result_double(const struct pq_result *r, int row, int column);
int64_t pq_result_time_us(const struct pq_result *r, int row, int column); /* timestamptz, UTC */
/* Appends the bytes of a bytea. ERR_NOMEM, ERR_TOO_LARGE, ERR_CORRUPT. */
int pq_result_bytes(const struct pq_result *r, int row, int column, struct buf *out) MUST_CHECK;

#define PQ_SQLSTATE_BYTES 6

/* How one statement ended. */
struct pq_reply {
    int status;                       /* 0 or ERR_* */
    char sqlstate[PQ_SQLSTATE_BYTES]; /* Empty when it did not come from the server. */
    const char *message;              /* For a log line; never holds parameter values. */
    const struct pq_result *result;   /* NULL on error. Lives as long as the callback. */
};

/* --- asynchronous ---------------------------------------------------------------------------- */

struct pq_pool;
struct pq_session; /* One connection for as long as its user keeps it: transactions and COPY. */

typedef void (*pq_reply_cb)(void *arg, const struct pq_reply *reply);
typedef void (*pq_session_cb)(void *arg, int status, struct pq_session *session);
typedef void (*pq_close_cb)(void *arg);
typedef void (*pq_notify_cb)(void *arg, struct str channel, struct str payload);
typedef void (*pq_state_cb)(void *arg, bool up, const char *message);

struct pq_pool_config {
    const char *conninfo;          /* Keywords or URI; copied. */
    const char *application_name;  /* Shown in pg_stat_activity. */
    unsigned size;                 /* Connections, 1..32. */
    unsigned queue_max;            /* Waiting queries and takers; 0: 1024. More: ERR_BUSY. */
    uint32_t connect_timeout_ms;   /* 0: 5 s. */
    uint32_t statement_timeout_ms; /* 0: 30 s. Server-side; a silent server is cut 5 s later. */
    const char *setup;             /* SQL run once on every new connection ("LISTEN x"), or NULL. At most
                                    * 4096 bytes. */
    pq_notify_cb on_notify; /* May be NULL, as may on_state: first connection up, all lost. */
    pq_state_cb on_state;
    void *arg;
};
/* Connects in the background; queries wait in line meanwhile. ERR_INVALID: bad conninfo. */
int pq_pool_create(uv_loop_t *loop, const struct pq_pool_config *config, struct pq_pool **out_pool,
                   struct err *err) MUST_CHECK;
/* Everything that waits or runs ends with ERR_CANCELED; the callback comes last. */
void pq_pool_close(struct pq_pool *pool, pq_close_cb cb, void *arg);
bool pq_pool_is_up(const struct pq_pool *pool); /* At least one connection is ready. */

/* One statement on any connection. Takes the contents of params (also on error). Waiting longer
 * than the connect timeout for a connection ends with ERR_UNAVAILABLE. */
int pq_query(struct pq_pool *pool, const char *sql, struct pq_params *params, pq_reply_cb cb,
             void *arg) MUST_CHECK;

/* status 0: the session is the caller's until pq_session_put. */
int pq_session_take(struct pq_pool *pool, pq_session_cb cb, void *arg) MUST_CHECK;
/* One statement at a time; the next may be started from inside the callback. `sql` is kept by
 * pointer until the callback. Without parameters several statements in one text are allowed. */
int pq_session_query(struct pq_session *s, const char *sql, struct pq_params *params,
                     pq_reply_cb cb, void *arg) MUST_CHECK;
/* Runs `sql` (COPY ... FROM STDIN ...) and sends data, which is borrowed until the callback. */
int pq_session_copy_in(struct pq_session *s, const char *sql, struct str data, pq_reply_cb cb,
                       void *arg) MUST_CHECK;
/* Asks the server to cancel what runs (from a worker thread: it takes a connection). */
void pq_session_cancel(struct pq_session *s);
/* Gives the connection back. An open transaction is rolled back; a statement that still runs makes
 * the pool drop the connection. Allowed in the session's own callbacks. */
void pq_session_put(struct pq_session *s);

/* --- blocking, for worker threads ------------------------------------------------------------- */

struct pq_conn; /* One thread at a time. */
int pq_conn_open(const char *conninfo, const char *application_name, uint32_t connect_timeout_ms,
                 uint32_t statement_timeout_ms, struct pq_conn **out_conn,
                 struct err *err) MUST_CHECK;
void pq_conn_close(struct pq_conn *c);           /* NULL is allowed. */
bool pq_conn_is_usable(const struct pq_conn *c); /* Connected and in no transaction. */
bool pq_conn_in_transaction(const struct pq_conn *c);
/* Empties params, also on error. out_result may be NULL; else the caller destroys it. */
int pq_conn_query(struct pq_conn *c, const char *sql, struct pq_params *params,
                  struct pq_result **out_result, struct err *err) MUST_CHECK;
/* Several statements without parameters, e.g. one migration. */
int pq_conn_script(struct pq_conn *c, const char *sql, struct err *err) MUST_CHECK;
/* A clean-up whose failure changes nothing (ROLLBACK, unlock): pq_conn_is_usable tells the rest. */
void pq_conn_attempt(struct pq_conn *c, const char *sql);
/* Rows one by one without holding the result in memory; a non-zero return of the callback ends it
 * and is returned. Row 0 of the result is the row. */
typedef int (*pq_row_cb)(void *arg, const struct pq_result *row);
int pq_conn_stream(struct pq_conn *c, const char *sql, struct pq_params *params, pq_row_cb cb,
                   void *arg, struct err *err) MUST_CHECK;
/* SQLSTATE of the last failed statement; empty when none. */
const char *pq_conn_sqlstate(const struct pq_conn *c);
void pq_result_destroy(struct pq_result *r); /* Only those of pq_conn_query; NULL is allowed. */

/* --- COPY ... WITH (FORMAT binary) -------------------------------------------------------------
 */

/* Writes the binary COPY format (PostgreSQL manual, COPY, "Binary Format") into a buf: header, then
 * per row pq_copy_row and one call a column, then the trailer. An error is kept in status. */
struct pq_copy {
    struct buf data;
    int status;
};
void pq_copy_init(struct pq_copy *c, size_t max_bytes);
void pq_copy_deinit(struct pq_copy *c);
void pq_copy_reset(struct pq_copy *c);
void pq_copy_begin(struct pq_copy *c); /* The header. */
void pq_copy_row(struct pq_copy *c, uint16_t columns);
void pq_copy_i16(struct pq_copy *c, int16_t value);
void pq_copy_i32(struct pq_copy *c, int32_t value);
void pq_copy_i64(struct pq_copy *c, int64_t value);
void pq_copy_bool(struct pq_copy *c, bool value);
void pq_copy_time_us(struct pq_copy *c, int64_t unix_us);
void pq_copy_bytes(struct pq_copy *c, struct str value); /* bytea, text, uuid (16 bytes) */
void pq_copy_null(struct pq_copy *c);
void pq_copy_end(struct pq_copy *c); /* The trailer. */

#endif

/* pq_internal.h: what the pq_*.c files share; nobody else sees libpq. */
#ifndef STEELYARD_CONTROLPLANE_STORE_PQ_INTERNAL_H
#define STEELYARD_CONTROLPLANE_STORE_PQ_INTERNAL_H

#include <libpq-fe.h>

#include "controlplane/store/pq.h"

/* struct pq_result is libpq's PGresult under a name of ours. */
static inline const struct pq_result *pq_wrap(const PGresult *r)
{
    return (const struct pq_result *)(const void *)r;
}
static inline const PGresult *pq_unwrap(const struct pq_result *r)
{
    return (const PGresult *)(const void *)r;
}

/* Parameters as libpq wants them; points into p. */
struct pq_values {
    const char *value[PQ_PARAMS_MAX];
    int length[PQ_PARAMS_MAX];
    int format[PQ_PARAMS_MAX];
};
void pq_params_values(const struct pq_params *p, struct pq_values *out_values);

/* What runs here reads few rows of many partitions: planned costs are high, compiling a plan of 50
 * partitions takes half a second, and running it takes milliseconds. */
#define PQ_NO_JIT "SET jit = off"

void pq_ignore_notice(void *arg, const char *message); /* libpq would write to stderr. */
bool pq_result_is_ok(const PGresult *r);
/* ERR_* of a failed result; connection_bad: the connection went away under it. */
int pq_error_code(const PGresult *r, bool connection_bad);
/* SQLSTATE and primary message of a failed result; without a result the connection's message.
 * Values never get in: libpq's primary message names objects, the detail (left out) has rows. */
void pq_error_describe(const PGresult *r, const PGconn *conn, char sqlstate[PQ_SQLSTATE_BYTES],
                       char *message, size_t message_bytes);

/* Keywords and values of a conninfo plus our own; free with pq_options_deinit. */
struct pq_options {
    PQconninfoOption *parsed;
    const char *keywords[64];
    const char *values[64];
    char timeout[16];
    unsigned count;
    const char *host; /* To be resolved first, or NULL: socket, hostaddr or a numeric address. */
    const char *port;
};
int pq_options_init(struct pq_options *o, const char *conninfo, const char *application_name,
                    uint32_t connect_timeout_ms, struct err *err) MUST_CHECK;
void pq_options_add(struct pq_options *o, const char *keyword, const char *value); /* Borrowed. */
void pq_options_deinit(struct pq_options *o);

#endif

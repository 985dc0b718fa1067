/* The blocking connection, for worker threads. A query is sent whole and its answer awaited; a
 * statement that runs too long is ended by the server, a server that is silent by TCP keepalives
 * and tcp_user_timeout. Errors leave the connection usable unless it was lost. */
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/store/pq_internal.h"

struct pq_conn {
    PGconn *conn;
    char sqlstate[PQ_SQLSTATE_BYTES];
};

int pq_conn_open(const char *conninfo, const char *application_name, uint32_t connect_timeout_ms,
                 uint32_t statement_timeout_ms, struct pq_conn **out_conn, struct err *err)
{
    struct pq_options options;
    struct pq_conn *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    int rc = pq_options_init(&options, conninfo, application_name, connect_timeout_ms, err);
    if (rc != 0) {
        mem_free(c);
        return rc;
    }
    pq_options_add(&options, "tcp_user_timeout", "30000");
    c->conn = PQconnectdbParams(options.keywords, options.values, 0);
    pq_options_deinit(&options);
    if (c->conn == NULL || PQstatus(c->conn) != CONNECTION_OK) {
        char state[PQ_SQLSTATE_BYTES], message[256];
        pq_error_describe(NULL, c->conn, state, message, sizeof message);
        rc = err_set(err, ERR_UNAVAILABLE, "database: %s", message);
        pq_conn_close(c);
        return rc;
    }
    (void)PQsetNoticeProcessor(c->conn, pq_ignore_notice, NULL);
    char setup[256];
    snprintf(setup, sizeof setup,
             "SET statement_timeout = %u; SET TimeZone = 'UTC'; SET client_min_messages = warning; "
             "SET bytea_output = hex; SET DateStyle = ISO; " PQ_NO_JIT,
             statement_timeout_ms);
    rc = pq_conn_script(c, setup, err);
    if (rc != 0) {
        pq_conn_close(c);
        return rc;
    }
    /* What a killed process left waiting for a lock would otherwise wait on, and keep the locks
     * that it has. Not every server's platform can. */
    pq_conn_attempt(c, "SET client_connection_check_interval = 2000");
    *out_conn = c;
    return 0;
}

void pq_conn_close(struct pq_conn *c)
{
    if (c == NULL)
        return;
    PQfinish(c->conn);
    mem_free(c);
}

bool pq_conn_is_usable(const struct pq_conn *c)
{
    return PQstatus(c->conn) == CONNECTION_OK && PQtransactionStatus(c->conn) == PQTRANS_IDLE;
}

bool pq_conn_in_transaction(const struct pq_conn *c)
{
    PGTransactionStatusType status = PQtransactionStatus(c->conn);
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

const char *pq_conn_sqlstate(const struct pq_conn *c)
{
    return c->sqlstate;
}

static int fail(struct pq_conn *c, const PGresult *r, struct err *err)
{
    char message[384];
    int code = pq_error_code(r, PQstatus(c->conn) == CONNECTION_BAD);
    pq_error_describe(r, c->conn, c->sqlstate, message, sizeof message);
    return err_set(err, code, "database: %s", message);
}

int pq_conn_query(struct pq_conn *c, const char *sql, struct pq_params *params,
                  struct pq_result **out_result, struct err *err)
{
    struct pq_params none = {0};
    struct pq_values values;
    if (params == NULL)
        params = &none;
    c->sqlstate[0] = '\0';
    if (params->status != 0) {
        int rc = err_set(err, params->status, "query parameters: %s", err_text(params->status));
        pq_params_deinit(params);
        return rc;
    }
    pq_params_values(params, &values);
    PGresult *r = PQexecParams(c->conn, sql, (int)params->count, NULL, values.value, values.length,
                               values.format, 0);
    pq_params_deinit(params);
    if (r == NULL || !pq_result_is_ok(r)) {
        int rc = fail(c, r, err);
        PQclear(r);
        return rc;
    }
    if (out_result != NULL)
        *out_result = (struct pq_result *)(void *)r;
    else
        PQclear(r);
    return 0;
}

int pq_conn_script(struct pq_conn *c, const char *sql, struct err *err)
{
    c->sqlstate[0] = '\0';
    PGresult *r = PQexec(c->conn, sql);
    int rc = r == NULL || !pq_result_is_ok(r) ? fail(c, r, err) : 0;
    PQclear(r);
    return rc;
}

void pq_conn_attempt(struct pq_conn *c, const char *sql)
{
    PQclear(PQexec(c->conn, sql));
}

int pq_conn_stream(struct pq_conn *c, const char *sql, struct pq_params *params, pq_row_cb cb,
                   void *arg, struct err *err)
{
    struct pq_params none = {0};
    struct pq_values values;
    if (params == NULL)
        params = &none;
    int rc = params->status;
    c->sqlstate[0] = '\0';
    if (rc != 0) {
        pq_params_deinit(params);
        return err_set(err, rc, "query parameters: %s", err_text(rc));
    }
    pq_params_values(params, &values);
    int sent = PQsendQueryParams(c->conn, sql, (int)params->count, NULL, values.value,
                                 values.length, values.format, 0);
    pq_params_deinit(params);
    if (sent == 0)
        return fail(c, NULL, err);
    (void)PQsetSingleRowMode(c->conn);
    for (PGresult *r; (r = PQgetResult(c->conn)) != NULL; PQclear(r)) {
        if (rc != 0)
            continue; /* The rest is read away, so that the connection stays usable. */
        if (!pq_result_is_ok(r)) {
            rc = fail(c, r, err);
        } else if (PQresultStatus(r) == PGRES_SINGLE_TUPLE) {
            rc = cb(arg, pq_wrap(r));
            if (rc != 0) {
                PGcancel *cancel = PQgetCancel(c->conn);
                char message[128];
                (void)PQcancel(cancel, message, sizeof message);
                PQfreeCancel(cancel);
            }
        }
    }
    return rc;
}

#include "controlplane/store/training_store.h"

#define DETAIL_MAX (4U << 20)

struct stream {
    training_row_cb cb;
    void *arg;
    struct buf detail;
    struct buf text_hash;
};

static int on_row(void *arg, const struct pq_result *r)
{
    struct stream *s = arg;
    buf_clear(&s->detail);
    buf_clear(&s->text_hash);
    int rc = pq_result_bytes(r, 0, 1, &s->detail);
    if (rc == 0 && !pq_result_is_null(r, 0, 2))
        rc = pq_result_bytes(r, 0, 2, &s->text_hash);
    if (rc != 0)
        return rc;
    struct training_row row = {.ts_us = pq_result_time_us(r, 0, 0),
                               .detail = buf_str(&s->detail),
                               .text_hash = buf_str(&s->text_hash),
                               .source = pq_result_text(r, 0, 3),
                               .score_q16 = (int32_t)pq_result_i64(r, 0, 4),
                               .label_prob = pq_result_double(r, 0, 5)};
    return s->cb(s->arg, &row);
}

/* The label of a request: best source first, earliest of a source. */
#define QUERY(order)                                                                               \
    "WITH label AS MATERIALIZED (SELECT DISTINCT ON (request_id) request_id, source, score_q16, "  \
    "label_prob FROM feedback WHERE ts >= $1::timestamptz - interval '1 minute' AND ts <= "        \
    "$2::timestamptz + interval '1 minute' AND received <= $3 ORDER BY request_id, "               \
    "array_position(ARRAY['eval', 'judge', 'thumb', 'implicit'], source), received, key_id) "      \
    "SELECT d.ts, d.detail, d.text_hash, l.source, l.score_q16, l.label_prob FROM label l JOIN "   \
    "decision d USING (request_id) WHERE d.ts >= $1 AND d.ts < $2 AND d.served_model IS NOT NULL " \
    "AND ($4::text IS NULL OR d.route = ANY (string_to_array($4, chr(10)))) "                      \
    "ORDER BY " order "d.ts, d.node_id, d.epoch, d.seq"

int training_stream(struct pq_conn *c, const struct training_query *query, training_row_cb cb,
                    void *arg, struct err *err)
{
    struct stream s = {.cb = cb, .arg = arg};
    struct pq_params p = {0};
    struct buf routes = {0};
    buf_init(&s.detail, DETAIL_MAX);
    buf_init(&s.text_hash, 256);
    buf_init(&routes, 1U << 20);
    int rc = pq_conn_script(c,
                            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                            "SET LOCAL statement_timeout = 0",
                            err);
    for (size_t i = 0; i < query->route_count && rc == 0; i++) {
        rc = i == 0 ? 0 : buf_append_char(&routes, '\n');
        if (rc == 0)
            rc = buf_append_str(&routes, query->routes[i]);
    }
    if (rc == 0) {
        pq_params_time_us(&p, query->since_us);
        pq_params_time_us(&p, query->until_us);
        pq_params_time_us(&p, query->label_before_us);
        pq_params_text(&p, query->route_count == 0 ? STR_NULL : buf_str(&routes));
        rc = pq_conn_stream(
            c, query->order == TRAINING_BY_QUESTION ? QUERY("d.text_hash, ") : QUERY(""), &p,
            on_row, &s, err);
    }
    pq_conn_attempt(c, "ROLLBACK"); /* Read only: nothing to keep. */
    buf_deinit(&s.detail);
    buf_deinit(&s.text_hash);
    buf_deinit(&routes);
    return rc;
}

/* POST /budgets/reprice: one batch of stored attempts rated anew (release/reprice.h). The caller
 * goes on with `next` as its cursor until there is none; each batch is a transaction of its own, so
 * that stopping in between loses nothing and running again posts nothing twice. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "controlplane/admin/spec.h"
#include "controlplane/release/reprice.h"

#define CURSOR_BYTES 80

static int read_cursor(const char *text, struct reprice_request *q)
{
    struct str us, id;
    struct uuid parsed;
    if (!str_cut(str_from(text), '.', &us, &id) ||
        str_parse_i64(us, 0, INT64_MAX, &q->after_us) != 0 || uuid_parse(id, &parsed) != 0 ||
        !str_copy(id, q->after_id, sizeof q->after_id))
        return ERR_INVALID;
    return 0;
}

static int read_request(const struct admin_call *call, struct reprice_request *q, struct err *err)
{
    const char *model, *since, *until, *cursor, *reason;
    *q = (struct reprice_request){.until_us = clock_wall_us()};
    int rc = call_text(call->body, "model", true, 127, &model, err);
    if (rc == 0)
        rc = call_text(call->body, "since", true, 64, &since, err);
    if (rc == 0)
        rc = call_text(call->body, "until", false, 64, &until, err);
    if (rc == 0)
        rc = call_text(call->body, "cursor", false, CURSOR_BYTES, &cursor, err);
    if (rc == 0)
        rc = call_text(call->body, "reason", false, 500, &reason, err);
    if (rc != 0)
        return rc;
    if (call_time(str_from(since), &q->since_us) != 0 ||
        (until != NULL && call_time(str_from(until), &q->until_us) != 0))
        return err_set(err, ERR_INVALID, "\"since\" and \"until\" must be times, days or ages");
    if (cursor != NULL && read_cursor(cursor, q) != 0)
        return err_set(err, ERR_INVALID, "\"cursor\" is not one that was given");
    q->model = str_from(model);
    q->reason = reason == NULL ? STR("prices corrected") : str_from(reason);
    q->actor = call_actor(call).name;
    return 0;
}

static json_t *usd_json(int64_t nano)
{
    char text[48];
    uint64_t size = nano < 0 ? 0 - (uint64_t)nano : (uint64_t)nano;
    snprintf(text, sizeof text, "%s%llu.%09llu", nano < 0 ? "-" : "",
             (unsigned long long)(size / 1000000000), (unsigned long long)(size % 1000000000));
    return json_string(text);
}

/* Sums with the names of whom they are charged to. */
static int sums_json(struct pq_conn *c, const struct reprice_result *r, json_t *list,
                     struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < r->sum_count; i++) {
        struct pq_params p = {0};
        struct pq_result *name = NULL;
        pq_params_i64(&p, (int64_t)r->sums[i].budget);
        pq_params_i64(&p, r->sums[i].period_start_us);
        rc = pq_conn_query(
            c,
            "SELECT a.kind || ':' || a.name, " SQL_TIME(
                "steelyard_time($2)") " FROM "
                                      "(SELECT 1) one LEFT JOIN budget b ON b.id = $1 "
                                      "LEFT JOIN account a ON a.id = b.account_id",
            &p, &name, err);
        if (rc == 0) {
            bool known = !pq_result_is_null(name, 0, 0);
            json_t *o = json_pack("{s:s?, s:I, s:s, s:o, s:b}", "account",
                                  known ? pq_result_text(name, 0, 0).data : NULL, "budget",
                                  (json_int_t)r->sums[i].budget, "period_start",
                                  pq_result_text(name, 0, 1).data, "amount_usd",
                                  usd_json(r->sums[i].amount), "posted", r->sums[i].posted);
            if (o == NULL || json_array_append_new(list, o) != 0)
                rc = ERR_NOMEM;
        }
        pq_result_destroy(name);
    }
    return rc;
}

static json_t *reply_of(const struct reprice_result *r, json_t *sums)
{
    char cursor[CURSOR_BYTES];
    snprintf(cursor, sizeof cursor, "%lld.%s", (long long)r->last_us, r->last_id);
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:O, s:s?}", "decisions", (json_int_t)r->decisions,
                     "attempts", (json_int_t)r->attempts, "changed", (json_int_t)r->changed,
                     "unpriced", (json_int_t)r->unpriced, "delta_usd", usd_json(r->delta),
                     "accounts", sums, "next", r->more ? cursor : NULL);
}

static json_t *detail_of(const struct reprice_request *q, const struct reprice_result *r)
{
    return json_pack("{s:I, s:I, s:I, s:o}", "since_us", (json_int_t)q->since_us, "until_us",
                     (json_int_t)q->until_us, "changed", (json_int_t)r->changed, "delta_usd",
                     usd_json(r->delta));
}

int budgets_reprice(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct reprice_request q;
    struct reprice_result r = {0};
    json_t *sums = json_array(), *reply = NULL, *detail = NULL;
    int rc = read_request(call, &q, err);
    if (rc == 0)
        rc = change_begin(call, c, err);
    if (rc == 0)
        rc = reprice_batch(c, &q, &r, err);
    if (rc == 0)
        rc = sums == NULL ? ERR_NOMEM : sums_json(c, &r, sums, err);
    if (rc == 0) {
        reply = reply_of(&r, sums);
        detail = detail_of(&q, &r);
        rc = reply == NULL || detail == NULL ? ERR_NOMEM : 0;
    }
    if (rc == 0 && r.changed == 0) { /* Nothing to keep, and nothing to tell the audit. */
        publish_abort(c);
        rc = write_json(call, reply);
    } else if (rc == 0) {
        rc =
            change_end(call, c, "budgets.reprice",
                       json_string_value(json_object_get(call->body, "model")), detail, reply, err);
        reply = NULL; /* Taken. */
    }
    if (rc != 0)
        publish_abort(c);
    json_decref(reply);
    json_decref(detail);
    json_decref(sums);
    reprice_result_deinit(&r);
    return rc;
}

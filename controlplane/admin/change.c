/* Changes with their audit row, and the JSON that statements give. */
#include <string.h>

#include "controlplane/admin/spec.h"

bool change_is_dry(const struct admin_call *call)
{
    return json_is_true(json_object_get(call->body, "dry_run"));
}

int change_read_wait(struct admin_call *call, struct err *err)
{
    const char *text = NULL;
    bool waits = false;
    for (const char *const *f = call->route->fields; f != NULL && *f != NULL; f++)
        waits = waits || strcmp(*f, "wait") == 0;
    if (!waits)
        return 0;
    call->wait_ms = SPREAD_WAIT_MS;
    int rc = call_text(call->body, "wait", false, 20, &text, err);
    if (rc == 0 && text != NULL &&
        (str_parse_duration_ms(str_from(text), &call->wait_ms) != 0 ||
         call->wait_ms > SPREAD_WAIT_MAX_MS))
        rc = err_set(err, ERR_INVALID,
                     "\"wait\" must be how long to wait for the nodes, like 5s, at most %us; "
                     "0s: not at all",
                     SPREAD_WAIT_MAX_MS / 1000);
    return rc;
}

int change_begin(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    const json_t *dry = json_object_get(call->body, "dry_run");
    const char *reason;
    int rc = call_text(call->body, "reason", false, 500, &reason, err);
    if (rc == 0 && dry != NULL && !json_is_boolean(dry))
        rc = err_set(err, ERR_INVALID, "\"dry_run\" must be true or false");
    struct publish_actor actor = call_actor(call);
    return rc != 0 ? rc : publish_begin(c, &actor, err);
}

int change_end(struct admin_call *call, struct pq_conn *c, const char *action, const char *subject,
               const json_t *detail, json_t *reply, struct err *err)
{
    struct publish_actor actor = call_actor(call);
    uint64_t generation = 0;
    char *text = detail == NULL ? NULL : json_dumps(detail, JSON_COMPACT);
    int rc = reply == NULL || (detail != NULL && text == NULL)
                 ? err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM))
                 : 0;
    bool dry = change_is_dry(call);
    if (rc == 0 && dry) {
        publish_abort(c);
        rc = json_object_set_new(reply, "dry_run", json_true()) != 0 ? ERR_NOMEM : 0;
    } else if (rc == 0) {
        rc = publish_commit(c, &actor, str_from(action), str_from(subject), str_from(text),
                            &generation, err);
        if (rc == 0)
            rc = json_object_set_new(reply, "generation", json_integer((json_int_t)generation)) != 0
                     ? ERR_NOMEM
                     : 0;
        call->publish_changed = rc == 0;
        call->generation = generation;
    }
    dump_free(text);
    if (rc == 0)
        call->reply = reply; /* Written when it is known who has it. */
    else
        json_decref(reply);
    return rc;
}

int query_json(struct pq_conn *c, const char *sql, struct pq_params *p, json_t **out_json,
               struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(c, sql, p, &r, err);
    if (rc != 0)
        return rc;
    if (pq_result_rows(r) == 0 || pq_result_is_null(r, 0, 0)) {
        pq_result_destroy(r);
        return ERR_NOT_FOUND;
    }
    struct str text = pq_result_text(r, 0, 0);
    json_t *json = json_loadb(text.data, text.len, JSON_DECODE_ANY, NULL);
    pq_result_destroy(r);
    if (json == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    *out_json = json;
    return 0;
}

int query_page(struct admin_call *call, struct pq_conn *c, const char *sql, struct pq_params *p,
               int64_t limit, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(c, sql, p, &r, err);
    if (rc != 0)
        return rc;
    int rows = pq_result_rows(r);
    json_writer_begin_object(&call->w);
    json_writer_key(&call->w, "items");
    json_writer_begin_array(&call->w);
    for (int i = 0; i < rows; i++)
        json_writer_raw(&call->w, pq_result_text(r, i, 0));
    json_writer_end_array(&call->w);
    json_writer_key(&call->w, "next");
    if (rows < limit)
        json_writer_null(&call->w);
    else
        json_writer_string(&call->w, pq_result_text(r, rows - 1, 1));
    json_writer_end_object(&call->w);
    pq_result_destroy(r);
    return 0;
}

int query_few(struct admin_call *call, struct pq_conn *c, const char *sql, struct str name,
              struct err *err)
{
    struct pq_params p = {0};
    int64_t limit;
    int rc = call_limit(call, &limit, err);
    if (rc != 0)
        return rc;
    pq_params_text(&p, name);
    pq_params_i64(&p, limit);
    return query_page(call, c, sql, &p, limit + 1, err);
}

int write_json(struct admin_call *call, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    if (text == NULL)
        return ERR_NOMEM;
    json_writer_raw(&call->w, str_from(text));
    dump_free(text);
    return 0;
}

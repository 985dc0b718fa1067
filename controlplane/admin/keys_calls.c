/* The handlers of /keys: each one change, one transaction, one audit row. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "controlplane/admin/accounts.h"

#define OVERLAP_MS_DEFAULT 3600000ULL
#define OVERLAP_MS_MAX     (90ULL * 86400000ULL)

/* The end of every change: what the key is now, with the secret if there is a new one. */
static int finish(struct admin_call *call, struct pq_conn *c, const char *action,
                  const struct key_row *key, const json_t *detail, const char *text,
                  struct err *err)
{
    json_t *reply = NULL;
    int rc = key_publish(c, key, err);
    if (rc == 0)
        rc = key_json(c, key->id, &reply, err);
    /* A dry run's secret would never work. */
    if (rc == 0 && text != NULL && !change_is_dry(call) &&
        json_object_set_new(reply, "key", json_string(text)) != 0)
        rc = ERR_NOMEM;
    if (rc != 0) {
        json_decref(reply);
        return rc;
    }
    return change_end(call, c, action, key->public_id, detail, reply, err);
}

int keys_show(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct key_row key;
    json_t *json = NULL;
    int rc = key_find(call, c, call->param[0], KEY_SHOW, &key, err);
    if (rc == 0)
        rc = key_json(c, key.id, &json, err);
    if (rc == 0)
        rc = write_json(call, json);
    json_decref(json);
    return rc;
}

int keys_create(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct key_row key;
    char text[KEY_TEXT_BYTES] = "";
    json_t *detail = json_object();
    int rc = change_begin(call, c, err);
    if (rc == 0)
        rc = key_create(call, c, call->body, &key, text, detail, err);
    if (rc == 0)
        rc = finish(call, c, "key.create", &key, detail, text, err);
    if (rc == 0)
        call->status = change_is_dry(call) ? 200 : 201;
    explicit_bzero(text, sizeof text);
    json_decref(detail);
    return rc;
}

int keys_update(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct key_row key;
    json_t *detail = json_object();
    int rc = change_begin(call, c, err);
    if (rc == 0)
        rc = key_find(call, c, call->param[0], KEY_UPDATE, &key, err);
    if (rc == 0)
        rc = key_update(call, c, call->body, &key, detail, err);
    key.has_budget = true; /* Now maybe, or its rates stand beside one. */
    if (rc == 0)
        rc = finish(call, c, "key.update", &key, detail, NULL, err);
    json_decref(detail);
    return rc;
}

int keys_rotate(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct key_row key;
    char text[KEY_TEXT_BYTES] = "";
    const char *overlap;
    uint64_t overlap_ms = OVERLAP_MS_DEFAULT;
    json_t *detail = json_object();
    int rc = call_text(call->body, "overlap", false, 20, &overlap, err);
    if (rc == 0 && overlap != NULL &&
        (str_parse_duration_ms(str_from(overlap), &overlap_ms) != 0 || overlap_ms > OVERLAP_MS_MAX))
        rc = err_set(err, ERR_INVALID,
                     "\"overlap\" must be the time for which the old secret still works, like 1h, "
                     "0s or 7d, at most 90d");
    if (rc == 0)
        rc = change_begin(call, c, err);
    if (rc == 0)
        rc = key_find(call, c, call->param[0], KEY_ROTATE, &key, err);
    if (rc == 0)
        rc = key_rotate(call, c, &key, overlap_ms, text, err);
    if (rc == 0) {
        json_object_set_new(detail, "overlap_ms", json_integer((json_int_t)overlap_ms));
        rc = finish(call, c, "key.rotate", &key, detail, text, err);
    }
    explicit_bzero(text, sizeof text);
    json_decref(detail);
    return rc;
}

static int set_blocked(struct admin_call *call, struct pq_conn *c, bool blocked, struct err *err)
{
    struct key_row key;
    int rc = change_begin(call, c, err);
    if (rc == 0)
        rc = key_find(call, c, call->param[0], blocked ? KEY_STOP : KEY_ENABLE, &key, err);
    if (rc == 0)
        rc = key_block(c, &key, blocked, err);
    if (rc == 0 && !blocked)
        rc = rights_check(call, c, key.id, err);
    return rc == 0 ? finish(call, c, blocked ? "key.disable" : "key.enable", &key, NULL, NULL, err)
                   : rc;
}

int keys_disable(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return set_blocked(call, c, true, err);
}

int keys_enable(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return set_blocked(call, c, false, err);
}

/* Only ever earlier: later is an update. */
int keys_expire(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct spec s;
    struct key_row key;
    struct pq_params p = {0};
    spec_init(&s, call->body, err);
    if (spec_has(&s, "at"))
        spec_time(&s, "at", "expires", false);
    else
        spec_time_us(&s, "expires", clock_wall_us());
    int rc = s.status;
    if (rc == 0)
        rc = change_begin(call, c, err);
    if (rc == 0)
        rc = key_find(call, c, call->param[0], KEY_STOP, &key, err);
    if (rc == 0) {
        pq_params_i64(&p, key.id);
        rc = spec_param(&s, &p);
    }
    if (rc == 0)
        rc = pq_conn_query(c,
                           "UPDATE api_key SET expires = least(expires, "
                           "($2::jsonb ->> 'expires')::timestamptz) WHERE id = $1",
                           &p, NULL, err);
    if (rc == 0)
        rc = finish(call, c, "key.expire", &key, s.columns, NULL, err);
    pq_params_deinit(&p);
    spec_deinit(&s);
    return rc;
}

int keys_delete(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct key_row key;
    int rc = change_begin(call, c, err);
    if (rc == 0)
        rc = key_find(call, c, call->param[0], KEY_STOP, &key, err);
    if (rc == 0)
        rc = key_delete(c, &key, err);
    return rc == 0 ? finish(call, c, "key.delete", &key, NULL, NULL, err) : rc;
}

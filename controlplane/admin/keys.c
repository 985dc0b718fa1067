/* API keys: made here, shown once, stored as SHA-256. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/crypto/digest.h"
#include "control.pb-c.h"
#include "controlplane/admin/call.h"

#define PUBLIC_ID_CHARS 10
#define SECRET_CHARS    32 /* 62^32 > 2^190. */
#define SCOPE_MAX       256

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static int random_text(char *out, size_t count)
{
    for (size_t i = 0; i < count;) {
        uint8_t byte;
        int rc = rand_secure(&byte, 1);
        if (rc != 0)
            return rc;
        if (byte < 248) /* 4 * 62: no character is likelier than another. */
            out[i++] = base62[byte % 62];
    }
    out[count] = '\0';
    return 0;
}

/* A list of names as lines (none holds a line feed), for string_to_array. known: names that exist,
 * or NULL when nothing is published yet. */
static int read_scope(const struct admin_call *call, const char *field, char *const *known,
                      size_t known_count, bool check, struct buf *out, struct err *err)
{
    const json_t *list = json_object_get(call->body, field);
    buf_init(out, 65536);
    if (list == NULL || json_is_null(list))
        return 0;
    if (!json_is_array(list) || json_array_size(list) > SCOPE_MAX)
        return err_set(err, ERR_INVALID, "\"%s\" must be a list of at most %d names", field,
                       SCOPE_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name == NULL || name[0] == '\0' || strlen(name) > 127 || strpbrk(name, "\n\r") != NULL)
            return err_set(err, ERR_INVALID, "\"%s\" must hold names", field);
        bool found = !check;
        for (size_t k = 0; k < known_count && !found; k++)
            found = strcmp(known[k], name) == 0;
        if (!found)
            return err_set(err, ERR_INVALID, "%s: there is no \"%.100s\"", field, name);
        int rc = i == 0 ? 0 : buf_append_char(out, '\n');
        if (rc == 0)
            rc = buf_append_text(out, name);
        if (rc != 0)
            return rc;
    }
    return 0;
}

struct scopes {
    struct buf routes;
    struct buf models;
};

static int read_scopes(const struct admin_call *call, struct scopes *out, struct err *err)
{
    const struct publish_resource *r = call_resource(call, STR("catalogue"));
    Steelyard__Control__V1__Catalogue *m =
        r == NULL ? NULL
                  : steelyard__control__v1__catalogue__unpack(NULL, r->body.len,
                                                              (const uint8_t *)r->body.data);
    size_t routes = m == NULL ? 0 : m->n_routes, models = m == NULL ? 0 : m->n_models;
    char **names = mem_calloc(routes + models + 1, sizeof *names);
    int rc = names == NULL ? ERR_NOMEM : 0;
    for (size_t i = 0; i < routes && rc == 0; i++)
        names[i] = m->routes[i]->name;
    for (size_t i = 0; i < models && rc == 0; i++)
        names[routes + i] = m->models[i]->id;
    if (rc == 0)
        rc = read_scope(call, "routes", names, routes, m != NULL, &out->routes, err);
    if (rc == 0)
        rc = read_scope(call, "models", names == NULL ? NULL : names + routes, models, m != NULL,
                        &out->models, err);
    mem_free(names);
    if (m != NULL)
        steelyard__control__v1__catalogue__free_unpacked(m, NULL);
    return rc;
}

static int insert_key(struct pq_conn *c, uint64_t id, const char *public_id, const char *key,
                      const char *name, const struct scopes *scopes, bool has_expiry,
                      int64_t expires_us, struct err *err)
{
    struct pq_params p = {0};
    struct sha256 sum = digest_sha256(key, strlen(key));
    pq_params_i64(&p, (int64_t)id);
    pq_params_text(&p, str_from(public_id));
    pq_params_bytes(&p, (struct str){.data = (const char *)sum.bytes, .len = SHA256_BYTES});
    pq_params_text(&p, str_from(name));
    pq_params_text(&p, scopes->routes.len == 0 ? STR_NULL : buf_str(&scopes->routes));
    pq_params_text(&p, scopes->models.len == 0 ? STR_NULL : buf_str(&scopes->models));
    if (has_expiry)
        pq_params_time_us(&p, expires_us);
    else
        pq_params_null(&p);
    return pq_conn_query(
        c,
        "INSERT INTO api_key (id, public_id, sha256, name, routes, models, expires)"
        " VALUES ($1, $2, $3, $4, coalesce(string_to_array($5, chr(10)), '{}'), "
        "coalesce(string_to_array($6, chr(10)), '{}'), $7)",
        &p, NULL, err);
}

static int read_expiry(const struct admin_call *call, bool *out_given, int64_t *out_us,
                       struct err *err)
{
    const char *text;
    uint64_t ms;
    int rc = call_text(call->body, "expires", false, 40, &text, err);
    *out_given = rc == 0 && text != NULL;
    if (!*out_given)
        return rc;
    if (str_parse_duration_ms(str_from(text), &ms) == 0 && ms < (uint64_t)INT64_MAX / 2000)
        *out_us = clock_wall_us() + (int64_t)ms * 1000;
    else if (call_time(str_from(text), out_us) != 0)
        rc = ERR_INVALID;
    if (rc == 0 && *out_us <= clock_wall_us())
        rc = ERR_INVALID;
    return rc == 0 ? 0
                   : err_set(err, ERR_INVALID,
                             "\"expires\" must be a time to come like 2027-01-01T00:00:00Z, or an "
                             "age like 90d");
}

int keys_create(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    char public_id[PUBLIC_ID_CHARS + 1], secret[SECRET_CHARS + 1], key[64],
        now[CLOCK_RFC3339_BYTES];
    struct scopes scopes = {0};
    struct publish_actor actor = call_actor(call);
    const char *name;
    bool has_expiry = false;
    int64_t expires_us = 0;
    uint64_t id = 0, generation;
    int rc = call_text(call->body, "name", true, 127, &name, err);
    if (rc == 0)
        rc = read_expiry(call, &has_expiry, &expires_us, err);
    if (rc == 0)
        rc = read_scopes(call, &scopes, err);
    if (rc == 0)
        rc = rand_secure(&id, sizeof id);
    if (rc == 0)
        rc = random_text(public_id, PUBLIC_ID_CHARS) | random_text(secret, SECRET_CHARS);
    if (rc != 0)
        goto out;
    id = id >> 1 | 1; /* Positive as a bigint, never 0. */
    snprintf(key, sizeof key, "sk-sy-%s-%s", public_id, secret);
    rc = publish_begin(c, &actor, err);
    if (rc == 0)
        rc = insert_key(c, id, public_id, key, name, &scopes, has_expiry, expires_us, err);
    if (rc == 0)
        rc = publish_put_keys(c, err);
    if (rc == 0)
        rc = publish_commit(c, &actor, STR("key.create"), str_from(public_id), STR_NULL,
                            &generation, err);
    if (rc != 0) {
        publish_abort(c);
        goto out;
    }
    clock_format_rfc3339(clock_wall_us(), now);
    json_writer_begin_object(&call->w);
    json_writer_key(&call->w, "id");
    json_writer_text(&call->w, public_id);
    json_writer_key(&call->w, "name");
    json_writer_text(&call->w, name);
    json_writer_key(&call->w, "key");
    json_writer_text(&call->w, key);
    json_writer_key(&call->w, "created");
    json_writer_text(&call->w, now);
    json_writer_key(&call->w, "generation");
    json_writer_u64(&call->w, generation);
    json_writer_end_object(&call->w);
    call->status = 201;
    call->publish_changed = true;
out:
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(key, sizeof key);
    buf_deinit(&scopes.routes);
    buf_deinit(&scopes.models);
    return rc;
}

#define KEY_COLUMNS                                                                                \
    "k.public_id, k.name, array_to_json(k.routes), array_to_json(k.models), k.disabled, "          \
    "k.created, "                                                                                  \
    "k.expires, (SELECT max(last_ts) FROM usage_hour u WHERE u.key_id = k.id), k.source"

static void write_key(struct json_writer *w, const struct pq_result *r, int row)
{
    json_writer_begin_object(w);
    call_write_column(w, "id", r, row, 0);
    call_write_column(w, "name", r, row, 1);
    json_writer_key(w, "routes");
    json_writer_raw(w, pq_result_text(r, row, 2));
    json_writer_key(w, "models");
    json_writer_raw(w, pq_result_text(r, row, 3));
    json_writer_key(w, "disabled");
    json_writer_bool(w, pq_result_bool(r, row, 4));
    call_write_time(w, "created", r, row, 5);
    call_write_time(w, "expires", r, row, 6);
    call_write_time(w, "last_used", r, row, 7);
    call_write_column(w, "source", r, row, 8);
    json_writer_end_object(w);
}

/* Ends a list: "next" is the cursor of the last row when the page is full. */
static void write_next(struct json_writer *w, const struct pq_result *r, int rows, int64_t limit,
                       int column)
{
    json_writer_key(w, "next");
    if (rows < limit)
        json_writer_null(w);
    else
        json_writer_string(w, pq_result_text(r, rows - 1, column));
}

int keys_list(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    int64_t limit;
    int rc = call_limit(call, &limit, err);
    char cursor[64];
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    if (rc != 0)
        return rc;
    bool has_cursor = call_query(call, "cursor", cursor, sizeof cursor, &rc);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "cursor: not one of ours");
    pq_params_text(&p, has_cursor ? str_from(cursor) : STR_NULL);
    pq_params_i64(&p, limit);
    rc = pq_conn_query(c,
                       "SELECT " KEY_COLUMNS " FROM api_key k WHERE $1::text IS NULL OR "
                       "(k.created, k.public_id) > (SELECT created, public_id FROM api_key WHERE "
                       "public_id = $1) ORDER BY k.created, k.public_id LIMIT $2",
                       &p, &r, err);
    if (rc != 0)
        return rc;
    int rows = pq_result_rows(r);
    json_writer_begin_object(&call->w);
    json_writer_key(&call->w, "items");
    json_writer_begin_array(&call->w);
    for (int i = 0; i < rows; i++)
        write_key(&call->w, r, i);
    json_writer_end_array(&call->w);
    write_next(&call->w, r, rows, limit, 0);
    json_writer_end_object(&call->w);
    pq_result_destroy(r);
    return 0;
}

int keys_disable(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct publish_actor actor = call_actor(call);
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    const char *reason;
    uint64_t generation;
    int rc = call_text(call->body, "reason", false, 500, &reason, err);
    if (rc == 0)
        rc = publish_begin(c, &actor, err);
    if (rc == 0) {
        pq_params_text(&p, str_from(call->param[0]));
        rc = pq_conn_query(c,
                           "UPDATE api_key k SET disabled = true, blocked = true WHERE "
                           "public_id = $1 RETURNING " KEY_COLUMNS,
                           &p, &r, err);
    }
    if (rc == 0 && pq_result_rows(r) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "there is no key %s", call->param[0]);
    if (rc == 0)
        rc = publish_put_keys(c, err);
    if (rc == 0)
        rc = publish_commit(c, &actor, STR("key.disable"), str_from(call->param[0]), STR_NULL,
                            &generation, err);
    if (rc != 0) {
        publish_abort(c);
    } else {
        write_key(&call->w, r, 0);
        call->publish_changed = true;
    }
    pq_result_destroy(r);
    return rc;
}

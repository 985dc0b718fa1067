#include "controlplane/release/apply.h"

#include <string.h>

#include "common/base/mem.h"
#include "control.pb-c.h"

#define BODY_BYTES_MAX (64U << 20)

static int put(struct pq_conn *c, const char *key, uint32_t type, const struct buf *body,
               struct err *err)
{
    const struct publish_change change = {
        .key = str_from(key),
        .type = type,
        .body = body->len > 0 ? buf_str(body) : STR(""),
    };
    return publish_put(c, &change, err);
}

static int put_limits(struct pq_conn *c, const struct config *config,
                      const struct config_keys *keys, struct err *err)
{
    struct buf body;
    buf_init(&body, BODY_BYTES_MAX);
    int rc = config_limits(config, keys, &body);
    if (rc == 0)
        rc = put(c, "limits", STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_LIMITS, &body, err);
    else
        (void)err_set(err, rc, "limits: %s", err_text(rc));
    buf_deinit(&body);
    return rc;
}

/* Every catalogue that was ever in force stays readable by its digest. */
static int keep_catalogue(struct pq_conn *c, const struct publish_actor *actor,
                          const struct buf *body, struct err *err)
{
    struct pq_params p = {0};
    struct sha256 sha = digest_sha256(body->data, body->len);
    pq_params_bytes(&p, (struct str){.data = (const char *)sha.bytes, .len = SHA256_BYTES});
    pq_params_bytes(&p, buf_str(body));
    pq_params_text(&p, actor->name);
    return pq_conn_query(c,
                         "INSERT INTO catalogue_version (sha256, body, created_by) "
                         "VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                         &p, NULL, err);
}

static int put_catalogue(struct pq_conn *c, const struct publish_actor *actor,
                         const struct config *config, struct err *err)
{
    struct buf body;
    buf_init(&body, BODY_BYTES_MAX);
    int rc = config_catalogue(config, &body);
    if (rc != 0)
        (void)err_set(err, rc, "catalogue: %s", err_text(rc));
    if (rc == 0)
        rc = keep_catalogue(c, actor, &body, err);
    if (rc == 0)
        rc = put(c, "catalogue", STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_CATALOGUE, &body,
                 err);
    buf_deinit(&body);
    return rc;
}

static int put_prices(struct pq_conn *c, const struct config *config, struct err *err)
{
    struct buf catalogue, given;
    buf_init(&catalogue, BODY_BYTES_MAX);
    buf_init(&given, BODY_BYTES_MAX);
    int rc = config_catalogue(config, &catalogue);
    if (rc == 0)
        rc = config_prices(config, &given);
    if (rc == 0)
        rc = publish_put_prices(c, buf_str(&catalogue), buf_str(&given), err);
    else
        (void)err_set(err, rc, "prices: %s", err_text(rc));
    buf_deinit(&catalogue);
    buf_deinit(&given);
    return rc;
}

static int put_policies(struct pq_conn *c, const struct publish_actor *actor,
                        const struct config *config, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < config_policy_count(config); i++) {
        struct buf params;
        buf_init(&params, BODY_BYTES_MAX);
        rc = config_params(config, i, &params);
        if (rc == 0)
            rc = publish_put_policy(c, actor, config_policy_at(config, i).name, buf_str(&params),
                                    err);
        else
            (void)err_set(err, rc, "policies: %s", err_text(rc));
        buf_deinit(&params);
    }
    return rc;
}

/* A Postgres array literal; names of a checked file hold no control bytes. */
static int names_literal(const struct str *names, size_t count, struct buf *out)
{
    int rc = buf_append_char(out, '{');
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = buf_append_text(out, i > 0 ? ",\"" : "\"");
        for (size_t at = 0; rc == 0 && at < names[i].len; at++) {
            if (names[i].data[at] == '"' || names[i].data[at] == '\\')
                rc = buf_append_char(out, '\\');
            if (rc == 0)
                rc = buf_append_char(out, names[i].data[at]);
        }
        if (rc == 0)
            rc = buf_append_char(out, '"');
    }
    return rc == 0 ? buf_append_char(out, '}') : rc;
}

/* The numeric id follows from the public one, so that the same file makes the same key anywhere. */
static int64_t key_number(struct str public_id)
{
    struct sha256 sum = digest_sha256(public_id.data, public_id.len);
    int64_t number;
    memcpy(&number, sum.bytes, sizeof number);
    return number != 0 ? number : 1;
}

static int put_key(struct pq_conn *c, const struct config_key *key, struct err *err)
{
    struct pq_params p = {0};
    struct buf routes = {0}, models = {0}, regions = {0};
    buf_init(&routes, BODY_BYTES_MAX);
    buf_init(&models, BODY_BYTES_MAX);
    buf_init(&regions, BODY_BYTES_MAX);
    int rc = names_literal(key->routes, key->route_count, &routes);
    if (rc == 0)
        rc = names_literal(key->models, key->model_count, &models);
    if (rc == 0)
        rc = names_literal(key->regions, key->region_count, &regions);
    if (rc == 0) {
        pq_params_i64(&p, key_number(key->id));
        pq_params_text(&p, key->id);
        pq_params_bytes(&p, (struct str){.data = (const char *)key->sha256, .len = SHA256_BYTES});
        pq_params_text(&p, buf_str(&routes));
        pq_params_text(&p, buf_str(&models));
        pq_params_i64(&p, (int64_t)key->rpm);
        pq_params_i64(&p, (int64_t)key->tpm);
        pq_params_i64(&p, (int64_t)key->concurrency);
        pq_params_text(&p, buf_str(&regions));
        pq_params_i64(&p, key->require_data);
        rc = pq_conn_query(c,
                           "INSERT INTO api_key (id, public_id, sha256, name, routes, models, "
                           "source, created_by, rpm, tpm, concurrency, require_regions, "
                           "data_collection, zdr) VALUES ($1, $2, $3, $2, $4, "
                           "$5, 'config', 'config', nullif($6::bigint, 0), nullif($7::bigint, 0), "
                           "nullif($8::bigint, 0), $9, CASE WHEN $10::bigint & 1 <> 0 THEN 'deny' "
                           "END, $10::bigint & 2 <> 0) "
                           "ON CONFLICT (id) DO UPDATE SET sha256 = excluded.sha256, "
                           "routes = excluded.routes, models = excluded.models, "
                           "rpm = excluded.rpm, tpm = excluded.tpm, "
                           "concurrency = excluded.concurrency, "
                           "require_regions = excluded.require_regions, "
                           "data_collection = excluded.data_collection, zdr = excluded.zdr, "
                           "disabled = api_key.blocked "
                           "WHERE api_key.source = 'config' AND api_key.removed IS NULL",
                           &p, NULL, err);
    } else {
        (void)err_set(err, rc, "keys: %s", err_text(rc));
    }
    buf_deinit(&routes);
    buf_deinit(&models);
    buf_deinit(&regions);
    return rc;
}

/* A key that left the file is disabled, not deleted: its decisions name it. One that a person
 * disabled or removed stays so, whatever the file says. */
static int put_keys(struct pq_conn *c, const struct config *config, struct err *err)
{
    int rc = pq_conn_query(c,
                           "UPDATE api_key SET disabled = true WHERE source = 'config' "
                           "AND removed IS NULL",
                           NULL, NULL, err);
    for (size_t i = 0; rc == 0 && i < config_key_count(config); i++) {
        const struct config_key key = config_key_at(config, i);
        rc = put_key(c, &key, err);
    }
    return rc;
}

int apply_config(struct pq_conn *c, const struct publish_actor *actor, const struct config *config,
                 const struct config_keys *keys, uint64_t *out_generation, struct err *err)
{
    int rc = publish_begin(c, actor, err);
    if (rc == 0)
        rc = put_limits(c, config, keys, err);
    if (rc == 0 && config != NULL)
        rc = put_catalogue(c, actor, config, err);
    if (rc == 0 && config != NULL)
        rc = put_prices(c, config, err);
    if (rc == 0 && config != NULL)
        rc = put_policies(c, actor, config, err);
    if (rc == 0 && config != NULL)
        rc = put_keys(c, config, err);
    if (rc == 0)
        rc = publish_put_keys(c, err);
    if (rc == 0)
        rc = publish_put_accounts(c, err);
    if (rc == 0)
        rc = publish_commit(c, actor, STR("config.apply"), STR("config"), STR("{}"), out_generation,
                            err);
    if (rc != 0)
        publish_abort(c);
    return rc;
}

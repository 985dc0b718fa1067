/* API keys: what they are, who may do what to them, and their changes. A key is shown once and
 * stored as SHA-256; its row stays for ever, its public id is never given out again. Handlers are
 * in keys_calls.c. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/crypto/digest.h"
#include "common/route/require.h"
#include "control.pb-c.h"
#include "controlplane/admin/accounts.h"

#define PUBLIC_ID_CHARS 10
#define SECRET_CHARS    32 /* 62^32 > 2^190. */

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
static const char *const roles[] = {"viewer", "operator", "admin", NULL};
static const char *const collection_words[] = {"allow", "deny", NULL};
static const char *const endpoints[] = {
    "chat.completions", "completions", "responses", "messages", "embeddings",
    "rerank",           "moderations", "models",    "decision", "feedback"};

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

static int make_secret(const char *public_id, char out_text[KEY_TEXT_BYTES], struct err *err)
{
    char secret[SECRET_CHARS + 1];
    int rc = random_text(secret, SECRET_CHARS);
    if (rc != 0)
        return err_set(err, rc, "no randomness");
    snprintf(out_text, KEY_TEXT_BYTES, "sk-sy-%s-%s", public_id, secret);
    explicit_bzero(secret, sizeof secret);
    return 0;
}

static void add_digest(struct pq_params *p, const char *text)
{
    struct sha256 sum = digest_sha256(text, strlen(text));
    pq_params_bytes(p, (struct str){.data = (const char *)sum.bytes, .len = SHA256_BYTES});
}

/* --- fields -------------------------------------------------------------------------------------
 */

/* Routes and models must exist once a catalogue is published. */
static void read_names(const struct admin_call *call, struct spec *s)
{
    const struct publish_resource *r = call_resource(call, STR("catalogue"));
    Steelyard__Control__V1__Catalogue *m =
        r == NULL ? NULL
                  : steelyard__control__v1__catalogue__unpack(NULL, r->body.len,
                                                              (const uint8_t *)r->body.data);
    size_t route_count = m == NULL ? 0 : m->n_routes, model_count = m == NULL ? 0 : m->n_models;
    const char **names = mem_calloc(route_count + model_count + 1, sizeof *names);
    if (names == NULL && s->status == 0)
        s->status = err_set(s->err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    for (size_t i = 0; i < route_count && names != NULL; i++)
        names[i] = m->routes[i]->name;
    for (size_t i = 0; i < model_count && names != NULL; i++)
        names[route_count + i] = m->models[i]->id;
    spec_names(s, "routes", "routes", m == NULL ? NULL : names, route_count);
    spec_names(s, "models", "models", m == NULL || names == NULL ? NULL : names + route_count,
               model_count);
    mem_free(names);
    if (m != NULL)
        steelyard__control__v1__catalogue__free_unpacked(m, NULL);
}

static void read_account(struct admin_call *call, struct pq_conn *c, struct spec *s,
                         const char *kind, const char *column, int64_t bound)
{
    const json_t *value = json_object_get(s->body, kind);
    const char *name;
    int64_t id;
    if (s->status == 0 && json_is_null(value)) {
        spec_set(s, column, json_null());
    } else if (s->status == 0 && value != NULL) {
        s->status = call_text(s->body, kind, true, 127, &name, s->err);
        if (s->status == 0)
            s->status =
                account_find_kind(call, c, kind, name, strcmp(kind, "user") == 0, &id, s->err);
        if (s->status == ERR_NOT_FOUND) {
            s->status = 0;
            spec_fail(s, "%s: there is no \"%.100s\"", kind, name);
        }
        if (s->status == 0)
            spec_set(s, column, json_integer(id));
    } else if (s->status == 0 && bound != 0) {
        spec_set(s, column, json_integer(bound));
    }
}

/* Of the deployments that may serve it. Regions are kept in small letters: a maker's bound is
 * compared by them. */
static void read_require(struct spec *s)
{
    size_t i;
    const json_t *one, *list = json_object_get(s->body, "require_regions");
    spec_names(s, "require_regions", "require_regions", NULL, 0);
    if (s->status == 0 && json_array_size(list) > REQUIRE_REGIONS_MAX)
        spec_fail(s, "require_regions: at most %d", REQUIRE_REGIONS_MAX);
    json_t *small = json_array();
    json_array_foreach(list, i, one)
    {
        char text[REQUIRE_REGION_BYTES_MAX + 1];
        struct str name = str_from(json_string_value(one));
        if (s->status == 0 && (!require_region_valid(name) || !str_copy(name, text, sizeof text)))
            spec_fail(s, "require_regions: a region has 1 to %d letters, digits and '-'",
                      REQUIRE_REGION_BYTES_MAX);
        if (s->status != 0)
            break;
        for (char *at = text; *at != '\0'; at++)
            *at = (char)(*at >= 'A' && *at <= 'Z' ? *at + ('a' - 'A') : *at);
        json_array_append_new(small, json_string(text));
    }
    if (s->status == 0 && json_array_size(list) > 0)
        spec_set(s, "require_regions", small);
    else
        json_decref(small);
    spec_word(s, "data_collection", "data_collection", collection_words);
    spec_bool(s, "zdr", "zdr");
}

/* What a body says about a key. For a new one, accounts that its maker is bound to are taken when
 * nothing else is said. */
static void read_key(struct admin_call *call, struct pq_conn *c, struct spec *s, bool is_new)
{
    const struct admin_caller *who = &call->caller;
    if (is_new ? !json_is_string(json_object_get(s->body, "name"))
               : json_is_null(json_object_get(s->body, "name")))
        spec_fail(s, "\"name\" is missing");
    spec_text(s, "name", "name", 127);
    spec_time(s, "expires", "expires", true);
    read_names(call, s);
    spec_names(s, "endpoints", "endpoints", endpoints, sizeof endpoints / sizeof endpoints[0]);
    spec_names(s, "tags", "tags", NULL, 0);
    spec_count(s, "rpm", "rpm", 1, 1000000000);
    spec_count(s, "tpm", "tpm", 1, 1000000000000);
    spec_count(s, "concurrency", "concurrency", 1, 1000000);
    spec_usd(s, "max_cost_usd", "max_cost_nano", 1);
    read_require(s);
    spec_bool(s, "no_explore", "no_explore");
    spec_bool(s, "may_no_log", "may_no_log");
    spec_object(s, "metadata", "metadata");
    if (is_new)
        spec_word(s, "role", "role", roles);
    /* The team names its org. */
    bool has_team = spec_has(s, "team") || (is_new && who->team != 0);
    if (spec_has(s, "team") && json_is_string(json_object_get(s->body, "team")) &&
        spec_has(s, "org"))
        spec_fail(s, "\"org\" follows from \"team\": give one of them");
    read_account(call, c, s, "team", "team_id", is_new ? who->team : 0);
    read_account(call, c, s, "org", "org_id", is_new && !has_team ? who->org : 0);
    read_account(call, c, s, "user", "user_id", is_new ? who->user : 0);
}

/* An admin has no bounds but its expiry; a scope would be a promise that nothing keeps. */
static int check_role(struct pq_conn *c, int64_t id, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, id);
    int rc = pq_conn_query(
        c,
        "SELECT 1 FROM api_key k WHERE id = $1 AND role = 'admin' AND (num_nonnulls(team_id, "
        "org_id, user_id, max_cost_nano, rpm, tpm, concurrency) > 0 OR routes || models || "
        "endpoints || tags || require_regions <> '{}' OR data_collection = 'deny' OR zdr OR EXISTS "
        "(SELECT FROM budget b WHERE b.account_id = k.id "
        "AND b.removed IS NULL))",
        &p, &r, err);
    if (rc == 0 && pq_result_rows(r) > 0)
        rc = err_set(err, ERR_INVALID,
                     "role: an admin has no scope, limits or budgets; make it an "
                     "operator, or leave them out");
    pq_result_destroy(r);
    return rc;
}

static int put_budgets(struct admin_call *call, struct pq_conn *c, const json_t *body,
                       struct key_row *key, json_t *detail, struct err *err)
{
    const json_t *list = json_object_get(body, "budgets");
    int rc = 0;
    if (list == NULL)
        return 0;
    if (!json_is_array(list) || json_array_size(list) > 4)
        return err_set(err, ERR_INVALID, "\"budgets\" must be a list of at most 4 budgets");
    json_t *done = json_array();
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
        int64_t id;
        json_t *one = json_object();
        rc = call_check_fields(json_array_get(list, i), budget_fields, err);
        if (rc == 0)
            rc = budget_put(call, c, json_array_get(list, i), key->id, 0, one, &id, err);
        json_array_append_new(done, one);
        key->has_budget = true;
    }
    json_object_set_new(detail, "budgets", done);
    return rc;
}

/* --- changes ------------------------------------------------------------------------------------
 */

#define KEY_LIST                                                                                   \
    "name, routes, models, endpoints, expires, team_id, org_id, user_id, tags, rpm, tpm, "         \
    "concurrency, max_cost_nano, no_explore, may_no_log, metadata, require_regions, "              \
    "data_collection, zdr"

static const char insert_sql[] =
    "INSERT INTO api_key (id, public_id, sha256, maker, created_by, role, " KEY_LIST ") "
    "SELECT $1, $2, $3, m.id, $5, r.role, r.name, coalesce(r.routes, m.routes, '{}'), "
    "coalesce(r.models, m.models, '{}'), coalesce(r.endpoints, m.endpoints, '{}'), "
    "coalesce(r.expires, m.expires), r.team_id, r.org_id, r.user_id, "
    "coalesce(r.tags, m.tags, '{}'), r.rpm, r.tpm, r.concurrency, "
    "coalesce(r.max_cost_nano, m.max_cost_nano), coalesce(r.no_explore, m.no_explore, false), "
    "coalesce(r.may_no_log, false), coalesce(r.metadata, '{}'), "
    "coalesce(r.require_regions, m.require_regions, '{}'), "
    "coalesce(r.data_collection, m.data_collection), coalesce(r.zdr, m.zdr, false) "
    "FROM jsonb_populate_record(NULL::api_key, $6::jsonb) r "
    "LEFT JOIN api_key m ON m.id = nullif($4::bigint, 0)";

int key_create(struct admin_call *call, struct pq_conn *c, const json_t *body, struct key_row *out,
               char out_text[KEY_TEXT_BYTES], json_t *detail, struct err *err)
{
    struct spec s;
    struct pq_params p = {0};
    uint64_t id = 0;
    memset(out, 0, sizeof *out);
    spec_init(&s, body, err);
    read_key(call, c, &s, true);
    int rc = s.status;
    if (rc == 0)
        rc = rand_secure(&id, sizeof id) | random_text(out->public_id, PUBLIC_ID_CHARS);
    if (rc == 0)
        rc = make_secret(out->public_id, out_text, err);
    out->id = (int64_t)(id >> 1 | 1); /* Positive as a bigint, never 0. */
    out->is_mine = true;
    out->has_role = json_is_string(json_object_get(s.columns, "role"));
    if (rc == 0) {
        pq_params_i64(&p, out->id);
        pq_params_text(&p, str_from(out->public_id));
        add_digest(&p, out_text);
        pq_params_i64(&p, call->caller.id);
        pq_params_text(&p, str_from(call->caller.name));
        rc = spec_param(&s, &p);
        if (rc == 0)
            rc = pq_conn_query(c, insert_sql, &p, NULL, err);
        else
            pq_params_deinit(&p);
    }
    if (rc == 0)
        rc = put_budgets(call, c, body, out, detail, err);
    if (rc == 0)
        rc = rights_check(call, c, out->id, err);
    if (rc == 0)
        rc = check_role(c, out->id, err);
    if (rc == 0)
        rc = budget_check_paths(c, out->id, err);
    if (rc == 0)
        rc = json_object_update(detail, s.columns) != 0 ? ERR_NOMEM : 0;
    spec_deinit(&s);
    return rc;
}

int key_update(struct admin_call *call, struct pq_conn *c, const json_t *body,
               const struct key_row *key, json_t *detail, struct err *err)
{
    struct spec s;
    struct pq_params p = {0};
    struct key_row changed = *key;
    spec_init(&s, body, err);
    read_key(call, c, &s, false);
    int rc = s.status;
    if (rc == 0) {
        pq_params_i64(&p, key->id);
        rc = spec_param(&s, &p);
        if (rc == 0)
            rc = pq_conn_query(c,
                               "UPDATE api_key k SET (" KEY_LIST ") = (SELECT " KEY_LIST
                               " FROM jsonb_populate_record(k, $2::jsonb)) WHERE id = $1",
                               &p, NULL, err);
        else
            pq_params_deinit(&p);
    }
    if (rc == 0)
        rc = put_budgets(call, c, body, &changed, detail, err);
    if (rc == 0)
        rc = rights_check(call, c, key->id, err);
    if (rc == 0)
        rc = check_role(c, key->id, err);
    if (rc == 0 && key->has_role)
        rc = rights_check_below(c, key->id, err);
    if (rc == 0)
        rc = budget_check_paths(c, key->id, err);
    if (rc == 0)
        rc = json_object_update(detail, s.columns) != 0 ? ERR_NOMEM : 0;
    spec_deinit(&s);
    return rc;
}

int key_rotate(struct admin_call *call, struct pq_conn *c, const struct key_row *key,
               uint64_t overlap_ms, char out_text[KEY_TEXT_BYTES], struct err *err)
{
    struct pq_params p = {0};
    int rc = make_secret(key->public_id, out_text, err);
    if (rc != 0)
        return rc;
    pq_params_i64(&p, key->id);
    add_digest(&p, out_text);
    pq_params_i64(&p, (int64_t)overlap_ms);
    rc = pq_conn_query(c,
                       "UPDATE api_key SET prev_sha256 = CASE WHEN $3 > 0 THEN sha256 END, "
                       "prev_until = CASE WHEN $3 > 0 THEN now() + $3 * interval '1 ms' END, "
                       "sha256 = $2, rotated = now() WHERE id = $1",
                       &p, NULL, err);
    /* Whoever gets the new secret has all that the key has. */
    return rc == 0 ? rights_check(call, c, key->id, err) : rc;
}

int key_block(struct pq_conn *c, const struct key_row *key, bool blocked, struct err *err)
{
    struct pq_params p = {0};
    pq_params_i64(&p, key->id);
    pq_params_bool(&p, blocked);
    return pq_conn_query(c, "UPDATE api_key SET disabled = $2, blocked = $2 WHERE id = $1", &p,
                         NULL, err);
}

int key_delete(struct pq_conn *c, const struct key_row *key, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, key->id);
    int rc = pq_conn_query(c,
                           "SELECT public_id FROM api_key WHERE maker = $1 AND removed IS NULL "
                           "LIMIT 1",
                           &p, &r, err);
    if (rc == 0 && pq_result_rows(r) > 0)
        rc = err_set(err, ERR_CONFLICT,
                     "it made keys that still live, such as %s: delete them first, or disable it",
                     pq_result_text(r, 0, 0).data);
    pq_result_destroy(r);
    if (rc != 0)
        return rc;
    pq_params_i64(&p, key->id);
    return pq_conn_query(c,
                         "UPDATE api_key SET disabled = true, blocked = true, removed = now(), "
                         "prev_sha256 = NULL, prev_until = NULL WHERE id = $1",
                         &p, NULL, err);
}

int key_publish(struct pq_conn *c, const struct key_row *key, struct err *err)
{
    int rc = key->has_role ? 0 : publish_put_keys(c, err);
    return rc == 0 && key->has_budget ? publish_put_accounts(c, err) : rc;
}

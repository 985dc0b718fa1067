/* Versions, generations and the fence, against a real server. */
#include "controlplane/release/publish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rand.h"
#include "control.pb-c.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/fixture.h"

static struct publish_actor actor(void)
{
    return (struct publish_actor){.name = STR("operator"), .reason = STR("test")};
}

static struct buf params_body(const char *policy, int64_t lambda, uint32_t floor)
{
    struct buf out = {0};
    Steelyard__Control__V1__Params m = STEELYARD__CONTROL__V1__PARAMS__INIT;
    m.policy = (char *)(uintptr_t)policy;
    m.lambda = lambda;
    m.floor_q16 = floor;
    m.eps_cap = m.explore_most = 7;
    buf_init(&out, 4096);
    assert_int_equal(buf_reserve(&out, 4096), 0);
    out.len = steelyard__control__v1__params__pack(&m, (uint8_t *)out.data);
    return out;
}

static uint64_t store(struct pq_conn *c, const char *artifact, bool gates_ok)
{
    struct publish_actor a = actor();
    struct buf params = params_body("p", 5, 0);
    struct publish_policy policy = {.name = STR("p"),
                                    .artifact = str_from(artifact),
                                    .params = buf_str(&params),
                                    .report_json = STR("{\"x\":1}"),
                                    .gates_ok = gates_ok};
    uint64_t version = 0;
    struct err err = {0};
    assert_int_equal(publish_policy_store(c, &a, &policy, &version, &err), 0);
    buf_deinit(&params);
    return version;
}

static void configure(struct pq_conn *c, uint32_t floor, uint64_t *out_generation)
{
    struct publish_actor a = actor();
    struct err err = {0};
    struct buf params = params_body("p", 0, floor);
    assert_int_equal(publish_begin(c, &a, &err), 0);
    assert_int_equal(publish_put_policy(c, &a, STR("p"), buf_str(&params), &err), 0);
    assert_int_equal(
        publish_commit(c, &a, STR("config.load"), STR(""), STR_NULL, out_generation, &err), 0);
    buf_deinit(&params);
}

static void a_rollback_is_a_new_number_with_the_old_content(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct publish_actor a = actor();
    struct err err = {0};
    uint64_t g0, g1 = 0, g2 = 0, g3 = 0, version = 0;
    configure(c, 0, &g0);
    uint64_t v2 = store(c, "artifact two", true);
    uint64_t v3 = store(c, "artifact three", true);
    assert_int_equal(v2, 2);
    assert_int_equal(publish_policy_promote(c, &a, STR("p"), v2, &g1, &err), 0);
    assert_int_equal(g1, g0 + 1);
    assert_int_equal(publish_policy_promote(c, &a, STR("p"), v3, &g2, &err), 0);
    assert_int_equal(publish_policy_rollback(c, &a, STR("p"), 0, &version, &g3, &err), 0);
    assert_int_equal(version, 4);
    assert_int_equal(g3, g2 + 1);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM policy_version a JOIN policy_version b "
                                    "ON a.artifact = b.artifact WHERE a.version = 2 AND "
                                    "b.version = 4 AND b.state = 'current' AND a.params <> "
                                    "b.params AND b.copy_of = 2"),
                     1);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM resource WHERE key = 'artifact/p' AND "
                                    "body = 'artifact two'::bytea"),
                     1);
    /* An older number never comes back as itself. */
    assert_int_equal(publish_policy_promote(c, &a, STR("p"), v3, &g3, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.message, "roll back"));
    assert_int_equal(publish_policy_promote(c, &a, STR("p"), 99, &g3, &err), ERR_NOT_FOUND);
    uint64_t bad = store(c, "artifact bad", false);
    assert_int_equal(publish_policy_promote(c, &a, STR("p"), bad, &g3, &err), ERR_CONFLICT);
    pq_conn_close(c);
}

static void the_file_changes_floor_and_exploration_of_what_is_in_service(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    uint64_t before = (uint64_t)fixture_i64(c, "SELECT generation FROM config_head"), after;
    int64_t number =
        fixture_i64(c, "SELECT version FROM policy_version WHERE name = 'p' AND state = 'current'");
    configure(c, 0, &after); /* As it is: nothing changes. */
    assert_int_equal(after, before);
    configure(c, 100, &after);
    assert_int_equal(after, before + 1);
    assert_int_equal(
        fixture_i64(c, "SELECT count(*) FROM policy_version n JOIN policy_version o USING "
                       "(name, artifact) WHERE n.state = 'current' AND o.state = 'previous'"),
        1);
    assert_true(fixture_i64(c, "SELECT version FROM policy_version WHERE name = 'p' AND "
                               "state = 'current'") > number);
    pq_conn_close(c);
}

static void p8_one_number_keeps_one_content_whatever_is_done(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct publish_actor a = actor();
    struct err err = {0};
    uint64_t generation = 0, version, last = 0;
    rand_seed_thread(7);
    fixture_exec(c, "CREATE TEMP TABLE seen (version bigint PRIMARY KEY, artifact bytea, "
                    "params bytea)");
    for (int i = 0; i < 60; i++) {
        char artifact[32];
        uint64_t highest = (uint64_t)fixture_i64(c, "SELECT max(version) FROM policy_version");
        uint64_t pick = 1 + rand_below(highest);
        int rc;
        switch (rand_below(3)) {
        case 0:
            snprintf(artifact, sizeof artifact, "a%llu", (unsigned long long)rand_below(5));
            (void)store(c, artifact, rand_below(4) > 0);
            break;
        case 1:
            rc = publish_policy_promote(c, &a, STR("p"), pick, &generation, &err);
            assert_true(rc == 0 || rc == ERR_CONFLICT);
            break;
        default:
            rc = publish_policy_rollback(c, &a, STR("p"), rand_below(2) == 0 ? 0 : pick, &version,
                                         &generation, &err);
            assert_true(rc == 0 || rc == ERR_CONFLICT);
        }
        assert_true(generation == 0 || generation >= last);
        last = generation > last ? generation : last;
        fixture_exec(c, "INSERT INTO seen SELECT version, artifact, params FROM policy_version "
                        "WHERE name = 'p' ON CONFLICT DO NOTHING");
        assert_int_equal(
            fixture_i64(c, "SELECT count(*) FROM seen s JOIN policy_version v USING (version) "
                           "WHERE s.params <> v.params OR s.artifact IS DISTINCT FROM v.artifact"),
            0);
        assert_int_equal(fixture_i64(c, "SELECT count(*) FROM policy_version WHERE name = 'p' AND "
                                        "state = 'current'"),
                         1);
        /* What is pushed is the content of the current number. */
        assert_int_equal(
            fixture_i64(c, "SELECT count(*) FROM policy_version v JOIN policy_params q ON "
                           "q.sha256 = v.params JOIN resource r ON r.key = 'params/p' AND "
                           "r.body = q.body WHERE v.name = 'p' AND v.state = 'current'"),
            1);
    }
    /* The database itself refuses. */
    assert_int_equal(pq_conn_script(c, "UPDATE policy_version SET artifact = NULL", &err),
                     ERR_INVALID);
    assert_int_equal(pq_conn_script(c, "DELETE FROM policy_version", &err), ERR_INVALID);
    assert_int_equal(pq_conn_script(c, "DELETE FROM audit_log", &err), ERR_INVALID);
    assert_int_equal(pq_conn_script(c, "TRUNCATE audit_log", &err), ERR_INVALID);
    assert_int_equal(pq_conn_script(c, "UPDATE policy_params SET body = 'x'", &err), ERR_INVALID);
    pq_conn_close(c);
}

static void f11_a_deposed_control_plane_changes_nothing(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    const struct leader_claim old_claim = {LEADER_TRAINER, 5, STR("old")};
    const struct leader_claim new_claim = {LEADER_TRAINER, 6, STR("new")};
    struct publish_actor old = actor(), new = actor();
    old.claim = &old_claim;
    new.claim = &new_claim;
    struct err err = {0};
    uint64_t generation = 0;
    fixture_exec(c, "UPDATE leader_fence SET term = 5, holder = 'old'");
    assert_int_equal(publish_begin(c, &old, &err), 0);
    publish_abort(c);
    int64_t before = fixture_i64(c, "SELECT generation FROM config_head");
    int64_t audit = fixture_i64(c, "SELECT count(*) FROM audit_log");
    const struct leader_claim twin_claim = {LEADER_TRAINER, 5, STR("twin")};
    struct publish_actor twin = actor();
    twin.claim = &twin_claim; /* The same number, of an etcd that counted anew. */
    assert_int_equal(publish_begin(c, &twin, &err), ERR_CONFLICT);
    publish_abort(c);
    assert_int_equal(publish_begin(c, &new, &err), 0);
    assert_int_equal(pq_conn_script(c, "COMMIT", &err), 0);
    assert_int_equal(publish_begin(c, &old, &err), ERR_CONFLICT);
    publish_abort(c);
    assert_int_equal(publish_policy_rollback(c, &old, STR("p"), 0, &generation, &generation, &err),
                     ERR_CONFLICT);
    assert_int_equal(fixture_i64(c, "SELECT generation FROM config_head"), before);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM audit_log"), audit);
    /* Another role's newer term is none of its business, and people are bound by none. */
    struct publish_actor person = actor();
    assert_int_equal(publish_begin(c, &person, &err), 0);
    publish_abort(c);
    pq_conn_close(c);
}

struct watch {
    uint64_t generation;
    unsigned changes;
    size_t keys;
    bool closed;
};

static void on_changed(void *arg, const struct publish_set *set)
{
    struct watch *w = arg;
    w->generation = set->generation;
    w->changes++;
    for (size_t i = 0; i < set->count; i++) {
        struct sha256 sum = digest_sha256(set->items[i].body.data, set->items[i].body.len);
        char hex[SHA256_HEX_BYTES];
        hex_encode(sum.bytes, 32, hex);
        assert_string_equal(hex, set->items[i].version);
        if (str_starts(set->items[i].key, STR("keys/"))) {
            Steelyard__Control__V1__Keys *m = steelyard__control__v1__keys__unpack(
                NULL, set->items[i].body.len, (const uint8_t *)set->items[i].body.data);
            assert_non_null(m);
            w->keys = m->n_keys;
            assert_string_equal(m->keys[0]->routes[1], "other");
            steelyard__control__v1__keys__free_unpacked(m, NULL);
        }
    }
}

static void on_closed(void *arg)
{
    ((struct watch *)arg)->closed = true;
}

static void a_change_reaches_the_watcher_as_a_whole_generation(void **state)
{
    const char *db = *state;
    struct pq_conn *c = fixture_connect(db);
    struct publish_actor a = actor();
    struct watch w = {0};
    struct publish *p = NULL;
    struct err err = {0};
    uv_loop_t loop;
    uint64_t generation = 0;
    uv_loop_init(&loop);
    struct publish_config config = {
        .conninfo = db, .poll_ms = 60000, .on_changed = on_changed, .arg = &w};
    assert_int_equal(publish_create(&loop, &config, &p, &err), 0);
    while (w.changes == 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(publish_begin(c, &a, &err), 0);
    fixture_exec(c, "INSERT INTO api_key (id, public_id, sha256, name, routes) VALUES "
                    "(5, 'abc', decode(repeat('ab', 32), 'hex'), 'k', ARRAY['auto', 'other'])");
    assert_int_equal(publish_put_keys(c, &err), 0);
    assert_int_equal(
        publish_commit(c, &a, STR("key.create"), STR("abc"), STR_NULL, &generation, &err), 0);
    while (w.generation < generation) /* By NOTIFY: the poll is a minute away. */
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(w.keys, 1);
    const struct publish_set *held = publish_current(p);
    publish_set_ref(held);
    /* Connections come back after a restart and the set is still there. */
    cluster_restart();
    while (publish_is_up(p))
        uv_run(&loop, UV_RUN_ONCE);
    assert_non_null(publish_current(p));
    while (!publish_is_up(p))
        uv_run(&loop, UV_RUN_ONCE);
    publish_acked(p, "node-1", generation);
    publish_nacked(p, "node-2", generation, STR("params/p"), STR("1"), STR("VERSION"),
                   STR("bad \xff\x00 bytes"));
    pq_conn_close(c);
    c = fixture_connect(db);
    while (fixture_i64(c, "SELECT count(*) FROM push_log") < 2)
        uv_run(&loop, UV_RUN_NOWAIT);
    publish_close(p, on_closed, &w);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(w.closed);
    assert_int_equal(held->generation, generation);
    publish_set_unref(held);
    assert_int_equal(uv_loop_close(&loop), 0);
    pq_conn_close(c);
}

static void read_resource(struct pq_conn *c, const char *sql, struct buf *out)
{
    struct pq_result *r = NULL;
    buf_init(out, 1U << 20);
    assert_int_equal(pq_conn_query(c, sql, NULL, &r, NULL), 0);
    assert_int_equal(pq_result_rows(r), 1);
    assert_int_equal(pq_result_bytes(r, 0, 0, out), 0);
    pq_result_destroy(r);
}

static void check_published_key(struct pq_conn *c)
{
    struct buf body;
    read_resource(c,
                  "SELECT body FROM resource WHERE key = 'keys/' || "
                  "to_hex(steelyard_key_shard('neg'))",
                  &body);
    Steelyard__Control__V1__Keys *m =
        steelyard__control__v1__keys__unpack(NULL, body.len, (const uint8_t *)body.data);
    assert_non_null(m);
    const Steelyard__Control__V1__Key *k = NULL;
    for (size_t i = 0; i < m->n_keys; i++)
        k = strcmp(m->keys[i]->public_id, "neg") == 0 ? m->keys[i] : k;
    assert_non_null(k);
    assert_int_equal(k->n_accounts, 3);
    assert_true(k->accounts[0] == 90 && k->accounts[1] == 100 && k->accounts[2] == -3ULL);
    assert_true(k->rpm == 1 && k->tpm == 2 && k->concurrency == 3 && k->max_cost == 9);
    assert_true(k->n_tags == 2 && k->n_endpoints == 1);
    assert_string_equal(k->tags[1], "b");
    assert_string_equal(k->endpoints[0], "models");
    assert_true(k->prev_sha256.len == 32 && k->prev_sha256.data[0] == 0xce);
    assert_int_equal(k->prev_until_us, 7000000);
    steelyard__control__v1__keys__free_unpacked(m, NULL);
    buf_deinit(&body);
}

static Steelyard__Control__V1__Accounts *published_accounts(struct pq_conn *c)
{
    struct buf body;
    read_resource(c, "SELECT body FROM resource WHERE key = 'accounts'", &body);
    Steelyard__Control__V1__Accounts *m =
        steelyard__control__v1__accounts__unpack(NULL, body.len, (const uint8_t *)body.data);
    assert_non_null(m);
    buf_deinit(&body);
    return m;
}

static void nodes_are_told_of_accounts_with_a_budget_or_a_rate(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct publish_actor a = actor();
    struct err err = {0};
    uint64_t generation;
    assert_int_equal(publish_begin(c, &a, &err), 0);
    fixture_exec(c,
                 "INSERT INTO account (id, kind, name) VALUES (100, 'org', 'acme'), (101, 'user', "
                 "'idle'), (102, 'tag', 'batch');"
                 "INSERT INTO account (id, kind, name, parent, rpm) VALUES (90, 'team', 'web', "
                 "100, 60);"
                 "INSERT INTO budget (account_id, limit_nano, period) VALUES (100, 7, 'month'), "
                 "(100, 5, 'day'), (102, 3, 'total');"
                 "UPDATE budget SET mode = 'soft', tz = 'Asia/Tokyo', offline_nano = 2, "
                 "warn_permille = 900 WHERE account_id = 102;"
                 "INSERT INTO api_key (id, public_id, sha256, name, team_id, rpm, tpm, concurrency,"
                 " tags, endpoints, max_cost_nano, prev_sha256, prev_until) VALUES (-3, 'neg', "
                 "decode(repeat('cd', 32), 'hex'), 'k', 90, 1, 2, 3, '{a,b}', '{models}', 9, "
                 "decode(repeat('ce', 32), 'hex'), 'epoch'::timestamptz + interval '7 s')");
    assert_int_equal(publish_put_keys(c, &err) | publish_put_accounts(c, &err), 0);
    assert_int_equal(
        publish_commit(c, &a, STR("budget.set"), STR("x"), STR_NULL, &generation, &err), 0);
    check_published_key(c);
    Steelyard__Control__V1__Accounts *m = published_accounts(c);
    assert_int_equal(m->n_accounts, 3);
    const Steelyard__Control__V1__Account *team = m->accounts[0], *org = m->accounts[1],
                                          *tag = m->accounts[2];
    assert_int_equal(team->id, 90);
    assert_int_equal(team->kind, STEELYARD__CONTROL__V1__ACCOUNT_KIND__ACCOUNT_TEAM);
    assert_int_equal(team->parent, 100);
    assert_int_equal(team->rpm, 60);
    assert_int_equal(team->n_budgets, 0);
    assert_string_equal(org->name, "acme");
    assert_int_equal(org->n_budgets, 2);
    assert_int_equal(org->budgets[0]->limit, 7);
    assert_int_equal(org->budgets[1]->period, STEELYARD__CONTROL__V1__BUDGET_PERIOD__PERIOD_DAY);
    assert_true(org->budgets[1]->strict);
    assert_false(tag->budgets[0]->strict);
    assert_int_equal(tag->budgets[0]->cfg, 2);
    assert_int_equal(tag->budgets[0]->offline_nano, 2);
    assert_int_equal(tag->budgets[0]->warn_permille, 900);
    steelyard__control__v1__accounts__free_unpacked(m, NULL);
    pq_conn_close(c);
}

/* ---- shards of keys ---- */

/* What fn_sql changes is published; *out_generation is the new one, or the old. */
static uint64_t publish_after(struct pq_conn *c, const char *sql)
{
    struct publish_actor a = actor();
    struct err err = {0};
    uint64_t generation;
    assert_int_equal(publish_begin(c, &a, &err), 0);
    fixture_exec(c, sql);
    assert_int_equal(publish_put_keys(c, &err), 0);
    assert_int_equal(
        publish_commit(c, &a, STR("key.update"), STR("x"), STR_NULL, &generation, &err), 0);
    return generation;
}

/* Shards that changed in that generation. */
static int64_t shards_of(struct pq_conn *c, uint64_t generation)
{
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM resource WHERE type = 3 AND generation = %llu",
             (unsigned long long)generation);
    return fixture_i64(c, sql);
}

#define MANY_KEYS                                                                                  \
    "INSERT INTO account (id, kind, name) VALUES (70, 'org', 'o70');"                              \
    "INSERT INTO account (id, kind, name, parent) VALUES (71, 'team', 't71', 70);"                 \
    "INSERT INTO api_key (id, public_id, sha256, name, team_id) SELECT 1000 + i, 'many' || i, "    \
    "sha256(i::text::bytea), 'k', CASE WHEN i <= 3 THEN 71 END FROM generate_series(1, 400) i"

static void a_change_of_one_key_makes_one_shard(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct err err = {0};
    uint64_t first = publish_after(c, MANY_KEYS);
    assert_true(shards_of(c, first) > 150);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM key_shard WHERE changed"), 0);
    assert_int_equal(fixture_i64(c, "SELECT sum(keys) - (SELECT count(*) FROM pushed_key) "
                                    "FROM key_shard"),
                     0);
    uint64_t second = publish_after(c, "UPDATE api_key SET disabled = true, blocked = true "
                                       "WHERE public_id = 'many9'");
    assert_int_equal(second, first + 1);
    assert_int_equal(shards_of(c, second), 1);
    assert_int_equal(fixture_i64(c, "SELECT generation FROM resource WHERE key = 'keys/' || "
                                    "lpad(to_hex(steelyard_key_shard('many9')), 2, '0')"),
                     (int64_t)second);
    /* Marked, but the same: no new generation. */
    assert_int_equal(publish_after(c, "UPDATE api_key SET name = name"), second);
    /* A disabled team refuses its keys, and so does its organisation, moved or not. */
    int64_t teams = fixture_i64(c, "SELECT count(DISTINCT steelyard_key_shard(public_id)) FROM "
                                   "api_key WHERE team_id = 71");
    uint64_t third = publish_after(c, "UPDATE account SET disabled = true WHERE id = 71");
    assert_int_equal(shards_of(c, third), teams);
    publish_after(c, "UPDATE account SET disabled = false WHERE id = 71");
    uint64_t fourth = publish_after(c, "UPDATE account SET disabled = true WHERE id = 70");
    assert_int_equal(shards_of(c, fourth), teams);
    /* An index finds the keys of a shard. */
    fixture_exec(c, "SET enable_seqscan = off");
    struct pq_result *r = NULL;
    assert_int_equal(pq_conn_query(c,
                                   "EXPLAIN SELECT * FROM pushed_key WHERE "
                                   "steelyard_key_shard(public_id) = 5 ORDER BY id",
                                   NULL, &r, &err),
                     0);
    bool indexed = false;
    for (int i = 0; i < pq_result_rows(r); i++)
        indexed = indexed || strstr(pq_result_text(r, i, 0).data, "api_key_shard") != NULL;
    pq_result_destroy(r);
    assert_true(indexed);
    pq_conn_close(c);
}

static void a_shard_without_keys_goes_and_so_does_the_one_of_older_versions(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    publish_after(c, "INSERT INTO api_key (id, public_id, sha256, name) VALUES (9001, 'alone', "
                     "sha256('alone'), 'k')");
    fixture_exec(c, "INSERT INTO resource (key, type, version, body, generation) VALUES "
                    "('keys', 3, 'x', 'x', 1)");
    uint64_t before = (uint64_t)fixture_i64(c, "SELECT generation FROM config_head");
    publish_after(c, "UPDATE api_key SET disabled = true, blocked = true, removed = now() WHERE "
                     "steelyard_key_shard(public_id) = steelyard_key_shard('alone')");
    assert_true((uint64_t)fixture_i64(c, "SELECT generation FROM config_head") > before);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM resource WHERE key = 'keys' OR key = "
                                    "'keys/' || lpad(to_hex(steelyard_key_shard('alone')), 2, "
                                    "'0')"),
                     0);
    pq_conn_close(c);
}

static void more_keys_than_are_sent_are_refused_and_fewer_never(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct publish_actor a = actor();
    struct err err = {0};
    /* As if a shard of another kind held nearly all. */
    fixture_exec(c, "UPDATE key_shard SET keys = keys + 200000 - (SELECT sum(keys) FROM key_shard)"
                    " WHERE shard = (steelyard_key_shard('many8') + 1) % 256");
    assert_int_equal(publish_begin(c, &a, &err), 0);
    fixture_exec(c, "INSERT INTO api_key (id, public_id, sha256, name) SELECT 9100 + i, 'more' || "
                    "i, sha256(i::text::bytea || 'm'), 'k' FROM generate_series(1, 40) i WHERE "
                    "steelyard_key_shard('more' || i) <> (steelyard_key_shard('many8') + 1) % 256");
    assert_int_equal(publish_put_keys(c, &err), ERR_LIMIT);
    assert_non_null(strstr(err.message, "200000"));
    publish_abort(c);
    fixture_exec(c, "UPDATE key_shard SET keys = keys + 100 WHERE shard = "
                    "(steelyard_key_shard('many8') + 1) % 256");
    publish_after(c, "UPDATE api_key SET disabled = true, blocked = true, removed = now() WHERE "
                     "public_id = 'many8'");
    fixture_exec(c, "UPDATE key_shard SET changed = true");
    publish_after(c, "SELECT 1");
    pq_conn_close(c);
}

struct held {
    const struct publish_set *set;
    unsigned changes;
};

static void on_held(void *arg, const struct publish_set *set)
{
    struct held *h = arg;
    publish_set_unref(h->set);
    h->set = set;
    publish_set_ref(set);
    h->changes++;
}

static void close_now(uv_loop_t *loop, struct publish *p)
{
    struct watch w = {0};
    publish_close(p, on_closed, &w);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_true(w.closed);
}

static void what_did_not_change_is_not_read_again(void **state)
{
    const char *db = *state;
    struct pq_conn *c = fixture_connect(db);
    struct held h = {0};
    struct publish *p = NULL;
    struct err err = {0};
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct publish_config config = {
        .conninfo = db, .poll_ms = 60000, .on_changed = on_held, .arg = &h};
    assert_int_equal(publish_create(&loop, &config, &p, &err), 0);
    while (h.changes == 0)
        uv_run(&loop, UV_RUN_ONCE);
    const struct publish_set *first = h.set;
    publish_set_ref(first);
    uint64_t generation = publish_after(
        c, "UPDATE api_key SET no_explore = NOT no_explore WHERE public_id = 'many20'");
    while (h.set->generation < generation)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(h.set->count, first->count);
    size_t shared = 0;
    for (size_t i = 0; i < first->count; i++) {
        shared += first->items[i].body.data == h.set->items[i].body.data;
        assert_true(str_eq(first->items[i].key, h.set->items[i].key));
    }
    assert_int_equal(shared, first->count - 1);
    /* A database that was set back to another past: what is held is not believed. */
    fixture_exec(c, "UPDATE resource SET body = body || '\\x00', version = "
                    "encode(sha256(body || '\\x00'), 'hex') WHERE key = 'accounts'; UPDATE "
                    "config_head SET generation = generation + 1");
    while (h.set->generation < generation + 1) {
        publish_refresh(p);
        uv_run(&loop, UV_RUN_ONCE);
    }
    for (size_t i = 0; i < h.set->count; i++) {
        char hex[SHA256_HEX_BYTES];
        struct sha256 sum = digest_sha256(h.set->items[i].body.data, h.set->items[i].body.len);
        hex_encode(sum.bytes, 32, hex);
        assert_string_equal(hex, h.set->items[i].version);
    }
    close_now(&loop, p);
    publish_set_unref(first);
    publish_set_unref(h.set);
    assert_int_equal(uv_loop_close(&loop), 0);
    pq_conn_close(c);
}

static int setup(void **state)
{
    cluster_start();
    const char *db = cluster_database("publish", true);
    *state = (void *)(uintptr_t)db;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rollback_is_a_new_number_with_the_old_content),
        cmocka_unit_test(the_file_changes_floor_and_exploration_of_what_is_in_service),
        cmocka_unit_test(p8_one_number_keeps_one_content_whatever_is_done),
        cmocka_unit_test(f11_a_deposed_control_plane_changes_nothing),
        cmocka_unit_test(a_change_reaches_the_watcher_as_a_whole_generation),
        cmocka_unit_test(nodes_are_told_of_accounts_with_a_budget_or_a_rate),
        cmocka_unit_test(a_change_of_one_key_makes_one_shard),
        cmocka_unit_test(a_shard_without_keys_goes_and_so_does_the_one_of_older_versions),
        cmocka_unit_test(more_keys_than_are_sent_are_refused_and_fewer_never),
        cmocka_unit_test(what_did_not_change_is_not_read_again),
    };
    return cmocka_run_group_tests(tests, setup, fixture_stop_cluster);
}

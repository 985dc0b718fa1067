#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/link/wire.h"
#include "common/route/selftest.h"
#include "control.pb-c.h"
#include "dataplane/state/snapshot_build.h"
#include "dataplane/state/snapshot_disk.h"
#include "tests/lib/fault.h"
#include "tests/unit/dataplane/planes_fixture.h"
#include "tests/unit/route/fixture.h"

/* What a test builds from; each test changes one thing. */
struct inputs {
    struct buf catalogue, keys, limits, artifact, params, prices, accounts;
    int64_t tier_rate; /* 0: 2,000,000. */
    uint64_t version;
    const struct snapshot *previous;
    bool without_artifact;
};

static void pack(struct buf *out, const ProtobufCMessage *m)
{
    buf_deinit(out);
    buf_init(out, SIZE_MAX);
    assert_int_equal(wire_pack(m, out), 0);
}

static void pack_params(struct inputs *in, uint64_t version, int64_t lambda)
{
    struct sha256 sum = digest_sha256(in->artifact.data, in->artifact.len);
    Steelyard__Control__V1__Params p = STEELYARD__CONTROL__V1__PARAMS__INIT;
    p.policy = wire_text("best");
    p.version = version;
    p.lambda = lambda;
    p.floor_q16 = 30000;
    p.artifact_sha256 = (ProtobufCBinaryData){.len = SHA256_BYTES, .data = sum.bytes};
    pack(&in->params, &p.base);
}

static void pack_limits(struct inputs *in, uint32_t hash_key_id)
{
    static uint8_t bytes[16];
    ProtobufCBinaryData key = {.len = sizeof(bytes), .data = bytes};
    Steelyard__Control__V1__Limits m = STEELYARD__CONTROL__V1__LIMITS__INIT;
    m.feature_key = m.draw_key = m.decision_id_key = m.text_key = key;
    m.hash_key_id = hash_key_id;
    pack(&in->limits, &m.base);
}

static void pack_prices(struct inputs *in, int64_t rate)
{
    Steelyard__Control__V1__Price price[3];
    Steelyard__Control__V1__Price *list[3];
    for (int i = 0; i < 3; i++) {
        steelyard__control__v1__price__init(&price[i]);
        price[i].price_id = (uint64_t)i + 1;
        price[i].provider = wire_text("local");
        price[i].model = wire_text("small");
        price[i].input = price[i].output = rate;
        price[i].cached_input = price[i].cache_write = -1;
        price[i].valid_from_us = i * 1000;
        list[i] = &price[i];
    }
    Steelyard__Control__V1__PriceTier tier = STEELYARD__CONTROL__V1__PRICE_TIER__INIT;
    Steelyard__Control__V1__PriceTier *tiers = &tier;
    tier.above = 1000;
    tier.input = tier.output = in->tier_rate != 0 ? in->tier_rate : 2000000;
    tier.cached_input = tier.cache_write = tier.cache_write_1h = tier.reasoning = -1;
    price[2].reasoning = 3000000 + 1;
    price[2].tiers = &tiers;
    price[2].n_tiers = 1;
    Steelyard__Control__V1__Prices m = STEELYARD__CONTROL__V1__PRICES__INIT;
    m.prices = list;
    m.n_prices = 3;
    pack(&in->prices, &m.base);
}

static void inputs_init(struct inputs *in)
{
    memset(in, 0, sizeof(*in));
    body_catalogue(&in->catalogue, "best");
    body_keys(&in->keys, false);
    buf_init(&in->artifact, SIZE_MAX);
    fixture_file(11, 8, 3, 0, 4, &in->artifact);
    pack_limits(in, 77); /* The fixture's. */
    pack_params(in, 1, 0);
    pack_prices(in, 1000000);
}

static void inputs_deinit(struct inputs *in)
{
    buf_deinit(&in->catalogue);
    buf_deinit(&in->keys);
    buf_deinit(&in->limits);
    buf_deinit(&in->artifact);
    buf_deinit(&in->params);
    buf_deinit(&in->prices);
    buf_deinit(&in->accounts);
}

static int put(struct resource_set *set, const char *key, const struct buf *body)
{
    struct resource *r = resource_create(1, str_from(key), buf_str(body));
    return r != NULL ? resource_set_put(set, r) : ERR_NOMEM;
}

static int build(const struct inputs *in, struct snapshot **out, struct snapshot_refusal *refusal)
{
    struct resource_set *set = resource_set_create();
    if (set == NULL)
        return ERR_NOMEM;
    int rc = put(set, "catalogue", &in->catalogue);
    if (rc == 0)
        rc = put(set, "keys", &in->keys);
    if (rc == 0)
        rc = put(set, "limits", &in->limits);
    if (rc == 0 && !in->without_artifact)
        rc = put(set, "artifact/best", &in->artifact);
    if (rc == 0)
        rc = put(set, "params/best", &in->params);
    if (rc == 0)
        rc = put(set, "prices", &in->prices);
    if (rc == 0 && in->accounts.len > 0)
        rc = put(set, "accounts", &in->accounts);
    struct snapshot_inputs inputs = {.era = 1, .generation = 3, .previous = in->previous};
    if (rc == 0)
        rc = snapshot_build(set, &inputs, out, refusal);
    if (rc != 0)
        resource_set_destroy(set);
    return rc;
}

static void must_accept(const struct inputs *in, struct snapshot **out)
{
    struct snapshot_refusal refusal;
    if (build(in, out, &refusal) != 0)
        fail_msg("refused: %s %s: %s", refusal.code, refusal.key, refusal.detail);
}

static void expect_refusal(const struct inputs *in, const char *code, const char *key)
{
    struct snapshot *s = NULL;
    struct snapshot_refusal refusal;
    assert_true(build(in, &s, &refusal) != 0);
    assert_string_equal(refusal.code, code);
    assert_string_equal(refusal.key, key);
    assert_true(refusal.detail[0] != '\0');
    assert_null(s);
}

static void a_whole_snapshot_answers_every_lookup(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    struct snapshot *s;
    must_accept(&in, &s);
    const struct snapshot_policy *policy = snapshot_policy(s, STR("best"));
    assert_non_null(policy);
    assert_true(str_is(policy->version_text, "best@1"));
    assert_non_null(policy->artifact);
    assert_int_equal(policy->params.floor_q16, 30000);
    const struct snapshot_route *route = snapshot_route(s, STR("main"));
    assert_ptr_equal(route->policy, policy);
    assert_int_equal(route->candidates[0].ordinal, artifact_model(policy->artifact, STR("small")));
    const struct snapshot_model *small = snapshot_model(s, STR("small"));
    const struct snapshot_deployment *d = &small->deployments[0];
    assert_true(str_is(d->name, "local/small"));
    assert_int_equal(d->price_count, 3);
    assert_int_equal(snapshot_price(d, 1500)->id, 2);
    assert_int_equal(snapshot_price(d, 99999)->id, 3);
    assert_null(snapshot_price(d, -1));
    assert_int_equal(snapshot_price(d, 0)->price.base.reasoning, PRICE_UNKNOWN);
    const struct price *tiered = &snapshot_price(d, 99999)->price;
    assert_int_equal(tiered->base.reasoning, 3000000);
    assert_int_equal(tiered->base.cache_write_1h, PRICE_UNKNOWN);
    assert_int_equal(price_rates_at(tiered, 1000)->output, 1000000);
    assert_int_equal(price_rates_at(tiered, 1001)->output, 2000000);
    assert_null(snapshot_model(s, STR("other")));
    const struct snapshot_provider *p = d->provider;
    assert_false(p->tls);
    assert_int_equal(p->port, 1234);
    assert_true(str_is(p->host, "127.0.0.1"));
    assert_true(str_is(p->prefix, "/v1"));
    assert_true(str_is(p->origin, "http://127.0.0.1:1234"));
    assert_int_equal(p->timeouts.head_ms, 30000);
    snapshot_unref(s);
    inputs_deinit(&in);
}

static void b42_an_artifact_that_is_not_right_is_refused_with_the_reason(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    in.artifact.data[in.artifact.len / 2] ^= 1;
    pack_params(&in, 2, 0);
    expect_refusal(&in, "ARTIFACT_CHECKSUM", "artifact/best");
    in.artifact.data[in.artifact.len / 2] ^= 1;
    in.artifact.data[0] = 'X';
    pack_params(&in, 2, 0);
    expect_refusal(&in, "ARTIFACT_MAGIC", "artifact/best");
    in.artifact.data[0] = 'S';
    in.artifact.len -= 9;
    pack_params(&in, 2, 0);
    expect_refusal(&in, "ARTIFACT_SIZE", "artifact/best");
    in.artifact.len += 9;
    /* Another deployment's feature key. */
    pack_params(&in, 2, 0);
    pack_limits(&in, 78);
    expect_refusal(&in, "ARTIFACT_DEPLOYMENT", "artifact/best");
    /* A byte of a self-test vector changed, under a checksum that fits again. */
    pack_limits(&in, 77);
    in.artifact.data[in.artifact.len - 40] ^= 1;
    struct sha256 sum = digest_sha256(in.artifact.data + ARTIFACT_HEADER_BYTES,
                                      in.artifact.len - ARTIFACT_HEADER_BYTES);
    memcpy(in.artifact.data + 24, sum.bytes, SHA256_BYTES);
    pack_params(&in, 2, 0);
    struct snapshot *s = NULL;
    struct snapshot_refusal refusal;
    assert_true(build(&in, &s, &refusal) != 0);
    assert_memory_equal(refusal.code, "ARTIFACT_SELFTEST", 17);
    inputs_deinit(&in);
}

static void references_to_what_is_not_there_are_refused(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    in.without_artifact = true;
    expect_refusal(&in, "REFERENCE", "params/best");
    in.without_artifact = false;
    buf_deinit(&in.catalogue);
    body_catalogue(&in.catalogue, "other");
    expect_refusal(&in, "REFERENCE", "catalogue");
    inputs_deinit(&in);
}

static void bodies_that_cannot_be_read_or_are_out_of_range_are_refused(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    pack_prices(&in, -2);
    expect_refusal(&in, "INVALID", "prices");
    pack_prices(&in, PRICE_RATE_MAX + 1);
    expect_refusal(&in, "INVALID", "prices");
    in.tier_rate = PRICE_RATE_MAX + 1;
    pack_prices(&in, -1);
    expect_refusal(&in, "INVALID", "prices");
    in.tier_rate = 0;
    pack_prices(&in, -1);
    in.keys.data[1] = 0x7f;
    expect_refusal(&in, "MALFORMED", "keys");
    buf_deinit(&in.keys);
    body_keys(&in.keys, false);
    pack_params(&in, 1, -5);
    expect_refusal(&in, "INVALID", "params/best");
    inputs_deinit(&in);
}

static void p8_policy_versions_only_rise_and_one_number_has_one_content(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    struct snapshot *first, *second;
    pack_params(&in, 5, 10);
    must_accept(&in, &first);
    in.previous = first;
    must_accept(&in, &second); /* The same again is fine, and shares the artifact. */
    assert_ptr_equal(snapshot_policy(first, STR("best"))->artifact,
                     snapshot_policy(second, STR("best"))->artifact);
    snapshot_unref(second);
    pack_params(&in, 4, 10);
    expect_refusal(&in, "VERSION", "params/best");
    pack_params(&in, 5, 11);
    expect_refusal(&in, "VERSION", "params/best");
    pack_params(&in, 6, 11);
    must_accept(&in, &second);
    snapshot_unref(first);
    assert_non_null(snapshot_policy(second, STR("best"))->artifact);
    assert_int_equal(selftest_run(snapshot_policy(second, STR("best"))->artifact,
                                  &(enum artifact_reason){0}, NULL),
                     0);
    snapshot_unref(second);
    inputs_deinit(&in);
}

static void b23_keys_are_found_by_their_whole_text_only(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    struct snapshot *s;
    must_accept(&in, &s);
    const struct identity *identity = NULL;
    assert_int_equal(keyring_find(&s->keyring, STR(TEST_KEY), 1, &identity), 0);
    assert_int_equal(identity->id, 7);
    static const char *const bad[] = {"",
                                      "sk-sy-",
                                      "sk-sy-abcdefghij",
                                      "sk-sy-abcdefghij-",
                                      "sk-sy-abcdefghij-secreT",
                                      "sk-sy-abcdefghij-secret ",
                                      "sk-sy-abcdefghi-secret",
                                      "Bearer sk-sy-abcdefghij-secret"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(keyring_find(&s->keyring, str_from(bad[i]), 1, &identity),
                         ERR_UNAUTHENTICATED);
    static char huge[600];
    memset(huge, 'a', sizeof(huge));
    assert_int_equal(
        keyring_find(&s->keyring, (struct str){.data = huge, .len = sizeof(huge)}, 1, &identity),
        ERR_UNAUTHENTICATED);
    snapshot_unref(s);
    inputs_deinit(&in);
}

static void pack_accounts(struct inputs *in, uint64_t last_id, size_t budgets_of_last)
{
    static const char *const names[] = {"acme", "k=v", "alice", "small", "gone"};
    static const Steelyard__Control__V1__AccountKind kinds[] = {
        STEELYARD__CONTROL__V1__ACCOUNT_KIND__ACCOUNT_ORG,
        STEELYARD__CONTROL__V1__ACCOUNT_KIND__ACCOUNT_TAG,
        STEELYARD__CONTROL__V1__ACCOUNT_KIND__ACCOUNT_USER,
        STEELYARD__CONTROL__V1__ACCOUNT_KIND__ACCOUNT_MODEL,
        STEELYARD__CONTROL__V1__ACCOUNT_KIND__ACCOUNT_MODEL,
    };
    Steelyard__Control__V1__Account account[5];
    Steelyard__Control__V1__Account *list[5];
    Steelyard__Control__V1__Budget budget = STEELYARD__CONTROL__V1__BUDGET__INIT;
    Steelyard__Control__V1__Budget *budgets[] = {&budget, &budget, &budget, &budget, &budget};
    budget.id = 9;
    budget.limit = 1000;
    budget.strict = true;
    budget.period = STEELYARD__CONTROL__V1__BUDGET_PERIOD__PERIOD_WEEK;
    for (size_t i = 0; i < 5; i++) {
        steelyard__control__v1__account__init(&account[i]);
        account[i].id = i + 1 < 5 ? i + 1 : last_id;
        account[i].kind = kinds[i];
        account[i].name = wire_text(names[i]);
        account[i].budgets = budgets;
        account[i].n_budgets = i + 1 < 5 ? 1 : budgets_of_last;
        list[i] = &account[i];
    }
    Steelyard__Control__V1__Accounts m = STEELYARD__CONTROL__V1__ACCOUNTS__INIT;
    m.accounts = list;
    m.n_accounts = 5;
    pack(&in->accounts, &m.base);
}

static void accounts_are_found_by_id_and_where_it_counts_by_name(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    struct snapshot *s;
    must_accept(&in, &s);
    assert_int_equal(s->accounts.count, 0);
    assert_null(accounts_find(&s->accounts, 1));
    snapshot_unref(s);
    pack_accounts(&in, 5, 0);
    must_accept(&in, &s);
    const struct account *org = accounts_find(&s->accounts, 1);
    assert_non_null(org);
    assert_int_equal(org->kind, ACCOUNT_ORG);
    assert_int_equal(org->budget_count, 1);
    assert_int_equal(org->budgets[0].id, 9);
    assert_int_equal(org->budgets[0].period, ACCOUNT_PERIOD_WEEK);
    assert_string_equal(account_period_name(org->budgets[0].period), "week");
    assert_true(org->budgets[0].strict);
    assert_null(accounts_find(&s->accounts, 6));
    assert_null(accounts_tag(&s->accounts, STR("alice")));
    assert_ptr_equal(accounts_tag(&s->accounts, STR("k=v")), accounts_find(&s->accounts, 2));
    assert_ptr_equal(accounts_user(&s->accounts, STR("alice")), accounts_find(&s->accounts, 3));
    assert_ptr_equal(snapshot_model(s, STR("small"))->account, accounts_find(&s->accounts, 4));
    assert_null(snapshot_model(s, STR("large"))->account);
    snapshot_unref(s);
    pack_accounts(&in, 2, 0);
    expect_refusal(&in, "DUPLICATE", "accounts");
    pack_accounts(&in, 5, 5);
    expect_refusal(&in, "LIMIT", "accounts");
    in.accounts.data[0] = 0x7f;
    expect_refusal(&in, "MALFORMED", "accounts");
    inputs_deinit(&in);
}

static void building_survives_each_failed_allocation(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    pack_accounts(&in, 5, 0);
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct snapshot *s = NULL;
        struct snapshot_refusal refusal;
        fault_arm_alloc(n);
        int rc = build(&in, &s, &refusal);
        fired = fault_disarm();
        assert_true((rc == 0) == (s != NULL));
        assert_true(rc == 0 || fired);
        snapshot_unref(s);
    }
    inputs_deinit(&in);
}

static void urls_are_taken_apart_or_refused(void **state)
{
    (void)state;
    bool tls;
    struct str host, prefix;
    uint16_t port;
    assert_true(
        snapshot_parse_url(STR("https://api.example.com/v1/"), &tls, &host, &port, &prefix));
    assert_true(tls && port == 443 && str_is(prefix, "/v1") && str_is(host, "api.example.com"));
    assert_true(snapshot_parse_url(STR("http://[::1]:8080"), &tls, &host, &port, &prefix));
    assert_true(!tls && port == 8080 && prefix.len == 0 && str_is(host, "::1"));
    static const char *const bad[] = {"",
                                      "ftp://a",
                                      "https://",
                                      "https:///v1",
                                      "https://user@host/",
                                      "https://h:0",
                                      "https://h:65536",
                                      "https://h:",
                                      "https://h:8x",
                                      "https://[::1",
                                      "https://[::1]x",
                                      "https://h/?q",
                                      "https://h/#f",
                                      "https://h /",
                                      "https://h\\x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(snapshot_parse_url(str_from(bad[i]), &tls, &host, &port, &prefix));
}

/* ---- pins ---- */

static void a_pinned_snapshot_lives_until_its_last_request_ends(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    uint64_t before = mem_live_bytes();
    struct snapshot_cell *cell = snapshot_cell_create(2);
    struct snapshot_reader *a = snapshot_cell_reader(cell, 0);
    struct snapshot_reader *b = snapshot_cell_reader(cell, 1);
    assert_null(snapshot_pin(a));
    struct snapshot *s[3];
    for (int i = 0; i < 3; i++)
        must_accept(&in, &s[i]);
    assert_int_equal(snapshot_cell_publish(cell, s[0]), 0);
    struct snapshot_pin *p0 = snapshot_pin(a);
    struct snapshot_pin *p0_again = snapshot_pin(a);
    assert_ptr_equal(p0, p0_again);
    assert_int_equal(snapshot_cell_publish(cell, s[1]), 0);
    struct snapshot_pin *p1 = snapshot_pin(a);
    assert_ptr_equal(p1->snapshot, s[1]);
    assert_ptr_equal(p0->snapshot, s[0]);
    snapshot_unpin(p0);
    assert_int_equal(snapshot_cell_publish(cell, s[2]), 0); /* b never looked: nothing leaks. */
    assert_ptr_equal(snapshot_pin(b)->snapshot, s[2]);
    snapshot_unpin(p0_again);
    snapshot_unpin(p1);
    for (int i = 0; i < 3; i++)
        snapshot_unref(s[i]);
    struct snapshot_pin *last = snapshot_pin(b);
    snapshot_unpin(last);
    snapshot_unpin(last);
    snapshot_reader_close(a);
    snapshot_reader_close(b);
    snapshot_cell_destroy(cell);
    assert_int_equal(mem_live_bytes(), before);
    inputs_deinit(&in);
}

struct worker {
    struct snapshot_reader *reader;
    atomic_bool *stop;
    uint64_t pins;
};

static void worker_main(void *arg)
{
    struct worker *w = arg;
    struct snapshot_pin *held[16] = {NULL};
    for (uint64_t i = 0; !atomic_load_explicit(w->stop, memory_order_relaxed); i++) {
        struct snapshot_pin **slot = &held[i % 16];
        if (*slot != NULL) {
            assert_true((*slot)->snapshot->generation >= 1);
            assert_non_null(snapshot_model((*slot)->snapshot, STR("small")));
            snapshot_unpin(*slot);
        }
        *slot = snapshot_pin(w->reader);
        w->pins += *slot != NULL;
    }
    for (int i = 0; i < 16; i++)
        if (held[i] != NULL)
            snapshot_unpin(held[i]);
    snapshot_reader_close(w->reader);
}

static void readers_pin_while_the_control_loop_publishes(void **state)
{
    (void)state;
    struct inputs in;
    inputs_init(&in);
    struct snapshot_cell *cell = snapshot_cell_create(2);
    atomic_bool stop = false;
    struct worker workers[2];
    uv_thread_t threads[2];
    for (uint32_t i = 0; i < 2; i++) {
        workers[i] = (struct worker){.reader = snapshot_cell_reader(cell, i), .stop = &stop};
        assert_int_equal(uv_thread_create(&threads[i], worker_main, &workers[i]), 0);
    }
    for (int i = 0; i < 100; i++) {
        struct snapshot *s;
        must_accept(&in, &s);
        assert_int_equal(snapshot_cell_publish(cell, s), 0);
        snapshot_unref(s);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        uv_thread_join(&threads[i]);
    snapshot_cell_destroy(cell);
    inputs_deinit(&in);
}

/* ---- disk ---- */

static void save(const char *dir, uint64_t generation)
{
    struct resource_set *set = resource_set_create();
    struct buf body;
    buf_init(&body, 64);
    assert_int_equal(buf_printf(&body, "of generation %llu", (unsigned long long)generation), 0);
    assert_int_equal(put(set, "limits", &body), 0);
    buf_deinit(&body);
    struct err err = {0};
    assert_int_equal(snapshot_disk_save(dir, set, 1, generation, &err), 0);
    resource_set_destroy(set);
}

static uint64_t load(const char *dir, struct snapshot_loaded *out)
{
    struct err err = {0};
    assert_int_equal(snapshot_disk_load(dir, out, &err), 0);
    resource_set_destroy(out->set);
    return out->set != NULL ? out->generation : 0;
}

static void the_second_death_soon_after_applying_brings_the_previous_one_back(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct snapshot_loaded l;
    assert_int_equal(load(dir, &l), 0);
    save(dir, 1);
    snapshot_disk_settle(dir);
    save(dir, 2);
    assert_int_equal(load(dir, &l), 2); /* First death: kill -9 is no fault of a snapshot. */
    assert_true(l.unsettled);
    assert_false(l.has_crashed);
    assert_int_equal(load(dir, &l), 1);
    assert_true(l.has_crashed);
    assert_int_equal(l.crashed_generation, 2);
    assert_int_equal(load(dir, &l), 1); /* And so it stays ... */
    assert_true(l.has_crashed);
    save(dir, 3); /* ... until a newer one came. */
    snapshot_disk_settle(dir);
    assert_int_equal(load(dir, &l), 3);
    assert_false(l.has_crashed);
    assert_false(l.unsettled);
    temp_dir_remove(dir);
}

static void a_damaged_file_gives_the_previous_snapshot(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct snapshot_loaded l;
    save(dir, 1);
    save(dir, 2);
    snapshot_disk_settle(dir);
    char path[600];
    (void)snprintf(path, sizeof(path), "%s/current", dir);
    struct buf b = {0};
    assert_int_equal(buf_read_file(&b, path, 1 << 20, NULL), 0);
    for (size_t cut = 0; cut < b.len; cut += 5) {
        assert_int_equal(buf_write_file(str_slice(buf_str(&b), 0, cut), path, 0600, NULL), 0);
        assert_int_equal(load(dir, &l), 1);
    }
    for (size_t at = 0; at < b.len; at += 3) {
        b.data[at] ^= 4;
        assert_int_equal(buf_write_file(buf_str(&b), path, 0600, NULL), 0);
        b.data[at] ^= 4;
        assert_int_equal(load(dir, &l), 1);
    }
    buf_deinit(&b);
    temp_dir_remove(dir);
}

static void rename_within(struct buf *body, const char *from, const char *to)
{
    for (char *at = body->data;
         (at = memmem(at, body->len - (size_t)(at - body->data), from, strlen(from))) != NULL;)
        memcpy(at, to, strlen(from));
}

static void a_model_knows_whether_its_name_stands_in_json_as_it_is(void **state)
{
    (void)state;
    struct inputs in;
    struct snapshot_refusal refusal;
    struct snapshot *s;
    inputs_init(&in);
    rename_within(&in.catalogue, "large", "la\"ge");
    rename_within(&in.keys, "large", "la\"ge");
    assert_int_equal(build(&in, &s, &refusal), 0);
    assert_true(snapshot_model(s, STR("small"))->plain);
    assert_false(snapshot_model(s, STR("la\"ge"))->plain);
    snapshot_unref(s);
    inputs_deinit(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_knows_whether_its_name_stands_in_json_as_it_is),
        cmocka_unit_test(a_whole_snapshot_answers_every_lookup),
        cmocka_unit_test(b42_an_artifact_that_is_not_right_is_refused_with_the_reason),
        cmocka_unit_test(references_to_what_is_not_there_are_refused),
        cmocka_unit_test(bodies_that_cannot_be_read_or_are_out_of_range_are_refused),
        cmocka_unit_test(p8_policy_versions_only_rise_and_one_number_has_one_content),
        cmocka_unit_test(b23_keys_are_found_by_their_whole_text_only),
        cmocka_unit_test(accounts_are_found_by_id_and_where_it_counts_by_name),
        cmocka_unit_test(building_survives_each_failed_allocation),
        cmocka_unit_test(urls_are_taken_apart_or_refused),
        cmocka_unit_test(a_pinned_snapshot_lives_until_its_last_request_ends),
        cmocka_unit_test(readers_pin_while_the_control_loop_publishes),
        cmocka_unit_test(the_second_death_soon_after_applying_brings_the_previous_one_back),
        cmocka_unit_test(a_damaged_file_gives_the_previous_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

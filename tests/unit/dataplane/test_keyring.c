#include "dataplane/state/keyring.h"
#include "tests/lib/fault.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/link/wire.h"
#include "tests/unit/dataplane/keys_fixture.h"

/* ---- helpers ---- */

/* A part that cannot be made fails the test. */
static struct keyring_part *part_of(int shard, struct keys_key *const *keys, size_t count)
{
    struct resource *r = keys_resource(shard, keys, count);
    struct keyring_part *part = NULL;
    struct keyring_fault fault;
    if (keyring_part_create(r, shard, &part, &fault) != 0)
        fail_msg("%s: %s", fault.code, fault.detail);
    resource_unref(r);
    return part;
}

static void keyring_with(struct keyring *k, struct keys_key *key)
{
    int shard = (int)keys_shard((unsigned)key->m.id - 1);
    keyring_init(k);
    assert_int_equal(keyring_put(k, shard, part_of(shard, &key, 1)), 0);
}

static void expect_refusal(int shard, struct keys_key *const *keys, size_t count, int rc,
                           const char *code)
{
    struct resource *r = keys_resource(shard, keys, count);
    struct keyring_part *part = NULL;
    struct keyring_fault fault;
    assert_int_equal(keyring_part_create(r, shard, &part, &fault), rc);
    assert_string_equal(fault.code, code);
    assert_true(fault.detail[0] != '\0');
    assert_null(part);
    resource_unref(r);
}

/* With memory and without: the same answer. */
static int recall(const struct keyring *k, struct keyring_memory *m, struct str text,
                  int64_t wall_us, const struct identity **out)
{
    const struct identity *looked_up = NULL;
    int wanted = keyring_find(k, text, wall_us, &looked_up);
    *out = NULL;
    int rc = keyring_recall(k, m, text, wall_us, out);
    assert_int_equal(rc, wanted);
    assert_ptr_equal(*out, looked_up);
    return rc;
}

/* ---- memory ---- */

static void b23_a_remembered_key_admits_itself_alone(void **state)
{
    (void)state;
    static struct keyring_memory m;
    struct keyring k;
    struct keys_key key;
    const struct identity *found;
    char text[KEYS_TEXT_BYTES + 1];
    keys_text(1, 0, text);
    size_t len = strlen(text);
    struct str whole = {text, len};
    keys_init(&key, 1, 0);
    keyring_with(&k, &key);
    keyring_memory_init(&m);
    assert_true(m.ready);
    for (int i = 0; i < 3; i++)
        assert_int_equal(recall(&k, &m, whole, 5, &found), 0);
    for (size_t i = 0; i < len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            text[i] ^= (char)(1 << bit);
            assert_int_equal(recall(&k, &m, whole, 5, &found), ERR_UNAUTHENTICATED);
            text[i] ^= (char)(1 << bit);
        }
        assert_int_equal(recall(&k, &m, (struct str){text, i}, 5, &found), ERR_UNAUTHENTICATED);
    }
    text[len] = 'x';
    assert_int_equal(recall(&k, &m, (struct str){text, len + 1}, 5, &found), ERR_UNAUTHENTICATED);
    assert_int_equal(recall(&k, &m, STR_NULL, 5, &found), ERR_UNAUTHENTICATED);
    assert_int_equal(recall(&k, &m, whole, 5, &found), 0);
    keyring_memory_deinit(&m);
    keyring_deinit(&k);
}

static void a_remembered_key_still_expires(void **state)
{
    (void)state;
    static struct keyring_memory m;
    struct keyring k;
    struct keys_key key;
    const struct identity *found;
    char text[KEYS_TEXT_BYTES];
    keys_text(1, 0, text);
    keys_init(&key, 1, 0);
    key.m.expires_us = 100;
    keyring_with(&k, &key);
    keyring_memory_init(&m);
    assert_int_equal(recall(&k, &m, str_from(text), 99, &found), 0);
    assert_int_equal(recall(&k, &m, str_from(text), 99, &found), 0);
    assert_int_equal(recall(&k, &m, str_from(text), 100, &found), ERR_UNAUTHENTICATED);
    keyring_memory_deinit(&m);
    keyring_deinit(&k);
}

static void a_rotated_secret_works_until_its_overlap_ends(void **state)
{
    (void)state;
    static struct keyring_memory m;
    struct keyring k;
    struct keys_key key;
    const struct identity *found;
    char old[KEYS_TEXT_BYTES], new[KEYS_TEXT_BYTES];
    keys_text(1, 0, old);
    keys_text(1, 1, new);
    keys_init(&key, 1, 1);
    key.previous = digest_sha256(old, strlen(old));
    key.m.prev_sha256 = (ProtobufCBinaryData){SHA256_BYTES, key.previous.bytes};
    key.m.prev_until_us = 100;
    keyring_with(&k, &key);
    keyring_memory_init(&m);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(recall(&k, &m, str_from(old), 99, &found), 0);
        assert_int_equal(found->id, 2);
        assert_int_equal(recall(&k, &m, str_from(new), 99, &found), 0);
    }
    assert_int_equal(recall(&k, &m, str_from(old), 100, &found), ERR_UNAUTHENTICATED);
    assert_int_equal(recall(&k, &m, str_from(new), 100, &found), 0);
    keyring_deinit(&k);
    key.m.disabled = true;
    keyring_with(&k, &key);
    assert_int_equal(recall(&k, &m, str_from(old), 99, &found), ERR_UNAUTHENTICATED);
    assert_int_equal(recall(&k, &m, str_from(new), 99, &found), ERR_UNAUTHENTICATED);
    keyring_memory_deinit(&m);
    keyring_deinit(&k);
}

static void a_key_is_remembered_as_long_as_its_shard_stays(void **state)
{
    (void)state;
    static struct keyring_memory m;
    struct keyring first, second;
    struct keys_key key, other;
    const struct identity *found, *again;
    char text[KEYS_TEXT_BYTES];
    unsigned elsewhere = 2;
    while (keys_shard(elsewhere) == keys_shard(1))
        elsewhere++;
    int shard = (int)keys_shard(1), aside = (int)keys_shard(elsewhere);
    struct keys_key *list[] = {&key}, *more[] = {&other};
    keys_text(1, 0, text);
    keys_init(&key, 1, 0);
    keys_init(&other, elsewhere, 0);
    keyring_memory_init(&m);
    keyring_init(&first);
    struct keyring_part *part = part_of(shard, list, 1);
    assert_int_equal(keyring_put(&first, shard, keyring_part_ref(part)), 0);
    assert_int_equal(recall(&first, &m, str_from(text), 5, &found), 0);
    /* Another shard changed: what was found is found where it was. */
    keyring_init(&second);
    assert_int_equal(keyring_put(&second, shard, part), 0);
    assert_int_equal(keyring_put(&second, aside, part_of(aside, more, 1)), 0);
    keyring_deinit(&first);
    assert_int_equal(recall(&second, &m, str_from(text), 5, &again), 0);
    assert_ptr_equal(found, again);
    keyring_deinit(&second);
    /* Its own shard changed, or is gone: nothing is remembered. */
    assert_int_equal(recall(&second, &m, str_from(text), 5, &found), ERR_UNAUTHENTICATED);
    key.m.disabled = true;
    keyring_with(&second, &key);
    assert_int_equal(recall(&second, &m, str_from(text), 5, &found), ERR_UNAUTHENTICATED);
    keyring_deinit(&second);
    keyring_memory_deinit(&m);
}

/* More keys than are remembered; each is its own. From one part that holds all shards. */
static void keys_that_push_each_other_out_are_found_all_the_same(void **state)
{
    (void)state;
    enum { KEYS = 4 * KEYRING_SEEN_SLOTS };
    static struct keyring_memory m;
    static struct keys_key keys[KEYS];
    static struct keys_key *list[KEYS];
    struct keyring k;
    const struct identity *found;
    char text[KEYS_TEXT_BYTES];
    for (unsigned i = 0; i < KEYS; i++) {
        keys_init(&keys[i], i, 0);
        list[i] = &keys[i];
    }
    keyring_init(&k);
    keyring_memory_init(&m);
    assert_int_equal(keyring_put(&k, KEYRING_SHARD_ANY, part_of(KEYRING_SHARD_ANY, list, KEYS)), 0);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            keys_text(i, 0, text);
            assert_int_equal(recall(&k, &m, str_from(text), 5, &found), 0);
            assert_int_equal(recall(&k, &m, str_from(text), 5, &found), 0);
            assert_int_equal(found->id, i + 1);
        }
    }
    keyring_memory_deinit(&m);
    keyring_deinit(&k);
}

/* ---- parts ---- */

static void a_part_tells_all_that_a_key_may_do(void **state)
{
    (void)state;
    struct keys_key a, b;
    struct keys_key *list[] = {&a, &b};
    char *routes[] = {wire_text("auto"), wire_text("cheap"), wire_text("best")};
    char *endpoints[] = {wire_text("models")};
    char *tags[] = {wire_text("batch"), wire_text("eu")};
    uint64_t accounts[] = {3, 9, UINT64_MAX};
    keys_init(&a, 1, 0);
    a.m.routes = routes;
    a.m.n_routes = 3;
    a.m.endpoints = endpoints;
    a.m.n_endpoints = 1;
    a.m.tags = tags;
    a.m.n_tags = 2;
    a.m.accounts = accounts;
    a.m.n_accounts = 3;
    a.m.max_cost = 5;
    a.m.rpm = 6;
    a.m.tpm = 7;
    a.m.concurrency = 8;
    a.m.segment = 4;
    a.m.no_explore = a.m.may_no_log = true;
    b = a;
    b.m.id = 4711;
    b.m.public_id = b.public_id;
    b.public_id[0] = 'x';
    struct keyring_part *part = part_of(KEYRING_SHARD_ANY, list, 2);
    assert_int_equal(keyring_part_count(part), 2);
    const struct identity *i = keyring_part_at(part, 0), *other = keyring_part_at(part, 1);
    const struct key_terms *t = i->terms;
    assert_ptr_equal(t, other->terms); /* Shared. */
    for (int n = 0; n < 3; n++) {
        struct str name = str_from(routes[n]);
        assert_true(scope_has(t->routes, name, scope_hash(name)));
    }
    assert_false(scope_has(t->routes, STR("aut"), scope_hash(STR("aut"))));
    /* The hash finds the place, the name decides. */
    assert_false(scope_has(t->routes, STR("other"), scope_hash(STR("auto"))));
    assert_null(t->models);
    assert_true(scope_has(t->models, STR("any"), scope_hash(STR("any"))));
    assert_true(scope_has(t->endpoints, STR("models"), scope_hash(STR("models"))));
    assert_false(scope_has(t->endpoints, STR("decision"), scope_hash(STR("decision"))));
    assert_true(t->tag_count == 2 && str_is(t->tags[1], "eu"));
    assert_true(t->max_cost_nanousd == 5 && t->rpm == 6 && t->tpm == 7 && t->concurrency == 8);
    assert_true(i->account_count == 3 && i->accounts[2] == UINT64_MAX && i->segment == 4);
    assert_true(i->no_explore && i->may_no_log && !i->disabled && i->previous == NULL);
    assert_true(str_is(i->name, "key 1") && other->id == 4711);
    keyring_part_unref(part);
}

static void bodies_that_are_not_right_are_refused(void **state)
{
    (void)state;
    static char *names[KEYRING_NAMES_MAX + 1];
    static uint64_t accounts[KEYRING_ACCOUNTS_MAX + 1];
    struct keys_key key, same;
    struct keys_key *list[] = {&key, &same};
    int shard = (int)keys_shard(1);
    keys_init(&key, 1, 0);
    keys_init(&same, 1, 1);
    expect_refusal(shard, list, 2, ERR_EXISTS, "DUPLICATE");
    expect_refusal(shard ^ 1, list, 1, ERR_INVALID, "INVALID");
    key.m.sha256.len = 31;
    expect_refusal(shard, list, 1, ERR_INVALID, "INVALID");
    key.m.sha256.len = 32;
    key.m.prev_sha256 = (ProtobufCBinaryData){3, key.previous.bytes};
    expect_refusal(shard, list, 1, ERR_INVALID, "INVALID");
    keys_init(&key, 1, 0);
    key.m.max_cost = -1;
    expect_refusal(shard, list, 1, ERR_INVALID, "INVALID");
    key.m.max_cost = 0;
    key.m.public_id = wire_text("");
    expect_refusal(KEYRING_SHARD_ANY, list, 1, ERR_INVALID, "INVALID");
    key.m.public_id = wire_text("a\nb");
    expect_refusal(KEYRING_SHARD_ANY, list, 1, ERR_INVALID, "INVALID");
    keys_init(&key, 1, 0);
    key.m.accounts = accounts;
    key.m.n_accounts = KEYRING_ACCOUNTS_MAX + 1;
    expect_refusal(shard, list, 1, ERR_LIMIT, "LIMIT");
    keys_init(&key, 1, 0);
    for (size_t i = 0; i < KEYRING_NAMES_MAX + 1; i++)
        names[i] = wire_text("n");
    key.m.models = names;
    key.m.n_models = KEYRING_NAMES_MAX + 1;
    expect_refusal(shard, list, 1, ERR_LIMIT, "LIMIT");
}

static void a_body_cut_anywhere_is_refused_or_shorter(void **state)
{
    (void)state;
    struct keys_key keys[2];
    struct keys_key *list[] = {&keys[0], &keys[1]};
    uint64_t accounts[] = {1, 2};
    for (unsigned i = 0; i < 2; i++) {
        keys_init(&keys[i], i, 0);
        keys[i].m.accounts = accounts;
        keys[i].m.n_accounts = 2;
        keys[i].m.tpm = 1000000;
    }
    struct resource *whole = keys_resource(KEYRING_SHARD_ANY, list, 2);
    size_t boundaries = 0;
    for (size_t cut = 0; cut < whole->body.len; cut++) {
        struct resource *r = resource_create(3, whole->key, str_slice(whole->body, 0, cut));
        struct keyring_part *part = NULL;
        struct keyring_fault fault;
        int rc = keyring_part_create(r, KEYRING_SHARD_ANY, &part, &fault);
        assert_true(rc == 0 || rc == ERR_CORRUPT);
        boundaries += rc == 0;
        keyring_part_unref(part);
        resource_unref(r);
    }
    assert_int_equal(boundaries, 2); /* Nothing, and the first key. */
    resource_unref(whole);
}

/* A number where a text belongs would drop a limit in silence. */
static void fields_of_another_type_are_refused_and_new_ones_passed_over(void **state)
{
    (void)state;
    struct keys_key key;
    struct keys_key *list[] = {&key};
    keys_init(&key, 1, 0);
    struct resource *whole = keys_resource(KEYRING_SHARD_ANY, list, 1);
    static const struct {
        const char *bytes;
        size_t len;
        int rc;
    } more[] = {
        {"\xb8\x01\x05", 3, 0},                         /* 23, a number. */
        {"\xba\x01\x02xy", 5, 0},                       /* 23, bytes. */
        {"\xa8\x01\x05", 3, ERR_CORRUPT},               /* 21, regions as a number. */
        {"\xb2\x01\x02xy", 5, ERR_CORRUPT},             /* 22, demands as bytes. */
        {"\x61\x01\x02\x03\x04\x05\x06\x07\x08", 9, 0}, /* 12, one account alone. */
        {"\x72\x01x", 3, ERR_CORRUPT},                  /* 14, a cost as bytes. */
        {"\x20\x05", 2, ERR_CORRUPT},                   /* 4, a name as a number. */
        {"\x0d\x01\x01\x01\x01", 5, ERR_CORRUPT},       /* 1, an id of four bytes. */
        {"\x0b", 1, ERR_CORRUPT},                       /* A group. */
        {"\x00", 1, ERR_CORRUPT},                       /* Field 0. */
        {"\x62\x03xyz", 5, ERR_CORRUPT},                /* 12, accounts cut short. */
    };
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        char body[256];
        memcpy(body, whole->body.data, whole->body.len);
        memcpy(body + whole->body.len, more[i].bytes, more[i].len);
        body[1] = (char)(body[1] + (char)more[i].len); /* The key's length, below 128. */
        struct str s = {body, whole->body.len + more[i].len};
        struct resource *r = resource_create(3, whole->key, s);
        struct keyring_part *part = NULL;
        struct keyring_fault fault;
        assert_int_equal(keyring_part_create(r, KEYRING_SHARD_ANY, &part, &fault), more[i].rc);
        keyring_part_unref(part);
        resource_unref(r);
    }
    resource_unref(whole);
}

static void making_a_part_survives_each_failed_allocation(void **state)
{
    (void)state;
    struct keys_key keys[3];
    struct keys_key *list[] = {&keys[0], &keys[1], &keys[2]};
    char *names[] = {wire_text("a"), wire_text("b")};
    for (unsigned i = 0; i < 3; i++) {
        keys_init(&keys[i], i, 0);
        keys[i].m.routes = keys[i].m.tags = names;
        keys[i].m.n_routes = keys[i].m.n_tags = i;
        keys[i].m.prev_sha256 = keys[i].m.sha256;
    }
    struct resource *r = keys_resource(KEYRING_SHARD_ANY, list, 3);
    uint64_t before = mem_live_bytes();
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct keyring_part *part = NULL;
        struct keyring_fault fault;
        fault_arm_alloc(n);
        int rc = keyring_part_create(r, KEYRING_SHARD_ANY, &part, &fault);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        assert_true((part == NULL) == fired);
        keyring_part_unref(part);
        assert_int_equal(mem_live_bytes(), before);
    }
    resource_unref(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b23_a_remembered_key_admits_itself_alone),
        cmocka_unit_test(a_remembered_key_still_expires),
        cmocka_unit_test(a_rotated_secret_works_until_its_overlap_ends),
        cmocka_unit_test(a_key_is_remembered_as_long_as_its_shard_stays),
        cmocka_unit_test(keys_that_push_each_other_out_are_found_all_the_same),
        cmocka_unit_test(a_part_tells_all_that_a_key_may_do),
        cmocka_unit_test(bodies_that_are_not_right_are_refused),
        cmocka_unit_test(a_body_cut_anywhere_is_refused_or_shorter),
        cmocka_unit_test(fields_of_another_type_are_refused_and_new_ones_passed_over),
        cmocka_unit_test(making_a_part_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

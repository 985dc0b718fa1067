/* Keys on disk: what was revoked before a save returned is gone, whatever happens during that save
 * or after it: a process ends, or a call to the disk fails, at each of them in turn. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/link/wire.h"
#include "dataplane/state/snapshot_build.h"
#include "dataplane/state/snapshot_disk.h"
#include "dataplane/state/snapshot_files.h"
#include "tests/lib/fault.h"
#include "tests/lib/seed.h"
#include "tests/unit/dataplane/keys_fixture.h"
#include "tests/unit/dataplane/planes_fixture.h"
#include "tests/unit/dataplane/troubled_disk.h"

/* ---- the keys ---- */

#define KEYS 12U

/* What the control plane says of each key. */
struct truth {
    struct {
        unsigned turn; /* Of its secret. */
        bool exists, disabled, overlaps, expired;
    } keys[KEYS];
    uint64_t generation;
    uint64_t catalogue; /* Counts its changes. */
};

static int put_text(struct resource_set *set, const char *key, const char *text)
{
    struct resource *r = resource_create(1, str_from(key), str_from(text));
    return r != NULL ? resource_set_put(set, r) : ERR_NOMEM;
}

static struct resource_set *set_of(const struct truth *t)
{
    struct resource_set *set = resource_set_create();
    char text[KEYS_TEXT_BYTES];
    assert_non_null(set);
    for (unsigned shard = 0; shard < KEYRING_SHARDS; shard++) {
        struct keys_key keys[KEYS];
        struct keys_key *list[KEYS];
        size_t count = 0;
        for (unsigned i = 0; i < KEYS; i++) {
            if (!t->keys[i].exists || keys_shard(i) != shard)
                continue;
            struct keys_key *k = list[count] = &keys[count];
            count++;
            keys_init(k, i, t->keys[i].turn);
            k->m.disabled = t->keys[i].disabled;
            k->m.expires_us = t->keys[i].expired ? 1 : 0;
            if (t->keys[i].overlaps) {
                keys_text(i, t->keys[i].turn - 1, text);
                k->previous = digest_sha256(text, strlen(text));
                k->m.prev_sha256 = (ProtobufCBinaryData){SHA256_BYTES, k->previous.bytes};
                k->m.prev_until_us = 1000;
            }
        }
        if (count > 0)
            assert_int_equal(resource_set_put(set, keys_resource((int)shard, list, count)), 0);
    }
    (void)snprintf(text, sizeof text, "text %llu", (unsigned long long)t->catalogue);
    assert_int_equal(put_text(set, "prompt/of-the-day", text), 0);
    return set;
}

static bool works(const struct snapshot *s, unsigned key, unsigned turn)
{
    char text[KEYS_TEXT_BYTES];
    const struct identity *found;
    keys_text(key, turn, text);
    return keyring_find(&s->keyring, str_from(text), 10, &found) == 0;
}

static bool should_work(const struct truth *t, unsigned key, unsigned turn)
{
    return t->keys[key].exists && !t->keys[key].disabled && !t->keys[key].expired &&
           (t->keys[key].turn == turn || (t->keys[key].overlaps && t->keys[key].turn == turn + 1));
}

static struct snapshot *build_from(struct resource_set *set, const struct snapshot *previous)
{
    struct snapshot_inputs inputs = {.era = 1, .generation = 1, .previous = previous};
    struct snapshot_refusal refusal;
    struct snapshot *s = NULL;
    if (snapshot_build(set, &inputs, &s, &refusal) != 0)
        fail_msg("%s %s: %s", refusal.code, refusal.key, refusal.detail);
    return s;
}

/* A start. NULL: nothing usable. */
static struct snapshot *start(const char *dir, struct snapshot_loaded *out)
{
    struct err err = {0};
    if (snapshot_disk_load(dir, out, &err) != 0)
        fail_msg("%s", err.message);
    return out->set != NULL ? build_from(out->set, NULL) : NULL;
}

/* Are these the keys of t, one and all? */
static bool is_truth(const struct snapshot *s, const struct truth *t, unsigned turns)
{
    for (unsigned key = 0; key < KEYS; key++)
        for (unsigned turn = 0; turn <= turns; turn++)
            if (works(s, key, turn) != should_work(t, key, turn))
                return false;
    return true;
}

/* Saves in a process of its own. true: it came to its end, and the save returned 0 (acknowledged).
 * *out_fired: the trouble came. */
static bool save_in_child(const char *dir, const struct truth *t, int call, enum trouble how,
                          bool *out_fired)
{
    struct resource_set *set = set_of(t);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct err err = {0};
        dirty_count = 0; /* Of the test itself. */
        out_of_order = false;
        calls_left = call;
        trouble = how;
        int rc = snapshot_disk_save(dir, set, 1, t->generation, &err);
        trouble = TROUBLE_NONE;
        if (out_of_order || (rc == 0 && dirty_count > 0))
            _exit(9);
        _exit((rc == 0 ? 0 : 1) + (fired ? 2 : 0));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    resource_set_destroy(set);
    if (WIFEXITED(status) && WEXITSTATUS(status) > 3)
        fail_msg("named before it was synced, at call %d", call);
    *out_fired = !WIFEXITED(status) || (WEXITSTATUS(status) & 2) != 0;
    if (!WIFEXITED(status))
        assert_int_equal(WTERMSIG(status), SIGKILL);
    return WIFEXITED(status) && (WEXITSTATUS(status) & 1) == 0;
}

/* ---- tests ---- */

static void a_death_or_failure_at_each_call_leaves_the_old_keys_or_the_new(void **state)
{
    (void)state;
    struct truth old = {.generation = 1}, new;
    for (unsigned i = 0; i < KEYS; i++)
        old.keys[i].exists = true;
    new = old;
    new.generation = 2;
    new.keys[1].disabled = new.keys[2].expired = true;
    new.keys[3].exists = false;
    new.keys[4].turn = new.keys[5].turn = 1;
    new.keys[5].overlaps = true;
    new.catalogue = 1;
    unsigned points = 0, acknowledged = 0;
    for (enum trouble how = DIE_BEFORE; how < TROUBLES; how++) {
        bool goes_on = true;
        for (int call = 0; goes_on; call++) {
            char *dir = temp_dir_make();
            struct snapshot_loaded l;
            bool ignored;
            assert_null(start(dir, &l));
            assert_true(save_in_child(dir, &old, 0, TROUBLE_NONE, &ignored));
            snapshot_disk_settle(dir);
            bool acked = save_in_child(dir, &new, call, how, &goes_on);
            assert_true(goes_on || acked);
            struct snapshot *s = start(dir, &l);
            assert_non_null(s);
            assert_int_equal(l.lost, 0);
            bool is_new = is_truth(s, &new, 2);
            if (!is_new && (acked || !is_truth(s, &old, 2)))
                fail_msg("call %d, trouble %d: neither the old keys nor the new", call, how);
            assert_int_equal(l.newest_generation, is_new ? 2 : 1);
            snapshot_unref(s);
            /* Whatever it left behind, the next save is whole. */
            assert_true(save_in_child(dir, &new, 0, TROUBLE_NONE, &ignored));
            snapshot_disk_settle(dir);
            s = start(dir, &l);
            assert_true(is_truth(s, &new, 2));
            assert_int_equal(l.generation, 2);
            snapshot_unref(s);
            temp_dir_remove(dir);
            points++;
            acknowledged += acked;
        }
    }
    print_message("%u points, %u acknowledged\n", points, acknowledged);
}

static size_t files_in(const char *dir, const char *sub)
{
    char path[700];
    size_t count = 0;
    (void)snprintf(path, sizeof path, "%s/%s", dir, sub);
    DIR *d = opendir(path);
    assert_non_null(d);
    while (readdir(d) != NULL)
        count++;
    (void)closedir(d);
    return count;
}

static void a_change_of_one_key_writes_one_body_and_removes_one(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct truth t = {.generation = 1};
    struct snapshot_loaded l;
    struct err err = {0};
    bool ignored;
    for (unsigned i = 0; i < KEYS; i++)
        t.keys[i].exists = true;
    assert_null(start(dir, &l));
    assert_true(save_in_child(dir, &t, 0, TROUBLE_NONE, &ignored));
    snapshot_disk_settle(dir);
    size_t files = files_in(dir, "bodies");
    t.generation = 2;
    t.keys[0].disabled = true;
    struct resource_set *set = set_of(&t);
    /* Writes: the body, the manifest. Nothing else is touched. */
    calls_left = 1000;
    trouble = TROUBLE_FAIL;
    dirty_count = 0;
    assert_int_equal(snapshot_disk_save(dir, set, 1, 2, &err), 0);
    trouble = TROUBLE_NONE;
    assert_true(1000 - calls_left < 25);
    resource_set_destroy(set);
    assert_int_equal(files_in(dir, "bodies"), files);
    char path[600];
    (void)snprintf(path, sizeof path, "%s/applying", dir);
    assert_int_not_equal(access(path, F_OK), 0); /* Keys alone are no new `current`. */
    struct snapshot *s = start(dir, &l);
    assert_true(is_truth(s, &t, 1));
    assert_int_equal(l.generation, 2);
    assert_false(l.unsettled);
    snapshot_unref(s);
    temp_dir_remove(dir);
}

/* The way back after two crashes is for catalogues. */
static void revoked_keys_do_not_come_back_with_the_previous_snapshot(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct truth t = {.generation = 1};
    struct snapshot_loaded l;
    bool ignored;
    t.keys[0].exists = t.keys[1].exists = true;
    assert_null(start(dir, &l));
    assert_true(save_in_child(dir, &t, 0, TROUBLE_NONE, &ignored));
    snapshot_disk_settle(dir);
    t.generation = 2;
    t.catalogue = 1;
    t.keys[0].disabled = true;
    assert_true(save_in_child(dir, &t, 0, TROUBLE_NONE, &ignored));
    t.generation = 3;
    t.keys[1].exists = false;
    assert_true(save_in_child(dir, &t, 0, TROUBLE_NONE, &ignored));
    for (int deaths = 0; deaths < 4; deaths++) {
        struct snapshot *s = start(dir, &l);
        assert_true(is_truth(s, &t, 1));
        assert_int_equal(l.newest_generation, 3);
        assert_int_equal(l.has_crashed, deaths > 0);
        if (deaths > 0) {
            assert_int_equal(l.generation, 1);
            assert_int_equal(l.crashed_generation, 3); /* What the control plane has. */
        }
        snapshot_unref(s);
    }
    temp_dir_remove(dir);
}

/* Bodies of `previous` stay when it cannot be read for once. */
static void a_call_that_fails_takes_nothing_from_the_way_back(void **state)
{
    (void)state;
    bool goes_on = true;
    int call = 0;
    for (; goes_on; call++) {
        char *dir = temp_dir_make();
        struct truth t = {.generation = 1};
        struct snapshot_loaded l;
        bool ignored;
        t.keys[0].exists = true;
        assert_null(start(dir, &l));
        assert_true(save_in_child(dir, &t, 0, TROUBLE_NONE, &ignored));
        snapshot_disk_settle(dir);
        t.generation = 2;
        t.catalogue = 1;
        assert_true(save_in_child(dir, &t, 0, TROUBLE_NONE, &ignored));
        t.generation = 3;
        t.keys[1].exists = true;
        (void)save_in_child(dir, &t, call, TROUBLE_FAIL, &goes_on);
        for (int deaths = 0; deaths < 2; deaths++) {
            struct snapshot *s = start(dir, &l);
            if (s == NULL)
                fail_msg("call %d: nothing usable after %d deaths", call, deaths);
            snapshot_unref(s);
        }
        assert_true(l.generation < 3); /* It went back. */
        temp_dir_remove(dir);
    }
    assert_true(call > 14);
}

/* "SYSNAP1\n", its digest, everything in one. */
static void write_old_format(const char *dir, const char *name, uint64_t generation,
                             const struct keys_key *key)
{
    Steelyard__Control__V1__PlaneMsg m = STEELYARD__CONTROL__V1__PLANE_MSG__INIT;
    Steelyard__Control__V1__Resource item = STEELYARD__CONTROL__V1__RESOURCE__INIT;
    Steelyard__Control__V1__Resource *list[] = {&item};
    struct keys_key *keys[] = {(struct keys_key *)(uintptr_t)key};
    struct resource *r = keys_resource(KEYRING_SHARD_ANY, keys, 1);
    struct buf file;
    char path[600];
    buf_init(&file, SIZE_MAX);
    assert_int_equal(buf_append(&file, "SYSNAP1\n", 8), 0);
    assert_int_equal(buf_append(&file, r->sha256.bytes, SHA256_BYTES), 0);
    item.key = wire_text("keys");
    item.version = r->version;
    item.body = wire_data(r->body);
    m.era = 1;
    m.generation = generation;
    m.set = list;
    m.n_set = 1;
    assert_int_equal(wire_pack(&m.base, &file), 0);
    struct sha256 sum = digest_sha256(file.data + 40, file.len - 40);
    memcpy(file.data + 8, sum.bytes, SHA256_BYTES);
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(buf_write_file(buf_str(&file), path, 0600, NULL), 0);
    buf_deinit(&file);
    resource_unref(r);
}

static void the_files_of_older_versions_are_taken_over(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct snapshot_loaded l;
    struct keys_key key;
    struct truth t = {.generation = 6};
    bool ignored;
    keys_init(&key, 3, 0);
    write_old_format(dir, "previous", 4, &key);
    write_old_format(dir, "current", 5, &key);
    struct snapshot *s = start(dir, &l);
    assert_true(works(s, 3, 0));
    assert_int_equal(l.generation, 5);
    snapshot_unref(s);
    /* The same key is revoked by shards: neither file brings it back. */
    t.keys[3].exists = t.keys[3].disabled = true;
    assert_true(save_in_child(dir, &t, 0, TROUBLE_NONE, &ignored));
    for (int deaths = 0; deaths < 3; deaths++) {
        s = start(dir, &l);
        assert_false(works(s, 3, 0));
        snapshot_unref(s);
    }
    assert_true(l.has_crashed);
    temp_dir_remove(dir);
}

static void damaged_keys_are_refused_and_written_again(void **state)
{
    (void)state;
    char *dir = temp_dir_make();
    struct truth t = {.generation = 1};
    struct snapshot_loaded l;
    bool ignored;
    char path[700];
    t.keys[0].exists = t.keys[1].exists = true;
    assert_null(start(dir, &l));
    assert_true(save_in_child(dir, &t, 0, TROUBLE_NONE, &ignored));
    struct resource_set *set = set_of(&t);
    char key[16];
    const struct resource *r = resource_set_get(set, keys_resource_key((int)keys_shard(0), key));
    (void)snprintf(path, sizeof path, "%s/bodies/%s", dir, r->version);
    assert_int_equal(buf_write_file(STR("not it"), path, 0600, NULL), 0);
    resource_set_destroy(set);
    struct snapshot *s = start(dir, &l);
    assert_int_equal(l.lost, 1);
    assert_false(works(s, 0, 0));
    assert_true(works(s, 1, 0));
    snapshot_unref(s);
    t.generation = 2;
    assert_true(save_in_child(dir, &t, 0, TROUBLE_NONE, &ignored));
    s = start(dir, &l);
    assert_int_equal(l.lost, 0);
    assert_true(is_truth(s, &t, 1));
    snapshot_unref(s);
    /* Without the list of keys there is no snapshot: who may come in is not known. */
    (void)snprintf(path, sizeof path, "%s/keys", dir);
    struct buf file = {0};
    assert_int_equal(buf_read_file(&file, path, 1 << 20, NULL), 0);
    for (size_t at = 0; at < file.len; at += 7) {
        file.data[at] ^= 1;
        assert_int_equal(buf_write_file(buf_str(&file), path, 0600, NULL), 0);
        file.data[at] ^= 1;
        assert_null(start(dir, &l));
    }
    assert_int_equal(unlink(path), 0);
    assert_null(start(dir, &l));
    buf_deinit(&file);
    temp_dir_remove(dir);
}

/* ---- lives ---- */

static void change(struct truth *t)
{
    unsigned key = (unsigned)rand_below(KEYS);
    t->generation++;
    switch (rand_below(7)) {
    case 0:
    case 1:
        t->keys[key].exists = true;
        break;
    case 2:
        t->keys[key].overlaps = t->keys[key].exists && rand_below(2) == 0;
        t->keys[key].turn += t->keys[key].exists;
        t->keys[key].overlaps = t->keys[key].overlaps && t->keys[key].turn > 0;
        break;
    case 3:
        t->keys[key].disabled = !t->keys[key].disabled;
        break;
    case 4:
        t->keys[key].exists = false; /* Its secret is never used again. */
        t->keys[key].turn += 2;
        t->keys[key].overlaps = false;
        break;
    case 5:
        t->keys[key].expired = !t->keys[key].expired;
        break;
    default:
        t->catalogue++;
    }
}

/* One life of a node's disk: every start must show the keys of the newest acknowledged generation
 * or of one that was sent after it. `sent` holds those, the acknowledged one first. */
static void live(uint64_t seed, unsigned steps)
{
    enum { SENT = 64 };
    static struct truth sent[SENT];
    size_t count = 1;
    char *dir = temp_dir_make();
    struct snapshot_loaded l;
    bool ignored;
    rand_seed_thread(seed);
    sent[0] = (struct truth){.generation = 1};
    assert_null(start(dir, &l));
    assert_true(save_in_child(dir, &sent[0], 0, TROUBLE_NONE, &ignored));
    for (unsigned step = 0; step < steps; step++) {
        if (rand_below(4) > 0 && count < SENT) {
            sent[count] = sent[count - 1];
            change(&sent[count]);
            count++;
            enum trouble how =
                rand_below(2) == 0 ? TROUBLE_NONE : (enum trouble)(DIE_BEFORE + rand_below(4));
            if (save_in_child(dir, &sent[count - 1], (int)rand_below(30), how, &ignored)) {
                sent[0] = sent[count - 1];
                count = 1;
            }
            if (rand_below(2) == 0)
                snapshot_disk_settle(dir);
        } else { /* Without a control plane; maybe it dies soon, maybe again. */
            struct snapshot *s = start(dir, &l);
            if (s == NULL)
                fail_msg("seed %llu: nothing usable", (unsigned long long)seed);
            bool found = false;
            for (size_t i = 0; i < count && !found; i++)
                found = is_truth(s, &sent[i], sent[count - 1].generation < 40 ? 40 : 60);
            if (!found)
                fail_msg("seed %llu, step %u: keys of an older generation",
                         (unsigned long long)seed, step);
            snapshot_unref(s);
        }
    }
    temp_dir_remove(dir);
}

static void a_revoked_key_stays_away_through_any_life(void **state)
{
    (void)state;
    const uint64_t seed = test_seed(20261121);
    for (unsigned i = 0; i < 8; i++)
        live(seed + i, 60);
}

/* ---- what snapshots share ---- */

static void a_push_makes_the_parts_that_changed_and_shares_the_rest(void **state)
{
    (void)state;
    struct truth t = {.generation = 1};
    for (unsigned i = 0; i < KEYS; i++)
        t.keys[i].exists = true;
    struct snapshot *first = build_from(set_of(&t), NULL);
    t.catalogue++;
    struct snapshot *second = build_from(set_of(&t), first);
    t.keys[0].disabled = true;
    struct snapshot *third = build_from(set_of(&t), second);
    assert_int_equal(first->keyring.count, KEYS);
    for (unsigned i = 0; i < KEYRING_SHARDS; i++) {
        assert_ptr_equal(first->keyring.shards[i], second->keyring.shards[i]);
        if (i == keys_shard(0))
            assert_ptr_not_equal(first->keyring.shards[i], third->keyring.shards[i]);
        else
            assert_ptr_equal(first->keyring.shards[i], third->keyring.shards[i]);
    }
    snapshot_unref(first);
    snapshot_unref(second);
    assert_true(is_truth(third, &t, 1));
    snapshot_unref(third);
}

static void an_older_planes_one_resource_counts_as_long_as_there_is_no_shard(void **state)
{
    (void)state;
    struct keys_key key;
    struct keys_key *list[] = {&key};
    struct truth t = {.generation = 1};
    keys_init(&key, 0, 5);
    struct resource_set *set = resource_set_create();
    assert_int_equal(resource_set_put(set, keys_resource(KEYRING_SHARD_ANY, list, 1)), 0);
    struct snapshot *s = build_from(set, NULL);
    assert_true(works(s, 0, 5));
    snapshot_unref(s);
    t.keys[1].exists = true;
    set = set_of(&t);
    assert_int_equal(resource_set_put(set, keys_resource(KEYRING_SHARD_ANY, list, 1)), 0);
    s = build_from(set, NULL);
    assert_false(works(s, 0, 5));
    assert_true(works(s, 1, 0));
    snapshot_unref(s);
}

/* Thousands of files are synced where that costs nothing: a process that dies leaves them alike. */
static int setup_in_memory(void **state)
{
    (void)state;
    return access("/dev/shm", W_OK) == 0 ? setenv("TMPDIR", "/dev/shm", 0) : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_death_or_failure_at_each_call_leaves_the_old_keys_or_the_new),
        cmocka_unit_test(a_change_of_one_key_writes_one_body_and_removes_one),
        cmocka_unit_test(revoked_keys_do_not_come_back_with_the_previous_snapshot),
        cmocka_unit_test(a_call_that_fails_takes_nothing_from_the_way_back),
        cmocka_unit_test(the_files_of_older_versions_are_taken_over),
        cmocka_unit_test(damaged_keys_are_refused_and_written_again),
        cmocka_unit_test(a_revoked_key_stays_away_through_any_life),
        cmocka_unit_test(a_push_makes_the_parts_that_changed_and_shares_the_rest),
        cmocka_unit_test(an_older_planes_one_resource_counts_as_long_as_there_is_no_shard),
    };
    return cmocka_run_group_tests(tests, setup_in_memory, NULL);
}

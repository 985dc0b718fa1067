#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/route/artifact_format.h"
#include "common/route/fixed.h"
#include "tests/lib/fault.h"
#include "tests/unit/route/fixture.h"

#define SEED 4242

static void make_file(struct buf *file)
{
    buf_init(file, ARTIFACT_BYTES_MAX);
    fixture_file(SEED, 8, 3, 2, 5, file);
}

/* Refusals of a changed file; the checksum is made right again unless the change is to it. */
static void seal(struct buf *file)
{
    struct sha256 digest =
        digest_sha256(file->data + ARTIFACT_HEADER_BYTES, file->len - ARTIFACT_HEADER_BYTES);
    uint64_t len = file->len - ARTIFACT_HEADER_BYTES;
    for (unsigned i = 0; i < 8; i++)
        file->data[16 + i] = (char)(uint8_t)(len >> (8 * i));
    memcpy(file->data + 24, digest.bytes, SHA256_BYTES);
}

static enum artifact_reason load_reason(const struct buf *file)
{
    const struct artifact_expect expect = {.hash_key_id = 77, .newer_than = 11};
    struct artifact *a = NULL;
    struct err err = {0};
    enum artifact_reason reason;
    int rc = artifact_load(buf_str(file), &expect, &a, &reason, &err);
    assert_int_equal(rc == 0, reason == ARTIFACT_OK_REASON);
    assert_int_equal(a != NULL, rc == 0);
    if (rc != 0)
        assert_true(err.message[0] != '\0');
    artifact_destroy(a);
    return reason;
}

/* Where the payload of a section begins. */
static size_t section_at(const struct buf *file, enum artifact_section section, uint64_t *out_len)
{
    size_t at = ARTIFACT_HEADER_BYTES;
    for (;;) {
        uint64_t len = 0;
        for (unsigned i = 0; i < 8; i++)
            len |= (uint64_t)(uint8_t)file->data[at + 8 + i] << (8 * i);
        if (memcmp(file->data + at, artifact_section_tag[section], 4) == 0) {
            *out_len = len;
            return at + 16;
        }
        at += 16 + (len + 7) / 8 * 8;
        assert_true(at < file->len);
    }
}

static void a_file_comes_back_as_it_went_in(void **state)
{
    (void)state;
    struct random r = {7};
    struct fixture_spec f;
    struct artifact *a = NULL;
    struct buf file;
    enum artifact_reason reason;
    buf_init(&file, ARTIFACT_BYTES_MAX);
    fixture_spec_init(&f, &r, 8, 5, 3, 900);
    assert_int_equal(artifact_encode(&f.spec, &file, NULL), 0);
    assert_int_equal(artifact_decode(buf_str(&file), &a, &reason, NULL), 0);
    assert_int_equal(a->meta.generation, 12);
    assert_int_equal(a->meta.row_count, 5351);
    assert_int_equal(a->meta.metric_count, 2);
    assert_true(str_is(a->meta.metrics[0].name, "aiq"));
    assert_int_equal(a->meta.metrics[0].value, 712345);
    assert_int_equal(a->row_lanes, 32);
    assert_int_equal((uintptr_t)a->rows % 64, 0);
    assert_true(str_is(a->models[4], "model-4") && str_is(a->tasks[2], "task-7"));
    assert_int_equal(artifact_model(a, STR("model-3")), 3);
    assert_int_equal(artifact_model(a, STR("model-9")), -1);
    assert_true(str_is(artifact_word(a, 900), "translate"));
    assert_int_equal(artifact_word(a, 901).len, 0);
    assert_int_equal(artifact_segment(a, 7)->lambda, f.segments[1].lambda);
    assert_null(artifact_segment(a, 8));
    assert_memory_equal(a->calib[2].q, f.calib[2].q, f.calib[2].count * 4);
    for (unsigned row = 0; row < 256; row++)
        for (unsigned m = 0; m < 5; m++) {
            assert_int_equal(a->rows[row * 32 + m], f.spec.quality[row * 5 + m]);
            assert_int_equal(a->rows[row * 32 + 8 + m], f.spec.length[row * 5 + m]);
        }
    assert_int_equal(a->rows[255 * 32 + 16 + 2], f.spec.task[255 * 3 + 2]);
    assert_int_equal(a->rows[255 * 32 + 5], 0);
    assert_int_equal(a->task_quality[2][4], f.spec.task_quality[14]);
    struct sha256 id = digest_sha256(file.data, file.len);
    assert_memory_equal(a->id.bytes, id.bytes, SHA256_BYTES);
    artifact_destroy(a);
    buf_deinit(&file);
    fixture_spec_deinit(&f);
}

static void the_same_spec_gives_the_same_bytes(void **state)
{
    (void)state;
    struct buf a, b;
    make_file(&a);
    make_file(&b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    assert_int_equal(load_reason(&a), ARTIFACT_OK_REASON);
    buf_deinit(&a);
    buf_deinit(&b);
}

static void b42_damage_to_the_header_is_named(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        enum artifact_reason reason;
    } cases[] = {
        {0, ARTIFACT_MAGIC_REASON},     {7, ARTIFACT_MAGIC_REASON},
        {8, ARTIFACT_VERSION_REASON},   {12, ARTIFACT_FLAGS_REASON},
        {16, ARTIFACT_SIZE_REASON},     {23, ARTIFACT_SIZE_REASON},
        {24, ARTIFACT_CHECKSUM_REASON}, {55, ARTIFACT_CHECKSUM_REASON},
        {56, ARTIFACT_CHECKSUM_REASON}, {5000, ARTIFACT_CHECKSUM_REASON},
    };
    struct buf file;
    make_file(&file);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        file.data[cases[i].at] ^= 0x10;
        assert_int_equal(load_reason(&file), cases[i].reason);
        file.data[cases[i].at] ^= 0x10;
    }
    size_t len = file.len;
    for (file.len = 0; file.len < len; file.len += file.len < 80 ? 1 : 977)
        assert_int_equal(load_reason(&file), file.len < ARTIFACT_HEADER_BYTES
                                                 ? ARTIFACT_TRUNCATED_REASON
                                                 : ARTIFACT_SIZE_REASON);
    buf_deinit(&file);
}

static void b42_damage_to_a_section_is_named(void **state)
{
    (void)state;
    static const struct {
        enum artifact_section section;
        int at; /* Negative: in the section's header, from its end. */
        uint8_t value;
        enum artifact_reason reason;
    } cases[] = {
        {ARTIFACT_META, -16, 'X', ARTIFACT_SECTIONS_REASON},
        {ARTIFACT_W, -12, 1, ARTIFACT_SECTIONS_REASON},
        {ARTIFACT_LEN, -4, 1, ARTIFACT_SECTIONS_REASON},
        {ARTIFACT_META, 0, 2, ARTIFACT_FEATURE_SPEC_REASON},
        {ARTIFACT_META, 4, 11, ARTIFACT_NOT_NEWER_REASON},
        {ARTIFACT_META, 100, 78, ARTIFACT_DEPLOYMENT_REASON},
        {ARTIFACT_META, 108, 7, ARTIFACT_DIMENSIONS_REASON}, /* index bits */
        {ARTIFACT_META, 108, 9, ARTIFACT_DIMENSIONS_REASON}, /* not those of W */
        {ARTIFACT_META, 109, 0, ARTIFACT_DIMENSIONS_REASON}, /* models */
        {ARTIFACT_META, 109, 65, ARTIFACT_DIMENSIONS_REASON},
        {ARTIFACT_META, 110, 32, ARTIFACT_DIMENSIONS_REASON}, /* tasks */
        {ARTIFACT_META, 111, 1, ARTIFACT_META_FORMAT_REASON},
        {ARTIFACT_META, 112, 41, ARTIFACT_DIMENSIONS_REASON},    /* shift */
        {ARTIFACT_META, 115, 31, ARTIFACT_DIMENSIONS_REASON},    /* dense shift */
        {ARTIFACT_META, 118, 0, ARTIFACT_META_FORMAT_REASON},    /* name of no length */
        {ARTIFACT_META, 120, 0xff, ARTIFACT_META_FORMAT_REASON}, /* not UTF-8 */
        {ARTIFACT_W, 3, 0x40, ARTIFACT_BOUNDS_REASON},           /* bias 2^30 */
        {ARTIFACT_TASK, 3, 0x7f, ARTIFACT_BOUNDS_REASON},
        {ARTIFACT_CALIB, 0, 33, ARTIFACT_CALIBRATION_REASON},
        {ARTIFACT_CALIB, 0, 0, ARTIFACT_CALIBRATION_REASON},
        {ARTIFACT_CALIB, 11, 1, ARTIFACT_CALIBRATION_REASON}, /* q above 1 */
        {ARTIFACT_TABLES, 9, 1, ARTIFACT_TABLES_DIFFER_REASON},
        {ARTIFACT_LAMBDA, 0, 65, ARTIFACT_FRONTIER_REASON},
        {ARTIFACT_LAMBDA, 4, 9, ARTIFACT_FRONTIER_REASON}, /* ids not ascending */
        {ARTIFACT_EXPLORE, 11, 1, ARTIFACT_EXPLORATION_REASON},
        {ARTIFACT_VOCAB, 2, 2, ARTIFACT_VOCABULARY_REASON},
        {ARTIFACT_VOCAB, 5, 9, ARTIFACT_VOCABULARY_REASON}, /* not sorted */
        {ARTIFACT_SELFTEST, 0, 0, ARTIFACT_SELFTEST_FORMAT_REASON},
        {ARTIFACT_SELFTEST, 0, 6, ARTIFACT_SELFTEST_FORMAT_REASON},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf file;
        uint64_t len;
        make_file(&file);
        size_t at = section_at(&file, cases[i].section, &len) + (size_t)cases[i].at;
        assert_int_not_equal((uint8_t)file.data[at], cases[i].value);
        file.data[at] = (char)cases[i].value;
        seal(&file);
        enum artifact_reason reason = load_reason(&file);
        if (reason != cases[i].reason)
            fail_msg("case %zu: %s, expected %s", i, artifact_reason_name(reason),
                     artifact_reason_name(cases[i].reason));
        buf_deinit(&file);
    }
}

static void b42_a_policy_that_computes_otherwise_is_refused(void **state)
{
    (void)state;
    struct buf file;
    uint64_t len;
    make_file(&file);
    size_t at = section_at(&file, ARTIFACT_SELFTEST, &len);
    file.data[at + len - 1] ^= 1; /* p of the last row */
    seal(&file);
    assert_int_equal(load_reason(&file), ARTIFACT_SELFTEST_DIFFERS_REASON);
    buf_deinit(&file);
    make_file(&file);
    at = section_at(&file, ARTIFACT_W, &len);
    file.data[at] = (char)(file.data[at] ^ 0x7f); /* A bias: weights that were not tested. */
    seal(&file);
    assert_int_equal(load_reason(&file), ARTIFACT_SELFTEST_DIFFERS_REASON);
    buf_deinit(&file);
}

static void b42_every_changed_byte_is_refused_or_changes_the_id(void **state)
{
    (void)state;
    struct buf file;
    struct artifact *a;
    enum artifact_reason reason;
    make_file(&file);
    struct sha256 id = digest_sha256(file.data, file.len);
    for (size_t at = ARTIFACT_HEADER_BYTES; at < file.len; at += at < 400 ? 1 : 307) {
        file.data[at] = (char)(file.data[at] ^ 0x5a);
        seal(&file);
        if (artifact_decode(buf_str(&file), &a, &reason, NULL) == 0) {
            assert_memory_not_equal(a->id.bytes, id.bytes, SHA256_BYTES);
            (void)!selftest_run(a, &reason, NULL); /* Must not overflow or read outside. */
            artifact_destroy(a);
        }
        file.data[at] = (char)(file.data[at] ^ 0x5a);
    }
    buf_deinit(&file);
}

static void decoding_survives_each_failed_allocation(void **state)
{
    (void)state;
    struct buf file;
    bool fired = true;
    make_file(&file);
    uint64_t live = mem_live_bytes();
    for (unsigned n = 0; fired; n++) {
        struct artifact *a = NULL;
        enum artifact_reason reason;
        fault_arm_alloc(n);
        int rc = artifact_decode(buf_str(&file), &a, &reason, NULL);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        assert_int_equal(reason, fired ? ARTIFACT_NOMEM_REASON : ARTIFACT_OK_REASON);
        assert_int_equal(a == NULL, fired);
        artifact_destroy(a);
        assert_int_equal(mem_live_bytes(), live);
    }
    buf_deinit(&file);
}

static void building_survives_each_failed_allocation(void **state)
{
    (void)state;
    struct random r = {5};
    struct fixture_spec f;
    struct fixture_case c;
    bool fired = true;
    fixture_spec_init(&f, &r, 8, 2, 0, 500);
    fixture_case_init(&c, &r, 2, 2, false);
    const struct selftest_case view = fixture_case_view(&c);
    uint64_t live = mem_live_bytes();
    for (unsigned n = 0; fired; n++) {
        struct buf out;
        buf_init(&out, ARTIFACT_BYTES_MAX);
        fault_arm_alloc(n);
        int rc = selftest_build(&f.spec, &view, 1, &out, NULL);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        buf_deinit(&out);
        assert_int_equal(mem_live_bytes(), live);
    }
    fixture_spec_deinit(&f);
}

static void specs_that_cannot_be_written_are_refused(void **state)
{
    (void)state;
    struct random r = {5};
    struct fixture_spec f;
    struct fixture_case c;
    struct buf out;
    struct err err = {0};
    buf_init(&out, ARTIFACT_BYTES_MAX);
    fixture_spec_init(&f, &r, 8, 2, 1, 500);
    fixture_case_init(&c, &r, 2, 2, false);
    const struct selftest_case view = fixture_case_view(&c);
    const struct artifact_spec good = f.spec;
    f.spec.index_bits = 17;
    assert_int_equal(artifact_encode(&f.spec, &out, &err), ERR_INVALID);
    f.spec = good;
    f.spec.model_count = 65;
    assert_int_equal(artifact_encode(&f.spec, &out, &err), ERR_INVALID);
    f.spec = good;
    f.models[1] = STR("");
    assert_int_equal(artifact_encode(&f.spec, &out, &err), ERR_INVALID);
    f.models[1] = f.models[0]; /* Twice the same name: found by decoding. */
    assert_int_equal(selftest_build(&f.spec, &view, 1, &out, &err), ERR_INVALID);
    f.models[1] = STR("other");
    f.spec.scale.quality_shift = 0; /* 500 * 512 * 1448: fits. */
    assert_int_equal(selftest_build(&f.spec, &view, 1, &out, &err), 0);
    f.spec.scale.quality_dense_shift = 0; /* 24 * 500 * 2^15: fits; 24 * 1400 * 2^15 does not. */
    assert_int_equal(selftest_build(&f.spec, &view, 1, &out, &err), 0);
    int16_t dense[2 * FEATURES_DENSE];
    for (unsigned i = 0; i < 2 * FEATURES_DENSE; i++)
        dense[i] = 1400;
    f.spec.quality_dense = dense;
    assert_int_equal(selftest_build(&f.spec, &view, 1, &out, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "overflow"));
    f.spec.quality_dense = good.quality_dense;
    int32_t bias[2] = {INT32_C(1) << 30, 0};
    f.spec.quality_bias = bias;
    assert_int_equal(selftest_build(&f.spec, &view, 1, &out, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "overflow"));
    assert_int_equal(selftest_build(&good, &view, 0, &out, &err), ERR_INVALID);
    buf_deinit(&out);
    fixture_spec_deinit(&f);
}

static void extreme_weights_within_the_bounds_never_overflow(void **state)
{
    (void)state;
    struct random r = {31};
    struct artifact *a = fixture_artifact(&r, 8, 64, 31, 32767);
    for (unsigned i = 0; i < 200; i++) {
        struct fixture_case c;
        struct policy_decision d;
        fixture_case_init(&c, &r, 64, 64, true);
        c.params.strategy = POLICY_LEARNED;
        for (unsigned k = 0; k < FEATURES_DENSE; k++)
            c.features.dense[k] = i % 2 == 0 ? INT16_MIN : INT16_MAX;
        assert_int_equal(policy_decide(a, &c.features, &c.params, &c.request, c.candidates, 64, &d),
                         0);
        for (unsigned k = 0; k < 64; k++)
            assert_true(d.row[k].z <= ARTIFACT_SCORE_MAX && d.row[k].z >= -ARTIFACT_SCORE_MAX);
    }
    artifact_destroy(a);
}

/* One digest of the outputs over a seeded corpus. It is the same for every compiler, optimisation
 * level, processor and byte order; a change here changes what recorded decisions replay to. */
static void outputs_over_the_corpus_are_frozen(void **state)
{
    (void)state;
    static const char letters[] = "etaoin shrdlu";
    struct random r = {1};
    struct buf out, file;
    struct artifact *a = fixture_artifact(&r, 10, 13, 14, 900);
    struct features_hasher hasher;
    features_hasher_init(&hasher, (struct siphash_key){1, 2});
    buf_init(&out, 64U << 20);
    for (unsigned i = 0; i < 2000; i++) {
        char text[2400];
        size_t len = random_below(&r, sizeof text);
        for (size_t k = 0; k < len; k++)
            text[k] = random_below(&r, 4) == 0 ? (char)random_below(&r, 256)
                                               : letters[random_below(&r, 13)];
        struct fixture_case c;
        struct policy_decision d;
        fixture_case_init(&c, &r, 13, 1 + random_below(&r, 13), i % 7 == 0);
        const struct features_input input = {.text = {text, len},
                                             .alias = STR("smart"),
                                             .bytes = len,
                                             .t_in = c.request.t_in,
                                             .messages = 1 + i % 9,
                                             .temperature_q8 = FEATURES_TEMPERATURE_UNSET};
        features_extract(&hasher, &input, &c.features);
        assert_int_equal(
            policy_decide(a, &c.features, &c.params, &c.request, c.candidates, c.count, &d), 0);
        const struct selftest_case view = fixture_case_view(&c);
        assert_int_equal(selftest_encode(&view, 13, &d, &out), 0);
    }
    buf_init(&file, ARTIFACT_BYTES_MAX);
    fixture_file(SEED, 8, 3, 2, 5, &file);
    assert_int_equal(buf_append(&out, file.data, file.len), 0);
    struct sha256 digest = digest_sha256(out.data, out.len);
    char hex[SHA256_HEX_BYTES];
    hex_encode(digest.bytes, SHA256_BYTES, hex);
    assert_string_equal(hex, "497aba6eb339089472b63d7c602510e997f834679ac612b41c326d826d79ed44");
    buf_deinit(&file);
    buf_deinit(&out);
    artifact_destroy(a);
}

int main(int argc, char **argv)
{
    /* `test_artifact write FILE` makes the seed of the fuzz corpus. */
    if (argc == 3 && strcmp(argv[1], "write") == 0) {
        struct buf file;
        struct err err = {0};
        buf_init(&file, ARTIFACT_BYTES_MAX);
        fixture_file(SEED, 8, 2, 2, 2, &file);
        int rc = buf_write_file(buf_str(&file), argv[2], 0644, &err);
        buf_deinit(&file);
        return rc == 0 ? 0 : 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_comes_back_as_it_went_in),
        cmocka_unit_test(the_same_spec_gives_the_same_bytes),
        cmocka_unit_test(b42_damage_to_the_header_is_named),
        cmocka_unit_test(b42_damage_to_a_section_is_named),
        cmocka_unit_test(b42_a_policy_that_computes_otherwise_is_refused),
        cmocka_unit_test(b42_every_changed_byte_is_refused_or_changes_the_id),
        cmocka_unit_test(decoding_survives_each_failed_allocation),
        cmocka_unit_test(building_survives_each_failed_allocation),
        cmocka_unit_test(specs_that_cannot_be_written_are_refused),
        cmocka_unit_test(extreme_weights_within_the_bounds_never_overflow),
        cmocka_unit_test(outputs_over_the_corpus_are_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

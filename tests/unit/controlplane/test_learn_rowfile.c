#include <math.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/route/price.h"
#include "controlplane/learn/rowfile.h"
#include "tests/lib/fault.h"

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))

#define META "{\"models\":[{\"name\":\"a\",\"price_in\":0.15,\"price_out\":0.6},{\"name\":\"b\"}]}"
#define GOOD                                                                                       \
    "{\"id\":\"1\",\"task\":\"t\",\"query\":\"what is it?\",\"in_tok\":5,\"score\":[1,null],"      \
    "\"out_tok\":[7,8],\"cost_usd\":[1e-6,2e-6]}\n"

struct fixture {
    char path[64];
    struct features_hasher *hasher;
    struct rowfile_meta meta;
};

static void write_text(const char *path, const char *text)
{
    struct err err = {0};
    assert_int_equal(buf_write_file(str_from(text), path, 0600, &err), 0);
}

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct err err = {0};
    assert_non_null(f);
    assert_true(str_copy(STR("/tmp/learn-rows-XXXXXX"), f->path, sizeof(f->path)));
    int fd = mkstemp(f->path);
    assert_true(fd >= 0);
    close(fd);
    f->hasher = mem_zalloc(sizeof(*f->hasher));
    assert_non_null(f->hasher);
    features_hasher_init(f->hasher, (struct siphash_key){0, 0});
    write_text(f->path, META);
    assert_int_equal(rowfile_read_meta(f->path, &f->meta, &err), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    rowfile_meta_deinit(&f->meta);
    unlink(f->path);
    mem_free(f->hasher);
    mem_free(f);
    return 0;
}

static int load(const struct fixture *f, struct dataset_view *out_view, struct dataset **out,
                struct err *err)
{
    struct err ignored = {0};
    assert_int_equal(dataset_create(f->meta.names, f->meta.model_count, 0, out, &ignored), 0);
    int rc = rowfile_load(f->path, &f->meta, f->hasher, *out, err);
    dataset_view(*out, out_view);
    return rc;
}

static int load_text(const struct fixture *f, const char *text, uint32_t *out_rows, struct err *err)
{
    struct dataset *d = NULL;
    struct dataset_view v;
    write_text(f->path, text);
    int rc = load(f, &v, &d, err);
    *out_rows = v.row_count;
    dataset_destroy(d);
    return rc;
}

static void prices_are_nano_dollars_and_may_be_unknown(void **state)
{
    const struct fixture *f = *state;
    assert_int_equal(f->meta.model_count, 2);
    assert_int_equal(f->meta.models[0].price_in, 150000000);
    assert_int_equal(f->meta.models[0].price_out, 600000000);
    assert_int_equal(f->meta.models[1].price_in, PRICE_UNKNOWN);
}

static void full_and_observed_rows_are_read(void **state)
{
    const struct fixture *f = *state;
    struct dataset *d = NULL;
    struct dataset_view v;
    struct err err = {0};
    write_text(f->path, GOOD "\n"
                             "{\"id\":\"2\",\"query\":\"x\",\"in_tok\":5,\"model\":\"b\","
                             "\"score\":true,\"propensity\":0.5}");
    assert_int_equal(load(f, &v, &d, &err), 0);
    assert_int_equal(v.row_count, 2);
    assert_int_equal(v.rows[0].label_count, 2);
    assert_int_equal(v.rows[1].label_count, 1);
    assert_int_equal(v.labels[v.rows[1].first_label].model, 1);
    assert_near(v.rows[1].ipw, 2, 1e-6);
    assert_int_equal(v.rows[1].task, DATASET_NO_TASK);
    dataset_destroy(d);
}

static void a_bad_line_is_named(void **state)
{
    static const char *const bad[] = {
        "{",
        "[]",
        "{\"query\":1}",
        "{\"query\":\"x\",\"in_tok\":-1}",
        "{\"query\":\"x\",\"score\":[1]}",
        "{\"query\":\"x\",\"score\":[1,2]}",
        "{\"query\":\"x\",\"score\":[1,\"y\"]}",
        "{\"query\":\"x\",\"score\":[1,1e999]}",
        "{\"query\":\"x\",\"score\":[1,NaN]}",
        "{\"query\":\"x\",\"model\":\"zzz\",\"score\":1}",
        "{\"query\":\"x\",\"query\":\"y\"}",
        "{\"query\":\"\xff\"}",
    };
    const struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[1024];
        struct err err = {0};
        uint32_t rows = 0;
        snprintf(text, sizeof(text), "%s%s\n%s", GOOD, bad[i], GOOD);
        assert_int_not_equal(load_text(f, text, &rows, &err), 0);
        assert_non_null(strstr(err.message, "line 2"));
        assert_int_equal(rows, 1);
    }
}

static void lines_may_end_anywhere(void **state)
{
    const struct fixture *f = *state;
    const char *whole = GOOD GOOD;
    for (size_t cut = 0; cut <= strlen(whole); cut++) {
        char text[1024];
        struct err err = {0};
        uint32_t rows = 0;
        size_t line = strlen(GOOD);
        snprintf(text, sizeof(text), "%.*s", (int)cut, whole);
        int rc = load_text(f, text, &rows, &err);
        bool complete = cut % line == 0 || cut % line == line - 1;
        assert_int_equal(rc == 0, complete);
    }
}

static void gzip_is_read_and_a_cut_one_refused(void **state)
{
    const struct fixture *f = *state;
    struct buf file;
    struct err err = {0};
    uint32_t rows = 0;
    gzFile gz = gzopen(f->path, "wb");
    for (int i = 0; i < 200; i++)
        assert_true(gzputs(gz, GOOD) > 0);
    assert_int_equal(gzclose(gz), Z_OK);
    buf_init(&file, 1 << 20);
    assert_int_equal(buf_read_file(&file, f->path, 1 << 20, &err), 0);
    struct dataset *d = NULL;
    struct dataset_view v;
    assert_int_equal(load(f, &v, &d, &err), 0);
    assert_int_equal(v.row_count, 200);
    dataset_destroy(d);
    struct str cut = str_slice(buf_str(&file), 0, file.len - 12);
    assert_int_equal(buf_write_file(cut, f->path, 0600, &err), 0);
    assert_int_not_equal(load(f, &v, &d, &err), 0);
    dataset_destroy(d);
    buf_deinit(&file);
    unlink(f->path);
    assert_int_equal(load_text(f, GOOD, &rows, &err), 0);
    unlink(f->path);
    assert_int_equal(load(f, &v, &d, &err), ERR_NOT_FOUND);
    dataset_destroy(d);
}

static void loading_survives_each_failed_allocation(void **state)
{
    const struct fixture *f = *state;
    bool fired = true;
    write_text(f->path, GOOD GOOD GOOD);
    for (unsigned n = 0; fired; n++) {
        struct dataset *d = NULL;
        struct err err = {0};
        fault_arm_alloc(n);
        int rc = dataset_create(f->meta.names, f->meta.model_count, 0, &d, &err);
        if (rc == 0)
            rc = rowfile_load(f->path, &f->meta, f->hasher, d, &err);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        dataset_destroy(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(prices_are_nano_dollars_and_may_be_unknown, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(full_and_observed_rows_are_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bad_line_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lines_may_end_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gzip_is_read_and_a_cut_one_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(loading_survives_each_failed_allocation, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

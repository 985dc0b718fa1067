/* The frontier as text, and progress where nobody watches. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/ctl/plot.h"
#include "controlplane/ctl/progress.h"
#include "tests/lib/fault.h"

static const struct plot_point points[] = {
    {.x = 1, .y = 0.5, .mark = '*'},
    {.x = 2, .y = 0.9, .mark = '*'},
    {.x = 3, .y = 0.9, .mark = 'A', .label = "dear"},
};

static void better_is_higher_and_dearer_is_further_right(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 65536);
    assert_int_equal(plot_write(points, 3, 40, 9, "cost", "quality", &out), 0);
    const char *text = buf_cstr(&out);
    const char *first = strchr(text, '*'), *dear = strchr(text, 'A'), *last = strrchr(text, '*');
    assert_true(first < dear && dear < last); /* Rows from the top: 0.9, 0.9, 0.5. */
    assert_non_null(strstr(text, "  A  dear\n"));
    buf_deinit(&out);
}

static void one_point_and_equal_points_are_drawn(void **state)
{
    (void)state;
    const struct plot_point same[] = {{.x = 0, .y = 0, .mark = '*'}, {.x = 0, .y = 0, .mark = '@'}};
    for (size_t n = 1; n <= 2; n++) {
        struct buf out;
        buf_init(&out, 65536);
        assert_int_equal(plot_write(same, n, 20, 5, "x", "y", &out), 0);
        assert_non_null(strchr(buf_cstr(&out), n == 1 ? '*' : '@'));
        buf_deinit(&out);
    }
}

static void what_cannot_be_drawn_is_refused(void **state)
{
    (void)state;
    const struct plot_point bad[] = {{.x = NAN, .y = 1, .mark = '*'}};
    struct buf out;
    buf_init(&out, 65536);
    assert_int_equal(plot_write(NULL, 0, 20, 5, "x", "y", &out), ERR_INVALID);
    assert_int_equal(plot_write(bad, 1, 20, 5, "x", "y", &out), ERR_INVALID);
    buf_deinit(&out);
    buf_init(&out, 16);
    assert_int_equal(plot_write(points, 3, 20, 5, "x", "y", &out), ERR_TOO_LARGE);
    buf_deinit(&out);
}

static void each_failed_allocation_is_an_error(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct buf out;
        buf_init(&out, 65536);
        fault_arm_alloc(n);
        int rc = plot_write(points, 3, 20, 5, "x", "y", &out);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        buf_deinit(&out);
    }
}

static void progress_is_a_line_per_tenth_where_nobody_watches(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    struct progress p;
    progress_init(&p, to, false, false, "work");
    for (unsigned i = 0; i <= 1000; i++)
        progress_update(&p, i, 1000, NULL);
    progress_end(&p);
    fclose(to);
    unsigned lines = 0;
    for (const char *c = text; *c != '\0'; c++)
        lines += *c == '\n' ? 1 : 0;
    assert_int_equal(lines, 11);
    assert_null(strchr(text, '\r'));
    (free)(text); /* open_memstream's own malloc. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(better_is_higher_and_dearer_is_further_right),
        cmocka_unit_test(one_point_and_equal_points_are_drawn),
        cmocka_unit_test(what_cannot_be_drawn_is_refused),
        cmocka_unit_test(each_failed_allocation_is_an_error),
        cmocka_unit_test(progress_is_a_line_per_tenth_where_nobody_watches),
    };
    return cmocka_run_group_tests_name("ctl_plot", tests, NULL, NULL);
}

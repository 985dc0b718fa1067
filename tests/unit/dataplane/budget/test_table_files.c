/* What survives: kill -9, a host that starts anew, a torn file, a full disk. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "budget_fixture.h"
#include "dataplane/budget/slot_file.h"

static void spend_a_little(struct budget_fix *f)
{
    struct budget_reservation r;
    assert_int_equal(fix_grant(f, 1, 100), 0);
    assert_int_equal(fix_grant(f, 2, 50), 0);
    assert_int_equal(fix_reserve(f, &r, 1, 30), 0);
    budget_settle(&r, 20);
    assert_int_equal(fix_reserve(f, &r, 1, 15), 0); /* Open at death. */
    struct budget_alloc a = fix_alloc(f, 2, 50);
    a.recall = true;
    a.keep = 10;
    assert_int_equal(budget_table_apply(f->table, &a, f->mono_ms, f->wall_us), 0);
}

static void a_killed_process_is_reported_with_what_was_open_as_spent(void **state)
{
    struct budget_fix *f = *state;
    spend_a_little(f);
    uint64_t before = budget_table_epoch(f->table);
    fix_close(f);
    fix_open(f);
    assert_int_equal(f->found.epochs, 1);
    assert_int_equal(f->found.host_crash, 0);
    assert_true(budget_table_epoch(f->table) >> 32 > before >> 32);
    assert_true(fix_report(f));
    assert_int_equal(f->report.final_epoch, before);
    assert_true(f->report.final_exact);
    assert_true(f->report.final_last);
    assert_int_equal(fix_final(f, 1)->settled, 35);
    assert_int_equal(fix_final(f, 1)->granted, 100);
    assert_int_equal(fix_final(f, 2)->settled, 0);
    assert_int_equal(fix_final(f, 2)->returned, 40);
    assert_false(budget_table_idle(f->table));
    fix_ack(f);
    assert_true(budget_table_idle(f->table));
    /* It is kept a while, for a database that forgets. */
    struct budget_answer again = {.lease_epoch = budget_table_epoch(f->table), .echo = true};
    assert_true(budget_table_answered(f->table, &again, f->mono_ms, f->wall_us));
    assert_false(budget_table_idle(f->table));
    assert_true(fix_report(f));
    assert_int_equal(f->report.final_epoch, before);
    assert_int_equal(fix_final(f, 1)->settled, 35);
    fix_ack(f);
    fix_pass(f, 600000);
    fix_close(f);
    fix_open(f);
    assert_int_equal(f->found.epochs, 1); /* Only the one that held nothing. */
    assert_int_equal(f->found.slots, 0);
}

static void lives_add_up_until_the_plane_acknowledges_them(void **state)
{
    struct budget_fix *f = *state;
    for (unsigned i = 0; i < 3; i++) {
        spend_a_little(f);
        assert_true(fix_report(f)); /* On its way when the process dies. */
        fix_close(f);
        fix_open(f);
        assert_int_equal(f->found.epochs, i + 1);
    }
    unsigned finals = 0;
    while (fix_report(f) && f->report.final_epoch != 0) {
        finals++;
        assert_int_equal(fix_final(f, 1)->settled, 35);
        fix_ack(f);
    }
    assert_int_equal(finals, 3);
}

static void another_boot_means_that_stores_may_be_missing(void **state)
{
    struct budget_fix *f = *state;
    spend_a_little(f);
    fix_close(f);
    f->boot++;
    fix_open(f);
    assert_int_equal(f->found.host_crash, 1);
    assert_true(fix_report(f));
    assert_false(f->report.final_exact);
    assert_int_equal(fix_final(f, 1)->settled, 35);
}

static void an_orderly_end_is_exact_after_another_boot(void **state)
{
    struct budget_fix *f = *state;
    struct budget_reservation r;
    assert_int_equal(fix_grant(f, 1, 100), 0);
    assert_int_equal(fix_reserve(f, &r, 1, 30), 0);
    budget_settle(&r, 20);
    budget_table_retire(f->table);
    assert_int_equal(fix_reserve(f, &r, 1, 1), ERR_NOT_FOUND);
    fix_close(f);
    f->boot++;
    fix_open(f);
    assert_int_equal(f->found.host_crash, 0);
    assert_true(fix_report(f));
    assert_true(f->report.final_exact);
    assert_int_equal(fix_final(f, 1)->settled, 20);
    assert_int_equal(fix_final(f, 1)->returned, 80);
}

static void an_orderly_end_is_told_at_once_if_the_plane_is_there(void **state)
{
    struct budget_fix *f = *state;
    spend_a_little(f);
    struct budget_reservation r;
    assert_int_equal(fix_reserve(f, &r, 1, 5), 0);
    assert_true(fix_report(f));
    fix_ack(f);
    budget_table_retire(f->table);
    assert_false(budget_table_idle(f->table));
    fix_pass(f, 10);
    assert_false(fix_report(f)); /* Two are open. */
    budget_settle(&r, 5);
    fix_pass(f, 10);
    assert_false(fix_report(f)); /* One is. */
}

static char *newest(struct budget_fix *f, char *path, size_t bytes)
{
    (void)snprintf(path, bytes, "%s/%016llx.alloc", f->dir,
                   (unsigned long long)budget_table_epoch(f->table));
    return path;
}

static void a_torn_header_is_put_aside(void **state)
{
    struct budget_fix *f = *state;
    char path[256];
    for (int kind = 0; kind < 3; kind++) {
        spend_a_little(f);
        newest(f, path, sizeof path);
        fix_close(f);
        int fd = open(path, O_RDWR);
        assert_true(fd >= 0);
        if (kind == 0)
            assert_int_equal(ftruncate(fd, 100), 0);
        else if (kind == 1)
            assert_int_equal(pwrite(fd, "\0\0\0\0", 4, 17), 4);
        else
            assert_int_equal(pwrite(fd, "\377\377\377\377", 4, 1024), 4); /* Slots used. */
        close(fd);
        fix_open(f);
        assert_int_equal(f->found.quarantined, 1);
        assert_int_equal(f->found.slots, 0);
        size_t len = strlen(path);
        (void)snprintf(path + len, sizeof path - len, ".bad");
        assert_int_equal(access(path, F_OK), 0);
    }
}

static void a_slot_that_was_never_finished_is_not_told(void **state)
{
    struct budget_fix *f = *state;
    char path[256];
    spend_a_little(f);
    newest(f, path, sizeof path);
    fix_close(f);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "\7", 1, SLOT_FILE_HEADER_BYTES + 64), 1); /* Slot 0's budget. */
    close(fd);
    fix_open(f);
    assert_true(fix_report(f));
    assert_int_equal(f->report.final_count, 1);
    assert_non_null(fix_final(f, 2));
}

static void another_nodes_file_is_put_aside(void **state)
{
    struct budget_fix *f = *state;
    struct slot_file file;
    struct uuid node = {.bytes = {9}}, boot = {.bytes = {1}};
    assert_int_equal(slot_file_create(f->dir, 99, 8, &node, &boot, &file, NULL), 0);
    slot_file_close(&file);
    fix_close(f);
    fix_open(f);
    assert_int_equal(f->found.quarantined, 1);
}

static void a_second_process_is_refused(void **state)
{
    struct budget_fix *f = *state;
    struct budget_table_options o = {.dir = f->dir, .slots_max = 8};
    struct budget_table *second = NULL;
    struct err err = {0};
    assert_int_equal(budget_table_create(&o, &second, NULL, &err), ERR_CONFLICT);
    assert_null(second);
    pid_t pid = fork();
    if (pid == 0)
        _exit(budget_table_create(&o, &second, NULL, NULL) == ERR_CONFLICT ? 0 : 1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- the disk ---- */

static int calls_until_full;
static int full_fallocate(int fd, uint64_t offset, uint64_t len)
{
    return calls_until_full-- > 0 ? posix_fallocate(fd, (off_t)offset, (off_t)len) : ENOSPC;
}
static int full_rename(const char *from, const char *to)
{
    (void)from;
    (void)to;
    return EDQUOT;
}

static void a_full_disk_adds_no_slot_and_keeps_those_that_are(void **state)
{
    struct budget_fix *f = *state;
    struct slot_file_io io = slot_file_io;
    slot_file_io.fallocate = full_fallocate;
    calls_until_full = 0;
    uint64_t b = 1;
    int rc = 0;
    for (; rc == 0; b++)
        rc = fix_grant(f, b, 100);
    assert_int_equal(rc, ERR_NO_SPACE);
    assert_int_equal(b, SLOT_FILE_CHUNK + 2);
    struct budget_reservation r;
    assert_int_equal(fix_reserve(f, &r, b - 1, 1), ERR_NOT_FOUND);
    assert_int_equal(fix_reserve(f, &r, 1, 1), 0);
    struct budget_table_stats stats;
    budget_table_get_stats(f->table, &stats);
    assert_int_equal(stats.refused_slots, 1);
    calls_until_full = 1;
    assert_int_equal(fix_grant(f, b - 1, 100), 0);
    slot_file_io = io;
    for (b++; rc != ERR_LIMIT; b++)
        rc = fix_grant(f, b, 100);
    assert_int_equal(b, f->slots_max + 3);
}

static void a_start_without_space_is_refused(void **state)
{
    struct budget_fix *f = *state;
    struct slot_file_io io = slot_file_io;
    struct budget_table_options o = {.dir = f->dir, .slots_max = 8};
    struct budget_table *t = NULL;
    fix_close(f);
    slot_file_io.fallocate = full_fallocate;
    calls_until_full = 0;
    assert_int_equal(budget_table_create(&o, &t, NULL, NULL), ERR_NO_SPACE);
    slot_file_io = io;
    slot_file_io.rename = full_rename;
    assert_int_not_equal(budget_table_create(&o, &t, NULL, NULL), 0);
    slot_file_io = io;
    fix_open(f);
}

static void a_start_survives_each_failed_allocation(void **state)
{
    struct budget_fix *f = *state;
    spend_a_little(f);
    fix_close(f);
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct budget_table_options o = {.dir = f->dir, .slots_max = 8};
        o.node_id.bytes[0] = 7;
        struct budget_table *t = NULL;
        struct budget_recovery found = {0};
        fault_arm_alloc(n);
        int rc = budget_table_create(&o, &t, &found, NULL);
        fired = fault_disarm();
        if (!fired)
            assert_int_equal(rc, 0);
        if (rc == 0) {
            char path[256];
            struct budget_fix made = *f;
            made.table = t;
            assert_int_equal(found.epochs, 1);
            assert_int_equal(unlink(newest(&made, path, sizeof path)), 0);
        }
        budget_table_destroy(t);
        assert_true(n < 200);
    }
    fix_open(f);
}

static void a_life_that_cannot_be_ended_for_want_of_memory_ends_later(void **state)
{
    struct budget_fix *f = *state;
    spend_a_little(f);
    uint64_t old = budget_table_epoch(f->table);
    assert_true(fix_report(f));
    struct budget_answer a = {.acked_report = 1, .lease_epoch = old, .epoch_closed = old};
    fault_arm_alloc(0);
    assert_false(budget_table_answered(f->table, &a, f->mono_ms, f->wall_us));
    assert_true(fault_disarm());
    struct budget_reservation r;
    assert_int_equal(fix_reserve(f, &r, 1, 1), ERR_NOT_FOUND);
    fix_pass(f, 1001);
    fix_pass(f, 1001);
    assert_true(budget_table_epoch(f->table) > old);
    assert_int_equal(fix_grant(f, 1, 5), 0);
    assert_int_equal(fix_reserve(f, &r, 1, 1), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fix_setup, fix_teardown)
    const struct CMUnitTest tests[] = {
        T(a_killed_process_is_reported_with_what_was_open_as_spent),
        T(lives_add_up_until_the_plane_acknowledges_them),
        T(another_boot_means_that_stores_may_be_missing),
        T(an_orderly_end_is_exact_after_another_boot),
        T(an_orderly_end_is_told_at_once_if_the_plane_is_there),
        T(a_torn_header_is_put_aside),
        T(a_slot_that_was_never_finished_is_not_told),
        T(another_nodes_file_is_put_aside),
        T(a_second_process_is_refused),
        T(a_full_disk_adds_no_slot_and_keeps_those_that_are),
        T(a_start_without_space_is_refused),
        T(a_start_survives_each_failed_allocation),
        T(a_life_that_cannot_be_ended_for_want_of_memory_ends_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "budget_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"

static void remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        (void)unlink(path);
    }
    if (d != NULL)
        closedir(d);
    (void)rmdir(dir);
}

int fix_setup(void **state)
{
    struct budget_fix *f = mem_zalloc(sizeof *f);
    assert_non_null(f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/steelyard-budget-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->mono_ms = 1000000;
    f->wall_us = FIX_WALL;
    f->boot = 1;
    f->slots_max = 1100;
    fix_open(f);
    *state = f;
    return 0;
}

int fix_teardown(void **state)
{
    struct budget_fix *f = *state;
    budget_table_destroy(f->table);
    remove_dir(f->dir);
    mem_free(f);
    return 0;
}

void fix_open(struct budget_fix *f)
{
    struct err err = {0};
    struct budget_table_options o = {.dir = f->dir, .slots_max = f->slots_max};
    o.node_id.bytes[0] = 7;
    o.boot_id.bytes[0] = f->boot;
    if (budget_table_create(&o, &f->table, &f->found, &err) != 0)
        fail_msg("%s", err.message);
    budget_table_opened(f->table);
}

void fix_close(struct budget_fix *f)
{
    budget_table_destroy(f->table);
    f->table = NULL;
}

void fix_pass(struct budget_fix *f, uint64_t ms)
{
    f->mono_ms += ms;
    f->wall_us += (int64_t)ms * 1000;
    budget_table_tick(f->table, f->mono_ms, f->wall_us);
}

bool fix_report(struct budget_fix *f)
{
    return budget_table_report(f->table, f->mono_ms, f->wall_us, &f->report);
}

void fix_ack(struct budget_fix *f)
{
    struct budget_answer a = {.acked_report = f->report.report_no,
                              .lease_epoch = budget_table_epoch(f->table),
                              .now_us = f->wall_us,
                              .fence_after_s = 3600};
    assert_true(budget_table_answered(f->table, &a, f->mono_ms, f->wall_us));
}

struct budget_alloc fix_alloc(const struct budget_fix *f, uint64_t budget, int64_t granted)
{
    int64_t start = f->wall_us / FIX_DAY * FIX_DAY;
    return (struct budget_alloc){.budget = budget,
                                 .period_start_us = start,
                                 .period_end_us = start + FIX_DAY,
                                 .cfg = 1,
                                 .granted = granted,
                                 .limit = 1000000};
}

int fix_grant(struct budget_fix *f, uint64_t budget, int64_t granted)
{
    struct budget_alloc a = fix_alloc(f, budget, granted);
    return budget_table_apply(f->table, &a, f->mono_ms, f->wall_us);
}

int fix_reserve(struct budget_fix *f, struct budget_reservation *r, uint64_t budget, int64_t amount)
{
    int64_t free;
    *r = (struct budget_reservation){.count = 1};
    int rc = budget_find(f->table, budget, f->wall_us, &r->ref[0]);
    return rc != 0 ? rc : budget_reserve(f->table, r, amount, f->mono_ms, &free);
}

const struct budget_usage *fix_usage(const struct budget_fix *f, uint64_t budget)
{
    for (uint32_t i = 0; i < f->report.usage_count; i++)
        if (f->report.usage[i].budget == budget)
            return &f->report.usage[i];
    return NULL;
}

const struct budget_usage *fix_final(const struct budget_fix *f, uint64_t budget)
{
    for (uint32_t i = 0; i < f->report.final_count; i++)
        if (f->report.final[i].budget == budget)
            return &f->report.final[i];
    return NULL;
}

/* lease_node --control ADDR --state-dir DIR --node-id UUID: a node of which only the budgets are
 * there: the real table and the real stream, driven by lines on stdin. One answer a line on stdout.
 *   reserve BUDGET AMOUNT   "ok ID", or "refused CODE" after asking and waiting up to two seconds
 *   settle ID COST          "ok"
 *   free BUDGET             "ok NANO"
 *   retire                  gives everything back; "ok" when the plane knows
 * It is as a request will use them: a worker's thread reserves and settles, the control thread's
 * loop reports. Prints "ready LEASE_EPOCH RECOVERED_LIVES" first. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/str.h"
#include "dataplane/budget/lease_client.h"

#define RESERVATIONS 4096
#define WAIT_MS      2000

static struct budget_table *table;
static struct lease_client *leases;
static struct rpc_client *client;
static uv_loop_t loop;
static uv_async_t retire;
static _Atomic bool retired;
static uv_timer_t retire_timer;
static struct budget_reservation reservations[RESERVATIONS];
static int reserved;

static void die(const char *what)
{
    fprintf(stderr, "lease_node: %s\n", what);
    exit(1);
}

/* ---- the worker's thread ---- */

static void wait_for_grant(uint64_t generation)
{
    for (int i = 0; i < 50 && budget_generation(table) == generation; i++)
        usleep(1000);
}

static int reserve(uint64_t budget, int64_t amount, struct budget_reservation *r)
{
    uint64_t give_up_ms = clock_mono_ms() + WAIT_MS;
    for (int rc = ERR_AGAIN;;) {
        uint64_t generation = budget_generation(table);
        *r = (struct budget_reservation){.count = 1};
        rc = budget_find(table, budget, clock_wall_us(), &r->ref[0]);
        if (rc == 0)
            rc = budget_reserve(table, r, amount, clock_mono_ms(), NULL);
        if (rc == 0 || clock_mono_ms() > give_up_ms)
            return rc;
        (void)!budget_ask(table, budget, amount);
        wait_for_grant(generation);
    }
}

/* The n-th word after the command, as a number. */
static int64_t word(const char *line, int n)
{
    struct str rest = str_trim(str_from(line)), one = {0};
    int64_t value = 0;
    for (int i = 0; i <= n; i++)
        (void)str_cut(rest, ' ', &one, &rest);
    return str_parse_i64(one, INT64_MIN, INT64_MAX, &value) == 0 ? value : -1;
}

static void run_line(const char *line)
{
    struct str l = str_from(line);
    struct budget_ref ref;
    int rc;
    if (str_starts(l, str_from("reserve "))) {
        rc = reserved < RESERVATIONS
                 ? reserve((uint64_t)word(line, 1), word(line, 2), &reservations[reserved])
                 : ERR_LIMIT;
        if (rc == 0)
            printf("ok %d\n", reserved++);
        else
            printf("refused %s\n", err_name(rc));
    } else if (str_starts(l, str_from("settle "))) {
        budget_settle(&reservations[word(line, 1)], word(line, 2));
        printf("ok\n");
    } else if (str_starts(l, str_from("free "))) {
        rc = budget_find(table, (uint64_t)word(line, 1), clock_wall_us(), &ref);
        printf("ok %lld\n", rc == 0 ? (long long)budget_ref_free(&ref) : 0LL);
    } else {
        (void)uv_async_send(&retire);
        for (int i = 0; i < 5 * WAIT_MS && !retired; i++)
            usleep(1000);
        printf(retired ? "ok\n" : "refused\n");
    }
}

static void *run_worker(void *arg)
{
    char line[256];
    (void)arg;
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        run_line(line);
        (void)fflush(stdout);
    }
    exit(0);
}

/* ---- the control thread ---- */

static void on_retire_tick(uv_timer_t *timer)
{
    (void)timer;
    if (lease_client_done(leases))
        retired = true;
}

static void on_retire(uv_async_t *handle)
{
    (void)handle;
    lease_client_retire(leases);
    (void)uv_timer_start(&retire_timer, on_retire_tick, 5, 5);
}

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    die("lease_node --control ADDR --state-dir DIR --node-id UUID");
    return NULL;
}

int main(int argc, char **argv)
{
    struct budget_table_options o = {.dir = option(argc, argv, "--state-dir")};
    const char *id = option(argc, argv, "--node-id");
    struct budget_recovery found;
    struct err err = {0};
    pthread_t worker;
    if (uuid_parse(str_from(id), &o.node_id) != 0)
        die("--node-id is no UUID");
    budget_boot_id(&o.boot_id);
    rpc_init();
    (void)uv_loop_init(&loop);
    if (budget_table_create(&o, &table, &found, &err) != 0 ||
        rpc_client_create(&loop, option(argc, argv, "--control"), NULL, &client, &err) != 0)
        die(err.message);
    const struct lease_client_options leases_options = {.loop = &loop,
                                                        .client = client,
                                                        .table = table,
                                                        .node_id = id,
                                                        .build = "test",
                                                        .backoff = {.base_ms = 50, .cap_ms = 500}};
    if (lease_client_create(&leases_options, &leases, &err) != 0)
        die(err.message);
    (void)uv_async_init(&loop, &retire, on_retire);
    (void)uv_timer_init(&loop, &retire_timer);
    lease_client_start(leases);
    printf("ready %llu %u\n", (unsigned long long)budget_table_epoch(table), found.epochs);
    (void)fflush(stdout);
    if (pthread_create(&worker, NULL, run_worker, NULL) != 0)
        die("no thread");
    return uv_run(&loop, UV_RUN_DEFAULT);
}

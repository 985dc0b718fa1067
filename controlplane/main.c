/* steelyard-controlplane: the process edge. Options, signals, two subcommands; all else is plane.c.
 * Exit codes: 0 ended as asked, 1 failed, 2 usage, 78 bad configuration. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/process.h"
#include "common/link/rpc.h"
#include "common/net/fetch.h"
#include "controlplane/config/config.h"
#include "controlplane/plane.h"
#include "controlplane/store/migrate.h"

enum { EXIT_RUNTIME = 1, EXIT_USAGE = 2, EXIT_CONFIG = 78 };

#define CONNECT_MS     5000U
#define MIGRATE_MS     3600000U
#define WAIT_SCHEMA_S  600
#define FINDINGS_BYTES 65536U

struct process {
    uv_loop_t loop;
    uv_signal_t signals[4];
    struct plane *plane;
};

static void on_stopped(void *arg)
{
    struct process *p = arg;
    for (size_t i = 0; i < sizeof p->signals / sizeof p->signals[0]; i++)
        uv_close((uv_handle_t *)&p->signals[i], NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct process *p = handle->data;
    if (number == SIGHUP)
        plane_reload(p->plane);
    else if (number == SIGQUIT)
        plane_dump(p->plane);
    else
        plane_drain(p->plane, on_stopped, p);
}

static void watch_signals(struct process *p)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uv_signal_init(&p->loop, &p->signals[i]);
        p->signals[i].data = p;
        uv_signal_start(&p->signals[i], on_signal, numbers[i]);
    }
}

static int fail(const struct err *err, int code)
{
    fprintf(stderr, "steelyard-controlplane: %s\n", err->message);
    return code;
}

static int run(const struct settings *settings)
{
    struct process p = {.plane = NULL};
    struct err err = {0};
    /* Blocking work has threads enough that reports on budgets, for which requests wait, and claims
     * of roles never stand behind admin work and training. Read by libuv at its first use. */
    (void)setenv("UV_THREADPOOL_SIZE", "16", 0);
    if (fetch_global_init(&err) != 0)
        return fail(&err, EXIT_RUNTIME);
    if (uv_loop_init(&p.loop) != 0)
        return EXIT_RUNTIME;
    rpc_init();
    int rc = plane_create(&p.loop, settings, &p.plane, &err);
    if (rc != 0)
        return fail(&err, rc == ERR_SYNTAX || rc == ERR_INVALID ? EXIT_CONFIG : EXIT_RUNTIME);
    watch_signals(&p);
    uv_run(&p.loop, UV_RUN_DEFAULT);
    rc = plane_status(p.plane);
    log_flush();
    if (rc != 0)
        return EXIT_RUNTIME; /* Parts are still open: the process's end closes them. */
    plane_destroy(p.plane);
    rpc_shutdown();
    uv_loop_close(&p.loop);
    fetch_global_deinit();
    return 0;
}

/* ---- subcommands: one blocking connection, no plane ---- */

static int migrate(const struct settings *s)
{
    struct pq_conn *c = NULL;
    struct err err = {0};
    int applied = 0;
    int rc = pq_conn_open(s->database, "steelyard-migrate", CONNECT_MS, MIGRATE_MS, &c, &err);
    if (rc == 0)
        rc = migrate_run(c, &applied, &err);
    if (rc == 0)
        rc = migrate_check(c, &err);
    pq_conn_close(c);
    if (rc != 0)
        return fail(&err, EXIT_RUNTIME);
    printf("%d migrations applied\n", applied);
    return 0;
}

/* Every migration that this program knows is there, and none that it does not know. */
static int check_current(struct pq_conn *c, struct err *err)
{
    struct migrate_status s;
    int rc = migrate_check(c, err);
    if (rc == 0)
        rc = migrate_status(c, &s, err);
    if (rc == 0 && s.version < s.known_max)
        rc = err_set(err, ERR_VERSION, "the database has schema %d, this program brings %d",
                     s.version, s.known_max);
    return rc;
}

/* Waits for somebody else's migration: what an init container runs. */
static int wait_schema(const struct settings *s)
{
    struct err err = {0};
    for (int second = 0; second < WAIT_SCHEMA_S; second++) {
        struct pq_conn *c = NULL;
        err = (struct err){0};
        int rc = pq_conn_open(s->database, "steelyard-wait", CONNECT_MS, CONNECT_MS, &c, &err);
        if (rc == 0)
            rc = check_current(c, &err);
        pq_conn_close(c);
        if (rc == 0)
            return 0;
        if (second == 0)
            fprintf(stderr, "waiting for the schema: %s\n", err.message);
        sleep(1);
    }
    return fail(&err, EXIT_RUNTIME);
}

static int check_config(const struct settings *s)
{
    struct config *config = NULL;
    struct buf findings;
    struct err err = {0};
    if (s->config == NULL)
        return 0;
    buf_init(&findings, FINDINGS_BYTES);
    int rc = config_load(s->config, &config, &findings, &err);
    if (rc != 0)
        fprintf(stderr, "%.*s\n",
                STR_ARG(findings.len > 0 ? buf_str(&findings) : str_from(err.message)));
    buf_deinit(&findings);
    config_destroy(config);
    return rc == 0 ? 0 : EXIT_CONFIG;
}

static int print_help(void)
{
    struct buf text;
    buf_init(&text, 65536);
    int rc = options_help(settings_table, &text);
    if (rc == 0)
        printf("Usage: steelyard-controlplane [migrate|wait-schema] [--OPTION VALUE]...\n\n"
               "  migrate      Bring the schema of --database up to date, and end.\n"
               "  wait-schema  Wait until somebody has, and end.\n\n%.*s",
               (int)text.len, text.data);
    buf_deinit(&text);
    return rc == 0 ? 0 : EXIT_RUNTIME;
}

static int run_subcommand(const char *word, const struct settings *s)
{
    if (s->database == NULL) {
        fprintf(stderr, "steelyard-controlplane: %s needs --database\n", word);
        return EXIT_USAGE;
    }
    return strcmp(word, "migrate") == 0 ? migrate(s) : wait_schema(s);
}

int main(int argc, char **argv)
{
    struct settings settings;
    struct err err = {0};
    int rest = argc;
    const char *word = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
    memset(&settings, 0, sizeof settings);
    if (word != NULL && strcmp(word, "migrate") != 0 && strcmp(word, "wait-schema") != 0) {
        fprintf(stderr,
                "steelyard-controlplane: no subcommand '%s'; there are migrate and "
                "wait-schema\n",
                word);
        return EXIT_USAGE;
    }
    int skip = word != NULL ? 1 : 0;
    if (options_parse(settings_table, &settings, argc - skip, argv + skip, &rest, &err) != 0)
        return fail(&err, EXIT_USAGE);
    if (rest < argc - skip) {
        fprintf(stderr, "steelyard-controlplane: '%s' is no option; see --help\n",
                argv[rest + skip]);
        return EXIT_USAGE;
    }
    if (settings.help)
        return print_help();
    if (settings.version) {
        puts("steelyard-controlplane " STEELYARD_VERSION);
        return 0;
    }
    process_harden();
    if (settings_check(&settings, &err) != 0)
        return fail(&err, EXIT_CONFIG);
    if (settings.check_config)
        return check_config(&settings);
    if (word != NULL)
        return run_subcommand(word, &settings);
    log_init("controlplane", settings.level, settings.format);
    return run(&settings);
}

/* steelyard-dataplane: the process edge. Options, limits of the process, signals; all else is
 * node.c. Exit codes: 0 ended as asked, 1 failed, 2 usage, 78 bad configuration. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/process.h"
#include "common/link/rpc.h"
#include "common/net/fetch.h"
#include "common/net/tls.h"
#include "dataplane/node.h"

#define HEAPS 4U /* Threads allocate little: what a request needs is kept by its worker. */

enum { EXIT_RUNTIME = 1, EXIT_USAGE = 2, EXIT_CONFIG = 78 };

struct process {
    uv_loop_t loop;
    uv_signal_t signals[4];
    struct node *node;
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
        node_reload(p->node);
    else if (number == SIGQUIT)
        node_dump(p->node);
    else
        node_drain(p->node, on_stopped, p);
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

static int run(const struct settings *settings)
{
    struct process p = {.node = NULL};
    struct err err = {0};
    if (tls_global_init() == ERR_NOMEM) {
        fprintf(stderr, "steelyard-dataplane: out of memory\n");
        return EXIT_RUNTIME;
    }
    if (fetch_global_init(&err) != 0 || uv_loop_init(&p.loop) != 0) {
        fprintf(stderr, "steelyard-dataplane: %s\n", err.message);
        return EXIT_RUNTIME;
    }
    rpc_init();
    watch_signals(&p);
    if (node_create(&p.loop, settings, &p.node, &err) != 0) {
        fprintf(stderr, "steelyard-dataplane: %s\n", err.message);
        return EXIT_RUNTIME;
    }
    uv_run(&p.loop, UV_RUN_DEFAULT);
    node_destroy(p.node);
    rpc_shutdown();
    uv_loop_close(&p.loop);
    fetch_global_deinit();
    return 0;
}

static int print_help(void)
{
    struct buf text;
    buf_init(&text, 65536);
    int rc = options_help(settings_table, &text);
    if (rc == 0)
        printf("Usage: steelyard-dataplane [--OPTION VALUE]...\n\n%.*s", (int)text.len, text.data);
    buf_deinit(&text);
    return rc == 0 ? 0 : EXIT_RUNTIME;
}

int main(int argc, char **argv)
{
    struct settings settings;
    struct err err = {0};
    int rest = argc;
    memset(&settings, 0, sizeof settings);
    if (options_parse(settings_table, &settings, argc, argv, &rest, &err) != 0) {
        fprintf(stderr, "steelyard-dataplane: %s\n", err.message);
        return EXIT_USAGE;
    }
    if (rest < argc) {
        fprintf(stderr, "steelyard-dataplane: '%s' is no option; see --help\n", argv[rest]);
        return EXIT_USAGE;
    }
    if (settings.help)
        return print_help();
    if (settings.version) {
        puts("steelyard-dataplane " NODE_BUILD);
        return 0;
    }
    process_harden();
    process_raise_descriptors();
    mem_limit_heaps(HEAPS);
    if (settings_check(&settings, &err) != 0) {
        fprintf(stderr, "steelyard-dataplane: %s\n", err.message);
        return EXIT_CONFIG;
    }
    if (settings.check_config)
        return 0;
    log_init("dataplane", settings.level, settings.format);
    log_catch_fatal();
    return run(&settings);
}

/* steelyard serve: everything on one machine.
 *
 * Usual path: LOCK -> make the database once -> POSTGRES -> CONTROL -> NODE -> READY, each stage
 * when the one before is ready; on SIGTERM back in the other order. What dies later is started
 * again by child.c without stopping the rest: nodes serve on without the control plane, and the
 * control plane waits for its database. A process that says "bad configuration" (exit 78 or 2)
 * before it was ever ready ends everything with that code. */
#include <errno.h>
#include <fcntl.h>
#include <libfyaml.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "controlplane/ctl/child.h"
#include "controlplane/ctl/cluster.h"
#include "controlplane/ctl/discover.h"
#include "controlplane/ctl/nouns.h"

#define POLL_MS        50U
#define ADDRESS_BYTES  256U
#define DEFAULT_STATE  "/var/lib/steelyard"
#define DEFAULT_LISTEN "127.0.0.1:8080"

enum stage { STAGE_POSTGRES, STAGE_CONTROL, STAGE_NODE, STAGE_READY, STAGE_STOPPING };

struct serve {
    struct ctl *c;
    uv_loop_t loop;
    uv_signal_t signals[4];
    uv_timer_t poll;
    enum stage stage;
    struct cluster cluster;
    struct child postgres, control, node;
    char state_dir[PATH_MAX], control_dir[PATH_MAX], node_dir[PATH_MAX];
    char bin_dir[PATH_MAX], config[PATH_MAX];
    char admin[ADDRESS_BYTES], sync[ADDRESS_BYTES], control_metrics[ADDRESS_BYTES];
    char http[ADDRESS_BYTES], metrics[ADDRESS_BYTES];
    int lock_fd;
    bool stopping, first_run;
    bool begun; /* begin() is over: a signal may stop children. */
    enum ctl_exit code;
};

static void stop_next(struct serve *s);

static void stop_all(struct serve *s, enum ctl_exit code)
{
    if (s->stage == STAGE_STOPPING)
        return;
    s->stopping = true;
    s->stage = STAGE_STOPPING;
    s->code = code;
    stop_next(s);
}

/* A step that cannot be done ends everything: there is nobody to ask. */
static void give_up(struct serve *s, const struct err *err)
{
    (void)ctl_fail(s->c, CTL_FAILED, "%s", err->message);
    stop_all(s, CTL_FAILED);
}

static void unlink_in(const char *dir, const char *name)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    (void)unlink(path);
}

static int prepare_postgres(struct child *child, struct err *err)
{
    struct serve *s = child->owner;
    int rc = cluster_args(&s->cluster, child);
    return rc == 0 ? 0 : err_set(err, rc, "arguments of postgres: %s", err_text(rc));
}

static int add_option(struct child *child, const char *name, const char *value)
{
    int rc = child_arg(child, "--%s", name);
    return rc == 0 ? child_arg(child, "%s", value) : rc;
}

static int prepare_control(struct child *child, struct err *err)
{
    struct serve *s = child->owner;
    char conninfo[CLUSTER_PATH_BYTES + 128];
    int rc = cluster_conninfo(&s->cluster, conninfo, sizeof(conninfo));
    if (rc == 0)
        rc = child_arg(child, "%s/steelyard-controlplane", s->bin_dir);
    if (rc == 0)
        rc = add_option(child, "config", s->config);
    if (rc == 0)
        rc = add_option(child, "database", conninfo);
    if (rc == 0)
        rc = add_option(child, "listen", s->admin);
    if (rc == 0)
        rc = add_option(child, "sync-listen", s->sync);
    if (rc == 0)
        rc = add_option(child, "metrics-listen", s->control_metrics);
    if (rc == 0)
        rc = add_option(child, "state-dir", s->control_dir);
    if (rc == 0)
        rc = add_option(child, "log-level", ctl_text(s->c, "log-level"));
    return rc == 0 ? 0 : err_set(err, rc, "arguments of the control plane: %s", err_text(rc));
}

static int prepare_node(struct child *child, struct err *err)
{
    struct serve *s = child->owner;
    uint64_t delay_ms = ctl_u64(s->c, "drain-delay"), workers = ctl_u64(s->c, "workers");
    char delay[32], count[32];
    snprintf(delay, sizeof(delay), "%llums", (unsigned long long)delay_ms);
    snprintf(count, sizeof(count), "%llu", (unsigned long long)workers);
    int rc = child_arg(child, "%s/steelyard-dataplane", s->bin_dir);
    if (rc == 0)
        rc = add_option(child, "listen", s->http);
    if (rc == 0)
        rc = add_option(child, "metrics-listen", s->metrics);
    if (rc == 0)
        rc = add_option(child, "control", s->sync);
    if (rc == 0)
        rc = add_option(child, "state-dir", s->node_dir);
    if (rc == 0)
        rc = add_option(child, "drain-delay", delay);
    if (rc == 0 && workers > 0)
        rc = add_option(child, "workers", count);
    if (rc == 0)
        rc = add_option(child, "log-level", ctl_text(s->c, "log-level"));
    return rc == 0 ? 0 : err_set(err, rc, "arguments of the data plane: %s", err_text(rc));
}

/* Port 0 became a port: from now on it is this one, so that a restart keeps it. */
static void keep_address(const char *dir, const char *field, char *io_address)
{
    char bound[ADDRESS_BYTES];
    if (discover_address(dir, field, bound, sizeof(bound)) == 0)
        memcpy(io_address, bound, sizeof(bound));
}

static int write_addresses(struct serve *s, struct err *err)
{
    char path[PATH_MAX + 64];
    json_t *all =
        json_pack("{s:s,s:s,s:s,s:s,s:s}", "http", s->http, "metrics", s->metrics, "admin",
                  s->admin, "sync", s->sync, "control_metrics", s->control_metrics);
    char *text = all != NULL ? json_dumps(all, JSON_INDENT(2)) : NULL;
    json_decref(all);
    if (text == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    snprintf(path, sizeof(path), "%s/addresses.json", s->state_dir);
    int rc = buf_write_file(str_from(text), path, 0644, err);
    mem_free(text);
    return rc;
}

static void tell_ready(struct serve *s)
{
    struct ctl *c = s->c;
    ctl_note(c,
             "\nSteelyard is ready%s.\n"
             "  API for callers   http://%s/v1\n"
             "  admin API         http://%s/api/v1\n"
             "  state             %s\n",
             s->first_run ? "" : " again, where it was", s->http, s->admin, s->state_dir);
    if (s->first_run)
        ctl_note(c, "Make a key for callers:  steelyard keys create --name me\n"
                    "See what is there:       steelyard status\n");
}

/* The one place that moves forward. */
static void step(struct serve *s)
{
    struct err err = {0};
    int rc = 0;
    switch (s->stage) {
    case STAGE_POSTGRES:
        if (!child_alive(&s->postgres) || !cluster_ready(&s->cluster, s->postgres.pid))
            return;
        s->stage = STAGE_CONTROL;
        rc = child_start(&s->control, &err);
        break;
    case STAGE_CONTROL:
        if (!child_alive(&s->control) || s->control.replace ||
            discover_address(s->control_dir, "sync", s->sync, sizeof(s->sync)) != 0)
            return;
        keep_address(s->control_dir, "admin", s->admin);
        keep_address(s->control_dir, "metrics", s->control_metrics);
        s->stage = STAGE_NODE;
        rc = child_start(&s->node, &err);
        break;
    case STAGE_NODE:
        if (!child_alive(&s->node) || s->node.replace ||
            discover_address(s->node_dir, "http", s->http, sizeof(s->http)) != 0)
            return;
        keep_address(s->node_dir, "metrics", s->metrics);
        s->stage = STAGE_READY;
        uv_timer_stop(&s->poll);
        rc = write_addresses(s, &err);
        if (rc == 0)
            tell_ready(s);
        break;
    case STAGE_READY:
    case STAGE_STOPPING:
        return;
    }
    if (rc != 0)
        give_up(s, &err);
}

static void on_poll(uv_timer_t *timer)
{
    step(container_of(timer, struct serve, poll));
}

/* What the last one wrote says nothing about the next. */
static void before_spawn(struct child *child)
{
    const struct serve *s = child->owner;
    unlink_in(child == &s->control ? s->control_dir : s->node_dir, "addresses.json");
}

static void on_child_exit(struct child *child, int64_t exit_status, int signal_number)
{
    struct serve *s = child->owner;
    bool ever_ready = s->stage == STAGE_READY;
    (void)signal_number;
    if (s->stage == STAGE_STOPPING) {
        stop_next(s);
    } else if (!ever_ready && (exit_status == CTL_BAD_CONFIG || exit_status == CTL_USAGE)) {
        child->state = CHILD_STOPPED;
        (void)ctl_fail(s->c, (enum ctl_exit)exit_status, "%s refused its configuration (see above)",
                       child->name);
        stop_all(s, (enum ctl_exit)exit_status);
    }
}

static void on_postgres_line(struct child *child, const char *line)
{
    (void)child;
    enum log_level level = strstr(line, "FATAL:") != NULL || strstr(line, "PANIC:") != NULL ||
                                   strstr(line, "ERROR:") != NULL
                               ? LOG_ERROR
                           : strstr(line, "WARNING:") != NULL ? LOG_WARN
                                                              : LOG_INFO;
    log_event(level, "postgres", LOG_TEXT_FIELD("line", line));
}

static void finish(struct serve *s)
{
    if (uv_is_closing((uv_handle_t *)&s->poll))
        return;
    unlink_in(s->state_dir, "addresses.json");
    uv_close((uv_handle_t *)&s->poll, NULL);
    for (size_t i = 0; i < sizeof(s->signals) / sizeof(s->signals[0]); i++)
        uv_close((uv_handle_t *)&s->signals[i], NULL);
    child_deinit(&s->node);
    child_deinit(&s->control);
    child_deinit(&s->postgres);
}

/* Node first, so that it can still hand over what it recorded; the database last. */
static void stop_next(struct serve *s)
{
    struct child *order[] = {&s->node, &s->control, &s->postgres};
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        struct child *child = order[i];
        if (child->state == CHILD_STOPPED)
            continue;
        if (child->state !=
            CHILD_STOPPING) /* SIGINT is Postgres's "fast": roll back, checkpoint. */
            child_stop(child, child == &s->postgres ? SIGINT : SIGTERM);
        if (child->state != CHILD_STOPPED)
            return;
    }
    finish(s);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct serve *s = handle->data;
    if (number == SIGHUP || number == SIGQUIT) {
        child_signal(&s->control, number);
        if (number == SIGQUIT)
            child_signal(&s->node, number);
        return;
    }
    if (s->stage != STAGE_STOPPING) {
        s->stopping = true;
        if (s->begun) /* Else the database is being made; that loop looks at `stopping`. */
            stop_all(s, CTL_OK);
        return;
    }
    child_signal(&s->node, SIGTERM); /* The second one means: at once. */
    child_signal(&s->control, SIGTERM);
    if (s->postgres.state == CHILD_STOPPING)
        child_signal(&s->postgres, SIGQUIT);
}

static int copy_text(const char *text, char *out, size_t out_bytes, const char *what,
                     struct err *err)
{
    return str_copy(str_from(text), out, out_bytes)
               ? 0
               : err_set(err, ERR_INVALID, "--%s is too long", what);
}

static int make_state_dir(struct serve *s, struct err *err)
{
    const char *given = ctl_text(s->c, "state-dir");
    char path[PATH_MAX];
    if (!str_copy(str_from(given != NULL ? given : DEFAULT_STATE), path, sizeof(path)))
        return err_set(err, ERR_INVALID, "--state-dir is too long");
    for (char *p = path + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        (void)mkdir(path, 0755); /* What cannot be made shows in the last one. */
        *p = '/';
    }
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return err_set(err, err_from_errno(errno), "cannot make the state directory %s: %s", path,
                       strerror(errno));
    if (realpath(path, s->state_dir) == NULL)
        return err_set(err, err_from_errno(errno), "cannot use %s: %s", path, strerror(errno));
    int n = snprintf(s->control_dir, sizeof(s->control_dir), "%s/control", s->state_dir);
    int m = snprintf(s->node_dir, sizeof(s->node_dir), "%s/node", s->state_dir);
    if (n < 0 || (size_t)n >= sizeof(s->control_dir) || m < 0 || (size_t)m >= sizeof(s->node_dir))
        return err_set(err, ERR_INVALID, "--state-dir is too long");
    if ((mkdir(s->control_dir, 0700) != 0 && errno != EEXIST) ||
        (mkdir(s->node_dir, 0700) != 0 && errno != EEXIST))
        return err_set(err, err_from_errno(errno), "cannot write to %s: %s", s->state_dir,
                       strerror(errno));
    return 0;
}

static int take_lock(struct serve *s, struct err *err)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/serve.lock", s->state_dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (s->lock_fd < 0)
        return err_set(err, err_from_errno(errno), "cannot open %s: %s", path, strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, ERR_CONFLICT, "another `steelyard serve` uses %s", s->state_dir);
    return 0;
}

/* server.listen of the configuration, when neither flag nor environment names an address. What else
 * stands in the file, and whether it is right, is the control plane's to say. */
static void listen_of_config(struct serve *s)
{
    struct fy_document *document = fy_document_build_from_file(NULL, s->config);
    char address[ADDRESS_BYTES];
    if (document == NULL)
        return;
    if (fy_node_scanf(fy_document_root(document), "/server/listen %255s", address) == 1)
        memcpy(s->http, address, sizeof(address));
    fy_document_destroy(document);
}

static int read_settings(struct serve *s, struct err *err)
{
    struct ctl *c = s->c;
    const char *config = ctl_text(c, "config");
    if (realpath(config, s->config) == NULL)
        return err_set(err, ERR_NOT_FOUND, "configuration %s: %s; give one with -c FILE", config,
                       strerror(errno));
    ssize_t n = readlink("/proc/self/exe", s->bin_dir, sizeof(s->bin_dir) - 1);
    if (n <= 0)
        return err_set(err, ERR_IO, "cannot tell where this program is");
    s->bin_dir[n] = '\0';
    char *slash = strrchr(s->bin_dir, '/');
    if (slash != NULL)
        *slash = '\0';
    const char *listen = ctl_text(c, "listen");
    int rc = copy_text(listen != NULL ? listen : DEFAULT_LISTEN, s->http, sizeof(s->http), "listen",
                       err);
    if (rc == 0 && listen == NULL)
        listen_of_config(s);
    if (rc == 0)
        rc =
            copy_text(ctl_text(c, "admin-listen"), s->admin, sizeof(s->admin), "admin-listen", err);
    if (rc == 0)
        rc = copy_text(ctl_text(c, "sync-listen"), s->sync, sizeof(s->sync), "sync-listen", err);
    if (rc == 0)
        rc = copy_text(ctl_text(c, "metrics-listen"), s->metrics, sizeof(s->metrics),
                       "metrics-listen", err);
    if (rc == 0)
        rc = copy_text(ctl_text(c, "control-metrics-listen"), s->control_metrics,
                       sizeof(s->control_metrics), "control-metrics-listen", err);
    return rc;
}

static void init_children(struct serve *s)
{
    s->postgres = (struct child){.name = "postgres",
                                 .drop_user = s->cluster.as_owner,
                                 .uid = s->cluster.uid,
                                 .gid = s->cluster.gid,
                                 .pipe_errors = true,
                                 .prepare = prepare_postgres,
                                 .on_exit = on_child_exit,
                                 .on_line = on_postgres_line,
                                 .owner = s};
    s->control = (struct child){.name = "controlplane",
                                .prepare = prepare_control,
                                .before_spawn = before_spawn,
                                .on_exit = on_child_exit,
                                .owner = s};
    s->node = (struct child){.name = "dataplane",
                             .prepare = prepare_node,
                             .before_spawn = before_spawn,
                             .on_exit = on_child_exit,
                             .owner = s};
    child_init(&s->postgres, &s->loop, s->state_dir);
    child_init(&s->control, &s->loop, s->state_dir);
    child_init(&s->node, &s->loop, s->state_dir);
}

static void init_loop(struct serve *s)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    uv_timer_init(&s->loop, &s->poll);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        uv_signal_init(&s->loop, &s->signals[i]);
        s->signals[i].data = s;
        uv_signal_start(&s->signals[i], on_signal, numbers[i]);
    }
}

static int begin(struct serve *s, struct err *err)
{
    s->first_run = !s->cluster.exists;
    if (s->first_run)
        ctl_note(s->c, "first run: making a private PostgreSQL in %s", s->cluster.data);
    int rc = cluster_create(&s->cluster, &s->loop, &s->stopping, err);
    if (rc == 0)
        rc = child_start_or_watch(&s->postgres, cluster_running(&s->cluster), err);
    if (rc == 0)
        uv_timer_start(&s->poll, on_poll, POLL_MS, POLL_MS);
    return rc;
}

enum ctl_exit serve_run(struct ctl *c)
{
    struct err err = {0};
    enum log_level level;
    struct serve *s = mem_zalloc(sizeof(*s));
    if (s == NULL)
        return ctl_fail(c, CTL_FAILED, "out of memory");
    s->c = c;
    s->lock_fd = -1;
    enum ctl_exit code = CTL_OK;
    if (log_parse_level(str_from(ctl_text(c, "log-level")), &level) != 0) {
        code = ctl_fail(c, CTL_USAGE, "--log-level: '%s' is none of debug, info, warn, error",
                        ctl_text(c, "log-level"));
    } else {
        log_init("serve", level, LOG_AUTO);
        int rc = read_settings(s, &err);
        if (rc == 0)
            rc = make_state_dir(s, &err);
        if (rc == 0)
            rc = take_lock(s, &err);
        if (rc == 0)
            rc = cluster_init(&s->cluster, s->state_dir, &err);
        if (rc != 0)
            code = ctl_fail(c, rc == ERR_CONFLICT ? CTL_CONFLICT : CTL_FAILED, "%s", err.message);
    }
    if (code == CTL_OK && uv_loop_init(&s->loop) == 0) {
        init_loop(s);
        init_children(s);
        int rc = begin(s, &err);
        s->begun = true;
        if (rc == ERR_CANCELED)
            stop_all(s, CTL_OK);
        else if (rc != 0)
            give_up(s, &err);
        else if (s->stopping)
            stop_all(s, CTL_OK);
        uv_run(&s->loop, UV_RUN_DEFAULT);
        uv_loop_close(&s->loop);
        code = s->code;
    }
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    mem_free(s);
    return code;
}

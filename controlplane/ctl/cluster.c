#include "controlplane/ctl/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "controlplane/ctl/child.h"

#define SOCKET_PATH_MAX 107U /* sun_path, with the NUL. */
#define SMALL_BYTES     65536U

static int join(char *out, size_t out_bytes, const char *a, const char *b)
{
    int n = snprintf(out, out_bytes, "%s/%s", a, b);
    return n >= 0 && (size_t)n < out_bytes ? 0 : ERR_TOO_LARGE;
}

/* First line of a small file, without its end; ERR_NOT_FOUND. */
static int read_line(const char *path, unsigned number, char *out, size_t out_bytes)
{
    struct buf text;
    buf_init(&text, SMALL_BYTES);
    int rc = buf_read_file(&text, path, SMALL_BYTES, NULL);
    struct str rest = buf_str(&text), line = STR_NULL;
    for (unsigned i = 0; rc == 0 && i < number; i++)
        if (!str_cut(rest, '\n', &line, &rest) && i + 1 < number)
            rc = ERR_NOT_FOUND;
    if (rc == 0 && !str_copy(str_trim(line), out, out_bytes))
        rc = ERR_TOO_LARGE;
    buf_deinit(&text);
    return rc;
}

static int find_programs(struct cluster *cl, struct err *err)
{
    char version[32], path[CLUSTER_PATH_BYTES + 32];
    snprintf(path, sizeof(path), "%s/PG_VERSION", cl->data);
    cl->exists = read_line(path, 1, version, sizeof(version)) == 0;
    if (cl->exists) { /* A cluster is only readable by the version that made it. */
        snprintf(cl->bin, sizeof(cl->bin), "/usr/lib/postgresql/%s/bin", version);
        snprintf(path, sizeof(path), "%s/postgres", cl->bin);
        if (access(path, X_OK) == 0)
            return 0;
        return err_set(err, ERR_NOT_FOUND,
                       "%s was made by PostgreSQL %s: apt-get install postgresql-%s", cl->data,
                       version, version);
    }
    glob_t found;
    if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) != 0)
        return err_set(err, ERR_NOT_FOUND,
                       "no PostgreSQL server here: apt-get install postgresql-15");
    bool ok = str_copy(str_from(found.gl_pathv[found.gl_pathc - 1]), cl->bin, sizeof(cl->bin));
    globfree(&found);
    return ok ? 0 : err_set(err, ERR_TOO_LARGE, "path of PostgreSQL is too long");
}

static int find_owner(struct cluster *cl, struct err *err)
{
    cl->as_owner = geteuid() == 0;
    cl->uid = geteuid();
    cl->gid = getegid();
    if (!cl->as_owner)
        return 0;
    const struct passwd *owner = getpwnam("postgres");
    if (owner == NULL)
        return err_set(err, ERR_NOT_FOUND,
                       "PostgreSQL refuses to run as root and there is no user "
                       "'postgres': apt-get install postgresql-15");
    cl->uid = owner->pw_uid;
    cl->gid = owner->pw_gid;
    return 0;
}

static int make_dir(const struct cluster *cl, const char *path, struct err *err)
{
    struct stat st;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_set(err, err_from_errno(errno), "cannot make %s: %s", path, strerror(errno));
    if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is no directory", path);
    if (cl->as_owner && st.st_uid != cl->uid && chown(path, cl->uid, cl->gid) != 0)
        return err_set(err, err_from_errno(errno), "cannot give %s to postgres", path);
    if (!cl->as_owner && st.st_uid != cl->uid)
        return err_set(err, ERR_DENIED, "%s belongs to someone else", path);
    return 0;
}

/* As root: the user postgres must be able to walk down to its directory. */
static int check_reachable(const struct cluster *cl, const char *base, struct err *err)
{
    char path[CLUSTER_PATH_BYTES];
    struct stat st;
    if (!cl->as_owner || !str_copy(str_from(base), path, sizeof(path)))
        return 0;
    for (char *slash = strrchr(path, '/'); slash != NULL && slash != path;
         slash = strrchr(path, '/')) {
        *slash = '\0';
        if (stat(path, &st) == 0 && (st.st_mode & S_IXOTH) == 0)
            return err_set(err, ERR_DENIED,
                           "PostgreSQL runs as user postgres and may not enter %s: choose a "
                           "--state-dir below a directory that others may enter, e.g. "
                           "/var/lib/steelyard",
                           path);
    }
    return 0;
}

/* Beside the data if the socket's path fits into an address, else a short one of our own. */
static int choose_socket_dir(struct cluster *cl, const char *base, struct err *err)
{
    char socket_path[CLUSTER_PATH_BYTES + 64];
    if (join(cl->socket_dir, sizeof(cl->socket_dir), base, "run") != 0)
        return err_set(err, ERR_TOO_LARGE, "--state-dir is too long");
    int n =
        snprintf(socket_path, sizeof(socket_path), "%s/.s.PGSQL.%d", cl->socket_dir, CLUSTER_PORT);
    if (n < 0 || (size_t)n >= SOCKET_PATH_MAX) {
        const struct siphash_key key = {.k0 = 1, .k1 = 2};
        snprintf(cl->socket_dir, sizeof(cl->socket_dir), "/tmp/steelyard-%u-%08x",
                 (unsigned)cl->uid, (unsigned)(siphash_2_4(key, base, strlen(base)) & 0xffffffffU));
    }
    return make_dir(cl, cl->socket_dir, err);
}

int cluster_init(struct cluster *cl, const char *state_dir, struct err *err)
{
    char base[CLUSTER_PATH_BYTES];
    *cl = (struct cluster){0};
    if (join(base, sizeof(base), state_dir, "postgres") != 0 ||
        join(cl->data, sizeof(cl->data), base, "data") != 0 ||
        join(cl->fresh, sizeof(cl->fresh), base, "data.new") != 0)
        return err_set(err, ERR_TOO_LARGE, "--state-dir is too long");
    int rc = find_programs(cl, err);
    if (rc == 0)
        rc = find_owner(cl, err);
    if (rc == 0)
        rc = check_reachable(cl, base, err);
    if (rc == 0)
        rc = make_dir(cl, base, err);
    return rc != 0 ? rc : choose_socket_dir(cl, base, err);
}

struct once {
    uv_process_t process;
    bool done, killed;
    int64_t status;
};

static void on_once_closed(uv_handle_t *handle)
{
    ((struct once *)handle->data)->done = true;
}

static void on_once_exit(uv_process_t *process, int64_t status, int signal_number)
{
    struct once *o = process->data;
    o->status = signal_number != 0 ? 128 + signal_number : status;
    uv_close((uv_handle_t *)process, on_once_closed);
}

/* Runs one program to its end on the given loop. */
static int run_once(const struct cluster *cl, uv_loop_t *loop, const bool *stopping,
                    const char *const *args, int input_fd, struct err *err)
{
    struct once o = {0};
    uv_stdio_container_t stdio[3] = {
        {.flags = input_fd >= 0 ? UV_INHERIT_FD : UV_IGNORE, .data.fd = input_fd},
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
    };
    uv_process_options_t options = {.file = args[0],
                                    .args = (char **)args, /* libuv only reads them. */
                                    .cwd = "/",
                                    .exit_cb = on_once_exit,
                                    .flags = UV_PROCESS_DETACHED,
                                    .stdio = stdio,
                                    .stdio_count = 3};
    if (cl->as_owner) {
        options.flags |= UV_PROCESS_SETUID | UV_PROCESS_SETGID;
        options.uid = cl->uid;
        options.gid = cl->gid;
    }
    o.process.data = &o;
    int status = uv_spawn(loop, &o.process, &options);
    if (status != 0)
        uv_close((uv_handle_t *)&o.process, on_once_closed);
    while (!o.done) {
        uv_run(loop, UV_RUN_ONCE);
        if (*stopping && !o.killed && !o.done) {
            uv_process_kill(&o.process, SIGTERM);
            o.killed = true;
        }
    }
    if (*stopping)
        return err_set(err, ERR_CANCELED, "stopped while the database was being made");
    if (status != 0 || o.status != 0)
        return err_set(err, ERR_DATABASE, "%s failed (%lld)", args[0], (long long)o.status);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

static int create_database(const struct cluster *cl, uv_loop_t *loop, const bool *stopping,
                           const char *program, struct err *err)
{
    const char *const args[] = {program,    "--single", "-clog_checkpoints=off", "-D", cl->fresh,
                                "postgres", NULL};
    FILE *input = tmpfile();
    if (input == NULL)
        return err_set(err, ERR_IO, "no temporary file could be made");
    fputs("CREATE DATABASE steelyard\n", input); /* Single-user mode: one statement a line. */
    fflush(input);
    rewind(input);
    int rc = run_once(cl, loop, stopping, args, fileno(input), err);
    fclose(input);
    return rc;
}

int cluster_create(struct cluster *cl, uv_loop_t *loop, const bool *stopping, struct err *err)
{
    char initdb[CLUSTER_PATH_BYTES + 16], postgres[CLUSTER_PATH_BYTES + 16];
    if (cl->exists)
        return 0;
    (void)nftw(cl->fresh, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* Left by a crash. */
    snprintf(initdb, sizeof(initdb), "%s/initdb", cl->bin);
    snprintf(postgres, sizeof(postgres), "%s/postgres", cl->bin);
    const char *const args[] = {initdb,  "-D", cl->fresh, "-U",         "steelyard", "-A",
                                "trust", "-E", "UTF8",    "--locale=C", NULL};
    int rc = run_once(cl, loop, stopping, args, -1, err);
    if (rc == 0)
        rc = create_database(cl, loop, stopping, postgres, err);
    if (rc == 0 && rename(cl->fresh, cl->data) != 0)
        rc =
            err_set(err, err_from_errno(errno), "cannot rename %s: %s", cl->fresh, strerror(errno));
    cl->exists = rc == 0;
    return rc;
}

int cluster_args(const struct cluster *cl, struct child *c)
{
    static const char *const settings[] = {
        "listen_addresses=",      "max_connections=60",    "shared_buffers=128MB",
        "max_wal_size=1GB",       "timezone=UTC",          "log_timezone=UTC",
        "log_destination=stderr", "logging_collector=off", "log_line_prefix=",
        "cluster_name=steelyard",
    };
    int rc = child_arg(c, "%s/postgres", cl->bin);
    if (rc == 0)
        rc = child_arg(c, "-D");
    if (rc == 0)
        rc = child_arg(c, "%s", cl->data);
    if (rc == 0)
        rc = child_arg(c, "-cunix_socket_directories=%s", cl->socket_dir);
    if (rc == 0)
        rc = child_arg(c, "-cport=%d", CLUSTER_PORT);
    for (size_t i = 0; rc == 0 && i < sizeof(settings) / sizeof(settings[0]); i++)
        rc = child_arg(c, "-c%s", settings[i]);
    return rc;
}

pid_t cluster_running(const struct cluster *cl)
{
    char path[CLUSTER_PATH_BYTES + 32], line[64], cwd[CLUSTER_PATH_BYTES], real[CLUSTER_PATH_BYTES];
    uint64_t pid;
    snprintf(path, sizeof(path), "%s/postmaster.pid", cl->data);
    if (read_line(path, 1, line, sizeof(line)) != 0 ||
        str_parse_u64(str_from(line), INT32_MAX, &pid) != 0 || pid < 2)
        return 0;
    /* The number may belong to another process by now: a postmaster sits in its data directory. */
    snprintf(path, sizeof(path), "/proc/%llu/cwd", (unsigned long long)pid);
    ssize_t n = readlink(path, cwd, sizeof(cwd) - 1);
    if (n <= 0 || realpath(cl->data, real) == NULL)
        return 0;
    cwd[n] = '\0';
    return strcmp(cwd, real) == 0 ? (pid_t)pid : 0;
}

bool cluster_ready(const struct cluster *cl, pid_t pid)
{
    char path[CLUSTER_PATH_BYTES + 32], first[64], status[64];
    uint64_t number;
    snprintf(path, sizeof(path), "%s/postmaster.pid", cl->data);
    return read_line(path, 1, first, sizeof(first)) == 0 &&
           str_parse_u64(str_from(first), INT32_MAX, &number) == 0 && (pid_t)number == pid &&
           read_line(path, 8, status, sizeof(status)) == 0 && strcmp(status, "ready") == 0;
}

int cluster_conninfo(const struct cluster *cl, char *out, size_t out_bytes)
{
    int n = snprintf(out, out_bytes, "host=%s port=%d user=steelyard dbname=steelyard",
                     cl->socket_dir, CLUSTER_PORT);
    return n >= 0 && (size_t)n < out_bytes ? 0 : ERR_TOO_LARGE;
}

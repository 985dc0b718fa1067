#include "dataplane/state/snapshot_disk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (RESOURCES_BYTES_MAX + 4194304U)
#define PATH_BYTES     4096

struct marker {
    bool present;
    uint32_t era;
    uint64_t generation;
    uint64_t deaths;
};

static int path_in(const char *dir, const char *name, char out[PATH_BYTES], struct err *err)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s", dir, name);
    if (n < 0 || n >= PATH_BYTES)
        return err_set(err, ERR_TOO_LARGE, "path '%s' is too long", dir);
    return 0;
}

/* "era generation [deaths]"; anything else counts as absent. */
static void read_marker(const char *dir, const char *name, struct marker *out)
{
    *out = (struct marker){0};
    char path[PATH_BYTES];
    struct buf b = {0};
    if (path_in(dir, name, path, NULL) == 0 && buf_read_file(&b, path, 128, NULL) == 0) {
        struct str line, rest = buf_str(&b), era, generation;
        uint64_t era_number = 0;
        (void)str_cut(rest, '\n', &line, &rest);
        bool ok = str_cut(line, ' ', &era, &line);
        bool more = str_cut(line, ' ', &generation, &line);
        if (ok && str_parse_u64(era, UINT32_MAX, &era_number) == 0 &&
            str_parse_u64(generation, UINT64_MAX, &out->generation) == 0 &&
            (!more || str_parse_u64(line, 1000, &out->deaths) == 0)) {
            out->era = (uint32_t)era_number;
            out->present = true;
        }
    }
    buf_deinit(&b);
}

static int write_marker(const char *dir, const char *name, uint32_t era, uint64_t generation,
                        uint64_t deaths, struct err *err)
{
    char path[PATH_BYTES];
    char text[96];
    int rc = path_in(dir, name, path, err);
    if (rc != 0)
        return rc;
    int n = snprintf(text, sizeof(text), "%u %llu %llu\n", era, (unsigned long long)generation,
                     (unsigned long long)deaths);
    return buf_write_file((struct str){.data = text, .len = (size_t)n}, path, 0600, err);
}

static void remove_file(const char *dir, const char *name)
{
    char path[PATH_BYTES];
    if (path_in(dir, name, path, NULL) == 0)
        (void)unlink(path);
}

static int rename_file(const char *dir, const char *from, const char *to, struct err *err)
{
    char a[PATH_BYTES], b[PATH_BYTES];
    int rc = path_in(dir, from, a, err);
    if (rc == 0)
        rc = path_in(dir, to, b, err);
    if (rc == 0 && rename(a, b) != 0)
        rc = err_set(err, err_from_errno(errno), "cannot rename '%s' to '%s': %s", a, b,
                     strerror(errno));
    return rc;
}

static bool file_exists(const char *dir, const char *name)
{
    char path[PATH_BYTES];
    return path_in(dir, name, path, NULL) == 0 && access(path, F_OK) == 0;
}

static int load_file(const char *dir, const char *name, struct snapshot_loaded *out)
{
    char path[PATH_BYTES];
    struct buf b = {0};
    int rc = path_in(dir, name, path, NULL);
    if (rc == 0)
        rc = buf_read_file(&b, path, FILE_BYTES_MAX, NULL);
    if (rc == 0)
        rc = resource_set_decode(buf_str(&b), &out->set, &out->era, &out->generation);
    buf_deinit(&b);
    return rc;
}

/* The marker says that a process died with `current`. */
static int count_death(const char *dir, struct marker *marker, struct snapshot_loaded *out,
                       struct err *err)
{
    if (marker->deaths + 1 < SNAPSHOT_DEATHS_MAX || !file_exists(dir, "previous")) {
        out->unsettled = true;
        return write_marker(dir, "applying", marker->era, marker->generation, marker->deaths + 1,
                            err);
    }
    int rc = write_marker(dir, "crashed", marker->era, marker->generation, 0, err);
    if (rc == 0)
        rc = rename_file(dir, "previous", "current", err);
    if (rc != 0)
        return rc;
    remove_file(dir, "applying");
    resource_set_destroy(out->set);
    out->set = NULL;
    (void)load_file(dir, "current", out);
    return 0;
}

int snapshot_disk_load(const char *dir, struct snapshot_loaded *out, struct err *err)
{
    *out = (struct snapshot_loaded){0};
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_set(err, err_from_errno(errno), "cannot make '%s': %s", dir, strerror(errno));
    struct marker applying, crashed;
    read_marker(dir, "applying", &applying);
    if (load_file(dir, "current", out) != 0)
        (void)load_file(dir, "previous", out);
    int rc = 0;
    if (applying.present && out->set != NULL) {
        /* Written before `current` was replaced: only then is it about what was loaded. */
        if (applying.era == out->era && applying.generation == out->generation)
            rc = count_death(dir, &applying, out, err);
        else
            remove_file(dir, "applying");
    }
    read_marker(dir, "crashed", &crashed);
    if (crashed.present) {
        out->has_crashed = true;
        out->crashed_era = crashed.era;
        out->crashed_generation = crashed.generation;
    }
    if (rc != 0) {
        resource_set_destroy(out->set);
        out->set = NULL;
    }
    return rc;
}

int snapshot_disk_save(const char *dir, const struct resource_set *set, uint32_t era,
                       uint64_t generation, struct err *err)
{
    char next[PATH_BYTES];
    struct buf b;
    buf_init(&b, FILE_BYTES_MAX);
    int rc = resource_set_encode(set, era, generation, &b);
    if (rc != 0)
        (void)err_set(err, rc, "cannot encode the snapshot: %s", err_text(rc));
    if (rc == 0)
        rc = path_in(dir, "next", next, err);
    if (rc == 0)
        rc = buf_write_file(buf_str(&b), next, 0600, err);
    if (rc == 0)
        rc = write_marker(dir, "applying", era, generation, 0, err);
    if (rc == 0 && file_exists(dir, "current"))
        rc = rename_file(dir, "current", "previous", err);
    if (rc == 0)
        rc = rename_file(dir, "next", "current", err);
    if (rc == 0)
        remove_file(dir, "crashed");
    buf_deinit(&b);
    return rc;
}

void snapshot_disk_settle(const char *dir)
{
    remove_file(dir, "applying");
}

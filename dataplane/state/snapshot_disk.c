/* Files of versions before manifests ("SYSNAP1") are read, with the keys in them as long as there
 * is no file of keys, and replaced by the first save. */
#include "dataplane/state/snapshot_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/state/snapshot_files.h"

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

static bool is_newer(uint32_t era, uint64_t generation, uint32_t than_era, uint64_t than_generation)
{
    return era > than_era || (era == than_era && generation > than_generation);
}

static void set_drop(struct snapshot_loaded *out)
{
    resource_set_destroy(out->set);
    out->set = NULL;
    out->era = 0;
    out->generation = 0;
}

/* One file of a version before manifests. */
static int load_whole(const char *dir, const char *name, struct snapshot_loaded *out)
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

static int load_rest(const char *dir, const char *name, struct snapshot_loaded *out)
{
    struct snapshot_manifest m = {0};
    size_t lost = 0;
    int rc = snapshot_manifest_read(dir, name, &m);
    if (rc == ERR_VERSION)
        return load_whole(dir, name, out);
    if (rc != 0)
        return rc;
    out->set = resource_set_create();
    rc = out->set == NULL ? ERR_NOMEM : snapshot_manifest_load(&m, dir, out->set, &lost);
    if (rc == 0 && lost > 0)
        rc = ERR_CORRUPT; /* A catalogue without its prices is no snapshot. */
    out->era = m.era;
    out->generation = m.generation;
    if (rc != 0)
        set_drop(out);
    snapshot_manifest_deinit(&m);
    return rc;
}

/* Keys of the set (an older version's) give way to those of the file of keys. */
static void forget_keys(struct resource_set *set)
{
    const struct map_entry *e;
    size_t i = 0;
    while ((e = map_next(&set->by_key, &i)) != NULL) {
        if (resource_holds_keys(e->key)) {
            resource_set_remove(set, e->key);
            i = 0; /* Entries moved. */
        }
    }
}

/* An error: the file of keys cannot be used, so nothing can. */
static int load_keys(const char *dir, struct snapshot_loaded *out, bool whole)
{
    struct snapshot_manifest m = {0};
    int rc = snapshot_manifest_read(dir, "keys", &m);
    if (rc == ERR_NOT_FOUND)
        return whole ? 0 : ERR_CORRUPT; /* Written before any manifest of the rest. */
    if (rc != 0)
        return rc;
    forget_keys(out->set);
    rc = snapshot_manifest_load(&m, dir, out->set, &out->lost);
    out->newest_era = m.era;
    out->newest_generation = m.generation;
    snapshot_manifest_deinit(&m);
    return rc;
}

static bool is_whole(const char *dir, const char *name)
{
    struct snapshot_manifest m = {0};
    int rc = snapshot_manifest_read(dir, name, &m);
    snapshot_manifest_deinit(&m);
    return rc == ERR_VERSION;
}

/* The marker says that a process died with `current`. *out_back: `previous` is current now. */
static int count_death(const char *dir, const struct marker *marker, struct snapshot_loaded *out,
                       bool *out_back, struct err *err)
{
    if (marker->deaths + 1 < SNAPSHOT_DEATHS_MAX || !file_exists(dir, "previous")) {
        out->unsettled = true;
        return write_marker(dir, "applying", marker->era, marker->generation, marker->deaths + 1,
                            err);
    }
    /* What the control plane has, it has with the newest keys: that is what is refused. */
    struct snapshot_manifest keys = {0};
    uint32_t era = marker->era;
    uint64_t generation = marker->generation;
    if (snapshot_manifest_read(dir, "keys", &keys) == 0 &&
        is_newer(keys.era, keys.generation, era, generation)) {
        era = keys.era;
        generation = keys.generation;
    }
    snapshot_manifest_deinit(&keys);
    int rc = write_marker(dir, "crashed", era, generation, 0, err);
    if (rc == 0)
        rc = rename_file(dir, "previous", "current", err);
    if (rc != 0)
        return rc;
    remove_file(dir, "applying");
    set_drop(out);
    *out_back = true;
    (void)load_rest(dir, "current", out);
    return 0;
}

int snapshot_disk_load(const char *dir, struct snapshot_loaded *out, struct err *err)
{
    *out = (struct snapshot_loaded){0};
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_set(err, err_from_errno(errno), "cannot make '%s': %s", dir, strerror(errno));
    struct marker applying, crashed;
    read_marker(dir, "applying", &applying);
    const char *from = "current";
    bool back = false;
    if (load_rest(dir, from, out) != 0) {
        from = "previous";
        back = true;
        (void)load_rest(dir, from, out);
    }
    int rc = 0;
    if (applying.present && out->set != NULL) {
        /* Written before `current` was replaced: only then is it about what was loaded. */
        if (applying.era == out->era && applying.generation == out->generation)
            rc = count_death(dir, &applying, out, &back, err);
        else
            remove_file(dir, "applying");
    }
    if (rc == 0 && out->set != NULL && load_keys(dir, out, is_whole(dir, from)) != 0)
        set_drop(out);
    read_marker(dir, "crashed", &crashed);
    /* A change of keys alone leaves `current` as it is. But after a way back it is older in truth.
     */
    if (!back && !crashed.present && out->set != NULL &&
        is_newer(out->newest_era, out->newest_generation, out->era, out->generation)) {
        out->era = out->newest_era;
        out->generation = out->newest_generation;
    }
    if (crashed.present) {
        out->has_crashed = true;
        out->crashed_era = crashed.era;
        out->crashed_generation = crashed.generation;
    }
    if (rc != 0)
        set_drop(out);
    return rc;
}

/* Names that were changed in it are on disk then. */
static int sync_directory(const char *dir, struct err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    int number = errno;
    if (fd >= 0)
        (void)close(fd);
    return ok ? 0
              : err_set(err, err_from_errno(number), "cannot sync '%s': %s", dir, strerror(number));
}

/* `current` becomes `previous`, the set's rest `current`. */
static int save_rest(const char *dir, const struct resource_set *set, uint32_t era,
                     uint64_t generation, struct err *err)
{
    int rc = snapshot_manifest_write(dir, "next", set, SNAPSHOT_SHARE_REST, era, generation, err);
    if (rc == 0)
        rc = write_marker(dir, "applying", era, generation, 0, err);
    if (rc == 0 && file_exists(dir, "current"))
        rc = rename_file(dir, "current", "previous", err);
    if (rc == 0)
        rc = rename_file(dir, "next", "current", err);
    if (rc != 0)
        return rc;
    remove_file(dir, "crashed");
    return sync_directory(dir, err);
}

/* Only once it is known what `previous` names: it may be read again although it could not be now.
 */
static void collect_bodies(const char *dir, const struct resource_set *set)
{
    struct snapshot_manifest previous = {0};
    const int rc = snapshot_manifest_read(dir, "previous", &previous);
    if (rc == 0 || rc == ERR_NOT_FOUND || rc == ERR_VERSION || rc == ERR_CORRUPT)
        snapshot_bodies_collect(dir, set, &previous);
    snapshot_manifest_deinit(&previous);
}

int snapshot_disk_save(const char *dir, const struct resource_set *set, uint32_t era,
                       uint64_t generation, struct err *err)
{
    struct snapshot_manifest current = {0};
    int rc = snapshot_bodies_store(dir, set, err);
    if (rc == 0)
        rc = snapshot_manifest_write(dir, "keys", set, SNAPSHOT_SHARE_KEYS, era, generation, err);
    if (rc == 0 && (snapshot_manifest_read(dir, "current", &current) != 0 ||
                    !snapshot_manifest_lists(&current, set, SNAPSHOT_SHARE_REST)))
        rc = save_rest(dir, set, era, generation, err);
    if (rc == 0)
        collect_bodies(dir, set);
    snapshot_manifest_deinit(&current);
    return rc;
}

void snapshot_disk_settle(const char *dir)
{
    remove_file(dir, "applying");
}

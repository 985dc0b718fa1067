/* Usual path of a push that changes one shard of keys: one body is written and synced, one manifest
 * replaced, one body removed. Bodies are written under a temporary name, all of them first and then
 * synced, so that the file system has them in few transactions; only then they get their names. */
#include "dataplane/state/snapshot_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/link/wire.h"
#include "control.pb-c.h"

#define PATH_BYTES         4096
#define MANIFEST_BYTES_MAX 4194304U
#define HEX_CHARS          (SHA256_HEX_BYTES - 1)

typedef Steelyard__Control__V1__PlaneMsg PlaneMsg;
typedef Steelyard__Control__V1__Resource Resource;

static const char magic[8] = {'S', 'Y', 'S', 'N', 'A', 'P', '2', '\n'};
#define HEAD_BYTES (sizeof(magic) + SHA256_BYTES)

static int fail(struct err *err, const char *what, const char *name)
{
    int number = errno;
    return err_set(err, err_from_errno(number), "cannot %s '%s': %s", what, name, strerror(number));
}

/* ---- bodies ---- */

static int open_bodies(const char *dir, bool make, int *out_fd, struct err *err)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof(path), "%s/bodies", dir);
    if (n < 0 || (size_t)n >= sizeof(path))
        return err_set(err, ERR_TOO_LARGE, "path '%s' is too long", dir);
    if (make && mkdir(path, 0700) != 0 && errno != EEXIST)
        return fail(err, "make", path);
    *out_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *out_fd < 0 ? fail(err, "open", path) : 0;
}

static void temporary_name(const struct resource *r, char out[SHA256_HEX_BYTES + 16])
{
    (void)snprintf(out, SHA256_HEX_BYTES + 16, BUF_TEMPORARY_PREFIX "%s", r->version);
}

static int write_body(int bodies, const struct resource *r, struct err *err)
{
    char name[SHA256_HEX_BYTES + 16];
    temporary_name(r, name);
    int fd = openat(bodies, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(err, "write", name);
    size_t done = 0;
    int rc = 0;
    while (rc == 0 && done < r->body.len) {
        ssize_t n = write(fd, r->body.data + done, r->body.len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno != EINTR)
            rc = fail(err, "write", name);
    }
    if (close(fd) != 0 && rc == 0)
        rc = fail(err, "write", name);
    return rc;
}

static int sync_body(int bodies, const struct resource *r, struct err *err)
{
    char name[SHA256_HEX_BYTES + 16];
    temporary_name(r, name);
    int fd = openat(bodies, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, "open", name);
    int rc = fsync(fd) != 0 ? fail(err, "sync", name) : 0;
    (void)close(fd);
    if (rc == 0 && renameat(bodies, name, bodies, r->version) != 0)
        rc = fail(err, "rename", name);
    return rc;
}

int snapshot_bodies_store(const char *dir, const struct resource_set *set, struct err *err)
{
    int bodies = -1;
    const struct resource **missing =
        mem_calloc(set->by_key.count + 1, sizeof(const struct resource *));
    if (missing == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    int rc = open_bodies(dir, true, &bodies, err);
    size_t count = 0;
    const struct map_entry *e;
    for (size_t i = 0; rc == 0 && (e = map_next(&set->by_key, &i)) != NULL;) {
        const struct resource *r = e->value;
        if (faccessat(bodies, r->version, F_OK, 0) == 0)
            continue;
        bool twice = false; /* Equal bodies have one file. */
        for (size_t k = 0; k < count && !twice; k++)
            twice = strcmp(missing[k]->version, r->version) == 0;
        if (twice)
            continue;
        missing[count++] = r;
        rc = write_body(bodies, r, err);
    }
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = sync_body(bodies, missing[i], err);
    if (rc == 0 && count > 0 && fsync(bodies) != 0)
        rc = fail(err, "sync", "bodies");
    if (bodies >= 0)
        (void)close(bodies);
    mem_free(missing);
    return rc;
}

static bool keep(struct map *names, const char *version)
{
    return map_put(names, str_from(version), names, NULL) == 0;
}

static const PlaneMsg *message_of(const struct snapshot_manifest *m)
{
    return (const PlaneMsg *)m->message;
}

void snapshot_bodies_collect(const char *dir, const struct resource_set *set,
                             const struct snapshot_manifest *also)
{
    int fd;
    if (open_bodies(dir, false, &fd, NULL) != 0)
        return;
    DIR *bodies = fdopendir(fd);
    if (bodies == NULL) {
        (void)close(fd);
        return;
    }
    struct map names;
    map_init(&names);
    bool ok = true;
    const struct map_entry *e;
    for (size_t i = 0; ok && (e = map_next(&set->by_key, &i)) != NULL;)
        ok = keep(&names, ((const struct resource *)e->value)->version);
    const PlaneMsg *m = also->message != NULL ? message_of(also) : NULL;
    for (size_t i = 0; ok && m != NULL && i < m->n_set; i++)
        ok = keep(&names, m->set[i]->version);
    const struct dirent *entry;
    while (ok && (entry = readdir(bodies)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            map_get(&names, str_from(entry->d_name)) == NULL)
            (void)unlinkat(fd, entry->d_name, 0);
    map_deinit(&names);
    (void)closedir(bodies);
}

/* ---- manifests ---- */

static bool is_of(struct str key, enum snapshot_share share)
{
    return resource_holds_keys(key) == (share == SNAPSHOT_SHARE_KEYS);
}

static int pack(const struct resource_set *set, enum snapshot_share share, uint32_t era,
                uint64_t generation, struct buf *out)
{
    size_t count = set->by_key.count;
    Resource *items = mem_calloc(count + 1, sizeof(*items));
    Resource **list = mem_calloc(count + 1, sizeof(Resource *));
    struct buf keys; /* C strings: protobuf-c wants them. */
    buf_init(&keys, (size_t)RESOURCES_MAX * (RESOURCE_KEY_BYTES_MAX + 1));
    int rc = items == NULL || list == NULL
                 ? ERR_NOMEM
                 : buf_reserve(&keys, count * (RESOURCE_KEY_BYTES_MAX + 1));
    size_t n = 0;
    const struct map_entry *e;
    for (size_t i = 0; rc == 0 && (e = map_next(&set->by_key, &i)) != NULL;) {
        struct resource *r = e->value;
        if (!is_of(r->key, share))
            continue;
        steelyard__control__v1__resource__init(&items[n]);
        items[n].key = keys.data + keys.len;
        items[n].version = r->version;
        items[n].type = (Steelyard__Control__V1__ResourceType)r->type;
        items[n].ttl_s = r->ttl_s;
        list[n] = &items[n];
        n++;
        rc = buf_append_str(&keys, r->key);
        if (rc == 0)
            rc = buf_append_char(&keys, '\0');
    }
    PlaneMsg m = STEELYARD__CONTROL__V1__PLANE_MSG__INIT;
    m.era = era;
    m.generation = generation;
    m.set = list;
    m.n_set = n;
    if (rc == 0)
        rc = wire_pack(&m.base, out);
    buf_deinit(&keys);
    mem_free(list);
    mem_free(items);
    return rc;
}

static int path_in(const char *dir, const char *name, char out[PATH_BYTES])
{
    int n = snprintf(out, PATH_BYTES, "%s/%s", dir, name);
    return n < 0 || n >= PATH_BYTES ? ERR_TOO_LARGE : 0;
}

int snapshot_manifest_write(const char *dir, const char *name, const struct resource_set *set,
                            enum snapshot_share share, uint32_t era, uint64_t generation,
                            struct err *err)
{
    char path[PATH_BYTES];
    uint8_t head[HEAD_BYTES] = {0};
    struct buf file;
    buf_init(&file, MANIFEST_BYTES_MAX);
    memcpy(head, magic, sizeof(magic));
    int rc = path_in(dir, name, path);
    if (rc == 0)
        rc = buf_append(&file, head, sizeof(head));
    if (rc == 0)
        rc = pack(set, share, era, generation, &file);
    if (rc == 0) {
        struct sha256 sum = digest_sha256(file.data + HEAD_BYTES, file.len - HEAD_BYTES);
        memcpy(file.data + sizeof(magic), sum.bytes, SHA256_BYTES);
        rc = buf_write_file(buf_str(&file), path, 0600, err);
    } else {
        (void)err_set(err, rc, "cannot list the snapshot: %s", err_text(rc));
    }
    buf_deinit(&file);
    return rc;
}

static bool is_version(const char *text)
{
    struct sha256 sum;
    return strlen(text) == HEX_CHARS && hex_decode(str_from(text), sum.bytes, SHA256_BYTES) == 0;
}

static int take_file(struct str file, struct snapshot_manifest *out)
{
    if (file.len < sizeof(magic) || memcmp(file.data, magic, sizeof(magic)) != 0)
        return ERR_VERSION;
    if (file.len < HEAD_BYTES)
        return ERR_CORRUPT;
    struct str packed = str_slice(file, HEAD_BYTES, file.len);
    struct sha256 sum = digest_sha256(packed.data, packed.len);
    if (!digest_equal(sum.bytes, file.data + sizeof(magic), SHA256_BYTES))
        return ERR_CORRUPT;
    ProtobufCMessage *base = NULL;
    int rc = wire_unpack(&steelyard__control__v1__plane_msg__descriptor, packed, &base);
    if (rc != 0)
        return rc;
    const PlaneMsg *m = (const PlaneMsg *)base;
    for (size_t i = 0; rc == 0 && i < m->n_set; i++)
        if (!is_version(m->set[i]->version))
            rc = ERR_CORRUPT;
    if (rc == 0)
        *out =
            (struct snapshot_manifest){.era = m->era, .generation = m->generation, .message = base};
    else
        wire_free(base);
    return rc;
}

int snapshot_manifest_read(const char *dir, const char *name, struct snapshot_manifest *out)
{
    char path[PATH_BYTES];
    struct buf file = {0};
    int rc = path_in(dir, name, path);
    if (rc == 0 && access(path, F_OK) != 0 && errno == ENOENT)
        return ERR_NOT_FOUND;
    if (rc == 0)
        /* An older version's file is larger: another format all the same. */
        rc = buf_read_file(&file, path, RESOURCES_BYTES_MAX, NULL);
    if (rc == 0)
        rc = take_file(buf_str(&file), out);
    else if (rc == ERR_NOT_FOUND)
        rc = ERR_CORRUPT; /* It was there a moment ago. */
    buf_deinit(&file);
    return rc;
}

void snapshot_manifest_deinit(struct snapshot_manifest *m)
{
    wire_free(m->message);
    *m = (struct snapshot_manifest){0};
}

bool snapshot_manifest_lists(const struct snapshot_manifest *m, const struct resource_set *set,
                             enum snapshot_share share)
{
    const PlaneMsg *list = message_of(m);
    size_t wanted = 0;
    const struct map_entry *e;
    for (size_t i = 0; (e = map_next(&set->by_key, &i)) != NULL;)
        wanted += is_of(e->key, share);
    if (list->n_set != wanted)
        return false;
    for (size_t i = 0; i < list->n_set; i++) {
        const struct resource *r = resource_set_get(set, str_from(list->set[i]->key));
        if (r == NULL || !is_of(r->key, share) || r->type != (uint32_t)list->set[i]->type ||
            strcmp(r->version, list->set[i]->version) != 0)
            return false;
    }
    return true;
}

/* *out NULL: missing or damaged. */
static int load_body(const char *dir, const Resource *m, struct resource **out)
{
    char path[PATH_BYTES];
    struct buf body = {0};
    int n = snprintf(path, sizeof(path), "%s/bodies/%s", dir, m->version);
    *out = NULL;
    if (n < 0 || (size_t)n >= sizeof(path))
        return ERR_TOO_LARGE;
    int rc = buf_read_file(&body, path, RESOURCE_BODY_MAX, NULL);
    if (rc == 0) {
        *out = resource_create((uint32_t)m->type, str_from(m->key), buf_str(&body));
        rc = *out == NULL ? ERR_NOMEM : 0;
        if (*out != NULL)
            (*out)->ttl_s = m->ttl_s;
    } else if (rc != ERR_NOMEM) {
        rc = 0;
    }
    buf_deinit(&body);
    if (*out != NULL && strcmp((*out)->version, m->version) != 0) {
        resource_unref(*out);
        *out = NULL;
        (void)unlink(path);
    }
    return rc;
}

int snapshot_manifest_load(const struct snapshot_manifest *m, const char *dir,
                           struct resource_set *set, size_t *out_lost)
{
    const PlaneMsg *list = message_of(m);
    size_t lost = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < list->n_set; i++) {
        struct resource *r;
        rc = load_body(dir, list->set[i], &r);
        if (rc == 0 && r != NULL)
            rc = resource_set_put(set, r);
        else
            lost++;
    }
    if (rc == 0)
        *out_lost = lost;
    return rc;
}

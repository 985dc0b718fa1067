/* Usual path: a file is made under a temporary name with its header and the first chunk of slots,
 * mapped, and renamed. The address space for all slots is reserved at once; space on the disk is
 * taken by chunks.
 *
 * Ways to fail: no space -> no slot, the budget stays unknown on this node and its requests are
 * refused. A device that fails under the mapping, or someone who truncates the file, is SIGBUS: the
 * process dies and starts again (F38). */
#include "dataplane/budget/slot_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

#define USED_OFFSET  1024U
#define ENDED_OFFSET 2048U
#define PATH_MAX_LEN 4096U

static const char magic[8] = {'S', 'Y', 'A', 'L', 'L', 'O', 'C', '1'};

struct header { /* At the file's start. */
    char magic[8];
    uint64_t version;
    uint64_t epoch;
    uint64_t slots_max;
    struct uuid node_id;
    struct uuid boot_id;
    uint64_t check; /* CRC-32C of all before. */
};

static int real_fallocate(int fd, uint64_t offset, uint64_t len)
{
    return posix_fallocate(fd, (off_t)offset, (off_t)len);
}
static int real_rename(const char *from, const char *to)
{
    return rename(from, to) == 0 ? 0 : errno;
}
static int real_sync(void *map, size_t len)
{
    return msync(map, len, MS_SYNC) == 0 ? 0 : errno;
}
struct slot_file_io slot_file_io = {real_fallocate, real_rename, real_sync};

static _Atomic uint64_t *word(const struct slot_file *f, size_t offset)
{
    return (_Atomic uint64_t *)(void *)(f->map + offset);
}

uint32_t slot_file_used(const struct slot_file *f)
{
    return f->map == NULL ? 0 : (uint32_t)atomic_load(word(f, USED_OFFSET));
}

struct budget_slot *slot_file_at(const struct slot_file *f, uint32_t index)
{
    return (struct budget_slot *)(void *)(f->map + SLOT_FILE_HEADER_BYTES) + index;
}

uint32_t slot_file_index(const struct slot_file *f, const struct budget_slot *slot)
{
    return (uint32_t)(slot - slot_file_at(f, 0));
}

/* ---- making one ---- */

static uint64_t bytes_of(uint32_t slots)
{
    return SLOT_FILE_HEADER_BYTES + (uint64_t)slots * sizeof(struct budget_slot);
}

static int take_space(struct slot_file *f)
{
    uint32_t more = f->slots_max - f->space;
    if (more == 0)
        return ERR_LIMIT;
    if (more > SLOT_FILE_CHUNK)
        more = SLOT_FILE_CHUNK;
    uint64_t from = f->space == 0 ? 0 : bytes_of(f->space);
    int rc = slot_file_io.fallocate(f->fd, from, bytes_of(f->space + more) - from);
    if (rc != 0)
        return err_from_errno(rc);
    f->space += more;
    return 0;
}

static int make(struct slot_file *f, const char *tmp, const struct header *h)
{
    f->fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->fd < 0)
        return err_from_errno(errno);
    f->opened = true;
    int rc = take_space(f);
    if (rc == 0) {
        f->map_bytes = bytes_of(f->slots_max);
        void *map = mmap(NULL, f->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
        rc = map == MAP_FAILED ? errno : 0;
        if (rc == 0) {
            f->map = map;
            memcpy(f->map, h, sizeof(*h));
            rc = slot_file_io.rename(tmp, f->path);
        }
        rc = rc == 0 ? 0 : err_from_errno(rc);
    }
    if (rc != 0)
        (void)unlink(tmp);
    return rc;
}

static char *path_of(const char *dir, uint64_t epoch, const char *suffix)
{
    struct buf b;
    buf_init(&b, PATH_MAX_LEN);
    char *path = NULL;
    if (buf_printf(&b, "%s/%016llx%s", dir, (unsigned long long)epoch, suffix) == 0)
        path = mem_strndup(b.data, b.len);
    buf_deinit(&b);
    return path;
}

int slot_file_create(const char *dir, uint64_t epoch, uint32_t slots_max,
                     const struct uuid *node_id, const struct uuid *boot_id,
                     struct slot_file *out_file, struct err *err)
{
    struct header h = {.version = SLOT_FILE_VERSION,
                       .epoch = epoch,
                       .slots_max = slots_max,
                       .node_id = *node_id,
                       .boot_id = *boot_id};
    assert(slots_max > 0 && slots_max <= SLOT_FILE_SLOTS_MAX);
    memcpy(h.magic, magic, sizeof(magic));
    h.check = crc32c(0, &h, offsetof(struct header, check));
    struct slot_file f = {.epoch = epoch, .slots_max = slots_max};
    char *tmp = path_of(dir, epoch, ".tmp");
    f.path = path_of(dir, epoch, ".alloc");
    int rc = tmp != NULL && f.path != NULL ? make(&f, tmp, &h) : ERR_NOMEM;
    mem_free(tmp);
    if (rc != 0) {
        slot_file_close(&f);
        return err_set(err, rc, "cannot make the file of budgets in '%s': %s", dir, err_text(rc));
    }
    *out_file = f;
    return 0;
}

/* ---- an earlier life's ---- */

static int check_header(const struct header *h, uint64_t file_bytes, const struct uuid *node_id)
{
    if (memcmp(h->magic, magic, sizeof(magic)) != 0 ||
        h->check != crc32c(0, h, offsetof(struct header, check)))
        return ERR_CORRUPT;
    if (h->version != SLOT_FILE_VERSION)
        return ERR_VERSION;
    if (h->slots_max == 0 || h->slots_max > SLOT_FILE_SLOTS_MAX ||
        file_bytes > bytes_of((uint32_t)h->slots_max) ||
        memcmp(&h->node_id, node_id, sizeof(*node_id)) != 0)
        return ERR_CORRUPT;
    return 0;
}

int slot_file_open(const char *path, const struct uuid *node_id, const struct uuid *boot_id,
                   struct slot_file *out_file)
{
    struct slot_file f = {.fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)};
    struct stat st;
    int rc = 0;
    if (f.fd < 0)
        return err_from_errno(errno);
    f.opened = true;
    if (fstat(f.fd, &st) != 0)
        rc = err_from_errno(errno);
    else if ((uint64_t)st.st_size < SLOT_FILE_HEADER_BYTES ||
             (uint64_t)st.st_size > bytes_of(SLOT_FILE_SLOTS_MAX))
        rc = ERR_CORRUPT;
    if (rc == 0) {
        f.map_bytes = (size_t)st.st_size;
        void *map = mmap(NULL, f.map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
        if (map == MAP_FAILED)
            rc = err_from_errno(errno);
        else
            f.map = map;
    }
    if (rc == 0) {
        struct header h;
        memcpy(&h, f.map, sizeof(h));
        rc = check_header(&h, (uint64_t)st.st_size, node_id);
        f.epoch = h.epoch;
        f.slots_max = f.space =
            (uint32_t)((f.map_bytes - SLOT_FILE_HEADER_BYTES) / sizeof(struct budget_slot));
        f.exact = memcmp(&h.boot_id, boot_id, sizeof(*boot_id)) == 0 ||
                  atomic_load(word(&f, ENDED_OFFSET)) == 1;
    }
    if (rc == 0 && atomic_load(word(&f, USED_OFFSET)) > f.slots_max)
        rc = ERR_CORRUPT;
    if (rc == 0 && (f.path = mem_strdup(path)) == NULL)
        rc = ERR_NOMEM;
    if (rc != 0)
        slot_file_close(&f);
    else
        *out_file = f;
    return rc;
}

void slot_file_close(struct slot_file *f)
{
    if (f->map != NULL)
        (void)munmap(f->map, f->map_bytes);
    if (f->opened)
        (void)close(f->fd);
    mem_free(f->path);
    *f = (struct slot_file){0};
}

void slot_file_unlink(struct slot_file *f)
{
    if (f->path != NULL)
        (void)unlink(f->path);
}

void slot_file_forget(struct slot_file *f)
{
    void *zeros = mmap(f->map, f->map_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    (void)zeros; /* Failing that, the file's pages stay where they are. */
    f->map = NULL;
    slot_file_close(f);
}

void slot_file_end(struct slot_file *f)
{
    if (slot_file_io.sync(f->map, (size_t)bytes_of(slot_file_used(f))) != 0)
        return;
    atomic_store(word(f, ENDED_OFFSET), 1);
    (void)slot_file_io.sync(f->map, SLOT_FILE_HEADER_BYTES);
}

/* ---- slots ---- */

int slot_file_add(struct slot_file *f, struct budget_slot **out_slot)
{
    uint32_t used = slot_file_used(f);
    if (used == f->space) {
        int rc = take_space(f);
        if (rc != 0)
            return rc;
    }
    atomic_store(word(f, USED_OFFSET), used + 1U);
    *out_slot = slot_file_at(f, used);
    return 0;
}

static uint32_t slot_check(const struct budget_slot *slot)
{
    uint64_t v[4] = {atomic_load_explicit(&slot->budget, memory_order_relaxed),
                     (uint64_t)atomic_load_explicit(&slot->period_start_us, memory_order_relaxed),
                     atomic_load_explicit(&slot->epoch, memory_order_relaxed), slot_cfg(slot)};
    return crc32c(0, v, sizeof(v));
}

void slot_name(struct budget_slot *slot, uint64_t epoch, uint64_t budget, int64_t start_us,
               int64_t end_us, uint32_t cfg)
{
    /* Unfinished until the checksum is there. */
    atomic_store(&slot->cfg_check, 0);
    atomic_store(&slot->budget, budget);
    atomic_store(&slot->period_start_us, start_us);
    atomic_store(&slot->period_end_us, end_us);
    atomic_store(&slot->epoch, epoch);
    atomic_store(&slot->cfg_check, (uint64_t)cfg << 32);
    atomic_fetch_or(&slot->cfg_check, slot_check(slot));
}

bool slot_is_whole(const struct budget_slot *slot)
{
    return atomic_load(&slot->budget) != 0 &&
           (uint32_t)atomic_load(&slot->cfg_check) == slot_check(slot);
}

uint32_t slot_cfg(const struct budget_slot *slot)
{
    return (uint32_t)(atomic_load_explicit(&slot->cfg_check, memory_order_relaxed) >> 32);
}

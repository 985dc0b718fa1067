/* What a start finds (F4, B44). For each old epoch: read its segments in order, cut the torn tail
 * of the last one, add what a ring still holds and the segments do not, note which intents have no
 * outcome, and write one more segment with the ring's records and a NODE_CRASH record for each such
 * intent. That segment gets its name only when it is whole and synced, and the ring goes after
 * that, so a crash in here leaves either nothing or everything: the next start sees the same open
 * intents or none.
 *
 * A ring is read in two passes. Its intents count before the segments, so that a segment's record
 * closes them; its outcomes count behind them, and only those whose seq the segments do not reach.
 *
 * Files that are no segment or ring of ours (symlink, other owner, unknown version, bad header) are
 * left alone and counted; the edge logs it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/crypto/digest.h"
#include "dataplane/telemetry/spool_recover_internal.h"

#define EPOCHS_MAX   4096U
#define SEGMENTS_MAX 1000000U

/* size: of what is good in it; disk_bytes: of the file. */
static struct spool_segment *add_segment(struct recovery *r, const struct spool_header *header,
                                         uint64_t size, uint64_t disk_bytes)
{
    struct spool_segment *segment = mem_zalloc(sizeof(*segment));
    if (segment == NULL)
        return NULL;
    segment->epoch = r->epoch;
    segment->number = header->number;
    segment->first_seq = header->first_seq;
    segment->salt = spool_header_salt(header);
    segment->fd = -1;
    segment->sealed = true;
    atomic_store(&segment->written, size);
    atomic_store(&segment->synced, size);
    atomic_store(&segment->disk_bytes, disk_bytes);
    list_init(&segment->link);
    list_push_back(&r->epoch->segments, &segment->link);
    atomic_fetch_add(&r->set->bytes, disk_bytes);
    return segment;
}

/* Writes the records to `number`.tmp, syncs and renames. */
static int write_records(struct recovery *r, uint32_t number, struct err *err)
{
    struct str records = buf_str(&r->records);
    uint64_t first_seq = spool_get_u64(records.data + 12); /* Id of the first frame. */
    struct buf file, tmp, final;
    buf_init(&file, records.len + SPOOL_HEADER_BYTES);
    buf_init(&tmp, 8192);
    buf_init(&final, 8192);
    struct spool_header header = {.version = SPOOL_VERSION,
                                  .number = number,
                                  .epoch = r->epoch->id,
                                  .first_seq = first_seq,
                                  .node_id = r->set->node_id,
                                  .boot_id = r->set->boot_id};
    uint8_t bytes[SPOOL_HEADER_BYTES];
    spool_header_encode(&header, bytes);
    int rc = buf_append(&file, bytes, sizeof(bytes));
    spool_frames_seal(r->records.data, r->records.len, spool_header_salt(&header));
    if (rc == 0)
        rc = buf_append_str(&file, records);
    if (rc == 0)
        rc = buf_printf(&tmp, "%s/%08u.tmp", r->epoch->dir, number);
    if (rc == 0)
        rc = buf_printf(&final, "%s/%08u.seg", r->epoch->dir, number);
    if (rc == 0 && (buf_cstr(&tmp) == NULL || buf_cstr(&final) == NULL))
        rc = ERR_NOMEM;
    int fd = -1;
    if (rc == 0) {
        fd = spool_io.open_new(buf_cstr(&tmp));
        rc = fd < 0 ? err_from_errno(errno) : spool_write_all(fd, file.data, file.len);
    }
    if (rc == 0 && spool_io.fdatasync(fd) != 0)
        rc = err_from_errno(errno);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && spool_io.rename(buf_cstr(&tmp), buf_cstr(&final)) != 0)
        rc = err_from_errno(errno);
    if (rc == 0 && add_segment(r, &header, file.len, file.len) == NULL)
        rc = ERR_NOMEM;
    if (rc != 0)
        (void)err_set(err, rc, "cannot write recovered records in '%s': %s", r->epoch->dir,
                      err_text(rc));
    buf_deinit(&file);
    buf_deinit(&tmp);
    buf_deinit(&final);
    return rc;
}

/* ---- reading ---- */

int recovery_refuse(struct recovery *r, const char *dir, const char *name, const char *why)
{
    r->stats->refused_files++;
    log_event(LOG_ERROR, "spool file refused", LOG_TEXT_FIELD("directory", dir),
              LOG_TEXT_FIELD("file", name), LOG_TEXT_FIELD("reason", why));
    return ERR_DENIED;
}

int recovery_read(struct recovery *r, int dir_fd, const char *name, struct buf *out)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return ERR_NOT_FOUND;
    if (fd < 0)
        return recovery_refuse(r, r->epoch->dir, name,
                               errno == ELOOP ? "symbolic link" : strerror(errno));
    struct stat st;
    const char *why = NULL;
    if (fstat(fd, &st) != 0)
        why = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        why = "not a regular file";
    else if (st.st_uid != geteuid())
        why = "another owner";
    else if (st.st_size > (off_t)SPOOL_FILE_BYTES_MAX)
        why = "too large";
    int rc = why != NULL ? recovery_refuse(r, r->epoch->dir, name, why) : 0;
    size_t size = rc == 0 ? (size_t)st.st_size : 0;
    if (rc == 0)
        rc = buf_reserve(out, size + 1);
    while (rc == 0 && out->len < size) {
        ssize_t n = read(fd, out->data + out->len, size - out->len);
        if (n < 0)
            rc = recovery_refuse(r, r->epoch->dir, name, strerror(errno));
        else if (n == 0)
            size = out->len;
        else
            out->len += (size_t)n;
    }
    close(fd);
    return rc;
}

static void on_record(struct recovery *r, const struct spool_frame *frame)
{
    uint64_t intent;
    struct str record;
    if (!spool_record_split(frame, &intent, &record))
        return;
    if (frame->id >= r->next_seq) {
        r->next_seq = frame->id + 1;
        r->stats->records++;
        atomic_fetch_add(&r->set->records, 1);
    }
    struct recovery_intent *o = intent != 0 ? recovery_find(r, intent) : NULL;
    if (o != NULL)
        recovery_close(r, o);
}

static int on_frame(struct recovery *r, const struct spool_frame *frame)
{
    switch (frame->type) {
    case SPOOL_INTENT:
        return recovery_on_intent(r, frame->id, frame->payload);
    case SPOOL_ATTEMPT:
        return recovery_on_attempt(r, frame->id, frame->payload);
    case SPOOL_RECORD:
        on_record(r, frame);
        return 0;
    }
    return 0;
}

/* A recycled file that got its name, but the host died before its new header was on the disk: it
 * was never synced as this segment, and what it was before is acknowledged. */
static bool was_another(const struct recovery *r, const struct spool_header *header,
                        uint32_t number)
{
    return header->version > 1 && header->epoch == r->epoch->id && header->number < number &&
           memcmp(&header->node_id, &r->set->node_id, sizeof(header->node_id)) == 0;
}

static int recover_segment(struct recovery *r, int dir_fd, const char *name, uint32_t number)
{
    struct buf file;
    buf_init(&file, SPOOL_FILE_BYTES_MAX + 1);
    int rc = recovery_read(r, dir_fd, name, &file);
    struct spool_header header = {0};
    if (rc == 0) {
        int bad = spool_header_decode(buf_str(&file), &header);
        bool unmade = bad == ERR_EOF || (bad == ERR_CORRUPT && file.len <= SPOOL_HEADER_BYTES);
        if (unmade)
            r->stats->torn_bytes += file.len;
        if (unmade || (bad == 0 && was_another(r, &header, number))) {
            /* Died while making it: nothing can be in it. */
            (void)unlinkat(dir_fd, name, 0);
            buf_deinit(&file);
            return 0;
        }
        if (bad == ERR_VERSION)
            rc = recovery_refuse(r, r->epoch->dir, name, "unknown version");
        else if (bad != 0 || header.epoch != r->epoch->id || header.number != number)
            rc = recovery_refuse(r, r->epoch->dir, name, "not a segment of this epoch");
    }
    if (rc == 0) {
        struct spool_scan scan;
        struct spool_frame frame;
        spool_scan_init(&scan, str_slice(buf_str(&file), SPOOL_HEADER_BYTES, file.len),
                        spool_header_salt(&header));
        enum spool_scan_result result;
        while ((result = spool_scan_next(&scan, &frame)) == SPOOL_SCAN_FRAME && rc == 0)
            rc = on_frame(r, &frame);
        r->stats->quarantined += scan.quarantined;
        if (r->first_seq == 0)
            r->first_seq = header.first_seq;
        if (r->next_seq < header.first_seq)
            r->next_seq = header.first_seq; /* Older segments are gone, or were refused. */
        if (rc == 0 && result == SPOOL_SCAN_TORN)
            r->stats->torn_bytes +=
                spool_scan_torn(&scan, (header.flags & SPOOL_HEADER_RECYCLED) != 0);
        /* The file itself is left as it is: what follows the last good frame is not read again. */
        if (rc == 0 && add_segment(r, &header, SPOOL_HEADER_BYTES + scan.offset, file.len) == NULL)
            rc = ERR_NOMEM;
    }
    buf_deinit(&file);
    return rc == ERR_DENIED || rc == ERR_NOT_FOUND ? 0 : rc;
}

/* "00000012.seg" -> 12. false: not a segment's name. */
static bool segment_number(const char *name, uint32_t *out_number)
{
    struct str s = str_from(name);
    uint64_t number;
    if (s.len != 12 || !str_ends(s, STR(".seg")) ||
        str_parse_u64(str_slice(s, 0, 8), SEGMENTS_MAX * 10, &number) != 0)
        return false;
    *out_number = (uint32_t)number;
    return true;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Ascending segment numbers of a directory, as u32s in out; removes left-over temporary files. */
static int list_segments(int dir_fd, struct buf *out)
{
    int copy = dup(dir_fd);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    if (dir == NULL) {
        if (copy >= 0)
            close(copy);
        return err_from_errno(errno);
    }
    int rc = 0;
    struct dirent *entry;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        uint32_t number;
        if (str_ends(str_from(entry->d_name), STR(".tmp")) ||
            str_ends(str_from(entry->d_name), STR(SPOOL_SPARE_SUFFIX)))
            (void)unlinkat(dir_fd, entry->d_name, 0);
        else if (segment_number(entry->d_name, &number))
            rc = buf_append(out, &number, sizeof(number));
    }
    closedir(dir);
    if (out->len > 0)
        qsort(out->data, out->len / sizeof(uint32_t), sizeof(uint32_t), compare_numbers);
    return rc;
}

/* The ring of a dead process is needed until what it holds stands synced in a segment. */
static int settle(struct recovery *r, int dir_fd, uint32_t last, const struct recovery_ring *ring,
                  struct err *err)
{
    int rc = r->records.len > 0 ? write_records(r, last + 1, err) : 0;
    if (rc == 0 && (r->records.len > 0 || ring->found) && fsync(dir_fd) != 0)
        rc = err_set(err, err_from_errno(errno), "cannot sync '%s'", r->epoch->dir);
    if (rc == 0) {
        atomic_fetch_add(&r->set->records, r->record_count);
        if (ring->found)
            (void)unlinkat(dir_fd, SPOOL_RING_NAME, 0);
    }
    return rc;
}

static int recover_epoch(struct recovery *r, struct err *err)
{
    struct buf numbers;
    struct recovery_ring ring = {0};
    buf_init(&numbers, sizeof(uint32_t) * SEGMENTS_MAX);
    buf_init(&r->records, SPOOL_FILE_BYTES_MAX);
    int dir_fd = open(r->epoch->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc = dir_fd < 0 ? recovery_refuse(r, r->epoch->dir, "", strerror(errno))
                        : list_segments(dir_fd, &numbers);
    uint32_t last = 0;
    r->next_seq = 1;
    if (rc == 0)
        rc = recovery_ring_load(r, dir_fd, &ring);
    if (rc == 0)
        rc = recovery_ring_intents(r, &ring);
    for (size_t i = 0; rc == 0 && i < numbers.len / sizeof(uint32_t); i++) {
        char name[16];
        memcpy(&last, numbers.data + i * sizeof(last), sizeof(last));
        (void)snprintf(name, sizeof(name), "%08u.seg", last);
        rc = recover_segment(r, dir_fd, name, last);
    }
    if (rc == 0)
        rc = recovery_ring_rest(r, &ring);
    if (rc == 0)
        rc = recovery_crash_all(r);
    if (rc == 0)
        rc = settle(r, dir_fd, last, &ring, err);
    if (dir_fd >= 0)
        close(dir_fd);
    recovery_close_all(r);
    recovery_ring_deinit(&ring);
    buf_deinit(&r->records);
    buf_deinit(&numbers);
    if (rc != 0 && rc != ERR_DENIED)
        err_wrap(err, "recover '%s'", r->epoch->dir);
    return rc == ERR_DENIED ? 0 : rc;
}

static int compare_epochs(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Epoch directories, ascending; removes what a death left of a counter that was being written. */
static int list_epochs(const char *path, struct buf *out, struct err *err)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return err_set(err, err_from_errno(errno), "cannot read '%s': %s", path, strerror(errno));
    int rc = 0;
    struct dirent *entry;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        uint8_t bytes[8];
        if (str_starts(str_from(entry->d_name), STR(BUF_TEMPORARY_PREFIX)))
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
        if (strlen(entry->d_name) != 16 || hex_decode(str_from(entry->d_name), bytes, 8) != 0)
            continue;
        uint64_t id = 0;
        for (int i = 0; i < 8; i++)
            id = id << 8 | bytes[i];
        rc = buf_append(out, &id, sizeof(id));
    }
    closedir(dir);
    if (rc != 0)
        return err_set(err, rc, "too many epochs in '%s'", path);
    if (out->len > 0)
        qsort(out->data, out->len / sizeof(uint64_t), sizeof(uint64_t), compare_epochs);
    return 0;
}

int spool_recover(struct spool_set *set, struct spool_recovery *out_recovery, struct err *err)
{
    struct buf ids;
    buf_init(&ids, sizeof(uint64_t) * EPOCHS_MAX);
    int rc = list_epochs(set->dir, &ids, err);
    struct recovery *r = rc == 0 ? mem_zalloc(sizeof(*r)) : NULL;
    if (rc == 0 && r == NULL)
        rc = err_set(err, ERR_NOMEM, "out of memory");
    for (size_t i = 0; rc == 0 && i < ids.len / sizeof(uint64_t); i++) {
        uint64_t id;
        memcpy(&id, ids.data + i * sizeof(id), sizeof(id));
        *r = (struct recovery){.set = set, .stats = out_recovery};
        for (int j = 0; j < 256; j++)
            list_init(&r->open[j]);
        r->epoch = spool_epoch_create(set, id);
        if (r->epoch == NULL) {
            rc = err_set(err, ERR_NOMEM, "out of memory");
            break;
        }
        rc = recover_epoch(r, err);
        if (rc == 0 && list_empty(&r->epoch->segments)) {
            (void)rmdir(r->epoch->dir); /* Stays when it holds refused files. */
            spool_epoch_free(r->epoch);
        } else {
            list_push_back(&set->epochs, &r->epoch->link);
            out_recovery->epochs++;
        }
    }
    mem_free(r);
    buf_deinit(&ids);
    return rc;
}

/* Lives of the node, each a file.
 *
 * A life begins with a new file and ends in one of three ways: the process dies (the next start
 * finds the file), it ends in order (budget_table_retire), or the plane closed it while the node
 * was cut off; then its slots take no new reservations, what is open settles to them, and the file
 * is reported as final when nothing is open any more. A file goes when the plane has acknowledged
 * it.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "dataplane/budget/table_internal.h"

#define PATH_BYTES_MAX 4096U
#define EPOCH_MAX      (UINT32_MAX - 65536U)

static int write_counter(struct budget_table *t, uint32_t counter, struct err *err)
{
    char path[PATH_BYTES_MAX];
    char text[16];
    int n = snprintf(path, sizeof(path), "%s/epoch", t->dir);
    int m = snprintf(text, sizeof(text), "%u\n", counter);
    if (n < 0 || (size_t)n >= sizeof(path) || m < 0)
        return err_set(err, ERR_TOO_LARGE, "'%s' is too long", t->dir);
    return buf_write_file((struct str){.data = text, .len = (size_t)m}, path, 0600, err);
}

static int read_counter(struct budget_table *t, struct err *err)
{
    char path[PATH_BYTES_MAX];
    struct buf b = {0};
    uint64_t last = 0;
    int n = snprintf(path, sizeof(path), "%s/epoch", t->dir);
    if (n < 0 || (size_t)n >= sizeof(path))
        return err_set(err, ERR_TOO_LARGE, "'%s' is too long", t->dir);
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return 0;
    int rc = buf_read_file(&b, path, 32, err);
    if (rc == 0) {
        struct str text = buf_str(&b);
        while (text.len > 0 && text.data[text.len - 1] == '\n')
            text.len--;
        /* A damaged counter: the files that are there say how far it was. */
        if (str_parse_u64(text, EPOCH_MAX, &last) == 0 && last > t->counter)
            t->counter = (uint32_t)last;
    }
    buf_deinit(&b);
    return rc;
}

int table_open_life(struct budget_table *t, struct err *err)
{
    uint32_t random;
    assert(t->file.map == NULL);
    int rc = rand_secure(&random, sizeof(random));
    if (rc == 0)
        rc = write_counter(t, t->counter + 1, err);
    if (rc != 0)
        return rc;
    uint64_t epoch = (uint64_t)(t->counter + 1) << 32 | random;
    rc = slot_file_create(t->dir, epoch, t->options.slots_max, &t->options.node_id,
                          &t->options.boot_id, &t->file, err);
    if (rc != 0)
        return rc;
    t->counter++;
    t->stats.slots = 0;
    t->free_count = 0;
    atomic_store(&t->epoch, epoch);
    return 0;
}

/* What is told of a slot when its life is over. */
static struct budget_usage final_usage(const struct budget_slot *s)
{
    struct budget_usage u = slot_usage(s);
    /* Open reservations count in full. */
    u.settled = u.granted + atomic_load(&s->offline) - u.returned - atomic_load(&s->free);
    u.reserved = 0;
    return u;
}

static struct ended_life *ended_add(struct budget_table *t, const struct slot_file *file)
{
    struct ended_life *l = mem_zalloc(sizeof(*l));
    if (l == NULL)
        return NULL;
    l->file = *file;
    list_push_back(&t->ended, &l->link);
    t->stats.epochs++;
    return l;
}

void table_end_life(struct budget_table *t)
{
    if (t->file.map == NULL)
        return;
    atomic_store(&t->epoch, 0);
    for (uint32_t i = 0; i < slot_file_used(&t->file); i++) {
        struct budget_slot *s = slot_file_at(&t->file, i);
        uint64_t tag = atomic_load(&s->tag);
        if (tag == 0)
            continue;
        struct budget_entry *e = table_entry(t, atomic_load(&s->budget));
        if (e != NULL) {
            atomic_store(&e->slot[0], NULL);
            atomic_store(&e->slot[1], NULL);
        }
        atomic_store(&s->tag, tag | SLOT_TAG_CLOSED);
        (void)slot_give_back(s, 0);
    }
    t->echoing = false;
    t->rounding = false;
    struct ended_life *l = ended_add(t, &t->file);
    if (l == NULL)
        return;           /* Closed all the same; the next tick tries again. */
    l->file.exact = true; /* As far as this process can say. */
    l->draining = true;
    l->own = true;
    t->file = (struct slot_file){0};
}

/* Nothing is open on it. */
static bool life_drained(const struct ended_life *l)
{
    for (uint32_t i = 0; i < slot_file_used(&l->file); i++) {
        const struct budget_slot *s = slot_file_at(&l->file, i);
        if (atomic_load(&s->tag) != 0 && slot_usage(s).reserved != 0)
            return false;
    }
    return true;
}

static void life_free(struct ended_life *l)
{
    slot_file_unlink(&l->file);
    if (l->own) /* Its addresses stay; what is there says that nobody owns it. */
        slot_file_forget(&l->file);
    slot_file_close(&l->file);
    list_remove(&l->link);
    mem_free(l);
}

void table_drain_lives(struct budget_table *t, uint64_t mono_ms)
{
    LIST_FOREACH_SAFE (it, tmp, &t->ended) {
        struct ended_life *l = container_of(it, struct ended_life, link);
        if (l->draining && life_drained(l))
            l->draining = false;
        if (l->told && mono_ms - l->told_ms >= TABLE_TOLD_MS)
            life_free(l);
    }
}

void table_retell_lives(struct budget_table *t)
{
    LIST_FOREACH (it, &t->ended) {
        struct ended_life *l = container_of(it, struct ended_life, link);
        t->stats.epochs += l->told;
        l->told = false;
        l->cursor = 0;
    }
}

/* ---- telling ---- */

/* Pages of a host that died may hold anything. */
static bool final_believable(const struct budget_slot *s, const struct budget_usage *u)
{
    return slot_is_whole(s) && u->settled >= 0 && u->returned >= 0 && u->granted >= 0 &&
           u->settled <= BUDGET_AMOUNT_MAX && u->returned <= BUDGET_AMOUNT_MAX &&
           u->granted <= BUDGET_AMOUNT_MAX;
}

void table_report_final(struct budget_table *t, struct budget_report *r)
{
    LIST_FOREACH (it, &t->ended) {
        struct ended_life *l = container_of(it, struct ended_life, link);
        if (l->draining || l->told)
            continue;
        uint32_t i = l->cursor;
        uint32_t used = slot_file_used(&l->file);
        for (; i < used && r->final_count < BUDGET_REPORT_MAX; i++) {
            const struct budget_slot *s = slot_file_at(&l->file, i);
            struct budget_usage u = final_usage(s);
            if (final_believable(s, &u) && (u.granted != 0 || u.settled != 0))
                r->final[r->final_count++] = u;
        }
        l->cursor_sent = i;
        r->final_epoch = l->file.epoch;
        r->final_exact = l->file.exact;
        r->final_last = i == used;
        t->final_sent = l->file.epoch;
        t->final_last_sent = r->final_last;
        return;
    }
}

void table_final_acked(struct budget_table *t)
{
    uint64_t epoch = t->final_sent;
    t->final_sent = 0;
    LIST_FOREACH (it, &t->ended) {
        struct ended_life *l = container_of(it, struct ended_life, link);
        if (epoch == 0 || l->file.epoch != epoch)
            continue;
        l->cursor = l->cursor_sent;
        if (t->final_last_sent) {
            l->told = true;
            l->told_ms = t->contact_ms;
            t->stats.epochs--;
        }
        return;
    }
}

/* ---- start ---- */

static int lock_dir(struct budget_table *t, struct err *err)
{
    char path[PATH_BYTES_MAX];
    if (mkdir(t->dir, 0700) != 0 && errno != EEXIST)
        return err_set(err, err_from_errno(errno), "cannot make '%s': %s", t->dir, strerror(errno));
    int n = snprintf(path, sizeof(path), "%s/lock", t->dir);
    if (n < 0 || (size_t)n >= sizeof(path))
        return err_set(err, ERR_TOO_LARGE, "'%s' is too long", t->dir);
    t->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (t->lock_fd < 0)
        return err_set(err, err_from_errno(errno), "cannot open '%s': %s", path, strerror(errno));
    if (flock(t->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, ERR_CONFLICT, "'%s' is in use by another process", t->dir);
    return 0;
}

/* Not readable: out of the way, for a person to look at. The plane closes such a life by time. */
static void quarantine(const char *path, struct budget_recovery *found)
{
    char bad[PATH_BYTES_MAX];
    int n = snprintf(bad, sizeof(bad), "%s.bad", path);
    found->quarantined++;
    if (n > 0 && (size_t)n < sizeof(bad))
        (void)rename(path, bad);
}

static int recover_one(struct budget_table *t, const char *path, struct budget_recovery *found)
{
    struct slot_file file;
    int rc = slot_file_open(path, &t->options.node_id, &t->options.boot_id, &file);
    if (rc == ERR_CORRUPT || rc == ERR_VERSION) {
        quarantine(path, found);
        return 0;
    }
    if (rc != 0)
        return rc;
    if (ended_add(t, &file) == NULL) {
        slot_file_close(&file);
        return ERR_NOMEM;
    }
    uint32_t high = (uint32_t)(file.epoch >> 32);
    if (high > t->counter && high < EPOCH_MAX)
        t->counter = high;
    found->epochs++;
    found->host_crash += !file.exact;
    found->slots += slot_file_used(&file);
    return 0;
}

int table_recover(struct budget_table *t, struct budget_recovery *found, struct err *err)
{
    int rc = lock_dir(t, err);
    if (rc != 0)
        return rc;
    DIR *d = opendir(t->dir);
    if (d == NULL)
        return err_set(err, err_from_errno(errno), "cannot read '%s': %s", t->dir, strerror(errno));
    for (struct dirent *e; rc == 0 && (e = readdir(d)) != NULL;) {
        char path[PATH_BYTES_MAX];
        struct str name = str_from(e->d_name);
        int n = snprintf(path, sizeof(path), "%s/%s", t->dir, e->d_name);
        if (n < 0 || (size_t)n >= sizeof(path))
            continue;
        if (str_ends(name, str_from(".tmp")))
            (void)unlink(path); /* Died in making it: nothing was ever in it. */
        else if (str_ends(name, str_from(".alloc")))
            rc = recover_one(t, path, found);
    }
    (void)closedir(d);
    if (rc != 0)
        return err_set(err, rc, "cannot recover budgets in '%s': %s", t->dir, err_text(rc));
    return read_counter(t, err);
}

void table_close_lives(struct budget_table *t)
{
    for (struct list *it; (it = list_pop_front(&t->ended)) != NULL;) {
        struct ended_life *l = container_of(it, struct ended_life, link);
        if (l->own && !l->draining)
            slot_file_end(&l->file);
        slot_file_close(&l->file);
        mem_free(l);
    }
    slot_file_close(&t->file);
    if (t->lock_fd >= 0)
        (void)close(t->lock_fd);
}

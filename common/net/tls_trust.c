/* Trust stores. A parsed system store takes about a megabyte, so one is shared by every context of
 * every thread that names the same file with the same content; a file that changed is read again by
 * the next context. The lock is held only here, when contexts come and go, never by a connection
 * (OpenSSL takes its own for look-ups during handshakes). */
#include <errno.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/net/tls_internal.h"

struct tls_trust {
    struct list node;
    char *ca_file; /* NULL: the system's store. */
    struct stat seen;
    X509_STORE *store;
    unsigned references;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list stores = {.next = &stores, .prev = &stores};

static bool is_same(const struct tls_trust *t, const char *ca_file, const struct stat *now)
{
    if (ca_file == NULL || t->ca_file == NULL)
        return ca_file == t->ca_file;
    return strcmp(t->ca_file, ca_file) == 0 && t->seen.st_dev == now->st_dev &&
           t->seen.st_ino == now->st_ino && t->seen.st_size == now->st_size &&
           t->seen.st_mtim.tv_sec == now->st_mtim.tv_sec &&
           t->seen.st_mtim.tv_nsec == now->st_mtim.tv_nsec;
}

static struct tls_trust *find(const char *ca_file, const struct stat *now)
{
    LIST_FOREACH (it, &stores) {
        struct tls_trust *t = container_of(it, struct tls_trust, node);
        if (is_same(t, ca_file, now))
            return t;
    }
    return NULL;
}

static void destroy(struct tls_trust *t)
{
    X509_STORE_free(t->store);
    mem_free(t->ca_file);
    mem_free(t);
}

static int load(const char *ca_file, const struct stat *now, struct tls_trust **out_trust,
                struct err *err)
{
    struct tls_trust *t = mem_zalloc(sizeof(*t));
    if (t == NULL)
        return err_set(err, ERR_NOMEM, "no memory for trusted certificates");
    int rc = 0;
    t->seen = *now;
    t->store = X509_STORE_new();
    if (ca_file != NULL)
        t->ca_file = mem_strdup(ca_file);
    if (t->store == NULL || (ca_file != NULL && t->ca_file == NULL))
        rc = tls_library_error(err, ERR_NOMEM, "trusted certificates", "");
    else if (ca_file == NULL && X509_STORE_set_default_paths(t->store) != 1)
        rc = tls_library_error(err, ERR_INVALID, "read the system's trusted certificates", "");
    else if (ca_file != NULL && X509_STORE_load_file(t->store, ca_file) != 1)
        rc = tls_library_error(err, ERR_INVALID, "read trusted certificates of", ca_file);
    if (rc != 0) {
        destroy(t);
        return rc;
    }
    *out_trust = t;
    return 0;
}

int tls_trust_get(const char *ca_file, struct tls_trust **out_trust, struct err *err)
{
    struct stat now = {0};
    if (ca_file != NULL && stat(ca_file, &now) != 0)
        return err_set(err, ERR_INVALID, "read trusted certificates of '%s': %s", ca_file,
                       strerror(errno));
    (void)pthread_mutex_lock(&lock);
    struct tls_trust *t = find(ca_file, &now);
    int rc = t != NULL ? 0 : load(ca_file, &now, &t, err);
    if (rc == 0) {
        if (t->references++ == 0)
            list_push_back(&stores, &t->node);
        *out_trust = t;
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

void tls_trust_put(struct tls_trust *t)
{
    if (t == NULL)
        return;
    (void)pthread_mutex_lock(&lock);
    if (--t->references == 0) {
        list_remove(&t->node);
        destroy(t);
    }
    (void)pthread_mutex_unlock(&lock);
}

X509_STORE *tls_trust_store(const struct tls_trust *t)
{
    return t->store;
}

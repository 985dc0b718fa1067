/* OpenSSL's memory by way of mem.h. An idle connection gives its record buffers back (that is what
 * keeps it small), so each record takes one and returns it: a thread keeps two of them, one for
 * each direction, and these never reach malloc. */
#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>

#include "common/base/mem.h"
#include "common/net/tls.h"

/* OpenSSL 3 asks for 16.2 to 16.8 KiB for a record, by direction and suite. All are made alike. */
#define RECORD_BYTES_MIN 16384U
#define RECORD_BYTES     17408U
#define RECORD_SLACK     64U /* What malloc may add. */
#define RECORDS_KEPT_MAX 2U

struct kept {
    void *blocks[RECORDS_KEPT_MAX];
    unsigned count;
    bool watched; /* The thread's end is known to us. */
    bool over;    /* The thread ends. */
};

static _Thread_local struct kept kept;
static pthread_key_t thread_end;

static void on_thread_end(void *arg)
{
    (void)arg;
    kept.over = true;
    while (kept.count > 0)
        mem_free(kept.blocks[--kept.count]);
}

static bool keep(void *p)
{
    size_t bytes = malloc_usable_size(p);
    if (bytes < RECORD_BYTES || bytes > RECORD_BYTES + RECORD_SLACK || kept.over ||
        kept.count == RECORDS_KEPT_MAX)
        return false;
    if (!kept.watched)
        kept.watched = pthread_setspecific(thread_end, &kept) == 0;
    if (!kept.watched)
        return false;
    kept.blocks[kept.count++] = p;
    return true;
}

static void *on_alloc(size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    if (bytes < RECORD_BYTES_MIN || bytes > RECORD_BYTES)
        return mem_alloc(bytes);
    return kept.count > 0 ? kept.blocks[--kept.count] : mem_alloc(RECORD_BYTES);
}

static void on_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    if (p != NULL && !keep(p))
        mem_free(p);
}

static void *on_realloc(void *p, size_t bytes, const char *file, int line)
{
    if (p == NULL)
        return on_alloc(bytes, file, line);
    if (bytes > 0)
        return mem_realloc(p, bytes);
    on_free(p, file, line);
    return NULL;
}

int tls_global_init(void)
{
    static bool made;
    if (!made && pthread_key_create(&thread_end, on_thread_end) != 0)
        return ERR_NOMEM;
    made = true;
    return CRYPTO_set_mem_functions(on_alloc, on_realloc, on_free) == 1 ? 0 : ERR_CONFLICT;
}

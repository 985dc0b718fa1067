/* OpenSSL's memory by way of mem.h. An idle connection gives its record buffers back (that is what
 * keeps it small), so each record takes one and returns it, and some bookkeeping of 40 bytes four
 * times: a thread keeps a few blocks of these two kinds, and records never reach malloc. */
#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>

#include "common/base/mem.h"
#include "common/net/tls.h"

#define KEPT_MAX 8U

/* What is asked for within these bounds is made `bytes` long, so that one block serves all. */
struct kind {
    size_t asked_min_bytes;
    size_t bytes;
    unsigned kept_max;
};

/* OpenSSL 3 asks for 16.2 to 16.8 KiB for a record, by direction and suite; malloc makes 25 to 40
 * bytes the same size anyway. */
static const struct kind kinds[] = {{25, 40, KEPT_MAX}, {16384, 17408, 2}};
#define KINDS       (sizeof(kinds) / sizeof(kinds[0]))
#define SLACK_BYTES 15U /* What malloc may add. */

struct kept {
    void *blocks[KINDS][KEPT_MAX];
    unsigned count[KINDS];
    bool watched; /* The thread's end is known to us. */
    bool over;    /* The thread ends. */
};

static _Thread_local struct kept kept;
static pthread_key_t thread_end;

static void on_thread_end(void *arg)
{
    (void)arg;
    kept.over = true;
    for (size_t k = 0; k < KINDS; k++)
        while (kept.count[k] > 0)
            mem_free(kept.blocks[k][--kept.count[k]]);
}

/* A block that is kept must go with its thread. */
static bool may_keep(void)
{
    if (!kept.watched && !kept.over)
        kept.watched = pthread_setspecific(thread_end, &kept) == 0;
    return kept.watched && !kept.over;
}

static bool keep(void *p)
{
    size_t usable_bytes = malloc_usable_size(p);
    for (size_t k = 0; k < KINDS; k++) {
        if (usable_bytes - kinds[k].bytes > SLACK_BYTES || kept.count[k] == kinds[k].kept_max)
            continue;
        if (!may_keep())
            return false;
        kept.blocks[k][kept.count[k]++] = p;
        return true;
    }
    return false;
}

static void *on_alloc(size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    for (size_t k = 0; k < KINDS; k++)
        if (bytes >= kinds[k].asked_min_bytes && bytes <= kinds[k].bytes)
            return kept.count[k] > 0 ? kept.blocks[k][--kept.count[k]] : mem_alloc(kinds[k].bytes);
    return mem_alloc(bytes);
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

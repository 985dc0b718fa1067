/* OpenSSL's view of the wire: a BIO that reads straight from the caller's span and writes straight
 * to the caller's buffer. OpenSSL's memory BIOs would copy every byte once more and keep a buffer
 * of their own per connection and direction. */
#include <openssl/bio.h>
#include <pthread.h>
#include <string.h>

#include "common/net/tls_internal.h"

static int on_read(BIO *bio, char *data, size_t len, size_t *out_read)
{
    struct tls *t = BIO_get_data(bio);
    size_t n = len < t->in.len ? len : t->in.len;
    BIO_clear_retry_flags(bio);
    *out_read = n;
    if (n == 0) { /* The rest comes with the next tls_feed; the end is never told this way. */
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(data, t->in.data, n);
    t->in.data += n;
    t->in.len -= n;
    return 1;
}

static int on_write(BIO *bio, const char *data, size_t len, size_t *out_written)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *out_written = 0;
    int rc = t->out != NULL ? buf_append(t->out, data, len) : ERR_INTERNAL;
    if (rc != 0) {
        t->out_status = rc;
        return 0;
    }
    *out_written = len;
    return 1;
}

static long on_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0; /* Nothing is held back here. */
}

static BIO_METHOD *make_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "span and buf");
    if (m == NULL)
        return NULL;
    (void)BIO_meth_set_read_ex(m, on_read);
    (void)BIO_meth_set_write_ex(m, on_write);
    (void)BIO_meth_set_ctrl(m, on_control);
    return m;
}

/* Lives as long as the process; made again if the first try had no memory. */
const BIO_METHOD *tls_bio_method(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static BIO_METHOD *method;
    (void)pthread_mutex_lock(&lock);
    if (method == NULL)
        method = make_method();
    const BIO_METHOD *m = method;
    (void)pthread_mutex_unlock(&lock);
    return m;
}

BIO *tls_bio_create(const BIO_METHOD *method, struct tls *t)
{
    BIO *bio = BIO_new(method);
    if (bio == NULL)
        return NULL;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    return bio;
}

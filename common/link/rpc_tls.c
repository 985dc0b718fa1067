/* Certificates from files, and who a peer's certificate says it is. The server asks for the files
 * at each handshake (on a thread of gRPC, hence the lock) and reads them again when one has
 * changed; a client makes a new channel then. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/link/rpc_internal.h"

#define PEM_BYTES_MAX 262144U
#define FILES         3

struct file_stamp {
    struct timespec mtime;
    off_t size;
    ino_t inode;
};

struct rpc_tls_files {
    char *paths[FILES]; /* cert, key, CA. */
    pthread_mutex_t lock;
    struct file_stamp stamps[FILES]; /* When last read. */
    bool read_once;
};

static void stamp_files(const struct rpc_tls_files *f, struct file_stamp out[FILES])
{
    for (int i = 0; i < FILES; i++) {
        struct stat st;
        out[i] = (struct file_stamp){0};
        if (stat(f->paths[i], &st) == 0)
            out[i] =
                (struct file_stamp){.mtime = st.st_mtim, .size = st.st_size, .inode = st.st_ino};
    }
}

static bool stamps_differ(const struct file_stamp a[FILES], const struct file_stamp b[FILES])
{
    for (int i = 0; i < FILES; i++)
        if (a[i].mtime.tv_sec != b[i].mtime.tv_sec || a[i].mtime.tv_nsec != b[i].mtime.tv_nsec ||
            a[i].size != b[i].size || a[i].inode != b[i].inode)
            return true;
    return false;
}

int rpc_tls_files_create(const struct rpc_tls *tls, struct rpc_tls_files **out_files,
                         struct err *err)
{
    if (tls->cert_file == NULL || tls->key_file == NULL || tls->ca_file == NULL)
        return err_set(err, ERR_INVALID, "TLS needs a certificate, a key and a CA file");
    struct rpc_tls_files *f = mem_zalloc(sizeof(*f));
    if (f == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&f->lock, NULL);
    f->paths[0] = mem_strdup(tls->cert_file);
    f->paths[1] = mem_strdup(tls->key_file);
    f->paths[2] = mem_strdup(tls->ca_file);
    if (f->paths[0] == NULL || f->paths[1] == NULL || f->paths[2] == NULL) {
        rpc_tls_files_destroy(f);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    *out_files = f;
    return 0;
}

void rpc_tls_files_destroy(struct rpc_tls_files *f)
{
    if (f == NULL)
        return;
    for (int i = 0; i < FILES; i++)
        mem_free(f->paths[i]);
    pthread_mutex_destroy(&f->lock);
    mem_free(f);
}

bool rpc_tls_files_changed(struct rpc_tls_files *f)
{
    struct file_stamp now[FILES];
    stamp_files(f, now);
    pthread_mutex_lock(&f->lock);
    bool changed = !f->read_once || stamps_differ(f->stamps, now);
    pthread_mutex_unlock(&f->lock);
    return changed;
}

/* Fills pem[i] with C strings; the caller deinits all three in any case. */
static int read_files(struct rpc_tls_files *f, struct buf pem[FILES], struct err *err)
{
    struct file_stamp now[FILES];
    stamp_files(f, now);
    for (int i = 0; i < FILES; i++) {
        buf_init(&pem[i], PEM_BYTES_MAX + 1);
        int rc = buf_read_file(&pem[i], f->paths[i], PEM_BYTES_MAX, err);
        if (rc == 0 && buf_cstr(&pem[i]) == NULL)
            rc = err_set(err, ERR_NOMEM, "out of memory");
        if (rc != 0)
            return rc;
    }
    memcpy(f->stamps, now, sizeof(now));
    f->read_once = true;
    return 0;
}

static void wipe(struct buf pem[FILES])
{
    for (int i = 0; i < FILES; i++) {
        if (pem[i].data != NULL)
            explicit_bzero(pem[i].data, pem[i].cap);
        buf_deinit(&pem[i]);
    }
}

int rpc_tls_client_credentials(struct rpc_tls_files *f, grpc_channel_credentials **out,
                               struct err *err)
{
    struct buf pem[FILES] = {0};
    pthread_mutex_lock(&f->lock);
    int rc = read_files(f, pem, err);
    pthread_mutex_unlock(&f->lock);
    if (rc == 0) {
        grpc_ssl_pem_key_cert_pair pair = {.private_key = buf_cstr(&pem[1]),
                                           .cert_chain = buf_cstr(&pem[0])};
        *out = grpc_ssl_credentials_create_ex(buf_cstr(&pem[2]), &pair, NULL, NULL);
        if (*out == NULL)
            rc = err_set(err, ERR_TLS, "certificate, key or CA file is not usable");
    }
    wipe(pem);
    return rc;
}

/* On a thread of gRPC. */
static grpc_ssl_certificate_config_reload_status
on_fetch(void *user, grpc_ssl_server_certificate_config **config)
{
    struct rpc_tls_files *f = user;
    if (!rpc_tls_files_changed(f))
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    struct buf pem[FILES] = {0};
    pthread_mutex_lock(&f->lock);
    int rc = read_files(f, pem, NULL);
    pthread_mutex_unlock(&f->lock);
    if (rc == 0) {
        grpc_ssl_pem_key_cert_pair pair = {.private_key = buf_cstr(&pem[1]),
                                           .cert_chain = buf_cstr(&pem[0])};
        *config = grpc_ssl_server_certificate_config_create(buf_cstr(&pem[2]), &pair, 1);
        if (*config == NULL)
            rc = ERR_TLS;
    }
    wipe(pem);
    return rc == 0 ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW
                   : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL; /* The old ones stay in use. */
}

int rpc_tls_server_credentials(struct rpc_tls_files *f, grpc_server_credentials **out,
                               struct err *err)
{
    struct buf pem[FILES] = {0};
    int rc = read_files(f, pem, err); /* For the message; gRPC's own fetch follows. */
    wipe(pem);
    f->read_once = false;
    if (rc != 0)
        return rc;
    grpc_ssl_server_credentials_options *options =
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, on_fetch, f);
    *out = options != NULL ? grpc_ssl_server_credentials_create_with_options(options) : NULL;
    if (*out == NULL)
        return err_set(err, ERR_TLS, "certificate, key or CA file is not usable");
    return 0;
}

int rpc_tls_ends(const char *cert_file, int64_t *out_unix_s)
{
    struct tm ends;
    FILE *file = fopen(cert_file, "re");
    if (file == NULL)
        return ERR_NOT_FOUND;
    X509 *cert = PEM_read_X509(file, NULL, NULL, NULL);
    (void)fclose(file);
    if (cert == NULL)
        ERR_clear_error();
    int rc =
        cert != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(cert), &ends) == 1 ? 0 : ERR_CORRUPT;
    X509_free(cert);
    if (rc == 0)
        *out_unix_s = (int64_t)timegm(&ends);
    return rc;
}

bool rpc_address_is_local(const char *address)
{
    struct str a = str_from(address);
    if (str_starts(a, STR("unix:")))
        return true;
    return str_starts(a, STR("127.")) || str_starts(a, STR("[::1]:")) ||
           str_starts(a, STR("localhost:"));
}

/* ---- who is at the other end ---- */

bool rpc_stream_authenticated(const struct rpc_stream *s)
{
    grpc_auth_context *context = grpc_call_auth_context(s->call);
    if (context == NULL)
        return false;
    /* Plain text and local transports have a context too, but name no certificate. */
    grpc_auth_property_iterator it =
        grpc_auth_context_find_properties_by_name(context, GRPC_X509_PEM_CERT_PROPERTY_NAME);
    bool yes = grpc_auth_context_peer_is_authenticated(context) != 0 &&
               grpc_auth_property_iterator_next(&it) != NULL;
    grpc_auth_context_release(context);
    return yes;
}

static bool uri_names(struct str uri, struct str name)
{
    struct str urn = STR("urn:uuid:");
    if (str_starts(uri, urn))
        return str_eq_nocase(str_slice(uri, urn.len, uri.len), name);
    struct str node = STR("/node/");
    if (uri.len < node.len + name.len)
        return false;
    size_t at = uri.len - name.len;
    return str_eq(str_slice(uri, at, uri.len), name) &&
           str_eq(str_slice(uri, at - node.len, at), node);
}

bool rpc_stream_peer_is(const struct rpc_stream *s, struct str name)
{
    if (name.len == 0 || !rpc_stream_authenticated(s))
        return false;
    grpc_auth_context *context = grpc_call_auth_context(s->call);
    bool found = false;
    const grpc_auth_property *p;
    grpc_auth_property_iterator dns =
        grpc_auth_context_find_properties_by_name(context, GRPC_PEER_DNS_PROPERTY_NAME);
    while (!found && (p = grpc_auth_property_iterator_next(&dns)) != NULL)
        found = str_eq_nocase((struct str){.data = p->value, .len = p->value_length}, name);
    grpc_auth_property_iterator uri =
        grpc_auth_context_find_properties_by_name(context, GRPC_PEER_URI_PROPERTY_NAME);
    while (!found && (p = grpc_auth_property_iterator_next(&uri)) != NULL)
        found = uri_names((struct str){.data = p->value, .len = p->value_length}, name);
    grpc_auth_context_release(context);
    return found;
}

/* certs.h: certificates that a test makes for itself: a CA, and what it signs. P-256 keys, so that
 * making one takes a millisecond. Everything aborts on failure: only a broken test setup can. */
#ifndef STEELYARD_TESTS_LIB_CERTS_H
#define STEELYARD_TESTS_LIB_CERTS_H

#include <openssl/evp.h>
#include <openssl/x509.h>

struct certs {
    EVP_PKEY *key;
    X509 *cert;
};

struct certs_spec {
    const char *name;   /* Common name. */
    const char *names;  /* Subject alternative names as OpenSSL writes them: "DNS:a.test,IP:::1". */
    long valid_from_s;  /* From now; 0: a minute ago. */
    long valid_until_s; /* From now; 0: in a day. */
};

/* issuer NULL: signs itself. Without `names` it may sign others. */
struct certs certs_make(const struct certs *issuer, const struct certs_spec *spec);
void certs_free(struct certs *c);
/* PEM files; key_path may be NULL. */
void certs_write(const struct certs *c, const char *cert_path, const char *key_path);

#endif

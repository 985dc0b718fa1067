#include "tests/lib/certs.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define BACKDATED_S 60L
#define A_DAY_S     86400L

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    check(e != NULL && X509_add_ext(cert, e, -1) == 1);
    X509_EXTENSION_free(e);
}

struct certs certs_make(const struct certs *issuer, const struct certs_spec *spec)
{
    static long serial = 1;
    struct certs out = {.key = EVP_EC_gen("P-256"), .cert = X509_new()};
    const struct certs *by = issuer != NULL ? issuer : &out;
    long from_s = spec->valid_from_s != 0 ? spec->valid_from_s : -BACKDATED_S;
    long until_s = spec->valid_until_s != 0 ? spec->valid_until_s : A_DAY_S;
    check(out.key != NULL && out.cert != NULL && X509_set_version(out.cert, 2) == 1);
    check(ASN1_INTEGER_set(X509_get_serialNumber(out.cert), serial++) == 1);
    check(X509_gmtime_adj(X509_getm_notBefore(out.cert), from_s) != NULL);
    check(X509_gmtime_adj(X509_getm_notAfter(out.cert), until_s) != NULL);
    check(X509_NAME_add_entry_by_txt(X509_get_subject_name(out.cert), "CN", MBSTRING_ASC,
                                     (const unsigned char *)spec->name, -1, -1, 0) == 1);
    check(X509_set_issuer_name(out.cert, X509_get_subject_name(by->cert)) == 1);
    check(X509_set_pubkey(out.cert, out.key) == 1);
    if (spec->names != NULL)
        add_extension(out.cert, NID_subject_alt_name, spec->names);
    else
        add_extension(out.cert, NID_basic_constraints, "critical,CA:TRUE");
    check(X509_sign(out.cert, by->key, EVP_sha256()) > 0);
    return out;
}

void certs_free(struct certs *c)
{
    X509_free(c->cert);
    EVP_PKEY_free(c->key);
    *c = (struct certs){0};
}

void certs_write(const struct certs *c, const char *cert_path, const char *key_path)
{
    FILE *f = fopen(cert_path, "w");
    check(f != NULL && PEM_write_X509(f, c->cert) == 1 && fclose(f) == 0);
    if (key_path == NULL)
        return;
    f = fopen(key_path, "w");
    check(f != NULL && PEM_write_PrivateKey(f, c->key, NULL, NULL, 0, NULL, NULL) == 1);
    check(fclose(f) == 0);
}

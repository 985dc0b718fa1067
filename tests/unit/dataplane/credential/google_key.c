#include "tests/unit/dataplane/credential/google_key.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "common/json/json_writer.h"
#include "tests/lib/fault.h"

EVP_PKEY *google_key_make(const char *token_uri, struct buf *out)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    struct json_writer w;
    char *pem;
    assert_non_null(key);
    assert_non_null(bio);
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    long len = BIO_get_mem_data(bio, &pem);
    json_writer_init(&w, out);
    json_writer_begin_object(&w);
    json_writer_key(&w, "type");
    json_writer_text(&w, "service_account");
    json_writer_key(&w, "project_id");
    json_writer_text(&w, "p-1");
    json_writer_key(&w, "private_key_id");
    json_writer_text(&w, "k1");
    json_writer_key(&w, "private_key");
    json_writer_string(&w, (struct str){pem, (size_t)len});
    json_writer_key(&w, "client_email");
    json_writer_text(&w, "us@p-1.iam.gserviceaccount.com");
    if (token_uri != NULL) {
        json_writer_key(&w, "token_uri");
        json_writer_text(&w, token_uri);
    }
    json_writer_end_object(&w);
    assert_int_equal(json_writer_finish(&w), 0);
    BIO_free(bio);
    return key;
}

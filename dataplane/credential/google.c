#include "dataplane/credential/google.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "common/base/url.h"
#include "common/crypto/digest.h"
#include "common/json/json.h"
#include "common/json/json_writer.h"

#define NODES_MAX       256U
#define JWT_BYTES_MAX   16384U
#define SIGNATURE_BYTES 1024U
#define LIFE_S_MAX      86400

/* ---- the account ---- */

int google_split_uri(struct str uri, struct str *out_origin, struct str *out_target)
{
    struct url url;
    if (url_parse(uri, &url) != 0 || uri.len > 1024)
        return ERR_INVALID;
    if (!url.tls && !str_is(url.host, "127.0.0.1") && !str_is(url.host, "localhost") &&
        !str_is(url.host, "::1"))
        return ERR_INVALID;
    *out_origin = str_slice(uri, 0, uri.len - url.path.len);
    *out_target = url.path.len > 0 ? url.path : STR("/");
    return 0;
}

static int take(const struct json *j, struct str key, struct arena *arena, struct str *io)
{
    uint32_t node = json_get(j, JSON_ROOT, key);
    return json_kind(j, node) == JSON_STRING ? json_text(j, node, arena, io) : 0;
}

static int read_members(const struct json *j, struct arena *arena, struct google_account *a)
{
    struct str origin, target;
    if (!json_string_is(j, json_get(j, JSON_ROOT, STR("type")), STR("service_account")))
        return ERR_INVALID;
    int rc = take(j, STR("client_email"), arena, &a->email);
    if (rc == 0)
        rc = take(j, STR("private_key_id"), arena, &a->key_id);
    if (rc == 0)
        rc = take(j, STR("private_key"), arena, &a->key);
    if (rc == 0)
        rc = take(j, STR("token_uri"), arena, &a->token_uri);
    if (rc == 0)
        rc = take(j, STR("project_id"), arena, &a->project);
    if (rc == 0 && (a->email.len == 0 || a->key.len == 0))
        rc = ERR_INVALID;
    return rc == 0 ? google_split_uri(a->token_uri, &origin, &target) : rc;
}

/* Nothing points into the JSON afterwards. */
static int keep(struct arena *arena, struct google_account *a)
{
    struct str *const texts[] = {&a->email, &a->key_id, &a->key, &a->token_uri, &a->project};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        *texts[i] = arena_copy(arena, *texts[i]);
        if (texts[i]->data == NULL)
            return ERR_TOO_LARGE;
    }
    return 0;
}

int google_read_account(struct str json, struct arena *arena, struct google_account *out)
{
    struct google_account a = {.token_uri = STR(GOOGLE_TOKEN_URI)};
    struct json j;
    json_init(&j, NODES_MAX);
    int rc = json_parse(&j, json, NULL);
    if (rc != 0 && rc != ERR_NOMEM)
        rc = ERR_INVALID;
    if (rc == 0)
        rc = read_members(&j, arena, &a);
    if (rc == 0)
        rc = keep(arena, &a);
    json_deinit(&j);
    if (rc == 0)
        *out = a;
    return rc;
}

/* ---- the assertion ---- */

/* base64url without padding (RFC 7515, 2). */
static int put_base64url(struct str data, struct buf *out)
{
    const size_t begin = out->len;
    int rc = base64_encode(data, out);
    if (rc != 0)
        return rc;
    while (out->len > begin && out->data[out->len - 1] == '=')
        out->len--;
    for (size_t i = begin; i < out->len; i++) {
        if (out->data[i] == '+')
            out->data[i] = '-';
        else if (out->data[i] == '/')
            out->data[i] = '_';
    }
    return 0;
}

static void put_member(struct json_writer *w, const char *key, struct str value)
{
    json_writer_key(w, key);
    json_writer_string(w, value);
}

static int put_head(const struct google_account *a, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_writer_begin_object(&w);
    put_member(&w, "alg", STR("RS256"));
    put_member(&w, "typ", STR("JWT"));
    if (a->key_id.len > 0)
        put_member(&w, "kid", a->key_id);
    json_writer_end_object(&w);
    return json_writer_finish(&w);
}

static int put_claims(const struct google_account *a, int64_t now_s, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_writer_begin_object(&w);
    put_member(&w, "iss", a->email);
    put_member(&w, "scope", STR(GOOGLE_SCOPE));
    put_member(&w, "aud", a->token_uri);
    json_writer_key(&w, "iat");
    json_writer_i64(&w, now_s);
    json_writer_key(&w, "exp");
    json_writer_i64(&w, now_s + GOOGLE_LIFE_S);
    json_writer_end_object(&w);
    return json_writer_finish(&w);
}

static EVP_PKEY *read_key(struct str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (key != NULL && EVP_PKEY_base_id(key) != EVP_PKEY_RSA) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

static int put_signature(struct str pem, struct str text, struct buf *out)
{
    unsigned char signature[SIGNATURE_BYTES];
    size_t len = sizeof signature;
    EVP_PKEY *key = read_key(pem);
    EVP_MD_CTX *context = key != NULL ? EVP_MD_CTX_new() : NULL;
    int rc = key != NULL && context == NULL ? ERR_NOMEM : ERR_INVALID;
    if (context != NULL && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(context, signature, &len, (const unsigned char *)text.data, text.len) == 1)
        rc = put_base64url((struct str){(const char *)signature, len}, out);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return rc;
}

int google_print_grant(const struct google_account *account, int64_t now_s, struct buf *out)
{
    struct buf part;
    size_t begin = out->len;
    buf_init(&part, JWT_BYTES_MAX);
    int rc = buf_append_text(
        out, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
    size_t jwt = out->len;
    if (rc == 0)
        rc = put_head(account, &part);
    if (rc == 0)
        rc = put_base64url(buf_str(&part), out);
    buf_clear(&part);
    if (rc == 0)
        rc = buf_append_char(out, '.');
    if (rc == 0)
        rc = put_claims(account, now_s, &part);
    if (rc == 0)
        rc = put_base64url(buf_str(&part), out);
    buf_clear(&part);
    if (rc == 0)
        rc = put_signature(account->key, str_slice(buf_str(out), jwt, out->len), &part);
    if (rc == 0)
        rc = buf_append_char(out, '.');
    if (rc == 0)
        rc = buf_append_str(out, buf_str(&part));
    buf_deinit(&part);
    if (rc != 0)
        out->len = begin;
    return rc;
}

/* ---- the token ---- */

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= ' ' || s.data[i] > '~')
            return false;
    return s.len > 0;
}

int google_read_token(struct str body, struct buf *out, int64_t *out_life_s)
{
    struct json j;
    int64_t life_s;
    json_init(&j, NODES_MAX);
    int rc = json_parse(&j, body, NULL);
    if (rc == 0) {
        struct str token = json_plain(&j, json_get(&j, JSON_ROOT, STR("access_token")));
        rc = json_i64(&j, json_get(&j, JSON_ROOT, STR("expires_in")), 1, LIFE_S_MAX, &life_s);
        if (rc == 0 && is_token(token)) {
            rc = buf_append_str(out, token);
            *out_life_s = life_s;
        } else {
            rc = ERR_PROTOCOL;
        }
    } else if (rc != ERR_NOMEM) {
        rc = ERR_PROTOCOL;
    }
    json_deinit(&j);
    return rc;
}

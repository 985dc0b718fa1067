/* A service account's file, the assertion that its key signs, and the token it is changed for. */
#include <string.h>

#include "common/crypto/digest.h"
#include "common/json/json.h"
#include "dataplane/credential/google.h"
#include "tests/lib/fault.h"
#include "tests/unit/dataplane/credential/google_key.h"

static int read_account(const char *json, struct google_account *out)
{
    static struct arena_pool pool;
    static struct arena arena;
    arena_reset(&arena);
    arena_pool_init(&pool, 0);
    arena_init(&arena, &pool, 65536);
    int rc = google_read_account(str_from(json), &arena, out);
    if (rc != 0)
        arena_reset(&arena);
    return rc;
}

static void what_is_no_account_is_refused(void **state)
{
    static const char *const broken[] = {
        "",
        "{}",
        "[]",
        "{\"type\":\"authorized_user\"}",
        "{\"type\":\"service_account\",\"client_email\":\"a\"}",
        "{\"type\":\"service_account\",\"client_email\":\"a\",\"private_key\":\"b\",\"token_uri\":"
        "\"http://evil.example/token\"}",
        "{\"type\":\"service_account\",\"client_email\":\"a\",\"private_key\":\"b\",\"token_uri\":"
        "\"ftp://x\"}"};
    struct google_account a;
    struct str origin, target;
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_int_equal(read_account(broken[i], &a), ERR_INVALID);
    assert_int_equal(google_split_uri(STR(GOOGLE_TOKEN_URI), &origin, &target), 0);
    assert_true(str_is(origin, "https://oauth2.googleapis.com") && str_is(target, "/token"));
}

/* base64url back into base64. */
static void decode(struct str text, struct buf *out)
{
    struct buf plain;
    buf_init(&plain, 16384);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i] == '-' ? '+' : text.data[i] == '_' ? '/' : text.data[i];
        assert_int_equal(buf_append_char(&plain, c), 0);
    }
    while (plain.len % 4 != 0)
        assert_int_equal(buf_append_char(&plain, '='), 0);
    buf_init(out, 16384);
    assert_int_equal(base64_decode(buf_str(&plain), out), 0);
    buf_deinit(&plain);
}

static void an_assertion_is_signed_with_the_accounts_key(void **state)
{
    struct buf account, grant, claims, signature;
    struct google_account a;
    struct str jwt, head, rest, middle, last;
    (void)state;
    buf_init(&account, 65536);
    buf_init(&grant, 65536);
    EVP_PKEY *key = google_key_make(NULL, &account);
    assert_int_equal(read_account(buf_cstr(&account), &a), 0);
    assert_true(str_is(a.project, "p-1"));
    assert_true(str_is(a.token_uri, GOOGLE_TOKEN_URI));
    assert_int_equal(google_print_grant(&a, 1700000000, &grant), 0);
    ptrdiff_t at = str_search(buf_str(&grant), STR("&assertion="));
    assert_true(at > 0);
    jwt = str_slice(buf_str(&grant), (size_t)at + 11, grant.len);
    (void)str_cut(jwt, '.', &head, &rest);
    (void)str_cut(rest, '.', &middle, &last);
    decode(middle, &claims);
    assert_string_equal(buf_cstr(&claims),
                        "{\"iss\":\"us@p-1.iam.gserviceaccount.com\",\"scope\":\"" GOOGLE_SCOPE
                        "\",\"aud\":\"" GOOGLE_TOKEN_URI
                        "\",\"iat\":1700000000,\"exp\":1700003600}");
    buf_deinit(&claims);
    decode(head, &claims);
    assert_string_equal(buf_cstr(&claims), "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}");
    decode(last, &signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestVerify(context, (const unsigned char *)signature.data, signature.len,
                                      (const unsigned char *)jwt.data, head.len + 1 + middle.len),
                     1);
    EVP_MD_CTX_free(context);
    a.key = STR("no key");
    buf_clear(&grant);
    assert_int_equal(google_print_grant(&a, 0, &grant), ERR_INVALID);
    assert_int_equal(grant.len, 0);
    assert_int_equal(read_account("", &a), ERR_INVALID); /* Frees the arena. */
    EVP_PKEY_free(key);
    buf_deinit(&account);
    buf_deinit(&grant);
    buf_deinit(&claims);
    buf_deinit(&signature);
}

static void a_token_comes_with_its_life(void **state)
{
    static const char *const broken[] = {"",
                                         "{}",
                                         "{\"access_token\":\"a\"}",
                                         "{\"access_token\":\"\",\"expires_in\":10}",
                                         "{\"access_token\":\"a b\",\"expires_in\":10}",
                                         "{\"access_token\":\"a\",\"expires_in\":0}",
                                         "{\"access_token\":\"a\\n\",\"expires_in\":9}",
                                         "<html>"};
    struct buf out;
    int64_t life_s = 0;
    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(google_read_token(STR("{\"access_token\":\"ya29.x\",\"expires_in\":3599,"
                                           "\"token_type\":\"Bearer\"}"),
                                       &out, &life_s),
                     0);
    assert_string_equal(buf_cstr(&out), "ya29.x");
    assert_int_equal(life_s, 3599);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_int_equal(google_read_token(str_from(broken[i]), &out, &life_s), ERR_PROTOCOL);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_account_is_refused),
        cmocka_unit_test(an_assertion_is_signed_with_the_accounts_key),
        cmocka_unit_test(a_token_comes_with_its_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

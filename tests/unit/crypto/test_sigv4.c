/* The signature of AWS against vectors of its public test suite ("aws-sig-v4-test-suite") and of
 * its documentation; names are theirs. */
#include <string.h>

#include "common/crypto/sigv4.h"
#include "tests/lib/fault.h"

#define HOST                                                                                       \
    {                                                                                              \
        {"Host", 4},                                                                               \
        {                                                                                          \
            "example.amazonaws.com", 21                                                            \
        }                                                                                          \
    }
#define DATE                                                                                       \
    {                                                                                              \
        {"X-Amz-Date", 10},                                                                        \
        {                                                                                          \
            "20150830T123600Z", 16                                                                 \
        }                                                                                          \
    }
#define S(text)                                                                                    \
    {                                                                                              \
        "" text, sizeof(text) - 1                                                                  \
    }
static const struct sigv4_keys keys = {.access_key = S("AKIDEXAMPLE"),
                                       .secret_key = S("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")};

static const struct vector {
    const char *name, *method, *path, *query, *body;
    struct sigv4_field fields[6];
    const char *names, *signature;
} vectors[] = {
    {"get-vanilla",
     "GET",
     "/",
     "",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-vanilla-empty-query-key",
     "GET",
     "/",
     "Param1=value1",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
    {"get-vanilla-query-order-key-case",
     "GET",
     "/",
     "Param2=value2&Param1=value1",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    {"get-vanilla-query-order-value",
     "GET",
     "/",
     "Param1=value2&Param1=value1",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"},
    {"get-vanilla-query-unreserved",
     "GET",
     "/",
     "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz="
     "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
    {"get-vanilla-utf8-query",
     "GET",
     "/",
     "\xe1\x88\xb4=bar",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
    {"get-unreserved",
     "GET",
     "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
     "",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
    {"get-utf8",
     "GET",
     "/\xe1\x88\xb4",
     "",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
    {"get-space",
     "GET",
     "/example space/",
     "",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
    {"get-relative",
     "GET",
     "/example/..",
     "",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-slash-dot-slash",
     "GET",
     "/./",
     "",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-slash-pointless-dot",
     "GET",
     "/./example",
     "",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"},
    {"get-slashes",
     "GET",
     "//example//",
     "",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
    {"get-header-key-duplicate",
     "GET",
     "/",
     "",
     "",
     {HOST,
      {S("My-Header1"), S("value2")},
      {S("My-Header1"), S("value2")},
      {S("My-Header1"), S("value1")},
      DATE},
     "host;my-header1;x-amz-date",
     "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
    {"get-header-value-order",
     "GET",
     "/",
     "",
     "",
     {HOST,
      {S("My-Header1"), S("value4")},
      {S("My-Header1"), S("value1")},
      {S("My-Header1"), S("value3")},
      {S("My-Header1"), S("value2")},
      DATE},
     "host;my-header1;x-amz-date",
     "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
    {"get-header-value-trim",
     "GET",
     "/",
     "",
     "",
     {HOST, {S("My-Header1"), S(" value1")}, {S("My-Header2"), S(" \"a   b   c\"")}, DATE},
     "host;my-header1;my-header2;x-amz-date",
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
    {"post-vanilla",
     "POST",
     "/",
     "",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    {"post-vanilla-query",
     "POST",
     "/",
     "Param1=value1",
     "",
     {HOST, DATE},
     "host;x-amz-date",
     "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
    {"post-header-key-sort",
     "POST",
     "/",
     "",
     "",
     {HOST, {S("My-Header1"), S("value1")}, DATE},
     "host;my-header1;x-amz-date",
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
    {"post-header-value-case",
     "POST",
     "/",
     "",
     "",
     {HOST, {S("My-Header1"), S("VALUE1")}, DATE},
     "host;my-header1;x-amz-date",
     "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
    {"post-x-www-form-urlencoded",
     "POST",
     "/",
     "",
     "Param1=value1",
     {{S("Content-Type"), S("application/x-www-form-urlencoded")}, HOST, DATE},
     "content-type;host;x-amz-date",
     "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
    {"post-x-www-form-urlencoded-parameters",
     "POST",
     "/",
     "",
     "Param1=value1",
     {{S("Content-Type"), S("application/x-www-form-urlencoded; charset=utf8")}, HOST, DATE},
     "content-type;host;x-amz-date",
     "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"},
};

static size_t count_fields(const struct vector *v)
{
    size_t count = 0;
    while (count < 6 && v->fields[count].name.len > 0)
        count++;
    return count;
}

static struct sigv4_request request_of(const struct vector *v)
{
    return (struct sigv4_request){
        .method = str_from(v->method),
        .path = str_from(v->path),
        .query = str_from(v->query),
        .fields = v->fields,
        .field_count = count_fields(v),
        .payload = digest_sha256(v->body, strlen(v->body)),
    };
}

static void signatures_are_those_of_the_public_suite(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const struct vector *v = &vectors[i];
        struct sigv4_request request = request_of(v);
        struct buf out, expected;
        buf_init(&out, SIGV4_AUTH_BYTES);
        buf_init(&expected, SIGV4_AUTH_BYTES);
        assert_int_equal(
            buf_printf(&expected,
                       "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/"
                       "aws4_request, SignedHeaders=%s, Signature=%s",
                       v->names, v->signature),
            0);
        assert_int_equal(
            sigv4_sign(&request, &keys, STR("us-east-1"), STR("service"), "20150830T123600Z", &out),
            0);
        if (!str_eq(buf_str(&out), buf_str(&expected)))
            fail_msg("%s: %.*s", v->name, STR_ARG(buf_str(&out)));
        buf_deinit(&out);
        buf_deinit(&expected);
    }
}

static void the_documented_example_is_signed_as_documented(void **state)
{
    static const struct sigv4_field fields[] = {
        {S("content-type"), S("application/x-www-form-urlencoded; charset=utf-8")},
        {S("host"), S("iam.amazonaws.com")},
        DATE,
    };
    const struct sigv4_request request = {.method = STR("GET"),
                                          .path = STR("/"),
                                          .query = STR("Action=ListUsers&Version=2010-05-08"),
                                          .fields = fields,
                                          .field_count = 3,
                                          .payload = digest_sha256("", 0)};
    struct buf out;
    (void)state;
    buf_init(&out, SIGV4_AUTH_BYTES);
    assert_int_equal(
        sigv4_sign(&request, &keys, STR("us-east-1"), STR("iam"), "20150830T123600Z", &out), 0);
    assert_true(str_ends(
        buf_str(&out),
        STR("Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")));
    buf_deinit(&out);
}

static void a_path_that_was_encoded_is_encoded_once_more(void **state)
{
    static const struct sigv4_field fields[] = {HOST, DATE};
    const struct sigv4_request request = {.method = STR("POST"),
                                          .path = STR("/model/us.x-v1%3A0/converse"),
                                          .query = STR("b=%2f&&a"),
                                          .fields = fields,
                                          .field_count = 2,
                                          .payload = digest_sha256("", 0)};
    struct buf out;
    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(sigv4_print_canonical(&request, &out), 0);
    assert_string_equal(
        buf_cstr(&out),
        "POST\n/model/us.x-v1%253A0/converse\na=&b=%2F\nhost:example.amazonaws.com\n"
        "x-amz-date:20150830T123600Z\n\nhost;x-amz-date\n"
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    buf_deinit(&out);
}

static void what_is_too_much_is_refused(void **state)
{
    struct sigv4_field many[SIGV4_HEADERS_MAX + 1];
    char path[2 * SIGV4_SEGMENTS_MAX + 2], query[2 * SIGV4_QUERY_MAX + 2];
    struct sigv4_request request = request_of(&vectors[0]);
    struct sigv4_keys none = keys;
    struct buf out;
    (void)state;
    buf_init(&out, SIGV4_AUTH_BYTES);
#define REFUSED(k)                                                                                 \
    assert_int_equal(sigv4_sign(&request, k, STR("r"), STR("s"), "20150830T123600Z", &out),        \
                     ERR_INVALID);                                                                 \
    assert_int_equal(out.len, 0)
    for (size_t i = 0; i <= SIGV4_HEADERS_MAX; i++)
        many[i] = vectors[0].fields[0];
    request.fields = many;
    request.field_count = SIGV4_HEADERS_MAX + 1;
    REFUSED(&keys);
    request = request_of(&vectors[0]);
    for (size_t i = 0; i <= SIGV4_SEGMENTS_MAX; i++)
        memcpy(path + 2 * i, "/a", 2);
    request.path = (struct str){path, sizeof path};
    REFUSED(&keys);
    request = request_of(&vectors[0]);
    for (size_t i = 0; i <= SIGV4_QUERY_MAX; i++)
        memcpy(query + 2 * i, "a&", 2);
    request.query = (struct str){query, sizeof query};
    REFUSED(&keys);
    request = request_of(&vectors[0]);
    none.secret_key = STR_NULL;
    REFUSED(&none);
    buf_deinit(&out);
    buf_init(&out, 64);
    assert_int_equal(sigv4_sign(&request, &keys, STR("r"), STR("s"), "20150830T123600Z", &out),
                     ERR_TOO_LARGE);
    assert_int_equal(out.len, 0);
    buf_deinit(&out);
}

static void times_and_payloads_are_written_as_they_are_signed(void **state)
{
    static const struct str pieces[] = {S("Param1="), S("value"), S("1")};
    char time[SIGV4_TIME_BYTES];
    struct sha256 whole = digest_sha256("Param1=value1", 13), made;
    (void)state;
    sigv4_time(1440938160, time);
    assert_string_equal(time, "20150830T123600Z");
    sigv4_time(1767225599, time);
    assert_string_equal(time, "20251231T235959Z");
    assert_int_equal(sigv4_payload(pieces, 3, &made), 0);
    assert_memory_equal(&made, &whole, sizeof made);
    assert_int_equal(sigv4_payload(NULL, 0, &made), 0);
    whole = digest_sha256("", 0);
    assert_memory_equal(&made, &whole, sizeof made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_those_of_the_public_suite),
        cmocka_unit_test(the_documented_example_is_signed_as_documented),
        cmocka_unit_test(a_path_that_was_encoded_is_encoded_once_more),
        cmocka_unit_test(what_is_too_much_is_refused),
        cmocka_unit_test(times_and_payloads_are_written_as_they_are_signed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

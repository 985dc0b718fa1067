/* Keys of AWS as operators give them, and what STS says. */
#include <string.h>

#include "dataplane/credential/aws.h"
#include "tests/lib/fault.h"

static void kept_as(const char *given, const char *expected)
{
    struct buf out;
    buf_init(&out, 8192);
    assert_int_equal(aws_keys_normalize(str_from(given), &out), expected != NULL ? 0 : ERR_INVALID);
    if (expected != NULL)
        assert_string_equal(buf_cstr(&out), expected);
    buf_deinit(&out);
}

static void keys_are_taken_in_the_forms_that_programs_print(void **state)
{
    struct sigv4_keys keys;
    (void)state;
    kept_as("AKID:sec/ret+", "AKID:sec/ret+");
    kept_as(" AKID:secret:to/ken== ", "AKID:secret:to/ken==");
    kept_as("{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"B\",\"Version\":1}", "A:B");
    kept_as("{\"Credentials\":{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"B\",\"SessionToken\":"
            "\"C\"}}",
            "A:B:C");
    kept_as("{\"aws_access_key_id\":\"A\",\"aws_secret_access_key\":\"B\",\"aws_session_token\":"
            "\"C\"}",
            "A:B:C");
    kept_as("", NULL);
    kept_as("AKID", NULL);
    kept_as("AKID:", NULL);
    kept_as(":secret", NULL);
    kept_as("AKID:se cret", NULL);
    kept_as("AKID:secret:tok\nen", NULL);
    kept_as("AKID:secret:a:b", NULL);
    kept_as("{\"AccessKeyId\":\"A\"}", NULL);
    kept_as("{broken", NULL);
    assert_int_equal(aws_keys_read(STR("A:B:C"), &keys), 0);
    assert_true(str_is(keys.access_key, "A") && str_is(keys.secret_key, "B"));
    assert_true(str_is(keys.token, "C"));
    assert_int_equal(aws_keys_read(STR("A:B"), &keys), 0);
    assert_int_equal(keys.token.len, 0);
    assert_int_equal(aws_keys_read(STR("A"), &keys), ERR_INVALID);
}

static void a_role_is_asked_for_by_a_form(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(
        aws_print_assume(STR("arn:aws:iam::1:role/r"), STR("s"), STR("a.b-c_d=="), &out), 0);
    assert_string_equal(buf_cstr(&out),
                        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3A"
                        "iam%3A%3A1%3Arole%2Fr&RoleSessionName=s&WebIdentityToken=a.b-c_d%3D%3D");
    buf_deinit(&out);
}

#define REPLY(until)                                                                               \
    "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"      \
    "<AssumeRoleWithWebIdentityResult><Credentials><SessionToken>TOK</SessionToken>"               \
    "<SecretAccessKey>SEC</SecretAccessKey><Expiration>" until "</Expiration><AccessKeyId>ASIA"    \
    "</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>"                               \
    "</AssumeRoleWithWebIdentityResponse>"

static void a_reply_holds_keys_and_their_end(void **state)
{
    static const char whole[] = REPLY("2026-11-21T19:00:00Z");
    struct buf out;
    int64_t until_s = 0;
    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(aws_read_assumed(str_from(whole), &out, &until_s), 0);
    assert_string_equal(buf_cstr(&out), "ASIA:SEC:TOK");
    assert_int_equal(until_s, 1795287600);
    /* Cut anywhere before its end it is none. */
    size_t last = (size_t)str_search(str_from(whole), STR("</Credentials>")) + 13;
    for (size_t len = 0; len <= last; len++)
        assert_int_equal(aws_read_assumed((struct str){whole, len}, &out, &until_s), ERR_PROTOCOL);
    buf_deinit(&out);
    assert_true(str_is(aws_read_error_code(STR("<Error><Code>ExpiredTokenException</Code>")),
                       "ExpiredTokenException"));
    assert_int_equal(aws_read_error_code(STR("<Code>a b</Code>")).len, 0);
    assert_int_equal(aws_read_error_code(STR("{}")).len, 0);
}

static void times_are_read_as_rfc_3339(void **state)
{
    static const char *const broken[] = {"",
                                         "2026-11-21T19:00:00",
                                         "2026-13-21T19:00:00Z",
                                         "2026-11-21 19:00:00Z",
                                         "2026-11-21T24:00:00Z",
                                         "2026-11-21T19:00:00+01:00",
                                         "2026-11-2xT19:00:00Z",
                                         "1969-11-21T19:00:00Z"};
    int64_t s;
    (void)state;
    assert_int_equal(aws_read_time(STR("1970-01-01T00:00:00Z"), &s), 0);
    assert_int_equal(s, 0);
    assert_int_equal(aws_read_time(STR("2000-02-29T23:59:59.123Z"), &s), 0);
    assert_int_equal(s, 951868799);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_int_equal(aws_read_time(str_from(broken[i]), &s), ERR_INVALID);
}

static void a_region_is_read_off_the_host(void **state)
{
    (void)state;
#define REGION(host) aws_region_of(STR(host))
    assert_true(str_is(REGION("bedrock-runtime.us-east-1.amazonaws.com"), "us-east-1"));
    assert_true(
        str_is(REGION("bedrock-runtime-fips.us-gov-west-1.amazonaws.com"), "us-gov-west-1"));
    assert_true(str_is(REGION("bedrock-runtime.cn-north-1.amazonaws.com.cn"), "cn-north-1"));
    assert_true(str_is(REGION("bedrock-runtime.eu-west-1.api.aws"), "eu-west-1"));
    assert_int_equal(REGION("bedrock-runtime..amazonaws.com").len, 0);
    assert_int_equal(REGION("bedrock.example.com").len, 0);
    assert_int_equal(REGION("bedrock-runtime.a.b.amazonaws.com").len, 0);
    assert_int_equal(REGION("bedrock-runtime.amazonaws.com").len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_taken_in_the_forms_that_programs_print),
        cmocka_unit_test(a_role_is_asked_for_by_a_form),
        cmocka_unit_test(a_reply_holds_keys_and_their_end),
        cmocka_unit_test(times_are_read_as_rfc_3339),
        cmocka_unit_test(a_region_is_read_off_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

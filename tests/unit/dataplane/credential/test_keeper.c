/* Tokens fetched from fakes of STS, Google's token endpoint and its metadata server on loopback:
 * at first, again before they run out, after failures; on a clock of the test's own. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/net/fetch.h"
#include "common/net/httpd.h"
#include "dataplane/credential/keeper.h"
#include "tests/lib/calm.h"
#include "tests/lib/fault.h"
#include "tests/lib/wire.h"
#include "tests/unit/dataplane/credential/google_key.h"

static uint64_t ahead_ms; /* Of the true clocks. */
static const struct clock_source *no_source;

static uint64_t mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec + ahead_ms * 1000000U;
}

static int64_t wall_us(void)
{
    return INT64_C(1795284000000000) + (int64_t)ahead_ms * 1000; /* 2026-11-21T18:00:00Z */
}

struct rig {
    uv_loop_t loop;
    struct httpd *server;
    struct keeper *keeper;
    unsigned asked;
    unsigned status; /* Of the next answers. */
    const char *answer;
    char path[128];
    char body[4096];
    char flavor[32];
    char file[64];
    bool closed;
};

static struct rig *rig_of_env; /* What env reads. */
static bool without_role;
static char url[64], host[64];

static const char *env(const char *name)
{
    if (strcmp(name, "AWS_ROLE_ARN") == 0)
        return without_role ? NULL : "arn:aws:iam::1:role/r";
    if (strcmp(name, "AWS_WEB_IDENTITY_TOKEN_FILE") == 0)
        return rig_of_env->file;
    if (strcmp(name, "AWS_ENDPOINT_URL_STS") == 0)
        return url;
    return strcmp(name, "GCE_METADATA_HOST") == 0 ? host : NULL;
}

static void on_request(void *arg, struct httpd_request *req)
{
    struct rig *r = arg;
    r->asked++;
    assert_true(str_copy(httpd_path(req), r->path, sizeof r->path));
    assert_true(str_copy(httpd_body(req), r->body, sizeof r->body));
    (void)str_copy(httpd_header(req, STR("metadata-flavor")), r->flavor, sizeof r->flavor);
    httpd_reply(req, r->status, STR("text/plain"), str_from(r->answer));
}

static void note(void *arg)
{
    *(bool *)arg = true;
}

static int setup(void **state)
{
    static struct rig r;
    static const struct clock_source source = {.mono_ns = mono_ns, .wall_us = wall_us};
    struct err err = {0};
    memset(&r, 0, sizeof r);
    *state = rig_of_env = &r;
    ahead_ms = 0;
    without_role = false;
    clock_set_source(&source);
    assert_int_equal(fetch_global_init(&err), 0);
    calm_clock();
    assert_int_equal(uv_loop_init(&r.loop), 0);
    const struct httpd_config config = {
        .address = "127.0.0.1:0", .on_request = on_request, .arg = &r};
    assert_int_equal(httpd_start(&r.loop, &config, &r.server, &err), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", httpd_port(r.server));
    snprintf(host, sizeof host, "127.0.0.1:%u", httpd_port(r.server));
    snprintf(r.file, sizeof r.file, "/tmp/steelyard-keeper-XXXXXX");
    int fd = mkstemp(r.file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "the.jwt\n", 8), 8);
    close(fd);
    const struct keeper_options options = {.loop = &r.loop, .env = env};
    r.keeper = keeper_create(&options);
    assert_non_null(r.keeper);
    r.status = 200;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    bool server_closed = false;
    keeper_close(r->keeper, note, &r->closed);
    httpd_close(r->server, note, &server_closed);
    while (!r->closed || !server_closed)
        uv_run(&r->loop, UV_RUN_ONCE);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    fetch_global_deinit();
    clock_set_source(no_source);
    (void)unlink(r->file);
    return 0;
}

struct wait {
    struct rig *r;
    uint64_t fetched, failed;
};

static bool reached(void *arg)
{
    const struct wait *w = arg;
    struct keeper_status s;
    keeper_get_status(w->r->keeper, &s);
    return s.fetched >= w->fetched && s.failed >= w->failed;
}

static void wait_for(struct rig *r, uint64_t fetched, uint64_t failed)
{
    struct wait w = {r, fetched, failed};
    assert_true(wire_run(&r->loop, reached, &w));
}

static void shows(struct credential *c, const char *expected)
{
    struct arena_pool pool;
    struct arena arena;
    struct str text;
    arena_pool_init(&pool, 0);
    arena_init(&arena, &pool, 16384);
    int rc = credential_get(c, clock_mono_ms(), &arena, &text);
    assert_int_equal(rc, expected != NULL ? 0 : ERR_UNAUTHENTICATED);
    if (expected != NULL)
        assert_true(str_is(text, expected));
    arena_reset(&arena);
    arena_pool_deinit(&pool);
}

#define STS(key, until)                                                                            \
    "<R><Credentials><AccessKeyId>" key "</AccessKeyId><SecretAccessKey>S</SecretAccessKey>"       \
    "<SessionToken>T</SessionToken><Expiration>" until "</Expiration></Credentials></R>"

static struct credential *take(struct rig *r, enum keeper_kind kind, struct str secret)
{
    struct credential *c = NULL;
    assert_int_equal(keeper_take(r->keeper, kind, secret, STR("us-east-1"), &c), 0);
    return c;
}

/* Time goes by; the keeper looks at it again when somebody takes of it. */
static void pass(struct rig *r, uint64_t ms, enum keeper_kind kind)
{
    ahead_ms += ms;
    credential_unref(take(r, kind, STR_NULL));
}

static void a_web_identity_becomes_keys_that_are_renewed(void **state)
{
    struct rig *r = *state;
    r->answer = STS("ONE", "2026-11-21T19:00:00Z");
    struct credential *c = take(r, KEEPER_AWS_WEB_IDENTITY, STR_NULL);
    shows(c, NULL);
    wait_for(r, 1, 0);
    shows(c, "ONE:S:T");
    assert_string_equal(r->path, "/");
    assert_non_null(strstr(r->body, "WebIdentityToken=the.jwt"));
    assert_non_null(strstr(r->body, "RoleSessionName=steelyard"));
    /* Before seven tenths of an hour nothing is asked; after eight it is. */
    r->answer = STS("TWO", "2026-11-21T20:00:00Z");
    pass(r, 41 * 60000, KEEPER_AWS_WEB_IDENTITY);
    wire_run_turns(&r->loop, 20);
    assert_int_equal(r->asked, 1);
    pass(r, 8 * 60000, KEEPER_AWS_WEB_IDENTITY);
    wait_for(r, 2, 0);
    shows(c, "TWO:S:T");
    credential_unref(c);
}

static void what_cannot_be_renewed_serves_until_it_expires(void **state)
{
    struct rig *r = *state;
    r->answer = STS("ONE", "2026-11-21T19:00:00Z");
    struct credential *c = take(r, KEEPER_AWS_WEB_IDENTITY, STR_NULL);
    wait_for(r, 1, 0);
    r->status = 403;
    r->answer = "<Error><Code>AccessDenied</Code></Error>";
    pass(r, 50 * 60000, KEEPER_AWS_WEB_IDENTITY);
    wait_for(r, 1, 1);
    shows(c, "ONE:S:T");
    pass(r, 11 * 60000, KEEPER_AWS_WEB_IDENTITY);
    shows(c, NULL);
    wait_for(r, 1, 2);
    r->status = 200;
    r->answer = STS("TWO", "2026-11-21T21:00:00Z");
    pass(r, 60000, KEEPER_AWS_WEB_IDENTITY);
    wait_for(r, 2, 2);
    shows(c, "TWO:S:T");
    credential_unref(c);
}

static void answers_that_are_none_are_failures(void **state)
{
    static const char *const broken[] = {"", "<html>", STS("A", "soon"),
                                         STS("A", "2026-11-21T18:00:01Z") /* As good as over. */};
    struct rig *r = *state;
    r->answer = broken[0];
    struct credential *c = take(r, KEEPER_AWS_WEB_IDENTITY, STR_NULL);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        r->answer = broken[i];
        pass(r, 0, KEEPER_AWS_WEB_IDENTITY);
        wait_for(r, 0, i + 1);
        shows(c, NULL);
        if (i + 1 < sizeof broken / sizeof broken[0])
            ahead_ms += 60000;
    }
    assert_int_equal(unlink(r->file), 0);
    pass(r, 60000, KEEPER_AWS_WEB_IDENTITY);
    wait_for(r, 0, 5);
    assert_int_equal(r->asked, 4);
    credential_unref(c);
}

static void an_account_becomes_a_token(void **state)
{
    struct rig *r = *state;
    struct buf account;
    char uri[128];
    buf_init(&account, 65536);
    snprintf(uri, sizeof uri, "%s/token", url);
    EVP_PKEY_free(google_key_make(uri, &account));
    r->answer = "{\"access_token\":\"ya29.x\",\"expires_in\":3599}";
    struct credential *c = take(r, KEEPER_GOOGLE_ACCOUNT, buf_str(&account));
    wait_for(r, 1, 0);
    shows(c, "ya29.x");
    assert_string_equal(r->path, "/token");
    assert_non_null(strstr(r->body, "grant-type%3Ajwt-bearer&assertion=ey"));
    credential_unref(c);
    buf_deinit(&account);
}

static void the_metadata_server_is_asked_by_its_name(void **state)
{
    struct rig *r = *state;
    r->answer = "{\"access_token\":\"ya29.m\",\"expires_in\":600}";
    struct credential *c = take(r, KEEPER_GOOGLE_METADATA, STR_NULL);
    wait_for(r, 1, 0);
    shows(c, "ya29.m");
    assert_string_equal(r->path, "/computeMetadata/v1/instance/service-accounts/default/token");
    assert_string_equal(r->flavor, "Google");
    credential_unref(c);
}

static void one_source_is_asked_once_and_let_go_of(void **state)
{
    struct rig *r = *state;
    struct keeper_status s;
    r->answer = "{\"access_token\":\"ya29.m\",\"expires_in\":600}";
    struct credential *a = take(r, KEEPER_GOOGLE_METADATA, STR_NULL);
    struct credential *b = take(r, KEEPER_GOOGLE_METADATA, STR_NULL);
    assert_ptr_equal(a, b);
    wait_for(r, 1, 0);
    keeper_get_status(r->keeper, &s);
    assert_int_equal(s.sources, 1);
    assert_int_equal(s.valid, 1);
    credential_unref(a);
    pass(r, 500000, KEEPER_GOOGLE_METADATA);
    wait_for(r, 2, 0);
    assert_int_equal(r->asked, 2);
    credential_unref(b);
    /* Nobody holds it: the next look lets go of it. */
    ahead_ms += 500000;
    r->answer = STS("ONE", "2026-11-21T20:00:00Z");
    struct credential *c = take(r, KEEPER_AWS_WEB_IDENTITY, STR_NULL);
    wait_for(r, 3, 0);
    keeper_get_status(r->keeper, &s);
    assert_int_equal(s.sources, 1);
    credential_unref(c);
}

static void what_cannot_be_fetched_is_refused(void **state)
{
    struct rig *r = *state;
    struct credential *c = NULL;
    assert_int_equal(keeper_take(r->keeper, KEEPER_GOOGLE_ACCOUNT, STR("{}"), STR_NULL, &c),
                     ERR_INVALID);
    without_role = true;
    assert_int_equal(keeper_take(r->keeper, KEEPER_AWS_WEB_IDENTITY, STR_NULL, STR("r"), &c),
                     ERR_NOT_FOUND);
    assert_int_equal(keeper_take(NULL, KEEPER_AWS_KEYS, STR("no keys"), STR_NULL, &c), ERR_INVALID);
    assert_null(c);
    assert_int_equal(keeper_take(NULL, KEEPER_AWS_KEYS, STR("A:B"), STR_NULL, &c), 0);
    shows(c, "A:B");
    credential_unref(c);
}

static void it_ends_amid_a_fetch(void **state)
{
    struct rig *r = *state;
    r->answer = "";
    struct credential *c = take(r, KEEPER_GOOGLE_METADATA, STR_NULL);
    while (r->asked == 0)
        uv_run(&r->loop, UV_RUN_ONCE);
    credential_unref(c); /* teardown closes while the answer is on its way. */
}

static void memory_that_is_refused_is_told(void **state)
{
    struct rig *r = *state;
    bool fired = true;
    struct buf account;
    char uri[128];
    buf_init(&account, 65536);
    snprintf(uri, sizeof uri, "%s/token", url);
    EVP_PKEY_free(google_key_make(uri, &account));
    r->answer = "{\"access_token\":\"ya29.x\",\"expires_in\":3599}";
    for (unsigned n = 0; fired; n++) {
        struct credential *c = NULL;
        fault_arm_alloc(n);
        int rc = keeper_take(r->keeper, KEEPER_GOOGLE_ACCOUNT, buf_str(&account), STR_NULL, &c);
        fired = fault_disarm();
        assert_int_equal(rc == 0, c != NULL);
        if (!fired)
            assert_int_equal(rc, 0);
        credential_unref(c);
    }
    buf_deinit(&account);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_web_identity_becomes_keys_that_are_renewed),
        TEST(what_cannot_be_renewed_serves_until_it_expires),
        TEST(answers_that_are_none_are_failures),
        TEST(an_account_becomes_a_token),
        TEST(the_metadata_server_is_asked_by_its_name),
        TEST(one_source_is_asked_once_and_let_go_of),
        TEST(what_cannot_be_fetched_is_refused),
        TEST(it_ends_amid_a_fetch),
        TEST(memory_that_is_refused_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

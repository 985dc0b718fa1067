/* The access line: the same fields in the same order, however it is made. */
#include "tests/unit/dataplane/node/rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

#define ASK "{\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define OK_REPLY                                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 155\r\n\r\n"             \
    "{\"model\":\"up-small\",\"choices\":[{\"message\":{\"content\":\"hello\"},\"finish_reason\":" \
    "\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}}"
#define POST                                                                                       \
    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"          \
    "Authorization: Bearer " RIG_KEY "\r\n"
#define GET "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " RIG_KEY "\r\n"

/* What differs between two requests that are alike. */
static void mask(char *line)
{
    static const char *const varying[] = {"\"ts\":\"", "\"decision_id\":\"", "\"dur_ms\":"};
    for (size_t i = 0; i < sizeof varying / sizeof varying[0]; i++) {
        char *at = strstr(line, varying[i]);
        assert_non_null(at);
        at += strlen(varying[i]);
        size_t len = strcspn(at, "\",}");
        memmove(at, at + len, strlen(at + len) + 1);
    }
}

/* One request, and the line that it leaves. */
static void access_line(const char *request, bool gathered, char *out, size_t out_bytes)
{
    struct rig r;
    struct rig_answer a;
    int fds[2];
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = OK_REPLY});
    rig_script(&r, 1, (struct rig_script){.reply = OK_REPLY});
    r.shared.settings.access_log = true;
    assert_int_equal(pipe(fds), 0);
    (void)fflush(stdout);
    int real = dup(STDOUT_FILENO);
    assert_int_equal(dup2(fds[1], STDOUT_FILENO), STDOUT_FILENO);
    log_init("test", LOG_INFO, LOG_JSON);
    if (gathered)
        log_gather_begin();
    rig_exchange_raw(&r, request, strlen(request), &a);
    log_gather_end();
    assert_int_equal(dup2(real, STDOUT_FILENO), STDOUT_FILENO);
    close(real);
    log_init("test", LOG_ERROR, LOG_JSON);
    ssize_t n = read(fds[0], out, out_bytes - 1);
    assert_true(n > 0);
    out[n] = '\0';
    close(fds[0]);
    close(fds[1]);
    buf_deinit(&a.body);
    rig_stop(&r);
    mask(out);
}

static void check(const char *request, const char *wanted)
{
    char made[9000], written[9000];
    access_line(request, true, made, sizeof made);
    access_line(request, false, written, sizeof written);
    assert_string_equal(made, written);
    assert_string_equal(made, wanted);
}

#define BEGIN "{\"ts\":\"\",\"level\":\"info\",\"msg\":\"request\",\"component\":\"test\","

static void a_request_leaves_one_line_made_or_written(void **state)
{
    (void)state;
    char request[1000];
    (void)snprintf(request, sizeof request,
                   POST "x-request-id: mine\r\nContent-Length: %zu\r\n\r\n%s", strlen(ASK), ASK);
    check(request, BEGIN "\"method\":\"POST\",\"path\":\"/v1/chat/completions\",\"code\":200,"
                         "\"request_id\":\"mine\",\"decision_id\":\"\",\"route\":\"auto\","
                         "\"served\":\"one/up-small\",\"ttft_ms\":0,\"dur_ms\":,\"tokens_in\":9,"
                         "\"tokens_out\":4,\"cost_usd\":\"0.000017\",\"attempts\":1,"
                         "\"key_id\":\"0123456789\",\"client_gone\":false}\n");
}

static void b45_a_path_that_needs_an_escape_gets_one(void **state)
{
    (void)state;
    check("GET /v1/\"quoted\" HTTP/1.1\r\nHost: x\r\nx-request-id: mine\r\n\r\n",
          BEGIN "\"method\":\"GET\",\"path\":\"/v1/\\\"quoted\\\"\",\"code\":404,\"request_id\":"
                "\"mine\",\"decision_id\":\"\",\"route\":\"\",\"served\":\"\",\"ttft_ms\":0,"
                "\"dur_ms\":,\"tokens_in\":0,\"tokens_out\":0,\"cost_usd\":\"0\",\"attempts\":0,"
                "\"key_id\":\"\",\"client_gone\":false}\n");
}

static void what_decides_nothing_leaves_a_line_too(void **state)
{
    (void)state;
    check(GET "x-request-id: mine\r\n\r\n",
          BEGIN "\"method\":\"GET\",\"path\":\"/v1/models\",\"code\":200,\"request_id\":\"mine\","
                "\"decision_id\":\"\",\"route\":\"\",\"served\":\"\",\"ttft_ms\":0,\"dur_ms\":,"
                "\"tokens_in\":0,\"tokens_out\":0,\"cost_usd\":\"0\",\"attempts\":0,"
                "\"key_id\":\"0123456789\",\"client_gone\":false}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_leaves_one_line_made_or_written),
        cmocka_unit_test(b45_a_path_that_needs_an_escape_gets_one),
        cmocka_unit_test(what_decides_nothing_leaves_a_line_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

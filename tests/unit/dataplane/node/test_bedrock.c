/* Callers at a fake Bedrock, which checks the signature of what it is sent as AWS does, from the
 * bytes that came, and streams its frames. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto/digest.h"
#include "control.pb-c.h"
#include "dataplane/credential/keeper.h"
#include "tests/lib/aws_encode.h"
#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rig.h"

#define SECRET   "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define KEYS     "AKIDEXAMPLE:" SECRET
#define AWS_KEYS STEELYARD__CONTROL__V1__CREDENTIAL__CREDENTIAL_AWS_KEYS
#define AWS_WEB  STEELYARD__CONTROL__V1__CREDENTIAL__CREDENTIAL_AWS_WEB_IDENTITY

#define MODEL "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
#define FRAMES                                                                                     \
    "messageStart {\"role\":\"assistant\"}\n"                                                      \
    "contentBlockDelta {\"contentBlockIndex\":0,\"delta\":{\"text\":\"hello\"}}\n"                 \
    "contentBlockStop {\"contentBlockIndex\":0}\n"
#define FRAMES_END                                                                                 \
    "messageStop {\"stopReason\":\"end_turn\"}\n"                                                  \
    "metadata {\"usage\":{\"inputTokens\":10,\"outputTokens\":5,\"totalTokens\":15}}\n"
#define WHOLE_REPLY                                                                                \
    "{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":[{\"text\":\"hello\"}]}},"       \
    "\"stopReason\":\"end_turn\",\"usage\":{\"inputTokens\":10,\"outputTokens\":5}}"
#define CHUNKED "Transfer-Encoding: chunked\r\n\r\n"

static const struct rig_options bedrock = {.types = {"bedrock", "openai"},
                                           .secret = KEYS,
                                           .credential = AWS_KEYS,
                                           .region = "us-west-2",
                                           .small_there = MODEL};

/* ---- the server's side of a signature ---- */

static struct str between(struct str text, const char *from, const char *to)
{
    ptrdiff_t at = str_search(text, str_from(from));
    assert_true(at >= 0);
    struct str rest = str_slice(text, (size_t)at + strlen(from), text.len);
    ptrdiff_t end = str_search(rest, str_from(to));
    assert_true(end >= 0);
    return str_slice(rest, 0, (size_t)end);
}

static void hmac(const void *key, size_t key_len, struct str text, uint8_t *out)
{
    unsigned len = 0;
    assert_non_null(HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text.data,
                         text.len, out, &len));
    assert_int_equal(len, 32);
}

/* The value of a field as it came, names in any case. */
static struct str field(struct str head, struct str name)
{
    struct str line, rest = head, key, value;
    while (rest.len > 0) {
        ptrdiff_t end = str_search(rest, STR("\r\n"));
        line = end >= 0 ? str_slice(rest, 0, (size_t)end) : rest;
        rest = end >= 0 ? str_slice(rest, (size_t)end + 2, rest.len) : STR_NULL;
        if (str_cut(line, ':', &key, &value) && str_eq_nocase(key, name))
            return str_trim(value);
    }
    fail_msg("no %.*s", STR_ARG(name));
    return STR_NULL;
}

/* Each byte of the path that is not unreserved or a slash, once more. */
static void put_path(struct buf *out, struct str path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (path.data[i] == '%')
            assert_int_equal(buf_append_text(out, "%25"), 0);
        else
            assert_int_equal(buf_append_char(out, path.data[i]), 0);
    }
}

static void is_signed(const struct rig *r, const char *names, const char *region)
{
    struct str all = buf_str(&r->providers[0].last);
    ptrdiff_t end = str_search(all, STR("\r\n\r\n"));
    assert_true(end >= 0);
    struct str head = str_slice(all, 0, (size_t)end + 2);
    struct str body = str_slice(all, (size_t)end + 4, all.len);
    struct str auth = field(head, STR("authorization"));
    struct str date = field(head, STR("x-amz-date"));
    struct str signed_names = between(auth, "SignedHeaders=", ",");
    struct str name, rest = signed_names;
    struct sha256 digest = digest_sha256(body.data, body.len);
    char hex[SHA256_HEX_BYTES];
    uint8_t key[32], mac[32];
    struct buf text, string;
    assert_true(str_is(signed_names, names));
    buf_init(&text, 65536);
    buf_init(&string, 4096);
    /* The canonical request. */
    assert_int_equal(buf_append_text(&text, "POST\n"), 0);
    put_path(&text, between(head, "POST ", " HTTP/1.1"));
    assert_int_equal(buf_append_text(&text, "\n\n"), 0);
    while (rest.len > 0) {
        (void)str_cut(rest, ';', &name, &rest);
        assert_int_equal(
            buf_printf(&text, "%.*s:%.*s\n", STR_ARG(name), STR_ARG(field(head, name))), 0);
    }
    hex_encode(digest.bytes, SHA256_BYTES, hex);
    assert_int_equal(buf_printf(&text, "\n%.*s\n%s", STR_ARG(signed_names), hex), 0);
    digest = digest_sha256(text.data, text.len);
    hex_encode(digest.bytes, SHA256_BYTES, hex);
    /* The string to sign, and the key. */
    assert_int_equal(buf_printf(&string, "AWS4-HMAC-SHA256\n%.*s\n%.*s/%s/bedrock/aws4_request\n%s",
                                STR_ARG(date), 8, date.data, region, hex),
                     0);
    hmac("AWS4" SECRET, strlen("AWS4" SECRET), str_slice(date, 0, 8), key);
    hmac(key, 32, str_from(region), key);
    hmac(key, 32, STR("bedrock"), key);
    hmac(key, 32, STR("aws4_request"), key);
    hmac(key, 32, buf_str(&string), mac);
    hex_encode(mac, 32, hex);
    assert_true(str_ends(auth, str_from(hex)));
    buf_deinit(&text);
    buf_deinit(&string);
}

/* ---- its answers ---- */

static void script_frames(struct rig *r, const char *lines, struct buf *reply, size_t piece)
{
    struct buf frames;
    buf_init(&frames, 65536);
    buf_init(reply, 65536);
    assert_int_equal(aws_encode_lines(&frames, str_from(lines)), 0);
    assert_int_equal(buf_printf(reply,
                                "HTTP/1.1 200 OK\r\nContent-Type: "
                                "application/vnd.amazon.eventstream\r\nContent-Length: %zu\r\n\r\n",
                                frames.len),
                     0);
    assert_int_equal(buf_append_str(reply, buf_str(&frames)), 0);
    buf_deinit(&frames);
    rig_script(r, 0,
               (struct rig_script){.reply = reply->data, .reply_len = reply->len, .piece = piece});
}

static void ask(struct rig *r, const char *path, const char *body, struct rig_answer *out)
{
    static char request[8192];
    struct buf b = {.data = request, .cap = sizeof request, .max = sizeof request};
    assert_int_equal(buf_printf(&b,
                                "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " RIG_KEY
                                "\r\nContent-Length: %zu\r\n\r\n%s",
                                path, strlen(body), body),
                     0);
    rig_exchange_raw(r, b.data, b.len, out);
}

static bool sent(const struct rig *r, const char *text)
{
    return str_search(buf_str(&r->providers[0].last), str_from(text)) >= 0;
}

static bool says(const struct rig_answer *a, const char *text)
{
    return str_search(buf_str(&a->body), str_from(text)) >= 0;
}

static void see(const Steelyard__Telemetry__V1__Decision *row, void *arg)
{
    uint32_t *tokens = arg;
    if (row->n_attempt > 0)
        *tokens =
            row->attempt[row->n_attempt - 1]->in * 100 + row->attempt[row->n_attempt - 1]->out;
}

/* ---- tests ---- */

static void each_attempt_is_signed_over_what_is_sent(void **state)
{
    struct rig r;
    struct rig_answer a;
    uint32_t tokens = 0;
    (void)state;
    rig_start(&r, &bedrock);
    r.on_row = see;
    r.on_row_arg = &tokens;
    rig_script(
        &r, 0,
        (struct rig_script){.reply = replies_make(JSON_HEAD CHUNKED, WHOLE_REPLY, "0\r\n\r\n")});
    ask(&r, "/v1/chat/completions", ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(
        sent(&r, "POST /model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse HTTP"));
    assert_true(sent(&r, "Credential=AKIDEXAMPLE/"));
    assert_false(sent(&r, SECRET));
    assert_false(sent(&r, "x-amz-security-token"));
    is_signed(&r, "content-type;host;x-amz-date", "us-west-2");
    assert_true(says(&a, "\"content\":\"hello\""));
    assert_true(says(&a, "\"model\":\"small\""));
    buf_deinit(&a.body);
    rig_stop(&r);
    assert_int_equal(tokens, 1005);
}

static void a_sessions_token_goes_along_and_is_signed(void **state)
{
    struct rig_options o = bedrock;
    struct rig r;
    struct rig_answer a;
    (void)state;
    o.secret = "{\"AccessKeyId\":\"AKIDEXAMPLE\",\"SecretAccessKey\":\"" SECRET
               "\",\"SessionToken\":\"the/token==\"}";
    rig_start(&r, &o);
    rig_script(
        &r, 0,
        (struct rig_script){.reply = replies_make(JSON_HEAD CHUNKED, WHOLE_REPLY, "0\r\n\r\n")});
    ask(&r, "/v1/chat/completions", ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(sent(&r, "x-amz-security-token: the/token==\r\n"));
    is_signed(&r, "content-type;host;x-amz-date;x-amz-security-token", "us-west-2");
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void an_api_key_of_bedrock_is_a_bearer(void **state)
{
    struct rig_options o = bedrock;
    struct rig r;
    struct rig_answer a;
    (void)state;
    o.secret = "the-key";
    o.credential = 0;
    rig_start(&r, &o);
    rig_script(
        &r, 0,
        (struct rig_script){.reply = replies_make(JSON_HEAD CHUNKED, WHOLE_REPLY, "0\r\n\r\n")});
    ask(&r, "/v1/chat/completions", ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(sent(&r, "authorization: Bearer the-key\r\n"));
    assert_false(sent(&r, "x-amz-date"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void frames_are_streamed_in_each_callers_dialect(void **state)
{
    static const struct {
        const char *path, *body, *text, *end;
    } callers[] = {
        {"/v1/chat/completions", ASK_STREAM, "\"content\":\"hello\"", "data: [DONE]\n\n"},
        {"/v1/messages",
         "{\"model\":\"auto\",\"max_tokens\":9,\"stream\":true,\"messages\":[{\"role\":\"user\","
         "\"content\":\"hi\"}]}",
         "\"text\":\"hello\"", "event: message_stop"},
        {"/v1/responses", "{\"model\":\"auto\",\"input\":\"hi\",\"stream\":true}",
         "\"delta\":\"hello\"", "event: response.completed"},
    };
    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (size_t piece = 0; piece < 2; piece++) {
            struct rig r;
            struct rig_answer a;
            struct buf reply;
            uint32_t tokens = 0;
            rig_start(&r, &bedrock);
            r.on_row = see;
            r.on_row_arg = &tokens;
            script_frames(&r, FRAMES FRAMES_END, &reply, piece);
            ask(&r, callers[i].path, callers[i].body, &a);
            assert_int_equal(a.status, 200);
            assert_true(sent(&r, "/converse-stream HTTP"));
            is_signed(&r, "content-type;host;x-amz-date", "us-west-2");
            assert_true(says(&a, callers[i].text));
            assert_true(says(&a, callers[i].end));
            buf_deinit(&a.body);
            rig_stop(&r);
            buf_deinit(&reply);
            assert_int_equal(tokens, 1005);
        }
}

static void t18_an_exception_in_mid_stream_is_never_a_good_end(void **state)
{
    struct rig r;
    struct rig_answer a;
    struct buf reply;
    (void)state;
    rig_start(&r, &bedrock);
    script_frames(&r, FRAMES "!modelStreamErrorException {\"message\":\"it broke\"}\n", &reply, 0);
    ask(&r, "/v1/chat/completions", ASK_STREAM, &a);
    assert_true(says(&a, "hello"));
    assert_true(says(&a, "\"error\""));
    assert_false(says(&a, "[DONE]"));
    buf_deinit(&a.body);
    rig_stop(&r);
    buf_deinit(&reply);
}

static void t18_an_exception_before_content_asks_the_next_model(void **state)
{
    struct rig r;
    struct rig_answer a;
    struct buf reply;
    struct rig_options o = bedrock;
    (void)state;
    o.secret = "the-key"; /* As the other provider takes it, too. */
    o.credential = 0;
    rig_start(&r, &o);
    script_frames(&r, "!throttlingException {\"message\":\"slow down\"}\n", &reply, 0);
    rig_script(
        &r, 1,
        (struct rig_script){.reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE)});
    ask(&r, "/v1/chat/completions", ASK_STREAM, &a);
    assert_int_equal(a.status, 200);
    assert_true(says(&a, "hello"));
    assert_true(says(&a, "[DONE]"));
    assert_int_equal(r.providers[1].requests, 1);
    buf_deinit(&a.body);
    rig_stop(&r);
    buf_deinit(&reply);
}

static void what_bedrock_refuses_is_told_by_its_type(void **state)
{
    struct rig r;
    struct rig_answer a;
    (void)state;
    rig_start(&r, &bedrock);
    rig_script(
        &r, 0,
        (struct rig_script){.reply = replies_make("HTTP/1.1 400 Bad Request\r\nx-amzn-errortype: "
                                                  "ValidationException:http://x/\r\n" CHUNKED,
                                                  "{\"message\":\"no such field\"}", "0\r\n\r\n")});
    ask(&r, "/v1/chat/completions", ASK, &a);
    assert_int_equal(a.status, 400);
    assert_true(says(&a, "no such field"));
    assert_int_equal(r.providers[1].requests, 0);
    buf_deinit(&a.body);
    rig_stop(&r);
}

/* Nobody is asked: there is nothing to sign with. */
static void credentials_that_are_missing_leave_a_provider_out(void **state)
{
    static const struct {
        const char *secret, *region;
        int credential;
    } rows[] = {{"no-keys", "us-east-1", AWS_KEYS},
                {KEYS, NULL, AWS_KEYS},
                {KEYS, "us east", AWS_KEYS},
                {KEYS, "us-east-1", AWS_WEB}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig_options o = bedrock;
        struct rig r;
        struct rig_answer a;
        o.types[1] = "bedrock";
        o.secret = rows[i].secret;
        o.region = rows[i].region;
        o.credential = rows[i].credential;
        rig_start(&r, &o);
        ask(&r, "/v1/chat/completions", ASK, &a);
        assert_true(a.status >= 500);
        assert_int_equal(r.providers[0].requests + r.providers[1].requests, 0);
        buf_deinit(&a.body);
        rig_stop(&r);
    }
}

/* ---- a token that is fetched: of Google, for Vertex AI ---- */

static char metadata_host[64];

static const char *env(const char *name)
{
    return strcmp(name, "GCE_METADATA_HOST") == 0 ? metadata_host : NULL;
}

static bool has_token(const struct keeper *k)
{
    struct keeper_status s;
    keeper_get_status(k, &s);
    return s.valid > 0;
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void a_token_is_fetched_beside_the_requests_that_show_it(void **state)
{
    struct rig_options o = {.types = {"vertex", "vertex"},
                            .credential =
                                STEELYARD__CONTROL__V1__CREDENTIAL__CREDENTIAL_GOOGLE_METADATA,
                            .without_snapshot = true};
    const struct keeper_options options = {.env = env};
    struct keeper_options mine = options;
    struct rig r;
    struct rig_answer a;
    bool closed = false;
    (void)state;
    rig_start(&r, &o);
    snprintf(metadata_host, sizeof metadata_host, "127.0.0.1:%u",
             listener_port(r.providers[1].listener));
    mine.loop = &r.loop;
    o.keeper = keeper_create(&mine);
    o.without_snapshot = false;
    assert_non_null(o.keeper);
    rig_script(&r, 1,
               (struct rig_script){
                   .reply = replies_make(JSON_HEAD CHUNKED,
                                         "{\"access_token\":\"ya29.m\",\"expires_in\":3599}",
                                         "0\r\n\r\n")});
    rig_script(&r, 0,
               (struct rig_script){
                   .reply = replies_make(
                       JSON_HEAD CHUNKED,
                       "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":"
                       "\"hello\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{"
                       "\"promptTokenCount\":10,\"candidatesTokenCount\":5}}",
                       "0\r\n\r\n")});
    rig_publish(&r, &o);
    rig_until(&r, has_token(o.keeper));
    ask(&r, "/v1/chat/completions", ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(says(&a, "hello"));
    assert_true(sent(&r, "authorization: Bearer ya29.m\r\n"));
    assert_int_equal(r.providers[1].requests, 1);
    buf_deinit(&a.body);
    keeper_close(o.keeper, on_closed, &closed);
    rig_until(&r, closed);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_attempt_is_signed_over_what_is_sent),
        cmocka_unit_test(a_sessions_token_goes_along_and_is_signed),
        cmocka_unit_test(an_api_key_of_bedrock_is_a_bearer),
        cmocka_unit_test(frames_are_streamed_in_each_callers_dialect),
        cmocka_unit_test(t18_an_exception_in_mid_stream_is_never_a_good_end),
        cmocka_unit_test(t18_an_exception_before_content_asks_the_next_model),
        cmocka_unit_test(what_bedrock_refuses_is_told_by_its_type),
        cmocka_unit_test(credentials_that_are_missing_leave_a_provider_out),
        cmocka_unit_test(a_token_is_fetched_beside_the_requests_that_show_it),
    };
    int failed = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    replies_free();
    return failed;
}

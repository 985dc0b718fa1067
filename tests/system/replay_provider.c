/* A provider that replays recorded answers: the OpenAI chat dialect in front of recorded sets.
 *
 *   replay_provider STATE_DIR SET_DIRECTORY...
 * The base url of a set is http://ADDRESS/SET/v1; ADDRESS stands in STATE_DIR/addresses.json as
 * "http". The question is the last user message, word for word; the answer is the recorded text, or
 * empty where only the score was recorded; usage is the recorded token counts. An unknown question
 * or model is 404. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>
#include <uv.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/net/httpd.h"
#include "tests/lib/recorded.h"

#define SETS_MAX 16

static struct recorded_set *sets[SETS_MAX];
static size_t set_count;

static void reply_json(struct httpd_request *req, unsigned status, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    httpd_reply(req, status, STR("application/json"), str_from(text));
    mem_free(text);
}

static void reply_not_found(struct httpd_request *req, const char *what)
{
    reply_json(req, 404,
               json_pack("{s:{s:s,s:s,s:n,s:s}}", "error", "message", what, "type",
                         "invalid_request_error", "param", "code", "model_not_found"));
}

static const struct recorded_set *set_of_path(struct str path)
{
    for (size_t i = 0; i < set_count; i++) {
        struct str name = str_from(sets[i]->name);
        struct str rest = str_slice(path, 1 + name.len, path.len);
        if (str_starts(str_slice(path, 1, path.len), name) && str_is(rest, "/v1/chat/completions"))
            return sets[i];
    }
    return NULL;
}

/* The last message's content; NULL when it is not plain text. */
static const char *question_of(const json_t *body)
{
    const json_t *messages = json_object_get(body, "messages");
    size_t n = json_array_size(messages);
    return n == 0 ? NULL
                  : json_string_value(json_object_get(json_array_get(messages, n - 1), "content"));
}

static void answer(struct httpd_request *req, const struct recorded_set *set, const json_t *body)
{
    const char *model = json_string_value(json_object_get(body, "model"));
    const char *question = question_of(body);
    int m = model != NULL ? recorded_model(set, str_from(model)) : -1;
    const struct recorded_row *row =
        question != NULL ? map_get(&set->by_query, str_from(question)) : NULL;
    if (m < 0 || row == NULL) {
        reply_not_found(req, m < 0 ? "no such model in this set" : "no such question in this set");
        return;
    }
    const char *text = row->response[m] != NULL ? row->response[m] : "";
    reply_json(req, 200,
               json_pack("{s:s,s:s,s:i,s:s,s:[{s:i,s:{s:s,s:s},s:s}],s:{s:i,s:i,s:i}}", "id",
                         "chatcmpl-replay", "object", "chat.completion", "created", 1700000000,
                         "model", model, "choices", "index", 0, "message", "role", "assistant",
                         "content", text, "finish_reason", "stop", "usage", "prompt_tokens",
                         (int)row->in_tok, "completion_tokens", (int)row->out_tok[m],
                         "total_tokens", (int)(row->in_tok + row->out_tok[m])));
}

static void on_request(void *arg, struct httpd_request *req)
{
    (void)arg;
    const struct recorded_set *set = set_of_path(httpd_path(req));
    json_error_t error;
    json_t *body = json_loadb(httpd_body(req).data, httpd_body(req).len, JSON_ALLOW_NUL, &error);
    if (set == NULL || body == NULL)
        reply_not_found(req, set == NULL ? "no such set" : "body is not JSON");
    else
        answer(req, set, body);
    json_decref(body);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    uv_stop(handle->loop);
}

static int write_address(const char *directory, uint16_t port)
{
    char path[4096], text[128];
    struct err err = {0};
    snprintf(path, sizeof path, "%s/addresses.json", directory);
    snprintf(text, sizeof text, "{\"http\":\"127.0.0.1:%u\"}\n", (unsigned)port);
    if (buf_write_file(str_from(text), path, 0644, &err) == 0)
        return 0;
    fprintf(stderr, "%s\n", err.message);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc - 2 > SETS_MAX) {
        fprintf(stderr, "usage: replay_provider STATE_DIR SET_DIRECTORY...\n");
        return 2;
    }
    json_set_alloc_funcs(mem_alloc, mem_free);
    for (int i = 2; i < argc; i++)
        sets[set_count++] = recorded_load(argv[i]);
    struct httpd *httpd;
    struct err err = {0};
    const struct httpd_config config = {.address = "127.0.0.1:0", .on_request = on_request};
    if (httpd_start(uv_default_loop(), &config, &httpd, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    uv_signal_t terminate;
    uv_signal_init(uv_default_loop(), &terminate);
    uv_signal_start(&terminate, on_signal, SIGTERM);
    if (write_address(argv[1], httpd_port(httpd)) != 0)
        return 1;
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return 0;
}

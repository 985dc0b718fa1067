/* A provider in the OpenAI chat dialect that closes its connections at random moments
 * (tests/lib/moody.h), and keeps a ledger of what it was asked and how far each answer came.
 *
 *   closing_provider STATE_DIR SEED KEEP_PERCENT
 * Its address stands in STATE_DIR/addresses.json as "http", its ledger in STATE_DIR/ledger.jsonl.
 * Each question holds "Nonce X."; the answer repeats X. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <uv.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/net/http1.h"
#include "tests/lib/moody.h"

#define NONCE_BYTES     64U
#define TEXT_BYTES_MAX  (1U << 16)
#define REPLY_BYTES_MAX (1U << 20)
#define WORDS           24
#define TOKENS_IN       17

struct exchange {
    char nonce[NONCE_BYTES];
    bool stream;
};

static FILE *ledger;

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void read_question(struct str body, struct exchange *x, char *model, size_t model_bytes)
{
    json_error_t error;
    json_t *root = json_loadb(body.data, body.len, 0, &error);
    const json_t *messages = json_object_get(root, "messages");
    const char *text = json_string_value(json_object_get(json_array_get(messages, 0), "content"));
    check(text != NULL && json_is_string(json_object_get(root, "model")));
    struct str rest = str_from(text);
    struct str nonce = STR_NULL;
    ptrdiff_t at = str_search(rest, STR("Nonce "));
    check(at >= 0 && str_cut(str_slice(rest, (size_t)at + 6, rest.len), '.', &nonce, &rest));
    check(str_copy(nonce, x->nonce, sizeof(x->nonce)));
    check(
        str_copy(str_from(json_string_value(json_object_get(root, "model"))), model, model_bytes));
    x->stream = json_is_true(json_object_get(root, "stream"));
    json_decref(root);
}

static void put_whole(const struct exchange *x, const char *model, struct buf *out)
{
    struct buf body;
    buf_init(&body, TEXT_BYTES_MAX);
    check(buf_printf(&body,
                     "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"%s\","
                     "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"",
                     model) == 0);
    for (int i = 0; i < WORDS; i++)
        check(buf_printf(&body, "%s ", x->nonce) == 0);
    check(buf_printf(&body,
                     "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":%d,"
                     "\"completion_tokens\":%d,\"total_tokens\":%d}}",
                     TOKENS_IN, WORDS, TOKENS_IN + WORDS) == 0);
    check(buf_printf(out,
                     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                     "%zu\r\n\r\n",
                     body.len) == 0);
    check(buf_append_str(out, buf_str(&body)) == 0);
    buf_deinit(&body);
}

static void put_event(struct buf *out, struct buf *event)
{
    check(http1_write_chunk(out, buf_str(event)) == 0);
    buf_clear(event);
}

static void put_delta(struct buf *out, struct buf *event, const char *model, const char *delta,
                      const char *finish)
{
    check(buf_printf(event,
                     "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,"
                     "\"model\":\"%s\",\"choices\":[{\"index\":0,\"delta\":{%s},"
                     "\"finish_reason\":%s}]}\n\n",
                     model, delta, finish) == 0);
    put_event(out, event);
}

static void put_stream(const struct exchange *x, const char *model, struct buf *out)
{
    struct buf event;
    char word[NONCE_BYTES + 32];
    buf_init(&event, TEXT_BYTES_MAX);
    check(buf_append_text(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n") == 0);
    (void)snprintf(word, sizeof(word), "\"content\":\"%s \"", x->nonce);
    put_delta(out, &event, model, "\"role\":\"assistant\",\"content\":\"\"", "null");
    for (int i = 0; i < WORDS; i++)
        put_delta(out, &event, model, word, "null");
    put_delta(out, &event, model, "", "\"stop\"");
    check(buf_printf(&event,
                     "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,"
                     "\"model\":\"%s\",\"choices\":[],\"usage\":{\"prompt_tokens\":%d,"
                     "\"completion_tokens\":%d,\"total_tokens\":%d}}\n\n",
                     model, TOKENS_IN, WORDS, TOKENS_IN + WORDS) == 0);
    put_event(out, &event);
    check(buf_append_text(&event, "data: [DONE]\n\n") == 0);
    put_event(out, &event);
    check(buf_append_str(out, HTTP1_LAST_CHUNK) == 0);
    buf_deinit(&event);
}

static void on_request(void *arg, const struct moody_request *request, struct buf *reply,
                       void **out_token)
{
    struct exchange *x = mem_zalloc(sizeof(*x));
    char model[NONCE_BYTES];
    (void)arg;
    check(x != NULL);
    read_question(request->body, x, model, sizeof(model));
    if (x->stream)
        put_stream(x, model, reply);
    else
        put_whole(x, model, reply);
    *out_token = x;
}

static void on_end(void *arg, void *token, enum moody_end end)
{
    static const char *const outcomes[] = {
        [MOODY_SILENT] = "silent",
        [MOODY_CUT] = "cut",
        [MOODY_DOOMED] = "doomed",
        [MOODY_WHOLE] = "complete",
    };
    struct exchange *x = token;
    (void)arg;
    (void)fprintf(ledger,
                  "{\"nonce\":\"%s\",\"stream\":%s,\"status\":200,\"tokens_in\":%d,"
                  "\"tokens_out\":%d,\"outcome\":\"%s\"}\n",
                  x->nonce, x->stream ? "true" : "false", TOKENS_IN, WORDS, outcomes[end]);
    (void)fflush(ledger);
    mem_free(x);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    uv_stop(handle->loop);
}

static void write_address(const char *directory, uint16_t port)
{
    char path[4096], text[128];
    struct err err = {0};
    (void)snprintf(path, sizeof(path), "%s/addresses.json", directory);
    (void)snprintf(text, sizeof(text), "{\"http\":\"127.0.0.1:%u\"}\n", (unsigned)port);
    check(buf_write_file(str_from(text), path, 0644, &err) == 0);
}

int main(int argc, char **argv)
{
    uint64_t seed, keep;
    if (argc != 4 || str_parse_u64(str_from(argv[2]), UINT64_MAX, &seed) != 0 ||
        str_parse_u64(str_from(argv[3]), 100, &keep) != 0) {
        fprintf(stderr, "usage: closing_provider STATE_DIR SEED KEEP_PERCENT\n");
        return 2;
    }
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/ledger.jsonl", argv[1]);
    ledger = fopen(path, "a");
    check(ledger != NULL);
    json_set_alloc_funcs(mem_alloc, mem_free);
    rand_seed_thread(seed);
    struct moody moody;
    const struct moody_config config = {
        .keep_percent = (unsigned)keep, .on_request = on_request, .on_end = on_end};
    moody_start(&moody, uv_default_loop(), &config);
    uv_signal_t terminate;
    uv_signal_init(uv_default_loop(), &terminate);
    uv_signal_start(&terminate, on_signal, SIGTERM);
    write_address(argv[1], moody.port);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return fclose(ledger) == 0 ? 0 : 1;
}

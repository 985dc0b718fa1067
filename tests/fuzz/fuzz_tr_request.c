/* A caller's body through every provider's printer: what is accepted becomes one JSON object, with
 * notes that may stand in a header; what is refused has a reason; the same body gives the same
 * bytes twice. The first byte chooses the caller's dialect, the target's model and its rules. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/translate/exchange.h"
#include "dataplane/translate/notes.h"

static void check(bool condition)
{
    if (!condition)
        abort();
}

static const struct {
    const char *host, *models[4];
} targets[DIALECTS] = {
    [DIALECT_OPENAI] = {"openai", {"gpt-4o", "o3", "gpt-5.1", "llama-3"}},
    [DIALECT_RESPONSES] = {"openai", {"gpt-4o", "o3", "gpt-5.1", "gpt-9"}},
    [DIALECT_ANTHROPIC] = {"anthropic",
                           {"claude-sonnet-4-5", "claude-opus-5-5", "claude-3-haiku", "claude-9"}},
    [DIALECT_GEMINI] = {"gemini", {"gemini-2.5-pro", "gemini-3-flash", "gemma-3", "gemini-9-pro"}},
    [DIALECT_BEDROCK] = {"bedrock",
                         {"anthropic.claude-sonnet-4-5", "mistral.large", "amazon.nova-pro-v1:0",
                          "openai.gpt-oss-120b"}},
    [DIALECT_COHERE] = {"cohere", {"command-a", "command-a-reasoning", "command-r", "c4"}},
};

struct tools {
    struct json json;
    struct json check;
    struct arena_pool pool;
    struct arena arena;
};

/* 0 and the body, or why not. */
static int ask(struct tools *t, enum dialect caller, enum dialect provider, uint8_t choice,
               struct str *out)
{
    struct call_refusal refusal;
    struct str path;
    struct buf notes;
    const char *host = targets[provider].host;
    if (provider == DIALECT_OPENAI && (choice & 64) != 0)
        host = "mistral";
    const struct tr_exchange_config config = {
        .caller = caller,
        .provider = provider,
        .target = {.model = str_from(targets[provider].models[choice >> 2 & 3]),
                   .max_output = (choice & 128) != 0 ? 512 : 0,
                   .host = host_find(str_from(host)),
                   .reject_unsupported = (choice & 16) != 0,
                   .no_repair = (choice & 32) != 0},
        .answer_id = STR("id"),
        .answer_model = STR("m"),
    };
    struct tr_exchange *x = tr_exchange_create(&config);
    check(x != NULL);
    int rc = tr_exchange_write(x, &t->json, &t->arena, out, &path, &refusal);
    check(rc == 0 || rc == ERR_INVALID || rc == ERR_TOO_LARGE);
    if (rc == ERR_INVALID)
        check(refusal.defect != CALL_OK && str_valid_utf8(refusal.param));
    if (rc == 0) {
        check(json_parse(&t->check, *out, NULL) == 0);
        check(json_kind(&t->check, JSON_ROOT) == JSON_OBJECT);
        check(path.len > 0 && path.data[0] == '/');
        buf_init(&notes, 8192);
        check(tr_notes_print(tr_exchange_terms(x), &notes) == 0);
        for (size_t i = 0; i < notes.len; i++)
            check(notes.data[i] >= ' ' && notes.data[i] <= '~');
        buf_deinit(&notes);
    }
    tr_exchange_destroy(x);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tools t = {.pool = {0}};
    if (size < 1 || size > 65536)
        return 0;
    enum dialect caller = (enum dialect)(data[0] % DIALECT_CALLERS);
    struct str body = {(const char *)data + 1, size - 1};
    json_init(&t.json, JSON_NODES_MAX);
    json_init(&t.check, JSON_NODES_MAX);
    arena_pool_init(&t.pool, 4);
    arena_init(&t.arena, &t.pool, 64U << 20);
    const struct provider_adapter *adapter = provider_find_dialect(caller);
    struct call *call = arena_zalloc(&t.arena, 1, sizeof *call);
    struct call_refusal refusal;
    check(call != NULL);
    /* Readers are given what llm has accepted. */
    if (tr_caller_find(caller) != NULL && adapter != NULL &&
        adapter->read_call(&t.json, body, &t.arena, call, &refusal) == 0 &&
        json_parse(&t.json, body, NULL) == 0)
        for (int p = 0; p < DIALECTS; p++) {
            struct str once, again;
            if (tr_provider_find((enum dialect)p) == NULL)
                continue;
            int rc = ask(&t, caller, (enum dialect)p, data[0], &once);
            check(ask(&t, caller, (enum dialect)p, data[0], &again) == rc);
            check(rc != 0 || str_eq(once, again));
        }
    arena_reset(&t.arena);
    arena_pool_deinit(&t.pool);
    json_deinit(&t.check);
    json_deinit(&t.json);
    return 0;
}

#include "dataplane/request/session.h"

#include <string.h>

#include "common/crypto/digest.h"
#include "dataplane/llm/tokens.h"

/* "s1." conversation "." model "." mac, each 16 hex digits: hashes under the node's text key. */
#define TOKEN_BYTES (3 + 16 + 1 + 16 + 1 + 16)

static uint64_t hash(const struct request *r, const char *what, const void *data, size_t len)
{
    struct siphash_key key = r->snapshot->limits.text_key;
    key.k0 ^= (uint64_t)(unsigned char)what[0];
    key.k1 ^= r->identity->id; /* A session of one key says nothing under another. */
    return siphash_2_4(key, data, len);
}

static uint64_t model_hash(const struct request *r, const struct snapshot_model *m)
{
    return hash(r, "model", m->id.data, m->id.len) | 1;
}

static uint64_t mac(const struct request *r, uint64_t conversation, uint64_t model)
{
    const uint64_t both[2] = {conversation, model};
    return hash(r, "token", both, sizeof both);
}

static bool read_hex(struct str s, uint64_t *out)
{
    uint8_t bytes[8];
    if (hex_decode(s, bytes, sizeof bytes) != 0)
        return false;
    memcpy(out, bytes, sizeof *out);
    return true;
}

static bool read_token(const struct request *r, struct str s, uint64_t *out_conversation,
                       uint64_t *out_model)
{
    uint64_t given;
    return s.len == TOKEN_BYTES && str_starts(s, STR("s1.")) && s.data[19] == '.' &&
           s.data[36] == '.' && read_hex(str_slice(s, 3, 19), out_conversation) &&
           read_hex(str_slice(s, 20, 36), out_model) && read_hex(str_slice(s, 37, 53), &given) &&
           given == mac(r, *out_conversation, *out_model);
}

static _Atomic uint64_t *slot_of(const struct request *r)
{
    return &r->env->shared->sticky[r->work->conversation % REQUEST_STICKY_SLOTS];
}

/* 32 bits of the model's hash, if the slot is this conversation's; else 0. */
static uint32_t remembered(const struct request *r)
{
    uint64_t slot = atomic_load_explicit(slot_of(r), memory_order_relaxed);
    return slot >> 32 == r->work->conversation >> 32 ? (uint32_t)slot : 0;
}

void session_read(struct request *r)
{
    struct str session = r->work->steering.session;
    if (read_token(r, session, &r->work->conversation, &r->work->session_model))
        return;
    r->work->conversation = hash(r, "session", session.data, session.len) | 1;
    r->work->session_model = remembered(r);
}

uint32_t session_position(const struct request *r)
{
    const uint64_t model = r->work->session_model;
    for (uint32_t i = 0; model != 0 && i < r->work->candidate_count; i++)
        if (r->work->candidates[i].excl == 0 &&
            (uint32_t)model_hash(r, r->work->candidate_models[i]) == (uint32_t)model)
            return i;
    return POLICY_NONE;
}

void session_note(struct request *r, uint32_t position)
{
    if (r->work->conversation == 0)
        return;
    uint64_t model = model_hash(r, r->work->candidate_models[position]);
    atomic_store_explicit(slot_of(r), (r->work->conversation >> 32 << 32) | (uint32_t)model,
                          memory_order_relaxed);
    const uint64_t parts[3] = {r->work->conversation, model, mac(r, r->work->conversation, model)};
    char *text = arena_alloc(&r->arena, TOKEN_BYTES + 1);
    if (text == NULL)
        return;
    text[0] = 's';
    text[1] = '1';
    for (size_t i = 0; i < 3; i++) {
        text[2 + 17 * i] = '.';
        hex_encode(&parts[i], 8, text + 3 + 17 * i);
    }
    r->work->session_text = (struct str){.data = text, .len = TOKEN_BYTES};
}

/* What providers keep: prefixes of at least so many tokens, in steps of so many. */
#define CACHED_MIN  1024U
#define CACHED_STEP 128U

uint32_t session_cached_tokens(const struct request *r)
{
    const struct call *c = &r->work->call;
    const uint32_t last = tokens_round(tokens_text_q8(c->text));
    if (r->work->session_model == 0 || c->turns < 2 || last >= c->tokens_in)
        return 0;
    const uint32_t before = c->tokens_in - last;
    return before < CACHED_MIN ? 0 : before - before % CACHED_STEP;
}

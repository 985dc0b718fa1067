#include "dataplane/request/session.h"

#include <string.h>

#include "common/base/rand.h"
#include "common/crypto/digest.h"
#include "dataplane/llm/tokens.h"

/* "s1." conversation "." model "." mac, each 16 hex digits: hashes under the node's text key. Under
 * a route's affinity "s2.", with where and when it was served before the mac. */
#define PARTS_MAX          4
#define TOKEN_BYTES(parts) (2U + 17U * (parts))

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

/* Of all parts but the last, which it becomes. */
static uint64_t mac(const struct request *r, const uint64_t *parts, size_t count)
{
    return hash(r, count == 2 ? "token" : "place", parts, count * sizeof parts[0]);
}

static bool read_hex(struct str s, uint64_t *out)
{
    uint8_t bytes[8];
    if (hex_decode(s, bytes, sizeof bytes) != 0)
        return false;
    memcpy(out, bytes, sizeof *out);
    return true;
}

/* How many parts it has; 0: it is no token of ours. */
static size_t read_token(const struct request *r, struct str s, uint64_t parts[PARTS_MAX])
{
    const size_t count = str_starts(s, STR("s1")) ? 3 : str_starts(s, STR("s2")) ? 4 : 0;
    if (count == 0 || s.len != TOKEN_BYTES(count))
        return 0;
    for (size_t i = 0; i < count; i++)
        if (s.data[2 + 17 * i] != '.' ||
            !read_hex(str_slice(s, 3 + 17 * i, 19 + 17 * i), &parts[i]))
            return 0;
    return parts[count - 1] == mac(r, parts, count - 1) ? count : 0;
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

/* ---- which deployment (affinity) ---- */

/* Of a slot: who, where and when. Each is cut: two sessions may be taken for one, or a deployment
 * for another of its model, once in a million; it costs a prompt cache. */
#define WHERE_BITS 20
#define WHEN_BITS  20
#define MASK(bits) ((UINT64_C(1) << (bits)) - 1)

static uint32_t affinity_s(const struct request *r)
{
    return r->route != NULL ? r->route->affinity_s : 0;
}

/* A session may be one of several routes at a time. */
static uint64_t who(const struct request *r)
{
    return (r->work->conversation ^ r->route->name_hash) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Never 0. */
static uint32_t where(const struct request *r, const struct snapshot_deployment *d)
{
    return (uint32_t)(hash(r, "deployment", d->name.data, d->name.len) % MASK(WHERE_BITS)) + 1;
}

static uint32_t now_s(const struct request *r)
{
    return (uint32_t)(r->start_us / 1000000);
}

static _Atomic uint64_t *place_slot(const struct request *r)
{
    return &r->env->shared->places[who(r) % REQUEST_STICKY_SLOTS];
}

static uint32_t remembered_place(const struct request *r)
{
    const uint64_t slot = atomic_load_explicit(place_slot(r), memory_order_relaxed);
    const uint64_t age = (now_s(r) - slot) & MASK(WHEN_BITS);
    if (slot >> (WHERE_BITS + WHEN_BITS) != who(r) >> (WHERE_BITS + WHEN_BITS) ||
        age > affinity_s(r))
        return 0;
    return (uint32_t)(slot >> WHEN_BITS & MASK(WHERE_BITS));
}

/* Of a token: clocks of nodes are not the same to the second. */
static uint32_t told_place(const struct request *r, uint64_t part)
{
    const uint32_t then = (uint32_t)part, now = now_s(r);
    return then > now || now - then <= affinity_s(r) ? (uint32_t)(part >> 32) : 0;
}

bool session_is_at(const struct request *r, const struct snapshot_deployment *d)
{
    return r->work->session_deployment != 0 && where(r, d) == r->work->session_deployment;
}

uint64_t session_place(const struct request *r, const struct snapshot_model *m)
{
    for (uint32_t i = 0; r->work->session_deployment != 0 && i < m->deployment_count; i++)
        if (session_is_at(r, &m->deployments[i]))
            return UINT64_C(1) << i;
    return 0;
}

uint64_t session_draw(const struct request *r, uint64_t weight)
{
    if (r->work->conversation == 0 || affinity_s(r) == 0)
        return rand_below(weight);
    return (who(r) >> 32) * weight >> 32; /* At most 64 * 10^6 * 2^32. */
}

/* ---- reading and noting ---- */

void session_read(struct request *r)
{
    struct str session = r->work->steering.session;
    uint64_t parts[PARTS_MAX];
    const size_t count = read_token(r, session, parts);
    if (count != 0) {
        r->work->conversation = parts[0];
        r->work->session_model = parts[1];
    } else {
        r->work->conversation = hash(r, "session", session.data, session.len) | 1;
        r->work->session_model = remembered(r);
    }
    if (affinity_s(r) != 0)
        r->work->session_deployment = count == 4 ? told_place(r, parts[2]) : remembered_place(r);
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

static uint64_t note_place(struct request *r)
{
    const uint64_t at = where(r, r->attempt.target->deployment);
    const uint64_t slot = (who(r) >> (WHERE_BITS + WHEN_BITS) << (WHERE_BITS + WHEN_BITS)) |
                          (at & MASK(WHERE_BITS)) << WHEN_BITS | (now_s(r) & MASK(WHEN_BITS));
    atomic_store_explicit(place_slot(r), slot, memory_order_relaxed);
    return at << 32 | now_s(r);
}

void session_note_some(struct request *r, uint32_t position)
{
    uint64_t model = model_hash(r, r->work->candidate_models[position]);
    atomic_store_explicit(slot_of(r), (r->work->conversation >> 32 << 32) | (uint32_t)model,
                          memory_order_relaxed);
    uint64_t parts[PARTS_MAX] = {r->work->conversation, model};
    size_t count = 2;
    if (affinity_s(r) != 0 && r->attempt.target != NULL)
        parts[count++] = note_place(r);
    parts[count] = mac(r, parts, count);
    count++;
    char *text = arena_alloc(&r->arena, TOKEN_BYTES(PARTS_MAX) + 1);
    if (text == NULL)
        return;
    text[0] = 's';
    text[1] = count == 3 ? '1' : '2';
    for (size_t i = 0; i < count; i++) {
        text[2 + 17 * i] = '.';
        hex_encode(&parts[i], 8, text + 3 + 17 * i);
    }
    r->work->session_text = (struct str){.data = text, .len = TOKEN_BYTES(count)};
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

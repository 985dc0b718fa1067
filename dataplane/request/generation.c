/* GET /v1/generation?id=: what became of one's own request, from this node's memory, under the
 * names that OpenRouter has for it. The id is that of the answer, of the decision, or of the
 * request. */
#include <string.h>

#include "common/base/clock.h"
#include "common/json/json_writer.h"
#include "dataplane/request/generations.h"
#include "dataplane/request/steps.h"

#define LOOKED_AT 256U /* Bytes of an answer in which its id stands. */

/* ---- remembering ---- */

static uint64_t folded(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    const wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t word_of(const char *at, size_t len)
{
    uint64_t word = 0;
    memcpy(&word, at, len);
    return word;
}

/* It tells apart the ids of one key's requests alone, so that who finds two that are alike finds
 * them among his own: folded products by a secret of the node are enough, and a third of SipHash's
 * work. */
static uint32_t id_hash(const struct request *r, struct str id)
{
    const struct siphash_key key = r->snapshot->limits.text_key;
    uint64_t h = key.k0 ^ id.len;
    size_t at = 0;
    for (; id.len - at >= 8; at += 8)
        h = folded(h ^ word_of(id.data + at, 8), key.k1 | 1);
    /* The end as the last eight bytes: what of it was taken already does no harm. */
    const uint64_t last = id.len >= 8  ? word_of(id.data + id.len - 8, 8)
                          : id.len > 0 ? word_of(id.data, id.len)
                                       : 0;
    h = folded(h ^ last, key.k0 | 1);
    return (uint32_t)(h ^ h >> 32) | 1;
}

void generation_note(struct request *r, struct str bytes)
{
    const struct str mark = STR("\"id\":");
    bytes = str_slice(bytes, 0, LOOKED_AT);
    if (r->answer_hash != 0)
        return;
    const bool usual = bytes.len > mark.len && memcmp(bytes.data + 1, mark.data, mark.len) == 0;
    ptrdiff_t at = usual ? 1 : str_search(bytes, mark);
    if (at < 0)
        return;
    size_t from = (size_t)at + mark.len;
    while (from < bytes.len && bytes.data[from] == ' ')
        from++;
    if (from >= bytes.len || bytes.data[from] != '"')
        return;
    const char *id = bytes.data + from + 1;
    const char *end = memchr(id, '"', bytes.len - from - 1);
    if (end != NULL && end > id)
        r->answer_hash = id_hash(r, (struct str){id, (size_t)(end - id)});
}

static uint8_t keep_name(char *out, struct str name)
{
    size_t len = name.len < GENERATION_BYTES ? name.len : GENERATION_BYTES;
    memcpy(out, name.data, len);
    return (uint8_t)len;
}

void generation_keep(struct request *r)
{
    struct generations *memory = r->env->shared->generations;
    const struct attempt *a = &r->attempt;
    __attribute__((uninitialized)) struct generation g;
    if (memory == NULL || !r->committed || a->target == NULL || r->attempt_count == 0)
        return;
    const struct record_attempt *row = &r->attempts[r->attempt_count - 1];
    if (r->stream == STREAM_NONE && r->piece_count > 0)
        generation_note(r, r->pieces[0]);
    memcpy(g.decision, r->id.bytes, sizeof g.decision);
    g.key_id = r->identity->id;
    g.answer = r->answer_hash;
    g.request_id = id_hash(r, r->request_id);
    g.created_us = r->start_us;
    g.cost_nanousd = r->cost_unknown ? -1 : r->cost_nanousd;
    g.tokens_in = row->tokens_in;
    g.tokens_out = row->tokens_out;
    g.tokens_cached = row->tokens_cached;
    g.tokens_reasoning = row->tokens_reasoning;
    g.total_ms = (uint32_t)((r->now_ns - r->start_ns) / 1000000);
    g.latency_ms = r->ttft_ns != 0 ? (uint32_t)(r->ttft_ns / 1000000) : g.total_ms;
    g.finish = (uint8_t)a->reply.finish;
    g.streamed = r->stream != STREAM_NONE;
    g.cancelled = r->outcome == RECORD_STATUS_CANCELLED;
    g.model_len = keep_name(g.names, a->model->id);
    g.provider_len = keep_name(g.names + g.model_len, a->target->deployment->provider->name);
    generations_put(memory, &g);
}

/* ---- telling ---- */

static struct str query_id(struct str query)
{
    struct str rest = query, pair, name, value;
    bool more = query.len > 0;
    while (more) {
        struct str tail = STR_NULL;
        more = str_cut(rest, '&', &pair, &tail);
        rest = tail;
        if (str_cut(pair, '=', &name, &value) && str_is(name, "id"))
            return value;
    }
    return STR_NULL;
}

static void write_count(struct json_writer *w, const char *name, uint64_t value)
{
    json_writer_key(w, name);
    json_writer_u64(w, value);
}

static void write_cost(struct json_writer *w, const char *name, int64_t nanousd)
{
    json_writer_key(w, name);
    if (nanousd < 0)
        json_writer_null(w);
    else
        json_writer_fixed(w, nanousd, 9);
}

static void write_flag(struct json_writer *w, const char *name, bool value)
{
    json_writer_key(w, name);
    json_writer_bool(w, value);
}

static void write_generation(struct json_writer *w, const struct generation *g, struct str id)
{
    char created[CLOCK_RFC3339_BYTES];
    clock_format_rfc3339(g->created_us, created);
    json_writer_begin_object(w);
    json_writer_key(w, "data");
    json_writer_begin_object(w);
    json_writer_key(w, "id");
    json_writer_string(w, id);
    json_writer_key(w, "model");
    json_writer_string(w, generation_model(g));
    json_writer_key(w, "provider_name");
    json_writer_string(w, generation_provider(g));
    write_cost(w, "total_cost", g->cost_nanousd);
    write_cost(w, "usage", g->cost_nanousd);
    write_count(w, "tokens_prompt", g->tokens_in);
    write_count(w, "tokens_completion", g->tokens_out);
    write_count(w, "native_tokens_prompt", g->tokens_in);
    write_count(w, "native_tokens_completion", g->tokens_out);
    write_count(w, "native_tokens_cached", g->tokens_cached);
    write_count(w, "native_tokens_reasoning", g->tokens_reasoning);
    write_count(w, "latency", g->latency_ms);
    write_count(w, "generation_time", g->total_ms - g->latency_ms);
    json_writer_key(w, "created_at");
    json_writer_text(w, created);
    json_writer_key(w, "finish_reason");
    json_writer_text(w, g->finish != CALL_FINISH_NONE ? call_finish_name(g->finish) : NULL);
    write_flag(w, "streamed", g->streamed);
    write_flag(w, "cancelled", g->cancelled);
    json_writer_end_object(w);
    json_writer_end_object(w);
}

enum step_result step_generation(struct request *r)
{
    struct json_writer w;
    struct generation g;
    struct uuid decision;
    struct buf *out = &r->env->out; /* Stays as it is until `report` has sent it. */
    struct str id = query_id(r->head->query);
    if (id.len == 0) {
        r->detail.param = STR("id");
        return request_fail(r, FAULT_MISSING_FIELD);
    }
    const bool is_uuid = uuid_parse(id, &decision) == 0;
    if (r->env->shared->generations == NULL ||
        !generations_find(r->env->shared->generations, r->identity->id,
                          is_uuid ? decision.bytes : NULL, id_hash(r, id), &g)) {
        r->detail.param = STR("id");
        return request_fail(r, FAULT_GENERATION_NOT_FOUND);
    }
    buf_clear(out);
    json_writer_init(&w, out);
    write_generation(&w, &g, id);
    if (json_writer_finish(&w) != 0)
        return request_fail(r, FAULT_OVERLOAD);
    r->status = 200;
    r->pieces[0] = buf_str(out);
    r->piece_count = 1;
    return STEP_NEXT;
}

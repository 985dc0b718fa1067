/* POST /v1/decision: what would be chosen for this call, and why; nobody is called. */
#include "common/json/json_writer.h"
#include "dataplane/request/steps.h"

/* value / 2^bits as a decimal with nine places. */
static void write_binary(struct json_writer *w, int64_t value, unsigned bits)
{
    __int128 scaled = (__int128)value * 1000000000 / ((__int128)1 << bits);
    json_writer_fixed(w, (int64_t)scaled, 9);
}

static void write_excluded(struct json_writer *w, uint32_t excl)
{
    json_writer_begin_array(w);
    for (uint32_t i = 0; i < POLICY_EXCLUSIONS; i++)
        if (excl >> i & 1)
            json_writer_text(w, policy_exclusion_name(i));
    json_writer_end_array(w);
}

static void write_candidate(struct request *r, uint32_t i, struct json_writer *w)
{
    const struct policy_row *row = &r->work->decision.row[i];
    bool certain = i == r->work->decision.chosen && (r->work->decision.flags & POLICY_FLAG_CERTAIN);
    json_writer_begin_object(w);
    json_writer_key(w, "model");
    json_writer_string(w, r->work->candidate_models[i]->id);
    json_writer_key(w, "quality");
    write_binary(w, row->q, 16);
    json_writer_key(w, "cost_usd");
    if (row->cost == PRICE_UNKNOWN)
        json_writer_null(w);
    else
        json_writer_fixed(w, row->cost, 9);
    json_writer_key(w, "output_tokens");
    json_writer_u64(w, row->out_tok);
    json_writer_key(w, "latency_ms");
    json_writer_u64(w, row->lat_ms);
    json_writer_key(w, "utility");
    write_binary(w, row->u, 36);
    json_writer_key(w, "probability");
    write_binary(w, certain ? INT64_C(1) << 32 : row->p, 32);
    json_writer_key(w, "excluded");
    write_excluded(w, row->excl);
    json_writer_end_object(w);
}

static void write_model(struct request *r, uint32_t position, struct json_writer *w)
{
    if (position == POLICY_NONE)
        json_writer_null(w);
    else
        json_writer_string(w, r->work->candidate_models[position]->id);
}

static void write_decision(struct request *r, struct json_writer *w)
{
    const struct policy_decision *d = &r->work->decision;
    json_writer_begin_object(w);
    json_writer_key(w, "object");
    json_writer_text(w, "decision");
    json_writer_key(w, "decision_id");
    json_writer_text(w, r->id_text);
    json_writer_key(w, "policy");
    if (r->policy != NULL)
        json_writer_string(w, r->policy->version_text);
    else
        json_writer_null(w);
    json_writer_key(w, "chosen");
    write_model(r, d->chosen, w);
    json_writer_key(w, "greedy");
    write_model(r, d->greedy, w);
    json_writer_key(w, "explored");
    json_writer_bool(w, (d->flags & POLICY_FLAG_EXPLORED) != 0);
    json_writer_key(w, "input_tokens");
    json_writer_u64(w, r->work->call.tokens_in);
    json_writer_key(w, "candidates");
    json_writer_begin_array(w);
    for (uint32_t i = 0; i < d->count; i++)
        write_candidate(r, i, w);
    json_writer_end_array(w);
    json_writer_key(w, "fallbacks");
    json_writer_begin_array(w);
    for (uint32_t i = 0; i < d->fallback_count; i++)
        write_model(r, d->fallback[i], w);
    json_writer_end_array(w);
    json_writer_end_object(w);
}

#define DECISION_BYTES_MAX 65536U

enum step_result step_explain(struct request *r)
{
    struct json_writer w;
    /* In the arena, as the record may have to reach the disk before it is sent. */
    struct buf out = {.data = arena_alloc(&r->arena, DECISION_BYTES_MAX),
                      .cap = DECISION_BYTES_MAX,
                      .max = DECISION_BYTES_MAX};
    if (out.data == NULL)
        return request_fail(r, FAULT_OVERLOAD);
    json_writer_init(&w, &out);
    write_decision(r, &w);
    if (json_writer_finish(&w) != 0)
        return request_fail(r, FAULT_OVERLOAD);
    r->status = 200;
    r->outcome = RECORD_STATUS_DECIDED;
    r->pieces[0] = buf_str(&out);
    r->piece_count = 1;
    return STEP_NEXT;
}

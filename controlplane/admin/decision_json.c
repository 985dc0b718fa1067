#include "controlplane/admin/decision_json.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/route/picked.h"
#include "controlplane/release/record.h"

#define DETAIL_MAX (4U << 20)

int decision_unpack(const struct pq_result *r, int row, int column,
                    Steelyard__Telemetry__V1__Decision **out, struct err *err)
{
    struct buf detail;
    buf_init(&detail, DETAIL_MAX);
    int rc = pq_result_bytes(r, row, column, &detail);
    Steelyard__Telemetry__V1__Decision *d =
        rc != 0 ? NULL
                : steelyard__telemetry__v1__decision__unpack(NULL, detail.len,
                                                             (const uint8_t *)detail.data);
    buf_deinit(&detail);
    if (rc == 0 && d == NULL)
        rc = ERR_CORRUPT;
    if (rc != 0)
        return err_set(err, rc, "the record cannot be read");
    *out = d;
    return 0;
}

void decision_write_row(struct json_writer *w, const struct pq_result *r, int row)
{
    decision_write_columns(w, r, row);
    json_writer_key(w, "attempts");
    json_writer_i64(w, pq_result_i64(r, row, 15));
}

void decision_write_columns(struct json_writer *w, const struct pq_result *r, int row)
{
    uint32_t flags = (uint32_t)pq_result_i64(r, row, 16);
    call_write_column(w, "id", r, row, 0);
    call_write_time(w, "ts", r, row, 1);
    call_write_column(w, "key_id", r, row, 2);
    call_write_column(w, "route", r, row, 3);
    call_write_column(w, "alias", r, row, 4);
    call_write_column(w, "chosen", r, row, 5);
    call_write_column(w, "served", r, row, 6);
    call_write_column(w, "policy", r, row, 7);
    json_writer_key(w, "status");
    json_writer_text(w, record_status_name((uint32_t)pq_result_i64(r, row, 8)));
    json_writer_key(w, "http_status");
    json_writer_i64(w, pq_result_i64(r, row, 9));
    if ((flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_COST_UNKNOWN) != 0) {
        json_writer_key(w, "cost_usd");
        json_writer_null(w);
    } else {
        call_write_usd(w, "cost_usd", pq_result_i64(r, row, 10));
    }
    static const char *const numbers[] = {"tokens_in", "tokens_out", "ttft_ms", "latency_ms"};
    for (int i = 0; i < 4; i++) {
        json_writer_key(w, numbers[i]);
        json_writer_i64(w, pq_result_i64(r, row, 11 + i));
    }
    json_writer_key(w, "explored");
    json_writer_bool(w, (flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_EXPLORED) != 0);
    json_writer_key(w, "score");
    if (pq_result_is_null(r, row, 17))
        json_writer_null(w);
    else
        json_writer_fixed(w, call_q16((uint32_t)pq_result_i64(r, row, 17)), 4);
}

void decision_write_bits(struct json_writer *w, const char *key, uint32_t excl)
{
    json_writer_key(w, key);
    json_writer_begin_array(w);
    for (uint32_t bit = 0; bit < 32; bit++) {
        if ((excl >> bit & 1) == 0)
            continue;
        const char *name = policy_exclusion_name(bit);
        json_writer_text(w, name == NULL ? "UNKNOWN" : name);
    }
    json_writer_end_array(w);
}

const char *decision_model(const Steelyard__Telemetry__V1__Decision *d, uint32_t i)
{
    return i < d->n_models ? d->models[i] : NULL;
}

/* What the way that ordered the candidates looked at; null under a policy. */
static void write_measure(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d,
                          uint32_t i)
{
    const Steelyard__Telemetry__V1__Cand *m = d->cand[i];
    json_writer_key(w, "measure");
    if (i < d->n_way_measure)
        json_writer_i64(w, d->way_measure[i]);
    else if (d->way == WAY_LOWEST_COST)
        json_writer_i64(w, m->cost);
    else if (d->way == WAY_LOWEST_LATENCY)
        json_writer_i64(w, m->lat_ms);
    else if (d->way == WAY_WEIGHTED && i < d->n_way_weight)
        json_writer_i64(w, d->way_weight[i]);
    else if (d->way == WAY_PRIORITY && i < d->n_way_priority)
        json_writer_i64(w, d->way_priority[i]);
    else
        json_writer_null(w);
}

static void write_probability(struct json_writer *w, uint32_t p)
{
    json_writer_key(w, "probability");
    /* All ones is what a certain choice records: there is no 2^32 in 32 bits. */
    if (p == UINT32_MAX)
        json_writer_i64(w, 1);
    else
        json_writer_fixed(w, (int64_t)((uint64_t)p * 1000000000 >> 32), 9);
}

void decision_write_candidates(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d)
{
    json_writer_key(w, "candidates");
    json_writer_begin_array(w);
    for (uint32_t i = 0; i < d->n_cand; i++) {
        const Steelyard__Telemetry__V1__Cand *m = d->cand[i];
        json_writer_begin_object(w);
        json_writer_key(w, "model");
        json_writer_text(w, decision_model(d, i));
        json_writer_key(w, "quality");
        json_writer_fixed(w, (int64_t)m->q * 1000000 / 65536, 6);
        if (m->cost < 0) {
            json_writer_key(w, "cost_usd");
            json_writer_null(w);
        } else {
            call_write_usd(w, "cost_usd", m->cost);
        }
        json_writer_key(w, "latency_ms");
        json_writer_u64(w, m->lat_ms);
        json_writer_key(w, "output_tokens");
        json_writer_u64(w, m->out_tok);
        json_writer_key(w, "utility"); /* In units of quality: U / 2^36. */
        json_writer_fixed(w, (int64_t)((__int128)m->u * 1000000 / (INT64_C(1) << 36)), 6);
        write_probability(w, m->p);
        json_writer_key(w, "z");
        json_writer_i64(w, m->z);
        json_writer_key(w, "known_to_policy");
        json_writer_bool(w, m->model > 0);
        write_measure(w, d, i);
        decision_write_bits(w, "excluded", m->excl);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
}

static void write_bits64(struct json_writer *w, const char *key, uint64_t bits,
                         const char *(*name_of)(uint32_t))
{
    json_writer_key(w, key);
    json_writer_begin_array(w);
    for (uint32_t bit = 0; bit < 64; bit++) {
        if ((bits >> bit & 1) == 0)
            continue;
        const char *name = name_of(bit);
        json_writer_text(w, name == NULL ? "unknown" : name);
    }
    json_writer_end_array(w);
}

/* Among the deployments of its model; null where nothing was recorded. */
static void write_picked(struct json_writer *w, const Steelyard__Telemetry__V1__Attempt *a)
{
    json_writer_key(w, "picked");
    if (a->place == 0) {
        json_writer_null(w);
        return;
    }
    json_writer_begin_object(w);
    json_writer_key(w, "by");
    json_writer_text(w, picked_by_name((uint32_t)a->picked_by));
    json_writer_key(w, "place");
    json_writer_u64(w, a->place);
    json_writer_key(w, "deployments");
    json_writer_u64(w, a->deployments);
    json_writer_key(w, "usable"); /* Places, from 1. */
    json_writer_begin_array(w);
    for (uint32_t bit = 0; bit < 64; bit++)
        if ((a->usable >> bit & 1) != 0)
            json_writer_u64(w, bit + 1);
    json_writer_end_array(w);
    json_writer_key(w, "equals");
    json_writer_u64(w, a->equals);
    write_bits64(w, "passed", a->passed, picked_passed_name);
    json_writer_end_object(w);
}

void decision_write_attempts(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d)
{
    json_writer_key(w, "attempts");
    json_writer_begin_array(w);
    for (size_t i = 0; i < d->n_attempt; i++) {
        const Steelyard__Telemetry__V1__Attempt *a = d->attempt[i];
        char start[CLOCK_RFC3339_BYTES], print[17];
        json_writer_begin_object(w);
        json_writer_key(w, "model");
        json_writer_text(w, decision_model(d, a->model));
        json_writer_key(w, "server");
        json_writer_text(w, a->endpoint < d->n_servers ? d->servers[a->endpoint] : NULL);
        json_writer_key(w, "start");
        clock_format_rfc3339(a->start_us, start);
        json_writer_text(w, start);
        json_writer_key(w, "status");
        json_writer_u64(w, a->status);
        json_writer_key(w, "reason");
        json_writer_text(w, record_reason_name(a->reason));
        json_writer_key(w, "hedge"); /* Begun beside another one. */
        json_writer_bool(w, (a->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_HEDGE) != 0);
        json_writer_key(w, "ttft_ms");
        json_writer_u64(w, a->ttft_ms);
        json_writer_key(w, "total_ms");
        json_writer_u64(w, a->total_ms);
        json_writer_key(w, "tokens_in");
        json_writer_u64(w, a->in);
        json_writer_key(w, "tokens_out");
        json_writer_u64(w, a->out);
        json_writer_key(w, "tokens_cached");
        json_writer_u64(w, a->cached);
        json_writer_key(w, "usage_source");
        json_writer_text(w, record_source_name((uint32_t)a->usage, a->flags));
        call_write_usd(w, "cost_usd", a->cost);
        json_writer_key(w, "provider_id");
        json_writer_text(w, a->provider_id);
        snprintf(print, sizeof print, "%016llx", (unsigned long long)a->fingerprint);
        json_writer_key(w, "fingerprint");
        json_writer_text(w, a->fingerprint == 0 ? NULL : print);
        write_picked(w, a);
        write_bits64(w, "notes", a->notes, picked_note_name);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
}

bool decision_begin_rollout(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d)
{
    json_writer_key(w, "rollout");
    if (d->rollout_id == 0) {
        json_writer_null(w);
        return false;
    }
    json_writer_begin_object(w);
    json_writer_key(w, "id");
    json_writer_u64(w, d->rollout_id);
    return true;
}

void decision_write_arm(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d)
{
    static const char *const names[] = {"none", "stable", "candidate", "unavailable"};
    json_writer_key(w, "arm");
    json_writer_text(w, d->arm < sizeof names / sizeof names[0] ? names[d->arm] : "unknown");
}

/* What the rollout's candidate would have chosen. */
static void write_shadow(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d,
                         enum decision_shadow more)
{
    const Steelyard__Telemetry__V1__Shadow *s = d->shadow;
    json_writer_key(w, "shadow");
    if (s == NULL) {
        json_writer_null(w);
        return;
    }
    json_writer_begin_object(w);
    call_write_hex(w, "params", s->params_sha.data, s->params_sha.len);
    json_writer_key(w, "chosen");
    json_writer_text(w, s->chosen == 0 ? NULL : decision_model(d, s->chosen - 1));
    if (more == DECISION_SHADOW_SAME) {
        json_writer_key(w, "same");
        json_writer_bool(w, s->chosen == d->greedy + 1);
    }
    json_writer_key(w, "quality");
    json_writer_fixed(w, call_q16(s->q), 4);
    json_writer_key(w, "cost_usd");
    if (s->cost < 0)
        json_writer_null(w);
    else
        json_writer_fixed(w, s->cost, 9);
    if (more == DECISION_SHADOW_EXCLUDED)
        decision_write_bits(w, "excluded", s->excl_any);
    json_writer_end_object(w);
}

void decision_end_rollout(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d,
                          enum decision_shadow more)
{
    json_writer_key(w, "slot");
    json_writer_u64(w, d->slot);
    json_writer_key(w, "unit"); /* 64 bits: more than JSON's numbers hold. */
    char unit[17];
    (void)snprintf(unit, sizeof unit, "%016llx", (unsigned long long)d->unit);
    json_writer_text(w, unit);
    write_shadow(w, d, more);
    json_writer_end_object(w);
}

static void write_rollout(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d)
{
    if (!decision_begin_rollout(w, d))
        return;
    json_writer_key(w, "stage");
    json_writer_u64(w, d->stage);
    decision_write_arm(w, d);
    decision_end_rollout(w, d, DECISION_SHADOW_SAME);
}

void decision_write_facts(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d)
{
    json_writer_key(w, "endpoint");
    json_writer_text(w, d->endpoint);
    json_writer_key(w, "strategy");
    json_writer_text(w, d->route[0] == '\0' ? NULL : way_name(d->way));
    json_writer_key(w, "task");
    json_writer_text(w, d->task);
    json_writer_key(w, "client_request_id");
    json_writer_text(w, d->client_request_id);
    json_writer_key(w, "tokens_in_estimate");
    json_writer_u64(w, d->t_in);
    json_writer_key(w, "max_output");
    json_writer_u64(w, d->t_out_cap);
    json_writer_key(w, "stream");
    json_writer_bool(w, (d->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_STREAM) != 0);
    json_writer_key(w, "pinned");
    json_writer_bool(w, (d->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_PINNED) != 0);
    json_writer_key(w, "sticky");
    json_writer_bool(w, (d->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_STICKY) != 0);
    json_writer_key(w, "floor");
    json_writer_fixed(w, call_q16(d->floor_q16), 4);
    json_writer_key(w, "lambda");
    json_writer_i64(w, d->lambda);
    json_writer_key(w, "budget_used"); /* Of the tightest one: lambda follows it. */
    if (d->budget_pressure != 0)
        json_writer_fixed(w, call_q16(d->budget_pressure), 4);
    else
        json_writer_null(w);
    json_writer_key(w, "budget_clamp");
    if (d->budget_clamp > 0)
        json_writer_i64(w, d->budget_clamp);
    else
        json_writer_null(w);
    write_rollout(w, d);
    json_writer_key(w, "error_code");
    json_writer_text(w, d->error_code);
    json_writer_key(w, "finish_reason");
    json_writer_text(w, d->finish_reason);
    json_writer_key(w, "overhead_us");
    json_writer_u64(w, d->overhead_us);
    json_writer_key(w, "generation");
    json_writer_u64(w, d->generation);
    json_writer_key(w, "config_age_s");
    json_writer_u64(w, d->config_age_s);
    call_write_hex(w, "artifact", d->policy_version.data, d->policy_version.len);
    call_write_hex(w, "params", d->params_sha.data, d->params_sha.len);
    call_write_hex(w, "text_hash", d->text_hash.data, d->text_hash.len);
    json_writer_key(w, "tags");
    json_writer_begin_array(w);
    for (size_t i = 0; i < d->n_tags; i++)
        json_writer_text(w, d->tags[i]);
    json_writer_end_array(w);
}

void decision_write_exclusions(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d)
{
    json_writer_key(w, "excluded");
    json_writer_begin_object(w);
    for (uint32_t i = 0; i < d->n_cand; i++)
        if (d->cand[i]->excl != 0 && decision_model(d, i) != NULL)
            decision_write_bits(w, decision_model(d, i), d->cand[i]->excl);
    json_writer_end_object(w);
}

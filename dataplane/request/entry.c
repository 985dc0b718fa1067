#include "dataplane/request/entry.h"

#include <string.h>

#include "common/base/clock.h"
#include "dataplane/request/charge.h"
#include "dataplane/request/steps.h"
#include "dataplane/request/wishes_apply.h"

static uint32_t ms_of(uint64_t ns)
{
    uint64_t ms = ns / 1000000;
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

void entry_fill_decision(struct request *r, struct record_decision *d)
{
    const struct snapshot *s = r->snapshot;
    memset(d, 0, sizeof *d);
    d->request_id = r->id;
    d->ts_us = r->start_us;
    d->key_id = r->identity->id;
    d->accounts = r->identity->accounts;
    d->account_count = r->identity->account_count < RECORD_ACCOUNTS_MAX ? r->identity->account_count
                                                                        : RECORD_ACCOUNTS_MAX;
    d->segment = r->identity->segment;
    d->tags = r->work->steering.tags;
    d->tag_count = r->work->steering.tag_count;
    d->task = r->work->steering.task;
    if (r->work->conversation != 0)
        d->conv_hash =
            (struct str){(const char *)&r->work->conversation, sizeof r->work->conversation};
    const bool learned = !r->early && r->path->adapter == NULL; /* Dialogues alone. */
    if (learned)
        d->text_hash = (struct str){(const char *)&r->work->text_hash, sizeof r->work->text_hash};
    d->alias = r->work->call.model;
    if (r->policy != NULL) {
        d->policy_version = r->policy->artifact_sha;
        d->params_sha = (struct str){(const char *)r->policy->params_sha.bytes, SHA256_BYTES};
    }
    d->era = s->era;
    d->generation = s->generation;
    d->hash_key_id = s->limits.hash_key_id;
    d->config_age_s = snapshot_age_s(s, r->now_ns / 1000000);
    d->features = learned ? &r->work->features : NULL;
    d->t_in = r->work->call.tokens_in;
    d->pref = wishes_position(r);
    d->candidates = r->work->candidates;
    d->models = r->work->candidate_names;
    d->decision = &r->work->decision;
    d->way = r->work->policy_request.way;
    if (r->work->in_rollout)
        d->rollout = &r->work->rollout;
    d->flags = r->flags;
    d->endpoint = r->path->endpoint;
    d->client_request_id = r->request_id;
    d->route = r->route != NULL ? r->route->name : STR_NULL;
    d->lambda = r->work->policy_request.lambda;
    d->mu = r->work->policy_request.mu;
    d->t_out_cap = r->work->policy_request.t_out_cap;
    d->floor_q16 = r->work->policy_request.floor_q16;
    d->max_cost_nanousd = r->work->policy_request.max_cost_nanousd;
    d->max_latency_ms = r->work->policy_request.max_latency_ms;
    d->explore = r->work->policy_request.explore;
    if (r->charge != NULL)
        charge_fill(r, d);
}

void entry_fill_outcome(struct request *r, struct record_outcome *o)
{
    memset(o, 0, sizeof *o);
    o->flags = r->flags;
    o->attempts = r->attempts;
    o->attempt_count = r->attempt_count;
    o->status = r->outcome;
    o->served = r->committed ? r->at_position + 1 : 0;
    o->cost_nanousd = r->cost_nanousd;
    o->http_status = r->status;
    o->error_code = r->fault != FAULT_NONE ? str_from(fault_get(r->fault)->code) : STR_NULL;
    o->finish_reason = str_from(call_finish_name(r->attempt.reply.finish));
    o->ttft_ms = ms_of(r->ttft_ns);
    o->duration_ms = ms_of(r->now_ns - r->start_ns);
    o->overhead_us = (uint32_t)(r->overhead_ns / 1000);
}

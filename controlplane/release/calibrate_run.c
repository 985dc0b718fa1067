#include "controlplane/release/calibrate_run.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/release/record.h"
#include "controlplane/release/train_rows.h"
#include "controlplane/release/version_load.h"

struct work {
    const struct calibrate_request *request;
    struct pq_conn *lookups;
    struct record_cache cache;
    struct record record;
    struct artifact *artifact;
    struct policy_params params;
    struct policy_candidate candidates[POLICY_CANDIDATES_MAX];
    uint32_t *leads;
    uint64_t count;
    uint64_t unusable;
    struct err *err;
};

/* ---- thresholds ---- */

static int descending(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x < y) - (x > y);
}

uint32_t calibrate_threshold(uint32_t *leads, size_t count, uint32_t share_millionths,
                             size_t *out_reached)
{
    const uint64_t wanted = ((uint64_t)count * share_millionths + 500000) / 1000000;
    qsort(leads, count, sizeof *leads, descending);
    /* Equal leads go together: either all of them, or none. */
    uint64_t with = wanted, without = wanted;
    while (with < count && with > 0 && leads[with] == leads[with - 1])
        with++;
    while (without > 0 && without < count && leads[without] == leads[without - 1])
        without--;
    const bool take = with - wanted <= wanted - without;
    const uint64_t reached = take ? with : without;
    *out_reached = reached;
    if (reached > 0)
        return leads[reached - 1];
    return leads[0] < CALIBRATE_ONE ? leads[0] + 1 : CALIBRATE_ONE;
}

/* ---- one record ---- */

static bool usable(const struct record *r)
{
    return r->skip == RECORD_USABLE && r->has_features && r->pb->n_cand > 1 &&
           r->pb->n_models >= r->pb->n_cand &&
           (r->pb->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_PINNED) == 0;
}

/* The same two questions that a node asks (wishes_decide). */
static bool lead_of(struct work *w, uint32_t *out_lead)
{
    const struct record *r = &w->record;
    const uint32_t count = (uint32_t)r->pb->n_cand;
    struct policy_request q = r->request;
    struct policy_choice strong, weak;
    q.way = NULL;
    q.mu = 0;
    q.lambda = 0;
    memcpy(w->candidates, r->candidates, count * sizeof w->candidates[0]);
    for (uint32_t i = 0; i < count; i++)
        w->candidates[i].ordinal = w->artifact == NULL
                                       ? POLICY_UNKNOWN_MODEL
                                       : artifact_model(w->artifact, str_from(r->pb->models[i]));
    if (policy_greedy_by_valid(w->artifact, &r->features, &w->params, &q, w->candidates, count,
                               &strong) != 0)
        return false;
    q.lambda = ARTIFACT_LAMBDA_MAX;
    if (policy_greedy_by_valid(w->artifact, &r->features, &w->params, &q, w->candidates, count,
                               &weak) != 0 ||
        strong.position == POLICY_NONE)
        return false;
    *out_lead = strong.q > weak.q ? strong.q - weak.q : 0;
    return true;
}

static int on_decision(void *arg, const struct pq_result *row)
{
    struct work *w = arg;
    int rc = record_open_row(w->lookups, &w->cache, row, w->request->draw_key, &w->record, w->err);
    if (rc == 0) {
        if (!usable(&w->record) || !lead_of(w, &w->leads[w->count]))
            rc = ERR_INVALID;
        record_close(&w->record);
    }
    if (rc == 0)
        w->count++;
    else if (rc == ERR_INVALID || rc == ERR_CORRUPT || rc == ERR_LIMIT)
        w->unusable++;
    else
        return rc;
    return 0;
}

/* ---- all of them ---- */

static int stream(struct pq_conn *c, struct work *w)
{
    struct pq_params p = {0};
    struct train_facts facts = {0};
    int rc = train_facts_load(c, w->request->set, w->request->policy, &facts, w->err);
    if (rc == 0)
        rc = train_facts_routes(&facts, &p);
    train_facts_deinit(&facts);
    if (rc != 0)
        return rc;
    pq_params_i64(&p, w->request->decisions);
    return pq_conn_stream(c,
                          "SELECT detail FROM decision WHERE route = ANY (string_to_array($1, "
                          "chr(10))) ORDER BY request_id DESC LIMIT $2",
                          &p, on_decision, w, w->err);
}

static int run(struct pq_conn *c, struct work *w, struct calibrate_result *out)
{
    const struct calibrate_request *q = w->request;
    size_t reached = 0;
    int rc =
        version_load(c, q->policy, q->version, q->draw_key, &w->artifact, &w->params, NULL, w->err);
    if (rc == 0)
        rc = pq_conn_open(q->conninfo, "steelyard-calibrate", 5000, 60000, &w->lookups, w->err);
    if (rc == 0)
        rc = stream(c, w);
    if (rc == 0 && w->count == 0)
        rc = err_set(w->err, ERR_NOT_FOUND,
                     "no decision of policy %s can be recomputed (%llu looked at)", q->policy,
                     (unsigned long long)w->unusable);
    if (rc != 0)
        return rc;
    out->threshold_q16 = calibrate_threshold(w->leads, w->count, q->share_millionths, &reached);
    out->decisions = w->count;
    out->unusable = w->unusable;
    out->strong = reached;
    return 0;
}

int calibrate_run(struct pq_conn *c, const struct calibrate_request *request,
                  struct calibrate_result *out, struct err *err)
{
    struct work *w = mem_zalloc(sizeof *w);
    int rc = ERR_NOMEM;
    *out = (struct calibrate_result){0};
    if (w == NULL)
        return ERR_NOMEM;
    w->request = request;
    w->err = err;
    w->leads = mem_calloc(request->decisions, sizeof *w->leads);
    if (w->leads != NULL)
        rc = run(c, w, out);
    artifact_destroy(w->artifact);
    record_cache_deinit(&w->cache);
    pq_conn_close(w->lookups);
    mem_free(w->leads);
    mem_free(w);
    return rc;
}

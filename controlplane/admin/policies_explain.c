/* What a version would change, on the last decisions. */
#include <math.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "controlplane/admin/call.h"
#include "controlplane/release/explain_run.h"

#define PARTS 1000000 /* Of shares and qualities. */

static void write_real(struct json_writer *w, const char *key, double value, double unit,
                       unsigned decimals)
{
    json_writer_key(w, key);
    if (!isfinite(value) || fabs(value * unit) > 9e18)
        json_writer_null(w);
    else
        json_writer_fixed(w, llrint(value * unit), decimals);
}

static void write_part(struct json_writer *w, const char *key, double value)
{
    write_real(w, key, value, PARTS, 6);
}

static void write_usd(struct json_writer *w, const char *key, double usd)
{
    write_real(w, key, usd, 1e9, 9);
}

static void write_basis(struct json_writer *w, const struct explain_version_figure *f)
{
    json_writer_key(w, "basis");
    json_writer_text(w, explain_version_basis_name(f->basis));
    json_writer_key(w, "rows");
    json_writer_u64(w, f->rows);
    write_real(w, "ess", f->ess, 10, 1);
    write_part(w, "weight_share", f->weight_share);
    write_part(w, "overlap", f->overlap);
}

static void write_cost(struct json_writer *w, const char *key, uint32_t rows,
                       const struct explain_version_figure *f)
{
    json_writer_key(w, key);
    json_writer_begin_object(w);
    write_usd(w, "usd", f->of.value);
    write_usd(w, "low_usd", f->of.low);
    write_usd(w, "high_usd", f->of.high);
    write_usd(w, "total_usd", f->of.value * rows);
    write_usd(w, "total_low_usd", f->of.low * rows);
    write_usd(w, "total_high_usd", f->of.high * rows);
    write_basis(w, f);
    json_writer_end_object(w);
}

static void write_quality(struct json_writer *w, const char *key,
                          const struct explain_version_figure *f)
{
    json_writer_key(w, key);
    json_writer_begin_object(w);
    write_part(w, "value", f->of.value);
    write_part(w, "low", f->of.low);
    write_part(w, "high", f->of.high);
    write_basis(w, f);
    json_writer_end_object(w);
}

static void write_models(struct json_writer *w, const struct explain_version_result *r)
{
    json_writer_key(w, "models");
    json_writer_begin_array(w);
    for (uint32_t m = 0; m < r->model_count; m++) {
        json_writer_begin_object(w);
        json_writer_key(w, "model");
        json_writer_string(w, r->model[m].name);
        write_part(w, "share_now", r->model[m].share_now);
        write_part(w, "share_then", r->model[m].share_then);
        write_part(w, "cost_factor", r->model[m].factor);
        json_writer_key(w, "calls");
        json_writer_u64(w, r->model[m].calls);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
    json_writer_key(w, "flows");
    json_writer_begin_array(w);
    for (uint32_t i = 0; i < r->flow_count; i++) {
        json_writer_begin_object(w);
        json_writer_key(w, "from");
        json_writer_string(w, r->model[r->flow[i].from].name);
        json_writer_key(w, "to");
        json_writer_string(w, r->model[r->flow[i].to].name);
        write_part(w, "share", r->flow[i].share);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
}

static void write_tasks(struct json_writer *w, const struct explain_version_result *r)
{
    json_writer_key(w, "tasks");
    json_writer_begin_array(w);
    for (uint32_t i = 0; i < r->task_count; i++) {
        const struct explain_version_task *t = &r->task[i];
        json_writer_begin_object(w);
        json_writer_key(w, "task");
        json_writer_string(w, t->name);
        json_writer_key(w, "decisions");
        json_writer_u64(w, t->rows);
        write_part(w, "churn", t->churn);
        write_usd(w, "cost_now_usd", t->cost_now);
        write_usd(w, "cost_then_usd", t->cost_then);
        write_part(w, "quality_now", t->quality_now);
        write_part(w, "quality_then", t->quality_then);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
}

static void write_time(struct json_writer *w, const char *key, int64_t us)
{
    char text[CLOCK_RFC3339_BYTES];
    clock_format_rfc3339(us, text);
    json_writer_key(w, key);
    json_writer_text(w, text);
}

static void write_run(struct json_writer *w, const struct explain_run_request *q,
                      const struct explain_run *run)
{
    const struct explain_version_result *r = &run->result;
    json_writer_begin_object(w);
    json_writer_key(w, "policy");
    json_writer_text(w, q->policy);
    json_writer_key(w, "version");
    json_writer_u64(w, q->version);
    json_writer_key(w, "against");
    if (q->against == 0)
        json_writer_null(w);
    else
        json_writer_u64(w, q->against);
    json_writer_key(w, "decisions");
    json_writer_u64(w, r->rows);
    json_writer_key(w, "units");
    json_writer_u64(w, r->units);
    json_writer_key(w, "unusable");
    json_writer_u64(w, run->unusable);
    json_writer_key(w, "named_calls");
    json_writer_u64(w, run->named);
    json_writer_key(w, "learned_from");
    json_writer_u64(w, r->learned);
    write_part(w, "optimism", r->optimism);
    write_part(w, "optimism_error", r->optimism_error);
    write_time(w, "from", run->from_us);
    write_time(w, "to", run->to_us);
    write_part(w, "churn", r->churn);
    json_writer_key(w, "cost");
    json_writer_begin_object(w);
    write_cost(w, "now", r->rows, &r->cost_now);
    write_cost(w, "then", r->rows, &r->cost_then);
    write_part(w, "change", r->cost_then.of.value / r->cost_now.of.value - 1);
    json_writer_end_object(w);
    json_writer_key(w, "quality");
    json_writer_begin_object(w);
    write_quality(w, "now", &r->quality_now);
    write_quality(w, "then", &r->quality_then);
    json_writer_end_object(w);
    write_models(w, r);
    write_tasks(w, r);
    json_writer_end_object(w);
}

static int read_number(struct admin_call *call, const char *name, uint64_t most, uint64_t *io_value,
                       struct err *err)
{
    char text[32];
    uint64_t value = 0;
    int rc = 0;
    bool given = call_query(call, name, text, sizeof text, &rc);
    if (rc != 0 || (given && (str_parse_u64(str_from(text), most, &value) != 0 || value == 0)))
        return err_set(err, ERR_INVALID, "%s: must be a number, 1 to %llu", name,
                       (unsigned long long)most);
    if (given)
        *io_value = value;
    return 0;
}

int policies_explain(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    uint64_t decisions = EXPLAIN_RUN_DEFAULT, against = 0, version = 0;
    if (str_parse_u64(str_from(call->param[1]), INT64_MAX, &version) != 0 || version == 0)
        return err_set(err, ERR_NOT_FOUND, "%s is not a version number", call->param[1]);
    int rc = read_number(call, "decisions", EXPLAIN_VERSION_ROWS_MAX, &decisions, err);
    if (rc == 0)
        rc = read_number(call, "against", INT64_MAX, &against, err);
    if (rc != 0)
        return rc;
    if (call->set == NULL)
        return err_set(err, ERR_UNAVAILABLE, "no configuration is published yet");
    struct explain_run_request request = {.conninfo = call->config->conninfo,
                                          .set = call->set,
                                          .policy = call->param[0],
                                          .version = version,
                                          .against = against,
                                          .decisions = (uint32_t)decisions,
                                          .draw_key = call->config->draw_key};
    struct explain_run *run = mem_zalloc(sizeof *run);
    if (run == NULL)
        return ERR_NOMEM;
    rc = explain_run(c, &request, run, err);
    if (rc == 0) {
        write_run(&call->w, &request, run);
        explain_run_deinit(run);
    }
    mem_free(run);
    return rc;
}

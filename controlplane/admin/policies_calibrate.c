/* At which threshold a share of a policy's last decisions goes to the strongest model. */
#include "controlplane/admin/call.h"
#include "controlplane/release/calibrate_run.h"

#define PARTS 1000000

/* A number of percent, with at most four decimals. */
static int read_share(struct admin_call *call, uint32_t *out_millionths, struct err *err)
{
    char text[32];
    int64_t value = 50 * (PARTS / 100);
    int rc = 0;
    bool given = call_query(call, "pct", text, sizeof text, &rc);
    if (rc == 0 && given)
        rc = str_parse_fixed(str_from(text), 4, &value);
    if (rc != 0 || value < 0 || value > PARTS)
        return err_set(err, ERR_INVALID, "pct: must be a percentage, 0 to 100");
    *out_millionths = (uint32_t)value;
    return 0;
}

static int read_decisions(struct admin_call *call, uint32_t *out, struct err *err)
{
    char text[32];
    uint64_t value = CALIBRATE_DEFAULT;
    int rc = 0;
    bool given = call_query(call, "decisions", text, sizeof text, &rc);
    if (rc != 0 || (given && (str_parse_u64(str_from(text), CALIBRATE_MAX, &value) != 0)) ||
        value == 0)
        return err_set(err, ERR_INVALID, "decisions: must be a number, 1 to %u", CALIBRATE_MAX);
    *out = (uint32_t)value;
    return 0;
}

/* Six decimals: read again, they are the same threshold. */
static int64_t in_millionths(uint32_t q16)
{
    return ((int64_t)q16 * PARTS + CALIBRATE_ONE / 2) / CALIBRATE_ONE;
}

static void write_result(struct json_writer *w, const struct calibrate_request *q,
                         const struct calibrate_result *r)
{
    const int64_t threshold = in_millionths(r->threshold_q16);
    char model[192];
    json_writer_begin_object(w);
    json_writer_key(w, "policy");
    json_writer_text(w, q->policy);
    json_writer_key(w, "version");
    json_writer_u64(w, q->version);
    json_writer_key(w, "threshold");
    json_writer_fixed(w, threshold, 6);
    json_writer_key(w, "strong_share");
    json_writer_fixed(w, (int64_t)(r->strong * PARTS / r->decisions), 6);
    json_writer_key(w, "decisions");
    json_writer_u64(w, r->decisions);
    json_writer_key(w, "unusable");
    json_writer_u64(w, r->unusable);
    snprintf(model, sizeof model, "router-%s-%lld.%06lld", q->policy,
             (long long)(threshold / PARTS), (long long)(threshold % PARTS));
    json_writer_key(w, "model");
    json_writer_text(w, model);
    json_writer_end_object(w);
}

int policies_calibrate(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    uint64_t version = 0;
    struct calibrate_result result;
    struct calibrate_request q = {.conninfo = call->config->conninfo,
                                  .set = call->set,
                                  .policy = call->param[0],
                                  .draw_key = call->config->draw_key};
    if (str_parse_u64(str_from(call->param[1]), INT64_MAX, &version) != 0 || version == 0)
        return err_set(err, ERR_NOT_FOUND, "%s is not a version number", call->param[1]);
    q.version = version;
    int rc = read_share(call, &q.share_millionths, err);
    if (rc == 0)
        rc = read_decisions(call, &q.decisions, err);
    if (rc != 0)
        return rc;
    if (call->set == NULL)
        return err_set(err, ERR_UNAVAILABLE, "no configuration is published yet");
    rc = calibrate_run(c, &q, &result, err);
    if (rc == 0)
        write_result(&call->w, &q, &result);
    return rc;
}

#include "controlplane/release/version_load.h"

#include "common/base/buf.h"
#include "controlplane/release/record.h"

#define ARTIFACT_MAX (64U << 20)
#define PARAMS_MAX   65536U

int version_load(struct pq_conn *c, const char *policy, uint64_t number,
                 struct siphash_key draw_key, struct artifact **out_artifact,
                 struct policy_params *out_params, struct buf *out_report, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    struct buf params = {0};
    struct buf file = {0};
    enum artifact_reason reason;
    buf_init(&params, PARAMS_MAX);
    buf_init(&file, ARTIFACT_MAX);
    pq_params_text(&p, str_from(policy));
    pq_params_i64(&p, (int64_t)number);
    int rc = pq_conn_query(
        c,
        "SELECT q.body, a.body, v.report FROM policy_version v JOIN policy_params q ON "
        "q.sha256 = v.params LEFT JOIN policy_artifact a ON a.sha256 = "
        "v.artifact WHERE v.name = $1 AND v.version = $2",
        &p, &r, err);
    if (rc == 0 && pq_result_rows(r) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "there is no policy version %s@%llu", policy,
                     (unsigned long long)number);
    if (rc == 0)
        rc = pq_result_bytes(r, 0, 0, &params);
    if (rc == 0 && !pq_result_is_null(r, 0, 1)) {
        rc = pq_result_bytes(r, 0, 1, &file);
        if (rc == 0)
            rc = artifact_decode(buf_str(&file), out_artifact, &reason, err);
    }
    if (rc == 0 && out_report != NULL)
        rc = buf_append_str(out_report, pq_result_text(r, 0, 2));
    policy_params_init(out_params);
    if (rc == 0)
        rc = record_params(buf_str(&params), *out_artifact, out_params);
    out_params->draw_key = draw_key;
    pq_result_destroy(r);
    buf_deinit(&params);
    buf_deinit(&file);
    return rc;
}

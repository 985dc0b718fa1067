#include "common/net/probes.h"

#include "common/base/buf.h"
#include "common/metrics/metrics.h"

#define METRICS_BYTES_MAX (64U << 20)
#define PROBE_BYTES_MAX   16384U

static const struct {
    const char *path;
    enum probe_kind kind;
} rows[] = {
    {"/livez", PROBE_LIVE},
    {"/healthz", PROBE_LIVE},
    {"/readyz", PROBE_READY},
    {"/startupz", PROBE_STARTUP},
};

static void reply_metrics(const struct probes *p, struct httpd_request *req)
{
    struct buf out;
    enum metrics_format format = metrics_negotiate(httpd_header(req, STR("accept")));
    if (p->metrics == NULL) {
        httpd_reply(req, 404, STR("text/plain"), STR("not found\n"));
        return;
    }
    buf_init(&out, METRICS_BYTES_MAX);
    if (metrics_write(p->metrics, format, &out) == 0)
        httpd_reply(req, 200, metrics_content_type(format), buf_str(&out));
    else
        httpd_reply(req, 503, STR("text/plain"), STR("out of memory\n"));
    buf_deinit(&out);
}

static void reply_probe(const struct probes *p, enum probe_kind kind, struct httpd_request *req)
{
    struct buf out;
    bool all = true;
    int rc = 0;
    bool verbose = httpd_query_get(req, STR("verbose")).data != NULL;
    buf_init(&out, PROBE_BYTES_MAX);
    for (size_t i = 0; i < p->check_count; i++) {
        const struct probe_check *c = &p->checks[i];
        if (c->kind != kind)
            continue;
        bool ok = c->check(c->arg);
        all = all && ok;
        if (verbose && rc == 0)
            rc = buf_printf(&out, "[%c] %s\n", ok ? '+' : '-', c->name);
    }
    if (rc == 0)
        rc = buf_append_text(&out, all ? "ok\n" : "failed\n");
    httpd_reply(req, all ? 200 : 503, STR("text/plain"),
                rc == 0 ? buf_str(&out) : STR("out of memory\n"));
    buf_deinit(&out);
}

static bool is_ours(struct str path)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (str_is(path, rows[i].path))
            return true;
    return str_is(path, "/metrics");
}

bool probes_handle(const struct probes *p, struct httpd_request *req)
{
    struct str path = httpd_path(req);
    if (!is_ours(path))
        return false;
    if (httpd_method(req) != HTTP1_GET && httpd_method(req) != HTTP1_HEAD) {
        httpd_reply(req, 405, STR("text/plain"), STR("method not allowed\n"));
        return true;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (str_is(path, rows[i].path)) {
            reply_probe(p, rows[i].kind, req);
            return true;
        }
    }
    reply_metrics(p, req);
    return true;
}

void probes_on_request(void *probes, struct httpd_request *req)
{
    if (!probes_handle(probes, req))
        httpd_reply(req, 404, STR("text/plain"), STR("not found\n"));
}

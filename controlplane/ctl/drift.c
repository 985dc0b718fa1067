/* What was found to have changed. */
#include <stdio.h>

#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/query.h"

static const struct column print_columns[] = {
    {.title = "MODEL", .path = "model"},
    {.title = "DEPLOYMENT", .path = "server"},
    {.title = "ANSWERS SAY", .path = "text"},
    {.title = "SINCE", .path = "since"},
    {.title = "LAST SEEN", .path = "last_seen"},
    {.title = "ANSWERS", .path = "requests", .kind = COLUMN_NUMBER},
    {.title = "DRIFT", .path = "drift"},
    {.title = "FIRST SEEN", .path = "first_seen", .wide = true},
    {.title = "FINGERPRINT", .path = "fingerprint", .wide = true},
    {.title = NULL},
};
static const struct column drift_columns[] = {
    {.title = "TIME", .path = "ts"},
    {.title = "MODEL", .path = "model"},
    {.title = "CHANGE", .path = "kind"},
    {.title = "VALUE", .path = "value", .kind = COLUMN_NUMBER},
    {.title = "BIAS", .path = "bias", .kind = COLUMN_NUMBER},
    {.title = "DEPLOYMENT", .path = "server"},
    {.title = "ANSWERS SAY", .path = "text"},
    {.title = "VERSION", .path = "version", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "FINGERPRINT", .path = "fingerprint", .wide = true},
    {.title = NULL},
};

static enum ctl_exit show(struct ctl *c, struct query *q, const struct column *columns,
                          const char *name)
{
    json_t *page = NULL;
    char limit[24];
    snprintf(limit, sizeof limit, "%llu", (unsigned long long)ctl_u64(c, "limit"));
    query_parameter(q, "limit", ctl_u64(c, "limit") == 0 ? NULL : limit);
    enum ctl_exit code = client_call(c, "GET", query_path(q), NULL, &page);
    query_deinit(q);
    if (code == CTL_OK)
        code = output_list(c, columns, json_object_get(page, "items"), name);
    json_decref(page);
    return code;
}

enum ctl_exit models_fingerprints(struct ctl *c)
{
    struct query q;
    query_init(&q, "/models/fingerprints");
    query_parameter(&q, "model", ctl_arg(c, 0));
    return show(c, &q, print_columns, "fingerprint");
}

enum ctl_exit policies_drift(struct ctl *c)
{
    struct query q;
    query_init(&q, "/policies");
    query_part(&q, ctl_arg(c, 0));
    query_literal(&q, "/drift");
    return show(c, &q, drift_columns, "id");
}

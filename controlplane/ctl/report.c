#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/query.h"

static const struct column columns[] = {
    {.title = "Decisions", .path = "decisions"},
    {.title = "Cost", .path = "cost_usd", .kind = COLUMN_USD},
    {.title = "  routed, without retries",
     .path = "cost_routed_usd",
     .kind = COLUMN_USD,
     .wide = true},
    {.title = "  always the best model", .path = "cost_always_best_usd", .kind = COLUMN_USD},
    {.title = "  always the cheapest", .path = "cost_always_cheapest_usd", .kind = COLUMN_USD},
    {.title = "Quality (mean feedback)", .path = "quality", .kind = COLUMN_PERCENT},
    {.title = "Failed", .path = "failed"},
    {.title = "Explored", .path = "explored"},
    {.title = "Feedback coverage", .path = "feedback_coverage", .kind = COLUMN_PERCENT},
    {.title = NULL},
};
static const struct column model_columns[] = {
    {.title = "MODEL", .path = "model"},
    {.title = "DECISIONS", .path = "decisions", .kind = COLUMN_NUMBER},
    {.title = "COST", .path = "cost_usd", .kind = COLUMN_USD},
    {.title = "QUALITY", .path = "quality", .kind = COLUMN_PERCENT},
    {.title = NULL},
};
static const struct column policy_columns[] = {
    {.title = "POLICY", .path = "policy"},
    {.title = "DECISIONS", .path = "decisions", .kind = COLUMN_NUMBER},
    {.title = "COST", .path = "cost_usd", .kind = COLUMN_USD},
    {.title = "QUALITY", .path = "quality", .kind = COLUMN_PERCENT},
    {.title = NULL},
};
static const struct column day_columns[] = {
    {.title = "DAY", .path = "day"},
    {.title = "DECISIONS", .path = "decisions", .kind = COLUMN_NUMBER},
    {.title = "COST", .path = "cost_usd", .kind = COLUMN_USD},
    {.title = "QUALITY", .path = "quality", .kind = COLUMN_PERCENT},
    {.title = NULL},
};

static enum ctl_exit print_parts(struct ctl *c, const json_t *report)
{
    const struct {
        const char *member, *name;
        const struct column *columns;
    } parts[] = {{"by_model", "model", model_columns},
                 {"by_policy", "policy", policy_columns},
                 {"by_day", "day", day_columns}};
    enum ctl_exit code = CTL_OK;
    for (size_t i = 0; code == CTL_OK && i < sizeof(parts) / sizeof(parts[0]); i++) {
        const json_t *items = json_object_get(report, parts[i].member);
        if (json_array_size(items) == 0)
            continue;
        fputc('\n', c->out);
        code = output_list(c, parts[i].columns, items, parts[i].name);
    }
    return code;
}

enum ctl_exit report_show(struct ctl *c)
{
    struct err err = {0};
    struct query q;
    json_t *report = NULL;
    char since[40];
    if (nouns_time(ctl_text(c, "since"), since, &err) != 0)
        return ctl_fail(c, CTL_USAGE, "--since: %s", err.message);
    query_init(&q, "/report");
    query_parameter(&q, "since", since);
    enum ctl_exit code = client_call(c, "GET", query_path(&q), NULL, &report);
    if (code == CTL_OK)
        code = output_object(c, columns, report, "decisions");
    if (code == CTL_OK && output_is_table(c))
        code = print_parts(c, report);
    json_decref(report);
    query_deinit(&q);
    return code;
}

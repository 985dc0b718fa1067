#include <string.h>

#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/query.h"

#define FIGURES                                                                                    \
    {.title = "DECISIONS", .path = "decisions", .kind = COLUMN_NUMBER},                            \
        {.title = "FAILED", .path = "failed", .kind = COLUMN_NUMBER, .wide = true},                \
        {.title = "COST", .path = "cost_usd", .kind = COLUMN_USD},                                 \
        {.title = "UNPRICED", .path = "unpriced", .kind = COLUMN_NUMBER},                          \
        {.title = "TOKENS IN", .path = "tokens_in", .kind = COLUMN_NUMBER},                        \
        {.title = "TOKENS OUT", .path = "tokens_out", .kind = COLUMN_NUMBER},                      \
        {.title = "CACHED", .path = "tokens_cached", .kind = COLUMN_NUMBER, .wide = true},         \
        {.title = "REASONING", .path = "tokens_reasoning", .kind = COLUMN_NUMBER, .wide = true},   \
        {.title = "ESTIMATED",                                                                     \
         .path = "cost_by_source_usd.estimated",                                                   \
         .kind = COLUMN_USD,                                                                       \
         .wide = true},                                                                            \
    {                                                                                              \
        .title = NULL                                                                              \
    }

static const struct column total_columns[] = {FIGURES};
static const struct column adjustment_columns[] = {
    {.title = "BUDGET", .path = "budget", .kind = COLUMN_NUMBER},
    {.title = "ACCOUNT", .path = "account"},
    {.title = "PERIOD", .path = "period"},
    {.title = "START", .path = "period_start"},
    {.title = "REASON", .path = "reason"},
    {.title = "COUNT", .path = "count", .kind = COLUMN_NUMBER},
    {.title = "AMOUNT", .path = "amount_usd"},
    {.title = NULL},
};
static const struct column check_columns[] = {
    {.title = "ID", .path = "id", .kind = COLUMN_NUMBER},
    {.title = "STARTED", .path = "started"},
    {.title = "BY", .path = "actor"},
    {.title = "BUDGETS", .path = "budgets", .kind = COLUMN_NUMBER},
    {.title = "DAYS", .path = "days", .kind = COLUMN_NUMBER},
    {.title = "DIFFERING", .path = "differing", .kind = COLUMN_NUMBER},
    {.title = "ALARMS", .path = "alarms", .kind = COLUMN_NUMBER},
    {.title = "WORST %", .path = "worst_percent"},
    {.title = "TRUED UP", .path = "trued_up", .kind = COLUMN_NUMBER},
    {.title = NULL},
};
static const struct column difference_columns[] = {
    {.title = "KIND", .path = "kind"},
    {.title = "ACCOUNT", .path = "account"},
    {.title = "PERIOD START", .path = "period_start"},
    {.title = "DAY", .path = "day"},
    {.title = "COUNTED", .path = "counted_usd"},
    {.title = "BOOKED", .path = "booked_usd"},
    {.title = "%", .path = "percent"},
    {.title = "MOVING", .path = "moving", .kind = COLUMN_BOOL},
    {.title = "ALARM", .path = "alarm", .kind = COLUMN_BOOL},
    {.title = NULL},
};

static enum ctl_exit print_spend(struct ctl *c, const json_t *reply, const char *by)
{
    const struct column columns[] = {{.title = "", .path = by}, FIGURES};
    const json_t *adjustments = json_object_get(reply, "adjustments");
    json_t *total = json_array();
    enum ctl_exit code = output_list(c, columns, json_object_get(reply, "items"), by);
    if (!output_is_table(c)) {
        json_decref(total);
        return code;
    }
    json_array_append(total, json_object_get(reply, "total"));
    fputs("\nAll of it, each decision once:\n", c->out);
    if (code == CTL_OK)
        code = output_list(c, total_columns, total, "decisions");
    json_decref(total);
    if (code == CTL_OK && json_array_size(adjustments) > 0) {
        fputs("\nCorrections of budgets in that time:\n", c->out);
        code = output_list(c, adjustment_columns, adjustments, "budget");
    }
    return code;
}

enum ctl_exit spend_show(struct ctl *c)
{
    static const char *const same[] = {"by", "account", "key", "team", "model", "policy"};
    struct err err = {0};
    struct query q;
    json_t *reply = NULL;
    char since[40], until[40], limit[24];
    if (nouns_time(ctl_text(c, "since"), since, &err) != 0)
        return ctl_fail(c, CTL_USAGE, "--since: %s", err.message);
    if (nouns_time(ctl_text(c, "until"), until, &err) != 0)
        return ctl_fail(c, CTL_USAGE, "--until: %s", err.message);
    query_init(&q, "/spend");
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        query_parameter(&q, same[i], ctl_text(c, same[i]));
    query_parameter(&q, "since", since);
    query_parameter(&q, "until", until[0] == '\0' ? NULL : until);
    snprintf(limit, sizeof limit, "%llu", (unsigned long long)ctl_u64(c, "limit"));
    query_parameter(&q, "limit", ctl_u64(c, "limit") == 0 ? "1000" : limit);
    enum ctl_exit code = client_call(c, "GET", query_path(&q), NULL, &reply);
    if (code == CTL_OK)
        code = output_is_json(c) ? output_json(c, reply) : print_spend(c, reply, ctl_text(c, "by"));
    json_decref(reply);
    query_deinit(&q);
    return code;
}

enum ctl_exit spend_checks(struct ctl *c)
{
    json_t *items = NULL;
    enum ctl_exit code = client_list(c, "/spend/checks", ctl_u64(c, "limit"), &items);
    if (code == CTL_OK)
        code = output_list(c, check_columns, items, "id");
    json_decref(items);
    return code;
}

enum ctl_exit spend_reconcile(struct ctl *c)
{
    struct err err = {0};
    json_t *reply = NULL;
    char since[40];
    if (nouns_time(ctl_text(c, "since"), since, &err) != 0)
        return ctl_fail(c, CTL_USAGE, "--since: %s", err.message);
    json_t *body = json_pack("{s:s}", "since", since);
    if (body != NULL && ctl_text(c, "reason") != NULL)
        json_object_set_new(body, "reason", json_string(ctl_text(c, "reason")));
    enum ctl_exit code = client_call(c, "POST", "/spend/reconcile", body, &reply);
    if (code == CTL_OK)
        code = output_object(c, check_columns, reply, "id");
    const json_t *differences = json_object_get(reply, "differences");
    if (code == CTL_OK && output_is_table(c) && json_array_size(differences) > 0) {
        fputc('\n', c->out);
        code = output_list(c, difference_columns, differences, "budget");
    }
    if (code == CTL_OK && json_integer_value(json_object_get(reply, "alarms")) > 0)
        code = CTL_NO;
    json_decref(reply);
    return code;
}

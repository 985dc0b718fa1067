#include "controlplane/ctl/change.h"
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nodes_wait.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/query.h"

static const struct column columns[] = {
    {.title = "ID", .path = "id", .kind = COLUMN_NUMBER},
    {.title = "ACCOUNT", .path = "account"},
    {.title = "LIMIT", .path = "limit_usd"},
    {.title = "PERIOD", .path = "period"},
    {.title = "SETTLED", .path = "settled_usd"},
    {.title = "COMMITTED", .path = "committed_usd"},
    {.title = "REMAINING", .path = "remaining_usd"},
    {.title = "MODE", .path = "mode"},
    {.title = "TZ", .path = "tz", .wide = true},
    {.title = "START", .path = "period_start", .wide = true},
    {.title = "END", .path = "period_end"},
    {.title = "WARN %", .path = "warn_percent", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "CARRY", .path = "carry", .wide = true},
    {.title = "OFFLINE", .path = "offline_usd", .wide = true},
    {.title = "WEBHOOK", .path = "webhook", .wide = true},
    {.title = "REMOVED", .path = "removed", .wide = true},
    {.title = NULL},
};
static const struct change_field fields[] = {
    {"account", "account", CHANGE_TEXT},
    {"limit-usd", "limit_usd", CHANGE_TEXT},
    {"period", "period", CHANGE_TEXT},
    {"tz", "tz", CHANGE_TEXT},
    {"anchor", "anchor", CHANGE_TEXT},
    {"mode", "mode", CHANGE_TEXT},
    {"warn-percent", "warn_percent", CHANGE_NUMBER},
    {"carry", "carry", CHANGE_TEXT},
    {"offline-usd", "offline_usd", CHANGE_TEXT},
    {"webhook", "webhook", CHANGE_TEXT},
    {.flag = NULL},
};

static enum ctl_exit print(struct ctl *c, enum ctl_exit code, json_t *reply)
{
    enum ctl_format format = c->format;
    if (format == CTL_TABLE)
        c->format = CTL_WIDE; /* One object has room for all of it. */
    if (code == CTL_OK)
        code = output_object(c, columns, reply, "id");
    c->format = format;
    json_decref(reply);
    return code;
}

/* `set --account A`: the budget of that account and period; `set ID`: that one. */
enum ctl_exit budgets_set(struct ctl *c)
{
    json_t *reply = NULL;
    bool by_id = ctl_arg(c, 0) != NULL;
    if (by_id == (ctl_text(c, "account") != NULL))
        return ctl_fail(c, CTL_USAGE, "name a budget's ID, or --account and --period");
    enum ctl_exit code = change_post(c, "/budgets", by_id ? "update" : NULL, fields, &reply);
    return nodes_after(c, code, reply, print);
}

enum ctl_exit budgets_list(struct ctl *c)
{
    struct query q;
    json_t *items = NULL;
    query_init(&q, "/budgets");
    query_parameter(&q, "account", ctl_text(c, "account"));
    query_parameter(&q, "removed", ctl_bool(c, "removed") ? "true" : NULL);
    enum ctl_exit code = client_list(c, query_path(&q), ctl_u64(c, "limit"), &items);
    if (code == CTL_OK)
        code = output_list(c, columns, items, "id");
    json_decref(items);
    query_deinit(&q);
    return code;
}

enum ctl_exit budgets_show(struct ctl *c)
{
    struct query q;
    json_t *reply = NULL;
    query_init(&q, "/budgets");
    query_part(&q, ctl_arg(c, 0));
    enum ctl_exit code = client_call(c, "GET", query_path(&q), NULL, &reply);
    query_deinit(&q);
    return print(c, code, reply);
}

enum ctl_exit budgets_remove(struct ctl *c)
{
    json_t *reply = NULL;
    enum ctl_exit code = change_confirm(
        c, "Remove budget %s? Its account is then not limited by it.", ctl_arg(c, 0));
    if (code == CTL_OK)
        code = change_post(c, "/budgets", "delete", NULL, &reply);
    return nodes_after(c, code, reply, print);
}

/* `steelyard audit ...`: who decided what, at whose cost, and who changed it. Tables for people;
 * with -o json, jsonl or csv the answers of the admin API as they are. */
#include <string.h>

#include "controlplane/ctl/client.h"
#include "controlplane/ctl/decision_tables.h"
#include "controlplane/ctl/export.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/query.h"

static const struct column request_facts[] = {
    {.title = "Decision", .path = "id"},
    {.title = "Time", .path = "ts"},
    {.title = "Key", .path = "key_id"},
    {.title = "Asked for", .path = "alias"},
    {.title = "Route", .path = "route"},
    {.title = "Policy", .path = "policy"},
    {.title = "Chosen", .path = "chosen"},
    {.title = "Best by utility", .path = "greedy"},
    {.title = "Served", .path = "served"},
    {.title = "Status", .path = "status"},
    {.title = "HTTP", .path = "http_status", .kind = COLUMN_NUMBER},
    {.title = "Cost", .path = "cost_usd", .kind = COLUMN_USD},
    {.title = "Reserved", .path = "reserved_usd", .kind = COLUMN_USD},
    {.title = "Rollout", .path = "rollout.id", .kind = COLUMN_NUMBER},
    {.title = "Arm", .path = "rollout.arm"},
    {.title = "Stage", .path = "rollout.stage", .kind = COLUMN_NUMBER},
    {.title = "Node", .path = "node_id"},
    {.title = "Generation", .path = "generation", .kind = COLUMN_NUMBER},
    {.title = NULL},
};
static const struct column feedback[] = {
    {.title = "FEEDBACK", .path = "source"},
    {.title = "SCORE", .path = "score", .kind = COLUMN_NUMBER},
    {.title = "LABEL", .path = "label"},
    {.title = "RECEIVED", .path = "received"},
    {.title = NULL},
};
static const struct column charges[] = {
    {.title = "BUDGET", .path = "budget", .kind = COLUMN_NUMBER},
    {.title = "PERIOD START", .path = "period_start"},
    {.title = "ONLY OF MODEL", .path = "model"},
    {.title = NULL},
};
static const struct column repriced[] = {
    {.title = "ATTEMPT RATED AGAIN", .path = "attempt", .kind = COLUMN_NUMBER},
    {.title = "COST", .path = "cost_usd", .kind = COLUMN_USD},
    {.title = "BY", .path = "actor"},
    {.title = "WHEN", .path = "created"},
    {.title = NULL},
};
static const struct column decisions[] = {
    {.title = "ID", .path = "id"},
    {.title = "TIME", .path = "ts"},
    {.title = "KEY", .path = "key_id", .wide = true},
    {.title = "ASKED", .path = "alias"},
    {.title = "CHOSEN", .path = "chosen"},
    {.title = "BEST", .path = "greedy"},
    {.title = "BECAUSE", .path = "because"},
    {.title = "SERVED", .path = "served"},
    {.title = "POLICY", .path = "policy", .wide = true},
    {.title = "STATUS", .path = "status"},
    {.title = "COST", .path = "cost_usd", .kind = COLUMN_USD},
    {.title = NULL},
};
static const struct column elsewhere[] = {
    {.title = "ID", .path = "id"},
    {.title = "TIME", .path = "ts"},
    {.title = "KEY", .path = "key_id", .wide = true},
    {.title = "CHOSEN", .path = "chosen"},
    {.title = "SERVED", .path = "served"},
    {.title = "TRIED BEFORE", .path = "failed_attempts", .kind = COLUMN_LIST},
    {.title = "POLICY", .path = "policy", .wide = true},
    {.title = "COST", .path = "cost_usd", .kind = COLUMN_USD},
    {.title = NULL},
};
static const struct column of_key[] = {
    {.title = "ID", .path = "id"},
    {.title = "TIME", .path = "ts"},
    {.title = "ASKED", .path = "alias"},
    {.title = "CHOSEN", .path = "chosen"},
    {.title = "SERVED", .path = "served"},
    {.title = "POLICY", .path = "policy", .wide = true},
    {.title = "STATUS", .path = "status"},
    {.title = "COST", .path = "cost_usd", .kind = COLUMN_USD},
    {.title = "EXCLUDED", .path = "excluded", .kind = COLUMN_LIST},
    {.title = NULL},
};
static const struct column periods[] = {
    {.title = "BUDGET", .path = "budget", .kind = COLUMN_NUMBER},
    {.title = "PERIOD", .path = "period"},
    {.title = "START", .path = "period_start"},
    {.title = "LIMIT", .path = "limit_usd", .kind = COLUMN_USD},
    {.title = "SETTLED", .path = "settled_usd", .kind = COLUMN_USD},
    {.title = "ADJUSTED", .path = "adjusted_usd"},
    {.title = "SPENT", .path = "spent_usd", .kind = COLUMN_USD},
    {.title = "USED", .path = "used", .kind = COLUMN_PERCENT},
    {.title = "OVER", .path = "over", .kind = COLUMN_BOOL},
    {.title = "BY DECISIONS", .path = "by_decisions_usd", .kind = COLUMN_USD, .wide = true},
    {.title = "CHARGES", .path = "charges", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "CORRECTIONS", .path = "adjustment_count", .kind = COLUMN_NUMBER},
    {.title = NULL},
};
static const struct column rollout_facts[] = {
    {.title = "Rollout", .path = "id", .kind = COLUMN_NUMBER},
    {.title = "Stable", .path = "stable"},
    {.title = "Candidate", .path = "candidate"},
    {.title = "State", .path = "state"},
    {.title = "Share", .path = "share", .kind = COLUMN_PERCENT},
    {.title = "Started by", .path = "created_by"},
    {.title = "Reason", .path = "reason"},
    {.title = NULL},
};
static const struct column events[] = {
    {.title = "TIME", .path = "ts"},
    {.title = "FROM", .path = "from"},
    {.title = "TO", .path = "to"},
    {.title = "STAGE", .path = "to_stage", .kind = COLUMN_NUMBER},
    {.title = "SHARE", .path = "share", .kind = COLUMN_PERCENT},
    {.title = "ACTOR", .path = "actor"},
    {.title = "REASON", .path = "reason"},
    {.title = NULL},
};
static const struct column log_columns[] = {
    {.title = "ID", .path = "id", .kind = COLUMN_NUMBER},
    {.title = "TIME", .path = "ts"},
    {.title = "ACTOR", .path = "actor"},
    {.title = "ACTION", .path = "action"},
    {.title = "SUBJECT", .path = "subject"},
    {.title = "REASON", .path = "reason"},
    {.title = "ROWS", .path = "change_count", .kind = COLUMN_NUMBER},
    {.title = NULL},
};
static const struct column log_csv[] = {
    {.title = "ID", .path = "id"},           {.title = "TS", .path = "ts"},
    {.title = "ACTOR", .path = "actor"},     {.title = "ACTION", .path = "action"},
    {.title = "SUBJECT", .path = "subject"}, {.title = "REASON", .path = "reason"},
    {.title = "DETAIL", .path = "detail"},   {.title = "GENERATION", .path = "generation"},
    {.title = "CHANGES", .path = "changes"}, {.title = NULL},
};

enum ctl_exit audit_request(struct ctl *c)
{
    struct query q;
    json_t *r = NULL;
    query_init(&q, "/audit/requests");
    query_part(&q, ctl_arg(c, 0));
    enum ctl_exit code = client_call(c, "GET", query_path(&q), NULL, &r);
    query_deinit(&q);
    if (code == CTL_OK && !output_is_table(c)) {
        code = output_object(c, request_facts, r, "id");
    } else if (code == CTL_OK) {
        code = output_object(c, request_facts, r, "id");
        if (code == CTL_OK)
            code = decision_tables_candidates(c, NULL, false, r);
        if (code == CTL_OK) /* `attempts` is the list; a list's row has the number there. */
            code = decision_tables_attempts(c, NULL, r);
        if (code == CTL_OK)
            code = decision_tables_part(c, NULL, charges, json_object_get(r, "charges"));
        if (code == CTL_OK)
            code = decision_tables_part(c, NULL, repriced, json_object_get(r, "repriced"));
        if (code == CTL_OK)
            code = decision_tables_part(c, NULL, feedback, json_object_get(r, "feedback"));
    }
    json_decref(r);
    return code;
}

/* --since, --until and --limit of a list. */
static enum ctl_exit add_range(struct ctl *c, struct query *q)
{
    struct err err = {0};
    char since[40], until[40], page[24];
    uint64_t limit = ctl_u64(c, "limit");
    if (nouns_time(ctl_text(c, "since"), since, &err) != 0)
        return ctl_fail(c, CTL_USAGE, "--since: %s", err.message);
    if (nouns_time(ctl_text(c, "until"), until, &err) != 0)
        return ctl_fail(c, CTL_USAGE, "--until: %s", err.message);
    (void)snprintf(page, sizeof page, "%llu",
                   (unsigned long long)(limit > 0 && limit < 1000 ? limit : 1000));
    query_parameter(q, "since", since);
    query_parameter(q, "until", until);
    query_parameter(q, "limit", page);
    return CTL_OK;
}

static enum ctl_exit print_pages(struct ctl *c, struct query *q, const struct column *columns)
{
    json_t *items = NULL;
    enum ctl_exit code = add_range(c, q);
    if (code == CTL_OK)
        code = client_list(c, query_path(q), ctl_u64(c, "limit"), &items);
    if (code == CTL_OK)
        code = output_list(c, columns, items, "id");
    json_decref(items);
    query_deinit(q);
    return code;
}

/* {"model": ["BUDGET"]} becomes "model: BUDGET", so that a cell can show it. */
static int flatten_exclusions(json_t *items)
{
    size_t i, n;
    json_t *item, *bits, *bit;
    const char *model;
    json_array_foreach(items, i, item)
    {
        json_t *list = json_array();
        json_object_foreach(json_object_get(item, "excluded"), model, bits)
        {
            json_array_foreach(bits, n, bit)
            {
                if (json_array_append_new(
                        list, json_sprintf("%s: %s", model, json_string_value(bit))) != 0)
                    return ERR_NOMEM;
            }
        }
        if (json_object_set_new(item, "excluded", list) != 0)
            return ERR_NOMEM;
    }
    return 0;
}

enum ctl_exit audit_key(struct ctl *c)
{
    struct err err = {0};
    struct query q;
    json_t *items = NULL;
    char hour[40];
    if (nouns_time(ctl_text(c, "hour"), hour, &err) != 0)
        return ctl_fail(c, CTL_USAGE, "--hour: %s", err.message);
    query_init(&q, "/audit/keys");
    query_part(&q, ctl_arg(c, 0));
    query_parameter(&q, "hour", hour);
    enum ctl_exit code = add_range(c, &q);
    if (code == CTL_OK)
        code = client_list(c, query_path(&q), ctl_u64(c, "limit"), &items);
    if (code == CTL_OK && output_is_table(c) && flatten_exclusions(items) != 0)
        code = ctl_fail(c, CTL_FAILED, "%s", err_text(ERR_NOMEM));
    if (code == CTL_OK)
        code = output_list(c, of_key, items, "id");
    json_decref(items);
    query_deinit(&q);
    return code;
}

enum ctl_exit audit_off_greedy(struct ctl *c)
{
    struct query q;
    query_init(&q, "/audit/off-greedy");
    query_parameter(&q, "policy", ctl_arg(c, 0));
    return print_pages(c, &q, decisions);
}

enum ctl_exit audit_served_elsewhere(struct ctl *c)
{
    struct query q;
    query_init(&q, "/audit/served-elsewhere");
    return print_pages(c, &q, elsewhere);
}

enum ctl_exit audit_spend(struct ctl *c)
{
    struct query q;
    query_init(&q, "/audit/spend");
    query_parameter(&q, "account", ctl_arg(c, 0));
    return print_pages(c, &q, periods);
}

enum ctl_exit audit_rollout(struct ctl *c)
{
    struct query q;
    json_t *r = NULL;
    query_init(&q, "/audit/rollouts");
    query_part(&q, ctl_arg(c, 0));
    query_parameter(&q, "stage", ctl_text(c, "stage"));
    enum ctl_exit code = client_call(c, "GET", query_path(&q), NULL, &r);
    query_deinit(&q);
    if (code == CTL_OK)
        code = output_object(c, rollout_facts, r, "id");
    if (code == CTL_OK && output_is_table(c)) {
        size_t i;
        json_t *event;
        const json_t *list = json_object_get(r, "events");
        code = decision_tables_part(c, NULL, events, list);
        /* Of one stage: the evidence as well. Of all it would fill the screen. */
        json_array_foreach(list, i, event)
        {
            if (code != CTL_OK || ctl_text(c, "stage") == NULL)
                break;
            fputc('\n', c->out);
            code = output_json(c, json_object_get(event, "evidence"));
        }
    }
    json_decref(r);
    return code;
}

static void add_log_filters(struct ctl *c, struct query *q)
{
    query_parameter(q, "actor", ctl_text(c, "actor"));
    query_parameter(q, "action", ctl_text(c, "action"));
    query_parameter(q, "subject", ctl_text(c, "subject"));
}

enum ctl_exit audit_log(struct ctl *c)
{
    struct query q;
    query_init(&q, "/audit");
    add_log_filters(c, &q);
    return print_pages(c, &q, c->format == CTL_CSV ? log_csv : log_columns);
}

enum ctl_exit audit_export(struct ctl *c)
{
    struct query q;
    query_init(&q, "/audit");
    add_log_filters(c, &q);
    enum ctl_exit code = add_range(c, &q);
    if (code == CTL_OK)
        code = export_pages(c, query_path(&q), log_csv, "rows of the log");
    query_deinit(&q);
    return code;
}

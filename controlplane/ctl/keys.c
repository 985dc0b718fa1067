#include <string.h>

#include "common/base/str.h"
#include "controlplane/ctl/change.h"
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nodes_wait.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/query.h"

static const struct column columns[] = {
    {.title = "ID", .path = "id"},
    {.title = "NAME", .path = "name"},
    {.title = "TEAM", .path = "team", .wide = true},
    {.title = "ROUTES", .path = "routes", .kind = COLUMN_LIST},
    {.title = "MODELS", .path = "models", .kind = COLUMN_LIST},
    {.title = "RPM", .path = "rpm", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "TPM", .path = "tpm", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "ROLE", .path = "role", .wide = true},
    {.title = "DISABLED", .path = "disabled", .kind = COLUMN_BOOL},
    {.title = "CREATED", .path = "created"},
    {.title = "EXPIRES", .path = "expires", .wide = true},
    {.title = "LAST USED", .path = "last_used"},
    {.title = NULL},
};
static const struct column one_columns[] = {
    {.title = "ID", .path = "id"},
    {.title = "Name", .path = "name"},
    {.title = "Key", .path = "key"},
    {.title = "Role", .path = "role"},
    {.title = "Team", .path = "team"},
    {.title = "Organisation", .path = "org"},
    {.title = "User", .path = "user"},
    {.title = "Routes", .path = "routes", .kind = COLUMN_LIST},
    {.title = "Models", .path = "models", .kind = COLUMN_LIST},
    {.title = "Endpoints", .path = "endpoints", .kind = COLUMN_LIST},
    {.title = "Tags", .path = "tags", .kind = COLUMN_LIST},
    {.title = "Requests/min", .path = "rpm", .kind = COLUMN_NUMBER},
    {.title = "Tokens/min", .path = "tpm", .kind = COLUMN_NUMBER},
    {.title = "Concurrency", .path = "concurrency", .kind = COLUMN_NUMBER},
    {.title = "USD/request", .path = "max_cost_usd"},
    {.title = "Budgets", .path = "budgets_text"},
    {.title = "Requires region", .path = "require_regions", .kind = COLUMN_LIST},
    {.title = "Data collection", .path = "data_collection"},
    {.title = "Keeps nothing", .path = "zdr", .kind = COLUMN_BOOL},
    {.title = "Disabled", .path = "disabled", .kind = COLUMN_BOOL},
    {.title = "Deleted", .path = "deleted", .kind = COLUMN_BOOL},
    {.title = "Expires", .path = "expires"},
    {.title = "Old secret until", .path = "old_secret_until"},
    {.title = "Created", .path = "created"},
    {.title = "By", .path = "created_by"},
    {.title = NULL},
};
static const struct column created_columns[] = {
    {.title = "ID", .path = "id"},
    {.title = "Name", .path = "name"},
    {.title = "Key", .path = "key"},
    {.title = NULL},
};

static const struct change_field fields[] = {
    {"name", "name", CHANGE_TEXT},
    {"routes", "routes", CHANGE_LIST},
    {"models", "models", CHANGE_LIST},
    {"endpoints", "endpoints", CHANGE_LIST},
    {"expires", "expires", CHANGE_TEXT},
    {"team", "team", CHANGE_TEXT},
    {"org", "org", CHANGE_TEXT},
    {"user", "user", CHANGE_TEXT},
    {"tags", "tags", CHANGE_LIST},
    {"rpm", "rpm", CHANGE_NUMBER},
    {"tpm", "tpm", CHANGE_NUMBER},
    {"concurrency", "concurrency", CHANGE_NUMBER},
    {"max-cost-usd", "max_cost_usd", CHANGE_TEXT},
    {"no-explore", "no_explore", CHANGE_BOOL},
    {"may-no-log", "may_no_log", CHANGE_BOOL},
    {"require-region", "require_regions", CHANGE_LIST},
    {"data-collection", "data_collection", CHANGE_TEXT},
    {"zdr", "zdr", CHANGE_BOOL},
    {"role", "role", CHANGE_TEXT},
    {.flag = NULL},
};
static const struct change_field rotate_fields[] = {{"overlap", "overlap", CHANGE_TEXT},
                                                    {.flag = NULL}};
static const struct change_field expire_fields[] = {{"at", "at", CHANGE_TEXT}, {.flag = NULL}};

/* "5.00/month,1/day" -> budgets. */
static enum ctl_exit add_budgets(struct ctl *c, json_t *body)
{
    struct str rest = str_from(ctl_text(c, "budget")), head, usd, period;
    bool more = rest.data != NULL;
    json_t *list = json_array();
    while (more) {
        more = str_cut(rest, ',', &head, &rest);
        if (!str_cut(str_trim(head), '/', &usd, &period)) {
            json_decref(list);
            return ctl_fail(c, CTL_USAGE, "--budget: write USD/PERIOD like 5.00/month");
        }
        json_array_append_new(list,
                              json_pack("{s:o, s:o}", "limit_usd", json_stringn(usd.data, usd.len),
                                        "period", json_stringn(period.data, period.len)));
    }
    if (json_array_size(list) > 0)
        json_object_set_new(body, "budgets", list);
    else
        json_decref(list);
    return CTL_OK;
}

static enum ctl_exit show(struct ctl *c, json_t *reply)
{
    struct buf text = {0};
    size_t i;
    json_t *b;
    buf_init(&text, 512);
    json_array_foreach(json_object_get(reply, "budgets"), i, b)
    {
        int rc = buf_append_text(&text, i > 0 ? ", " : "");
        if (rc == 0)
            rc = buf_append_text(&text, json_string_value(json_object_get(b, "limit_usd")));
        if (rc == 0)
            rc = buf_append_text(&text, " USD/");
        if (rc == 0)
            rc = buf_append_text(&text, json_string_value(json_object_get(b, "period")));
        if (rc != 0)
            break;
    }
    if (text.len > 0 && !output_is_json(c))
        json_object_set_new(reply, "budgets_text", json_stringn(text.data, text.len));
    buf_deinit(&text);
    return output_object(c, one_columns, reply, "id");
}

/* The secret first, since it is shown once; returns when it can be used. */
static enum ctl_exit print_secret(struct ctl *c, json_t *reply, const char *name)
{
    enum ctl_exit code = output_object(c, created_columns, reply, name);
    if (code != CTL_OK)
        return code;
    if (output_is_table(c))
        ctl_note(c, "Keep the key: only its hash is stored, and it is not shown again.");
    (void)fflush(c->out);
    return nodes_take(c, reply);
}

enum ctl_exit keys_create(struct ctl *c)
{
    json_t *body = NULL, *reply = NULL;
    enum ctl_exit code = change_body(c, fields, &body);
    if (code == CTL_OK)
        code = add_budgets(c, body);
    if (code != CTL_OK) {
        json_decref(body);
        return code;
    }
    code = client_call(c, "POST", "/keys", body, &reply);
    if (code == CTL_OK && json_object_get(reply, "key") == NULL) {
        ctl_note(c, "Dry run: nothing was changed.");
        code = show(c, reply);
    } else if (code == CTL_OK) {
        code = print_secret(c, reply, "key");
    }
    json_decref(reply);
    return code;
}

enum ctl_exit keys_list(struct ctl *c)
{
    struct query q;
    json_t *items = NULL;
    query_init(&q, "/keys");
    query_parameter(&q, "team", ctl_text(c, "team"));
    query_parameter(&q, "deleted", ctl_bool(c, "deleted") ? "true" : NULL);
    enum ctl_exit code = client_list(c, query_path(&q), ctl_u64(c, "limit"), &items);
    if (code == CTL_OK)
        code = output_list(c, columns, items, "id");
    json_decref(items);
    query_deinit(&q);
    return code;
}

enum ctl_exit keys_show(struct ctl *c)
{
    struct query q;
    json_t *reply = NULL;
    query_init(&q, "/keys");
    query_part(&q, ctl_arg(c, 0));
    enum ctl_exit code = client_call(c, "GET", query_path(&q), NULL, &reply);
    if (code == CTL_OK)
        code = show(c, reply);
    json_decref(reply);
    query_deinit(&q);
    return code;
}

enum ctl_exit keys_update(struct ctl *c)
{
    struct query q;
    json_t *body = NULL, *reply = NULL;
    enum ctl_exit code = change_body(c, fields, &body);
    if (code == CTL_OK)
        code = add_budgets(c, body);
    if (code != CTL_OK) {
        json_decref(body);
        return code;
    }
    query_init(&q, "/keys");
    query_part(&q, ctl_arg(c, 0));
    query_part(&q, "update");
    code = client_call(c, "POST", query_path(&q), body, &reply);
    if (code == CTL_OK)
        code = show(c, reply);
    if (code == CTL_OK)
        code = nodes_take(c, reply);
    json_decref(reply);
    query_deinit(&q);
    return code;
}

enum ctl_exit keys_rotate(struct ctl *c)
{
    json_t *reply = NULL;
    enum ctl_exit code = change_post(c, "/keys", "rotate", rotate_fields, &reply);
    if (code == CTL_OK)
        code = print_secret(c, reply, json_object_get(reply, "key") != NULL ? "key" : "id");
    json_decref(reply);
    return code;
}

static enum ctl_exit change(struct ctl *c, const char *verb, const struct change_field *with,
                            enum ctl_exit (*tell)(struct ctl *c, const json_t *reply))
{
    json_t *reply = NULL;
    enum ctl_exit code = change_post(c, "/keys", verb, with, &reply);
    if (code == CTL_OK)
        code = output_object(c, columns, reply, "id");
    if (code == CTL_OK)
        code = tell(c, reply);
    json_decref(reply);
    return code;
}

enum ctl_exit keys_disable(struct ctl *c)
{
    return change(c, "disable", NULL, nodes_refuse);
}

enum ctl_exit keys_enable(struct ctl *c)
{
    return change(c, "enable", NULL, nodes_take);
}

enum ctl_exit keys_expire(struct ctl *c)
{
    return change(c, "expire", expire_fields, nodes_refuse);
}

enum ctl_exit keys_delete(struct ctl *c)
{
    enum ctl_exit code = change_confirm(c, "Delete key %s for ever?", ctl_arg(c, 0));
    return code == CTL_OK ? change(c, "delete", NULL, nodes_refuse) : code;
}

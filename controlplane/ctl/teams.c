/* Teams and organisations: the same verbs; the noun says which. */
#include <stdio.h>

#include "controlplane/ctl/change.h"
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nodes_wait.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/query.h"

static const struct column columns[] = {
    {.title = "NAME", .path = "name"},
    {.title = "ORG", .path = "org"},
    {.title = "KEYS", .path = "keys", .kind = COLUMN_NUMBER},
    {.title = "RPM", .path = "rpm", .kind = COLUMN_NUMBER},
    {.title = "TPM", .path = "tpm", .kind = COLUMN_NUMBER},
    {.title = "CONCURRENCY", .path = "concurrency", .kind = COLUMN_NUMBER},
    {.title = "DISABLED", .path = "disabled", .kind = COLUMN_BOOL},
    {.title = "CREATED", .path = "created", .wide = true},
    {.title = "BY", .path = "created_by", .wide = true},
    {.title = NULL},
};
static const struct change_field fields[] = {
    {"org", "org", CHANGE_TEXT},           {"rpm", "rpm", CHANGE_NUMBER},
    {"tpm", "tpm", CHANGE_NUMBER},         {"concurrency", "concurrency", CHANGE_NUMBER},
    {"disabled", "disabled", CHANGE_BOOL}, {.flag = NULL},
};

/* "/teams" */
static const char *path_of(const struct ctl *c, char out[32])
{
    snprintf(out, 32, "/%s", c->in.command->noun);
    return out;
}

static enum ctl_exit print(struct ctl *c, enum ctl_exit code, json_t *reply)
{
    if (code == CTL_OK)
        code = output_object(c, columns, reply, "name");
    json_decref(reply);
    return code;
}

enum ctl_exit teams_list(struct ctl *c)
{
    char path[32];
    json_t *items = NULL;
    enum ctl_exit code = client_list(c, path_of(c, path), ctl_u64(c, "limit"), &items);
    if (code == CTL_OK)
        code = output_list(c, columns, items, "name");
    json_decref(items);
    return code;
}

enum ctl_exit teams_show(struct ctl *c)
{
    struct query q;
    char path[32];
    json_t *reply = NULL;
    query_init(&q, path_of(c, path));
    query_part(&q, ctl_arg(c, 0));
    enum ctl_exit code = client_call(c, "GET", query_path(&q), NULL, &reply);
    query_deinit(&q);
    return print(c, code, reply);
}

enum ctl_exit teams_create(struct ctl *c)
{
    char path[32];
    json_t *body = NULL, *reply = NULL;
    enum ctl_exit code = change_body(c, fields, &body);
    if (code != CTL_OK)
        return code;
    json_object_set_new(body, "name", json_string(ctl_arg(c, 0)));
    code = client_call(c, "POST", path_of(c, path), body, &reply);
    return nodes_after(c, code, reply, print);
}

enum ctl_exit teams_set(struct ctl *c)
{
    char path[32];
    json_t *reply = NULL;
    enum ctl_exit code = change_post(c, path_of(c, path), "update", fields, &reply);
    return nodes_after(c, code, reply, print);
}

enum ctl_exit teams_delete(struct ctl *c)
{
    char path[32];
    json_t *reply = NULL;
    enum ctl_exit code = change_confirm(c, "Delete %s and its budgets?", ctl_arg(c, 0));
    if (code == CTL_OK)
        code = change_post(c, path_of(c, path), "delete", NULL, &reply);
    return nodes_after(c, code, reply, print);
}

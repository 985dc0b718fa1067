#include <string.h>

#include "common/base/str.h"
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/query.h"

static const struct column columns[] = {
    {.title = "ID", .path = "id"},
    {.title = "NAME", .path = "name"},
    {.title = "ROUTES", .path = "routes", .kind = COLUMN_LIST},
    {.title = "MODELS", .path = "models", .kind = COLUMN_LIST},
    {.title = "DISABLED", .path = "disabled", .kind = COLUMN_BOOL},
    {.title = "CREATED", .path = "created"},
    {.title = "EXPIRES", .path = "expires", .wide = true},
    {.title = "LAST USED", .path = "last_used"},
    {.title = NULL},
};
static const struct column created_columns[] = {
    {.title = "ID", .path = "id"},
    {.title = "Name", .path = "name"},
    {.title = "Key", .path = "key"},
    {.title = NULL},
};

/* "a,b" -> ["a","b"]; NULL stays absent. */
static void set_words(json_t *body, const char *name, const char *text)
{
    if (text == NULL)
        return;
    json_t *list = json_array();
    struct str rest = str_from(text), head;
    bool more = true;
    while (more) {
        more = str_cut(rest, ',', &head, &rest);
        head = str_trim(head);
        if (head.len > 0)
            json_array_append_new(list, json_stringn(head.data, head.len));
    }
    json_object_set_new(body, name, list);
}

enum ctl_exit keys_create(struct ctl *c)
{
    json_t *body = json_object(), *reply = NULL;
    const char *expires = ctl_text(c, "expires");
    json_object_set_new(body, "name", json_string(ctl_text(c, "name")));
    set_words(body, "routes", ctl_text(c, "routes"));
    set_words(body, "models", ctl_text(c, "models"));
    if (expires != NULL)
        json_object_set_new(body, "expires", json_string(expires));
    enum ctl_exit code = client_call(c, "POST", "/keys", body, &reply);
    if (code == CTL_OK) {
        code = output_object(c, created_columns, reply, "key");
        if (c->format == CTL_TABLE || c->format == CTL_WIDE)
            ctl_note(c, "Keep the key: only its hash is stored, and it is not shown again.");
    }
    json_decref(reply);
    return code;
}

enum ctl_exit keys_list(struct ctl *c)
{
    json_t *items = NULL;
    enum ctl_exit code = client_list(c, "/keys", ctl_u64(c, "limit"), &items);
    if (code == CTL_OK)
        code = output_list(c, columns, items, "id");
    json_decref(items);
    return code;
}

enum ctl_exit keys_disable(struct ctl *c)
{
    struct query q;
    json_t *reply = NULL;
    query_init(&q, "/keys");
    query_part(&q, ctl_arg(c, 0));
    query_literal(&q, "/disable");
    enum ctl_exit code = client_call(c, "POST", query_path(&q), NULL, &reply);
    if (code == CTL_OK)
        code = output_object(c, columns, reply, "id");
    json_decref(reply);
    query_deinit(&q);
    return code;
}

#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"

static const struct column columns[] = {
    {.title = "MODEL", .path = "id"},
    {.title = "PROVIDERS", .path = "providers", .kind = COLUMN_LIST},
    {.title = "IN/MTOK", .path = "price.input", .kind = COLUMN_USD},
    {.title = "OUT/MTOK", .path = "price.output", .kind = COLUMN_USD},
    {.title = "CONTEXT", .path = "context_window", .kind = COLUMN_NUMBER},
    {.title = "MAX OUT", .path = "max_output", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "PRIOR", .path = "prior_quality", .kind = COLUMN_PERCENT},
    {.title = "CAN", .path = "capabilities", .kind = COLUMN_LIST, .wide = true},
    {.title = NULL},
};

/* "provider/upstream-model" of each deployment, for the table only. */
static void add_providers(json_t *items)
{
    size_t i, k;
    json_t *item, *deployment;
    json_array_foreach(items, i, item)
    {
        json_t *names = json_array();
        json_array_foreach(json_object_get(item, "deployments"), k, deployment)
        {
            const char *provider = json_string_value(json_object_get(deployment, "provider"));
            const char *model = json_string_value(json_object_get(deployment, "upstream_model"));
            if (provider != NULL)
                json_array_append_new(names,
                                      json_sprintf("%s/%s", provider, model != NULL ? model : "?"));
        }
        json_object_set_new(item, "providers", names);
    }
}

enum ctl_exit models_list(struct ctl *c)
{
    json_t *items = NULL;
    enum ctl_exit code = client_list(c, "/models", 0, &items);
    if (code == CTL_OK) {
        if (!output_is_json(c))
            add_providers(items);
        code = output_list(c, columns, items, "id");
    }
    json_decref(items);
    return code;
}

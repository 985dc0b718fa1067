/* `policies explain NAME@V`: what the version would change, in words a person decides by. */
#include <string.h>

#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/query.h"

#define SMALL_SHARE 0.0005 /* Models below it on both sides are left out of the table. */

static const struct column columns[] = {
    {.title = "Policy", .path = "policy"},
    {.title = "Version", .path = "version"},
    {.title = "Against version", .path = "against"},
    {.title = "Decisions", .path = "decisions"},
    {.title = "Decisions it learned from", .path = "learned_from"},
    {.title = "Dearer on others", .path = "optimism", .kind = COLUMN_PERCENT},
    {.title = "Give or take", .path = "optimism_error", .kind = COLUMN_PERCENT, .wide = true},
    {.title = "Units", .path = "units", .wide = true},
    {.title = "Not usable", .path = "unusable", .wide = true},
    {.title = "From", .path = "from", .wide = true},
    {.title = "To", .path = "to", .wide = true},
    {.title = "Other choice", .path = "churn", .kind = COLUMN_PERCENT},
    {.title = NULL},
};
static const struct column figure_columns[] = {
    {.title = "EXPECTED", .path = "what"},
    {.title = "NOW", .path = "now"},
    {.title = "THEN", .path = "then"},
    {.title = "LOW", .path = "low"},
    {.title = "HIGH", .path = "high"},
    {.title = "BY", .path = "by"},
    {.title = NULL},
};
static const struct column model_columns[] = {
    {.title = "MODEL", .path = "model"},
    {.title = "NOW", .path = "share_now", .kind = COLUMN_PERCENT},
    {.title = "THEN", .path = "share_then", .kind = COLUMN_PERCENT},
    {.title = "COST FACTOR", .path = "cost_factor", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "CALLS", .path = "calls", .kind = COLUMN_NUMBER, .wide = true},
    {.title = NULL},
};
static const struct column flow_columns[] = {
    {.title = "FROM", .path = "from"},
    {.title = "TO", .path = "to"},
    {.title = "DECISIONS", .path = "share", .kind = COLUMN_PERCENT},
    {.title = NULL},
};
static const struct column task_columns[] = {
    {.title = "TASK", .path = "task"},
    {.title = "DECISIONS", .path = "decisions", .kind = COLUMN_NUMBER},
    {.title = "OTHER CHOICE", .path = "churn", .kind = COLUMN_PERCENT},
    {.title = "COST NOW", .path = "cost_now_usd", .kind = COLUMN_USD},
    {.title = "THEN", .path = "cost_then_usd", .kind = COLUMN_USD},
    {.title = "QUALITY NOW", .path = "quality_now", .kind = COLUMN_PERCENT},
    {.title = "THEN", .path = "quality_then", .kind = COLUMN_PERCENT},
    {.title = NULL},
};

static const char *basis_text(const json_t *figure)
{
    static const struct {
        const char *basis, *text;
    } texts[] = {{"dr", "observed (doubly robust)"},
                 {"mixed", "observed where it agrees, else the model"},
                 {"model", "the model alone: NO_SUPPORT"},
                 {"recorded", "recorded"}};
    const char *basis = json_string_value(output_get(figure, "basis"));
    for (size_t i = 0; basis != NULL && i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strcmp(basis, texts[i].basis) == 0)
            return texts[i].text;
    }
    return "-";
}

/* "$0.0012" or "93.1 %" of a member; json null where there is none. */
static json_t *cell(const json_t *figure, const char *member, enum column_kind kind)
{
    struct buf text = {0};
    struct column column = {.title = "", .path = member, .kind = kind};
    buf_init(&text, 256);
    json_t *out =
        output_cell(figure, &column, &text) == 0 ? json_stringn(text.data, text.len) : json_null();
    buf_deinit(&text);
    return out;
}

static void add_figure(json_t *rows, const json_t *pair, const char *what, const char *value,
                       const char *low, const char *high, enum column_kind kind)
{
    const json_t *then = json_object_get(pair, "then");
    json_array_append_new(rows, json_pack("{s:s,s:o,s:o,s:o,s:o,s:s}", "what", what, "now",
                                          cell(json_object_get(pair, "now"), value, kind), "then",
                                          cell(then, value, kind), "low", cell(then, low, kind),
                                          "high", cell(then, high, kind), "by", basis_text(then)));
}

static json_t *figures(const json_t *reply)
{
    json_t *rows = json_array();
    const json_t *cost = json_object_get(reply, "cost");
    add_figure(rows, cost, "cost a request", "usd", "low_usd", "high_usd", COLUMN_USD);
    add_figure(rows, cost, "cost of all", "total_usd", "total_low_usd", "total_high_usd",
               COLUMN_USD);
    add_figure(rows, json_object_get(reply, "quality"), "quality", "value", "low", "high",
               COLUMN_PERCENT);
    return rows;
}

static json_t *used_models(const json_t *reply)
{
    json_t *out = json_array();
    size_t i;
    json_t *model;
    json_array_foreach(json_object_get(reply, "models"), i, model)
    {
        if (json_number_value(json_object_get(model, "share_now")) >= SMALL_SHARE ||
            json_number_value(json_object_get(model, "share_then")) >= SMALL_SHARE)
            json_array_append(out, model);
    }
    return out;
}

static enum ctl_exit print_table(struct ctl *c, const struct column *table, json_t *rows,
                                 const char *name)
{
    enum ctl_exit code = CTL_OK;
    if (json_array_size(rows) > 0) {
        fputc('\n', c->out);
        code = output_list(c, table, rows, name);
    }
    json_decref(rows);
    return code;
}

static enum ctl_exit print_reply(struct ctl *c, json_t *reply)
{
    if (output_is_json(c) || c->format == CTL_NAME)
        return output_object(c, columns, reply, "version");
    enum ctl_exit code = output_object(c, columns, reply, "version");
    if (code == CTL_OK)
        code = print_table(c, figure_columns, figures(reply), "what");
    if (code == CTL_OK)
        code = print_table(c, model_columns, used_models(reply), "model");
    if (code == CTL_OK)
        code = print_table(c, flow_columns, json_incref(json_object_get(reply, "flows")), "from");
    if (code == CTL_OK && json_array_size(json_object_get(reply, "tasks")) > 1)
        code = print_table(c, task_columns, json_incref(json_object_get(reply, "tasks")), "task");
    return code;
}

enum ctl_exit policies_explain(struct ctl *c)
{
    struct str name, version;
    char text[128], number[32];
    struct query q;
    json_t *reply = NULL;
    if (!str_cut(str_from(ctl_arg(c, 0)), '@', &name, &version)) {
        name = str_from(ctl_arg(c, 0));
        version = str_from(ctl_arg(c, 1));
    }
    if (!str_copy(name, text, sizeof text) || name.len == 0)
        return ctl_fail(c, CTL_USAGE, "'%s' is no policy name", ctl_arg(c, 0));
    if (version.len == 0 || !str_copy(version, number, sizeof number))
        return ctl_fail(c, CTL_USAGE, "which version? try %s@1", text);
    query_init(&q, "/policies");
    query_part(&q, text);
    query_part(&q, number);
    query_literal(&q, "/explain");
    query_parameter(&q, "decisions", ctl_text(c, "last"));
    query_parameter(&q, "against", ctl_text(c, "against"));
    enum ctl_exit code = client_call(c, "GET", query_path(&q), NULL, &reply);
    if (code == CTL_OK)
        code = print_reply(c, reply);
    json_decref(reply);
    query_deinit(&q);
    return code;
}

/* `steelyard catalog`: files of prices are read here and sent row by row, so that what cannot be
 * taken is told with its reason before anything is asked of the server. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "controlplane/catalog/builtin.h"
#include "controlplane/catalog/exchange.h"
#include "controlplane/catalog/lint.h"
#include "controlplane/catalog/read.h"
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/progress.h"
#include "controlplane/ctl/query.h"

#define CALL_ROWS  500U
#define CALL_BYTES 49152U /* Of rows in one call; the server takes 64 KiB. */

static const struct column columns[] = {
    {.title = "PROVIDER", .path = "provider"},
    {.title = "MODEL", .path = "model"},
    {.title = "IN/MTOK", .path = "price.input", .kind = COLUMN_USD},
    {.title = "OUT/MTOK", .path = "price.output", .kind = COLUMN_USD},
    {.title = "CACHED", .path = "price.cached_input", .kind = COLUMN_USD},
    {.title = "WRITE", .path = "price.cache_write", .kind = COLUMN_USD, .wide = true},
    {.title = "WRITE 1H", .path = "price.cache_write_1h", .kind = COLUMN_USD, .wide = true},
    {.title = "REASONING", .path = "price.reasoning", .kind = COLUMN_USD, .wide = true},
    {.title = "TIERS", .path = "tiers"},
    {.title = "CONTEXT", .path = "context_window", .kind = COLUMN_NUMBER},
    {.title = "MAX OUT", .path = "max_output", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "CAN", .path = "capabilities", .kind = COLUMN_LIST, .wide = true},
    {.title = "SOURCE", .path = "source"},
    {.title = "FACTS", .path = "facts"},
    {.title = NULL},
};
static const struct column configured_columns[] = {
    {.title = "MODEL", .path = "model"},
    {.title = "PROVIDER", .path = "provider"},
    {.title = "UPSTREAM", .path = "upstream_model"},
    {.title = "HOLDS", .path = "holds", .kind = COLUMN_BOOL},
    {.title = "FROM", .path = "valid_from"},
    {.title = "IN/MTOK", .path = "price.input", .kind = COLUMN_USD},
    {.title = "OUT/MTOK", .path = "price.output", .kind = COLUMN_USD},
    {.title = "CACHED", .path = "price.cached_input", .kind = COLUMN_USD},
    {.title = "TIERS", .path = "tiers"},
    {.title = "SOURCE", .path = "source"},
    {.title = "FACTS", .path = "facts"},
    {.title = "PRICE ID", .path = "price_id", .wide = true},
    {.title = NULL},
};
static const struct column change_columns[] = {
    {.title = "CHANGE", .path = "change"},
    {.title = "PROVIDER", .path = "provider"},
    {.title = "MODEL", .path = "model"},
    {.title = "FACTOR", .path = "factor"},
    {.title = "OLD IN", .path = "old.input", .kind = COLUMN_USD},
    {.title = "NEW IN", .path = "new.input", .kind = COLUMN_USD},
    {.title = "OLD OUT", .path = "old.output", .kind = COLUMN_USD},
    {.title = "NEW OUT", .path = "new.output", .kind = COLUMN_USD},
    {.title = "OLD SOURCE", .path = "old_source"},
    {.title = NULL},
};
static const struct column lint_columns[] = {
    {.title = "PROVIDER", .path = "provider"},
    {.title = "MODEL", .path = "model"},
    {.title = "IN/MTOK", .path = "price.input", .kind = COLUMN_USD},
    {.title = "OUT/MTOK", .path = "price.output", .kind = COLUMN_USD},
    {.title = "SOURCE", .path = "source"},
    {.title = "SUSPICIONS", .path = "suspicions", .kind = COLUMN_LIST},
    {.title = NULL},
};

/* Tiers as one cell, ">200000: 2.5/15". */
static void add_tiers(json_t *item)
{
    const json_t *tiers = json_object_get(json_object_get(item, "price"), "tiers"), *tier;
    char text[256];
    size_t i, at = 0;
    text[0] = '\0';
    json_array_foreach(tiers, i, tier)
    {
        const char *in = json_string_value(json_object_get(tier, "input"));
        const char *out = json_string_value(json_object_get(tier, "output"));
        int n = snprintf(text + at, sizeof text - at, "%s>%lld: %s/%s", i == 0 ? "" : ", ",
                         (long long)json_integer_value(json_object_get(tier, "above")),
                         in == NULL ? "?" : in, out == NULL ? "?" : out);
        if (n < 0 || (size_t)n >= sizeof text - at)
            break;
        at += (size_t)n;
    }
    if (at > 0)
        json_object_set_new(item, "tiers", json_string(text));
}

static void add_all_tiers(json_t *items)
{
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        add_tiers(item);
    }
}

enum ctl_exit catalog_list(struct ctl *c)
{
    struct query q;
    json_t *items = NULL;
    query_init(&q, "/catalog");
    query_parameter(&q, "limit", "500");
    query_parameter(&q, "provider", ctl_text(c, "provider"));
    query_parameter(&q, "model", ctl_text(c, "model"));
    enum ctl_exit code = client_list(c, query_path(&q), ctl_u64(c, "limit"), &items);
    if (code == CTL_OK) {
        if (!output_is_json(c))
            add_all_tiers(items);
        code = output_list(c, columns, items, "model");
    }
    json_decref(items);
    query_deinit(&q);
    return code;
}

/* One line per price of each deployment. */
static json_t *flat_prices(const json_t *configured)
{
    json_t *flat = json_array();
    const json_t *d, *price;
    size_t i, k;
    json_array_foreach(configured, i, d)
    {
        const json_t *prices = json_object_get(d, "prices");
        json_array_foreach(prices, k, price)
        {
            json_t *line = json_copy((json_t *)(uintptr_t)price);
            json_object_set(line, "model", json_object_get(d, "model"));
            json_object_set(line, "provider", json_object_get(d, "provider"));
            json_object_set(line, "upstream_model", json_object_get(d, "upstream_model"));
            json_array_append_new(flat, line);
        }
        if (json_array_size(prices) == 0) {
            json_t *line = json_copy((json_t *)(uintptr_t)d);
            json_object_set_new(line, "source", json_string("unknown"));
            json_array_append_new(flat, line);
        }
    }
    return flat;
}

enum ctl_exit catalog_show(struct ctl *c)
{
    struct query q;
    json_t *reply = NULL;
    query_init(&q, "/catalog/show");
    query_parameter(&q, "model", ctl_arg(c, 0));
    enum ctl_exit code = client_call(c, "GET", query_path(&q), NULL, &reply);
    if (code == CTL_OK && output_is_json(c)) {
        code = output_json(c, reply);
    } else if (code == CTL_OK) {
        json_t *flat = flat_prices(json_object_get(reply, "configured"));
        json_t *known = json_object_get(reply, "catalogue");
        add_all_tiers(flat);
        add_all_tiers(known);
        if (json_array_size(flat) > 0) {
            fprintf(c->out, "In force:\n");
            code = output_list(c, configured_columns, flat, "model");
        }
        if (code == CTL_OK && json_array_size(known) > 0) {
            fprintf(c->out, "%sIn the catalogue:\n", json_array_size(flat) > 0 ? "\n" : "");
            code = output_list(c, columns, known, "model");
        }
        json_decref(flat);
    }
    json_decref(reply);
    query_deinit(&q);
    return code;
}

/* --- files ---------------------------------------------------------------------------------------
 */

static enum ctl_exit read_file(struct ctl *c, struct catalog_rows *rows,
                               enum catalog_format *out_format)
{
    struct buf text = {0};
    struct err err = {0};
    enum catalog_format format = CATALOG_AUTO;
    const char *path = ctl_arg(c, 0), *named = ctl_text(c, "format");
    if (named != NULL && !catalog_format_parse(named, &format))
        return ctl_fail(c, CTL_USAGE, "--format: '%s' is none of auto, models.dev, litellm, csv",
                        named);
    buf_init(&text, CATALOG_FILE_BYTES_MAX);
    int rc = buf_read_file(&text, path, CATALOG_FILE_BYTES_MAX, &err);
    if (rc == 0) {
        rc = catalog_read(buf_str(&text), format, rows, out_format, &err);
        if (rc != 0)
            err_wrap(&err, "%s", path);
    }
    buf_deinit(&text);
    return rc == 0 ? CTL_OK
                   : ctl_fail(c, rc == ERR_SYNTAX ? CTL_USAGE : CTL_FAILED, "%s", err.message);
}

static void tell_skips(struct ctl *c, const struct catalog_rows *rows)
{
    for (size_t i = 0; i < rows->skip_count; i++)
        ctl_note(c, "skipped %.*s: %.*s", STR_ARG(rows->skips[i].name),
                 STR_ARG(rows->skips[i].reason));
}

static json_t *suspicions_of(uint32_t found)
{
    json_t *names = json_array();
    for (unsigned s = 0; s < CATALOG_SUSPICION_COUNT; s++) {
        if ((found >> s & 1) != 0)
            json_array_append_new(names,
                                  json_string(catalog_suspicion_name((enum catalog_suspicion)s)));
    }
    return names;
}

static enum ctl_exit lint_file(struct ctl *c, json_t *items)
{
    struct catalog_rows rows;
    enum catalog_format format;
    catalog_rows_init(&rows);
    enum ctl_exit code = read_file(c, &rows, &format);
    for (size_t i = 0; code == CTL_OK && i < rows.count; i++) {
        const struct catalog_row *row = &rows.rows[i];
        uint32_t found =
            catalog_lint(row, catalog_rows_find(&catalog_builtin, row->provider, row->model));
        json_t *item = found == 0 ? NULL : catalog_row_to_json(row);
        if (item == NULL)
            continue;
        json_object_set_new(item, "source", json_string("file"));
        json_object_set_new(item, "suspicions", suspicions_of(found));
        json_array_append_new(items, item);
    }
    if (code == CTL_OK) {
        tell_skips(c, &rows);
        ctl_note(c, "%zu rows, %zu skipped, %zu suspicious", rows.count, rows.skip_count,
                 json_array_size(items));
    }
    catalog_rows_deinit(&rows);
    return code;
}

static enum ctl_exit lint_server(struct ctl *c, json_t *items)
{
    json_t *all = NULL, *item, *finding;
    size_t i, k;
    enum ctl_exit code = client_list(c, "/catalog/lint", 0, &all);
    json_array_foreach(all, i, item)
    {
        json_t *names = json_array();
        json_array_foreach(json_object_get(item, "findings"), k, finding)
        {
            json_array_append(names, json_object_get(finding, "code"));
        }
        json_object_set_new(item, "suspicions", names);
        json_array_append(items, item);
    }
    json_decref(all);
    return code;
}

/* With a FILE nothing is asked of a server. Exits 10 when something is suspicious. */
enum ctl_exit catalog_lint_show(struct ctl *c)
{
    json_t *items = json_array();
    enum ctl_exit code = ctl_arg(c, 0) != NULL ? lint_file(c, items) : lint_server(c, items);
    bool any = json_array_size(items) > 0;
    if (code == CTL_OK)
        code = output_list(c, lint_columns, items, "model");
    json_decref(items);
    return code == CTL_OK && any ? CTL_NO : code;
}

/* --- import --------------------------------------------------------------------------------------
 */

struct sending {
    struct ctl *c;
    json_t *changes;
    json_int_t same, fresh, renewed, held;
    json_t *generation;
};

static json_int_t count_of(const json_t *reply, const char *name)
{
    return json_integer_value(json_object_get(json_object_get(reply, "counts"), name));
}

static void set_text(json_t *o, const char *name, const char *text)
{
    if (text != NULL)
        json_object_set_new(o, name, json_string(text));
}

/* All but the rows, the same for every call of this import. What was not given: the format's name,
 * today, now. */
static json_t *import_head(struct ctl *c, enum catalog_format format, bool dry)
{
    char now[40];
    struct tm tm;
    time_t s = (time_t)(clock_wall_us() / 1000000);
    json_t *head = json_object();
    gmtime_r(&s, &tm);
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", &tm);
    set_text(head, "source",
             ctl_text(c, "source") != NULL ? ctl_text(c, "source") : catalog_format_name(format));
    set_text(head, "valid_from",
             ctl_text(c, "valid-from") != NULL ? ctl_text(c, "valid-from") : now);
    now[10] = '\0';
    set_text(head, "source_date",
             ctl_text(c, "source-date") != NULL ? ctl_text(c, "source-date") : now);
    if (ctl_text(c, "max-factor") != NULL)
        json_object_set_new(head, "max_factor", json_integer((json_int_t)ctl_u64(c, "max-factor")));
    if (ctl_bool(c, "accept-large"))
        json_object_set_new(head, "accept_large", json_true());
    if (dry)
        json_object_set_new(head, "dry_run", json_true());
    else
        set_text(head, "reason", ctl_text(c, "reason"));
    return head;
}

static enum ctl_exit send_rows(struct sending *s, const json_t *head, json_t *rows)
{
    json_t *reply = NULL, *body = json_copy((json_t *)(uintptr_t)head), *skip;
    size_t i;
    json_object_set(body, "rows", rows);
    enum ctl_exit code = client_call(s->c, "POST", "/catalog/import", body, &reply);
    if (code != CTL_OK)
        return code;
    (void)json_array_extend(s->changes, json_object_get(reply, "changes"));
    s->same += count_of(reply, "same");
    s->fresh += count_of(reply, "new");
    s->renewed += count_of(reply, "changed");
    s->held += count_of(reply, "held");
    json_array_foreach(json_object_get(reply, "skipped"), i, skip)
    {
        ctl_note(s->c, "skipped %s: %s", json_string_value(json_object_get(skip, "name")),
                 json_string_value(json_object_get(skip, "reason")));
    }
    if (json_object_get(reply, "generation") != NULL) {
        json_decref(s->generation);
        s->generation = json_incref(json_object_get(reply, "generation"));
    }
    json_decref(reply);
    return CTL_OK;
}

/* The rows of `provider`, or all, in as many calls as it takes. */
static enum ctl_exit send_all(struct sending *s, const json_t *head,
                              const struct catalog_rows *rows)
{
    struct progress progress;
    enum ctl_exit code = CTL_OK;
    const char *provider = ctl_text(s->c, "provider");
    json_t *part = json_array();
    size_t bytes = 0;
    progress_init(&progress, s->c->err, s->c->err_is_terminal, s->c->quiet, "importing");
    for (size_t i = 0; code == CTL_OK && i < rows->count; i++) {
        if (provider != NULL && !str_is(rows->rows[i].provider, provider))
            continue;
        json_t *row = catalog_row_to_json(&rows->rows[i]);
        bytes += json_dumpb(row, NULL, 0, JSON_COMPACT) + 1;
        if (bytes > CALL_BYTES || json_array_size(part) == CALL_ROWS) {
            code = client_interrupted(s->c) ? CTL_FAILED : send_rows(s, head, part);
            json_array_clear(part);
            bytes = json_dumpb(row, NULL, 0, JSON_COMPACT) + 1;
            progress_update(&progress, i, rows->count, NULL);
        }
        json_array_append_new(part, row);
    }
    if (code == CTL_OK && json_array_size(part) > 0)
        code = send_rows(s, head, part);
    progress_end(&progress);
    json_decref(part);
    return code;
}

static enum ctl_exit print_import(struct ctl *c, const struct sending *s, bool dry)
{
    enum ctl_exit code = CTL_OK;
    if (output_is_json(c)) {
        json_t *all = json_pack("{s:O, s:{s:I, s:I, s:I, s:I}, s:b, s:O*}", "changes", s->changes,
                                "counts", "same", s->same, "new", s->fresh, "changed", s->renewed,
                                "held", s->held, "dry_run", dry, "generation", s->generation);
        code = output_json(c, all);
        json_decref(all);
        return code;
    }
    if (json_array_size(s->changes) > 0)
        code = output_list(c, change_columns, s->changes, "model");
    ctl_note(c, "%s%lld new, %lld changed, %lld the same, %lld held back", dry ? "would be: " : "",
             (long long)s->fresh, (long long)s->renewed, (long long)s->same, (long long)s->held);
    if (s->held > 0)
        ctl_note(c, "what changes by more than the factor is taken with --accept-large");
    return code;
}

static enum ctl_exit run_import(struct ctl *c, bool dry, struct sending *s)
{
    struct catalog_rows rows;
    enum catalog_format format = CATALOG_AUTO;
    json_t *head = NULL;
    catalog_rows_init(&rows);
    enum ctl_exit code = read_file(c, &rows, &format);
    if (code == CTL_OK) {
        head = import_head(c, format, dry);
        tell_skips(c, &rows);
        code = send_all(s, head, &rows);
    }
    if (code == CTL_OK)
        code = print_import(c, s, dry);
    json_decref(head);
    catalog_rows_deinit(&rows);
    return code;
}

enum ctl_exit catalog_import(struct ctl *c)
{
    struct sending s = {.c = c, .changes = json_array()};
    enum ctl_exit code = run_import(c, ctl_bool(c, "dry-run"), &s);
    if (code == CTL_OK && s.held > 0)
        code = CTL_NO;
    json_decref(s.changes);
    json_decref(s.generation);
    return code;
}

enum ctl_exit catalog_diff(struct ctl *c)
{
    struct sending s = {.c = c, .changes = json_array()};
    enum ctl_exit code = run_import(c, true, &s);
    if (code == CTL_OK && ctl_bool(c, "exit-code") && json_array_size(s.changes) > 0)
        code = CTL_NO;
    json_decref(s.changes);
    json_decref(s.generation);
    return code;
}

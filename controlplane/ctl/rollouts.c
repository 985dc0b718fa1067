/* Rollouts of policies: start, watch, stop; freezes and overrides. */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/str.h"
#include "controlplane/ctl/change.h"
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/query.h"

#define PLAN_BYTES_MAX 65536U
#define ADVANCE_MAX    16U

static const struct column status_columns[] = {
    {.title = "Policy", .path = "policy"},
    {.title = "Rollout", .path = "id"},
    {.title = "Stable", .path = "stable"},
    {.title = "Candidate", .path = "candidate"},
    {.title = "State", .path = "state"},
    {.title = "Stage", .path = "stage"},
    {.title = "Of stages", .path = "stages"},
    {.title = "Candidate's share, %", .path = "percent"},
    {.title = "Because of", .path = "why"},
    {.title = "Waits for", .path = "waits_for"},
    {.title = "Metric", .path = "metric"},
    {.title = "Frozen", .path = "frozen", .kind = COLUMN_BOOL},
    {.title = "Nodes connected", .path = "report.nodes.connected"},
    {.title = "Nodes with it", .path = "report.nodes.ready"},
    {.title = "Requests, stable", .path = "report.requests.stable"},
    {.title = "Requests, candidate", .path = "report.requests.candidate"},
    {.title = "Units of the candidate", .path = "report.units"},
    {.title = "Other choices in shadow", .path = "report.shadow.differs", .kind = COLUMN_PERCENT},
    {.title = "Since", .path = "state_since"},
    {.title = "Last look", .path = "watched"},
    {.title = "Expires", .path = "expires"},
    {.title = "Started by", .path = "created_by"},
    {.title = "Reason", .path = "reason"},
    {.title = NULL},
};
static const struct column list_columns[] = {
    {.title = "ROLLOUT", .path = "id"},
    {.title = "POLICY", .path = "policy"},
    {.title = "STABLE", .path = "stable", .kind = COLUMN_NUMBER},
    {.title = "CANDIDATE", .path = "candidate", .kind = COLUMN_NUMBER},
    {.title = "STATE", .path = "state"},
    {.title = "SHARE %", .path = "percent", .kind = COLUMN_NUMBER},
    {.title = "WAITS FOR", .path = "waits_for"},
    {.title = "SINCE", .path = "state_since"},
    {.title = NULL},
};
static const struct column guard_columns[] = {
    {.title = "GUARD", .path = "name"},
    {.title = "SAYS", .path = "verdict"},
    {.title = "STABLE", .path = "stable"},
    {.title = "CANDIDATE", .path = "candidate"},
    {.title = "DIFFERENCE", .path = "change"},
    {.title = "MARGIN", .path = "margin"},
    {.title = NULL},
};
static const struct column event_columns[] = {
    {.title = "WHEN", .path = "ts"},
    {.title = "FROM", .path = "from"},
    {.title = "TO", .path = "to"},
    {.title = "SHARE %", .path = "percent", .kind = COLUMN_NUMBER},
    {.title = "BY", .path = "actor"},
    {.title = "REASON", .path = "reason"},
    {.title = "EVIDENCE", .path = "evidence", .wide = true},
    {.title = NULL},
};
static const struct column history_columns[] = {
    {.title = "WHEN", .path = "ts"},
    {.title = "VERSION", .path = "version", .kind = COLUMN_NUMBER},
    {.title = "FROM", .path = "from"},
    {.title = "TO", .path = "to"},
    {.title = "SHARE %", .path = "percent", .kind = COLUMN_NUMBER},
    {.title = "BY", .path = "actor"},
    {.title = "REASON", .path = "reason"},
    {.title = "ROLLOUT", .path = "rollout", .wide = true},
    {.title = "EVIDENCE", .path = "evidence", .wide = true},
    {.title = NULL},
};

/* --- a rollout as people read it -----------------------------------------------------------------
 */

static double number_at(const json_t *object, const char *path)
{
    return json_number_value(output_get(object, path));
}

static json_t *rate_text(const json_t *guard, const char *arm)
{
    const json_t *events = json_object_get(json_object_get(guard, "events"), arm);
    const json_t *exposures = json_object_get(json_object_get(guard, "exposures"), arm);
    if (exposures == NULL)
        return json_sprintf("%lld", (long long)json_integer_value(events));
    return json_sprintf("%lld of %lld", (long long)json_integer_value(events),
                        (long long)json_integer_value(exposures));
}

static json_t *event_line(const char *name, const json_t *guard)
{
    return json_pack("{s:s, s:O, s:o, s:o, s:o, s:o}", "name", name, "verdict",
                     json_object_get(guard, "verdict"), "stable", rate_text(guard, "stable"),
                     "candidate", rate_text(guard, "candidate"), "change",
                     json_sprintf("log M %.2f, breach at %.2f", number_at(guard, "log_m"),
                                  number_at(guard, "breach_at")),
                     "margin", json_sprintf("+%.3g %%", 100 * number_at(guard, "margin")));
}

static json_t *mean_text(const char *name, const json_t *mean)
{
    if (!json_is_number(mean))
        return json_null();
    if (strcmp(name, "cost") == 0)
        return json_sprintf("$%.6f", json_number_value(mean) / 1e9);
    return json_sprintf("%.4g", json_number_value(mean));
}

/* Quality as it is; money and tokens relative to stable's mean. */
static json_t *interval_text(const char *name, const json_t *guard)
{
    double low = number_at(guard, "low"), mean = number_at(guard, "difference"),
           high = number_at(guard, "high"), of = number_at(guard, "of_stable");
    if (!json_is_number(json_object_get(guard, "low")))
        return json_string("too few yet");
    if (strcmp(name, "quality") == 0)
        return json_sprintf("%+.4f (%+.4f .. %+.4f)", mean, low, high);
    if (of <= 0)
        return json_sprintf("%+.4g (%+.4g .. %+.4g)", mean, low, high);
    return json_sprintf("%+.2f %% (%+.2f .. %+.2f)", 100 * mean / of, 100 * low / of,
                        100 * high / of);
}

static json_t *mean_line(const char *name, const json_t *guard)
{
    bool absolute = strcmp(name, "quality") == 0;
    return json_pack("{s:s, s:O, s:o, s:o, s:o, s:o}", "name", name, "verdict",
                     json_object_get(guard, "verdict"), "stable",
                     mean_text(name, output_get(guard, "mean.stable")), "candidate",
                     mean_text(name, output_get(guard, "mean.candidate")), "change",
                     interval_text(name, guard), "margin",
                     absolute ? json_sprintf("-%.3g", number_at(guard, "margin"))
                              : json_sprintf("%+.3g %%", 100 * number_at(guard, "goal")));
}

static enum ctl_exit print_guards(struct ctl *c, const json_t *rollout)
{
    static const char *const names[] = {"error", "timeout", "latency", "cost_tail", "thumb_down",
                                        "clamp", "cost",    "quality", "tokens"};
    const json_t *guards = output_get(rollout, "report.guards");
    json_t *lines = json_array();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *guard = json_object_get(guards, names[i]);
        if (json_object_get(guard, "alpha") == NULL)
            continue; /* Off, or never looked at. */
        json_array_append_new(lines, json_object_get(guard, "events") != NULL
                                         ? event_line(names[i], guard)
                                         : mean_line(names[i], guard));
    }
    enum ctl_exit code = CTL_OK;
    if (json_array_size(lines) > 0) {
        fputc('\n', c->out);
        code = output_list(c, guard_columns, lines, "name");
    }
    json_decref(lines);
    return code;
}

static enum ctl_exit print_rollout(struct ctl *c, const json_t *rollout)
{
    enum ctl_exit code = output_object(c, status_columns, rollout, "id");
    if (code != CTL_OK || !output_is_table(c))
        return code;
    code = print_guards(c, rollout);
    const json_t *events = json_object_get(rollout, "events");
    if (code == CTL_OK && json_array_size(events) > 0) {
        fputc('\n', c->out);
        code = output_list(c, event_columns, events, "id");
    }
    return code;
}

/* --- start -------------------------------------------------------------------------------------
 */

/* "NAME" or "NAME@VERSION"; version 0: none was given. */
static enum ctl_exit read_target(struct ctl *c, char name[128], uint64_t *out_version)
{
    struct str head, rest;
    *out_version = 0;
    bool has_version = str_cut(str_from(ctl_arg(c, 0)), '@', &head, &rest);
    if (!str_copy(head, name, 128) || head.len == 0 ||
        (has_version && str_parse_u64(rest, INT64_MAX, out_version) != 0))
        return ctl_fail(c, CTL_USAGE, "'%s' is neither a policy nor a version like default@3",
                        ctl_arg(c, 0));
    return CTL_OK;
}

/* The newest version that passed its gates and was not in service yet. */
static enum ctl_exit newest_candidate(struct ctl *c, const char *name, uint64_t *out_version)
{
    json_t *items = NULL, *item;
    size_t i;
    enum ctl_exit code = client_list(c, "/policies", 0, &items);
    if (code != CTL_OK)
        return code;
    json_array_foreach(items, i, item)
    {
        const char *its = json_string_value(json_object_get(item, "name"));
        const char *state = json_string_value(json_object_get(item, "state"));
        uint64_t version = (uint64_t)json_integer_value(json_object_get(item, "version"));
        if (its != NULL && strcmp(its, name) == 0 && state != NULL &&
            strcmp(state, "candidate") == 0 && version > *out_version)
            *out_version = version;
    }
    json_decref(items);
    return *out_version > 0 ? CTL_OK
                            : ctl_fail(c, CTL_NOT_FOUND,
                                       "policy '%s' has no candidate: `steelyard policies train "
                                       "%s`",
                                       name, name);
}

static enum ctl_exit read_plan_file(struct ctl *c, json_t **out_body)
{
    struct buf file;
    struct err err = {0};
    const char *path = ctl_text(c, "plan");
    if (path == NULL) {
        *out_body = json_object();
        return CTL_OK;
    }
    buf_init(&file, PLAN_BYTES_MAX);
    int rc = buf_read_file(&file, path, PLAN_BYTES_MAX, &err);
    json_t *body = rc == 0 ? json_loadb(file.data, file.len, 0, NULL) : NULL;
    buf_deinit(&file);
    if (rc != 0)
        return ctl_fail(c, CTL_USAGE, "--plan: %s", err.message);
    if (!json_is_object(body)) {
        json_decref(body);
        return ctl_fail(c, CTL_USAGE, "--plan %s: no JSON object", path);
    }
    *out_body = body;
    return CTL_OK;
}

/* --stages 1,5,100 and --dwell 30m,1h: the last dwell holds for the stages after it. */
static enum ctl_exit add_stages(struct ctl *c, json_t *body)
{
    const char *stages = ctl_text(c, "stages"), *dwell = ctl_text(c, "dwell");
    struct str rest = str_from(stages), dwells = str_from(dwell), part, wait = STR_NULL;
    if (stages == NULL)
        return dwell == NULL ? CTL_OK : ctl_fail(c, CTL_USAGE, "--dwell needs --stages");
    json_t *list = json_array();
    json_object_set_new(body, "stages", list);
    while (rest.len > 0) {
        int64_t hundredths;
        (void)str_cut(rest, ',', &part, &rest);
        if (str_parse_fixed(part, 2, &hundredths) != 0)
            return ctl_fail(c, CTL_USAGE, "--stages: '%.*s' is no percentage; try 1,5,25,50,100",
                            STR_ARG(part));
        if (dwells.len > 0)
            (void)str_cut(dwells, ',', &wait, &dwells);
        json_t *stage = json_pack("{s:f}", "percent", (double)hundredths / 100);
        if (wait.len > 0)
            json_object_set_new(stage, "dwell", json_stringn(wait.data, wait.len));
        json_array_append_new(list, stage);
    }
    return CTL_OK;
}

static void add_shadow(struct ctl *c, json_t *body)
{
    json_t *shadow = json_object_get(body, "shadow");
    if (ctl_text(c, "shadow") == NULL && ctl_text(c, "shadow-requests") == NULL)
        return;
    if (!json_is_object(shadow)) {
        shadow = json_object();
        json_object_set_new(body, "shadow", shadow);
    }
    if (ctl_text(c, "shadow") != NULL)
        json_object_set_new(shadow, "dwell", json_string(ctl_text(c, "shadow")));
    if (ctl_text(c, "shadow-requests") != NULL)
        json_object_set_new(shadow, "requests",
                            json_integer(strtoll(ctl_text(c, "shadow-requests"), NULL, 10)));
}

static enum ctl_exit add_options(struct ctl *c, json_t *body)
{
    int64_t ppm;
    if (ctl_text(c, "inconclusive") != NULL)
        json_object_set_new(body, "inconclusive", json_string(ctl_text(c, "inconclusive")));
    if (ctl_text(c, "bucket") != NULL)
        json_object_set_new(body, "bucket", json_string(ctl_text(c, "bucket")));
    if (ctl_text(c, "saving") != NULL) {
        if (str_parse_fixed(str_from(ctl_text(c, "saving")), 6, &ppm) != 0)
            return ctl_fail(c, CTL_USAGE, "--saving: '%s' is no share; try 0.1",
                            ctl_text(c, "saving"));
        json_object_set_new(body, "declared_saving", json_real((double)ppm / 1e6));
    }
    if (ctl_text(c, "reason") != NULL)
        json_object_set_new(body, "reason", json_string(ctl_text(c, "reason")));
    if (ctl_bool(c, "dry-run"))
        json_object_set_new(body, "dry_run", json_true());
    return CTL_OK;
}

static enum ctl_exit post_policy(struct ctl *c, const char *name, const char *verb, json_t *body,
                                 json_t **out_reply)
{
    struct query q;
    query_init(&q, "/policies");
    query_part(&q, name);
    query_literal(&q, verb);
    enum ctl_exit code = client_call(c, "POST", query_path(&q), body, out_reply);
    query_deinit(&q);
    if (code == CTL_OK && ctl_bool(c, "dry-run"))
        ctl_note(c, "Dry run: nothing was changed.");
    return code;
}

static const struct column started_columns[] = {{.title = "Rollout", .path = "id"},
                                                {.title = "Policy", .path = "policy"},
                                                {.title = "Version", .path = "version"},
                                                {.title = "Generation", .path = "generation"},
                                                {.title = NULL}};

enum ctl_exit policies_rollout(struct ctl *c)
{
    char name[128];
    uint64_t version = 0;
    json_t *body = NULL, *reply = NULL;
    enum ctl_exit code = read_target(c, name, &version);
    if (code == CTL_OK && version == 0)
        code = newest_candidate(c, name, &version);
    if (code == CTL_OK)
        code = read_plan_file(c, &body);
    if (code == CTL_OK)
        code = add_stages(c, body);
    if (code == CTL_OK)
        code = add_options(c, body);
    if (code != CTL_OK) {
        json_decref(body);
        return code;
    }
    add_shadow(c, body);
    json_object_set_new(body, "version", json_integer((json_int_t)version));
    code = post_policy(c, name, "/rollouts", body, &reply);
    if (code == CTL_OK)
        code = output_object(c, started_columns, reply, "id");
    json_decref(reply);
    return code;
}

enum ctl_exit policies_revert(struct ctl *c)
{
    char name[128];
    uint64_t version = 0;
    json_t *body = NULL, *reply = NULL;
    enum ctl_exit code = read_target(c, name, &version);
    if (code == CTL_OK)
        code = read_plan_file(c, &body);
    if (code != CTL_OK)
        return code;
    if (version != 0)
        json_object_set_new(body, "to", json_integer((json_int_t)version));
    if (ctl_text(c, "reason") != NULL)
        json_object_set_new(body, "reason", json_string(ctl_text(c, "reason")));
    if (ctl_bool(c, "dry-run"))
        json_object_set_new(body, "dry_run", json_true());
    code = post_policy(c, name, "/revert", body, &reply);
    if (code == CTL_OK)
        code = output_object(c, started_columns, reply, "id");
    json_decref(reply);
    return code;
}

enum ctl_exit policies_override(struct ctl *c)
{
    char name[128];
    uint64_t version = 0;
    json_t *body = json_object(), *reply = NULL;
    enum ctl_exit code = read_target(c, name, &version);
    bool ends = ctl_bool(c, "end");
    if (ctl_text(c, "reason") != NULL)
        json_object_set_new(body, "reason", json_string(ctl_text(c, "reason")));
    if (code == CTL_OK && !ends && (version == 0 || ctl_text(c, "expires") == NULL))
        code = ctl_fail(c, CTL_USAGE, "an override needs a version and an end: %s@3 --expires 4h",
                        name);
    if (code != CTL_OK) {
        json_decref(body);
        return code;
    }
    if (ends) {
        struct query q;
        query_init(&q, "/rollouts");
        query_part(&q, name);
        query_literal(&q, "/end");
        code = client_call(c, "POST", query_path(&q), body, &reply);
        query_deinit(&q);
        if (code == CTL_OK)
            code = print_rollout(c, reply);
    } else {
        json_object_set_new(body, "version", json_integer((json_int_t)version));
        json_object_set_new(body, "expires", json_string(ctl_text(c, "expires")));
        if (ctl_bool(c, "dry-run"))
            json_object_set_new(body, "dry_run", json_true());
        code = post_policy(c, name, "/override", body, &reply);
        if (code == CTL_OK)
            code = output_object(c, started_columns, reply, "id");
    }
    json_decref(reply);
    return code;
}

/* --- watch and command -------------------------------------------------------------------------
 */

static enum ctl_exit call_rollout(struct ctl *c, const char *method, const char *name,
                                  const char *verb, json_t **out_reply)
{
    struct query q;
    json_t *body = NULL;
    if (strcmp(method, "POST") == 0) {
        body = json_object();
        if (ctl_text(c, "reason") != NULL)
            json_object_set_new(body, "reason", json_string(ctl_text(c, "reason")));
    }
    query_init(&q, "/rollouts");
    query_part(&q, name);
    if (verb != NULL)
        query_literal(&q, verb);
    enum ctl_exit code = client_call(c, method, query_path(&q), body, out_reply);
    query_deinit(&q);
    return code;
}

static enum ctl_exit command(struct ctl *c, const char *name, const char *verb)
{
    json_t *reply = NULL;
    enum ctl_exit code = call_rollout(c, "POST", name, verb, &reply);
    if (code == CTL_OK && json_object_get(reply, "policy") == NULL) {
        ctl_note(c, "Nodes were told; it is written when the database is back.");
        code = output_json(c, reply);
    } else if (code == CTL_OK) {
        code = print_rollout(c, reply);
    }
    json_decref(reply);
    return code;
}

enum ctl_exit policies_pause(struct ctl *c)
{
    return command(c, ctl_arg(c, 0), "/pause");
}

enum ctl_exit policies_resume(struct ctl *c)
{
    return command(c, ctl_arg(c, 0), "/resume");
}

static enum ctl_exit canary_status(struct ctl *c, const char *name)
{
    json_t *rollout = NULL;
    enum ctl_exit code = call_rollout(c, "GET", name, NULL, &rollout);
    if (code == CTL_OK)
        code = print_rollout(c, rollout);
    if (code == CTL_OK && json_is_true(json_object_get(rollout, "breached")))
        code = CTL_NO;
    json_decref(rollout);
    return code;
}

/* Stage by stage up to the share: none of them waits for its dwell. */
static enum ctl_exit canary_set(struct ctl *c, const char *name)
{
    int64_t wanted;
    json_t *rollout = NULL;
    const char *text = ctl_text(c, "percent");
    if (text == NULL || str_parse_fixed(str_from(text), 2, &wanted) != 0)
        return ctl_fail(c, CTL_USAGE, "set to which stage's share? try --percent 25");
    enum ctl_exit code = call_rollout(c, "GET", name, NULL, &rollout);
    for (unsigned i = 0; code == CTL_OK && i < ADVANCE_MAX; i++) {
        double percent = number_at(rollout, "percent");
        if (percent * 100 >= (double)wanted - 0.5)
            break;
        json_decref(rollout);
        rollout = NULL;
        code = call_rollout(c, "POST", name, "/promote", &rollout);
    }
    if (code == CTL_OK && number_at(rollout, "percent") * 100 > (double)wanted + 0.5)
        code = ctl_fail(c, CTL_CONFLICT,
                        "%s is at %.4g %%: there is no stage of %s %% ahead; a share only rises, "
                        "or the rollout is aborted",
                        name, number_at(rollout, "percent"), text);
    if (code == CTL_OK)
        code = print_rollout(c, rollout);
    json_decref(rollout);
    return code;
}

enum ctl_exit policies_canary(struct ctl *c)
{
    const char *verb = ctl_arg(c, 0), *name = ctl_arg(c, 1);
    json_t *items = NULL;
    if (strcmp(verb, "status") == 0 && name == NULL) {
        enum ctl_exit code = client_list(c, "/rollouts", 0, &items);
        if (code == CTL_OK)
            code = output_list(c, list_columns, items, "id");
        json_decref(items);
        return code;
    }
    if (name == NULL)
        return ctl_fail(c, CTL_USAGE, "of which policy? try `steelyard policies canary %s default`",
                        verb);
    if (strcmp(verb, "status") == 0)
        return canary_status(c, name);
    if (strcmp(verb, "set") == 0)
        return canary_set(c, name);
    if (strcmp(verb, "abort") == 0)
        return command(c, name, "/abort");
    return ctl_fail(c, CTL_USAGE, "'%s' is none of status, set and abort", verb);
}

enum ctl_exit policies_history(struct ctl *c)
{
    struct query q;
    json_t *page = NULL;
    char limit[24];
    snprintf(limit, sizeof limit, "%llu", (unsigned long long)ctl_u64(c, "limit"));
    query_init(&q, "/policies");
    query_part(&q, ctl_arg(c, 0));
    query_literal(&q, "/history");
    query_parameter(&q, "limit", ctl_u64(c, "limit") == 0 ? NULL : limit);
    enum ctl_exit code = client_call(c, "GET", query_path(&q), NULL, &page);
    query_deinit(&q);
    if (code == CTL_OK)
        code = output_list(c, history_columns, json_object_get(page, "items"), "to");
    json_decref(page);
    return code;
}

static enum ctl_exit freeze(struct ctl *c, const char *verb)
{
    static const struct column columns[] = {
        {.title = "Frozen", .path = "frozen", .kind = COLUMN_BOOL}, {.title = NULL}};
    json_t *body = NULL, *reply = NULL;
    struct query q;
    enum ctl_exit code = change_body(c, NULL, &body);
    if (code != CTL_OK)
        return code;
    query_init(&q, ctl_arg(c, 0) == NULL ? "/rollouts" : "/policies");
    if (ctl_arg(c, 0) != NULL)
        query_part(&q, ctl_arg(c, 0));
    query_literal(&q, verb);
    code = client_call(c, "POST", query_path(&q), body, &reply);
    query_deinit(&q);
    if (code == CTL_OK)
        code = output_object(c, columns, reply, "frozen");
    json_decref(reply);
    return code;
}

enum ctl_exit policies_freeze(struct ctl *c)
{
    return freeze(c, "/freeze");
}

enum ctl_exit policies_unfreeze(struct ctl *c)
{
    return freeze(c, "/unfreeze");
}

#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/progress.h"
#include "controlplane/ctl/query.h"

#define POLL_MS 200U

static const struct column columns[] = {
    {.title = "POLICY", .path = "name"},
    {.title = "VERSION", .path = "version", .kind = COLUMN_NUMBER},
    {.title = "STATE", .path = "state"},
    {.title = "ARTIFACT", .path = "artifact", .kind = COLUMN_SHORT},
    {.title = "ROWS", .path = "rows", .kind = COLUMN_NUMBER},
    {.title = "COST AT 95 %", .path = "metrics.cost_at_95_of_best", .kind = COLUMN_PERCENT},
    {.title = "AUC", .path = "metrics.auc", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "ECE", .path = "metrics.ece", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "CREATED", .path = "created"},
    {.title = "TARGET", .path = "target", .wide = true},
    {.title = NULL},
};
static const struct column shown_columns[] = {
    {.title = "Policy", .path = "name"},
    {.title = "Version", .path = "version"},
    {.title = "State", .path = "state"},
    {.title = "Artifact", .path = "artifact"},
    {.title = "Created", .path = "created"},
    {.title = "Rows", .path = "rows"},
    {.title = "Target", .path = "target"},
    {.title = "Quality, of the best model's",
     .path = "report.chosen.quality_of_best",
     .kind = COLUMN_PERCENT},
    {.title = "Cost, of the best model's",
     .path = "report.chosen.cost_of_best",
     .kind = COLUMN_PERCENT},
    {.title = "Metrics", .path = "metrics", .wide = true},
    {.title = "Parameters", .path = "params", .wide = true},
    {.title = "Generation", .path = "push.generation"},
    {.title = "Nodes connected", .path = "push.connected"},
    {.title = "Nodes with it", .path = "push.acked"},
    {.title = NULL},
};
static const struct column gate_columns[] = {
    {.title = "GATE", .path = "name"},
    {.title = "OK", .path = "ok", .kind = COLUMN_BOOL},
    {.title = "DETAIL", .path = "detail"},
    {.title = NULL},
};
static const struct column refused_columns[] = {
    {.title = "REFUSED BY", .path = "node_id"},
    {.title = "CODE", .path = "code"},
    {.title = "DETAIL", .path = "detail"},
    {.title = NULL},
};

enum ctl_exit policies_list(struct ctl *c)
{
    json_t *items = NULL;
    enum ctl_exit code = client_list(c, "/policies", ctl_u64(c, "limit"), &items);
    if (code == CTL_OK)
        code = output_list(c, columns, items, "name");
    json_decref(items);
    return code;
}

/* "NAME VERSION" or "NAME@VERSION". version stays "" without one. */
struct named {
    char name[128], version[32];
};
static enum ctl_exit read_name(struct ctl *c, const char *text, const char *beside,
                               struct named *out)
{
    struct str name, version = STR_NULL;
    uint64_t number;
    if (!str_cut(str_from(text), '@', &name, &version))
        version = STR_NULL;
    if (version.len == 0)
        version = str_from(beside);
    if (!str_copy(name, out->name, sizeof(out->name)) || name.len == 0 ||
        !str_copy(version, out->version, sizeof(out->version)))
        return ctl_fail(c, CTL_USAGE, "'%s' is no policy name", text);
    if (version.len > 0 && str_parse_u64(version, UINT64_MAX, &number) != 0)
        return ctl_fail(c, CTL_USAGE, "'%s' is no version; try %s@1", out->version, out->name);
    return CTL_OK;
}

static enum ctl_exit read_named(struct ctl *c, struct named *out)
{
    return read_name(c, ctl_arg(c, 0), ctl_arg(c, 1), out);
}

/* The version in force when none was named, else the newest. */
static enum ctl_exit find_version(struct ctl *c, struct named *io_named)
{
    json_t *items = NULL;
    size_t i;
    json_t *item;
    json_int_t best = -1;
    bool best_is_current = false;
    enum ctl_exit code = client_list(c, "/policies", 0, &items);
    if (code != CTL_OK)
        return code;
    json_array_foreach(items, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *state = json_string_value(json_object_get(item, "state"));
        json_int_t version = json_integer_value(json_object_get(item, "version"));
        bool current = state != NULL && strcmp(state, "current") == 0;
        if (name == NULL || strcmp(name, io_named->name) != 0)
            continue;
        if (best < 0 || (current && !best_is_current) ||
            (current == best_is_current && version > best)) {
            best = version;
            best_is_current = current;
        }
    }
    json_decref(items);
    if (best < 0)
        return ctl_fail(c, CTL_NOT_FOUND,
                        "policy '%s' has no version yet: `steelyard policies train %s`",
                        io_named->name, io_named->name);
    snprintf(io_named->version, sizeof(io_named->version), "%lld", (long long)best);
    return CTL_OK;
}

static enum ctl_exit print_shown(struct ctl *c, const json_t *policy)
{
    enum ctl_exit code = output_object(c, shown_columns, policy, "name");
    if (code != CTL_OK || !output_is_table(c))
        return code;
    const json_t *gates = json_object_get(policy, "gates");
    if (json_array_size(gates) > 0) {
        fputc('\n', c->out);
        code = output_list(c, gate_columns, gates, "name");
    }
    const json_t *refused = output_get(policy, "push.nacked");
    if (code == CTL_OK && json_array_size(refused) > 0) {
        fputc('\n', c->out);
        code = output_list(c, refused_columns, refused, "node_id");
    }
    return code;
}

static enum ctl_exit get_policy(struct ctl *c, const struct named *named, json_t **out)
{
    struct query q;
    query_init(&q, "/policies");
    query_part(&q, named->name);
    query_part(&q, named->version);
    enum ctl_exit code = client_call(c, "GET", query_path(&q), NULL, out);
    query_deinit(&q);
    return code;
}

enum ctl_exit policies_show(struct ctl *c)
{
    struct named named;
    json_t *policy = NULL;
    enum ctl_exit code = read_named(c, &named);
    if (code == CTL_OK && named.version[0] == '\0')
        code = find_version(c, &named);
    if (code == CTL_OK)
        code = get_policy(c, &named, &policy);
    if (code == CTL_OK)
        code = print_shown(c, policy);
    json_decref(policy);
    return code;
}

static const struct column calibrate_columns[] = {
    {.title = "Policy", .path = "policy"},
    {.title = "Version", .path = "version"},
    {.title = "Threshold", .path = "threshold"},
    {.title = "To the strongest", .path = "strong_share", .kind = COLUMN_PERCENT},
    {.title = "Decisions", .path = "decisions"},
    {.title = "Not usable", .path = "unusable", .wide = true},
    {.title = "Ask for", .path = "model"},
    {.title = NULL},
};

enum ctl_exit policies_calibrate(struct ctl *c)
{
    struct named named;
    struct query q;
    json_t *reply = NULL;
    const char *name = ctl_arg(c, 0);
    if (name == NULL)
        name = ctl_text(c, "policy");
    enum ctl_exit code = read_name(c, name != NULL ? name : "default", NULL, &named);
    if (code == CTL_OK && named.version[0] == '\0')
        code = find_version(c, &named);
    if (code != CTL_OK)
        return code;
    query_init(&q, "/policies");
    query_part(&q, named.name);
    query_part(&q, named.version);
    query_literal(&q, "/calibrate");
    query_parameter(&q, "pct", ctl_text(c, "strong-model-pct"));
    query_parameter(&q, "decisions", ctl_text(c, "last"));
    code = client_call(c, "GET", query_path(&q), NULL, &reply);
    if (code == CTL_OK)
        code = output_object(c, calibrate_columns, reply, "model");
    json_decref(reply);
    query_deinit(&q);
    return code;
}

/* {"quality": 0.95} out of whichever target flag was given. */
static enum ctl_exit read_target(struct ctl *c, json_t **out_target)
{
    static const struct {
        const char *flag, *member;
    } targets[] = {{"quality", "quality"},
                   {"quality-floor", "quality_floor"},
                   {"spend-usd-per-day", "spend_usd_per_day"}};
    json_t *target = NULL;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        const char *text = ctl_text(c, targets[i].flag);
        int64_t micro;
        if (text == NULL)
            continue;
        bool ok = str_parse_fixed(str_from(text), 6, &micro) == 0 && micro > 0 &&
                  (i == 2 || micro <= 1000000);
        if (!ok || target != NULL) {
            json_decref(target);
            return ok ? ctl_fail(c, CTL_USAGE, "give one target, not several")
                      : ctl_fail(c, CTL_USAGE, "--%s: '%s' is no target; try 0.95", targets[i].flag,
                                 text);
        }
        target = json_pack("{s:f}", targets[i].member, (double)micro / 1e6);
    }
    *out_target = target;
    return CTL_OK;
}

static enum ctl_exit train_body(struct ctl *c, json_t **out_body)
{
    struct err err = {0};
    char since[40], until[40];
    const char *mode = ctl_text(c, "mode");
    json_t *target = NULL;
    if (strcmp(mode, "observed") != 0 && strcmp(mode, "full") != 0)
        return ctl_fail(c, CTL_USAGE, "--mode: '%s' is neither observed nor full", mode);
    if (nouns_time(ctl_text(c, "since"), since, &err) != 0 ||
        nouns_time(ctl_text(c, "until"), until, &err) != 0)
        return ctl_fail(c, CTL_USAGE, "%s", err.message);
    enum ctl_exit code = read_target(c, &target);
    if (code != CTL_OK)
        return code;
    json_t *data = json_pack("{s:s}", "mode", mode);
    if (since[0] != '\0')
        json_object_set_new(data, "since", json_string(since));
    if (until[0] != '\0')
        json_object_set_new(data, "until", json_string(until));
    *out_body = json_pack("{s:o,s:b}", "data", data, "promote", ctl_bool(c, "promote") ? 1 : 0);
    if (target != NULL)
        json_object_set_new(*out_body, "target", target);
    return CTL_OK;
}

/* Ctrl-C: the run is stopped at the server too, so that nothing is left behind. */
static enum ctl_exit cancel_job(struct ctl *c, const char *id)
{
    struct query q;
    query_init(&q, "/jobs");
    query_part(&q, id);
    query_literal(&q, "/cancel");
    json_t *reply = NULL;
    bool stopped = client_try(c, "POST", query_path(&q), &reply) == CTL_OK;
    json_decref(reply);
    query_deinit(&q);
    return ctl_fail(c, CTL_FAILED,
                    stopped ? "interrupted; the training run was cancelled"
                            : "interrupted; the training run goes on at the server");
}

static enum ctl_exit wait_job(struct ctl *c, const char *id, json_t **out_job)
{
    struct progress p;
    struct query q;
    enum ctl_exit code = CTL_OK;
    progress_init(&p, c->err, c->err_is_terminal, c->quiet, "training");
    query_init(&q, "/jobs");
    query_part(&q, id);
    for (;;) {
        json_t *job = NULL;
        code = client_call(c, "GET", query_path(&q), NULL, &job);
        const char *state = json_string_value(json_object_get(job, "state"));
        const char *phase = json_string_value(json_object_get(job, "phase"));
        json_int_t done = json_integer_value(json_object_get(job, "done"));
        json_int_t total = json_integer_value(json_object_get(job, "total"));
        if (code == CTL_OK)
            progress_update(&p, (uint64_t)(done > 0 ? done : 0), (uint64_t)(total > 0 ? total : 0),
                            phase);
        bool ended = code != CTL_OK || state == NULL || strcmp(state, "done") == 0 ||
                     strcmp(state, "failed") == 0;
        if (ended) {
            *out_job = job;
            break;
        }
        json_decref(job);
        if (client_wait(c, POLL_MS)) {
            progress_end(&p);
            query_deinit(&q);
            return cancel_job(c, id);
        }
    }
    progress_end(&p);
    query_deinit(&q);
    return client_interrupted(c) ? cancel_job(c, id) : code;
}

static enum ctl_exit train_result(struct ctl *c, const json_t *job)
{
    const char *state = json_string_value(json_object_get(job, "state"));
    const char *message = json_string_value(json_object_get(job, "message"));
    const json_t *result = json_object_get(job, "result");
    const char *name = json_string_value(json_object_get(result, "policy"));
    struct named named = {0};
    json_t *policy = NULL;
    if (state == NULL || strcmp(state, "done") != 0 || name == NULL)
        return ctl_fail(c, CTL_FAILED, "training failed: %s",
                        message != NULL ? message : "no reason given");
    (void)str_copy(str_from(name), named.name, sizeof(named.name));
    snprintf(named.version, sizeof(named.version), "%lld",
             (long long)json_integer_value(json_object_get(result, "version")));
    enum ctl_exit code = get_policy(c, &named, &policy);
    if (code == CTL_OK)
        code = print_shown(c, policy);
    const char *policy_state = json_string_value(json_object_get(policy, "state"));
    if (code == CTL_OK && policy_state != NULL && strcmp(policy_state, "rejected") == 0)
        code = ctl_fail(c, CTL_NO, "%s@%s did not pass its gates", named.name, named.version);
    json_decref(policy);
    return code;
}

enum ctl_exit policies_train(struct ctl *c)
{
    struct query q;
    json_t *body = NULL, *reply = NULL, *job = NULL;
    if (ctl_text(c, "data") != NULL)
        return policies_train_offline(c);
    if (ctl_arg(c, 0) == NULL)
        return ctl_fail(c, CTL_USAGE, "give the NAME of a policy, or --data FILE");
    enum ctl_exit code = train_body(c, &body);
    if (code != CTL_OK)
        return code;
    query_init(&q, "/policies");
    query_part(&q, ctl_arg(c, 0));
    query_literal(&q, "/train");
    code = client_call(c, "POST", query_path(&q), body, &reply);
    const char *id = json_string_value(json_object_get(reply, "job"));
    if (code == CTL_OK && id == NULL)
        code = ctl_fail(c, CTL_FAILED, "the server named no job");
    else if (code == CTL_OK && ctl_bool(c, "no-wait"))
        code = output_json(c, reply);
    else if (code == CTL_OK) {
        code = wait_job(c, id, &job);
        if (code == CTL_OK)
            code = train_result(c, job);
    }
    json_decref(job);
    json_decref(reply);
    query_deinit(&q);
    return code;
}

static json_t *reason_body(struct ctl *c)
{
    const char *reason = ctl_text(c, "reason");
    const char *user = getenv("USER");
    if (reason != NULL && reason[0] != '\0')
        return json_pack("{s:s}", "reason", reason);
    return json_pack("{s:o}", "reason",
                     json_sprintf("from the command line%s%.64s", user != NULL ? " by " : "",
                                  user != NULL ? user : ""));
}

enum ctl_exit policies_promote(struct ctl *c)
{
    static const struct column promoted[] = {{.title = "Generation", .path = "generation"},
                                             {.title = NULL}};
    struct named named;
    struct query q;
    json_t *reply = NULL;
    enum ctl_exit code = read_named(c, &named);
    if (code != CTL_OK)
        return code;
    if (named.version[0] == '\0')
        return ctl_fail(c, CTL_USAGE, "which version? try %s@1", named.name);
    query_init(&q, "/policies");
    query_part(&q, named.name);
    query_part(&q, named.version);
    query_literal(&q, "/promote");
    code = client_call(c, "POST", query_path(&q), reason_body(c), &reply);
    if (code == CTL_OK) {
        ctl_note(c, "%s@%s is on its way to the nodes.", named.name, named.version);
        code = output_object(c, promoted, reply, "generation");
    }
    json_decref(reply);
    query_deinit(&q);
    return code;
}

enum ctl_exit policies_rollback(struct ctl *c)
{
    static const struct column back[] = {{.title = "Version", .path = "version"},
                                         {.title = "Generation", .path = "generation"},
                                         {.title = NULL}};
    struct named named;
    struct query q;
    json_t *reply = NULL;
    enum ctl_exit code = read_named(c, &named);
    if (code != CTL_OK)
        return code;
    json_t *body = reason_body(c);
    if (named.version[0] != '\0')
        json_object_set_new(body, "to", json_integer(strtoll(named.version, NULL, 10)));
    query_init(&q, "/policies");
    query_part(&q, named.name);
    query_literal(&q, "/rollback");
    code = client_call(c, "POST", query_path(&q), body, &reply);
    if (code == CTL_OK)
        code = output_object(c, back, reply, "version");
    json_decref(reply);
    query_deinit(&q);
    return code;
}

/* The models alone stand in the training report, under `models`. */
static enum ctl_exit add_singles(struct ctl *c, const struct named *named, json_t *frontier)
{
    json_t *policy = NULL;
    if (json_is_array(json_object_get(frontier, "singles")))
        return CTL_OK;
    enum ctl_exit code = get_policy(c, named, &policy);
    if (code == CTL_OK)
        json_object_set(frontier, "singles",
                        json_object_get(json_object_get(policy, "report"), "models"));
    json_decref(policy);
    return code;
}

enum ctl_exit policies_frontier(struct ctl *c)
{
    struct named named;
    struct query q;
    json_t *frontier = NULL;
    enum ctl_exit code = read_named(c, &named);
    if (code == CTL_OK && named.version[0] == '\0')
        code = find_version(c, &named);
    if (code != CTL_OK)
        return code;
    query_init(&q, "/policies");
    query_part(&q, named.name);
    query_literal(&q, "/frontier");
    query_parameter(&q, "version", named.version);
    code = client_call(c, "GET", query_path(&q), NULL, &frontier);
    if (code == CTL_OK)
        code = add_singles(c, &named, frontier);
    if (code == CTL_OK)
        code = frontier_print(c, frontier);
    json_decref(frontier);
    query_deinit(&q);
    return code;
}

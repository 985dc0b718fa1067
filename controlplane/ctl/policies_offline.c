/* `policies train --data` and `policies route`: the offline twins (offline.h) on the command line.
 */
#include <string.h>

#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/offline.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/progress.h"

struct watched {
    struct ctl *c;
    struct progress progress;
};

static bool on_progress(const struct learn_progress *progress, void *data)
{
    struct watched *w = data;
    progress_update(&w->progress, progress->done, progress->total, progress->phase);
    return true;
}

static enum ctl_exit exit_of(int rc)
{
    return rc == ERR_NOT_FOUND                     ? CTL_NOT_FOUND
           : rc == ERR_INVALID || rc == ERR_SYNTAX ? CTL_USAGE
           : rc == ERR_RANGE                       ? CTL_NO
                                                   : CTL_FAILED;
}

/* The report is what a script reads; a person gets the figures that decide. */
static enum ctl_exit print_result(struct ctl *c, const struct learn_result *result)
{
    if (c->format == CTL_JSON) {
        json_t *report = json_loadb(result->report.data, result->report.len, 0, NULL);
        enum ctl_exit code = output_json(c, report);
        json_decref(report);
        return code;
    }
    const struct learn_point *p = &result->chosen;
    for (uint32_t i = 0; i < result->gate_count; i++)
        ctl_note(c, "%s %s: %s", result->gates[i].ok ? "ok  " : "FAIL", result->gates[i].name,
                 result->gates[i].detail);
    fprintf(c->out, "quality %.4f, %.8f USD a request, lambda %.6g\n", p->quality, p->cost_usd,
            p->lambda);
    return CTL_OK;
}

enum ctl_exit policies_train_offline(struct ctl *c)
{
    struct learn_result result = {0};
    struct err err = {0};
    struct watched watched = {.c = c};
    const char *data = ctl_text(c, "data");
    struct offline_train options = {
        .data = &data,
        .data_count = 1,
        .meta = ctl_text(c, "meta"),
        .target = ctl_text(c, "target") != NULL ? ctl_text(c, "target") : "quality=0.95",
        .out = ctl_text(c, "out"),
        .report = ctl_text(c, "report"),
        .hash_key = ctl_text(c, "hash-key"),
        .incumbent = ctl_text(c, "incumbent"),
        .on_progress = on_progress,
        .on_progress_data = &watched,
    };
    if (options.meta == NULL || options.out == NULL)
        return ctl_fail(c, CTL_USAGE, "--data needs --meta META.json and --out FILE");
    progress_init(&watched.progress, c->err, c->err_is_terminal, c->quiet, "training");
    int rc = offline_train(&options, &result, &err);
    progress_end(&watched.progress);
    enum ctl_exit code = CTL_OK;
    if (rc != 0)
        code = ctl_fail(c, exit_of(rc), "%s", err.message);
    else
        code = print_result(c, &result);
    if (code == CTL_OK && !result.passed) /* Nobody serves it yet: the user judges. */
        ctl_note(c, "warning: the policy was written but did not pass its gates");
    learn_result_deinit(&result);
    return code;
}

enum ctl_exit policies_route(struct ctl *c)
{
    struct err err = {0};
    uint64_t count = 0;
    struct offline_route options = {
        .artifact = ctl_text(c, "artifact"),
        .queries = ctl_text(c, "queries"),
        .out = ctl_text(c, "out") != NULL ? ctl_text(c, "out") : "-",
        .hash_key = ctl_text(c, "hash-key"),
        .lambda = -1,
    };
    int64_t nano = 0;
    const char *lambda = ctl_text(c, "lambda");
    if (options.artifact == NULL || options.queries == NULL)
        return ctl_fail(c, CTL_USAGE, "give --artifact FILE and --queries FILE");
    if (lambda != NULL) {
        if (str_parse_fixed(str_from(lambda), 9, &nano) != 0 || nano < 0)
            return ctl_fail(c, CTL_USAGE, "--lambda: '%s' is no quality per USD; try 12.5", lambda);
        options.lambda = (double)nano / 1e9;
    }
    int rc = offline_route(&options, &count, &err);
    if (rc != 0)
        return ctl_fail(c, exit_of(rc), "%s", err.message);
    ctl_note(c, "%llu choices", (unsigned long long)count);
    return CTL_OK;
}

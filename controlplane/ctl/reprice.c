/* `steelyard budgets reprice`: batch after batch until the server names no further one. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/progress.h"

static const struct column columns[] = {
    {.title = "ACCOUNT", .path = "account"},
    {.title = "BUDGET", .path = "budget", .kind = COLUMN_NUMBER},
    {.title = "PERIOD START", .path = "period_start"},
    {.title = "AMOUNT USD", .path = "amount_usd"},
    {.title = "POSTED", .path = "posted", .kind = COLUMN_BOOL},
    {.title = NULL},
};

struct repricing {
    struct ctl *c;
    json_t *sums; /* By account and period, over all batches. */
    json_int_t decisions, attempts, changed, unpriced;
    int64_t delta;
};

static int64_t nano_of(const json_t *o, const char *name)
{
    int64_t nano = 0;
    const char *text = json_string_value(json_object_get(o, name));
    return text != NULL && str_parse_fixed(str_from(text), 9, &nano) == 0 ? nano : 0;
}

static json_t *usd_of(int64_t nano)
{
    uint64_t size = nano < 0 ? 0 - (uint64_t)nano : (uint64_t)nano;
    return json_sprintf("%s%llu.%09llu", nano < 0 ? "-" : "",
                        (unsigned long long)(size / 1000000000),
                        (unsigned long long)(size % 1000000000));
}

static bool same_period(const json_t *a, const json_t *b)
{
    return json_equal(json_object_get(a, "budget"), json_object_get(b, "budget")) &&
           json_equal(json_object_get(a, "period_start"), json_object_get(b, "period_start"));
}

static void add_sum(struct repricing *r, json_t *sum)
{
    size_t i;
    json_t *have;
    json_array_foreach(r->sums, i, have)
    {
        if (same_period(have, sum)) {
            int64_t all = nano_of(have, "amount_usd") + nano_of(sum, "amount_usd");
            json_object_set_new(have, "amount_usd", usd_of(all));
            return;
        }
    }
    json_array_append(r->sums, sum);
}

static json_int_t number_of(const json_t *reply, const char *name)
{
    return json_integer_value(json_object_get(reply, name));
}

static void add_reply(struct repricing *r, const json_t *reply)
{
    size_t i;
    json_t *sum;
    r->decisions += number_of(reply, "decisions");
    r->attempts += number_of(reply, "attempts");
    r->changed += number_of(reply, "changed");
    r->unpriced += number_of(reply, "unpriced");
    r->delta += nano_of(reply, "delta_usd");
    json_array_foreach(json_object_get(reply, "accounts"), i, sum)
    {
        add_sum(r, sum);
    }
}

/* The same for each batch: times are made absolute, so that they do not move meanwhile. */
static enum ctl_exit make_body(struct ctl *c, json_t **out_body)
{
    char since[40], until[40];
    struct err err = {0};
    time_t now = (time_t)(clock_wall_us() / 1000000);
    struct tm tm;
    if (nouns_time(ctl_text(c, "since"), since, &err) != 0 ||
        nouns_time(ctl_text(c, "until"), until, &err) != 0)
        return ctl_fail(c, CTL_USAGE, "%s", err.message);
    if (until[0] == '\0') {
        gmtime_r(&now, &tm);
        strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    json_t *body = json_pack("{s:s, s:s, s:s, s:b}", "model", ctl_arg(c, 0), "since", since,
                             "until", until, "dry_run", ctl_bool(c, "dry-run"));
    if (ctl_text(c, "reason") != NULL)
        json_object_set_new(body, "reason", json_string(ctl_text(c, "reason")));
    *out_body = body;
    return CTL_OK;
}

static enum ctl_exit run_all(struct repricing *r, const json_t *body)
{
    struct progress progress;
    enum ctl_exit code = CTL_OK;
    json_t *cursor = NULL;
    bool more = true;
    progress_init(&progress, r->c->err, r->c->err_is_terminal, r->c->quiet, "repricing");
    while (more && code == CTL_OK) {
        json_t *reply = NULL, *batch = json_copy((json_t *)(uintptr_t)body);
        if (cursor != NULL)
            json_object_set(batch, "cursor", cursor);
        code = client_call(r->c, "POST", "/budgets/reprice", batch, &reply);
        if (code == CTL_OK)
            add_reply(r, reply);
        progress_update(&progress, (uint64_t)r->decisions, 0, "decisions");
        json_decref(cursor);
        cursor = json_incref(json_object_get(reply, "next"));
        more = json_is_string(cursor);
        json_decref(reply);
        if (more && client_interrupted(r->c))
            code = CTL_FAILED;
    }
    progress_end(&progress);
    json_decref(cursor);
    return code;
}

/* Also after an interruption: what was posted until then is posted. */
static enum ctl_exit print(struct repricing *r, bool dry)
{
    struct ctl *c = r->c;
    enum ctl_exit code = CTL_OK;
    if (output_is_json(c)) {
        json_t *all =
            json_pack("{s:I, s:I, s:I, s:I, s:o, s:O, s:b}", "decisions", r->decisions, "attempts",
                      r->attempts, "changed", r->changed, "unpriced", r->unpriced, "delta_usd",
                      usd_of(r->delta), "accounts", r->sums, "dry_run", dry);
        code = output_json(c, all);
        json_decref(all);
        return code;
    }
    if (json_array_size(r->sums) > 0)
        code = output_list(c, columns, r->sums, "account");
    json_t *delta = usd_of(r->delta);
    ctl_note(c, "%s%lld of %lld attempts cost something else: %s USD in all; %lld without a price",
             dry ? "would be: " : "", (long long)r->changed, (long long)r->attempts,
             json_string_value(delta), (long long)r->unpriced);
    json_decref(delta);
    return code;
}

enum ctl_exit budgets_reprice(struct ctl *c)
{
    struct repricing r = {.c = c};
    json_t *body = NULL;
    enum ctl_exit code = make_body(c, &body);
    if (code != CTL_OK)
        return code;
    r.sums = json_array();
    code = run_all(&r, body);
    if (code == CTL_OK || r.decisions > 0) {
        enum ctl_exit printed = print(&r, ctl_bool(c, "dry-run"));
        code = code == CTL_OK ? printed : code;
    }
    json_decref(r.sums);
    json_decref(body);
    return code;
}

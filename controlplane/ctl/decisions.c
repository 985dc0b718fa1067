#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/progress.h"
#include "controlplane/ctl/query.h"

static const struct column columns[] = {
    {.title = "ID", .path = "id"},
    {.title = "TIME", .path = "ts"},
    {.title = "KEY", .path = "key_id", .wide = true},
    {.title = "ASKED", .path = "alias"},
    {.title = "CHOSEN", .path = "chosen"},
    {.title = "SERVED", .path = "served"},
    {.title = "POLICY", .path = "policy"},
    {.title = "STATUS", .path = "status"},
    {.title = "HTTP", .path = "http_status", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "COST", .path = "cost_usd", .kind = COLUMN_USD},
    {.title = "IN", .path = "tokens_in", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "OUT", .path = "tokens_out", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "TTFT", .path = "ttft_ms", .kind = COLUMN_MS, .wide = true},
    {.title = "TOOK", .path = "latency_ms", .kind = COLUMN_MS},
    {.title = "TRIES", .path = "attempts", .kind = COLUMN_NUMBER, .wide = true},
    {.title = "EXPLORED", .path = "explored", .kind = COLUMN_BOOL, .wide = true},
    {.title = "SCORE", .path = "score", .kind = COLUMN_NUMBER},
    {.title = NULL},
};

int nouns_time(const char *text, char out[40], struct err *err)
{
    uint64_t ago_ms;
    out[0] = '\0';
    if (text == NULL || text[0] == '\0')
        return 0;
    if (str_parse_duration_ms(str_from(text), &ago_ms) == 0 && ago_ms < 86400000ULL * 36500) {
        clock_format_rfc3339(clock_wall_us() - (int64_t)ago_ms * 1000, out);
        return 0;
    }
    if (strlen(text) < 10 || strlen(text) > 35 || text[4] != '-')
        return err_set(err, ERR_INVALID, "'%s' is no time; try 24h or 2026-01-31T08:00:00Z", text);
    return str_copy(str_from(text), out, 40) ? 0 : err_set(err, ERR_INVALID, "time too long");
}

enum ctl_exit decisions_list(struct ctl *c)
{
    struct err err = {0};
    struct query q;
    json_t *items = NULL;
    char since[40], until[40], page[24];
    uint64_t limit = ctl_u64(c, "limit");
    if (nouns_time(ctl_text(c, "since"), since, &err) != 0 ||
        nouns_time(ctl_text(c, "until"), until, &err) != 0)
        return ctl_fail(c, CTL_USAGE, "%s", err.message);
    snprintf(page, sizeof(page), "%llu",
             (unsigned long long)(limit > 0 && limit < 500 ? limit : 500));
    query_init(&q, "/decisions");
    query_parameter(&q, "limit", page);
    query_parameter(&q, "since", since);
    query_parameter(&q, "until", until);
    query_parameter(&q, "key", ctl_text(c, "key"));
    query_parameter(&q, "route", ctl_text(c, "route"));
    query_parameter(&q, "model", ctl_text(c, "model"));
    query_parameter(&q, "status", ctl_text(c, "status"));
    enum ctl_exit code = client_list(c, query_path(&q), limit, &items);
    if (code == CTL_OK)
        code = output_list(c, columns, items, "id");
    json_decref(items);
    query_deinit(&q);
    return code;
}

enum ctl_exit decisions_show(struct ctl *c)
{
    struct query q;
    json_t *decision = NULL;
    query_init(&q, "/decisions");
    query_part(&q, ctl_arg(c, 0));
    enum ctl_exit code = client_call(c, "GET", query_path(&q), NULL, &decision);
    if (code == CTL_OK)
        code = output_json(c, decision); /* The record has too many fields for a table. */
    json_decref(decision);
    query_deinit(&q);
    return code;
}

struct replay {
    struct ctl *c;
    struct progress progress;
    uint64_t total;
    json_t *last;
};

static bool on_replay_line(void *arg, const json_t *line)
{
    struct replay *r = arg;
    json_int_t checked = json_integer_value(json_object_get(line, "checked"));
    json_decref(r->last);
    r->last = json_deep_copy(line);
    progress_update(&r->progress, (uint64_t)checked, r->total > 0 ? r->total : (uint64_t)checked,
                    NULL);
    return !client_interrupted(r->c);
}

static enum ctl_exit replay_result(struct ctl *c, const json_t *last)
{
    static const struct column result[] = {{.title = "Checked", .path = "checked"},
                                           {.title = "Equal bit by bit", .path = "equal"},
                                           {.title = "Different", .path = "differ"},
                                           {.title = "Skipped", .path = "skipped"},
                                           {.title = NULL}};
    size_t i;
    json_t *example;
    if (last == NULL)
        return ctl_fail(c, CTL_FAILED, "the server reported nothing");
    if (output_is_json(c)) /* One line, as the ones that led to it were. */
        c->format = CTL_JSONL;
    enum ctl_exit code = output_object(c, result, last, "checked");
    const char *failed = json_string_value(json_object_get(last, "error"));
    if (failed != NULL)
        return ctl_fail(c, CTL_FAILED, "replay stopped: %s", failed);
    json_array_foreach(json_object_get(last, "examples"), i, example)
    {
        char *text = json_dumps(example, JSON_COMPACT | JSON_ENCODE_ANY);
        ctl_note(c, "  differs: %s", text != NULL ? text : "?");
        mem_free(text);
    }
    if (code == CTL_OK && json_integer_value(json_object_get(last, "differ")) > 0)
        code = ctl_fail(c, CTL_NO, "some decisions are not what the record says");
    return code;
}

/* How many there are, and so how many to ask for. */
static enum ctl_exit count_decisions(struct ctl *c, uint64_t limit, uint64_t *out_total)
{
    json_t *status = NULL;
    enum ctl_exit code = client_call(c, "GET", "/status", NULL, &status);
    json_int_t total = json_integer_value(output_get(status, "decisions.total"));
    json_decref(status);
    *out_total = limit > 0 && (json_int_t)limit < total ? limit : (uint64_t)(total > 0 ? total : 0);
    return code;
}

enum ctl_exit decisions_replay(struct ctl *c)
{
    struct err err = {0};
    struct replay r = {.c = c};
    char since[40];
    bool all = ctl_bool(c, "all");
    if (nouns_time(all ? NULL : ctl_text(c, "since"), since, &err) != 0)
        return ctl_fail(c, CTL_USAGE, "--since: %s", err.message);
    enum ctl_exit code = count_decisions(c, all ? 0 : ctl_u64(c, "limit"), &r.total);
    if (code != CTL_OK)
        return code;
    json_t *body = json_object();
    if (since[0] != '\0')
        json_object_set_new(body, "since", json_string(since));
    if (r.total > 0)
        json_object_set_new(body, "limit", json_integer((json_int_t)r.total));
    progress_init(&r.progress, c->err, c->err_is_terminal, c->quiet, "replaying");
    code = client_stream(c, "POST", "/decisions/replay", body, on_replay_line, &r);
    progress_end(&r.progress);
    if (code == CTL_OK && client_interrupted(c))
        code = ctl_fail(c, CTL_FAILED, "interrupted");
    if (code == CTL_OK)
        code = replay_result(c, r.last);
    json_decref(r.last);
    return code;
}

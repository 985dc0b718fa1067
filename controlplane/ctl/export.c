#include "controlplane/ctl/export.h"

#include <string.h>

#include "common/base/str.h"
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/query.h"

#define CURSOR_BYTES 128U

/* One page. *out_count: its items; io_cursor: where the next one starts, "" when there is none. */
static enum ctl_exit export_page(struct ctl *c, const char *path, const struct column *columns,
                                 uint64_t left, char io_cursor[CURSOR_BYTES], uint64_t *out_count)
{
    struct buf text;
    json_t *page = NULL;
    buf_init(&text, 4096);
    int rc = buf_append_text(&text, path);
    if (rc == 0 && io_cursor[0] != '\0') {
        rc = buf_append_text(&text, "&cursor=");
        if (rc == 0)
            rc = client_escape(io_cursor, &text);
    }
    enum ctl_exit code = rc == 0 ? client_call(c, "GET", buf_cstr(&text), NULL, &page)
                                 : ctl_fail(c, CTL_FAILED, "the request is too long");
    buf_deinit(&text);
    if (code != CTL_OK)
        return code;
    json_t *items = json_object_get(page, "items");
    bool cut = false;
    for (; left > 0 && json_array_size(items) > left; cut = true)
        (void)json_array_remove(items, json_array_size(items) - 1);
    *out_count = json_array_size(items);
    code = c->format == CTL_CSV ? output_csv_rows(c, columns, items)
                                : output_list(c, columns, items, "id");
    const json_t *last = json_object_get(json_array_get(items, *out_count - 1), "id");
    const char *next = json_string_value(json_object_get(page, "next"));
    if (cut && json_is_integer(last))
        (void)snprintf(io_cursor, CURSOR_BYTES, "%lld", (long long)json_integer_value(last));
    else if (!str_copy(str_from(cut ? json_string_value(last) : next), io_cursor, CURSOR_BYTES))
        code = ctl_fail(c, CTL_FAILED, "the server's cursor is too long");
    json_decref(page);
    if (code == CTL_OK && fflush(c->out) != 0)
        code = ctl_fail(c, CTL_FAILED, "the output could not be written");
    return code;
}

enum ctl_exit export_pages(struct ctl *c, const char *path, const struct column *columns,
                           const char *what)
{
    char cursor[CURSOR_BYTES] = "";
    uint64_t total = 0, limit = ctl_u64(c, "limit"), count = 0;
    const char *given = ctl_text(c, "cursor");
    if (c->format == CTL_TABLE)
        c->format = CTL_JSONL;
    if (c->format != CTL_JSONL && c->format != CTL_CSV)
        return ctl_fail(c, CTL_USAGE, "an export is -o jsonl or -o csv");
    if (given != NULL && !str_copy(str_from(given), cursor, sizeof cursor))
        return ctl_fail(c, CTL_USAGE, "--cursor is too long");
    enum ctl_exit code = CTL_OK;
    if (c->format == CTL_CSV && cursor[0] == '\0') /* What goes on has its head already. */
        code = output_csv_head(c, columns);
    do {
        count = 0;
        if (code == CTL_OK)
            code = export_page(c, path, columns, limit > 0 ? limit - total : 0, cursor, &count);
        total += count;
    } while (code == CTL_OK && cursor[0] != '\0' && !client_interrupted(c) &&
             (limit == 0 || total < limit));
    if (code == CTL_OK && client_interrupted(c))
        code = ctl_fail(c, CTL_FAILED, "interrupted");
    ctl_note(c, "%llu %s", (unsigned long long)total, what);
    if (cursor[0] != '\0')
        ctl_note(c, "it goes on with --cursor %s", cursor);
    return code;
}

static const struct column decision_columns[] = {
    {.title = "ID", .path = "id"},
    {.title = "TS", .path = "ts"},
    {.title = "KEY", .path = "key_id"},
    {.title = "ROUTE", .path = "route"},
    {.title = "ALIAS", .path = "alias"},
    {.title = "CHOSEN", .path = "chosen"},
    {.title = "SERVED", .path = "served"},
    {.title = "POLICY", .path = "policy"},
    {.title = "STATUS", .path = "status"},
    {.title = "HTTP", .path = "http_status"},
    {.title = "COST", .path = "cost_usd"},
    {.title = "IN", .path = "tokens_in"},
    {.title = "OUT", .path = "tokens_out"},
    {.title = "TTFT", .path = "ttft_ms"},
    {.title = "TOOK", .path = "latency_ms"},
    {.title = "TRIES", .path = "attempts"},
    {.title = "EXPLORED", .path = "explored"},
    {.title = "SCORE", .path = "score"},
    {.title = "EXCLUDED", .path = "excluded_any"},
    {.title = "NODE", .path = "node_id"},
    {.title = "EPOCH", .path = "epoch"},
    {.title = "SEQ", .path = "seq"},
    {.title = "SEGMENT", .path = "segment"},
    {.title = "GENERATION", .path = "generation"},
    {.title = "FLAGS", .path = "flags"},
    {.title = "RECORD", .path = "record"},
    {.title = NULL},
};

enum ctl_exit decisions_export(struct ctl *c)
{
    struct err err = {0};
    struct query q;
    char since[40], until[40];
    if (nouns_time(ctl_text(c, "since"), since, &err) != 0)
        return ctl_fail(c, CTL_USAGE, "--since: %s", err.message);
    if (nouns_time(ctl_text(c, "until"), until, &err) != 0)
        return ctl_fail(c, CTL_USAGE, "--until: %s", err.message);
    query_init(&q, "/decisions/export");
    query_parameter(&q, "limit", "500");
    query_parameter(&q, "since", since);
    query_parameter(&q, "until", until);
    enum ctl_exit code = export_pages(c, query_path(&q), decision_columns, "decisions");
    query_deinit(&q);
    return code;
}

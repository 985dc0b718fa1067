#include "common/json/json_writer.h"
#include "dataplane/llm/responses.h"

static void write_null(struct json_writer *w, const char *key)
{
    json_writer_key(w, key);
    json_writer_null(w);
}

static void write_error(struct json_writer *w, const char *code, struct str message)
{
    json_writer_key(w, "error");
    json_writer_begin_object(w);
    json_writer_key(w, "code");
    json_writer_text(w, code);
    json_writer_key(w, "message");
    json_writer_string(w, message);
    json_writer_end_object(w);
}

/* The members that every response has; a client's types promise them. */
static const struct responses_seen nothing_seen;

static void write_response(struct json_writer *w, const struct responses_seen *seen,
                           struct str other_id, struct str model, const char *code,
                           struct str message)
{
    json_writer_begin_object(w);
    json_writer_key(w, "id");
    json_writer_string(w, seen->id_len > 0 ? (struct str){seen->id, seen->id_len} : other_id);
    json_writer_key(w, "object");
    json_writer_text(w, "response");
    json_writer_key(w, "created_at");
    json_writer_i64(w, seen->created_s);
    json_writer_key(w, "status");
    json_writer_text(w, code != NULL ? "failed" : "in_progress");
    if (code != NULL)
        write_error(w, code, message);
    else
        write_null(w, "error");
    write_null(w, "incomplete_details");
    write_null(w, "instructions");
    json_writer_key(w, "metadata");
    json_writer_begin_object(w);
    json_writer_end_object(w);
    json_writer_key(w, "model");
    json_writer_string(w, model);
    json_writer_key(w, "output");
    json_writer_begin_array(w);
    json_writer_end_array(w);
    json_writer_key(w, "parallel_tool_calls");
    json_writer_bool(w, true);
    write_null(w, "temperature");
    json_writer_key(w, "tool_choice");
    json_writer_text(w, "auto");
    json_writer_key(w, "tools");
    json_writer_begin_array(w);
    json_writer_end_array(w);
    write_null(w, "top_p");
    write_null(w, "usage");
    json_writer_end_object(w);
}

static int write_event(const char *type, uint64_t number, const struct responses_seen *seen,
                       struct str other_id, struct str model, const char *code, struct str message,
                       struct buf *out)
{
    struct json_writer w;
    int rc = buf_printf(out, "event: %s\ndata: ", type);
    if (rc != 0)
        return rc;
    json_writer_init(&w, out);
    json_writer_begin_object(&w);
    json_writer_key(&w, "type");
    json_writer_text(&w, type);
    json_writer_key(&w, "sequence_number");
    json_writer_u64(&w, number);
    json_writer_key(&w, "response");
    write_response(&w, seen, other_id, model, code, message);
    json_writer_end_object(&w);
    rc = json_writer_finish(&w);
    return rc == 0 ? buf_append_text(out, "\n\n") : rc;
}

int responses_write_failed(const struct responses_seen *seen, struct str other_id, struct str model,
                           const char *code, struct str message, struct buf *out)
{
    size_t before = out->len;
    int rc = 0;
    if (seen == NULL)
        seen = &nothing_seen;
    uint64_t number = seen->next;
    if (number == 0) /* Clients take no other event for the first. */
        rc = write_event("response.created", number++, seen, other_id, model, NULL, STR_NULL, out);
    if (rc == 0)
        rc = write_event("response.failed", number, seen, other_id, model, code, message, out);
    if (rc != 0)
        out->len = before;
    return rc;
}

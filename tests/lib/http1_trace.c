#include "tests/lib/http1_trace.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/http1.h"

/* A test that cannot write down what it saw cannot go on. */
static void check(int rc)
{
    if (rc != 0)
        abort();
}

size_t http1_trace_byte_by_byte(void *arg)
{
    (void)arg;
    return 1;
}

static size_t piece_bytes(const struct http1_trace_input *input, size_t at)
{
    size_t left = input->bytes.len - at;
    size_t want = input->next_piece != NULL ? input->next_piece(input->arg) : left;
    return want < left ? want : left;
}

static void note_head(const struct http1_head *h, struct buf *out)
{
    check(buf_printf(out, "head %u v%u keep %d kind %d length %llu encoded %d expect %d\n",
                     h->head_bytes, h->minor_version, h->keep_alive, h->body_kind,
                     (unsigned long long)h->content_length, h->body_encoded, h->expect_continue));
    if (h->response)
        check(buf_printf(out, "%u (%.*s) after %u\n", h->status, STR_ARG(h->phrase),
                         h->interim_count));
    else
        check(buf_printf(out, "%s (%.*s) path (%.*s) query %d(%.*s) host (%.*s)\n",
                         http1_method_name(h->method), STR_ARG(h->target), STR_ARG(h->path),
                         h->query.data != NULL, STR_ARG(h->query), STR_ARG(h->host)));
    for (size_t i = 0; i < h->field_count; i++)
        check(buf_printf(out, "(%.*s)=(%.*s)\n", STR_ARG(http1_field_name(h, i)),
                         STR_ARG(http1_field_value(h, i))));
}

/* Returns the offset of the body, or SIZE_MAX when there is no complete head. */
static size_t trace_head(const struct http1_trace_input *input, struct http1_head *h, size_t *io_at,
                         struct buf *out)
{
    char *copy = NULL;
    enum http1_result result = HTTP1_MORE;
    while (result == HTTP1_MORE && *io_at < input->bytes.len) {
        *io_at += piece_bytes(input, *io_at);
        char *moved = mem_alloc(*io_at);
        if (moved == NULL)
            abort();
        memcpy(moved, input->bytes.data, *io_at);
        mem_free(copy);
        copy = moved;
        result = http1_head_parse(h, copy, *io_at);
    }
    if (result == HTTP1_DONE) {
        http1_head_rebase(h, input->bytes.data);
        note_head(h, out);
    } else if (result == HTTP1_REJECTED) {
        check(buf_printf(out, "head rejected %s\n", http1_reason_name(h->reason)));
    } else {
        check(buf_printf(out, "head cut, begun %d\n", http1_head_begun(h)));
    }
    mem_free(copy);
    return result == HTTP1_DONE ? h->head_bytes : SIZE_MAX;
}

static void trace_body(const struct http1_trace_input *input, const struct http1_head *h,
                       size_t from, size_t have, struct buf *out)
{
    struct http1_body body;
    size_t at = from;
    enum http1_result result = HTTP1_MORE;
    http1_body_init(&body, h, input->body_max_bytes);
    check(buf_append_text(out, "body "));
    for (;;) {
        struct str in = str_slice(input->bytes, at, have);
        struct str piece = STR_NULL;
        while ((result = http1_body_next(&body, &in, &piece)) == HTTP1_DATA)
            check(buf_append_str(out, piece));
        at = have - in.len;
        if (result != HTTP1_MORE || have == input->bytes.len)
            break;
        have += piece_bytes(input, have);
    }
    if (result == HTTP1_MORE)
        result = http1_body_close(&body);
    if (result == HTTP1_REJECTED)
        check(buf_printf(out, "\nbody rejected %s\n", http1_reason_name(body.reason)));
    else
        check(buf_printf(out, "\nbody done %llu left (%.*s)\n",
                         (unsigned long long)body.payload_bytes,
                         STR_ARG(str_slice(input->bytes, at, input->bytes.len))));
}

void http1_trace(const struct http1_trace_input *input, struct buf *out)
{
    struct http1_head head;
    size_t at = 0;
    buf_clear(out);
    if (input->response)
        http1_response_init(&head, input->reply_to_head ? HTTP1_HEAD : HTTP1_GET);
    else
        http1_request_init(&head);
    size_t from = trace_head(input, &head, &at, out);
    if (from != SIZE_MAX)
        trace_body(input, &head, from, at, out);
}

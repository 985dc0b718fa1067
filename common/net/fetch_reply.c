/* The reply of one exchange, as curl hands it out: the head line by line, which our own strict
 * parser reads, then the body as it came, chunks included, which our own strict decoder reads. So
 * what is refused does not depend on curl, and a byte past the end of a chunked body is noticed. */
#include <assert.h>

#include "common/net/fetch_internal.h"

#define TRAILER_BYTES_MAX 8192U

static int head_fault(const struct http1_head *h)
{
    bool large = h->reason == HTTP1_REASON_HEAD_TOO_LARGE ||
                 h->reason == HTTP1_REASON_FIELD_TOO_LONG ||
                 h->reason == HTTP1_REASON_FIELDS_TOO_MANY;
    return large ? ERR_TOO_LARGE : ERR_PROTOCOL;
}

static int body_fault(const struct http1_body *b)
{
    return b->reason == HTTP1_REASON_BODY_TOO_LARGE ? ERR_TOO_LARGE : ERR_PROTOCOL;
}

void fetch_forbid_reuse(struct fetch *f, bool forbid)
{
    if (f->reuse_forbidden == forbid)
        return;
    f->reuse_forbidden = forbid;
    (void)curl_easy_setopt(f->easy, CURLOPT_FORBID_REUSE, forbid ? 1L : 0L);
}

static bool take_head(struct fetch *f)
{
    f->head_done = true;
    f->result.phase = FETCH_BODY;
    f->result.http_status = f->head.status;
    if (f->head.body_encoded) {
        fetch_note_status(f, ERR_PROTOCOL); /* Never asked for, and nothing here decompresses. */
        return false;
    }
    http1_body_init(&f->body, &f->head, f->body_max_bytes);
    if (f->body.reason != HTTP1_REASON_NONE) {
        fetch_note_status(f, body_fault(&f->body));
        return false;
    }
    /* Where no body is due, curl throws away what follows the head without a word. */
    if (http1_body_is_done(&f->body))
        fetch_forbid_reuse(f, true);
    f->last_byte_ms = uv_now(f->origin->loop->uv);
    fetch_arm(f);
    if (!f->silent && f->callbacks->on_head != NULL &&
        f->callbacks->on_head(f->arg, f, f->head.status) == FETCH_PAUSE)
        f->paused = true;
    return !f->silent;
}

/* Gets one raw line at a time, of interim heads and trailers too. */
size_t fetch_on_head_line(char *line, size_t size, size_t count, void *fetch)
{
    struct fetch *f = fetch;
    size_t len = size * count;
    if (f->silent)
        return 0;
    f->result.reply_seen = true;
    size_t cap = HTTP1_RESPONSE_HEAD_BYTES_MAX + (f->head_done ? TRAILER_BYTES_MAX : 0);
    if (f->head_bytes.len + len > cap) {
        fetch_note_status(f, ERR_TOO_LARGE);
        return 0;
    }
    if (f->head_done) /* A trailer: dropped. */
        return len;
    int rc = buf_append(&f->head_bytes, line, len);
    if (rc != 0) {
        fetch_note_status(f, rc);
        return 0;
    }
    switch (http1_head_parse(&f->head, f->head_bytes.data, f->head_bytes.len)) {
    case HTTP1_MORE:
        return len;
    case HTTP1_DONE:
        return take_head(f) ? len : 0;
    case HTTP1_DATA:
    case HTTP1_REJECTED:
        break;
    }
    fetch_note_status(f, head_fault(&f->head));
    return 0;
}

static void deliver(struct fetch *f, struct str piece)
{
    f->result.body_bytes += piece.len;
    if (f->callbacks->on_body != NULL && f->callbacks->on_body(f->arg, f, piece) == FETCH_PAUSE)
        f->paused = true;
}

/* When the callee pauses within these bytes, curl is told to bring them again; those that were
 * taken are counted and passed over then. */
size_t fetch_on_body(char *data, size_t size, size_t count, void *fetch)
{
    struct fetch *f = fetch;
    size_t len = size * count;
    if (f->silent)
        return 0;
    if (f->paused) {
        f->curl_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    f->result.reply_seen = true;
    if (!f->head_done) {
        fetch_note_status(f, ERR_PROTOCOL);
        return 0;
    }
    size_t taken = f->taken_bytes < len ? f->taken_bytes : len;
    struct str rest = {.data = data + taken, .len = len - taken};
    struct str piece;
    f->taken_bytes -= taken;
    f->last_byte_ms = uv_now(f->origin->loop->uv);
    fetch_arm(f);
    for (;;) {
        switch (http1_body_next(&f->body, &rest, &piece)) {
        case HTTP1_MORE:
            return len;
        case HTTP1_DONE:
            if (rest.len > 0)
                fetch_forbid_reuse(f, true);
            return len;
        case HTTP1_REJECTED:
            fetch_note_status(f, body_fault(&f->body));
            return 0;
        case HTTP1_DATA:
            deliver(f, piece);
            break;
        }
        if (f->silent)
            return 0;
        if (f->paused && rest.len > 0) {
            f->taken_bytes = len - rest.len;
            f->curl_paused = true;
            return CURL_WRITEFUNC_PAUSE;
        }
    }
}

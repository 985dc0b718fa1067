#include "dataplane/request/fault.h"

#include <assert.h>

#include "common/json/json_writer.h"

#define RETRY_WITHIN_MS 60000

static const struct fault_row rows[FAULT_COUNT] = {
#define X(n, s, t, c, r, cl, m)                                                                    \
    [FAULT_##n] = {.status = (s),                                                                  \
                   .type = (t),                                                                    \
                   .code = (c),                                                                    \
                   .should_retry = (r),                                                            \
                   .close = (cl),                                                                  \
                   .message = (m)},
    FAULT_TABLE(X)
#undef X
};

const struct fault_row *fault_get(enum fault f)
{
    assert(f > FAULT_NONE && f < FAULT_COUNT);
    return &rows[f];
}

bool fault_should_retry(enum fault f, int64_t wait_ms)
{
    /* A cool-down that ends soon is worth waiting for; clients obey up to 60 s. */
    if (f == FAULT_NO_UPSTREAM)
        return wait_ms >= 0 && wait_ms <= RETRY_WITHIN_MS;
    return fault_get(f)->should_retry;
}

struct str fault_message(enum fault f, const struct fault_detail *d)
{
    if (d->said.len > 0)
        return d->said;
    return str_from(d->message != NULL ? d->message : fault_get(f)->message);
}

int fault_write_message(enum fault f, const struct fault_detail *d, struct buf *out)
{
    if (d->said.len > 0)
        return json_writer_escape(out, d->said);
    int rc = buf_append_text(out, d->message != NULL ? d->message : fault_get(f)->message);
    if (rc != 0 || d->offset < 0)
        return rc;
    rc = buf_append_text(out, " (at byte ");
    if (rc == 0)
        rc = buf_append_i64(out, d->offset);
    return rc == 0 ? buf_append_char(out, ')') : rc;
}

/* Clients know a prompt that is too long by these words, which no vendor but OpenAI says. */
static const char *words_before(enum fault f, const struct fault_detail *d)
{
    return f == FAULT_CONTEXT_LENGTH && d->said.len > 0 &&
                   str_search(d->said, STR("context_length_exceeded")) < 0
               ? "context_length_exceeded: "
               : "";
}

int fault_write_json(enum fault f, const struct fault_detail *d, struct buf *out)
{
    const struct fault_row *row = fault_get(f);
    int rc = buf_append_text(out, "{\"error\":{\"message\":\"");
    if (rc == 0)
        rc = buf_append_text(out, words_before(f, d));
    if (rc == 0)
        rc = fault_write_message(f, d, out);
    if (rc == 0)
        rc = buf_append_text(out, "\",\"type\":\"");
    if (rc == 0)
        rc = buf_append_text(out, row->type);
    if (rc == 0)
        rc = buf_append_text(out, d->param.data != NULL ? "\",\"param\":\"" : "\",\"param\":null");
    if (rc == 0 && d->param.data != NULL) {
        rc = buf_append_str(out, d->param);
        if (rc == 0)
            rc = buf_append_char(out, '"');
    }
    if (rc == 0)
        rc = buf_append_text(out, ",\"code\":\"");
    if (rc == 0)
        rc = buf_append_text(out, row->code);
    if (rc == 0)
        rc = buf_append_text(out, "\"}}");
    return rc;
}

#include "dataplane/request/dialect.h"

#include <string.h>

#include "dataplane/llm/responses.h"

/* ---- which ---- */

enum dialect dialect_of_head(const struct http1_head *head)
{
    if (str_starts(head->path, STR("/anthropic/")) || str_starts(head->path, STR("/v1/messages")))
        return DIALECT_ANTHROPIC;
    if (str_starts(head->path, STR("/openai/")))
        return DIALECT_OPENAI;
    return http1_field_get(head, STR("anthropic-version")).data != NULL ? DIALECT_ANTHROPIC
                                                                        : DIALECT_OPENAI;
}

/* ---- what is told ---- */

unsigned dialect_status(enum dialect d, enum fault f)
{
    unsigned status = fault_get(f)->status;
    if (d != DIALECT_ANTHROPIC)
        return status;
    if (f == FAULT_BUDGET_SPENT)
        return 402;
    return f == FAULT_NO_UPSTREAM ? 529 : status;
}

const char *dialect_anthropic_type(enum fault f)
{
    switch (dialect_status(DIALECT_ANTHROPIC, f)) {
    case 401:
        return "authentication_error";
    case 402:
        return "billing_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 408:
    case 504:
        return "timeout_error";
    case 409:
        return "conflict_error";
    case 413:
        return "request_too_large";
    case 429:
        return "rate_limit_error";
    case 500:
    case 502:
        return "api_error";
    case 503:
    case 529:
        return "overloaded_error";
    default:
        return "invalid_request_error";
    }
}

/* Clients recover by these words. */
static const char *prefix_of(enum fault f, const struct fault_detail *d)
{
    if (f == FAULT_CAPABILITY)
        return "capability_rejected: ";
    /* A provider of another dialect says it in words of its own. */
    const struct str words = STR("prompt is too long");
    return f == FAULT_CONTEXT_LENGTH && !str_starts(d->said, words) ? "prompt is too long: " : "";
}

static int write_anthropic(const struct dialect_error *e, struct buf *out)
{
    const struct fault_detail *d = e->detail;
    int rc = buf_append_text(out, "{\"type\":\"error\",\"error\":{\"type\":\"");
    if (rc == 0)
        rc = buf_append_text(out, dialect_anthropic_type(e->fault));
    if (rc == 0)
        rc = buf_append_text(out, "\",\"message\":\"");
    if (rc == 0)
        rc = buf_append_text(out, prefix_of(e->fault, d));
    if (rc == 0 && d->param.len > 0) {
        rc = buf_append_str(out, d->param);
        if (rc == 0)
            rc = buf_append_text(out, ": ");
    }
    if (rc == 0)
        rc = fault_write_message(e->fault, d, out);
    if (rc == 0)
        rc = buf_append_text(out, "\",\"details\":{\"error_code\":\"");
    if (rc == 0)
        rc = buf_append_text(out, fault_get(e->fault)->code);
    if (rc == 0)
        rc = buf_append_text(out, "\"}},\"request_id\":\"");
    if (rc == 0)
        rc = buf_append_str(out, e->request_id);
    return rc == 0 ? buf_append_text(out, "\"}") : rc;
}

int dialect_write_error(enum dialect d, const struct dialect_error *e, struct buf *out)
{
    return d == DIALECT_ANTHROPIC ? write_anthropic(e, out)
                                  : fault_write_json(e->fault, e->detail, out);
}

int dialect_write_error_event(enum dialect d, const struct dialect_error *e, struct buf *out)
{
    if (d == DIALECT_RESPONSES)
        return responses_write_failed(e->seen, e->answer_id, e->model, "server_error",
                                      fault_message(e->fault, e->detail), out);
    int rc = buf_append_text(out, d == DIALECT_ANTHROPIC ? "event: error\ndata: " : "data: ");
    if (rc == 0)
        rc = dialect_write_error(d, e, out);
    return rc == 0 ? buf_append_text(out, "\n\n") : rc;
}

uint64_t dialect_next_sequence(struct str bytes, uint64_t otherwise)
{
    const struct str name = STR("\"sequence_number\":");
    uint64_t number = otherwise;
    for (struct str at = bytes; at.len > name.len;) {
        const char *found = memmem(at.data, at.len, name.data, name.len);
        if (found == NULL)
            break;
        at = str_slice(at, (size_t)(found - at.data) + name.len, at.len);
        size_t i = 0;
        while (i < at.len && at.data[i] == ' ')
            i++;
        uint64_t value = 0;
        size_t first = i;
        for (; i < at.len && i - first < 18 && at.data[i] >= '0' && at.data[i] <= '9'; i++)
            value = value * 10 + (uint64_t)(at.data[i] - '0');
        if (i > first)
            number = value + 1;
    }
    return number;
}

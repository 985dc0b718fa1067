#include "tests/unit/dataplane/matrix/page.h"

#include <string.h>

#include "tests/unit/dataplane/matrix/observe.h"

static const char head[] =
    "# When providers misbehave\n"
    "\n"
    "What a caller gets, whether another deployment is tried, and what the record of the request\n"
    "says, for every misbehaviour that is tested. It holds for callers of all dialects (Chat\n"
    "Completions, Responses, Messages) at providers of all dialects, in the caller's own dialect\n"
    "and across dialects, unless a line names an exception.\n"
    "\n"
    "This page is written by the test that proves it (`build/dev/tests/test_misbehaviour --write`\n"
    "after a change of `tests/unit/dataplane/matrix/harms.c`); the test fails when the two "
    "differ.\n"
    "\n"
    "- **Caller**: what comes back when there is nobody else to ask. *Complete*: the whole answer\n"
    "  with its end. *Marked*: what had come by then, an error event, no end mark, and the\n"
    "  connection closes without the last chunk, so that no client takes it for the whole. Never\n"
    "  both. *Its body*: the provider's own, byte for byte. *Its words*: the provider's message "
    "in\n"
    "  the caller's form of an error.\n"
    "- **Next**: another deployment is tried, if there is one, and its answer is the only one "
    "that\n"
    "  the caller sees.\n"
    "- **Record**: why the attempt ended and the status that came (`-`: none).\n"
    "- **Billed by**: the provider's counts, those of this node (*counted*), or all that was\n"
    "  reserved, as nobody here knows what was made (*estimated*); *none*: nothing. Flags of the\n"
    "  row stand behind it.\n"
    "- **Cooled**: for how long the deployment is left alone. Beside that its circuit breaker\n"
    "  counts what failed.\n"
    "\n"
    "What may pass the next moment (closed connections, 5xx) is also tried again at the same "
    "place,\n"
    "within the retry budget, when there is no other.\n"
    "\n"
    "Certificates (expired, for another name, self-signed), addresses that change and connections\n"
    "that are used again have tests of their own, for both transports: "
    "`test_transport_trust`,\n"
    "`test_transport_reuse`, `test_transport_race`.\n"
    "\n"
    "## Errors in each dialect\n"
    "\n"
    "| Code | Status | Type (Chat Completions, Responses) | Status and type (Messages) | "
    "`x-should-retry` |\n"
    "| --- | --- | --- | --- | --- |\n";

static const struct {
    const char *row, *title;
} sections[] = {
    {"B32", "Heads"},
    {"B33", "Lengths of bodies"},
    {"B34", "Framing, compression, redirects"},
    {"B35", "Statuses"},
    {"B36", "Small and many pieces"},
    {"F12", "Silence"},
    {"B37", "Events, and bodies that are no answers"},
    {"B38", "Usage"},
    {"B39", "TLS"},
    {"B40", "Addresses"},
    {"B41", "Retry-After"},
};

static void say(struct buf *out, const char *text)
{
    assert_int_equal(buf_append_text(out, text), 0);
}

static void write_errors(struct buf *out)
{
    for (size_t i = 0; i < told_error_count; i++) {
        const struct told_error *e = &told_errors[i];
        assert_int_equal(buf_printf(out, "| `%s` | %u | `%s` | %u `%s` | %s |\n", e->code,
                                    e->status, e->type, e->status_anthropic, e->anthropic,
                                    e->retry ? "true" : "false"),
                         0);
    }
}

static void write_line(const struct harm *h, const char *kind, const struct verdict *v,
                       struct buf *out)
{
    char status[16] = "-";
    if (v->status != 0)
        snprintf(status, sizeof status, "%u", v->status);
    assert_int_equal(buf_printf(out, "| %s | %s | %s | %s | %s, %s | %s%s%s |", h->what, kind,
                                v->client, v->next ? "yes" : "no",
                                v->reason[0] != '\0' ? v->reason : "no attempt", status,
                                v->usage[0] != '\0' ? v->usage : "none",
                                v->flags[0] != '\0' ? "; " : "", v->flags),
                     0);
    if (v->cooled_s > 0)
        assert_int_equal(buf_printf(out, " %u s |\n", v->cooled_s), 0);
    else
        say(out, " |\n");
}

static bool same(const struct verdict *a, const struct verdict *b)
{
    return strcmp(a->client, b->client) == 0 && a->next == b->next &&
           strcmp(a->reason, b->reason) == 0 && a->status == b->status &&
           strcmp(a->usage, b->usage) == 0 && strcmp(a->flags, b->flags) == 0 &&
           a->cooled_s == b->cooled_s;
}

static void write_both(const struct harm *h, const struct verdict *whole,
                       const struct verdict *stream, const char *where, struct buf *out)
{
    char kind[64];
    const bool both = whole->client != NULL && stream->client != NULL && same(whole, stream);
    if (both || whole->client != NULL) {
        snprintf(kind, sizeof kind, "%s%s", both ? "both" : "whole", where);
        write_line(h, kind, whole, out);
    }
    if (!both && stream->client != NULL) {
        snprintf(kind, sizeof kind, "stream%s", where);
        write_line(h, kind, stream, out);
    }
}

static void write_harm(const struct harm *h, struct buf *out)
{
    char where[48] = "";
    write_both(h, &h->whole, &h->stream, "", out);
    if (h->odd == NULL)
        return;
    if (strcmp(h->odd, "passed") == 0)
        snprintf(where, sizeof where, ", caller's own dialect");
    else
        snprintf(where, sizeof where, ", provider of %s", h->odd);
    write_both(h, &h->odd_whole, &h->odd_stream, where, out);
}

void page_write(struct buf *out)
{
    say(out, head);
    write_errors(out);
    for (size_t s = 0; s < sizeof sections / sizeof sections[0]; s++) {
        assert_int_equal(buf_printf(out, "\n## %s (%s)\n\n", sections[s].title, sections[s].row),
                         0);
        say(out, "| The provider | Asked for | Caller | Next | Record | Billed by | Cooled |\n"
                 "| --- | --- | --- | --- | --- | --- | --- |\n");
        for (size_t i = 0; i < harm_count; i++)
            if (strcmp(harms[i].row, sections[s].row) == 0)
                write_harm(&harms[i], out);
    }
}

/* Reasoning that a host of chat completions signs: reasoning_details, as OpenRouter has them. What
 * is opaque in them goes through a caller of another dialect as one value, with all that the host
 * has to be told again: what it is ('T' the signature of a text, 'E' encrypted, 'S' the same of a
 * summary), the detail's index, format and id. A text before it is the text of the same part.
 *
 *   T:0:anthropic-claude-v1:0:SIGNATURE      E:1:google-gemini-v1:6:call_1DATA
 *
 * Base64 has no ':', so that such a value is not taken for Google's signature of a call. */
#include <string.h>

#include "dataplane/translate/arguments.h"
#include "dataplane/translate/openai_internal.h"

#define HELD_BYTES_MAX   (1U << 20) /* Of what waits; more is left out. */
#define FORMAT_BYTES_MAX 48U
#define INDEX_MAX        9999

/* ---- replies ---- */

static bool is_format(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        const char c = s.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'))
            return false;
    }
    return s.len <= FORMAT_BYTES_MAX;
}

/* Its head; the data follows. */
static int write_head(struct tr_replying *r, uint32_t node, char letter, struct buf *out)
{
    struct str format = json_plain(r->json, json_get(r->json, node, STR("format"))), id;
    int64_t index = -1;
    int rc = tr_reply_text(r, json_get(r->json, node, STR("id")), &id);
    if (rc != 0)
        return rc;
    if (!is_format(format))
        format = STR_NULL;
    if (json_i64(r->json, json_get(r->json, node, STR("index")), 0, INDEX_MAX, &index) != 0)
        rc = buf_printf(out, "%c::%.*s:%zu:", letter, STR_ARG(format), id.len);
    else
        rc = buf_printf(out, "%c:%u:%.*s:%zu:", letter, (unsigned)index, STR_ARG(format), id.len);
    return rc == 0 ? buf_append_str(out, id) : rc;
}

/* Behind the calls, whose pieces may go on: a caller's dialect may have no place for it there. */
static int hold(struct tr_openai_calls *calls, uint32_t choice, struct str value)
{
    const uint32_t head[2] = {choice, (uint32_t)value.len};
    struct buf *b = &calls->held;
    if (b->max == 0)
        buf_init(b, HELD_BYTES_MAX);
    if (b->len + sizeof head + value.len > HELD_BYTES_MAX)
        return 0;
    int rc = buf_append(b, head, sizeof head);
    return rc == 0 ? buf_append_str(b, value) : rc;
}

int tr_openai_put_held(struct tr_replying *r, struct tr_openai_calls *calls, uint32_t choice)
{
    const struct buf *b = &calls->held;
    uint32_t head[2];
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < b->len; at += sizeof head + head[1]) {
        memcpy(head, b->data + at, sizeof head);
        const struct tr_event event = {.kind = TR_EVENT_REDACTED,
                                       .choice = choice,
                                       .opaque = {b->data + at + sizeof head, head[1]}};
        if (head[0] == choice)
            rc = tr_reply_put(r, &event);
    }
    return rc;
}

static int put_opaque(struct tr_replying *r, struct tr_openai_calls *calls, uint32_t choice,
                      uint32_t node, char letter, struct str data)
{
    enum tr_openai_thought *thought = &calls->thought[choice];
    struct tr_event event = {.kind = TR_EVENT_REDACTED, .choice = choice};
    struct buf value;
    if (data.len == 0)
        return 0;
    if (letter == 'T' || *thought != TR_OPENAI_THOUGHT_NONE)
        event.kind = TR_EVENT_SEAL;
    *thought = TR_OPENAI_THOUGHT_NONE;
    buf_init(&value, 2 * r->json->text.len + 2 * FORMAT_BYTES_MAX);
    int rc = write_head(r, node, letter, &value);
    if (rc == 0)
        rc = buf_append_str(&value, data);
    event.opaque = buf_str(&value);
    if (rc == 0)
        rc = calls->begun[choice] > 0 && !calls->whole ? hold(calls, choice, event.opaque)
                                                       : tr_reply_put(r, &event);
    buf_deinit(&value);
    return rc;
}

static int put_thought(struct tr_replying *r, struct tr_openai_calls *calls, uint32_t choice,
                       uint32_t node, enum tr_openai_thought kind)
{
    if (json_text_length(r->json, node) == 0)
        return 0;
    calls->thought[choice] = kind;
    return tr_reply_put_text(r, node,
                             (struct tr_event){.kind = TR_EVENT_REASONING, .choice = choice});
}

static bool is_type(const struct tr_replying *r, uint32_t node, struct str type)
{
    return json_string_is(r->json, json_get(r->json, node, STR("type")), type);
}

static int put_detail(struct tr_replying *r, struct tr_openai_calls *calls, uint32_t choice,
                      uint32_t node)
{
    struct str opaque = STR_NULL;
    int rc = 0;
    if (is_type(r, node, STR("reasoning.summary")))
        return put_thought(r, calls, choice, json_get(r->json, node, STR("summary")),
                           TR_OPENAI_THOUGHT_SUMMARY);
    if (is_type(r, node, STR("reasoning.encrypted"))) {
        const bool summary = calls->thought[choice] == TR_OPENAI_THOUGHT_SUMMARY;
        rc = tr_reply_text(r, json_get(r->json, node, STR("data")), &opaque);
        return rc == 0 ? put_opaque(r, calls, choice, node, summary ? 'S' : 'E', opaque) : rc;
    }
    if (!is_type(r, node, STR("reasoning.text")))
        return 0;
    rc =
        put_thought(r, calls, choice, json_get(r->json, node, STR("text")), TR_OPENAI_THOUGHT_TEXT);
    if (rc == 0)
        rc = tr_reply_text(r, json_get(r->json, node, STR("signature")), &opaque);
    return rc == 0 ? put_opaque(r, calls, choice, node, 'T', opaque) : rc;
}

/* Do they hold the text as well, which else is a member of its own? */
static bool hold_text(const struct tr_replying *r, uint32_t details)
{
    uint32_t node;
    for (uint32_t at = 0; json_next_element(r->json, details, &at, &node);)
        if (json_text_length(r->json, json_get(r->json, node, STR("text"))) > 0 ||
            json_text_length(r->json, json_get(r->json, node, STR("summary"))) > 0)
            return true;
    return false;
}

int tr_openai_put_reasoning(struct tr_replying *r, struct tr_openai_calls *calls, uint32_t choice,
                            uint32_t message)
{
    const uint32_t details = json_get(r->json, message, STR("reasoning_details"));
    uint32_t node = json_get(r->json, message, STR("reasoning_content"));
    int rc = 0;
    if (json_kind(r->json, node) != JSON_STRING)
        node = json_get(r->json, message, STR("reasoning"));
    if (json_count(r->json, details) == 0 || !hold_text(r, details))
        rc = put_thought(r, calls, choice, node, TR_OPENAI_THOUGHT_TEXT);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, details, &at, &node);)
        rc = put_detail(r, calls, choice, node);
    return rc;
}

/* ---- requests ---- */

struct detail {
    char letter;
    int64_t index; /* TR_UNSET: none was said. */
    struct str format, id, data;
};

/* Up to the next ':'; moves past it. */
static bool take_field(struct str *io_rest, struct str *out)
{
    const ptrdiff_t end = str_find(*io_rest, ':');
    if (end < 0)
        return false;
    *out = str_slice(*io_rest, 0, (size_t)end);
    *io_rest = str_slice(*io_rest, (size_t)end + 1, io_rest->len);
    return true;
}

/* The caller held it meanwhile: it is taken for what it is in all its parts, or not at all. */
static bool read_detail(struct str value, struct detail *out)
{
    struct str letter, index, length;
    uint64_t number;
    if (!take_field(&value, &letter) || !take_field(&value, &index) ||
        !take_field(&value, &out->format) || !take_field(&value, &length))
        return false;
    if (letter.len != 1 || strchr("TES", letter.data[0]) == NULL || !is_format(out->format))
        return false;
    out->letter = letter.data[0];
    out->index = TR_UNSET;
    if (index.len > 0) {
        if (str_parse_u64(index, INDEX_MAX, &number) != 0)
            return false;
        out->index = (int64_t)number;
    }
    if (str_parse_u64(length, value.len, &number) != 0)
        return false;
    out->id = str_slice(value, 0, (size_t)number);
    out->data = str_slice(value, (size_t)number, value.len);
    return out->data.len > 0 && str_valid_utf8(out->id) && str_valid_utf8(out->data);
}

static struct str opaque_of(const struct tr_part *part)
{
    const struct tr_reasoning *one = &part->reasoning;
    return one->opaque.len > 0 ? one->opaque : one->signature;
}

bool tr_openai_is_detail(const struct tr_part *part)
{
    struct detail d;
    return part->kind == TR_PART_REASONING && read_detail(opaque_of(part), &d);
}

static void begin_detail(struct tr_asking *a, const struct detail *d, const char *type)
{
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", str_from(type));
    tr_put_text(a->w, "format", d->format);
    tr_put_whole(a->w, "index", d->index);
}

static void print_detail(struct tr_asking *a, const struct tr_part *part)
{
    struct detail d;
    const struct str text = part->reasoning.text;
    if (!read_detail(opaque_of(part), &d))
        return;
    if (d.letter == 'T') {
        begin_detail(a, &d, "reasoning.text");
        tr_put_text(a->w, "id", d.id);
        tr_put_text(a->w, "text", text);
        tr_put_text(a->w, "signature", d.data);
        json_writer_end_object(a->w);
        return;
    }
    if (text.len > 0) {
        begin_detail(a, &d, d.letter == 'S' ? "reasoning.summary" : "reasoning.text");
        tr_put_text(a->w, d.letter == 'S' ? "summary" : "text", text);
        json_writer_end_object(a->w);
    }
    begin_detail(a, &d, "reasoning.encrypted");
    tr_put_text(a->w, "id", d.id);
    tr_put_text(a->w, "data", d.data);
    json_writer_end_object(a->w);
}

bool tr_openai_print_details(struct tr_asking *a, const struct tr_turn *turn)
{
    bool any = false;
    for (uint32_t i = 0; i < turn->part_count; i++) {
        if (!tr_openai_is_detail(&turn->parts[i]))
            continue;
        if (!any) {
            json_writer_key(a->w, "reasoning_details");
            json_writer_begin_array(a->w);
        }
        any = true;
        print_detail(a, &turn->parts[i]);
    }
    if (any)
        json_writer_end_array(a->w);
    return any;
}

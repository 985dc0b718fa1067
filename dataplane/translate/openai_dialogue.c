/* A caller's messages: turns, with all their parts, and the system texts wherever they stood. */
#include <string.h>

#include "dataplane/translate/openai_internal.h"
#include "dataplane/translate/seal.h"

struct dialogue {
    struct tr_reading *r;
    uint32_t legacy; /* Calls of before there were ids. */
};

/* A mark on a message is on its last part. */
static int mark_last(struct tr_reading *r, uint32_t message, struct tr_part *parts, uint32_t count)
{
    return count > 0 ? tr_openai_read_mark(r, message, &parts[count - 1].cache) : 0;
}

/* ---- messages ---- */

static int read_system(struct dialogue *d, uint32_t message)
{
    struct tr_reading *r = d->r;
    uint32_t from = r->out->system_count;
    struct tr_part *parts = r->out->system + from;
    uint32_t count = 0, content = tr_member(r, message, STR("content"));
    int rc = tr_openai_read_content(r, content, parts, &count);
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        if (parts[i].kind != TR_PART_TEXT)
            rc = tr_reading_refuse(r, content, "a system message holds text alone");
    r->out->system_count += count;
    return rc == 0 ? mark_last(r, message, parts, count) : rc;
}

static struct tr_turn *add_turn(struct tr_reading *r, enum tr_role role, struct tr_part *parts)
{
    struct tr_turn *turn = &r->out->turns[r->out->turn_count++];
    *turn = (struct tr_turn){.role = role, .parts = parts};
    return turn;
}

static int read_user(struct dialogue *d, uint32_t message)
{
    struct tr_reading *r = d->r;
    int rc;
    uint32_t content = tr_member(r, message, STR("content"));
    struct tr_part *parts = tr_make_parts(r, tr_openai_content_count(r, content), message, &rc);
    if (parts == NULL)
        return rc;
    struct tr_turn *turn = add_turn(r, TR_USER, parts);
    rc = tr_openai_read_content(r, content, parts, &turn->part_count);
    return rc == 0 ? mark_last(r, message, parts, turn->part_count) : rc;
}

/* Reasoning as we handed it out. A block of a stream has no text of its own: it says how much of
 * reasoning_content is its. */
struct blocks {
    struct str all; /* reasoning_content */
    size_t at;
    uint32_t count;
};

/* False: what it says cannot be; then its signature is worth nothing. */
static bool text_of_block(const struct tr_reading *r, struct blocks *b, uint32_t block,
                          struct str *out)
{
    int64_t bytes = b->count == 1 ? (int64_t)b->all.len : 0;
    uint32_t node = tr_member(r, block, STR("reasoning_bytes"));
    if (json_kind(r->json, node) != JSON_MISSING &&
        json_i64(r->json, node, 0, (int64_t)(b->all.len - b->at), &bytes) != 0)
        return false;
    *out = str_slice(b->all, b->at, b->at + (size_t)bytes);
    b->at += (size_t)bytes;
    return str_valid_utf8(*out);
}

static int read_block(struct tr_reading *r, struct blocks *b, uint32_t node, struct tr_part *out)
{
    struct tr_reasoning *one = &out->reasoning;
    struct str sealed = STR_NULL;
    out->kind = TR_PART_REASONING;
    if (tr_says(r, tr_member(r, node, STR("type")), STR("redacted_thinking"))) {
        int rc = tr_take_text(r, tr_member(r, node, STR("data")), &sealed);
        one->opaque = tr_seal_take(sealed, &one->vendor, &one->maker);
        return rc;
    }
    int rc = tr_take_text(r, tr_member(r, node, STR("thinking")), &one->text);
    if (rc == 0)
        rc = tr_take_text(r, tr_member(r, node, STR("signature")), &sealed);
    one->signature = tr_seal_take(sealed, &one->vendor, &one->maker);
    if (one->text.len == 0 && !text_of_block(r, b, node, &one->text))
        one->text = one->signature = STR_NULL;
    return rc;
}

static int read_reasoning(struct tr_reading *r, uint32_t message, struct tr_turn *turn)
{
    uint32_t node = tr_member(r, message, STR("reasoning_content")), block;
    uint32_t details = tr_member(r, message, STR("reasoning_details"));
    if (json_kind(r->json, details) == JSON_ARRAY) {
        r->out->details = true;
        if (tr_openai_details_count(r, details) > 0)
            return tr_openai_read_details(r, details, turn);
    }
    uint32_t list = tr_member(r, message, STR("thinking_blocks"));
    struct blocks b = {.count = json_count(r->json, list)};
    if (!tr_is_given(r, node))
        node = tr_member(r, message, STR("reasoning"));
    int rc = json_kind(r->json, node) == JSON_STRING ? tr_take_text(r, node, &b.all) : 0;
    if (json_kind(r->json, list) == JSON_ARRAY && b.count > 0) {
        for (uint32_t at = 0; rc == 0 && json_next_element(r->json, list, &at, &block);)
            rc = read_block(r, &b, block, &turn->parts[turn->part_count++]);
    } else if (rc == 0 && b.all.len > 0) {
        struct tr_part *part = &turn->parts[turn->part_count++];
        part->kind = TR_PART_REASONING;
        part->reasoning = (struct tr_reasoning){.text = b.all, .vendor = DIALECTS};
    }
    return rc;
}

static int read_function(struct tr_reading *r, uint32_t node, struct tr_call *out)
{
    int rc = tr_need_text(r, node, STR("name"), &out->name);
    uint32_t arguments = tr_member(r, node, STR("arguments"));
    if (json_kind(r->json, arguments) == JSON_OBJECT)
        out->arguments = json_raw(r->json, arguments);
    else if (rc == 0)
        rc = tr_take_text(r, arguments, &out->arguments);
    return rc;
}

/* As we sealed it; a bare one goes to nobody. */
static int read_signature(struct tr_reading *r, uint32_t call, struct tr_call *out)
{
    struct str sealed = STR_NULL;
    uint32_t google = tr_member(r, tr_member(r, call, STR("extra_content")), STR("google"));
    int rc = tr_take_text(r, tr_member(r, google, STR("thought_signature")), &sealed);
    out->signature = tr_seal_take(sealed, &out->vendor, &out->maker);
    if (out->vendor == DIALECTS)
        out->signature = STR_NULL;
    return rc;
}

static int read_custom_call(struct tr_reading *r, uint32_t node, struct tr_part *out)
{
    uint32_t custom = tr_member(r, node, STR("custom"));
    out->call.custom = true;
    if (json_kind(r->json, custom) != JSON_OBJECT)
        return tr_reading_refuse(r, custom == JSON_NONE ? node : custom, NULL);
    int rc = tr_take_text(r, tr_member(r, node, STR("id")), &out->call.id);
    if (rc == 0)
        rc = tr_need_text(r, custom, STR("name"), &out->call.name);
    if (rc == 0)
        rc = tr_need_text(r, custom, STR("input"), &out->call.arguments);
    return rc == 0 ? read_signature(r, node, &out->call) : rc;
}

static int read_call(struct tr_reading *r, uint32_t node, struct tr_part *out)
{
    uint32_t type = tr_member(r, node, STR("type"));
    uint32_t function = tr_member(r, node, STR("function"));
    out->kind = TR_PART_CALL;
    if (tr_says(r, type, STR("custom")))
        return read_custom_call(r, node, out);
    if (type != JSON_NONE && !tr_says(r, type, STR("function")))
        return tr_openai_unsupported(r, type,
                                     "unsupported_tool: only functions can be called here");
    if (json_kind(r->json, function) != JSON_OBJECT)
        return tr_reading_refuse(r, function == JSON_NONE ? node : function, NULL);
    int rc = tr_take_text(r, tr_member(r, node, STR("id")), &out->call.id);
    if (rc == 0)
        rc = read_function(r, function, &out->call);
    if (rc == 0)
        rc = read_signature(r, node, &out->call);
    return rc;
}

static int legacy_id(struct dialogue *d, struct str *out)
{
    char *id = arena_printf(d->r->arena, "call_fn_%u", d->legacy);
    *out = str_from(id);
    return id != NULL ? 0 : ERR_NOMEM;
}

static int read_calls(struct dialogue *d, uint32_t message, struct tr_turn *turn)
{
    struct tr_reading *r = d->r;
    uint32_t one, calls = tr_member(r, message, STR("tool_calls"));
    uint32_t function = tr_member(r, message, STR("function_call"));
    int rc = 0;
    if (tr_is_given(r, calls) && json_kind(r->json, calls) != JSON_ARRAY)
        return tr_reading_refuse(r, calls, NULL);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, calls, &at, &one);)
        rc = read_call(r, one, &turn->parts[turn->part_count++]);
    if (rc != 0 || !tr_is_given(r, function))
        return rc;
    struct tr_part *part = &turn->parts[turn->part_count++];
    part->kind = TR_PART_CALL;
    d->legacy++;
    rc = legacy_id(d, &part->call.id);
    return rc == 0 ? read_function(r, function, &part->call) : rc;
}

/* What the model said: its refusal apart, and no text where there was none. */
static int read_said(struct tr_reading *r, uint32_t message, struct tr_turn *turn)
{
    uint32_t content = tr_member(r, message, STR("content"));
    uint32_t refusal = tr_member(r, message, STR("refusal"));
    int rc = 0;
    if (json_kind(r->json, content) != JSON_STRING || json_text_length(r->json, content) > 0)
        rc = tr_openai_read_content(r, content, turn->parts, &turn->part_count);
    if (rc != 0 || json_text_length(r->json, refusal) == 0)
        return rc;
    struct tr_part *part = &turn->parts[turn->part_count++];
    part->kind = TR_PART_REFUSAL;
    return tr_take_text(r, refusal, &part->text);
}

static int read_assistant(struct dialogue *d, uint32_t message)
{
    struct tr_reading *r = d->r;
    int rc;
    const uint32_t details = tr_member(r, message, STR("reasoning_details"));
    uint64_t count = tr_openai_content_count(r, tr_member(r, message, STR("content"))) +
                     (uint64_t)json_count(r->json, tr_member(r, message, STR("tool_calls"))) +
                     json_count(r->json, tr_member(r, message, STR("thinking_blocks"))) +
                     tr_openai_details_count(r, details) + 3;
    struct tr_part *parts =
        tr_make_parts(r, count > UINT32_MAX ? UINT32_MAX : (uint32_t)count, message, &rc);
    if (parts == NULL)
        return rc;
    struct tr_turn *turn = add_turn(r, TR_ASSISTANT, parts);
    rc = read_reasoning(r, message, turn);
    if (rc == 0)
        rc = read_said(r, message, turn);
    if (rc == 0)
        rc = mark_last(r, message, parts, turn->part_count);
    if (rc == 0)
        rc = read_calls(d, message, turn);
    if (rc == 0)
        rc = tr_openai_read_details_of_calls(r, details, turn);
    if (rc == 0 && tr_is_given(r, tr_member(r, message, STR("audio"))))
        rc = tr_reading_unknown(r, "messages.audio");
    if (turn->part_count == 0)
        r->out->turn_count--; /* It said nothing. */
    return rc;
}

static int read_result(struct dialogue *d, uint32_t message, bool legacy)
{
    struct tr_reading *r = d->r;
    int rc;
    uint32_t content = tr_member(r, message, STR("content")), count = 0;
    struct tr_part *parts = tr_make_parts(r, tr_openai_content_count(r, content) + 1, message, &rc);
    if (parts == NULL)
        return rc;
    struct tr_result *result = &parts[0].result;
    parts[0].kind = TR_PART_RESULT;
    rc = legacy ? legacy_id(d, &result->call_id)
                : tr_need_text(r, message, STR("tool_call_id"), &result->call_id);
    if (rc == 0)
        rc = tr_take_text(r, tr_member(r, message, STR("name")), &result->name);
    if (rc == 0)
        rc = tr_openai_read_content(r, content, parts + 1, &count);
    result->parts = parts + 1;
    result->part_count = count;
    add_turn(r, TR_TOOL, parts)->part_count = 1;
    return rc == 0 ? mark_last(r, message, parts, 1) : rc;
}

static int read_message(struct dialogue *d, uint32_t message)
{
    struct tr_reading *r = d->r;
    uint32_t role = tr_member(r, message, STR("role"));
    if (tr_says(r, role, STR("user"))) {
        int rc = tr_is_given(r, tr_member(r, message, STR("name")))
                     ? tr_reading_unknown(r, "messages.name")
                     : 0;
        return rc == 0 ? read_user(d, message) : rc;
    }
    if (tr_says(r, role, STR("assistant")))
        return read_assistant(d, message);
    if (tr_says(r, role, STR("tool")))
        return read_result(d, message, false);
    if (tr_says(r, role, STR("function")))
        return read_result(d, message, true);
    if (tr_says(r, role, STR("system")) || tr_says(r, role, STR("developer")))
        return read_system(d, message);
    return tr_reading_refuse(r, role == JSON_NONE ? message : role, NULL);
}

static int make_system(struct tr_reading *r, uint32_t messages)
{
    uint32_t message, count = 0;
    int rc;
    for (uint32_t at = 0; json_next_element(r->json, messages, &at, &message);) {
        uint32_t role = tr_member(r, message, STR("role"));
        if (tr_says(r, role, STR("system")) || tr_says(r, role, STR("developer")))
            count += tr_openai_content_count(r, tr_member(r, message, STR("content")));
    }
    r->out->system = tr_make_parts(r, count, messages, &rc);
    return rc;
}

int tr_openai_read_messages(struct tr_reading *r, uint32_t node)
{
    struct dialogue d = {.r = r};
    uint32_t message, count = json_count(r->json, node);
    if (json_kind(r->json, node) != JSON_ARRAY || count > TR_TURNS_MAX)
        return tr_reading_refuse(r, node, "more messages than one request may have");
    r->out->turns = tr_make(r, count, sizeof *r->out->turns);
    int rc = r->out->turns != NULL ? make_system(r, node) : ERR_NOMEM;
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &message);)
        rc = read_message(&d, message);
    return rc;
}

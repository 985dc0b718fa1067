/* A caller's input: items become turns. What the model said in a row (reasoning, texts, calls) is
 * one turn of the assistant; outputs in a row are one turn of results. */
#include "dataplane/llm/responses.h"
#include "dataplane/translate/openai_internal.h"
#include "dataplane/translate/responses_internal.h"
#include "dataplane/translate/seal.h"

struct items {
    struct tr_reading *r;
    struct tr_part *next;       /* Room for all parts of turns, in order. */
    struct tr_call signed_call; /* What signs the call that follows, and whose that is. */
};

/* A text or parts; it must be there. */
static int read_content(struct tr_reading *r, uint32_t content, uint32_t item,
                        struct tr_part *parts, uint32_t *io_count)
{
    if (!tr_is_given(r, content))
        return tr_reading_refuse(r, content == JSON_NONE ? item : content, NULL);
    return tr_openai_read_content(r, content, parts, io_count);
}

/* ---- items ---- */

/* The turn that an item joins, or a new one. */
static struct tr_turn *turn_for(struct items *it, enum tr_role role)
{
    struct tr_request *out = it->r->out;
    struct tr_turn *last = out->turn_count > 0 ? &out->turns[out->turn_count - 1] : NULL;
    if (last != NULL && last->part_count == 0)
        last->role = role; /* It said nothing. */
    else if (last == NULL || last->role != role || role == TR_USER)
        last = &out->turns[out->turn_count++];
    if (last->part_count == 0)
        *last = (struct tr_turn){.role = role, .parts = it->next};
    return last;
}

static int read_message(struct items *it, uint32_t item)
{
    struct tr_reading *r = it->r;
    uint32_t role = tr_member(r, item, STR("role"));
    uint32_t content = tr_member(r, item, STR("content"));
    if (tr_says(r, role, STR("system")) || tr_says(r, role, STR("developer"))) {
        uint32_t before = r->out->system_count;
        int rc = read_content(r, content, item, r->out->system, &r->out->system_count);
        for (uint32_t i = before; rc == 0 && i < r->out->system_count; i++)
            if (r->out->system[i].kind != TR_PART_TEXT)
                rc = tr_reading_refuse(r, content, "holds more than text");
        return rc;
    }
    bool user = tr_says(r, role, STR("user"));
    if (!user && !tr_says(r, role, STR("assistant")))
        return tr_reading_refuse(r, role == JSON_NONE ? item : role, NULL);
    struct tr_turn *turn = turn_for(it, user ? TR_USER : TR_ASSISTANT);
    uint32_t before = turn->part_count;
    int rc = read_content(r, content, item, turn->parts, &turn->part_count);
    it->next += turn->part_count - before;
    return rc;
}

static int read_call(struct items *it, uint32_t item, bool custom)
{
    struct tr_reading *r = it->r;
    struct tr_turn *turn = turn_for(it, TR_ASSISTANT);
    struct tr_part *part = it->next++;
    turn->part_count++;
    part->kind = TR_PART_CALL;
    part->call = it->signed_call;
    it->signed_call = (struct tr_call){.signature = STR_NULL};
    int rc = tr_need_text(r, item, STR("call_id"), &part->call.id);
    if (rc == 0)
        rc = tr_need_text(r, item, STR("name"), &part->call.name);
    if (rc == 0)
        rc = tr_need_text(r, item, custom ? STR("input") : STR("arguments"), &part->call.arguments);
    part->call.custom = custom;
    return rc;
}

static int read_output(struct items *it, uint32_t item)
{
    struct tr_reading *r = it->r;
    uint32_t output = tr_member(r, item, STR("output")), count = 0;
    int rc;
    struct tr_part *parts = tr_make_parts(r, tr_openai_content_count(r, output), item, &rc);
    if (parts == NULL)
        return rc;
    struct tr_turn *turn = turn_for(it, TR_TOOL);
    struct tr_part *part = it->next++;
    turn->part_count++;
    part->kind = TR_PART_RESULT;
    rc = tr_need_text(r, item, STR("call_id"), &part->result.call_id);
    if (rc == 0)
        rc = read_content(r, output, item, parts, &count);
    part->result.parts = parts;
    part->result.part_count = count;
    return rc;
}

/* The texts of a list, with blank lines between them. */
static int join_texts(struct tr_reading *r, uint32_t list, struct str *out)
{
    uint32_t node, count = 0;
    size_t len = 0;
    struct str text = STR_NULL;
    int rc = 0;
    if (tr_is_given(r, list) && json_kind(r->json, list) != JSON_ARRAY)
        return tr_reading_refuse(r, list, NULL);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, list, &at, &node); count++) {
        rc = tr_need_text(r, node, STR("text"), &text);
        len += text.len + 2;
    }
    *out = text;
    if (rc != 0 || count < 2)
        return rc;
    char *data = arena_alloc(r->arena, len);
    struct buf b = {.data = data, .cap = len, .max = len};
    if (data == NULL)
        return ERR_TOO_LARGE;
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, list, &at, &node);) {
        rc = b.len > 0 ? buf_append_text(&b, "\n\n") : 0;
        if (rc == 0)
            rc = tr_need_text(r, node, STR("text"), &text);
        if (rc == 0)
            rc = buf_append_str(&b, text);
    }
    *out = buf_str(&b);
    return rc;
}

/* What the opaque text is, as its first byte behind our seal says. */
static void note_opaque(struct items *it, struct str sealed, struct tr_reasoning *out)
{
    struct str value = tr_seal_take(sealed, &out->vendor, &out->maker);
    if (out->vendor == DIALECTS || value.len == 0) {
        out->opaque = sealed;
        return;
    }
    struct str rest = str_slice(value, 1, value.len);
    if (value.data[0] == TR_RESPONSES_WHOLE)
        out->opaque = rest;
    else if (value.data[0] == TR_RESPONSES_OF_CALL)
        it->signed_call =
            (struct tr_call){.signature = rest, .vendor = out->vendor, .maker = out->maker};
    else
        out->signature = value;
}

static int read_reasoning(struct items *it, uint32_t item)
{
    struct tr_reading *r = it->r;
    struct tr_reasoning reasoning = {.vendor = DIALECTS};
    struct str sealed = STR_NULL;
    int rc = join_texts(r, tr_member(r, item, STR("summary")), &reasoning.text);
    if (rc == 0 && reasoning.text.len == 0)
        rc = join_texts(r, tr_member(r, item, STR("content")), &reasoning.text);
    if (rc == 0)
        rc = tr_take_text(r, tr_member(r, item, STR("id")), &reasoning.id);
    if (rc == 0)
        rc = tr_take_text(r, tr_member(r, item, STR("encrypted_content")), &sealed);
    if (rc != 0)
        return rc;
    if (sealed.len > 0)
        note_opaque(it, sealed, &reasoning);
    if (reasoning.text.len + reasoning.signature.len + reasoning.opaque.len == 0)
        return 0;
    struct tr_turn *turn = turn_for(it, TR_ASSISTANT);
    struct tr_part *part = it->next++;
    turn->part_count++;
    part->kind = TR_PART_REASONING;
    part->reasoning = reasoning;
    return 0;
}

/* A reference to reasoning of an answer of ours (llm/responses.h). */
static bool is_own_reasoning(const struct tr_reading *r, uint32_t item)
{
    char head[7];
    size_t len = json_text_head(r->json, tr_member(r, item, STR("id")), sizeof head, head);
    return str_starts((struct str){head, len}, STR("rs_" RESPONSES_OWN_ID));
}

static int read_item(struct items *it, uint32_t item)
{
    struct tr_reading *r = it->r;
    uint32_t type = tr_member(r, item, STR("type"));
    if (json_kind(r->json, item) != JSON_OBJECT)
        return tr_reading_refuse(r, item, NULL);
    if (tr_says(r, type, STR("message")) ||
        (!tr_is_given(r, type) && tr_is_given(r, tr_member(r, item, STR("role")))))
        return read_message(it, item);
    if (tr_says(r, type, STR("function_call")))
        return read_call(it, item, false);
    if (tr_says(r, type, STR("custom_tool_call")))
        return read_call(it, item, true);
    if (tr_says(r, type, STR("function_call_output")) ||
        tr_says(r, type, STR("custom_tool_call_output")))
        return read_output(it, item);
    if (tr_says(r, type, STR("reasoning")))
        return read_reasoning(it, item);
    if (is_own_reasoning(r, item))
        return 0; /* By reference: it is lost. */
    return tr_openai_unsupported(r, type == JSON_NONE ? item : type,
                                 "is an item that this model's provider cannot be given");
}

/* Room for system texts, and for the parts of all turns. */
static int make_room(struct items *it, uint32_t input)
{
    struct tr_reading *r = it->r;
    uint32_t item, parts = 0, texts = 1;
    int rc;
    for (uint32_t at = 0; json_next_element(r->json, input, &at, &item);) {
        uint32_t role = tr_member(r, item, STR("role"));
        uint32_t count = tr_openai_content_count(r, tr_member(r, item, STR("content")));
        if (tr_says(r, role, STR("system")) || tr_says(r, role, STR("developer")))
            texts += count;
        parts += role == JSON_NONE ? 1 : count;
    }
    r->out->system = tr_make_parts(r, texts, input, &rc);
    if (rc == 0)
        it->next = tr_make_parts(r, parts + 1, input, &rc);
    return rc;
}

static int read_instructions(struct tr_reading *r)
{
    uint32_t node = tr_member(r, JSON_ROOT, STR("instructions"));
    struct tr_part *part = &r->out->system[0];
    if (!tr_is_given(r, node))
        return 0;
    part->kind = TR_PART_TEXT;
    r->out->system_count = r->out->system_apart = 1;
    return tr_take_text(r, node, &part->text);
}

int tr_responses_read_input(struct tr_reading *r, uint32_t node)
{
    struct items it = {.r = r};
    uint32_t item, count = json_count(r->json, node);
    bool text = json_kind(r->json, node) == JSON_STRING;
    if (!text && json_kind(r->json, node) != JSON_ARRAY)
        return tr_reading_refuse(r, node, NULL);
    if (count > TR_TURNS_MAX)
        return tr_reading_refuse(r, node, "more items than one request may have");
    r->out->turns = tr_make(r, count + 1, sizeof *r->out->turns);
    int rc = r->out->turns != NULL ? make_room(&it, node) : ERR_NOMEM;
    if (rc == 0)
        rc = read_instructions(r);
    if (rc == 0 && text) {
        struct tr_turn *turn = turn_for(&it, TR_USER);
        rc = read_content(r, node, node, turn->parts, &turn->part_count);
    }
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &item);)
        rc = read_item(&it, item);
    if (rc == 0 && r->out->turn_count > 0 && r->out->turns[r->out->turn_count - 1].part_count == 0)
        r->out->turn_count--;
    return rc;
}

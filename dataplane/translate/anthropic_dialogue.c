/* A caller's Messages body in the neutral form: system, turns and tools. */
#include "dataplane/translate/anthropic_internal.h"

static const char *const server_tool =
    "unsupported_tool: tools that a provider runs or defines itself cannot be translated";

/* ---- turns ---- */

static bool is_result(const struct tr_reading *r, uint32_t block)
{
    return tr_says(r, tr_member(r, block, STR("type")), STR("tool_result"));
}

/* Of a user's content: are there results, and is there anything else? */
static void look(const struct tr_reading *r, uint32_t content, bool *out_results, bool *out_others)
{
    uint32_t block;
    *out_results = false;
    *out_others = json_kind(r->json, content) != JSON_ARRAY;
    for (uint32_t at = 0; json_next_element(r->json, content, &at, &block);)
        if (is_result(r, block))
            *out_results = true;
        else
            *out_others = true;
}

static bool is_system(const struct tr_reading *r, uint32_t message)
{
    return tr_says(r, tr_member(r, message, STR("role")), STR("system"));
}

/* One turn of a content: its results, or all the rest. */
static int read_turn(struct tr_reading *r, uint32_t content, enum tr_role role)
{
    struct tr_turn *turn = &r->out->turns[r->out->turn_count];
    int rc;
    if (r->out->turn_count == TR_TURNS_MAX)
        return tr_reading_refuse(r, content, "more turns than one request may have");
    turn->role = role;
    turn->parts = tr_make_parts(r, anthropic_count_parts(r, content), content, &rc);
    if (turn->parts == NULL)
        return rc;
    r->out->turn_count++;
    return anthropic_read_blocks(r, content, role == TR_TOOL, role == TR_ASSISTANT, turn->parts,
                                 &turn->part_count);
}

static int read_message(struct tr_reading *r, uint32_t message)
{
    uint32_t role = tr_member(r, message, STR("role"));
    uint32_t content = tr_member(r, message, STR("content"));
    bool results, others;
    int rc = 0;
    if (is_system(r, message))
        return 0;
    if (tr_says(r, role, STR("assistant")))
        return read_turn(r, content, TR_ASSISTANT);
    if (!tr_says(r, role, STR("user")))
        return tr_reading_refuse(r, role == JSON_NONE ? message : role, NULL);
    look(r, content, &results, &others);
    if (results)
        rc = read_turn(r, content, TR_TOOL);
    if (rc == 0 && (others || !results))
        rc = read_turn(r, content, TR_USER);
    return rc;
}

/* Texts alone; anything else in a system text is refused. */
static int read_system_texts(struct tr_reading *r, uint32_t content, struct tr_part *parts,
                             uint32_t *io_at)
{
    uint32_t from = *io_at;
    int rc = anthropic_read_blocks(r, content, false, false, parts, io_at);
    for (; rc == 0 && from < *io_at; from++)
        if (parts[from].kind != TR_PART_TEXT)
            rc = tr_reading_refuse(r, content, "system holds texts alone");
    return rc;
}

static int read_system(struct tr_reading *r, uint32_t messages)
{
    uint32_t system = tr_member(r, JSON_ROOT, STR("system")), message;
    uint32_t count = tr_is_given(r, system) ? anthropic_count_parts(r, system) : 0;
    int rc;
    for (uint32_t at = 0; json_next_element(r->json, messages, &at, &message);)
        if (is_system(r, message))
            count += anthropic_count_parts(r, tr_member(r, message, STR("content")));
    r->out->system = tr_make_parts(r, count, messages, &rc);
    if (r->out->system == NULL)
        return rc;
    if (tr_is_given(r, system))
        rc = read_system_texts(r, system, r->out->system, &r->out->system_count);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, messages, &at, &message);)
        if (is_system(r, message))
            rc = read_system_texts(r, tr_member(r, message, STR("content")), r->out->system,
                                   &r->out->system_count);
    return rc;
}

int anthropic_read_dialogue(struct tr_reading *r)
{
    uint32_t messages = tr_member(r, JSON_ROOT, STR("messages")), message;
    uint64_t room = 2ULL * json_count(r->json, messages); /* Results and words of one message. */
    r->out->turns =
        tr_make(r, (size_t)(room < TR_TURNS_MAX ? room : TR_TURNS_MAX), sizeof *r->out->turns);
    if (r->out->turns == NULL)
        return ERR_NOMEM;
    int rc = read_system(r, messages);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, messages, &at, &message);)
        rc = read_message(r, message);
    return rc;
}

/* ---- tools ---- */

static int read_tool(struct tr_reading *r, uint32_t node, struct tr_tool *tool)
{
    uint32_t type = tr_member(r, node, STR("type"));
    uint32_t name = tr_member(r, node, STR("name"));
    uint32_t schema = tr_member(r, node, STR("input_schema"));
    tool->strict = -1;
    if (tr_is_given(r, type) && !tr_says(r, type, STR("custom")))
        return tr_reading_refuse(r, type, server_tool);
    if (json_kind(r->json, name) != JSON_STRING)
        return tr_reading_refuse(r, name == JSON_NONE ? node : name, NULL);
    int rc = tr_take_text(r, name, &tool->name);
    if (rc == 0)
        rc = tr_take_text(r, tr_member(r, node, STR("description")), &tool->description);
    if (rc == 0)
        rc = tr_take_object(r, schema, &tool->schema);
    if (rc == 0)
        rc = tr_take_flag(r, tr_member(r, node, STR("strict")), &tool->strict);
    if (rc == 0)
        rc = tr_take_cache(r, tr_member(r, node, STR("cache_control")), &tool->cache);
    if (rc == 0 && tr_is_given(r, tr_member(r, node, STR("input_examples"))))
        rc = tr_reading_unknown(r, "tools.input_examples");
    return rc;
}

int anthropic_read_tools(struct tr_reading *r, uint32_t node)
{
    uint32_t tool, count = json_count(r->json, node);
    int rc = 0;
    if (!tr_is_given(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_ARRAY || count > TR_TOOLS_MAX)
        return tr_reading_refuse(r, node, NULL);
    r->out->tools = tr_make(r, count, sizeof *r->out->tools);
    if (r->out->tools == NULL)
        return ERR_NOMEM;
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &tool);)
        rc = read_tool(r, tool, &r->out->tools[r->out->tool_count++]);
    return rc;
}

int anthropic_read_choice(struct tr_reading *r, uint32_t node)
{
    static const struct {
        struct str name;
        enum tr_choice choice;
    } types[] = {
        {{"auto", 4}, TR_CHOICE_AUTO},
        {{"any", 3}, TR_CHOICE_REQUIRED},
        {{"none", 4}, TR_CHOICE_NONE},
        {{"tool", 4}, TR_CHOICE_NAMED},
    };
    int8_t single = -1;
    if (!tr_is_given(r, node))
        return 0;
    uint32_t type = tr_member(r, node, STR("type"));
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (tr_says(r, type, types[i].name))
            r->out->tool_choice = types[i].choice;
    if (r->out->tool_choice == TR_CHOICE_UNSET)
        return tr_reading_refuse(r, type == JSON_NONE ? node : type, NULL);
    int rc = tr_take_flag(r, tr_member(r, node, STR("disable_parallel_tool_use")), &single);
    if (single >= 0)
        r->out->parallel = single == 0;
    if (rc != 0 || r->out->tool_choice != TR_CHOICE_NAMED)
        return rc;
    uint32_t name = tr_member(r, node, STR("name"));
    if (json_kind(r->json, name) != JSON_STRING)
        return tr_reading_refuse(r, name == JSON_NONE ? node : name, NULL);
    return tr_take_text(r, name, &r->out->tool_name);
}

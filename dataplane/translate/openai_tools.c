/* A caller's tools and its choice among them, for both of OpenAI's dialects: in an object of their
 * own or flat, and with the names they had before ("functions"). */
#include "dataplane/translate/openai_internal.h"

static const char not_a_function[] =
    "unsupported_tool: only functions and custom tools can be offered to this model's provider";

static int read_function(struct tr_reading *r, uint32_t node, struct tr_tool *tool)
{
    uint32_t name = tr_member(r, node, STR("name"));
    if (json_kind(r->json, name) != JSON_STRING)
        return tr_reading_refuse(r, name == JSON_NONE ? node : name, NULL);
    tool->strict = -1;
    int rc = tr_take_text(r, name, &tool->name);
    if (rc == 0)
        rc = tr_take_text(r, tr_member(r, node, STR("description")), &tool->description);
    if (rc == 0)
        rc = tr_take_object(r, tr_member(r, node, STR("parameters")), &tool->schema);
    if (rc == 0)
        rc = tr_take_flag(r, tr_member(r, node, STR("strict")), &tool->strict);
    if (rc == 0)
        rc = tr_take_cache(r, tr_member(r, node, STR("cache_control")), &tool->cache);
    return rc;
}

/* The object that says more: of a function, or of a custom tool; else the node itself, as Responses
 * has it. */
static uint32_t within(const struct tr_reading *r, uint32_t node)
{
    uint32_t function = tr_member(r, node, STR("function"));
    uint32_t custom = tr_member(r, node, STR("custom"));
    if (function != JSON_NONE)
        return function;
    return custom != JSON_NONE ? custom : node;
}

/* {"type":"text"}, or a grammar: flat, or in an object of its own. */
static int read_grammar(struct tr_reading *r, uint32_t format, struct tr_tool *tool)
{
    uint32_t type = tr_member(r, format, STR("type"));
    if (!tr_is_given(r, format) || tr_says(r, type, STR("text")))
        return 0;
    if (!tr_says(r, type, STR("grammar")))
        return tr_reading_refuse(r, type == JSON_NONE ? format : type, NULL);
    uint32_t inner = tr_member(r, format, STR("grammar"));
    inner = inner == JSON_NONE ? format : inner;
    uint32_t syntax = tr_member(r, inner, STR("syntax"));
    if (!tr_says(r, syntax, STR("lark")) && !tr_says(r, syntax, STR("regex")))
        return tr_reading_refuse(r, syntax == JSON_NONE ? inner : syntax, NULL);
    int rc = tr_take_text(r, syntax, &tool->syntax);
    return rc == 0 ? tr_need_text(r, inner, STR("definition"), &tool->grammar) : rc;
}

static int read_custom(struct tr_reading *r, uint32_t node, struct tr_tool *tool)
{
    uint32_t custom = within(r, node);
    tool->custom = true;
    tool->strict = -1;
    int rc = tr_need_text(r, custom, STR("name"), &tool->name);
    if (rc == 0)
        rc = tr_take_text(r, tr_member(r, custom, STR("description")), &tool->description);
    if (rc == 0)
        rc = read_grammar(r, tr_member(r, custom, STR("format")), tool);
    return rc == 0 ? tr_take_cache(r, tr_member(r, node, STR("cache_control")), &tool->cache) : rc;
}

static int read_tool(struct tr_reading *r, uint32_t node, struct tr_tool *tool)
{
    uint32_t type = tr_member(r, node, STR("type"));
    if (tr_says(r, type, STR("custom")))
        return read_custom(r, node, tool);
    if (type != JSON_NONE && !tr_says(r, type, STR("function")))
        return tr_openai_unsupported(r, type, not_a_function);
    uint32_t function = tr_member(r, node, STR("function"));
    int rc = read_function(r, function == JSON_NONE ? node : function, tool);
    if (rc == 0)
        rc = tr_take_cache(r, tr_member(r, node, STR("cache_control")), &tool->cache);
    return rc;
}

static int read_list(struct tr_reading *r, uint32_t node,
                     int (*read)(struct tr_reading *, uint32_t, struct tr_tool *))
{
    uint32_t one, count = json_count(r->json, node);
    int rc = 0;
    if (json_kind(r->json, node) != JSON_ARRAY)
        return tr_reading_refuse(r, node, NULL);
    if (count == 0 || r->out->tool_count > 0)
        return 0;
    if (count > TR_TOOLS_MAX)
        return tr_reading_refuse(r, node, "more tools than one request may have");
    r->out->tools = tr_make(r, count, sizeof *r->out->tools);
    if (r->out->tools == NULL)
        return ERR_NOMEM;
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &one);)
        rc = read(r, one, &r->out->tools[r->out->tool_count++]);
    return rc;
}

int tr_openai_read_tools(struct tr_reading *r, uint32_t node)
{
    return read_list(r, node, read_tool);
}

int tr_openai_read_functions(struct tr_reading *r, uint32_t node)
{
    return read_list(r, node, read_function);
}

/* False: not one of the words. */
static bool read_word(struct tr_reading *r, uint32_t node)
{
    if (tr_says(r, node, STR("auto")))
        r->out->tool_choice = TR_CHOICE_AUTO;
    else if (tr_says(r, node, STR("none")))
        r->out->tool_choice = TR_CHOICE_NONE;
    else if (tr_says(r, node, STR("required")) || tr_says(r, node, STR("any")))
        r->out->tool_choice = TR_CHOICE_REQUIRED;
    else
        return false;
    return true;
}

static int read_named(struct tr_reading *r, uint32_t node)
{
    uint32_t name = tr_member(r, node, STR("name"));
    if (json_kind(r->json, name) != JSON_STRING)
        return tr_reading_refuse(r, name == JSON_NONE ? node : name, NULL);
    r->out->tool_choice = TR_CHOICE_NAMED;
    return tr_take_text(r, name, &r->out->tool_name);
}

static uint32_t allowed_of(const struct tr_reading *r, uint32_t choice)
{
    if (!tr_says(r, tr_member(r, choice, STR("type")), STR("allowed_tools")))
        return JSON_NONE;
    uint32_t inner = tr_member(r, choice, STR("allowed_tools"));
    return inner == JSON_NONE ? choice : inner;
}

int tr_openai_read_choice(struct tr_reading *r, uint32_t node)
{
    if (read_word(r, node))
        return 0;
    uint32_t allowed = allowed_of(r, node);
    if (allowed != JSON_NONE) {
        uint32_t mode = tr_member(r, allowed, STR("mode"));
        return read_word(r, mode) ? 0 : tr_reading_refuse(r, node, NULL);
    }
    if (json_kind(r->json, node) != JSON_OBJECT)
        return tr_reading_refuse(r, node, NULL);
    uint32_t type = tr_member(r, node, STR("type"));
    if (type != JSON_NONE && !tr_says(r, type, STR("function")) && !tr_says(r, type, STR("custom")))
        return tr_openai_unsupported(r, type, not_a_function);
    return read_named(r, within(r, node));
}

int tr_openai_read_function_choice(struct tr_reading *r, uint32_t node)
{
    if (r->out->tool_choice != TR_CHOICE_UNSET || read_word(r, node))
        return 0;
    return read_named(r, node);
}

static bool is_allowed(const struct tr_reading *r, uint32_t list, struct str name)
{
    uint32_t one;
    for (uint32_t at = 0; json_next_element(r->json, list, &at, &one);) {
        if (tr_says(r, tr_member(r, within(r, one), STR("name")), name))
            return true;
    }
    return false;
}

int tr_openai_keep_allowed(struct tr_reading *r, uint32_t choice)
{
    uint32_t kept = 0, allowed = allowed_of(r, choice);
    uint32_t list = tr_member(r, allowed, STR("tools"));
    if (allowed == JSON_NONE)
        return 0;
    for (uint32_t i = 0; i < r->out->tool_count; i++)
        if (is_allowed(r, list, r->out->tools[i].name))
            r->out->tools[kept++] = r->out->tools[i];
    if (kept == 0)
        return tr_reading_refuse(r, list == JSON_NONE ? choice : list, "names none of the tools");
    r->out->tool_count = kept;
    return 0;
}

#include "dataplane/translate/custom.h"

#include <string.h>

#include "common/base/mem.h"
#include "dataplane/translate/notes.h"
#include "dataplane/translate/pen.h"
#include "dataplane/translate/quirks.h"

#define SCHEMA                                                                                     \
    "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\",\"description\":\"The "   \
    "whole input of the tool, as it is.\"}},\"required\":[\"input\"],"                             \
    "\"additionalProperties\":false}"
#define HOW "The argument \"input\" is a text, given to the tool as it is: no JSON in it."

struct tr_customs {
    uint32_t count;
    uint32_t used;
    uint16_t lengths[TR_TOOLS_MAX];
    char names[TR_CUSTOMS_BYTES_MAX];
};

/* Of hosts with chat completions OpenAI's own have them alone. */
bool tr_customs_are_native(enum dialect provider, const struct tr_target *target)
{
    if (!tr_quirks_has(target->quirks, TR_QUIRK_CUSTOM_TOOLS))
        return false;
    if (provider == DIALECT_RESPONSES)
        return true;
    return provider == DIALECT_OPENAI && target->host != NULL &&
           (str_is(target->host->name, "openai") || str_is(target->host->name, "azure"));
}

bool tr_customs_has(const struct tr_terms *terms, struct str name)
{
    const struct tr_customs *c = terms->customs;
    uint32_t at = 0;
    for (uint32_t i = 0; c != NULL && i < c->count; i++) {
        if (str_eq((struct str){c->names + at, c->lengths[i]}, name))
            return true;
        at += c->lengths[i];
    }
    return false;
}

void tr_customs_destroy(struct tr_customs *customs)
{
    mem_free(customs);
}

static int keep(struct tr_terms *terms, struct str name, struct call_refusal *refusal)
{
    if (terms->customs == NULL)
        terms->customs = mem_zalloc(sizeof *terms->customs);
    struct tr_customs *c = terms->customs;
    if (c == NULL)
        return ERR_NOMEM;
    if (c->count == TR_TOOLS_MAX || name.len > sizeof c->names - c->used)
        return tr_refuse(refusal, "tools", "the names of custom tools are too long");
    if (name.len > 0)
        memcpy(c->names + c->used, name.data, name.len);
    c->lengths[c->count++] = (uint16_t)name.len;
    c->used += (uint32_t)name.len;
    return 0;
}

/* ---- functions in their place ---- */

static int arena_text(struct buf *b, int rc, struct arena *arena, struct str *out)
{
    if (rc == 0) {
        *out = arena_copy(arena, buf_str(b));
        rc = out->data == NULL ? ERR_TOO_LARGE : 0;
    }
    buf_deinit(b);
    return rc;
}

/* What the model must know of it stands in its description. */
static int lower_tool(struct tr_tool *tool, struct arena *arena, struct tr_terms *terms)
{
    struct buf b;
    buf_init(&b, tool->description.len + tool->grammar.len + tool->syntax.len + sizeof HOW + 128);
    struct pen p = {.out = &b};
    pen_put(&p, tool->description);
    if (tool->description.len > 0)
        PEN(&p, "\n\n");
    PEN(&p, HOW);
    if (tool->grammar.len > 0) {
        tr_note(terms, "unenforced_grammar");
        if (str_is(tool->syntax, "regex"))
            PEN(&p, " It must match this regular expression:\n");
        else
            PEN(&p, " It must follow this grammar, written for Lark:\n");
        pen_put(&p, tool->grammar);
    }
    tool->custom = false;
    tool->strict = -1;
    tool->schema = STR(SCHEMA);
    return arena_text(&b, p.rc, arena, &tool->description);
}

static int lower_call(struct tr_call *call, struct arena *arena)
{
    struct buf b;
    buf_init(&b, call->arguments.len * 6 + 16);
    struct pen p = {.out = &b};
    PEN(&p, "{\"input\":");
    pen_quoted(&p, call->arguments);
    PEN(&p, "}");
    call->custom = false;
    return arena_text(&b, p.rc, arena, &call->arguments);
}

static int lower_turn(const struct tr_turn *turn, struct arena *arena)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < turn->part_count; i++)
        if (turn->parts[i].kind == TR_PART_CALL && turn->parts[i].call.custom)
            rc = lower_call(&turn->parts[i].call, arena);
    return rc;
}

int tr_customs_plan(struct tr_request *request, enum dialect provider,
                    const struct tr_target *target, struct arena *arena, struct tr_terms *terms,
                    struct call_refusal *refusal)
{
    const bool native = tr_customs_are_native(provider, target);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < request->tool_count; i++) {
        if (!request->tools[i].custom)
            continue;
        rc = keep(terms, request->tools[i].name, refusal);
        if (rc != 0 || native)
            continue;
        tr_note(terms, "custom_tool_as_function");
        rc = lower_tool(&request->tools[i], arena, terms);
    }
    for (uint32_t i = 0; rc == 0 && !native && i < request->turn_count; i++)
        rc = lower_turn(&request->turns[i], arena);
    return rc;
}

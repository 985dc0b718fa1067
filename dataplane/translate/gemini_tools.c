/* Tools of a request for generateContent, and who chooses among them. */
#include "dataplane/translate/arguments.h"
#include "dataplane/translate/gemini_internal.h"
#include "dataplane/translate/names.h"
#include "dataplane/translate/schema.h"

static void begin_object(struct gemini_asking *a, const char *key)
{
    json_writer_key(a->w, key);
    json_writer_begin_object(a->w);
}

/* As OpenAPI, which every model takes; a schema that refers to itself as what it is. */
static int put_parameters(struct gemini_asking *a, struct str schema)
{
    struct str parameters = STR_NULL;
    int rc = tr_schema_gemini(schema, a->arena, &parameters);
    if (rc == ERR_INVALID)
        return tr_refuse(a->refusal, "tools", "a tool's schema is no JSON object");
    if (rc == ERR_UNSUPPORTED && !gemini_has(a, TR_QUIRK_JSON_SCHEMA))
        return tr_refuse(a->refusal, "tools", "this model takes no schema that refers to itself");
    if (rc == ERR_UNSUPPORTED) {
        tr_put_raw(a->w, "parametersJsonSchema", schema);
        return 0;
    }
    if (rc == 0 && parameters.len > 0)
        tr_put_raw(a->w, "parameters", parameters);
    return rc;
}

static int put_tool(struct gemini_asking *a, const struct tr_tool *tool)
{
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "name", tr_names_inside(a->terms, tool->name));
    tr_put_text(a->w, "description", tool->description);
    int rc = put_parameters(a, tool->schema);
    json_writer_end_object(a->w);
    return rc;
}

static bool is_strict(const struct gemini_asking *a)
{
    bool any = false;
    for (uint32_t i = 0; i < a->request->tool_count; i++)
        any |= a->request->tools[i].strict > 0;
    return any && gemini_has(a, TR_QUIRK_JSON_SCHEMA);
}

static int put_choice(struct gemini_asking *a)
{
    const struct tr_request *r = a->request;
    struct str mode = is_strict(a) ? STR("VALIDATED") : STR("AUTO");
    switch (r->tool_choice) {
    case TR_CHOICE_UNSET:
        if (!is_strict(a))
            return 0;
        break;
    case TR_CHOICE_AUTO:
        break;
    case TR_CHOICE_NONE:
        mode = STR("NONE");
        break;
    case TR_CHOICE_NAMED:
        if (tr_check_choice(r, a->refusal) != 0)
            return ERR_INVALID;
        mode = STR("ANY");
        break;
    case TR_CHOICE_REQUIRED:
        mode = STR("ANY");
        break;
    }
    begin_object(a, "toolConfig");
    begin_object(a, "functionCallingConfig");
    tr_put_text(a->w, "mode", mode);
    if (r->tool_choice == TR_CHOICE_NAMED) {
        json_writer_key(a->w, "allowedFunctionNames");
        json_writer_begin_array(a->w);
        json_writer_string(a->w, tr_names_inside(a->terms, r->tool_name));
        json_writer_end_array(a->w);
    }
    json_writer_end_object(a->w);
    json_writer_end_object(a->w);
    return 0;
}

int gemini_put_tools(struct gemini_asking *a)
{
    const struct tr_request *r = a->request;
    int rc = 0;
    if (r->tool_count == 0)
        return 0;
    json_writer_key(a->w, "tools");
    json_writer_begin_array(a->w);
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "functionDeclarations");
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; rc == 0 && i < r->tool_count; i++)
        rc = put_tool(a, &r->tools[i]);
    json_writer_end_array(a->w);
    json_writer_end_object(a->w);
    json_writer_end_array(a->w);
    if (rc == 0)
        rc = put_choice(a);
    if (rc == 0 && r->parallel == 0) {
        a->terms->first_call_only = true;
        tr_note(a->terms, "first_call_only");
    }
    return rc;
}

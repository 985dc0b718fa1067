/* What a delta of a chunk, or the message of a whole reply, says: reasoning, text, refusal, calls.
 * Hosts differ in how they name reasoning and in how they number calls; all ways are taken. */
#include "common/base/mem.h"
#include "dataplane/translate/openai_internal.h"

#define NO_INDEX    (-1)
#define LEGACY_CALL (-2) /* function_call: there is but one. */

/* FNV-1a: ids are told apart, not defended; never 0. */
static uint64_t hash_id(struct str id)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < id.len; i++)
        h = (h ^ (unsigned char)id.data[i]) * UINT64_C(1099511628211);
    return h != 0 ? h : 1;
}

/* Newest first: a host may give the number of one call to the next. */
static struct tr_openai_call *find_call(struct tr_openai_calls *calls, uint32_t choice,
                                        int32_t said, uint64_t id)
{
    for (uint32_t i = calls->count; i > 0; i--) {
        struct tr_openai_call *call = &calls->known[i - 1];
        if (call->choice != choice)
            continue;
        if (said == NO_INDEX && id == 0)
            return call; /* The one under way. */
        if (said != NO_INDEX ? call->said == said : call->id == id)
            return call;
    }
    return NULL;
}

/* The same number with another id and a name of its own is the next call. */
static bool is_same(const struct tr_openai_call *call, uint64_t id, struct str name)
{
    return call != NULL && (id == 0 || call->id == 0 || call->id == id || name.len == 0);
}

static int begin_call(struct tr_replying *r, struct tr_openai_calls *calls, struct tr_event *event,
                      int32_t said, uint64_t id)
{
    if (calls->known == NULL)
        calls->known = mem_calloc(TR_OPENAI_CALLS_MAX, sizeof *calls->known);
    if (calls->known == NULL)
        return ERR_NOMEM;
    if (calls->count == TR_OPENAI_CALLS_MAX)
        return ERR_TOO_LARGE;
    event->kind = TR_EVENT_CALL;
    event->call_index = calls->begun[event->choice]++;
    calls->known[calls->count++] = (struct tr_openai_call){
        .id = id, .said = said, .index = event->call_index, .choice = (uint8_t)event->choice};
    return tr_reply_put(r, event);
}

/* Their type is a text; some hosts send an object. */
static int put_arguments(struct tr_replying *r, struct tr_event *event, uint32_t node)
{
    event->kind = TR_EVENT_ARGUMENTS;
    event->call = (struct tr_call){.arguments = STR_NULL};
    if (json_kind(r->json, node) != JSON_OBJECT)
        return tr_reply_put_text(r, node, *event);
    event->text = json_raw(r->json, node);
    return tr_reply_put(r, event);
}

static int put_function(struct tr_replying *r, struct tr_openai_calls *calls,
                        struct tr_event *event, int32_t said, uint32_t function)
{
    int rc = tr_reply_text(r, json_get(r->json, function, STR("name")), &event->call.name);
    if (rc != 0)
        return rc;
    uint64_t id = event->call.id.len > 0 ? hash_id(event->call.id) : 0;
    struct tr_openai_call *call = calls->whole ? NULL : find_call(calls, event->choice, said, id);
    if (is_same(call, id, event->call.name))
        event->call_index = call->index;
    else
        rc = begin_call(r, calls, event, said, id);
    uint32_t arguments =
        json_get(r->json, function, event->call.custom ? STR("input") : STR("arguments"));
    return rc == 0 ? put_arguments(r, event, arguments) : rc;
}

static int put_call(struct tr_replying *r, struct tr_openai_calls *calls, uint32_t choice,
                    uint32_t node)
{
    struct tr_event event = {.choice = choice};
    int64_t said = NO_INDEX;
    if (json_kind(r->json, node) != JSON_OBJECT)
        return ERR_PROTOCOL;
    if (json_i64(r->json, json_get(r->json, node, STR("index")), 0, INT32_MAX, &said) != 0)
        said = NO_INDEX;
    uint32_t google =
        json_get(r->json, json_get(r->json, node, STR("extra_content")), STR("google"));
    int rc = tr_reply_text(r, json_get(r->json, node, STR("id")), &event.call.id);
    if (rc == 0)
        rc = tr_reply_text(r, json_get(r->json, google, STR("thought_signature")),
                           &event.call.signature);
    if (rc != 0)
        return rc;
    uint32_t custom = json_get(r->json, node, STR("custom"));
    event.call.custom = json_kind(r->json, custom) == JSON_OBJECT;
    return put_function(r, calls, &event, (int32_t)said,
                        event.call.custom ? custom : json_get(r->json, node, STR("function")));
}

static int put_calls(struct tr_replying *r, struct tr_openai_calls *calls, uint32_t choice,
                     uint32_t message)
{
    uint32_t one, list = json_get(r->json, message, STR("tool_calls"));
    uint32_t function = json_get(r->json, message, STR("function_call"));
    int rc = 0;
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, list, &at, &one);)
        rc = put_call(r, calls, choice, one);
    if (rc != 0 || json_kind(r->json, function) != JSON_OBJECT)
        return rc;
    struct tr_event event = {.choice = choice};
    return put_function(r, calls, &event, LEGACY_CALL, function);
}

static int put_text(struct tr_replying *r, enum tr_event_kind kind, uint32_t choice, uint32_t node)
{
    return tr_reply_put_text(r, node, (struct tr_event){.kind = kind, .choice = choice});
}

/* Mistral's: {"type":"thinking","thinking":[{"type":"text","text"}]}. */
static int put_thinking(struct tr_replying *r, uint32_t choice, uint32_t part)
{
    uint32_t one, list = json_get(r->json, part, STR("thinking"));
    int rc = put_text(r, TR_EVENT_REASONING, choice, list);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, list, &at, &one);)
        rc = put_text(r, TR_EVENT_REASONING, choice, json_get(r->json, one, STR("text")));
    return rc;
}

static int put_content(struct tr_replying *r, uint32_t choice, uint32_t content)
{
    uint32_t part;
    int rc = put_text(r, TR_EVENT_TEXT, choice, content);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, content, &at, &part);) {
        uint32_t type = json_get(r->json, part, STR("type"));
        if (json_string_is(r->json, type, STR("thinking")))
            rc = put_thinking(r, choice, part);
        else if (json_string_is(r->json, type, STR("text")))
            rc = put_text(r, TR_EVENT_TEXT, choice, json_get(r->json, part, STR("text")));
    }
    return rc;
}

void tr_openai_calls_end(struct tr_openai_calls *calls)
{
    mem_free(calls->known);
    buf_deinit(&calls->held);
}

int tr_openai_put_message(struct tr_replying *r, struct tr_openai_calls *calls, uint32_t choice,
                          uint32_t message)
{
    int rc = tr_openai_put_reasoning(r, calls, choice, message);
    if (rc == 0)
        rc = put_content(r, choice, json_get(r->json, message, STR("content")));
    if (rc == 0)
        rc = put_text(r, TR_EVENT_REFUSAL, choice, json_get(r->json, message, STR("refusal")));
    return rc == 0 ? put_calls(r, calls, choice, message) : rc;
}

/* Reasoning that a caller was given by a provider of another dialect bears a seal ("sy1.VENDOR.",
 * translate/seal.h) in the place of a signature. When the dialogue goes on in this dialect such
 * blocks are taken out, since nobody here has signed them, and our own are unsealed; all other
 * bytes stay. A dialogue that was never translated has none, and is not looked at again. */
#include "dataplane/llm/anthropic_internal.h"

#define SEAL_OWN ANTHROPIC_SEAL "anthropic."

enum seal { SEAL_NONE, SEAL_OURS, SEAL_FOREIGN };

/* A walk along an array of which some elements go, with one comma each. */
struct cutter {
    struct anthropic_seals *s;
    uint32_t run_at;   /* Where the first element of those that go begins. */
    uint32_t kept_end; /* Of the last element that stays. */
    uint32_t end;      /* Of the last element. */
    bool in_run;
    bool kept;
};

static void add(struct anthropic_seals *s, uint32_t at, uint32_t end)
{
    if (s->count < s->room)
        s->edits[s->count] = (struct edit){.at = at, .cut = end - at, .put = STR("")};
    s->count++;
}

static uint32_t start_of(const struct json *j, uint32_t node)
{
    return (uint32_t)(json_raw(j, node).data - j->text.data);
}

static void cutter_go(struct cutter *c, const struct json *j, uint32_t element, bool goes)
{
    uint32_t at = start_of(j, element);
    if (goes && !c->in_run)
        c->run_at = at;
    if (!goes && c->in_run)
        add(c->s, c->run_at, at);
    c->in_run = goes;
    c->end = at + (uint32_t)json_raw(j, element).len;
    if (!goes) {
        c->kept = true;
        c->kept_end = c->end;
    }
}

/* False: nothing stays, and nothing was cut. */
static bool cutter_end(struct cutter *c)
{
    if (c->in_run && c->kept)
        add(c->s, c->kept_end, c->end);
    return c->kept || !c->in_run;
}

static bool type_is(const struct json *j, uint32_t block, struct str type)
{
    return json_string_is(j, json_get(j, block, STR("type")), type);
}

/* Where a block's signature is, or what stands for all of it; JSON_NONE: it is no reasoning. */
static uint32_t signature_of(const struct json *j, uint32_t block)
{
    if (type_is(j, block, STR("thinking")))
        return json_get(j, block, STR("signature"));
    if (type_is(j, block, STR("redacted_thinking")))
        return json_get(j, block, STR("data"));
    return JSON_NONE;
}

static enum seal seal_of(const struct json *j, uint32_t node)
{
    char head[sizeof SEAL_OWN - 1];
    size_t len = json_text_head(j, node, sizeof head, head);
    struct str text = {head, len};
    if (!str_starts(text, STR(ANTHROPIC_SEAL)))
        return SEAL_NONE;
    return str_eq(text, STR(SEAL_OWN)) && str_starts(json_raw(j, node), STR("\"" SEAL_OWN))
               ? SEAL_OURS
               : SEAL_FOREIGN;
}

bool anthropic_is_sealed(const struct json *j, uint32_t block)
{
    return seal_of(j, signature_of(j, block)) != SEAL_NONE;
}

/* True: the message stays. *out_lost: calls that stay have lost the reasoning before them. */
static bool edit_message(struct anthropic_seals *s, const struct json *j, uint32_t content,
                         bool *out_lost)
{
    struct cutter c = {.s = s};
    size_t count = s->count;
    uint32_t block;
    bool calls = false, foreign = false;
    for (uint32_t at = 0; json_next_element(j, content, &at, &block);) {
        uint32_t signature = signature_of(j, block);
        enum seal seal = seal_of(j, signature);
        foreign |= seal == SEAL_FOREIGN;
        calls |= type_is(j, block, STR("tool_use"));
        cutter_go(&c, j, block, seal == SEAL_FOREIGN);
        if (seal == SEAL_OURS)
            add(s, start_of(j, signature) + 1, start_of(j, signature) + (uint32_t)sizeof SEAL_OWN);
    }
    *out_lost = calls && foreign;
    if (cutter_end(&c))
        return true;
    s->count = count;
    return false;
}

/* What the user says ends a run of calls: reasoning before it is not asked for any more. */
static bool is_users(const struct json *j, uint32_t message)
{
    return json_string_is(j, json_get(j, message, STR("role")), STR("user")) &&
           anthropic_has_own_words(j, json_get(j, message, STR("content")));
}

void anthropic_edit_seals(const struct json *j, struct anthropic_seals *s)
{
    uint32_t message, messages = json_get(j, JSON_ROOT, STR("messages"));
    uint32_t thinking = json_get(j, JSON_ROOT, STR("thinking"));
    struct cutter c = {.s = s};
    bool lost = false, any;
    s->count = 0;
    for (uint32_t at = 0; json_next_element(j, messages, &at, &message);) {
        bool stays = edit_message(s, j, json_get(j, message, STR("content")), &any);
        lost = (lost && !is_users(j, message)) || any;
        cutter_go(&c, j, message, !stays);
    }
    (void)cutter_end(&c);
    if (!lost || !type_is(j, thinking, STR("enabled")))
        return;
    /* With a budget, a turn with calls must begin with signed reasoning. */
    s->thinking_off = true;
    uint32_t at = start_of(j, thinking);
    add(s, at, at + (uint32_t)json_raw(j, thinking).len);
    if (s->count <= s->room)
        s->edits[s->count - 1].put = STR("{\"type\":\"disabled\"}");
}

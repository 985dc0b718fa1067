#include "dataplane/translate/turns.h"

#include <string.h>

#include "common/base/hash.h"
#include "dataplane/translate/notes.h"
#include "dataplane/translate/seal.h"

#define NO_INDEX UINT32_MAX

/* A dialogue is taken apart into blocks: turns of the assistant, then those of users and tools up
 * to the next one of the assistant. Whatever results a block holds answer its own calls. */
struct block {
    const struct tr_turn *const *assistant;
    uint32_t assistant_count;
    const struct tr_turn *const *user;
    uint32_t user_count;
};

struct pending { /* A call of the block. */
    struct str outside, inside, name;
    const struct tr_result *result; /* NULL: none came. */
    struct tr_cache cache;
    bool custom;
};

struct answer { /* A result of the block. */
    const struct tr_part *part;
    uint32_t next; /* In its chain. */
    bool taken;
};

struct pass {
    const struct tr_turns_options *options;
    const struct tr_target *target;
    struct arena *arena;
    struct tr_terms *terms;
    struct call_refusal *refusal;
    struct tr_ids ids;
    struct tr_turn *turns;
    uint32_t count;
    bool calls;
    /* Of the block at hand. */
    struct pending *pending;
    uint32_t pending_count;
    struct answer *answers;
    uint32_t answer_count;
};

static bool is_media(const struct tr_part *part)
{
    return part->kind == TR_PART_IMAGE || part->kind == TR_PART_FILE || part->kind == TR_PART_AUDIO;
}

/* Whom this dialogue goes to made it. */
static bool is_theirs(const struct pass *p, enum dialect vendor, uint32_t maker)
{
    return vendor == p->options->vendor && tr_seal_fits(maker, p->target->maker);
}

static bool stays(const struct pass *p, const struct tr_part *part)
{
    const struct tr_reasoning *r = &part->reasoning;
    switch (part->kind) {
    case TR_PART_TEXT:
    case TR_PART_REFUSAL:
        return part->text.len > 0 || !p->options->drop_empty;
    case TR_PART_REASONING:
        switch (p->options->replay) {
        case TR_REPLAY_NONE:
            return false;
        case TR_REPLAY_SIGNED:
            return is_theirs(p, r->vendor, r->maker) && r->signature.len + r->opaque.len > 0;
        case TR_REPLAY_TEXT:
            return r->text.len > 0;
        }
        return false;
    case TR_PART_IMAGE:
    case TR_PART_FILE:
    case TR_PART_AUDIO:
    case TR_PART_CALL:
    case TR_PART_RESULT:
        return true;
    }
    return true;
}

static uint32_t count_staying(const struct pass *p, const struct tr_turn *turn)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < turn->part_count; i++)
        count += stays(p, &turn->parts[i]) ? 1 : 0;
    return count;
}

static struct tr_part *make_parts(struct pass *p, size_t count)
{
    return arena_zalloc(p->arena, count > 0 ? count : 1, sizeof(struct tr_part));
}

static void emit(struct pass *p, enum tr_role role, struct tr_part *parts, uint32_t count)
{
    if (count > 0)
        p->turns[p->count++] = (struct tr_turn){role, parts, count};
}

/* ---- turns of the assistant ---- */

/* Its parts that stay, behind those at out; the mark of a text that goes passes to the one before.
 */
static int take_assistant_part(struct pass *p, const struct tr_part *part, struct tr_part *out,
                               uint32_t *io_count)
{
    if (!stays(p, part)) {
        if (part->cache.ttl_s > 0 && *io_count > 0 && out[*io_count - 1].cache.ttl_s == 0)
            out[*io_count - 1].cache = part->cache;
        return 0;
    }
    struct tr_part *made = &out[(*io_count)++];
    *made = *part;
    if (part->kind != TR_PART_CALL)
        return 0;
    struct pending *call = &p->pending[p->pending_count++];
    *call = (struct pending){
        .outside = part->call.id, .name = part->call.name, .custom = part->call.custom};
    p->calls = true;
    if (!is_theirs(p, part->call.vendor, part->call.maker))
        made->call.signature = STR_NULL;
    int rc = tr_ids_take(&p->ids, part->call.id, &call->inside);
    made->call.id = call->inside;
    return rc;
}

/* Within each run between reasonings, what is no call goes first. */
static int put_calls_last(struct pass *p, struct tr_part *parts, uint32_t count)
{
    struct tr_part *moved = make_parts(p, count);
    if (moved == NULL)
        return ERR_TOO_LARGE;
    for (uint32_t from = 0, to; from < count; from = to) {
        for (to = from; to < count && parts[to].kind != TR_PART_REASONING; to++) {
        }
        uint32_t at = from;
        for (uint32_t i = from; i < to; i++)
            if (parts[i].kind != TR_PART_CALL)
                moved[at++] = parts[i];
        for (uint32_t i = from; i < to; i++)
            if (parts[i].kind == TR_PART_CALL)
                moved[at++] = parts[i];
        if (to < count) {
            moved[to] = parts[to];
            to++;
        }
    }
    memcpy(parts, moved, count * sizeof *parts);
    return 0;
}

static int emit_assistant(struct pass *p, struct tr_part *parts, uint32_t count)
{
    int rc = p->options->text_before_calls && count > 1 ? put_calls_last(p, parts, count) : 0;
    emit(p, TR_ASSISTANT, parts, count);
    return rc;
}

static int take_assistant(struct pass *p, const struct block *b)
{
    size_t total = 0, calls = 0;
    for (uint32_t i = 0; i < b->assistant_count; i++) {
        total += b->assistant[i]->part_count;
        for (uint32_t k = 0; k < b->assistant[i]->part_count; k++)
            calls += b->assistant[i]->parts[k].kind == TR_PART_CALL ? 1 : 0;
    }
    struct tr_part *parts = make_parts(p, total);
    p->pending = arena_zalloc(p->arena, calls > 0 ? calls : 1, sizeof *p->pending);
    p->pending_count = 0;
    if (parts == NULL || p->pending == NULL)
        return ERR_TOO_LARGE;
    bool one = p->options->merge || calls > 0;
    uint32_t count = 0;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < b->assistant_count; i++) {
        const struct tr_turn *turn = b->assistant[i];
        for (uint32_t k = 0; rc == 0 && k < turn->part_count; k++)
            rc = take_assistant_part(p, &turn->parts[k], parts, &count);
        if (rc != 0 || (one && i + 1 < b->assistant_count))
            continue;
        rc = emit_assistant(p, parts, count);
        parts += count;
        count = 0;
    }
    return rc;
}

/* ---- results ---- */

/* Which result is whose: chains of a hash table, each in the order of the dialogue. */
static int match_results(struct pass *p, const struct block *b)
{
    size_t total = 0;
    for (uint32_t i = 0; i < b->user_count; i++)
        total += b->user[i]->part_count;
    p->answers = arena_zalloc(p->arena, total > 0 ? total : 1, sizeof *p->answers);
    p->answer_count = 0;
    if (p->answers == NULL)
        return ERR_TOO_LARGE;
    for (uint32_t i = 0; i < b->user_count; i++)
        for (uint32_t k = 0; k < b->user[i]->part_count; k++)
            if (b->user[i]->parts[k].kind == TR_PART_RESULT)
                p->answers[p->answer_count++].part = &b->user[i]->parts[k];
    uint32_t capacity = 8;
    while (capacity < p->answer_count)
        capacity *= 2;
    uint32_t *heads = arena_alloc(p->arena, capacity * sizeof *heads);
    if (heads == NULL)
        return ERR_TOO_LARGE;
    memset(heads, 0xff, capacity * sizeof *heads);
    static const uint8_t none[16];
    struct siphash_key key =
        siphash_key_from_bytes(p->target->id_key != NULL ? p->target->id_key : none);
    for (uint32_t i = p->answer_count; i-- > 0;) {
        struct str id = p->answers[i].part->result.call_id;
        uint32_t *head = &heads[siphash_1_3(key, id.data, id.len) & (capacity - 1)];
        p->answers[i].next = *head;
        *head = i;
    }
    for (uint32_t i = 0; i < p->pending_count; i++) {
        struct str id = p->pending[i].outside;
        uint32_t *at = &heads[siphash_1_3(key, id.data, id.len) & (capacity - 1)];
        while (*at != NO_INDEX && !str_eq(p->answers[*at].part->result.call_id, id))
            at = &p->answers[*at].next;
        if (*at == NO_INDEX)
            continue;
        struct answer *found = &p->answers[*at];
        found->taken = true;
        p->pending[i].result = &found->part->result;
        p->pending[i].cache = found->part->cache;
        *at = found->next;
    }
    return 0;
}

/* A result's parts that stay in it. */
static int take_result_parts(struct pass *p, const struct tr_result *from, struct tr_result *out)
{
    struct tr_part *parts = make_parts(p, (size_t)from->part_count + 1);
    if (parts == NULL)
        return ERR_TOO_LARGE;
    uint32_t count = 0;
    bool left = false;
    for (uint32_t i = 0; i < from->part_count; i++) {
        const struct tr_part *part = &from->parts[i];
        if (p->options->text_results && is_media(part))
            left = true;
        else if (stays(p, part))
            parts[count++] = *part;
    }
    if (left && count == 0)
        parts[count++] = (struct tr_part){.kind = TR_PART_TEXT,
                                          .text = STR("The result is in the next message.")};
    out->parts = parts;
    out->part_count = count;
    return 0;
}

static const struct tr_part no_result[] = {{.kind = TR_PART_TEXT, .text = {"no result", 9}}};

static int take_result(struct pass *p, const struct pending *call, struct tr_part *out)
{
    *out = (struct tr_part){.kind = TR_PART_RESULT, .cache = call->cache};
    struct tr_result *result = &out->result;
    if (call->result != NULL) {
        *result = *call->result;
        result->call_id = call->inside;
        result->name = call->name;
        result->custom = call->custom;
        return take_result_parts(p, call->result, result);
    }
    if (p->target->no_repair)
        return tr_refuse(p->refusal, "messages", "must hold a result for each call of a tool");
    tr_note(p->terms, "filled_result");
    *result = (struct tr_result){call->inside, call->name, no_result, 1, true, call->custom};
    return 0;
}

/* A result of nobody's call: its parts, with a word before them. */
static int take_orphan(struct pass *p, const struct tr_result *result, struct tr_part *out,
                       uint32_t *io_count)
{
    if (p->target->no_repair)
        return tr_refuse(p->refusal, "messages", "holds a result without its call");
    tr_note(p->terms, "orphaned_result");
    out[(*io_count)++] = (struct tr_part){
        .kind = TR_PART_TEXT, .text = STR("The result of a tool, whose call is not known:")};
    for (uint32_t i = 0; i < result->part_count; i++)
        if (stays(p, &result->parts[i]))
            out[(*io_count)++] = result->parts[i];
    return 0;
}

/* Pictures and files that results may not hold. */
static void take_media(struct pass *p, struct tr_part *out, uint32_t *io_count)
{
    for (uint32_t i = 0; p->options->text_results && i < p->pending_count; i++) {
        const struct tr_result *result = p->pending[i].result;
        for (uint32_t k = 0; result != NULL && k < result->part_count; k++)
            if (is_media(&result->parts[k]))
                out[(*io_count)++] = result->parts[k];
    }
}

/* ---- turns of users ---- */

static int take_user_part(struct pass *p, const struct tr_part *part, uint32_t *io_answer,
                          struct tr_part *out, uint32_t *io_count)
{
    if (part->kind == TR_PART_RESULT) {
        const struct answer *answer = &p->answers[(*io_answer)++];
        return answer->taken ? 0 : take_orphan(p, &part->result, out, io_count);
    }
    if (stays(p, part))
        out[(*io_count)++] = *part;
    else if (part->cache.ttl_s > 0 && *io_count > 0 && out[*io_count - 1].cache.ttl_s == 0)
        out[*io_count - 1].cache = part->cache;
    return 0;
}

static size_t count_user_parts(const struct pass *p, const struct block *b)
{
    size_t count = p->pending_count;
    for (uint32_t i = 0; i < b->user_count; i++)
        count += b->user[i]->part_count;
    for (uint32_t i = 0; i < p->answer_count; i++)
        count += (size_t)p->answers[i].part->result.part_count + 1;
    return count;
}

static int take_user(struct pass *p, const struct block *b)
{
    struct tr_part *parts = make_parts(p, count_user_parts(p, b));
    if (parts == NULL)
        return ERR_TOO_LARGE;
    uint32_t count = 0, answer = 0;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < p->pending_count; i++)
        rc = take_result(p, &p->pending[i], &parts[count++]);
    bool apart = p->options->tool_turns;
    if (rc == 0 && apart) {
        emit(p, TR_TOOL, parts, count);
        parts += count;
        count = 0;
    }
    take_media(p, parts, &count);
    for (uint32_t i = 0; rc == 0 && i < b->user_count; i++) {
        const struct tr_turn *turn = b->user[i];
        for (uint32_t k = 0; rc == 0 && k < turn->part_count; k++)
            rc = take_user_part(p, &turn->parts[k], &answer, parts, &count);
        if (p->options->merge || !apart)
            continue;
        emit(p, TR_USER, parts, count);
        parts += count;
        count = 0;
    }
    if (rc == 0)
        emit(p, TR_USER, parts, count);
    return rc;
}

static int take_block(struct pass *p, const struct block *b)
{
    int rc = take_assistant(p, b);
    if (rc == 0)
        rc = match_results(p, b);
    return rc == 0 ? take_user(p, b) : rc;
}

/* ---- the whole ---- */

static int take_turns(struct pass *p, const struct tr_request *request)
{
    const struct tr_turn **kept =
        arena_alloc(p->arena, (request->turn_count + 1U) * sizeof(struct tr_turn *));
    if (kept == NULL)
        return ERR_TOO_LARGE;
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->turn_count; i++)
        if (count_staying(p, &request->turns[i]) > 0)
            kept[count++] = &request->turns[i];
    for (uint32_t at = 0; at < count;) {
        struct block b = {.assistant = kept + at};
        for (; at < count && kept[at]->role == TR_ASSISTANT; at++)
            b.assistant_count++;
        b.user = kept + at;
        for (; at < count && kept[at]->role != TR_ASSISTANT; at++)
            b.user_count++;
        int rc = take_block(p, &b);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* A last text of the assistant may not end in blanks; what is empty then goes. */
static void trim_last(struct pass *p)
{
    if (p->count == 0 || p->turns[p->count - 1].role != TR_ASSISTANT)
        return;
    struct tr_turn *turn = &p->turns[p->count - 1];
    struct tr_part *part = &turn->parts[turn->part_count - 1];
    if (part->kind != TR_PART_TEXT)
        return;
    while (part->text.len > 0 &&
           strchr(" \t\r\n\v\f", part->text.data[part->text.len - 1]) != NULL &&
           part->text.data[part->text.len - 1] != '\0')
        part->text.len--;
    if (part->text.len == 0 && --turn->part_count == 0)
        p->count--;
}

static struct tr_part begin_text[] = {{.kind = TR_PART_TEXT, .text = {".", 1}}};

/* p->turns has a free place before the first turn. */
static int put_user_first(struct pass *p)
{
    if (p->count > 0 && p->turns[0].role == TR_USER)
        return 0;
    if (p->target->no_repair)
        return tr_refuse(p->refusal, "messages", "must begin with a message of the user");
    tr_note(p->terms, "added_user_message");
    *--p->turns = (struct tr_turn){TR_USER, begin_text, 1};
    p->count++;
    return 0;
}

static bool has_kind(const struct tr_turn *turn, enum tr_part_kind kind, bool that)
{
    for (uint32_t i = 0; i < turn->part_count; i++)
        if ((turn->parts[i].kind == kind) == that)
            return true;
    return false;
}

static bool has_unsigned_calls(const struct pass *p)
{
    bool found = false;
    for (uint32_t i = 0; i < p->count; i++) {
        const struct tr_turn *turn = &p->turns[i];
        if (turn->role == TR_USER && has_kind(turn, TR_PART_RESULT, false))
            found = false;
        else if (turn->role == TR_ASSISTANT && has_kind(turn, TR_PART_CALL, true))
            found |= turn->parts[0].kind != TR_PART_REASONING;
    }
    return found;
}

static uint32_t count_calls(const struct tr_request *request)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->turn_count; i++)
        for (uint32_t k = 0; k < request->turns[i].part_count; k++)
            count += request->turns[i].parts[k].kind == TR_PART_CALL ? 1 : 0;
    return count;
}

int tr_turns_prepare(const struct tr_request *request, const struct tr_turns_options *options,
                     const struct tr_target *target, struct arena *arena, struct tr_terms *terms,
                     struct call_refusal *refusal, struct tr_turns *out)
{
    struct pass p = {options, target, arena, terms, refusal, .count = 0};
    int rc = tr_ids_init(&p.ids, options->id_class, target->id_key, count_calls(request), arena);
    if (rc != 0)
        return rc;
    /* Of a turn come at most itself and the results of its calls; and one stands first. */
    p.turns = arena_zalloc(arena, 3 * (size_t)request->turn_count + 2, sizeof *p.turns);
    if (p.turns == NULL)
        return ERR_TOO_LARGE;
    p.turns++;
    rc = take_turns(&p, request);
    if (rc == 0 && options->trim_last)
        trim_last(&p);
    if (rc == 0 && options->user_first)
        rc = put_user_first(&p);
    if (rc != 0)
        return rc;
    *out = (struct tr_turns){
        .turns = p.turns,
        .count = p.count,
        .ends_in_assistant = p.count > 0 && p.turns[p.count - 1].role == TR_ASSISTANT,
        .calls = p.calls,
        .unsigned_calls = has_unsigned_calls(&p),
    };
    return 0;
}

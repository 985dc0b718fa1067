#include <string.h>

#include "dataplane/translate/turns.h"

int tr_parts_text(const struct tr_part *parts, uint32_t count, struct arena *arena, struct str *out)
{
    static const struct str between = {"\n\n", 2};
    const struct tr_part *only = NULL;
    size_t total = 0, texts = 0;
    for (uint32_t i = 0; i < count; i++)
        if ((parts[i].kind == TR_PART_TEXT || parts[i].kind == TR_PART_REFUSAL) &&
            parts[i].text.len > 0) {
            only = &parts[i];
            total += parts[i].text.len;
            texts++;
        }
    if (texts < 2) {
        *out = texts == 1 ? only->text : STR("");
        return 0;
    }
    char *at = arena_alloc(arena, total + (texts - 1) * between.len);
    if (at == NULL)
        return ERR_TOO_LARGE;
    *out = (struct str){at, total + (texts - 1) * between.len};
    for (uint32_t i = 0; i < count; i++) {
        if ((parts[i].kind != TR_PART_TEXT && parts[i].kind != TR_PART_REFUSAL) ||
            parts[i].text.len == 0)
            continue;
        if (at != out->data) {
            memcpy(at, between.data, between.len);
            at += between.len;
        }
        memcpy(at, parts[i].text.data, parts[i].text.len);
        at += parts[i].text.len;
    }
    return 0;
}

uint32_t tr_marks_to_drop(const struct tr_request *request, const struct tr_turns *turns)
{
    uint32_t marks = 0;
    for (uint32_t i = 0; i < request->tool_count; i++)
        marks += request->tools[i].cache.ttl_s > 0 ? 1 : 0;
    for (uint32_t i = 0; i < request->system_count; i++)
        marks += request->system[i].cache.ttl_s > 0 ? 1 : 0;
    for (uint32_t i = 0; i < turns->count; i++)
        for (uint32_t k = 0; k < turns->turns[i].part_count; k++)
            marks += turns->turns[i].parts[k].cache.ttl_s > 0 ? 1 : 0;
    return marks > TR_CACHE_MARKS_MAX ? marks - TR_CACHE_MARKS_MAX : 0;
}

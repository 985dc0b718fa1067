/* call_same.h: whether two readings of one body say the same, for who compares two ways to read. */
#ifndef STEELYARD_TESTS_LIB_CALL_SAME_H
#define STEELYARD_TESTS_LIB_CALL_SAME_H

#include <string.h>

#include "dataplane/llm/call.h"

/* The bytes; and what is borrowed from the body lies at the same place of it. */
static inline bool call_same_str(struct str body, struct str a, struct str b)
{
    const bool a_in = a.data >= body.data && a.data <= body.data + body.len;
    const bool b_in = b.data >= body.data && b.data <= body.data + body.len;
    return a.len == b.len && (a.data == NULL) == (b.data == NULL) && a_in == b_in &&
           (!a_in || a.data == b.data) && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Everything but slices, which are compared as such, is compared as bytes: both were written into
 * memory with the same bytes in it. */
static inline bool call_same(struct str body, const struct call *a, const struct call *b)
{
    struct call plain_a = *a, plain_b = *b;
    if (a->tool_count != b->tool_count || a->cut_count != b->cut_count)
        return false;
    for (uint32_t i = 0; i < a->tool_count; i++)
        if (!call_same_str(body, a->tools[i], b->tools[i]))
            return false;
    if (a->cut_count > 0 && memcmp(a->cuts, b->cuts, a->cut_count * sizeof *a->cuts) != 0)
        return false;
    struct str *slices[][2] = {
        {&plain_a.model, &plain_b.model},   {&plain_a.text, &plain_b.text},
        {&plain_a.system, &plain_b.system}, {&plain_a.dialogue, &plain_b.dialogue},
        {&plain_a.user, &plain_b.user},     {&plain_a.bound_to, &plain_b.bound_to}};
    for (size_t i = 0; i < sizeof slices / sizeof slices[0]; i++) {
        if (!call_same_str(body, *slices[i][0], *slices[i][1]))
            return false;
        *slices[i][0] = *slices[i][1] = STR_NULL;
    }
    memset(plain_a.tools, 0, sizeof plain_a.tools);
    memset(plain_b.tools, 0, sizeof plain_b.tools);
    plain_a.cuts = plain_b.cuts = NULL;
    return memcmp(&plain_a, &plain_b, sizeof plain_a) == 0;
}

#endif

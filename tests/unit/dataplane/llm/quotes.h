/* quotes.h: JSON in the text of a test, with ' where it has ". */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_LLM_QUOTES_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_LLM_QUOTES_H

#include <string.h>

#include "common/base/arena.h"

/* In the arena, with a NUL behind it; .data NULL past its ceiling. */
static inline struct str quotes(struct arena *arena, const char *text)
{
    struct str out = arena_copy(arena, str_from(text));
    char *p = (char *)(uintptr_t)out.data;
    for (size_t i = 0; i < out.len; i++)
        if (p[i] == '\'')
            p[i] = '"';
    return out;
}

#endif

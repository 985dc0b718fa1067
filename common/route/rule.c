#include "common/route/rule.h"

#include <stddef.h>

#define DECIMALS 9

const char *rule_op_name(uint32_t op)
{
    static const char *const names[] = {
#define X(name, text) text,
        RULE_TABLE(X)
#undef X
    };
    return op < RULE_OPS ? names[op] : NULL;
}

static bool joins(enum rule_op op)
{
    return op == RULE_AND || op == RULE_OR;
}

bool rule_valid(const struct rule_step *steps, uint32_t count)
{
    uint32_t depth = 0;
    if (count == 0 || count > RULE_STEPS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const struct rule_step *s = &steps[i];
        if ((uint32_t)s->op >= RULE_OPS)
            return false;
        if (joins(s->op)) {
            if (s->count == 0 || s->count > depth)
                return false;
            depth -= s->count - 1;
            continue;
        }
        const bool many = s->op == RULE_IN || s->op == RULE_NIN;
        if (s->path.len == 0 || s->value_count == 0 ||
            s->value_count > (many ? RULE_VALUES_MAX : 1U) ||
            (s->op == RULE_REGEX) != (s->pattern != NULL))
            return false;
        depth++;
    }
    return depth == 1;
}

static bool equal(struct str a, struct str b)
{
    int64_t x, y;
    if (str_parse_fixed(a, DECIMALS, &x) == 0 && str_parse_fixed(b, DECIMALS, &y) == 0)
        return x == y;
    return str_eq(a, b);
}

static bool is_among(struct str v, const struct rule_step *s)
{
    for (uint32_t i = 0; i < s->value_count; i++)
        if (equal(v, s->values[i]))
            return true;
    return false;
}

static bool compare(struct str v, const struct rule_step *s)
{
    int64_t x, y;
    if (str_parse_fixed(v, DECIMALS, &x) != 0 || str_parse_fixed(s->values[0], DECIMALS, &y) != 0)
        return false;
    switch (s->op) {
    case RULE_GT:
        return x > y;
    case RULE_GTE:
        return x >= y;
    case RULE_LT:
        return x < y;
    case RULE_LTE:
        return x <= y;
    case RULE_AND:
    case RULE_OR:
    case RULE_EQ:
    case RULE_NE:
    case RULE_IN:
    case RULE_NIN:
    case RULE_REGEX:
    case RULE_OPS:
        break;
    }
    return false;
}

static bool test(const struct rule_step *s, struct str v, struct pattern_room *room)
{
    const bool there = v.data != NULL;
    if (s->op == RULE_REGEX)
        return there && room != NULL && pattern_matches(s->pattern, v, room);
    if (s->op == RULE_EQ || s->op == RULE_IN)
        return there && is_among(v, s);
    if (s->op == RULE_NE || s->op == RULE_NIN)
        return !there || !is_among(v, s);
    return there && compare(v, s);
}

bool rule_has_patterns(const struct rule_step *steps, uint32_t count)
{
    uint32_t i = 0;
    while (i < count && steps[i].op != RULE_REGEX)
        i++;
    return i < count;
}

bool rule_holds(const struct rule_step *steps, uint32_t count,
                struct str (*value)(void *arg, struct str path), void *arg,
                struct pattern_room *room)
{
    bool stack[RULE_STEPS_MAX];
    uint32_t depth = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct rule_step *s = &steps[i];
        if (!joins(s->op)) {
            stack[depth++] = test(s, value(arg, s->path), room);
            continue;
        }
        bool result = s->op == RULE_AND;
        for (uint32_t k = 0; k < s->count; k++) {
            const bool one = stack[--depth];
            result = s->op == RULE_AND ? result && one : result || one;
        }
        stack[depth++] = result;
    }
    return stack[0];
}

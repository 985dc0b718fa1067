/* rule.h: conditions over what is known of a request, as tests in postfix order: each pushes true
 * or false, AND and OR take `count` of them. So evaluating needs no recursion, and what was pushed
 * by somebody else can be checked in one pass. The operators are Portkey's. Pure. */
#ifndef STEELYARD_COMMON_ROUTE_RULE_H
#define STEELYARD_COMMON_ROUTE_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"
#include "common/route/pattern.h"

#define RULE_STEPS_MAX  64 /* Of one condition. */
#define RULE_VALUES_MAX 64 /* Of one test. */

/* X(name, text): in the order of RuleOp in control.proto. */
#define RULE_TABLE(X)                                                                              \
    X(AND, "$and")                                                                                 \
    X(OR, "$or")                                                                                   \
    X(EQ, "$eq")                                                                                   \
    X(NE, "$ne") /* Also true of what is not there; so is NIN. */                                  \
    X(IN, "$in")                                                                                   \
    X(NIN, "$nin")                                                                                 \
    X(GT, "$gt") /* Numbers alone, as the next three. */                                           \
    X(GTE, "$gte")                                                                                 \
    X(LT, "$lt")                                                                                   \
    X(LTE, "$lte")                                                                                 \
    X(REGEX, "$regex") /* A match anywhere in the text. */

enum rule_op {
#define X(name, text) RULE_##name,
    RULE_TABLE(X)
#undef X
        RULE_OPS
};
const char *rule_op_name(uint32_t op); /* "$eq"; NULL out of range. */

struct rule_step {
    enum rule_op op;
    uint32_t count;  /* AND, OR: how many results it takes, at least 1. */
    struct str path; /* Tests: "metadata.plan", "params.max_tokens", "headers.x-team". */
    const struct str *values;
    uint32_t value_count;          /* At least 1; IN and NIN may have more than 1. */
    const struct pattern *pattern; /* REGEX: of its value. */
};

/* One result is left, no operator lacks operands, and counts are in range. */
bool rule_valid(const struct rule_step *steps, uint32_t count);
/* Of some tests: is one of them a REGEX? */
bool rule_has_patterns(const struct rule_step *steps, uint32_t count);
/* steps are valid. value: the text at a path, .data NULL: it is not there. Numbers are compared as
 * numbers (nine decimals) where both sides are some, else bytes are. room: NULL: no pattern
 * matches. */
bool rule_holds(const struct rule_step *steps, uint32_t count,
                struct str (*value)(void *arg, struct str path), void *arg,
                struct pattern_room *room);

#endif

/* observe.h: what came of one misbehaviour in one scene, in the words of harms.h. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_MATRIX_OBSERVE_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_MATRIX_OBSERVE_H

#include "tests/unit/dataplane/matrix/harms.h"

struct observed {
    char client[64];
    bool next;
    const char *reason;
    unsigned status;
    const char *usage;
    const char *flags;
    unsigned cooled_s;
    unsigned took_s; /* Of which so much may have gone by. */
};

/* An error of ours, as each dialect has it. */
struct told_error {
    const char *code;
    unsigned status;
    unsigned status_anthropic;
    const char *type;      /* openai, responses */
    const char *anthropic; /* Its type there. */
    bool retry;            /* x-should-retry */
};
extern const struct told_error told_errors[];
extern const size_t told_error_count;

/* False: there is no such scene. */
bool observe(const struct harm *h, const struct caller *c, const struct voice *v, bool stream,
             struct observed *out);

#endif

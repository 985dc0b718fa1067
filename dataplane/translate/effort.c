#include "dataplane/translate/effort.h"

#define EFFORTS (TR_EFFORT_MAX + 1)

static const struct {
    const char *name;
    int64_t budget;
} efforts[EFFORTS] = {
    [TR_EFFORT_UNSET] = {"", 0},
    [TR_EFFORT_NONE] = {"none", 0},
    [TR_EFFORT_MINIMAL] = {"minimal", 1024},
    [TR_EFFORT_LOW] = {"low", 2048},
    [TR_EFFORT_MEDIUM] = {"medium", 8192},
    [TR_EFFORT_HIGH] = {"high", 16384},
    [TR_EFFORT_XHIGH] = {"xhigh", 32768},
    [TR_EFFORT_MAX] = {"max", 32768},
};

const char *tr_effort_name(enum tr_effort e)
{
    return (size_t)e < EFFORTS ? efforts[e].name : "";
}

enum tr_effort tr_effort_of(struct str name)
{
    for (int e = TR_EFFORT_NONE; e < EFFORTS; e++)
        if (str_is(name, efforts[e].name))
            return (enum tr_effort)e;
    return TR_EFFORT_UNSET;
}

int64_t tr_effort_budget(enum tr_effort e)
{
    return (size_t)e < EFFORTS ? efforts[e].budget : 0;
}

enum tr_effort tr_effort_of_budget(int64_t tokens)
{
    if (tokens <= 0)
        return TR_EFFORT_NONE;
    enum tr_effort found = TR_EFFORT_MINIMAL;
    for (int e = TR_EFFORT_LOW; e <= TR_EFFORT_XHIGH; e++)
        if (efforts[e].budget <= tokens)
            found = (enum tr_effort)e;
    return found;
}

enum tr_effort tr_effort_clip(enum tr_effort want, uint32_t allowed)
{
    if (want == TR_EFFORT_UNSET || allowed == 0)
        return want;
    int lowest = want == TR_EFFORT_NONE ? TR_EFFORT_NONE : TR_EFFORT_MINIMAL;
    for (int e = (int)want; e >= lowest; e--)
        if ((allowed & TR_EFFORT_BIT(e)) != 0)
            return (enum tr_effort)e;
    for (int e = lowest; e < EFFORTS; e++)
        if ((allowed & TR_EFFORT_BIT(e)) != 0)
            return (enum tr_effort)e;
    return TR_EFFORT_NONE;
}

enum tr_effort tr_effort_asked(const struct tr_request *request)
{
    if (request->effort != TR_EFFORT_UNSET)
        return request->effort;
    return request->think_budget != TR_UNSET ? tr_effort_of_budget(request->think_budget)
                                             : TR_EFFORT_UNSET;
}

int64_t tr_budget_asked(const struct tr_request *request)
{
    if (request->think_budget != TR_UNSET)
        return request->think_budget > 0 ? request->think_budget : 0;
    return request->effort != TR_EFFORT_UNSET ? tr_effort_budget(request->effort) : TR_UNSET;
}

int64_t tr_budget_clip(int64_t tokens, int64_t min, int64_t max, int64_t max_output)
{
    if (tokens == TR_UNSET || tokens <= 0)
        return 0;
    if (max > 0 && tokens > max)
        tokens = max;
    if (tokens < min)
        tokens = min;
    if (max_output != TR_UNSET && tokens > max_output - 1)
        tokens = max_output - 1;
    return tokens < min || tokens < 1 ? 0 : tokens;
}

/* Orders that follow from a few comparisons, told in any sequence. */
#include "deploy/simulator/tasks_internal.h"

#define PEOPLE_MAX 8U

static const char *const people[] = {"Ann", "Bob", "Cid", "Dora", "Ed", "Fay", "Gus", "Hal"};

struct order {
    struct str names[PEOPLE_MAX];
    unsigned count;
    bool above[PEOPLE_MAX][PEOPLE_MAX];
};

static unsigned person_index(struct order *o, struct str name)
{
    for (unsigned i = 0; i < o->count; i++)
        if (str_eq(o->names[i], name))
            return i;
    if (o->count == PEOPLE_MAX)
        return PEOPLE_MAX;
    o->names[o->count] = name;
    return o->count++;
}

static void close_order(struct order *o)
{
    for (unsigned k = 0; k < o->count; k++)
        for (unsigned i = 0; i < o->count; i++)
            for (unsigned j = 0; j < o->count; j++)
                o->above[i][j] = o->above[i][j] || (o->above[i][k] && o->above[k][j]);
}

static bool put_ranked(const struct order *o, unsigned people_above, struct task_text *answer)
{
    for (unsigned i = 0; i < o->count; i++) {
        unsigned n = 0;
        for (unsigned j = 0; j < o->count; j++)
            n += o->above[j][i] ? 1 : 0;
        if (n == people_above) {
            task_put(answer, "%.*s", STR_ARG(o->names[i]));
            return true;
        }
    }
    return false;
}

/* The name that stands before " is taller than ". */
static struct str name_before(struct str text, size_t end)
{
    size_t start = end;
    while (start > 0 && text.data[start - 1] != ' ' && text.data[start - 1] != '\n')
        start--;
    return str_slice(text, start, end);
}

static bool solve(struct str prompt, unsigned *out_difficulty, struct task_text *answer)
{
    const struct str relation = STR(" is taller than ");
    struct order o = {0};
    struct str s = prompt;
    unsigned facts = 0;
    for (ptrdiff_t at = str_search(s, relation); at >= 0; at = str_search(s, relation)) {
        struct str taller = name_before(s, (size_t)at), shorter;
        s = str_slice(s, (size_t)at + relation.len, s.len);
        if (!scan_word(&s, &shorter))
            return false;
        unsigned a = person_index(&o, taller), b = person_index(&o, shorter);
        if (a == PEOPLE_MAX || b == PEOPLE_MAX)
            return false;
        o.above[a][b] = true;
        facts++;
    }
    if (facts == 0)
        return false;
    close_order(&o);
    *out_difficulty = facts;
    if (str_search(s, STR("Who is the second tallest")) >= 0) {
        *out_difficulty += 1;
        return put_ranked(&o, 1, answer);
    }
    if (str_search(s, STR("Who is the tallest")) >= 0)
        return put_ranked(&o, 0, answer);
    return str_search(s, STR("Who is the shortest")) >= 0 && put_ranked(&o, o.count - 1, answer);
}

static void generate(struct task_rng *r, unsigned level, struct task_text *prompt,
                     struct task_text *answer)
{
    unsigned n = level + 1, order[PEOPLE_MAX], told[PEOPLE_MAX];
    for (unsigned i = 0; i < PEOPLE_MAX; i++)
        order[i] = told[i] = i;
    for (unsigned i = PEOPLE_MAX - 1; i > 0; i--) {
        unsigned j = (unsigned)task_rng_below(r, i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    for (unsigned i = n - 2; i > 0; i--) { /* The n - 1 facts, in any sequence. */
        unsigned j = (unsigned)task_rng_below(r, i + 1), kept = told[i];
        told[i] = told[j];
        told[j] = kept;
    }
    for (unsigned i = 0; i < n - 1; i++)
        task_put(prompt, "%s is taller than %s. ", people[order[told[i]]],
                 people[order[told[i] + 1]]);
    static const char *const questions[] = {"tallest", "shortest", "second tallest"};
    uint64_t q = task_rng_below(r, 3);
    unsigned rank = q == 0 ? 0 : q == 1 ? n - 1 : 1;
    task_put(prompt, "Who is the %s?", questions[q]);
    task_put(answer, "%s", people[order[rank]]);
}

const struct task_family_row task_logic = {.generate = generate, .solve = solve};

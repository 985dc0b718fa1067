/* "What is 17 + 4 * (9 - 2)?": + - * with the usual precedence and parentheses. */
#include <ctype.h>

#include "common/base/checked.h"
#include "deploy/simulator/tasks_internal.h"

#define STACK_MAX 32U

struct machine {
    int64_t values[STACK_MAX];
    char ops[STACK_MAX];
    size_t value_count, op_count;
    unsigned applied;
    bool large; /* An operand of three digits or more. */
};

static int precedence(char op)
{
    return op == '*' ? 2 : op == '(' ? 0 : 1;
}

static bool apply(struct machine *m)
{
    if (m->value_count < 2 || m->op_count == 0)
        return false;
    int64_t b = m->values[--m->value_count], a = m->values[--m->value_count], v;
    char op = m->ops[--m->op_count];
    bool ok = op == '+'   ? checked_add(a, b, &v)
              : op == '-' ? checked_sub(a, b, &v)
              : op == '*' ? checked_mul(a, b, &v)
                          : false;
    if (!ok)
        return false;
    m->values[m->value_count++] = v;
    m->applied++;
    return true;
}

static bool push_operator(struct machine *m, char op)
{
    while (m->op_count > 0 && precedence(m->ops[m->op_count - 1]) >= precedence(op))
        if (!apply(m))
            return false;
    if (m->op_count == STACK_MAX)
        return false;
    m->ops[m->op_count++] = op;
    return true;
}

static bool close_parenthesis(struct machine *m)
{
    while (m->op_count > 0 && m->ops[m->op_count - 1] != '(')
        if (!apply(m))
            return false;
    if (m->op_count == 0)
        return false;
    m->op_count--;
    return true;
}

static bool read_token(struct machine *m, struct str *s)
{
    char c = s->data[0];
    if (isdigit((unsigned char)c)) {
        int64_t v;
        if (!scan_i64(s, &v) || m->value_count == STACK_MAX)
            return false;
        m->large = m->large || v >= 100;
        m->values[m->value_count++] = v;
        return true;
    }
    *s = str_slice(*s, 1, s->len);
    if (c == ')')
        return close_parenthesis(m);
    if (c == '(') {
        if (m->op_count == STACK_MAX)
            return false;
        m->ops[m->op_count++] = '(';
        return true;
    }
    return push_operator(m, c);
}

/* Shunting yard (Dijkstra, 1961), with one value left at the end. */
static bool evaluate(struct str s, int64_t *out, unsigned *out_difficulty)
{
    struct machine m = {0};
    for (scan_spaces(&s); s.len > 0; scan_spaces(&s)) {
        char c = s.data[0];
        if (!isdigit((unsigned char)c) && c != '+' && c != '-' && c != '*' && c != '(' && c != ')')
            break;
        if (!read_token(&m, &s))
            return false;
    }
    while (m.op_count > 0)
        if (!apply(&m))
            return false;
    if (m.value_count != 1 || m.applied == 0)
        return false;
    *out = m.values[0];
    *out_difficulty = m.applied + (m.large ? 1 : 0);
    return true;
}

static bool solve(struct str prompt, unsigned *out_difficulty, struct task_text *answer)
{
    static const char *const openings[] = {"What is ", "Compute ", "Work out "};
    for (size_t i = 0; i < sizeof(openings) / sizeof(openings[0]); i++) {
        struct str s = prompt;
        int64_t value;
        if (scan_after(&s, openings[i]) && evaluate(s, &value, out_difficulty)) {
            task_put(answer, "%lld", (long long)value);
            return true;
        }
    }
    return false;
}

/* Small on purpose: the generator's own arithmetic must not go through the solver's. */
static void generate(struct task_rng *r, unsigned level, struct task_text *prompt,
                     struct task_text *answer)
{
    int64_t top = level <= 2 ? 90 : 900;
    int64_t a = 10 + (int64_t)task_rng_below(r, (uint64_t)top);
    int64_t b = 10 + (int64_t)task_rng_below(r, (uint64_t)top);
    int64_t c = 2 + (int64_t)task_rng_below(r, 30);
    int64_t d = 10 + (int64_t)task_rng_below(r, (uint64_t)top);
    long long la = a, lb = b, lc = c, ld = d;
    const char *open = task_rng_below(r, 2) == 0 ? "What is" : "Compute";
    const char *close = open[0] == 'W' ? "?" : ".";
    switch (level) {
    case 1:
        task_put(prompt, "%s %lld + %lld%s", open, la, lb, close);
        task_put(answer, "%lld", la + lb);
        return;
    case 2:
        task_put(prompt, "%s %lld * %lld - %lld%s", open, la, lc, ld, close);
        task_put(answer, "%lld", la * lc - ld);
        return;
    case 3:
        task_put(prompt, "%s %lld + %lld * %lld%s", open, la, lb, lc, close);
        task_put(answer, "%lld", la + lb * lc);
        return;
    case 4:
        task_put(prompt, "%s (%lld - %lld) * %lld + %lld%s", open, la, lb, lc, ld, close);
        task_put(answer, "%lld", (la - lb) * lc + ld);
        return;
    default: /* Level 5, and a number, not a state. */
        task_put(prompt, "%s (%lld + %lld) * %lld - %lld * (%lld + 7)%s", open, la, lb, lc, ld, lc,
                 close);
        task_put(answer, "%lld", (la + lb) * lc - ld * (lc + 7));
        return;
    }
}

const struct task_family_row task_arithmetic = {.generate = generate, .solve = solve};

/* Conversions between units whose factor is exact. */
#include "deploy/simulator/tasks_internal.h"

struct unit_row {
    const char *from, *to;
    int64_t factor_milli; /* One `from` is factor_milli / 1000 `to`. */
    unsigned difficulty;
};
static const struct unit_row rows[] = {
    {"kilometers", "meters", 1000000, 1}, {"kilograms", "grams", 1000000, 1},
    {"hours", "minutes", 60000, 1},       {"days", "hours", 24000, 2},
    {"weeks", "hours", 168000, 3},        {"gibibytes", "mebibytes", 1024000, 3},
    {"inches", "millimeters", 25400, 4},  {"pounds", "grams", 453592, 5},
    {"feet", "centimeters", 30480, 4},    {"nautical miles", "meters", 1852000, 5},
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

/* milli / 1000 without trailing zeros. */
static void put_milli(struct task_text *t, int64_t milli)
{
    long long whole = milli / 1000, fraction = milli % 1000;
    if (fraction == 0)
        task_put(t, "%lld", whole);
    else if (fraction % 100 == 0)
        task_put(t, "%lld.%lld", whole, fraction / 100);
    else if (fraction % 10 == 0)
        task_put(t, "%lld.%02lld", whole, fraction / 10);
    else
        task_put(t, "%lld.%03lld", whole, fraction);
}

static bool solve(struct str prompt, unsigned *out_difficulty, struct task_text *answer)
{
    int64_t amount;
    struct str s = prompt;
    if (!scan_after(&s, "Convert ") || !scan_i64(&s, &amount) || amount < 0)
        return false;
    scan_spaces(&s);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        struct str t = s;
        if (!scan_literal(&t, rows[i].from) || !scan_literal(&t, " to ") ||
            !scan_literal(&t, rows[i].to))
            continue;
        *out_difficulty = rows[i].difficulty + (amount >= 100 ? 1 : 0);
        put_milli(answer, amount * rows[i].factor_milli);
        return true;
    }
    return false;
}

static void generate(struct task_rng *r, unsigned level, struct task_text *prompt,
                     struct task_text *answer)
{
    const struct unit_row *row;
    do
        row = &rows[task_rng_below(r, ROW_COUNT)];
    while (row->difficulty > level + 1 || row->difficulty + 2 < level);
    uint64_t amount = 2 + task_rng_below(r, level <= 2 ? 40 : 400);
    task_put(prompt, "Convert %llu %s to %s.", (unsigned long long)amount, row->from, row->to);
    uint64_t total = amount * (uint64_t)row->factor_milli;
    char digits[8];
    struct task_text t = {.out = digits, .size = sizeof(digits)};
    task_put(&t, "%03llu", (unsigned long long)(total % 1000));
    while (t.len > 0 && digits[t.len - 1] == '0')
        digits[--t.len] = '\0';
    task_put(answer, "%llu%s%s", (unsigned long long)(total / 1000), t.len > 0 ? "." : "", digits);
}

const struct task_family_row task_units = {.generate = generate, .solve = solve};

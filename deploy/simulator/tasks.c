#include "deploy/simulator/tasks.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "deploy/simulator/tasks_internal.h"

const char *const task_nouns[TASK_NOUN_COUNT] = {
    "apple",  "bridge", "candle", "desert", "engine",  "forest", "garden", "harbor",
    "island", "jacket", "kettle", "ladder", "meadow",  "needle", "orchid", "pepper",
    "quartz", "ribbon", "saddle", "temple", "umpire",  "valley", "window", "yellow",
    "zipper", "anchor", "basket", "copper", "dragon",  "ember",  "falcon", "granite",
    "hammer", "indigo", "jungle", "kitten", "lantern", "marble", "nectar", "oyster",
};

static const struct task_family_row *const families[TASK_FAMILY_COUNT] = {
    [TASK_ARITHMETIC] = &task_arithmetic, [TASK_DATES] = &task_dates,   [TASK_TEXT] = &task_words,
    [TASK_UNITS] = &task_units,           [TASK_LOOKUP] = &task_lookup, [TASK_LOGIC] = &task_logic,
};

const char *task_family_name(enum task_family family)
{
    static const char *const names[TASK_FAMILY_COUNT] = {
#define X(name, text) [TASK_##name] = text,
        TASK_FAMILY_TABLE(X)
#undef X
    };
    assert(family < TASK_FAMILY_COUNT);
    return names[family];
}

uint64_t task_rng_next(struct task_rng *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

uint64_t task_rng_below(struct task_rng *r, uint64_t bound)
{
    assert(bound > 0);
    return task_rng_next(r) % bound;
}

void task_put(struct task_text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->out + t->len, t->size - t->len, format, args);
    va_end(args);
    if (n > 0)
        t->len += (size_t)n < t->size - t->len ? (size_t)n : t->size - t->len - 1;
}

bool scan_after(struct str *io_s, const char *literal)
{
    struct str needle = str_from(literal);
    ptrdiff_t at = str_search(*io_s, needle);
    if (at < 0)
        return false;
    *io_s = str_slice(*io_s, (size_t)at + needle.len, io_s->len);
    return true;
}

bool scan_literal(struct str *io_s, const char *literal)
{
    struct str needle = str_from(literal);
    if (!str_starts(*io_s, needle))
        return false;
    *io_s = str_slice(*io_s, needle.len, io_s->len);
    return true;
}

void scan_spaces(struct str *io_s)
{
    while (io_s->len > 0 && (io_s->data[0] == ' ' || io_s->data[0] == '\n'))
        *io_s = str_slice(*io_s, 1, io_s->len);
}

bool scan_i64(struct str *io_s, int64_t *out)
{
    scan_spaces(io_s);
    size_t n = io_s->len > 0 && io_s->data[0] == '-' ? 1 : 0;
    while (n < io_s->len && isdigit((unsigned char)io_s->data[n]))
        n++;
    if (str_parse_i64(str_slice(*io_s, 0, n), -1000000000, 1000000000, out) != 0)
        return false;
    *io_s = str_slice(*io_s, n, io_s->len);
    return true;
}

bool scan_word(struct str *io_s, struct str *out)
{
    scan_spaces(io_s);
    size_t n = 0;
    while (n < io_s->len && isalpha((unsigned char)io_s->data[n]))
        n++;
    *out = str_slice(*io_s, 0, n);
    *io_s = str_slice(*io_s, n, io_s->len);
    return n > 0;
}

bool scan_quoted(struct str *io_s, struct str *out)
{
    ptrdiff_t open = str_find(*io_s, '\'');
    if (open < 0)
        return false;
    struct str rest = str_slice(*io_s, (size_t)open + 1, io_s->len);
    ptrdiff_t close = str_find(rest, '\'');
    if (close < 0)
        return false;
    *out = str_slice(rest, 0, (size_t)close);
    *io_s = str_slice(rest, (size_t)close + 1, rest.len);
    return true;
}

void task_generate(struct task_rng *r, enum task_family family, unsigned level, struct task *out)
{
    /* People ask the same thing in different clothes. */
    static const char *const openings[] = {"", "Please help me with this. ",
                                           "I need this for a report. ", "Quick question: "};
    assert(family < TASK_FAMILY_COUNT && level >= 1 && level <= TASK_DIFFICULTY_MAX);
    struct task_text prompt = {.out = out->prompt, .size = sizeof(out->prompt)};
    struct task_text answer = {.out = out->answer, .size = sizeof(out->answer)};
    out->family = family;
    out->answer[0] = '\0';
    task_put(&prompt, "%s", openings[task_rng_below(r, sizeof(openings) / sizeof(openings[0]))]);
    families[family]->generate(r, level, &prompt, &answer);
    task_put(&prompt, " Close with one line that begins with Answer: and holds only the result.");
}

bool task_solve(struct str prompt, struct task_solution *out)
{
    /* Arithmetic last: its "What is" also begins questions of other families. */
    static const enum task_family order[] = {TASK_DATES,  TASK_TEXT,  TASK_UNITS,
                                             TASK_LOOKUP, TASK_LOGIC, TASK_ARITHMETIC};
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        struct task_text answer = {.out = out->answer, .size = sizeof(out->answer)};
        unsigned difficulty = 1;
        out->answer[0] = '\0';
        if (!families[order[i]]->solve(prompt, &difficulty, &answer) || answer.len == 0)
            continue;
        out->family = order[i];
        out->difficulty = difficulty < 1                     ? 1
                          : difficulty > TASK_DIFFICULTY_MAX ? TASK_DIFFICULTY_MAX
                                                             : difficulty;
        return true;
    }
    return false;
}

static bool mistake_number(const char *right, uint64_t hash, char *out)
{
    /* Off by one, by ten, a digit changed, the sign lost: the usual slips. */
    static const int64_t slips[] = {1, -1, 10, -10, 2, -2, 100, 9, -9};
    int64_t value;
    if (str_parse_i64(str_from(right), -1000000000000000, 1000000000000000, &value) != 0)
        return false;
    int64_t slip = slips[hash % (sizeof(slips) / sizeof(slips[0]))];
    snprintf(out, TASK_ANSWER_BYTES, "%lld", (long long)(value + slip));
    return true;
}

static bool mistake_date(const char *right, uint64_t hash, char *out)
{
    if (strlen(right) != 10 || right[4] != '-' || right[7] != '-')
        return false;
    memcpy(out, right, 11);
    unsigned day = (unsigned)(right[8] - '0') * 10 + (unsigned)(right[9] - '0');
    unsigned other = day > 1 ? day - 1 : day + 1 + (unsigned)(hash % 5);
    out[8] = (char)('0' + other / 10);
    out[9] = (char)('0' + other % 10);
    return true;
}

static bool mistake_weekday(const char *right, uint64_t hash, char *out)
{
    static const char *const days[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                       "Friday", "Saturday", "Sunday"};
    for (size_t i = 0; i < 7; i++) {
        if (strcmp(days[i], right) == 0) {
            snprintf(out, TASK_ANSWER_BYTES, "%s", days[(i + 1 + hash % 6) % 7]);
            return true;
        }
    }
    return false;
}

void task_mistake(const struct task_solution *right, uint64_t hash, char out[TASK_ANSWER_BYTES])
{
    if (mistake_number(right->answer, hash, out) || mistake_date(right->answer, hash, out) ||
        mistake_weekday(right->answer, hash, out))
        return;
    size_t n = strlen(right->answer);
    memcpy(out, right->answer, n + 1);
    for (size_t i = 0; i + 1 < n; i++) { /* Two neighbouring letters change places. */
        size_t at = (i + hash) % (n - 1);
        if (out[at] != out[at + 1]) {
            char swapped = out[at];
            out[at] = out[at + 1];
            out[at + 1] = swapped;
            return;
        }
    }
    snprintf(out, TASK_ANSWER_BYTES, "%s", n == 1 && right->answer[0] != 'x' ? "x" : "unknown");
}

bool task_grade(const char *answer, struct str reply)
{
    struct str rest = reply, last = STR_NULL;
    while (scan_after(&rest, "Answer:"))
        last = rest;
    if (last.data == NULL)
        return false;
    ptrdiff_t end = str_find(last, '\n');
    if (end >= 0)
        last = str_slice(last, 0, (size_t)end);
    last = str_trim(last);
    if (last.len > 0 && last.data[last.len - 1] == '.')
        last.len--;
    return str_eq_nocase(last, str_from(answer));
}

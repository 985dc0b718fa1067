/* Text surgery: reversing, counting letters, picking words, dropping vowels. */
#include <string.h>

#include "deploy/simulator/tasks_internal.h"

static bool is_vowel(char c)
{
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u';
}

static bool solve_reverse(struct str s, unsigned *out_difficulty, struct task_text *answer)
{
    struct str text;
    if (!scan_after(&s, "Reverse the text ") || !scan_quoted(&s, &text))
        return false;
    for (size_t i = text.len; i > 0; i--)
        task_put(answer, "%c", text.data[i - 1]);
    *out_difficulty = (unsigned)(text.len / 7 + 1);
    return true;
}

static bool solve_count(struct str s, unsigned *out_difficulty, struct task_text *answer)
{
    struct str letter, text;
    if (!scan_after(&s, "How many times does the letter ") || !scan_quoted(&s, &letter) ||
        !scan_literal(&s, " occur in ") || !scan_quoted(&s, &text) || letter.len != 1)
        return false;
    unsigned count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == letter.data[0] ? 1 : 0;
    task_put(answer, "%u", count);
    *out_difficulty = (unsigned)(text.len / 9 + 1);
    return true;
}

static bool solve_pick(struct str s, unsigned *out_difficulty, struct task_text *answer)
{
    int64_t number;
    struct str text, word = STR_NULL;
    if (!scan_after(&s, "Name word number ") || !scan_i64(&s, &number) ||
        !scan_literal(&s, " of ") || !scan_quoted(&s, &text) || number < 1)
        return false;
    *out_difficulty = (unsigned)(text.len / 14 + 1);
    for (int64_t i = 0; i < number; i++)
        if (!scan_word(&text, &word))
            return false;
    task_put(answer, "%.*s", STR_ARG(word));
    return true;
}

static bool solve_vowels(struct str s, unsigned *out_difficulty, struct task_text *answer)
{
    struct str text;
    if (!scan_after(&s, "Write ") || !scan_quoted(&s, &text) ||
        !scan_literal(&s, " without its vowels"))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!is_vowel(text.data[i]))
            task_put(answer, "%c", text.data[i]);
    *out_difficulty = (unsigned)(text.len / 7 + 1);
    return true;
}

static bool solve(struct str prompt, unsigned *out_difficulty, struct task_text *answer)
{
    return solve_reverse(prompt, out_difficulty, answer) ||
           solve_count(prompt, out_difficulty, answer) ||
           solve_pick(prompt, out_difficulty, answer) ||
           solve_vowels(prompt, out_difficulty, answer);
}

static void generate_count(struct task_rng *r, const char *text, struct task_text *prompt,
                           struct task_text *answer)
{
    char letter = "aeinrt"[task_rng_below(r, 6)];
    unsigned count = 0;
    for (const char *p = strchr(text, letter); p != NULL; p = strchr(p + 1, letter))
        count++;
    task_put(prompt, "How many times does the letter '%c' occur in '%s'?", letter, text);
    task_put(answer, "%u", count);
}

static void generate(struct task_rng *r, unsigned level, struct task_text *prompt,
                     struct task_text *answer)
{
    char text[128] = "";
    struct task_text t = {.out = text, .size = sizeof(text)};
    const char *words[8];
    unsigned count = level + 1;
    for (unsigned i = 0; i < count; i++) {
        words[i] = task_nouns[task_rng_below(r, TASK_NOUN_COUNT)];
        task_put(&t, "%s%s", i > 0 ? " " : "", words[i]);
    }
    unsigned pick = (unsigned)task_rng_below(r, count);
    switch (task_rng_below(r, 4)) {
    case 0: {
        task_put(prompt, "Reverse the text '%s'.", text);
        char turned[128] = "";
        for (size_t i = 0; i < t.len; i++)
            turned[t.len - 1 - i] = text[i];
        task_put(answer, "%s", turned);
        return;
    }
    case 1:
        generate_count(r, text, prompt, answer);
        return;
    case 2:
        task_put(prompt, "Name word number %u of '%s'.", pick + 1, text);
        task_put(answer, "%s", words[pick]);
        return;
    default: /* The fourth of four. */
        task_put(prompt, "Write '%s' without its vowels.", text);
        for (size_t i = 0; i < t.len; i++)
            if (strchr("aeiou", text[i]) == NULL)
                task_put(answer, "%c", text[i]);
        return;
    }
}

const struct task_family_row task_words = {.generate = generate, .solve = solve};

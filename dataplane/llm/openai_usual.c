/* One function for each kind of object, each with a mask of the members seen, so that a key that
 * comes again is noticed. The nesting is fixed: nothing recurses. */
#include "dataplane/llm/openai_scan.h"
#include "dataplane/llm/tokens.h"

static void note_hole(struct scan *s, enum openai_hole kind, const char *data, size_t len)
{
    struct openai_facts *f = s->facts;
    if (f->hole_count >= OPENAI_HOLES_MAX) {
        f->hole_count = UINT8_MAX;
        return;
    }
    f->holes[f->hole_count].data = data;
    f->holes[f->hole_count].len = len;
    f->holes[f->hole_count].kind = (uint8_t)kind;
    f->hole_count++;
}

/* ---- usage ---- */

struct call_usage openai_usage_of(const uint64_t counts[OPENAI_COUNTS])
{
    struct call_usage u = {
        .known = true,
        .tokens_in = counts[OPENAI_COUNT_IN],
        .tokens_out = counts[OPENAI_COUNT_OUT],
        .tokens_cached = counts[OPENAI_COUNT_CACHED] != 0 ? counts[OPENAI_COUNT_CACHED]
                                                          : counts[OPENAI_COUNT_HIT],
        .tokens_cache_write = counts[OPENAI_COUNT_CACHE_WRITE],
        .tokens_reasoning = counts[OPENAI_COUNT_REASONING],
    };
    if (u.tokens_reasoning > 0 &&
        counts[OPENAI_COUNT_TOTAL] == u.tokens_in + u.tokens_out + u.tokens_reasoning)
        u.tokens_out += u.tokens_reasoning; /* Left out of the sum by this host. */
    return u;
}

static bool read_count(struct scan *s, enum openai_hole kind, uint64_t *out)
{
    uint64_t v = 0;
    (void)token(s);
    const unsigned char *start = s->p;
    while (is_digit(s) && s->p - start < (ptrdiff_t)COUNT_DIGITS_MAX)
        v = v * 10 + (uint64_t)(*s->p++ - '0');
    *out = v;
    note_hole(s, kind, (const char *)start, (size_t)(s->p - start));
    return s->p > start && !is_digit(s) && (*start != '0' || s->p - start == 1);
}

struct count_name {
    struct str name;
    enum openai_count count; /* OPENAI_COUNTS: nobody looks at it. */
};

static const struct count_name *count_named(const struct count_name *names, size_t n,
                                            const struct text *key)
{
    for (size_t i = 0; i < n; i++)
        if (key->len == names[i].name.len && memcmp(key->data, names[i].name.data, key->len) == 0)
            return &names[i];
    return NULL;
}

/* One member; false: not a name of the list, or it was there before. */
static bool read_named(struct scan *s, const struct count_name *names, size_t n,
                       const struct text *key, unsigned *seen, uint64_t counts[OPENAI_COUNTS])
{
    const struct count_name *c = count_named(names, n, key);
    uint64_t ignored;
    if (c == NULL || !note(seen, 1U << (c - names)))
        return false;
    if (c->count == OPENAI_COUNTS)
        return read_count(s, OPENAI_HOLE_NUMBER, &ignored);
    return read_count(s, OPENAI_HOLE_COUNT + (enum openai_hole)c->count, &counts[c->count]);
}

static bool read_details(struct scan *s, bool of_input, uint64_t counts[OPENAI_COUNTS])
{
    static const struct count_name names[2][8] = {
        {{{"reasoning_tokens", 16}, OPENAI_COUNT_REASONING},
         {{"cached_tokens", 13}, OPENAI_COUNTS},
         {{"cache_write_tokens", 18}, OPENAI_COUNTS},
         {{"audio_tokens", 12}, OPENAI_COUNTS},
         {{"accepted_prediction_tokens", 26}, OPENAI_COUNTS},
         {{"rejected_prediction_tokens", 26}, OPENAI_COUNTS},
         {{"text_tokens", 11}, OPENAI_COUNTS},
         {{"image_tokens", 12}, OPENAI_COUNTS}},
        {{{"cached_tokens", 13}, OPENAI_COUNT_CACHED},
         {{"cache_write_tokens", 18}, OPENAI_COUNT_CACHE_WRITE},
         {{"reasoning_tokens", 16}, OPENAI_COUNTS},
         {{"audio_tokens", 12}, OPENAI_COUNTS},
         {{"text_tokens", 11}, OPENAI_COUNTS},
         {{"image_tokens", 12}, OPENAI_COUNTS},
         {{"accepted_prediction_tokens", 26}, OPENAI_COUNTS},
         {{"rejected_prediction_tokens", 26}, OPENAI_COUNTS}},
    };
    struct text key;
    unsigned seen = 0;
    enum step step;
    if (read_null(s))
        return true;
    if (!opens(s, '{'))
        return false;
    for (bool first = true; (step = next_member(s, first, &key)) == STEP_ONE; first = false)
        if (!read_named(s, names[of_input], 8, &key, &seen, counts))
            return false;
    return step == STEP_END;
}

static bool read_usage(struct scan *s)
{
    static const struct count_name names[] = {
        {{"prompt_tokens", 13}, OPENAI_COUNT_IN},
        {{"completion_tokens", 17}, OPENAI_COUNT_OUT},
        {{"total_tokens", 12}, OPENAI_COUNT_TOTAL},
        {{"prompt_cache_hit_tokens", 23}, OPENAI_COUNT_HIT},
        {{"prompt_cache_miss_tokens", 24}, OPENAI_COUNTS},
    };
    enum { IN_AND_OUT = 3, IN_MORE = 1U << 8, OUT_MORE = 1U << 9 };
    uint64_t counts[OPENAI_COUNTS] = {0};
    struct text key;
    unsigned seen = 0;
    enum step step;
    if (read_null(s))
        return true;
    if (!opens(s, '{'))
        return false;
    s->facts->usage_object = true;
    for (bool first = true; (step = next_member(s, first, &key)) == STEP_ONE; first = false) {
        bool ok;
        if (IS(&key, "prompt_tokens_details"))
            ok = note(&seen, IN_MORE) && read_details(s, true, counts);
        else if (IS(&key, "completion_tokens_details"))
            ok = note(&seen, OUT_MORE) && read_details(s, false, counts);
        else
            ok = read_named(s, names, sizeof names / sizeof names[0], &key, &seen, counts);
        if (!ok)
            return false;
    }
    if ((seen & IN_AND_OUT) == IN_AND_OUT)
        s->facts->usage = openai_usage_of(counts);
    return step == STEP_END;
}

/* ---- choices ---- */

/* A string or null, counted as what the caller will read. True in *io_any: it has bytes. */
static bool read_content(struct scan *s, bool *io_any)
{
    struct text t;
    int c = token(s);
    if (c == 'n')
        return read_word(s, "null", 4);
    if (c != '"' || !read_text(s, &t))
        return false;
    if (t.len > 0) {
        *io_any = true;
        s->facts->texts++;
        note_hole(s, OPENAI_HOLE_TEXT, t.data, t.len);
        s->facts->text_q8 += tokens_text_q8((struct str){t.data, t.len});
        s->facts->content_bytes += t.len - t.escapes;
    }
    return true;
}

static bool read_function(struct scan *s)
{
    enum { NAME = 1, ARGUMENTS = 2 };
    struct text key;
    unsigned seen = 0;
    enum step step;
    bool ignored = false;
    if (!opens(s, '{'))
        return false;
    for (bool first = true; (step = next_member(s, first, &key)) == STEP_ONE; first = false) {
        unsigned bit = IS(&key, "arguments") ? ARGUMENTS : IS(&key, "name") ? NAME : 0;
        if (bit == 0 || !note(&seen, bit) || !read_content(s, &ignored))
            return false;
    }
    return step == STEP_END;
}

static bool read_call(struct scan *s)
{
    enum { INDEX = 1, ID = 2, TYPE = 4, FUNCTION = 8 };
    struct text key;
    unsigned seen = 0;
    enum step step;
    if (!opens(s, '{'))
        return false;
    for (bool first = true; (step = next_member(s, first, &key)) == STEP_ONE; first = false) {
        bool ok;
        if (IS(&key, "function"))
            ok = note(&seen, FUNCTION) && read_function(s);
        else if (IS(&key, "index"))
            ok = note(&seen, INDEX) && skip_scalar(s);
        else if (IS(&key, "id"))
            ok = note(&seen, ID) && skip_scalar(s);
        else
            ok = IS(&key, "type") && note(&seen, TYPE) && skip_scalar(s);
        if (!ok)
            return false;
    }
    return step == STEP_END;
}

static bool read_calls(struct scan *s)
{
    enum step step;
    unsigned count = 0;
    if (read_null(s))
        return true;
    if (!opens(s, '['))
        return false;
    for (; (step = next_element(s, count == 0)) == STEP_ONE; count++)
        if (count == OPENAI_USUAL_ELEMENTS_MAX || !read_call(s))
            return false;
    if (count > 0)
        s->facts->content = true;
    return step == STEP_END;
}

/* Nothing in it is looked at, so only an empty one is usual. */
static bool skip_empty_array(struct scan *s)
{
    return opens(s, '[') && next_element(s, true) == STEP_END;
}

/* The delta or the message. */
static bool read_part(struct scan *s)
{
    enum {
        CONTENT = 1,
        ROLE = 2,
        REFUSAL = 4,
        REASONING = 8,
        THOUGHT = 16,
        CALLS = 32,
        OTHER = 64
    };
    struct text key;
    unsigned seen = 0;
    enum step step;
    if (read_null(s))
        return true;
    if (!opens(s, '{'))
        return false;
    for (bool first = true; (step = next_member(s, first, &key)) == STEP_ONE; first = false) {
        bool ok;
        if (IS(&key, "content"))
            ok = note(&seen, CONTENT) && read_content(s, &s->facts->content);
        else if (IS(&key, "role"))
            ok = note(&seen, ROLE) && skip_scalar(s);
        else if (IS(&key, "tool_calls"))
            ok = note(&seen, CALLS) && read_calls(s);
        else if (IS(&key, "refusal"))
            ok = note(&seen, REFUSAL) && read_content(s, &s->facts->content);
        else if (IS(&key, "reasoning_content"))
            ok = note(&seen, REASONING) && read_content(s, &s->facts->content);
        else if (IS(&key, "reasoning"))
            ok = note(&seen, THOUGHT) && read_content(s, &s->facts->content);
        else if (IS(&key, "annotations"))
            ok = note(&seen, OTHER) && skip_empty_array(s);
        else if (IS(&key, "function_call"))
            ok = note(&seen, OTHER << 1) && read_null(s);
        else
            ok = IS(&key, "audio") && note(&seen, OTHER << 2) && read_null(s);
        if (!ok)
            return false;
    }
    return step == STEP_END;
}

static bool read_finish(struct scan *s)
{
    struct text t;
    int c = token(s);
    if (c == 'n')
        return read_word(s, "null", 4);
    if (c != '"' || !read_text(s, &t) || t.escapes != 0)
        return false;
    s->facts->finish_seen = true;
    s->facts->finish = call_finish_of((struct str){t.data, t.len});
    return true;
}

static bool read_choice(struct scan *s, struct str part)
{
    enum { INDEX = 1, PART = 2, FINISH = 4, LOGPROBS = 8, OTHER = 16 };
    struct text key;
    unsigned seen = 0;
    enum step step;
    if (!opens(s, '{'))
        return false;
    for (bool first = true; (step = next_member(s, first, &key)) == STEP_ONE; first = false) {
        bool ok;
        if (IS(&key, "index"))
            ok = note(&seen, INDEX) && skip_scalar(s);
        else if (key.len == part.len && memcmp(key.data, part.data, part.len) == 0)
            ok = note(&seen, PART) && read_part(s);
        else if (IS(&key, "finish_reason"))
            ok = note(&seen, FINISH) && read_finish(s);
        else if (IS(&key, "logprobs"))
            ok = note(&seen, LOGPROBS) && read_null(s);
        else if (IS(&key, "stop_reason"))
            ok = note(&seen, OTHER) && skip_scalar(s);
        else
            ok = IS(&key, "native_finish_reason") && note(&seen, OTHER << 1) && skip_scalar(s);
        if (!ok)
            return false;
    }
    return step == STEP_END;
}

static bool read_choices(struct scan *s, struct str part)
{
    enum step step;
    if (!opens(s, '['))
        return false;
    for (; (step = next_element(s, s->facts->choices == 0)) == STEP_ONE; s->facts->choices++)
        if (s->facts->choices == OPENAI_USUAL_ELEMENTS_MAX || !read_choice(s, part))
            return false;
    return step == STEP_END;
}

/* ---- the whole ---- */

static bool read_model(struct scan *s)
{
    struct text t;
    if (token(s) != '"' || !read_text(s, &t) || t.escapes != 0)
        return false;
    s->facts->model = (struct str){t.data, t.len};
    return true;
}

/* As json_plain has it: one with an escape says nothing. */
static bool read_system(struct scan *s)
{
    struct text t;
    if (token(s) != '"')
        return skip_scalar(s);
    if (!read_text(s, &t))
        return false;
    if (t.escapes == 0)
        s->facts->system = (struct str){t.data, t.len};
    return true;
}

enum {
    TOP_MODEL = 1,
    TOP_CHOICES = 2,
    TOP_USAGE = 4,
    TOP_ERROR = 8,
    TOP_PLAIN = 16,
    TOP_SHARED = 128,
    TOP_SYSTEM = 256
};

/* A scalar that nobody looks at and that each event, or each stream, has its own of. */
static bool read_own(struct scan *s)
{
    int c = token(s);
    const char *from = (const char *)s->p;
    struct text t;
    if (c == '"') {
        if (!read_text(s, &t))
            return false;
        note_hole(s, OPENAI_HOLE_STRING, t.data, t.len);
        return true;
    }
    if (!skip_scalar(s))
        return false;
    if (c >= '0' && c <= '9')
        note_hole(s, OPENAI_HOLE_NUMBER, from, (size_t)((const char *)s->p - from));
    return true;
}

/* TOP_PLAIN and up; from TOP_SHARED on it is the same in all events. */
static unsigned plain_member(const struct text *key)
{
    static const struct str names[] = {
        {"id", 2},
        {"created", 7},
        {"obfuscation", 11},
        {"object", 6},
        {"system_fingerprint", 18},
        {"service_tier", 12},
        {"provider", 8},
        {"prompt_logprobs", 15},
        {"kv_transfer_params", 18},
    };
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (key->len == names[i].len && memcmp(key->data, names[i].data, key->len) == 0)
            return (unsigned)TOP_PLAIN << i;
    return 0;
}

bool openai_usual_read(struct str text, struct str part, struct openai_facts *out)
{
    struct scan s = {
        .p = (const unsigned char *)text.data,
        .end = (const unsigned char *)text.data + text.len,
        .facts = out,
    };
    struct text key;
    unsigned seen = 0;
    enum step step;
    memset(out, 0, offsetof(struct openai_facts, holes));
    if (!opens(&s, '{'))
        return false;
    for (bool first = true; (step = next_member(&s, first, &key)) == STEP_ONE; first = false) {
        bool ok;
        if (IS(&key, "choices"))
            ok = note(&seen, TOP_CHOICES) && read_choices(&s, part);
        else if (IS(&key, "model"))
            ok = note(&seen, TOP_MODEL) && read_model(&s);
        else if (IS(&key, "usage"))
            ok = note(&seen, TOP_USAGE) && read_usage(&s);
        else if (IS(&key, "error"))
            ok = note(&seen, TOP_ERROR) && read_null(&s);
        else {
            unsigned bit = plain_member(&key);
            ok = bit != 0 && note(&seen, bit) &&
                 (bit < TOP_SHARED    ? read_own(&s)
                  : bit == TOP_SYSTEM ? read_system(&s)
                                      : skip_scalar(&s));
        }
        if (!ok)
            return false;
    }
    return step == STEP_END && token(&s) < 0 && s.p == s.end && (seen & TOP_CHOICES) != 0;
}

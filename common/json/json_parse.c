/* json_parse.c: the one pass, which may stop at any byte and go on when more have come. Where a
 * token is cut it begins again at the token's first byte, but for strings and numbers, which may be
 * long: those remember how far they are. Open containers are a chain through their own nodes. Most
 * tokens are taken by json_usual.c before it is the turn of what is here. */
#include "common/json/json_internal.h"

#include <assert.h>
#include <string.h>

#define LITERAL_BYTES_MAX 5U /* "false" */
#define UTF8_BYTES_MAX    4U

/* What a turn works on; the rest, which outlives it, is in json.scan. */
struct parser {
    struct json *j;
    struct json_scan *k;
    const unsigned char *p;
    uint32_t len;
    uint32_t at;
    bool whole; /* No more bytes will come. */
};

/* Every step returns whether to go on; if not, and there is no problem, more bytes are awaited. */
static bool parse_fail(struct parser *s, enum json_problem problem)
{
    s->k->problem = (uint8_t)problem;
    return false;
}

/* At the end of what is there: of the text, or only so far. */
static bool parse_end(struct parser *s, enum json_problem problem)
{
    return s->whole ? parse_fail(s, problem) : false;
}

static bool parse_unexpected(struct parser *s)
{
    return s->at < s->len ? parse_fail(s, JSON_PROBLEM_SYNTAX)
                          : parse_end(s, JSON_PROBLEM_EARLY_END);
}

static inline bool node_push(struct parser *s, uint32_t start, uint32_t end, uint32_t next,
                             uint32_t info)
{
    struct json *j = s->j;
    uint32_t count = j->count;
    if (__builtin_expect(count >= j->max_nodes, 0))
        return parse_fail(s, JSON_PROBLEM_NODES);
    if (__builtin_expect(count >= j->capacity, 0) && !json_reserve(j, (uint64_t)count + 1))
        return parse_fail(s, JSON_PROBLEM_MEMORY);
    j->nodes[count] = (struct json_node){.start = start, .end = end, .next = next, .info = info};
    j->count = count + 1;
    return true;
}

static inline bool push_scalar(struct parser *s, uint32_t start, uint32_t info)
{
    return node_push(s, start, s->at, s->j->count + 1, info);
}

/* The byte after white space, or -1 at the end. */
static inline int peek_token(struct parser *s)
{
    if (s->at < s->len && s->p[s->at] > ' ')
        return s->p[s->at];
    s->at += (uint32_t)json_space_length(s->p + s->at, s->len - s->at);
    return s->at < s->len ? s->p[s->at] : -1;
}

static inline bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static inline int peek(const struct parser *s)
{
    return s->at < s->len ? s->p[s->at] : -1;
}

/* What a value of this state is followed by. */
static inline bool value_done(struct parser *s)
{
    s->k->state = s->k->depth > 0 ? SCAN_AFTER : SCAN_END;
    return true;
}

/* ---- numbers and words ---- */

static bool parse_digits(struct parser *s)
{
    if (!is_digit(peek(s)))
        return parse_fail(s, s->at < s->len ? JSON_PROBLEM_NUMBER : JSON_PROBLEM_EARLY_END);
    while (is_digit(peek(s)))
        s->at++;
    return true;
}

static bool parse_whole_number(struct parser *s)
{
    uint32_t start = s->at;
    uint32_t info = JSON_NUMBER | JSON_INFO_INTEGER;
    if (peek(s) == '-')
        s->at++;
    if (peek(s) == '0') {
        s->at++;
        if (is_digit(peek(s)))
            return parse_fail(s, JSON_PROBLEM_NUMBER);
    } else if (!parse_digits(s)) {
        return false;
    }
    if (peek(s) == '.') {
        info = JSON_NUMBER;
        s->at++;
        if (!parse_digits(s))
            return false;
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        info = JSON_NUMBER;
        s->at++;
        if (peek(s) == '+' || peek(s) == '-')
            s->at++;
        if (!parse_digits(s))
            return false;
    }
    return push_scalar(s, start, info) && value_done(s);
}

/* Looks at nothing before the number's last byte has come. */
static bool parse_number(struct parser *s)
{
    if (!s->whole) {
        for (; s->at < s->len; s->at++) {
            int c = s->p[s->at];
            if (!is_digit(c) && c != '.' && c != '-' && c != '+' && (c | 0x20) != 'e')
                break;
        }
        if (s->at == s->len)
            return false;
    }
    s->at = s->k->start;
    return parse_whole_number(s);
}

static bool parse_literal(struct parser *s, const char *word, enum json_kind kind)
{
    uint32_t start = s->at;
    if (!s->whole && s->len - s->at < LITERAL_BYTES_MAX)
        return false;
    for (; *word != '\0'; word++, s->at++) {
        if (peek(s) != *word)
            return parse_unexpected(s);
    }
    return push_scalar(s, start, kind) && value_done(s);
}

/* ---- strings ---- */

static inline void count_saved(struct parser *s, uint32_t saved)
{
    s->k->saved =
        saved < JSON_SAVED_UNKNOWN - s->k->saved ? s->k->saved + saved : JSON_SAVED_UNKNOWN;
    s->k->escaped = true;
}

/* On an error `at` stays on the backslash. */
static bool parse_escape(struct parser *s)
{
    uint32_t saved;
    enum json_problem problem = JSON_PROBLEM_NONE;
    uint32_t bytes = json_check_escape(s->p + s->at, s->len - s->at, s->whole, &saved, &problem);
    if (bytes == 0)
        return problem != JSON_PROBLEM_NONE ? parse_fail(s, problem) : false;
    s->at += bytes;
    count_saved(s, saved);
    return true;
}

/* A run of text with other characters than ASCII in it. */
static bool parse_wide(struct parser *s)
{
    s->at += (uint32_t)json_wide_length(s->p + s->at, s->len - s->at);
    if (s->at < s->len && s->p[s->at] >= 0x80)
        return !s->whole && s->len - s->at < UTF8_BYTES_MAX ? false
                                                            : parse_fail(s, JSON_PROBLEM_UTF8);
    return true;
}

/* From anywhere inside a string to behind its end. */
static bool parse_any_string(struct parser *s)
{
    for (;;) {
        uint32_t escapes = 0; /* Each of two bytes for one. */
        s->at += (uint32_t)json_plain_length(s->p + s->at, s->len - s->at, &escapes);
        if (escapes > 0)
            count_saved(s, escapes);
        if (s->at == s->len)
            return parse_end(s, JSON_PROBLEM_EARLY_END);
        unsigned c = s->p[s->at];
        if (c == '"')
            break;
        if (c == '\\') {
            if (!parse_escape(s))
                return false;
        } else if (c < 0x20) {
            return parse_fail(s, JSON_PROBLEM_CONTROL);
        } else if (!parse_wide(s)) {
            return false;
        }
    }
    s->at++;
    uint32_t info = JSON_STRING;
    if (s->k->escaped)
        info |= JSON_INFO_ESCAPED | s->k->saved << JSON_INFO_COUNT_SHIFT;
    return push_scalar(s, s->k->start, info);
}

/* The same; most strings end within the next bytes and hold nothing unusual. */
static inline bool parse_string(struct parser *s)
{
#if defined(__SSE2__)
    if (s->len - s->at >= 16 && !s->k->escaped) {
        unsigned first = (unsigned)__builtin_ctz(json_special_16(s->p + s->at) | 0x10000U);
        if (first < 16 && s->p[s->at + first] == '"') {
            s->at += first + 1;
            return push_scalar(s, s->k->start, JSON_STRING);
        }
    }
#endif
    return parse_any_string(s);
}

static inline void begin_string(struct parser *s, enum json_scan_state state)
{
    s->k->start = s->at++;
    s->k->saved = 0;
    s->k->escaped = false;
    s->k->state = (uint8_t)state;
}

/* ---- containers ---- */

/* While it is open, a container's `next` names the one around it. */
static bool parse_open(struct parser *s, enum json_kind kind)
{
    if (s->k->depth == JSON_DEPTH_MAX)
        return parse_fail(s, JSON_PROBLEM_DEPTH);
    uint32_t start = s->at++;
    if (!node_push(s, start, s->at, s->k->open, kind))
        return false;
    s->k->open = s->j->count - 1;
    s->k->depth++;
    s->k->state = kind == JSON_OBJECT ? SCAN_FIRST_MEMBER : SCAN_FIRST_ELEMENT;
    return true;
}

static bool parse_close(struct parser *s)
{
    json_scan_close(s->j, ++s->at);
    return s->k->problem == JSON_PROBLEM_NONE;
}

static inline void count_one(struct parser *s)
{
    s->j->nodes[s->k->open].info += 1U << JSON_INFO_COUNT_SHIFT;
}

static inline bool inside_object(const struct parser *s)
{
    return (s->j->nodes[s->k->open].info & JSON_INFO_KIND) == JSON_OBJECT;
}

/* ---- the states ---- */

static inline bool scan_value(struct parser *s)
{
    int c = peek_token(s);
    if (c == '"') {
        begin_string(s, SCAN_STRING);
        return parse_string(s) && value_done(s);
    }
    if (c == '{')
        return parse_open(s, JSON_OBJECT);
    if (c == '[')
        return parse_open(s, JSON_ARRAY);
    if (c == '-' || is_digit(c)) {
        s->k->start = s->at;
        s->k->state = SCAN_NUMBER;
        return true;
    }
    if (c == 't')
        return parse_literal(s, "true", JSON_TRUE);
    if (c == 'f')
        return parse_literal(s, "false", JSON_FALSE);
    if (c == 'n')
        return parse_literal(s, "null", JSON_NULL);
    return parse_unexpected(s);
}

static inline bool scan_key(struct parser *s)
{
    if (peek_token(s) != '"')
        return parse_unexpected(s);
    begin_string(s, SCAN_KEY_STRING);
    return true;
}

static inline bool scan_colon(struct parser *s)
{
    if (peek_token(s) != ':')
        return parse_unexpected(s);
    s->at++;
    s->k->state = SCAN_VALUE;
    return true;
}

static inline bool scan_first(struct parser *s, int close, enum json_scan_state next)
{
    int c = peek_token(s);
    if (c == close)
        return parse_close(s);
    if (c < 0)
        return parse_unexpected(s);
    count_one(s);
    s->k->state = (uint8_t)next;
    return true;
}

static inline bool scan_after(struct parser *s)
{
    int c = peek_token(s);
    bool object = inside_object(s);
    if (c == (object ? '}' : ']'))
        return parse_close(s);
    if (c != ',')
        return parse_unexpected(s);
    s->at++;
    count_one(s);
    s->k->state = object ? SCAN_KEY : SCAN_VALUE;
    return true;
}

static bool scan_begin(struct parser *s)
{
    static const unsigned char bom[] = {0xEF, 0xBB, 0xBF};
    if (s->len >= sizeof bom && memcmp(s->p, bom, sizeof bom) == 0)
        return parse_fail(s, JSON_PROBLEM_BOM);
    if (!s->whole && s->len < sizeof bom && (s->len == 0 || s->p[0] == bom[0]))
        return false;
    s->k->state = SCAN_VALUE;
    return true;
}

static bool scan_end(struct parser *s)
{
    return peek_token(s) < 0 ? false : parse_fail(s, JSON_PROBLEM_TRAILING);
}

static inline bool scan_step(struct parser *s)
{
    switch ((enum json_scan_state)s->k->state) {
    case SCAN_BEGIN:
        return scan_begin(s);
    case SCAN_KEY:
        if (!scan_key(s))
            return false;
        __attribute__((fallthrough));
    case SCAN_KEY_STRING:
        if (!parse_string(s))
            return false;
        s->k->state = SCAN_COLON;
        __attribute__((fallthrough));
    case SCAN_COLON:
        if (!scan_colon(s))
            return false;
        __attribute__((fallthrough));
    case SCAN_VALUE:
        return scan_value(s);
    case SCAN_STRING:
        return parse_string(s) && value_done(s);
    case SCAN_NUMBER:
        return parse_number(s);
    case SCAN_FIRST_MEMBER:
        return scan_first(s, '}', SCAN_KEY);
    case SCAN_FIRST_ELEMENT:
        return scan_first(s, ']', SCAN_VALUE);
    case SCAN_AFTER:
        return scan_after(s);
    case SCAN_END:
        return scan_end(s);
    case SCAN_IDLE:
        break;
    }
    assert(!"a scan that was not begun");
    return false;
}

/* As far as the bytes go. */
static int scan_run(struct json *j, struct str text, bool whole)
{
    struct parser s = {.j = j,
                       .k = &j->scan,
                       .p = (const unsigned char *)text.data,
                       .len = (uint32_t)text.len,
                       .at = j->scan.at,
                       .whole = whole};
    assert(text.len >= j->scan.at);
    j->text = text;
    if (text.len >= UINT32_MAX)
        (void)parse_fail(&s, JSON_PROBLEM_SIZE);
    while (j->scan.problem == JSON_PROBLEM_NONE && scan_step(&s))
        s.at = json_scan_usual(j, s.p, s.len, s.at);
    j->scan.at = s.at;
    return json_problem_code((enum json_problem)j->scan.problem);
}

void json_scan_begin(struct json *j)
{
    j->text = STR_NULL;
    j->count = 0;
    j->scan = (struct json_scan){.state = SCAN_BEGIN, .open = JSON_NONE};
}

bool json_scan_begun(const struct json *j)
{
    return j->scan.state != SCAN_IDLE;
}

int json_scan_feed(struct json *j, struct str so_far)
{
    if (j->scan.problem != JSON_PROBLEM_NONE)
        return json_problem_code((enum json_problem)j->scan.problem);
    return scan_run(j, so_far, false);
}

/* Value after value: one that is open names the root as the one around it. */
uint32_t json_scan_member(const struct json *j, struct str key, uint32_t *out_key_end)
{
    *out_key_end = 0;
    if (j->count == 0 || (j->nodes[JSON_ROOT].info & JSON_INFO_KIND) != JSON_OBJECT)
        return JSON_NONE;
    uint32_t at = 1;
    for (unsigned i = 0; i < JSON_SCAN_MEMBERS_MAX && at < j->count; i++) {
        uint32_t value = at + 1;
        bool whole = value < j->count && j->nodes[value].next > value;
        if (json_string_is(j, at, key)) {
            *out_key_end = j->nodes[at].end;
            return whole ? value : JSON_NONE;
        }
        if (!whole)
            break;
        at = j->nodes[value].next;
    }
    return JSON_NONE;
}

size_t json_scan_inside(const struct json *j)
{
    if (j->count == 0 || j->scan.problem != JSON_PROBLEM_NONE)
        return 0;
    return j->scan.state == SCAN_END ? j->nodes[JSON_ROOT].end - 1 : j->scan.at;
}

static bool complete(const struct json *j)
{
    return j->scan.state == SCAN_END && j->scan.problem == JSON_PROBLEM_NONE;
}

int json_scan_end(struct json *j, struct str text, struct json_error *out_error)
{
    if (j->scan.problem == JSON_PROBLEM_NONE)
        (void)scan_run(j, text, true);
    else
        j->text = text;
    if (complete(j)) {
        j->scan.state = SCAN_IDLE;
        return 0;
    }
    int rc = json_problem_code((enum json_problem)j->scan.problem);
    if (out_error != NULL)
        json_report(j, out_error);
    j->count = 0;
    j->text = STR_NULL;
    j->scan.state = SCAN_IDLE;
    return rc;
}

int json_parse(struct json *j, struct str text, struct json_error *out_error)
{
    json_scan_begin(j);
    return json_scan_end(j, text, out_error);
}

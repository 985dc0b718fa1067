/* json_parse.c: the one pass. Open containers are on a stack of fixed size; each turn of the loop
 * reads one value, key or closing bracket. */
#include "common/json/json_internal.h"

#include <assert.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rand.h"

#define PAIRWISE_MEMBERS_MAX 8U /* Up to here, comparing all pairs is the fastest. */

struct parser {
    struct json *j;
    const unsigned char *p;
    uint32_t len;
    uint32_t at;
    uint32_t depth;
    enum json_problem problem;
    uint32_t repeated_key; /* The node, when that is the problem. */
    uint32_t open[JSON_DEPTH_MAX];
};

static bool parse_fail(struct parser *s, enum json_problem problem)
{
    s->problem = problem;
    return false;
}

static bool parse_unexpected(struct parser *s)
{
    return parse_fail(s, s->at < s->len ? JSON_PROBLEM_SYNTAX : JSON_PROBLEM_EARLY_END);
}

/* Grows by a quarter: the smallest element takes two bytes ("1,") and a node sixteen, so that the
 * memory stays within ten times the text. */
static bool nodes_reserve(struct parser *s, uint64_t need)
{
    struct json *j = s->j;
    if (need <= j->capacity)
        return true;
    uint64_t capacity = (uint64_t)j->capacity + j->capacity / 4 + 64;
    if (j->capacity == 0 && capacity < s->len / 32U)
        capacity = s->len / 32U; /* What a chat request needs, in one go. */
    if (j->capacity == 0 && capacity > j->max_nodes)
        capacity = j->max_nodes;
    if (capacity < need)
        capacity = need;
    struct json_node *grown = mem_realloc(j->nodes, capacity * sizeof *grown);
    if (grown == NULL)
        return parse_fail(s, JSON_PROBLEM_MEMORY);
    j->nodes = grown;
    j->capacity = (uint32_t)capacity;
    return true;
}

static bool node_push(struct parser *s, enum json_kind kind, uint32_t start)
{
    struct json *j = s->j;
    if (j->count >= j->max_nodes)
        return parse_fail(s, JSON_PROBLEM_NODES);
    if (j->count >= j->capacity && !nodes_reserve(s, (uint64_t)j->count + 1))
        return false;
    j->nodes[j->count] =
        (struct json_node){.start = start, .end = s->at, .next = j->count + 1, .info = kind};
    j->count++;
    return true;
}

static void skip_space(struct parser *s)
{
    while (s->at < s->len && (s->p[s->at] == ' ' || s->p[s->at] == '\n' || s->p[s->at] == '\r' ||
                              s->p[s->at] == '\t'))
        s->at++;
}

/* The byte after white space, or -1 at the end. */
static int peek_token(struct parser *s)
{
    skip_space(s);
    return s->at < s->len ? s->p[s->at] : -1;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static int peek(const struct parser *s)
{
    return s->at < s->len ? s->p[s->at] : -1;
}

static bool parse_digits(struct parser *s)
{
    if (!is_digit(peek(s)))
        return parse_fail(s, s->at < s->len ? JSON_PROBLEM_NUMBER : JSON_PROBLEM_EARLY_END);
    while (is_digit(peek(s)))
        s->at++;
    return true;
}

static bool parse_number(struct parser *s)
{
    uint32_t start = s->at;
    uint32_t integer = JSON_INFO_INTEGER;
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
        integer = 0;
        s->at++;
        if (!parse_digits(s))
            return false;
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        integer = 0;
        s->at++;
        if (peek(s) == '+' || peek(s) == '-')
            s->at++;
        if (!parse_digits(s))
            return false;
    }
    if (!node_push(s, JSON_NUMBER, start))
        return false;
    s->j->nodes[s->j->count - 1].info |= integer;
    return true;
}

/* Four hex digits at `at`; -1 if they are not. */
static int32_t read_hex4(const struct parser *s, uint32_t at)
{
    int32_t value = 0;
    if (s->len - at < 4)
        return -1;
    for (uint32_t i = 0; i < 4; i++) {
        int c = s->p[at + i];
        int lower = c | 0x20;
        if (is_digit(c))
            value = value * 16 + (c - '0');
        else if (lower >= 'a' && lower <= 'f')
            value = value * 16 + (lower - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* On an error `at` stays on the backslash. */
static bool parse_escape(struct parser *s)
{
    uint32_t left = s->len - s->at;
    int c = left > 1 ? s->p[s->at + 1] : -1;
    if (c == '"' || c == '\\' || c == '/' || c == 'b' || c == 'f' || c == 'n' || c == 'r' ||
        c == 't') {
        s->at += 2;
        return true;
    }
    if (c >= 0 && c != 'u')
        return parse_fail(s, JSON_PROBLEM_ESCAPE);
    if (left < 6) /* Cut off, or closed by a quote mark too early. */
        return parse_fail(s, memchr(s->p + s->at, '"', left) == NULL ? JSON_PROBLEM_EARLY_END
                                                                     : JSON_PROBLEM_ESCAPE);
    int32_t unit = read_hex4(s, s->at + 2);
    if (unit < 0)
        return parse_fail(s, JSON_PROBLEM_ESCAPE);
    if (unit < 0xD800 || unit > 0xDFFF) {
        s->at += 6;
        return true;
    }
    int32_t low = -1;
    if (unit <= 0xDBFF && left >= 12 && s->p[s->at + 6] == '\\' && s->p[s->at + 7] == 'u')
        low = read_hex4(s, s->at + 8);
    if (low < 0xDC00 || low > 0xDFFF)
        return parse_fail(s, JSON_PROBLEM_SURROGATE);
    s->at += 12;
    return true;
}

static bool parse_string(struct parser *s)
{
    uint32_t start = s->at++;
    uint32_t escaped = 0;
    for (;;) {
        s->at += (uint32_t)json_plain_length(s->p + s->at, s->len - s->at);
        if (s->at == s->len)
            return parse_fail(s, JSON_PROBLEM_EARLY_END);
        unsigned c = s->p[s->at];
        if (c == '"')
            break;
        if (c == '\\') {
            escaped = JSON_INFO_ESCAPED;
            if (!parse_escape(s))
                return false;
        } else if (c < 0x20) {
            return parse_fail(s, JSON_PROBLEM_CONTROL);
        } else {
            /* Runs of non-ASCII text stay in here. */
            do {
                size_t n = str_utf8_length(s->j->text, s->at);
                if (n == 0)
                    return parse_fail(s, JSON_PROBLEM_UTF8);
                s->at += (uint32_t)n;
            } while (s->at < s->len && s->p[s->at] >= 0x80);
        }
    }
    s->at++;
    if (!node_push(s, JSON_STRING, start))
        return false;
    s->j->nodes[s->j->count - 1].info |= escaped;
    return true;
}

static bool parse_literal(struct parser *s, const char *word, enum json_kind kind)
{
    uint32_t start = s->at;
    for (; *word != '\0'; word++, s->at++) {
        if (peek(s) != *word)
            return parse_unexpected(s);
    }
    return node_push(s, kind, start);
}

static bool parse_open(struct parser *s, enum json_kind kind)
{
    if (s->depth == JSON_DEPTH_MAX)
        return parse_fail(s, JSON_PROBLEM_DEPTH);
    uint32_t start = s->at++;
    if (!node_push(s, kind, start))
        return false;
    s->open[s->depth++] = s->j->count - 1;
    return true;
}

static bool repeated(struct parser *s, uint32_t key)
{
    s->repeated_key = key;
    return parse_fail(s, JSON_PROBLEM_REPEATED_KEY);
}

static bool keys_differ_pairwise(struct parser *s, uint32_t object, uint32_t count)
{
    const struct json *j = s->j;
    uint32_t keys[PAIRWISE_MEMBERS_MAX];
    uint32_t key = object + 1;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (json_strings_equal(j, keys[k], key))
                return repeated(s, key);
        }
        keys[i] = key;
        key = j->nodes[key + 1].next;
    }
    return true;
}

/* Hash table of key nodes, in the room behind the last node. Node 0 is never a key: 0 is empty. */
static bool keys_differ_hashed(struct parser *s, uint32_t object, uint32_t count)
{
    struct json *j = s->j;
    struct siphash_key hash_key = {.k0 = rand_u64(), .k1 = rand_u64()};
    uint32_t slots = 16;
    while (slots < count + count / 2)
        slots *= 2;
    uint32_t extra = slots / (uint32_t)(sizeof(struct json_node) / sizeof(uint32_t));
    if (!nodes_reserve(s, (uint64_t)j->count + extra))
        return false;
    uint32_t *table = (uint32_t *)(void *)(j->nodes + j->count);
    memset(table, 0, slots * sizeof *table);
    uint32_t key = object + 1;
    for (uint32_t i = 0; i < count; i++, key = j->nodes[key + 1].next) {
        uint32_t slot = (uint32_t)json_string_hash(j, key, hash_key) & (slots - 1);
        for (; table[slot] != 0; slot = (slot + 1) & (slots - 1)) {
            if (json_strings_equal(j, table[slot], key))
                return repeated(s, key);
        }
        table[slot] = key;
    }
    return true;
}

static bool parse_close(struct parser *s)
{
    uint32_t container = s->open[--s->depth];
    struct json_node *n = &s->j->nodes[container];
    n->end = ++s->at;
    n->next = s->j->count;
    uint32_t count = n->info >> JSON_INFO_COUNT_SHIFT;
    bool object = (n->info & JSON_INFO_KIND) == JSON_OBJECT;
    if (!object || count < 2)
        return true;
    return count <= PAIRWISE_MEMBERS_MAX ? keys_differ_pairwise(s, container, count)
                                         : keys_differ_hashed(s, container, count);
}

static bool parse_value(struct parser *s)
{
    int c = peek_token(s);
    if (c == '"')
        return parse_string(s);
    if (c == '{')
        return parse_open(s, JSON_OBJECT);
    if (c == '[')
        return parse_open(s, JSON_ARRAY);
    if (c == '-' || is_digit(c))
        return parse_number(s);
    if (c == 't')
        return parse_literal(s, "true", JSON_TRUE);
    if (c == 'f')
        return parse_literal(s, "false", JSON_FALSE);
    if (c == 'n')
        return parse_literal(s, "null", JSON_NULL);
    return parse_unexpected(s);
}

static bool parse_key(struct parser *s)
{
    if (peek_token(s) != '"')
        return parse_unexpected(s);
    if (!parse_string(s))
        return false;
    if (peek_token(s) != ':')
        return parse_unexpected(s);
    s->at++;
    return true;
}

/* One turn inside the innermost container: a comma if due, then a member, an element or its end. */
static bool parse_inside(struct parser *s)
{
    uint32_t container = s->open[s->depth - 1];
    bool object = (s->j->nodes[container].info & JSON_INFO_KIND) == JSON_OBJECT;
    bool first = s->j->nodes[container].info >> JSON_INFO_COUNT_SHIFT == 0;
    int c = peek_token(s);
    if (c == (object ? '}' : ']'))
        return parse_close(s);
    if (!first) {
        if (c != ',')
            return parse_unexpected(s);
        s->at++;
    }
    s->j->nodes[container].info += 1U << JSON_INFO_COUNT_SHIFT;
    if (object && !parse_key(s))
        return false;
    return parse_value(s);
}

static bool parse_text(struct parser *s)
{
    static const unsigned char bom[] = {0xEF, 0xBB, 0xBF};
    if (s->len >= sizeof bom && memcmp(s->p, bom, sizeof bom) == 0)
        return parse_fail(s, JSON_PROBLEM_BOM);
    if (!parse_value(s))
        return false;
    while (s->depth > 0) {
        if (!parse_inside(s))
            return false;
    }
    return peek_token(s) < 0 || parse_fail(s, JSON_PROBLEM_TRAILING);
}

static int problem_code(enum json_problem problem)
{
    switch (problem) {
    case JSON_PROBLEM_NONE:
        return 0;
    case JSON_PROBLEM_EARLY_END:
        return ERR_EOF;
    case JSON_PROBLEM_REPEATED_KEY:
        return ERR_EXISTS;
    case JSON_PROBLEM_DEPTH:
    case JSON_PROBLEM_NODES:
        return ERR_LIMIT;
    case JSON_PROBLEM_SIZE:
        return ERR_TOO_LARGE;
    case JSON_PROBLEM_MEMORY:
        return ERR_NOMEM;
    case JSON_PROBLEM_SYNTAX:
    case JSON_PROBLEM_TRAILING:
    case JSON_PROBLEM_BOM:
    case JSON_PROBLEM_UTF8:
    case JSON_PROBLEM_CONTROL:
    case JSON_PROBLEM_ESCAPE:
    case JSON_PROBLEM_SURROGATE:
    case JSON_PROBLEM_NUMBER:
        return ERR_SYNTAX;
    }
    assert(!"a problem without a code");
    return ERR_INTERNAL;
}

static void parse_report(struct parser *s, struct json_error *out_error)
{
    *out_error = (struct json_error){.problem = s->problem, .offset = s->at};
    if (s->problem != JSON_PROBLEM_REPEATED_KEY)
        return;
    /* Close what is open, so that the way down to the key can be walked. */
    for (uint32_t i = 0; i < s->depth; i++)
        s->j->nodes[s->open[i]].next = s->j->count;
    out_error->offset = s->j->nodes[s->repeated_key].start;
    json_path(s->j, s->repeated_key, out_error->path);
}

int json_parse(struct json *j, struct str text, struct json_error *out_error)
{
    struct parser s;
    s.j = j;
    s.p = (const unsigned char *)text.data;
    s.len = (uint32_t)text.len;
    s.at = 0;
    s.depth = 0;
    s.problem = JSON_PROBLEM_NONE;
    s.repeated_key = 0;
    j->text = text;
    j->count = 0;
    if (text.len >= UINT32_MAX)
        (void)parse_fail(&s, JSON_PROBLEM_SIZE);
    else if (parse_text(&s))
        return 0;
    struct json_error ignored;
    parse_report(&s, out_error != NULL ? out_error : &ignored);
    j->count = 0;
    j->text = STR_NULL;
    return problem_code(s.problem);
}

const char *json_problem_text(enum json_problem problem)
{
    switch (problem) {
    case JSON_PROBLEM_NONE:
        return "no problem";
    case JSON_PROBLEM_SYNTAX:
        return "unexpected character";
    case JSON_PROBLEM_EARLY_END:
        return "unexpected end of the text";
    case JSON_PROBLEM_TRAILING:
        return "bytes after the end of the value";
    case JSON_PROBLEM_BOM:
        return "byte order mark";
    case JSON_PROBLEM_UTF8:
        return "invalid UTF-8";
    case JSON_PROBLEM_CONTROL:
        return "control character in a string";
    case JSON_PROBLEM_ESCAPE:
        return "invalid escape";
    case JSON_PROBLEM_SURROGATE:
        return "lone surrogate";
    case JSON_PROBLEM_NUMBER:
        return "invalid number";
    case JSON_PROBLEM_REPEATED_KEY:
        return "repeated key";
    case JSON_PROBLEM_DEPTH:
        return "nested too deeply";
    case JSON_PROBLEM_NODES:
        return "too many values";
    case JSON_PROBLEM_SIZE:
        return "too large";
    case JSON_PROBLEM_MEMORY:
        return "out of memory";
    }
    return "unknown problem";
}

/* json_usual.c: the tokens that nearly every text is made of, taken with what the scan knows held
 * in registers and without a look at its state for each: strings, numbers, words, brackets,
 * with at most one space between them. Whatever else comes, is wrong, or lies so close to the end
 * that it might be cut, is left as it is: the scan is put where it stands and json_parse.c goes on,
 * byte by byte if need be. So nothing is refused here but a repeated key, by the one check that
 * both have. */
#include "common/json/json_internal.h"

#include <string.h>

#define TOKEN_BYTES  32 /* So many are there, or the token may be cut. */
#define NUMBER_USUAL 24 /* Bytes of a number. */

struct usual {
    struct json *j;
    const unsigned char *p;
    const unsigned char *at;
    const unsigned char *end;
    struct json_node *open; /* The innermost container; of no use at depth 0. */
    struct json_node *node; /* The next one goes here, ... */
    uint32_t count;         /* ... after so many. */
    uint32_t room;          /* Nodes that may be there without a look at the limits. */
    enum json_scan_state state;
};

#define INLINE static inline __attribute__((always_inline))

INLINE void look_again(struct usual *u)
{
    const struct json *j = u->j;
    u->open = j->scan.depth > 0 ? &j->nodes[j->scan.open] : NULL;
    u->node = &j->nodes[j->count];
    u->count = j->count;
    u->room = j->capacity < j->max_nodes ? j->capacity : j->max_nodes;
    u->state = (enum json_scan_state)j->scan.state;
}

INLINE void push(struct usual *u, const unsigned char *from, const unsigned char *to, uint32_t info)
{
    struct json_node *n = u->node++;
    n->start = (uint32_t)(from - u->p);
    n->end = (uint32_t)(to - u->p);
    n->next = ++u->count;
    n->info = info;
    u->at = to;
}

/* Is there room for a token, and so many nodes? Then it begins here. */
INLINE bool token_fits(struct usual *u, uint32_t nodes)
{
    if (u->end - u->at <= TOKEN_BYTES || u->room - u->count < nodes)
        return false;
    u->at += *u->at == ' ';
    return true;
}

/* Bytes that escapes of two bytes take beyond what they stand for. */
INLINE uint32_t saved_by(uint32_t escapes)
{
    return escapes < JSON_SAVED_UNKNOWN ? escapes : JSON_SAVED_UNKNOWN;
}

INLINE uint32_t string_info(uint32_t escapes)
{
    return escapes == 0
               ? JSON_STRING
               : JSON_STRING | JSON_INFO_ESCAPED | saved_by(escapes) << JSON_INFO_COUNT_SHIFT;
}

/* A string from `from` on, with a look at all of it: where it ends, and its node; or the scan is
 * put inside of it, where it has more than escapes of two bytes or is not whole yet. */
static const unsigned char *long_string(struct json_scan *k, const unsigned char *p,
                                        const unsigned char *from, const unsigned char *end,
                                        struct json_node *node, uint32_t next,
                                        enum json_scan_state inside)
{
    uint32_t escapes = 0;
    const unsigned char *to = from + 1;
    to += json_plain_length(to, (size_t)(end - to), &escapes);
    if (to == end || *to != '"') {
        k->start = (uint32_t)(from - p);
        k->saved = saved_by(escapes);
        k->escaped = escapes > 0;
        k->state = (uint8_t)inside;
        return to;
    }
    *node = (struct json_node){.start = (uint32_t)(from - p),
                               .end = (uint32_t)(to + 1 - p),
                               .next = next,
                               .info = string_info(escapes)};
    return to + 1;
}

/* At a quote mark. false: the string goes on where the scan was put. */
INLINE bool take_string(struct usual *u, enum json_scan_state inside)
{
#if defined(__SSE2__)
    const unsigned mask = json_special_16(u->at + 1);
    if (mask != 0) {
        const unsigned char *const to = u->at + 1 + (size_t)__builtin_ctz(mask);
        if (*to == '"') {
            push(u, u->at, to + 1, JSON_STRING);
            return true;
        }
    }
#endif
    struct json_scan *k = &u->j->scan;
    k->state = SCAN_IDLE;
    u->at = long_string(k, u->p, u->at, u->end, u->node, u->count + 1, inside);
    if (k->state == inside) {
        u->state = inside;
        return false;
    }
    u->node++;
    u->count++;
    return true;
}

INLINE const unsigned char *skip_digits(const unsigned char *at, const unsigned char *most)
{
    while (*at - (unsigned)'0' <= 9 && at < most)
        at++;
    return at;
}

/* At a digit or a minus sign. Without an exponent. */
INLINE bool take_number(struct usual *u)
{
    const unsigned char *const from = u->at, *const most = from + NUMBER_USUAL;
    const unsigned char *to = from + (*from == '-');
    uint32_t info = JSON_NUMBER | JSON_INFO_INTEGER;
    if (*to - (unsigned)'0' > 9)
        return false;
    to = *to == '0' ? to + 1 : skip_digits(to, most);
    if (*to == '.') {
        const unsigned char *const fraction = to + 1;
        info = JSON_NUMBER;
        to = skip_digits(fraction, most);
        if (to == fraction)
            return false;
    }
    if (*to != ',' && *to != '}' && *to != ']')
        return false;
    push(u, from, to, info);
    return true;
}

INLINE bool take_word(struct usual *u)
{
    if (memcmp(u->at, "true", 4) == 0)
        push(u, u->at, u->at + 4, JSON_TRUE);
    else if (memcmp(u->at, "false", 5) == 0)
        push(u, u->at, u->at + 5, JSON_FALSE);
    else if (memcmp(u->at, "null", 4) == 0)
        push(u, u->at, u->at + 4, JSON_NULL);
    else
        return false;
    return true;
}

INLINE bool take_open(struct usual *u, enum json_kind kind)
{
    struct json_scan *k = &u->j->scan;
    if (k->depth == JSON_DEPTH_MAX)
        return false;
    const uint32_t around = k->open;
    k->open = u->count;
    k->depth++;
    u->state = kind == JSON_OBJECT ? SCAN_FIRST_MEMBER : SCAN_FIRST_ELEMENT;
    u->open = u->node;
    push(u, u->at, u->at + 1, kind);
    u->open->next = around;
    return true;
}

/* Each of these goes from the state that it is named after to the next; false: the scan stands
 * where json_parse.c is to go on. */
INLINE bool from_value(struct usual *u)
{
    struct json_scan *k = &u->j->scan;
    bool taken = false;
    if (!token_fits(u, 1))
        return false;
    const unsigned c = *u->at;
    if (c == '{' || c == '[')
        return take_open(u, c == '{' ? JSON_OBJECT : JSON_ARRAY);
    if (k->depth == 0)
        return false;
    if (c == '"')
        taken = take_string(u, SCAN_STRING);
    else if (c - '0' <= 9 || c == '-')
        taken = take_number(u);
    else if (c >= 'f')
        taken = take_word(u);
    if (taken)
        u->state = SCAN_AFTER;
    return taken;
}

INLINE bool from_key(struct usual *u)
{
    if (!token_fits(u, 2) || *u->at != '"' || !take_string(u, SCAN_KEY_STRING))
        return false;
    u->state = SCAN_COLON;
    if (u->at == u->end || *u->at != ':')
        return false;
    u->state = SCAN_VALUE;
    u->at++;
    return true;
}

INLINE bool take_close(struct usual *u)
{
    u->j->count = u->count;
    json_scan_close(u->j, (uint32_t)(++u->at - u->p));
    look_again(u);
    return u->j->scan.depth > 0 && u->j->scan.problem == JSON_PROBLEM_NONE;
}

INLINE bool from_first(struct usual *u, unsigned close, enum json_scan_state next)
{
    if (u->at == u->end || *u->at <= ' ')
        return false;
    if (*u->at == close)
        return take_close(u);
    u->open->info += 1U << JSON_INFO_COUNT_SHIFT;
    u->state = next;
    return true;
}

INLINE bool from_after(struct usual *u)
{
    if (u->at == u->end)
        return false;
    const bool object = (u->open->info & JSON_INFO_KIND) == JSON_OBJECT;
    if (*u->at != ',')
        return *u->at == (object ? '}' : ']') && take_close(u);
    u->open->info += 1U << JSON_INFO_COUNT_SHIFT;
    u->state = object ? SCAN_KEY : SCAN_VALUE;
    u->at++;
    return true;
}

/* What usually comes next is next. */
INLINE bool take(struct usual *u)
{
    switch (u->state) {
    case SCAN_FIRST_ELEMENT:
        return from_first(u, ']', SCAN_VALUE);
    case SCAN_FIRST_MEMBER:
        if (!from_first(u, '}', SCAN_KEY))
            return false;
        if (u->state != SCAN_KEY)
            return true;
        __attribute__((fallthrough));
    case SCAN_KEY:
        if (!from_key(u))
            return false;
        __attribute__((fallthrough));
    case SCAN_VALUE:
        return from_value(u);
    case SCAN_AFTER:
        return from_after(u);
    case SCAN_IDLE:
    case SCAN_BEGIN:
    case SCAN_STRING:
    case SCAN_NUMBER:
    case SCAN_KEY_STRING:
    case SCAN_COLON:
    case SCAN_END:
        break;
    }
    return false;
}

uint32_t json_scan_usual(struct json *j, const unsigned char *p, uint32_t len, uint32_t at)
{
    struct usual u = {.j = j, .p = p, .at = p + at, .end = p + len};
    look_again(&u);
    while (take(&u))
        ;
    j->count = u.count;
    j->scan.state = (uint8_t)u.state;
    return (uint32_t)(u.at - p);
}

/* Where text between quote marks stops being usual: plain runs and runs of other characters. */
static const unsigned char *usual_end(const unsigned char *at, const unsigned char *end,
                                      uint32_t *io_escapes)
{
    const unsigned char *from;
    do {
        from = at;
        at += json_plain_length(at, (size_t)(end - at), io_escapes);
        if (at < end)
            at += json_wide_length(at, (size_t)(end - at));
    } while (at < end && at > from);
    return at;
}

bool json_parse_between(struct json *j, struct str text, uint32_t from, uint32_t to)
{
    const unsigned char *const p = (const unsigned char *)text.data;
    uint32_t escapes = 0;
    json_scan_begin(j);
    j->scan.state = SCAN_IDLE;
    if (usual_end(p + from, p + to, &escapes) != p + to || !json_reserve(j, 1))
        return false;
    j->text = text;
    j->count = 1;
    j->nodes[JSON_ROOT] = (struct json_node){
        .start = from - 1, .end = to + 1, .next = 1, .info = string_info(escapes)};
    return true;
}

#include "common/json/json.h"

#include <string.h>

#include "common/base/checked.h"
#include "common/base/mem.h"
#include "common/json/json_internal.h"

#define DIGITS_MAX         18U /* 10^18 fits int64, so no sum of digits can overflow. */
#define PATH_KEY_BYTES_MAX 40U

void json_init(struct json *j, uint32_t max_nodes)
{
    *j = (struct json){.max_nodes = max_nodes};
}

void json_deinit(struct json *j)
{
    mem_free(j->nodes);
    *j = (struct json){.max_nodes = j->max_nodes};
}

void json_reset(struct json *j, uint32_t keep_nodes)
{
    j->text = STR_NULL;
    j->count = 0;
    j->scan = (struct json_scan){0};
    if (j->capacity > keep_nodes)
        json_deinit(j);
}

uint32_t json_get(const struct json *j, uint32_t object, struct str key)
{
    if (json_kind(j, object) != JSON_OBJECT)
        return JSON_NONE;
    const uint32_t end = j->nodes[object].next;
    for (uint32_t at = object + 1; at < end; at = j->nodes[at + 1].next) {
        const struct json_node *n = &j->nodes[at];
        if ((n->info & JSON_INFO_ESCAPED) != 0) {
            if (json_string_is(j, at, key))
                return at + 1;
        } else if (n->end - n->start - 2 == key.len &&
                   memcmp(j->text.data + n->start + 1, key.data, key.len) == 0) {
            return at + 1;
        }
    }
    return JSON_NONE;
}

uint32_t json_at(const struct json *j, uint32_t array, uint32_t index)
{
    uint32_t value = JSON_NONE;
    uint32_t i = 0;
    for (uint32_t at = 0; json_next_element(j, array, &at, &value); i++) {
        if (i == index)
            return value;
    }
    return JSON_NONE;
}

int json_i64(const struct json *j, uint32_t node, int64_t min, int64_t max, int64_t *out_value)
{
    if (json_kind(j, node) != JSON_NUMBER || (j->nodes[node].info & JSON_INFO_INTEGER) == 0)
        return ERR_INVALID;
    struct str text = json_raw(j, node);
    const bool negative = text.data[0] == '-';
    int64_t value = 0;
    if (text.len - negative > DIGITS_MAX)
        return ERR_RANGE;
    for (size_t i = negative; i < text.len; i++) /* The scan saw that they are digits. */
        value = value * 10 + (text.data[i] - '0');
    value = negative ? -value : value;
    if (value < min || value > max)
        return ERR_RANGE;
    *out_value = value;
    return 0;
}

/* A number as digits * 10^exponent. */
struct decimal {
    int64_t digits;
    int64_t exponent;
    bool negative;
};

static int64_t decimal_read_exponent(struct str s)
{
    int64_t value = 0;
    bool negative = s.len > 0 && s.data[0] == '-';
    for (size_t i = negative || s.data[0] == '+' ? 1 : 0; i < s.len; i++) {
        if (value < INT32_MAX) /* Far beyond what the digits of any text can balance. */
            value = value * 10 + (s.data[i] - '0');
    }
    return negative ? -value : value;
}

static int decimal_read(struct str s, struct decimal *out)
{
    struct decimal d = {.negative = s.data[0] == '-'};
    unsigned significant = 0;
    int64_t zeros = 0; /* Held back: at the end of a number they are no digits but exponent. */
    bool fraction = false;
    for (size_t i = d.negative ? 1 : 0; i < s.len; i++) {
        char c = s.data[i];
        if (c == 'e' || c == 'E') {
            d.exponent += decimal_read_exponent(str_slice(s, i + 1, s.len));
            break;
        }
        if (c == '.') {
            fraction = true;
            continue;
        }
        if (fraction)
            d.exponent--;
        if (c == '0') {
            zeros++;
            continue;
        }
        if (significant > 0 && significant + zeros >= (int64_t)DIGITS_MAX)
            return ERR_RANGE;
        if (significant == 0)
            zeros = 0; /* In front they say nothing. */
        for (; zeros > 0; zeros--) {
            d.digits *= 10;
            significant++;
        }
        d.digits = d.digits * 10 + (c - '0');
        significant++;
    }
    d.exponent += zeros;
    *out = d;
    return 0;
}

int json_fixed(const struct json *j, uint32_t node, unsigned scale, int64_t *out_value,
               bool *out_exact)
{
    struct decimal d;
    if (json_kind(j, node) != JSON_NUMBER)
        return ERR_INVALID;
    int rc = decimal_read(json_raw(j, node), &d);
    if (rc != 0)
        return rc;
    int64_t shift = d.exponent + (int64_t)scale;
    int64_t value = d.digits;
    bool exact = true;
    for (; shift > 0 && value != 0; shift--) {
        if (!checked_mul(value, (int64_t)10, &value))
            return ERR_RANGE;
    }
    for (; shift < 0 && value != 0; shift++) {
        exact = exact && value % 10 == 0;
        value /= 10;
    }
    if (!exact && out_exact == NULL)
        return ERR_RANGE;
    if (out_exact != NULL)
        *out_exact = exact;
    *out_value = d.negative ? -value : value;
    return 0;
}

int json_bool(const struct json *j, uint32_t node, bool *out_value)
{
    enum json_kind kind = json_kind(j, node);
    if (kind != JSON_TRUE && kind != JSON_FALSE)
        return ERR_INVALID;
    *out_value = kind == JSON_TRUE;
    return 0;
}

struct path {
    char *out;
    size_t len;
};

static void path_put(struct path *p, char c)
{
    if (p->len + 1 < JSON_PATH_BYTES)
        p->out[p->len++] = c;
}

static void path_put_key(struct path *p, const struct json *j, uint32_t key)
{
    struct json_decoder d = json_decoder_of(j, key);
    unsigned char c = 0;
    if (p->len > 0)
        path_put(p, '.');
    for (unsigned i = 0; i < PATH_KEY_BYTES_MAX && json_decoder_next(&d, &c); i++) {
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '_' || c == '-';
        path_put(p, (char)(plain ? c : '?'));
    }
}

static void path_put_index(struct path *p, uint32_t index)
{
    char digits[10];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + (char)(index % 10));
        index /= 10;
    } while (index > 0);
    path_put(p, '[');
    for (; at < sizeof digits; at++)
        path_put(p, digits[at]);
    path_put(p, ']');
}

/* The child of `container` that is, or holds, `node`; its step goes onto the path. */
static uint32_t path_step(struct path *p, const struct json *j, uint32_t container, uint32_t node)
{
    uint32_t at = 0;
    uint32_t key = JSON_NONE;
    uint32_t value = JSON_NONE;
    uint32_t index = 0;
    while (json_next_member(j, container, &at, &key, &value)) {
        if (node < at) {
            path_put_key(p, j, key);
            return node == key ? key : value;
        }
    }
    for (at = 0; json_next_element(j, container, &at, &value); index++) {
        if (node < at) {
            path_put_index(p, index);
            return value;
        }
    }
    return node;
}

void json_path(const struct json *j, uint32_t node, char out[JSON_PATH_BYTES])
{
    struct path p = {.out = out};
    if (node < j->count) {
        for (uint32_t here = JSON_ROOT; here != node;)
            here = path_step(&p, j, here, node);
    }
    out[p.len] = '\0';
}

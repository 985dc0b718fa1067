/* Arguments of a call that come as values at JSON paths ("$.city", "$.list[0].name"), in the order
 * in which a writer of JSON would come to them. What is between two values (braces, commas, keys)
 * follows from their paths. */
#include <string.h>

#include "dataplane/translate/gemini_internal.h"

struct step {
    struct str key; /* Of a member; NULL data: an element. */
    struct str raw; /* As it stands in the path. */
};
struct steps {
    struct step at[GEMINI_STEPS_MAX];
    uint32_t count;
};

static bool is_element(const struct step *s)
{
    return s->key.data == NULL;
}

/* ['a b']: a name between quotes. */
static bool take_quoted(struct str path, size_t *io_at, struct step *out)
{
    size_t begin = *io_at + 1, at = begin;
    char quote = path.data[*io_at];
    while (at < path.len && path.data[at] != quote)
        at++;
    if (at + 1 >= path.len || path.data[at + 1] != ']')
        return false;
    out->key = str_slice(path, begin, at);
    *io_at = at + 2;
    return true;
}

static bool take_bracket(struct str path, size_t *io_at, struct step *out)
{
    size_t at = *io_at;
    if (at < path.len && (path.data[at] == '\'' || path.data[at] == '"'))
        return take_quoted(path, io_at, out);
    while (at < path.len && path.data[at] >= '0' && path.data[at] <= '9')
        at++;
    if (at == *io_at || at >= path.len || path.data[at] != ']')
        return false;
    out->key = STR_NULL;
    *io_at = at + 1;
    return true;
}

static bool take_name(struct str path, size_t *io_at, struct step *out)
{
    size_t at = *io_at;
    while (at < path.len && path.data[at] != '.' && path.data[at] != '[')
        at++;
    out->key = str_slice(path, *io_at, at);
    *io_at = at;
    return out->key.len > 0;
}

/* The steps borrow from path. */
static int parse(struct str path, struct steps *out)
{
    size_t at = 1;
    out->count = 0;
    if (path.len == 0 || path.data[0] != '$')
        return ERR_PROTOCOL;
    while (at < path.len) {
        const size_t begin = at++;
        struct step *s = &out->at[out->count];
        if (out->count == GEMINI_STEPS_MAX)
            return ERR_TOO_LARGE;
        if (path.data[begin] == '[' ? !take_bracket(path, &at, s)
                                    : path.data[begin] != '.' || !take_name(path, &at, s))
            return ERR_PROTOCOL;
        s->raw = str_slice(path, begin, at);
        out->count++;
    }
    return out->count > 0 && !is_element(&out->at[0]) ? 0 : ERR_PROTOCOL;
}

/* Step i lies in an object or an array of its own: opens it, or goes on in it. */
static int put_step(const struct step *s, bool opens, struct buf *out)
{
    bool element = is_element(s);
    int rc = buf_append_char(out, !opens ? ',' : element ? '[' : '{');
    if (element || rc != 0)
        return rc;
    rc = buf_append_char(out, '"');
    if (rc == 0)
        rc = json_writer_escape(out, s->key);
    return rc == 0 ? buf_append_text(out, "\":") : rc;
}

/* Closes what the steps from `from` on lie in, the innermost first. */
static int close_steps(const struct steps *s, uint32_t from, struct buf *out)
{
    int rc = 0;
    for (uint32_t i = s->count; rc == 0 && i > from; i--)
        rc = buf_append_char(out, is_element(&s->at[i - 1]) ? ']' : '}');
    return rc;
}

static int close_string(struct gemini_args *args, struct buf *out)
{
    int rc = args->in_string ? buf_append_char(out, '"') : 0;
    args->in_string = false;
    return rc;
}

/* From the last value's place to that of the next. */
static int go(struct gemini_args *args, struct str path, struct buf *out)
{
    struct steps from = {.count = 0}, to;
    uint32_t same = 0;
    int rc = parse(path, &to);
    if (rc == 0 && args->begun)
        rc = parse((struct str){args->path, args->path_len}, &from);
    if (rc != 0)
        return rc;
    while (same < from.count && same < to.count && str_eq(from.at[same].raw, to.at[same].raw))
        same++;
    if (args->begun && (same == from.count || same == to.count ||
                        is_element(&from.at[same]) != is_element(&to.at[same])))
        return ERR_PROTOCOL; /* A value that is an object, too, or that comes twice. */
    rc = close_string(args, out);
    if (rc == 0)
        rc = close_steps(&from, same + 1, out);
    for (uint32_t i = same; rc == 0 && i < to.count; i++)
        rc = put_step(&to.at[i], !args->begun || i > same, out);
    memcpy(args->path, path.data, path.len);
    args->path_len = (uint32_t)path.len;
    args->begun = true;
    return rc;
}

static int put_value(struct gemini_args *args, const struct json *j, uint32_t partial,
                     struct buf *out)
{
    uint32_t number = json_get(j, partial, STR("numberValue"));
    uint32_t flag = json_get(j, partial, STR("boolValue"));
    if (json_kind(j, number) == JSON_NUMBER)
        return buf_append_str(out, json_raw(j, number));
    if (flag != JSON_NONE) {
        bool value = false;
        int rc = json_bool(j, flag, &value);
        return rc == 0 ? buf_append_text(out, value ? "true" : "false") : ERR_PROTOCOL;
    }
    if (json_get(j, partial, STR("nullValue")) != JSON_NONE)
        return buf_append_text(out, "null");
    args->in_string = true;
    return buf_append_char(out, '"');
}

int gemini_args_put(struct gemini_args *args, const struct json *j, uint32_t partial,
                    struct buf *out)
{
    char room[GEMINI_PATH_BYTES];
    uint32_t node = json_get(j, partial, STR("jsonPath"));
    uint32_t text = json_get(j, partial, STR("stringValue"));
    bool is_text = json_kind(j, text) == JSON_STRING, goes_on = false;
    struct str path = {room, json_text_head(j, node, sizeof room, room)};
    if (path.len == 0)
        return ERR_PROTOCOL;
    if (json_text_length(j, node) > sizeof room)
        return ERR_TOO_LARGE;
    bool again =
        is_text && args->in_string && str_eq(path, (struct str){args->path, args->path_len});
    int rc = again ? 0 : go(args, path, out);
    if (rc == 0 && !again)
        rc = put_value(args, j, partial, out);
    if (rc != 0 || !args->in_string)
        return rc;
    if (is_text) { /* It is escaped as it must be here. */
        struct str raw = json_raw(j, text);
        rc = buf_append_str(out, str_slice(raw, 1, raw.len - 1));
    }
    if (rc == 0 &&
        (json_bool(j, json_get(j, partial, STR("willContinue")), &goes_on) != 0 || !goes_on))
        rc = close_string(args, out);
    return rc;
}

int gemini_args_end(struct gemini_args *args, struct buf *out)
{
    struct steps open = {.count = 0};
    int rc = args->begun ? parse((struct str){args->path, args->path_len}, &open) : 0;
    if (rc == 0)
        rc = close_string(args, out);
    if (rc == 0)
        rc = close_steps(&open, 0, out);
    args->open = args->begun = false;
    return rc;
}

#include "dataplane/translate/arguments.h"

#include "dataplane/translate/neutral.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct str trim(struct str s)
{
    while (s.len > 0 && is_blank(s.data[0]))
        s = str_slice(s, 1, s.len);
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

bool tr_is_object(struct json *scratch, struct str text)
{
    return json_parse(scratch, text, NULL) == 0 && json_kind(scratch, JSON_ROOT) == JSON_OBJECT;
}

/* {"rawInvalidInput": the value if it is one, else the text} */
static int wrap(struct str text, bool is_value, struct arena *arena, struct str *out)
{
    struct buf b;
    buf_init(&b, text.len * 6 + 64);
    struct json_writer w;
    json_writer_init(&w, &b);
    json_writer_begin_object(&w);
    json_writer_key(&w, "rawInvalidInput");
    if (is_value)
        json_writer_raw(&w, text);
    else
        json_writer_string(&w, text);
    json_writer_end_object(&w);
    int rc = json_writer_finish(&w);
    if (rc == 0) {
        *out = arena_copy(arena, buf_str(&b));
        rc = out->data == NULL ? ERR_TOO_LARGE : 0;
    }
    buf_deinit(&b);
    return rc;
}

int tr_arguments_object(struct json *scratch, struct str arguments, struct arena *arena,
                        struct str *out)
{
    struct str text = trim(arguments);
    if (text.len == 0 || str_is(text, "null") || str_is(text, "{}")) {
        *out = STR("{}");
        return 0;
    }
    int rc = json_parse(scratch, text, NULL);
    if (rc == ERR_NOMEM)
        return rc;
    if (rc == 0 && json_kind(scratch, JSON_ROOT) == JSON_OBJECT) {
        *out = text;
        return 0;
    }
    return wrap(text, rc == 0, arena, out);
}

struct str tr_arguments_text(struct str raw)
{
    struct str text = trim(raw);
    return text.len == 0 || str_is(text, "null") ? STR("{}") : text;
}

void tr_put_raw(struct json_writer *w, const char *key, struct str json)
{
    json_writer_key(w, key);
    json_writer_raw(w, json);
}

void tr_put_text(struct json_writer *w, const char *key, struct str text)
{
    if (text.len == 0)
        return;
    json_writer_key(w, key);
    json_writer_string(w, text);
}

void tr_put_number(struct json_writer *w, const char *key, int64_t value)
{
    if (value == TR_UNSET)
        return;
    json_writer_key(w, key);
    json_writer_fixed(w, value, TR_NUMBER_SCALE);
}

void tr_put_whole(struct json_writer *w, const char *key, int64_t value)
{
    if (value == TR_UNSET)
        return;
    json_writer_key(w, key);
    json_writer_i64(w, value);
}

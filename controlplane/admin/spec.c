#include "controlplane/admin/spec.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"

void dump_free(char *text)
{
    void (*release)(void *);
    void *(*take_bytes)(size_t);
    json_get_alloc_funcs(&take_bytes, &release);
    if (text != NULL)
        release(text);
}

void spec_init(struct spec *s, const json_t *body, struct err *err)
{
    *s = (struct spec){.body = body, .columns = json_object(), .err = err};
    if (s->columns == NULL)
        s->status = err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

void spec_deinit(struct spec *s)
{
    json_decref(s->columns);
    s->columns = NULL;
}

bool spec_has(const struct spec *s, const char *field)
{
    return json_object_get(s->body, field) != NULL;
}

void spec_fail(struct spec *s, const char *format, ...)
{
    char text[ERR_MESSAGE_BYTES];
    va_list args;
    if (s->status != 0)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->status = err_set(s->err, ERR_INVALID, "%s", text);
}

void spec_set(struct spec *s, const char *column, json_t *value)
{
    if (s->status != 0)
        json_decref(value);
    else if (json_object_set_new(s->columns, column, value) != 0)
        s->status = err_set(s->err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

/* The value to look at; NULL: nothing to do. A null is done with here. */
static const json_t *take(struct spec *s, const char *field, const char *column)
{
    const json_t *value = json_object_get(s->body, field);
    if (s->status != 0 || value == NULL)
        return NULL;
    if (!json_is_null(value))
        return value;
    spec_set(s, column, json_null());
    return NULL;
}

void spec_text(struct spec *s, const char *field, const char *column, size_t max_bytes)
{
    const char *text;
    if (take(s, field, column) == NULL)
        return;
    s->status = call_text(s->body, field, true, max_bytes, &text, s->err);
    if (s->status == 0)
        spec_set(s, column, json_string(text));
}

void spec_word(struct spec *s, const char *field, const char *column, const char *const *words)
{
    const json_t *value = take(s, field, column);
    const char *text = json_string_value(value);
    if (value == NULL)
        return;
    size_t i = 0;
    while (text != NULL && words[i] != NULL && strcmp(words[i], text) != 0)
        i++;
    if (text != NULL && words[i] != NULL) {
        spec_set(s, column, json_string(text));
        return;
    }
    char list[160] = "";
    size_t at = 0;
    for (i = 0; words[i] != NULL && at + 1 < sizeof list; i++)
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i > 0 ? ", " : "", words[i]);
    spec_fail(s, "\"%s\" must be one of %s", field, list);
}

void spec_names(struct spec *s, const char *field, const char *column, const char *const *known,
                size_t known_count)
{
    const json_t *list = json_object_get(s->body, field);
    if (s->status != 0 || list == NULL)
        return;
    if (json_is_null(list)) {
        spec_set(s, column, json_array());
        return;
    }
    if (!json_is_array(list) || json_array_size(list) > SPEC_NAMES_MAX) {
        spec_fail(s, "\"%s\" must be a list of at most %d names", field, SPEC_NAMES_MAX);
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *name = json_string_value(item);
        bool good = name != NULL && name[0] != '\0' && json_string_length(item) <= 127 &&
                    strlen(name) == json_string_length(item);
        for (const char *at = name; good && *at != '\0'; at++)
            good = (unsigned char)*at >= 0x20 && *at != 0x7f;
        if (!good) {
            spec_fail(s, "\"%s\" must hold names", field);
            return;
        }
        bool found = known == NULL;
        for (size_t k = 0; k < known_count && !found; k++)
            found = strcmp(known[k], name) == 0;
        if (!found) {
            spec_fail(s, "%s: there is no \"%.100s\"", field, name);
            return;
        }
    }
    spec_set(s, column, json_deep_copy(list));
}

void spec_count(struct spec *s, const char *field, const char *column, uint64_t min, uint64_t max)
{
    const json_t *value = take(s, field, column);
    if (value == NULL)
        return;
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 0 || (uint64_t)n < min || (uint64_t)n > max)
        spec_fail(s, "\"%s\" must be a whole number from %llu to %llu", field,
                  (unsigned long long)min, (unsigned long long)max);
    else
        spec_set(s, column, json_integer(n));
}

void spec_usd(struct spec *s, const char *field, const char *column, int64_t min)
{
    const json_t *value = take(s, field, column);
    int64_t nano = 0;
    if (value == NULL)
        return;
    int rc = ERR_INVALID;
    if (json_is_string(value))
        rc = str_parse_fixed(str_from(json_string_value(value)), 9, &nano);
    else if (json_is_integer(value) && json_integer_value(value) >= 0 &&
             json_integer_value(value) <= INT64_MAX / 1000000000) {
        nano = json_integer_value(value) * 1000000000;
        rc = 0;
    }
    if (rc == 0 && nano < min)
        rc = ERR_RANGE;
    if (rc != 0)
        spec_fail(s,
                  "\"%s\" must be USD as decimal text like \"5.00\", %s, with at most nine "
                  "decimals",
                  field, min > 0 ? "more than 0" : "0 or more");
    else
        spec_set(s, column, json_integer(nano));
}

void spec_bool(struct spec *s, const char *field, const char *column)
{
    const json_t *value = json_object_get(s->body, field);
    if (s->status != 0 || value == NULL)
        return;
    if (!json_is_boolean(value))
        spec_fail(s, "\"%s\" must be true or false", field);
    else
        spec_set(s, column, json_boolean(json_is_true(value)));
}

void spec_time_us(struct spec *s, const char *column, int64_t unix_us)
{
    char text[CLOCK_RFC3339_BYTES];
    clock_format_rfc3339(unix_us, text);
    spec_set(s, column, json_string(text));
}

void spec_time(struct spec *s, const char *field, const char *column, bool future)
{
    const json_t *value = take(s, field, column);
    const char *text = json_string_value(value);
    uint64_t ms;
    int64_t us = 0;
    if (value == NULL)
        return;
    int rc = ERR_INVALID;
    if (text != NULL && str_parse_duration_ms(str_from(text), &ms) == 0) {
        rc = ms < 1000ULL * 86400 * 36500 ? 0 : ERR_RANGE;
        us = rc == 0 ? clock_wall_us() + (int64_t)ms * 1000 : 0;
    } else if (text != NULL) {
        rc = call_time(str_from(text), &us);
    }
    if (rc != 0 || (future && us <= clock_wall_us()))
        spec_fail(s, "\"%s\" must be a time%s like 2027-01-01T00:00:00Z, or an age like 90d", field,
                  future ? " to come" : "");
    else
        spec_time_us(s, column, us);
}

void spec_object(struct spec *s, const char *field, const char *column)
{
    const json_t *value = json_object_get(s->body, field);
    if (s->status != 0 || value == NULL)
        return;
    if (json_is_null(value)) {
        spec_set(s, column, json_string("{}"));
        return;
    }
    char *text = json_is_object(value) ? json_dumps(value, JSON_COMPACT) : NULL;
    if (text == NULL || strlen(text) > 16384)
        spec_fail(s, "\"%s\" must be an object of at most 16 KiB", field);
    else
        spec_set(s, column, json_string(text));
    dump_free(text);
}

int spec_param(struct spec *s, struct pq_params *p)
{
    if (s->status != 0)
        return s->status;
    char *text = json_dumps(s->columns, JSON_COMPACT);
    if (text == NULL)
        return s->status = err_set(s->err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    pq_params_text(p, str_from(text));
    dump_free(text);
    return 0;
}

/* Helpers of the handlers: parameters, body fields, small writers. */
#include "controlplane/admin/call.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/options.h"
#include "common/crypto/digest.h"

bool call_query(const struct admin_call *call, const char *name, char *out, size_t out_bytes,
                int *io_rc)
{
    struct str raw = httpd_query_get(call->req, str_from(name));
    size_t at = 0;
    if (raw.data == NULL)
        return false;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.data[i] == '+' ? ' ' : raw.data[i];
        if (raw.data[i] == '%') {
            int high = i + 2 < raw.len ? str_hex_value(raw.data[i + 1]) : -1;
            int low = i + 2 < raw.len ? str_hex_value(raw.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                *io_rc = ERR_INVALID;
                return false;
            }
            c = (char)(uint8_t)(high << 4 | low);
            i += 2;
        }
        if (at + 1 >= out_bytes || c == '\0') {
            *io_rc = ERR_INVALID;
            return false;
        }
        out[at++] = c;
    }
    out[at] = '\0';
    if (!str_valid_utf8(str_from(out)))
        *io_rc = ERR_INVALID;
    return *io_rc == 0;
}

int call_limit(const struct admin_call *call, int64_t *out_limit, struct err *err)
{
    char text[32];
    uint64_t limit = 50;
    int rc = 0;
    bool given = call_query(call, "limit", text, sizeof text, &rc);
    if (rc != 0 ||
        (given && (str_parse_u64(str_from(text), CALL_LIMIT_MAX, &limit) != 0 || limit == 0)))
        return err_set(err, ERR_INVALID, "limit: must be 1 to %d", CALL_LIMIT_MAX);
    *out_limit = (int64_t)limit;
    return 0;
}

static int digits(struct str s, size_t from, size_t count, int64_t *out)
{
    uint64_t v;
    if (from + count > s.len || str_parse_u64(str_slice(s, from, from + count), 9999, &v) != 0)
        return ERR_INVALID;
    *out = (int64_t)v;
    return 0;
}

int call_time(struct str text, int64_t *out_us)
{
    uint64_t ms;
    int64_t y, m, d, hour = 0, minute = 0, second = 0;
    if (str_parse_duration_ms(text, &ms) == 0 && ms < (uint64_t)INT64_MAX / 1000) {
        *out_us = clock_wall_us() - (int64_t)ms * 1000;
        return 0;
    }
    if (text.len < 10 || digits(text, 0, 4, &y) != 0 || digits(text, 5, 2, &m) != 0 ||
        digits(text, 8, 2, &d) != 0 || text.data[4] != '-' || text.data[7] != '-' || y < 1970 ||
        m < 1 || m > 12 || d < 1 || d > 31)
        return ERR_INVALID;
    if (text.len > 10) {
        if (text.len < 20 || text.data[text.len - 1] != 'Z' ||
            (text.data[10] != 'T' && text.data[10] != ' ') || digits(text, 11, 2, &hour) != 0 ||
            digits(text, 14, 2, &minute) != 0 || digits(text, 17, 2, &second) != 0 || hour > 23 ||
            minute > 59 || second > 60)
            return ERR_INVALID;
    }
    /* Days since 1970-01-01, proleptic Gregorian (Hinnant). */
    int64_t yy = m <= 2 ? y - 1 : y;
    int64_t era = yy / 400, yoe = yy - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t days = era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
    *out_us = ((days * 24 + hour) * 3600 + minute * 60 + second) * 1000000;
    return 0;
}

int call_query_time(const struct admin_call *call, const char *name, bool *out_given,
                    int64_t *out_us, struct err *err)
{
    char text[64];
    int rc = 0;
    *out_given = call_query(call, name, text, sizeof text, &rc);
    if (rc == 0 && *out_given)
        rc = call_time(str_from(text), out_us);
    return rc == 0 ? 0
                   : err_set(err, ERR_INVALID,
                             "%s: write a time like 2026-11-21T00:00:00Z, a day, or an age like 7d",
                             name);
}

int call_query_page(const struct admin_call *call, struct call_page *io_page, struct err *err)
{
    int rc = call_limit(call, &io_page->limit, err);
    if (rc == 0)
        rc = call_query_time(call, "since", &io_page->has_since, &io_page->since_us, err);
    if (rc == 0)
        rc = call_query_time(call, "until", &io_page->has_until, &io_page->until_us, err);
    return rc;
}

void call_params_time(struct pq_params *p, bool given, int64_t us)
{
    if (given)
        pq_params_time_us(p, us);
    else
        pq_params_null(p);
}

void call_page_params(const struct call_page *page, struct pq_params *p)
{
    call_params_time(p, page->has_since, page->since_us);
    call_params_time(p, page->has_until, page->until_us);
}

int call_check_fields(const json_t *object, const char *const *known, struct err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        size_t i = 0;
        while (known[i] != NULL && strcmp(known[i], name) != 0)
            i++;
        if (known[i] != NULL)
            continue;
        const char *near = options_nearest(name, known);
        return err_set(err, ERR_INVALID, "unknown field \"%.64s\"%s%s%s", name,
                       near == NULL ? "" : "; did you mean \"", near == NULL ? "" : near,
                       near == NULL ? "" : "\"?");
    }
    return 0;
}

int call_text(const json_t *object, const char *name, bool required, size_t max_bytes,
              const char **out_text, struct err *err)
{
    const json_t *value = json_object_get(object, name);
    *out_text = NULL;
    if (value == NULL || json_is_null(value))
        return required ? err_set(err, ERR_INVALID, "\"%s\" is missing", name) : 0;
    if (!json_is_string(value) || json_string_length(value) == 0 ||
        json_string_length(value) > max_bytes ||
        strlen(json_string_value(value)) != json_string_length(value))
        return err_set(err, ERR_INVALID, "\"%s\" must be a text of 1 to %zu bytes", name,
                       max_bytes);
    for (const char *c = json_string_value(value); *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return err_set(err, ERR_INVALID, "\"%s\" must be one line", name);
    }
    *out_text = json_string_value(value);
    return 0;
}

struct publish_actor call_actor(const struct admin_call *call)
{
    const json_t *reason = json_object_get(call->body, "reason");
    return (struct publish_actor){.name = str_from(call->caller.name),
                                  .reason = str_from(json_string_value(reason))};
}

void call_write_time(struct json_writer *w, const char *key, const struct pq_result *r, int row,
                     int column)
{
    char text[CLOCK_RFC3339_BYTES];
    json_writer_key(w, key);
    if (pq_result_is_null(r, row, column)) {
        json_writer_null(w);
        return;
    }
    clock_format_rfc3339(pq_result_time_us(r, row, column), text);
    json_writer_text(w, text);
}

void call_write_usd(struct json_writer *w, const char *key, int64_t nanousd)
{
    json_writer_key(w, key);
    json_writer_fixed(w, nanousd, 9);
}

void call_write_column(struct json_writer *w, const char *key, const struct pq_result *r, int row,
                       int column)
{
    json_writer_key(w, key);
    if (pq_result_is_null(r, row, column))
        json_writer_null(w);
    else
        json_writer_string(w, pq_result_text(r, row, column));
}

void call_write_hex(struct json_writer *w, const char *key, const void *data, size_t len)
{
    char hex[2 * SHA256_BYTES + 1];
    json_writer_key(w, key);
    if (len == 0 || len > SHA256_BYTES) {
        json_writer_null(w);
        return;
    }
    hex_encode(data, len, hex);
    json_writer_text(w, hex);
}

const struct publish_resource *call_resource(const struct admin_call *call, struct str key)
{
    for (size_t i = 0; call->set != NULL && i < call->set->count; i++) {
        if (str_eq(call->set->items[i].key, key))
            return &call->set->items[i];
    }
    return NULL;
}

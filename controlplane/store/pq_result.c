/* Parameters, results and errors: translation between libpq and ours, without I/O. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/store/pq_internal.h"

#define PARAMS_BYTES_MAX (64U << 20)
#define US_PER_SECOND    INT64_C(1000000)

/* --- parameters ------------------------------------------------------------------------------ */

void pq_params_deinit(struct pq_params *p)
{
    buf_deinit(&p->bytes);
    *p = (struct pq_params){0};
}

static void params_push(struct pq_params *p, struct str value, bool is_null, bool is_binary)
{
    if (p->status != 0)
        return;
    if (p->count == PQ_PARAMS_MAX) {
        p->status = ERR_LIMIT;
        return;
    }
    if (p->bytes.max == 0)
        buf_init(&p->bytes, PARAMS_BYTES_MAX);
    size_t offset = p->bytes.len;
    if (!is_null) {
        int rc = buf_append(&p->bytes, value.data, value.len);
        if (rc == 0)
            rc = buf_append_char(&p->bytes, '\0');
        if (rc != 0) {
            p->status = rc;
            return;
        }
    }
    p->item[p->count].offset = offset;
    p->item[p->count].len = value.len;
    p->item[p->count].is_null = is_null;
    p->item[p->count].is_binary = is_binary;
    p->count++;
}

void pq_params_text(struct pq_params *p, struct str value)
{
    if (value.data != NULL && str_find(value, '\0') >= 0 && p->status == 0)
        p->status = ERR_INVALID;
    params_push(p, value, value.data == NULL, false);
}

void pq_params_i64(struct pq_params *p, int64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%lld", (long long)value);
    params_push(p, (struct str){.data = text, .len = (size_t)n}, false, false);
}

void pq_params_bytes(struct pq_params *p, struct str value)
{
    params_push(p, value, value.data == NULL, true);
}

void pq_params_bool(struct pq_params *p, bool value)
{
    params_push(p, value ? STR("t") : STR("f"), false, false);
}

void pq_params_null(struct pq_params *p)
{
    params_push(p, STR_NULL, true, false);
}

/* Days since 1970-01-01 of a proleptic Gregorian date, and back (Howard Hinnant, "chrono-compatible
 * low-level date algorithms"). */
static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * ((int64_t)m + (m > 2 ? -3 : 9)) + 2) / 5 + (int64_t)d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

void pq_params_time_us(struct pq_params *p, int64_t unix_us)
{
    int64_t days = unix_us / (86400 * US_PER_SECOND);
    int64_t rest = unix_us % (86400 * US_PER_SECOND);
    if (rest < 0) {
        days--;
        rest += 86400 * US_PER_SECOND;
    }
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int64_t day = doy - (153 * mp + 2) / 5 + 1;
    int64_t month = mp < 10 ? mp + 3 : mp - 9;
    int64_t year = yoe + era * 400 + (month <= 2);
    if (year < 1 || year > 9999) {
        if (p->status == 0)
            p->status = ERR_RANGE;
        return;
    }
    char text[64];
    int64_t seconds = rest / US_PER_SECOND;
    int n = snprintf(text, sizeof text, "%04lld-%02lld-%02lld %02lld:%02lld:%02lld.%06lld+00",
                     (long long)year, (long long)month, (long long)day, (long long)(seconds / 3600),
                     (long long)(seconds / 60 % 60), (long long)(seconds % 60),
                     (long long)(rest % US_PER_SECOND));
    params_push(p, (struct str){.data = text, .len = (size_t)n}, false, false);
}

void pq_params_values(const struct pq_params *p, struct pq_values *out_values)
{
    for (unsigned i = 0; i < p->count; i++) {
        out_values->value[i] = p->item[i].is_null ? NULL : p->bytes.data + p->item[i].offset;
        out_values->length[i] = (int)p->item[i].len;
        out_values->format[i] = p->item[i].is_binary ? 1 : 0;
    }
}

/* --- results --------------------------------------------------------------------------------- */

int pq_result_rows(const struct pq_result *r)
{
    return r == NULL ? 0 : PQntuples(pq_unwrap(r));
}

uint64_t pq_result_affected(const struct pq_result *r)
{
    uint64_t n = 0;
    struct str text =
        r == NULL ? STR_NULL : str_from(PQcmdTuples((PGresult *)(uintptr_t)pq_unwrap(r)));
    if (str_parse_u64(text, UINT64_MAX, &n) != 0)
        return 0;
    return n;
}

bool pq_result_is_null(const struct pq_result *r, int row, int column)
{
    return PQgetisnull(pq_unwrap(r), row, column) != 0;
}

struct str pq_result_text(const struct pq_result *r, int row, int column)
{
    const PGresult *p = pq_unwrap(r);
    return (struct str){.data = PQgetvalue(p, row, column),
                        .len = (size_t)PQgetlength(p, row, column)};
}

int64_t pq_result_i64(const struct pq_result *r, int row, int column)
{
    int64_t value = 0;
    struct str text = pq_result_text(r, row, column);
    /* numeric results of sum(bigint) may carry ".0000" from an average; the whole part counts. */
    struct str whole = text, rest;
    (void)str_cut(text, '.', &whole, &rest);
    if (str_parse_i64(whole, INT64_MIN, INT64_MAX, &value) != 0)
        return 0;
    return value;
}

bool pq_result_bool(const struct pq_result *r, int row, int column)
{
    return str_is(pq_result_text(r, row, column), "t");
}

double pq_result_double(const struct pq_result *r, int row, int column)
{
    return strtod(PQgetvalue(pq_unwrap(r), row, column), NULL);
}

static bool digits_at(struct str s, size_t at, size_t count, int64_t *out_value)
{
    uint64_t value;
    if (at + count > s.len || str_parse_u64(str_slice(s, at, at + count), UINT64_MAX, &value) != 0)
        return false;
    *out_value = (int64_t)value;
    return true;
}

/* "2026-11-21 03:55:00.123456+00": every session runs in UTC. */
int64_t pq_result_time_us(const struct pq_result *r, int row, int column)
{
    struct str s = pq_result_text(r, row, column);
    int64_t year, month, day, hour, minute, second, us = 0;
    if (!digits_at(s, 0, 4, &year) || !digits_at(s, 5, 2, &month) || !digits_at(s, 8, 2, &day) ||
        !digits_at(s, 11, 2, &hour) || !digits_at(s, 14, 2, &minute) ||
        !digits_at(s, 17, 2, &second))
        return 0;
    if (s.len > 20 && s.data[19] == '.') {
        int64_t scale = US_PER_SECOND;
        for (size_t i = 20; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++) {
            scale /= 10;
            us += (s.data[i] - '0') * scale;
        }
    }
    int64_t days = days_from_civil(year, (unsigned)month, (unsigned)day);
    return ((days * 24 + hour) * 3600 + minute * 60 + second) * US_PER_SECOND + us;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* bytea_output = hex: "\x0123". */
int pq_result_bytes(const struct pq_result *r, int row, int column, struct buf *out)
{
    struct str s = pq_result_text(r, row, column);
    if (s.len == 0)
        return 0;
    if (s.len < 2 || s.data[0] != '\\' || s.data[1] != 'x' || s.len % 2 != 0)
        return ERR_CORRUPT;
    size_t count = (s.len - 2) / 2;
    int rc = buf_reserve(out, count);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        int high = nibble(s.data[2 + 2 * i]);
        int low = nibble(s.data[3 + 2 * i]);
        if (high < 0 || low < 0)
            return ERR_CORRUPT;
        out->data[out->len + i] = (char)(uint8_t)(high << 4 | low);
    }
    out->len += count;
    return 0;
}

void pq_result_destroy(struct pq_result *r)
{
    PQclear((PGresult *)(void *)r);
}

/* --- errors ---------------------------------------------------------------------------------- */

void pq_ignore_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

bool pq_result_is_ok(const PGresult *r)
{
    ExecStatusType status = PQresultStatus(r);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ||
           status == PGRES_SINGLE_TUPLE || status == PGRES_EMPTY_QUERY;
}

int pq_error_code(const PGresult *r, bool connection_bad)
{
    struct str state = str_from(r == NULL ? NULL : PQresultErrorField(r, PG_DIAG_SQLSTATE));
    struct str class = str_slice(state, 0, 2);
    if (str_is(state, "57014"))
        return ERR_TIMEOUT;
    /* 57P0x: administrator or crash shutdown, cannot connect now. */
    if (connection_bad || state.len == 0 || str_is(class, "08") || str_starts(state, STR("57P")))
        return ERR_UNAVAILABLE;
    if (str_is(state, "23505"))
        return ERR_EXISTS;
    if (str_is(class, "22") || str_is(class, "23") || str_is(class, "54"))
        return ERR_INVALID;
    if (str_is(class, "40") || str_is(state, "55P03"))
        return ERR_CONFLICT;
    if (str_is(class, "28"))
        return ERR_DENIED;
    return ERR_DATABASE;
}

void pq_error_describe(const PGresult *r, const PGconn *conn, char sqlstate[PQ_SQLSTATE_BYTES],
                       char *message, size_t message_bytes)
{
    const char *state = r == NULL ? NULL : PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *text = r == NULL ? NULL : PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    if (text == NULL)
        text = conn == NULL ? "connection lost" : PQerrorMessage(conn);
    if (!str_copy(str_from(state == NULL ? "" : state), sqlstate, PQ_SQLSTATE_BYTES))
        sqlstate[0] = '\0';
    snprintf(message, message_bytes, "%s", text[0] == '\0' ? "connection lost" : text);
    message[strcspn(message, "\n")] = '\0'; /* The first line says it; hints follow. */
}

/* --- connection options --------------------------------------------------------------------------
 */

static bool is_numeric_address(const char *host)
{
    return strspn(host, "0123456789.") == strlen(host) || strchr(host, ':') != NULL;
}

void pq_options_add(struct pq_options *o, const char *keyword, const char *value)
{
    if (o->count + 1 < sizeof o->keywords / sizeof o->keywords[0]) {
        o->keywords[o->count] = keyword;
        o->values[o->count] = value;
        o->count++;
        o->keywords[o->count] = NULL;
        o->values[o->count] = NULL;
    }
}

int pq_options_init(struct pq_options *o, const char *conninfo, const char *application_name,
                    uint32_t connect_timeout_ms, struct err *err)
{
    *o = (struct pq_options){0};
    char *message = NULL;
    o->parsed = PQconninfoParse(conninfo, &message);
    if (o->parsed == NULL) {
        size_t len = message == NULL ? 0 : strcspn(message, "\n");
        int rc = err_set(err, ERR_INVALID, "database connection string: %.*s", (int)len,
                         message == NULL ? "" : message);
        PQfreemem(message);
        return rc;
    }
    bool has_hostaddr = false;
    const char *host = NULL;
    for (const PQconninfoOption *p = o->parsed; p->keyword != NULL; p++) {
        if (p->val == NULL)
            continue;
        pq_options_add(o, p->keyword, p->val);
        if (strcmp(p->keyword, "host") == 0)
            host = p->val;
        else if (strcmp(p->keyword, "port") == 0)
            o->port = p->val;
        else if (strcmp(p->keyword, "hostaddr") == 0)
            has_hostaddr = true;
    }
    /* Lists of hosts stay with libpq; a single name is resolved off the loop. */
    if (host != NULL && host[0] != '/' && host[0] != '@' && !has_hostaddr &&
        strchr(host, ',') == NULL && !is_numeric_address(host))
        o->host = host;
    if (o->port == NULL)
        o->port = "5432";
    unsigned seconds = (connect_timeout_ms + 999) / 1000;
    snprintf(o->timeout, sizeof o->timeout, "%u", seconds < 2 ? 2 : seconds);
    pq_options_add(o, "connect_timeout", o->timeout);
    pq_options_add(o, "fallback_application_name", application_name);
    pq_options_add(o, "client_encoding", "UTF8");
    return 0;
}

void pq_options_deinit(struct pq_options *o)
{
    PQconninfoFree(o->parsed);
    *o = (struct pq_options){0};
}

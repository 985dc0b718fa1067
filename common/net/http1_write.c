/* Writers: what goes out is checked against what would break the head of a message. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/net/http1.h"
#include "common/net/http1_chars.h"

static char *put(char *at, struct str s)
{
    if (s.len > 0)
        memcpy(at, s.data, s.len);
    return at + s.len;
}

/* Appends the parts as one: all or nothing. */
static int append_parts(struct buf *out, const struct str *parts, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += parts[i].len;
    int rc = buf_reserve(out, total);
    if (rc != 0)
        return rc;
    char *at = out->data + out->len;
    for (size_t i = 0; i < count; i++)
        at = put(at, parts[i]);
    out->len += total;
    return 0;
}

int http1_write_request_line(struct buf *out, struct str method, struct str target)
{
    if (!http1_is_token(method) || target.len == 0)
        return ERR_INVALID;
    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.data[i] <= 0x20 || (unsigned char)target.data[i] >= 0x7f)
            return ERR_INVALID;
    const struct str parts[] = {method, STR(" "), target, STR(" HTTP/1.1\r\n")};
    return append_parts(out, parts, 4);
}

int http1_write_status_line(struct buf *out, unsigned status)
{
    if (status < 100 || status > 599)
        return ERR_INVALID;
    char digits[3] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                      (char)('0' + status % 10)};
    const struct str parts[] = {STR("HTTP/1.1 "),
                                {.data = digits, .len = 3},
                                STR(" "),
                                str_from(http1_status_text(status)),
                                STR("\r\n")};
    return append_parts(out, parts, 5);
}

int http1_write_field(struct buf *out, struct str name, struct str value)
{
    if (!http1_is_token(name) || !http1_is_field_value(value))
        return ERR_INVALID;
    const struct str parts[] = {name, STR(": "), value, STR("\r\n")};
    return append_parts(out, parts, 4);
}

static size_t format_u64(uint64_t value, char *out)
{
    char reversed[20];
    size_t len = 0;
    do {
        reversed[len++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < len; i++)
        out[i] = reversed[len - 1 - i];
    return len;
}

int http1_write_field_u64(struct buf *out, struct str name, uint64_t value)
{
    char digits[20];
    struct str text = {.data = digits, .len = format_u64(value, digits)};
    return http1_write_field(out, name, text);
}

int http1_write_head_end(struct buf *out)
{
    return buf_append(out, "\r\n", 2);
}

size_t http1_chunk_head(size_t piece_bytes, char *out)
{
    static const char hex[] = "0123456789abcdef";
    assert(piece_bytes > 0);
    size_t len = (67U - (unsigned)__builtin_clzll(piece_bytes)) / 4;
    for (size_t i = len; i-- > 0; piece_bytes >>= 4)
        out[i] = hex[piece_bytes & 15];
    out[len] = '\r';
    out[len + 1] = '\n';
    return len + 2;
}

int http1_write_chunk(struct buf *out, struct str piece)
{
    if (piece.len == 0)
        return 0;
    char head[HTTP1_CHUNK_HEAD_BYTES];
    const struct str parts[] = {
        {.data = head, .len = http1_chunk_head(piece.len, head)}, piece, HTTP1_CHUNK_END};
    return append_parts(out, parts, 3);
}

/* Days since 1970-01-01 of a civil date, and back (H. Hinnant, "chrono-compatible low-level date
 * algorithms"); eras of 400 years, years beginning in March. */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2 ? 1 : 0;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned yoe = (unsigned)(year - era * 400);
    unsigned doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + (int64_t)doe - 719468;
}

static void civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned doe = (unsigned)(days - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    *day = doy - (153 * mp + 2) / 5 + 1;
    *month = mp < 10 ? mp + 3 : mp - 9;
    *year = (int64_t)yoe + era * 400 + (*month <= 2 ? 1 : 0);
}

static const char day_names[] = "ThuFriSatSunMonTueWed"; /* 1970-01-01 was a Thursday. */
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

void http1_format_date(int64_t wall_us, char *out)
{
    int64_t seconds = wall_us / 1000000;
    if (seconds < 0)
        seconds = 0;
    if (seconds > 253402300799) /* The year 9999 ends: the format has four digits. */
        seconds = 253402300799;
    int64_t days = seconds / 86400;
    unsigned of_day = (unsigned)(seconds % 86400);
    int64_t year = 0;
    unsigned month = 0;
    unsigned day = 0;
    civil_from_days(days, &year, &month, &day);
    (void)snprintf(out, HTTP1_DATE_BYTES, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
                   day_names + days % 7 * 3, day % 100, month_names + (month - 1) * 3,
                   (unsigned)year % 10000, of_day / 3600 % 24, of_day / 60 % 60, of_day % 60);
}

static bool two_digits(struct str s, size_t at, unsigned max, unsigned *out)
{
    uint64_t value = 0;
    if (str_parse_u64(str_slice(s, at, at + 2), max, &value) != 0)
        return false;
    *out = (unsigned)value;
    return true;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT"; the day's name is not checked. */
static bool parse_date(struct str s, int64_t *out_seconds)
{
    unsigned day = 0;
    unsigned hour = 0;
    unsigned minute = 0;
    unsigned second = 0;
    uint64_t year = 0;
    if (s.len != 29 || memcmp(s.data + 3, ", ", 2) != 0 ||
        !str_eq(str_slice(s, 25, 29), STR(" GMT")))
        return false;
    if (s.data[7] != ' ' || s.data[11] != ' ' || s.data[16] != ' ' || s.data[19] != ':' ||
        s.data[22] != ':')
        return false;
    if (!two_digits(s, 5, 31, &day) || !two_digits(s, 17, 23, &hour) ||
        !two_digits(s, 20, 59, &minute) || !two_digits(s, 23, 60, &second) || day == 0 ||
        str_parse_u64(str_slice(s, 12, 16), 9999, &year) != 0)
        return false;
    for (unsigned month = 1; month <= 12; month++) {
        if (memcmp(month_names + (month - 1) * 3, s.data + 8, 3) == 0) {
            *out_seconds = days_from_civil((int64_t)year, month, day) * 86400 + hour * 3600 +
                           minute * 60 + second;
            return true;
        }
    }
    return false;
}

static bool is_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
    return s.len > 0;
}

int http1_parse_retry_after(struct str value, int64_t wall_us, uint32_t max_s,
                            uint32_t *out_seconds)
{
    struct str text = str_trim(value);
    struct str whole;
    struct str fraction;
    int64_t at = 0;
    bool negative = text.len > 1 && text.data[0] == '-';
    bool has_fraction =
        str_cut(str_slice(text, negative ? 1 : 0, text.len), '.', &whole, &fraction);
    if (is_digits(whole) && (!has_fraction || is_digits(fraction))) {
        uint64_t seconds = 0;
        if (str_parse_u64(whole, max_s, &seconds) != 0)
            seconds = max_s; /* Out of range is the only way to fail here. */
        else if (has_fraction && seconds < max_s)
            seconds++;
        *out_seconds = negative ? 0 : (uint32_t)seconds;
        return 0;
    }
    if (!parse_date(text, &at))
        return ERR_SYNTAX;
    int64_t delay = at - wall_us / 1000000;
    *out_seconds = delay <= 0 ? 0 : delay > (int64_t)max_s ? max_s : (uint32_t)delay;
    return 0;
}

#include "dataplane/credential/aws.h"

#include <string.h>

#include "common/json/json.h"

#define NODES_MAX    256U
#define PART_BYTES   7168U /* Of a session's token; the others are far shorter. */
#define ACCESS_BYTES 128U
#define SECRET_BYTES 256U

static bool is_plain(struct str s, size_t max)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= ' ' || s.data[i] > '~' || s.data[i] == ':')
            return false;
    return s.len <= max;
}

static int print_keys(struct str access, struct str secret, struct str token, struct buf *out)
{
    if (access.len == 0 || secret.len == 0 || !is_plain(access, ACCESS_BYTES) ||
        !is_plain(secret, SECRET_BYTES) || !is_plain(token, PART_BYTES))
        return ERR_INVALID;
    return buf_printf(out, "%.*s:%.*s%s%.*s", STR_ARG(access), STR_ARG(secret),
                      token.len > 0 ? ":" : "", STR_ARG(token));
}

int aws_keys_read(struct str kept, struct sigv4_keys *out)
{
    struct str rest;
    (void)str_cut(kept, ':', &out->access_key, &rest);
    (void)str_cut(rest, ':', &out->secret_key, &out->token);
    return out->access_key.len > 0 && out->secret_key.len > 0 ? 0 : ERR_INVALID;
}

/* The first of two names; without escapes, as such keys are. */
static struct str member(const struct json *j, uint32_t object, struct str name, struct str other)
{
    uint32_t node = json_get(j, object, name);
    if (json_kind(j, node) != JSON_STRING)
        node = json_get(j, object, other);
    return json_plain(j, node);
}

static int normalize_json(struct str given, struct buf *out)
{
    struct json j;
    json_init(&j, NODES_MAX);
    int rc = json_parse(&j, given, NULL);
    if (rc == 0) {
        uint32_t inner = json_get(&j, JSON_ROOT, STR("Credentials"));
        uint32_t object = json_kind(&j, inner) == JSON_OBJECT ? inner : JSON_ROOT;
        rc = print_keys(member(&j, object, STR("AccessKeyId"), STR("aws_access_key_id")),
                        member(&j, object, STR("SecretAccessKey"), STR("aws_secret_access_key")),
                        member(&j, object, STR("SessionToken"), STR("aws_session_token")), out);
    } else if (rc != ERR_NOMEM) {
        rc = ERR_INVALID;
    }
    json_deinit(&j);
    return rc;
}

int aws_keys_normalize(struct str given, struct buf *out)
{
    struct sigv4_keys keys;
    given = str_trim(given);
    if (str_starts(given, STR("{")))
        return normalize_json(given, out);
    int rc = aws_keys_read(given, &keys);
    return rc == 0 ? print_keys(keys.access_key, keys.secret_key, keys.token, out) : rc;
}

/* ---- STS ---- */

static int put_encoded(struct str text, struct buf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < text.len; i++) {
        const unsigned char c = (unsigned char)text.data[i];
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
        const char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
        rc = plain ? buf_append_char(out, (char)c) : buf_append(out, escaped, 3);
    }
    return rc;
}

int aws_print_assume(struct str role_arn, struct str session, struct str token, struct buf *out)
{
    int rc = buf_append_text(out, "Action=AssumeRoleWithWebIdentity&Version=" AWS_STS_VERSION
                                  "&RoleArn=");
    if (rc == 0)
        rc = put_encoded(role_arn, out);
    if (rc == 0)
        rc = buf_append_text(out, "&RoleSessionName=");
    if (rc == 0)
        rc = put_encoded(session, out);
    if (rc == 0)
        rc = buf_append_text(out, "&WebIdentityToken=");
    return rc == 0 ? put_encoded(token, out) : rc;
}

/* What stands between <name> and </name>, the first time: the values that are looked for hold no
 * markup. */
static struct str element(struct str xml, struct str open, struct str close)
{
    ptrdiff_t at = str_search(xml, open);
    if (at < 0)
        return STR_NULL;
    struct str rest = str_slice(xml, (size_t)at + open.len, xml.len);
    ptrdiff_t end = str_search(rest, close);
    return end >= 0 ? str_slice(rest, 0, (size_t)end) : STR_NULL;
}

int aws_read_assumed(struct str body, struct buf *out, int64_t *out_until_s)
{
    struct str credentials = element(body, STR("<Credentials>"), STR("</Credentials>"));
    struct str until = element(credentials, STR("<Expiration>"), STR("</Expiration>"));
    int64_t until_s;
    if (aws_read_time(until, &until_s) != 0)
        return ERR_PROTOCOL;
    int rc = print_keys(element(credentials, STR("<AccessKeyId>"), STR("</AccessKeyId>")),
                        element(credentials, STR("<SecretAccessKey>"), STR("</SecretAccessKey>")),
                        element(credentials, STR("<SessionToken>"), STR("</SessionToken>")), out);
    if (rc == 0)
        *out_until_s = until_s;
    return rc == ERR_INVALID ? ERR_PROTOCOL : rc;
}

struct str aws_read_error_code(struct str body)
{
    struct str code = element(body, STR("<Code>"), STR("</Code>"));
    for (size_t i = 0; i < code.len; i++)
        if (!((code.data[i] >= 'a' && code.data[i] <= 'z') ||
              (code.data[i] >= 'A' && code.data[i] <= 'Z')))
            return STR_NULL;
    return str_slice(code, 0, 64);
}

/* Days since 1970-01-01 of the Gregorian calendar (H. Hinnant, "chrono-compatible low-level date
 * algorithms"). */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

int aws_read_time(struct str text, int64_t *out_s)
{
    static const struct {
        size_t at, len;
        uint64_t min, max;
    } parts[] = {{0, 4, 1970, 9999}, {5, 2, 1, 12},  {8, 2, 1, 31},
                 {11, 2, 0, 23},     {14, 2, 0, 59}, {17, 2, 0, 60}};
    uint64_t v[6];
    if (text.len < 20 || text.data[text.len - 1] != 'Z' || text.data[4] != '-' ||
        text.data[7] != '-' || text.data[10] != 'T' || text.data[13] != ':' ||
        text.data[16] != ':' || (text.len > 20 && text.data[19] != '.'))
        return ERR_INVALID;
    for (size_t i = 0; i < 6; i++) {
        struct str part = str_slice(text, parts[i].at, parts[i].at + parts[i].len);
        if (str_parse_u64(part, parts[i].max, &v[i]) != 0 || v[i] < parts[i].min)
            return ERR_INVALID;
    }
    *out_s = days_of((int64_t)v[0], (int64_t)v[1], (int64_t)v[2]) * 86400 +
             (int64_t)(v[3] * 3600 + v[4] * 60 + v[5]);
    return 0;
}

/* ---- regions ---- */

struct str aws_region_of(struct str host)
{
    static const struct str services[] = {{"bedrock-runtime.", 16}, {"bedrock-runtime-fips.", 21}};
    static const struct str domains[] = {
        {".amazonaws.com", 14}, {".amazonaws.com.cn", 17}, {".api.aws", 8}};
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
        for (size_t k = 0; k < sizeof domains / sizeof domains[0]; k++) {
            if (!str_starts(host, services[i]) || !str_ends(host, domains[k]))
                continue;
            struct str region = str_slice(host, services[i].len, host.len - domains[k].len);
            if (region.len > 0 && str_find(region, '.') < 0)
                return region;
        }
    return STR_NULL;
}

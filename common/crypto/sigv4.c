#include "common/crypto/sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <time.h>

#include "common/base/digits.h"

#define ALGORITHM       "AWS4-HMAC-SHA256"
#define KEY_BYTES_MAX   256U
#define SIGNED_NAME_MAX 64U

/* Where the canonical request goes: into a hash, or a buffer. */
struct sink {
    EVP_MD_CTX *hash;
    struct buf *text;
    int rc;
};

static void put(struct sink *s, const void *data, size_t len)
{
    if (s->rc != 0 || len == 0)
        return;
    if (s->text != NULL)
        s->rc = buf_append(s->text, data, len);
    else if (EVP_DigestUpdate(s->hash, data, len) != 1)
        s->rc = ERR_NOMEM;
}

static void put_str(struct sink *s, struct str text)
{
    put(s, text.data, text.len);
}

static void put_hex(struct sink *s, const struct sha256 *digest)
{
    char hex[SHA256_HEX_BYTES];
    hex_encode(digest->bytes, SHA256_BYTES, hex);
    put(s, hex, SHA256_HEX_BYTES - 1);
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static char upper(char c)
{
    return c >= 'a' && c <= 'f' ? (char)(c - 'a' + 'A') : c;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static void put_escaped(struct sink *s, char c)
{
    static const char digits[] = "0123456789ABCDEF";
    const unsigned char b = (unsigned char)c;
    const char escaped[3] = {'%', digits[b >> 4], digits[b & 15]};
    put(s, escaped, 3);
}

/* ---- the path ---- */

/* Each segment as it is sent is encoded once more: %3A is %253A. */
static void put_segment(struct sink *s, struct str segment)
{
    for (size_t i = 0; i < segment.len; i++) {
        if (is_unreserved(segment.data[i]))
            put(s, &segment.data[i], 1);
        else
            put_escaped(s, segment.data[i]);
    }
}

/* Without empty segments and dots (RFC 3986, 5.2.4); a slash at the end stays. */
static int put_path(struct sink *s, struct str path)
{
    struct str segments[SIGV4_SEGMENTS_MAX], segment, rest = path;
    size_t count = 0;
    bool slash = path.len > 0 && path.data[path.len - 1] == '/';
    while (rest.len > 0) {
        (void)str_cut(rest, '/', &segment, &rest);
        if (segment.len == 0 || str_is(segment, "."))
            continue;
        if (str_is(segment, "..")) {
            count -= count > 0;
            continue;
        }
        if (count == SIGV4_SEGMENTS_MAX)
            return ERR_INVALID;
        segments[count++] = segment;
    }
    for (size_t i = 0; i < count; i++) {
        put(s, "/", 1);
        put_segment(s, segments[i]);
    }
    if (slash || count == 0)
        put(s, "/", 1);
    return 0;
}

/* ---- the query ---- */

struct parameter {
    struct str name, value;
};

/* What is encoded stays so. */
static void put_parameter(struct sink *s, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        const char *c = &text.data[i];
        if (*c == '%' && text.len - i > 2 && is_hex(c[1]) && is_hex(c[2])) {
            const char escaped[3] = {'%', upper(c[1]), upper(c[2])};
            put(s, escaped, 3);
            i += 2;
        } else if (is_unreserved(*c)) {
            put(s, c, 1);
        } else {
            put_escaped(s, *c);
        }
    }
}

/* By name, then by value: as bytes of what is sent, which is the order of what is encoded as long
 * as nothing raw is in it. */
static bool follows(const struct parameter *a, const struct parameter *b)
{
    int order = str_compare(a->name, b->name);
    return order > 0 || (order == 0 && str_compare(a->value, b->value) > 0);
}

static int put_query(struct sink *s, struct str query)
{
    struct parameter list[SIGV4_QUERY_MAX], one;
    struct str pair;
    size_t count = 0;
    while (query.len > 0) {
        (void)str_cut(query, '&', &pair, &query);
        if (pair.len == 0)
            continue;
        if (count == SIGV4_QUERY_MAX)
            return ERR_INVALID;
        (void)str_cut(pair, '=', &one.name, &one.value);
        size_t at = count++;
        for (; at > 0 && follows(&list[at - 1], &one); at--)
            list[at] = list[at - 1];
        list[at] = one;
    }
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            put(s, "&", 1);
        put_parameter(s, list[i].name);
        put(s, "=", 1);
        put_parameter(s, list[i].value);
    }
    return 0;
}

/* ---- the fields ---- */

struct order { /* Indexes of the fields by lower-case name; of one name as they came. */
    size_t at[SIGV4_HEADERS_MAX];
    size_t count;
};

static int compare_names(struct str a, struct str b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return (unsigned char)lower(a.data[i]) < (unsigned char)lower(b.data[i]) ? -1 : 1;
    return a.len < b.len ? -1 : a.len > b.len;
}

static int sort_fields(const struct sigv4_request *r, struct order *out)
{
    out->count = 0;
    if (r->field_count > SIGV4_HEADERS_MAX)
        return ERR_INVALID;
    for (size_t i = 0; i < r->field_count; i++) {
        if (r->fields[i].name.len == 0 || r->fields[i].name.len > SIGNED_NAME_MAX)
            return ERR_INVALID;
        size_t at = out->count++;
        for (; at > 0 && compare_names(r->fields[out->at[at - 1]].name, r->fields[i].name) > 0;
             at--)
            out->at[at] = out->at[at - 1];
        out->at[at] = i;
    }
    return 0;
}

static bool repeats(const struct sigv4_request *r, const struct order *o, size_t i)
{
    return i > 0 && compare_names(r->fields[o->at[i - 1]].name, r->fields[o->at[i]].name) == 0;
}

static void put_name(struct sink *s, struct str name)
{
    char room[SIGNED_NAME_MAX];
    for (size_t i = 0; i < name.len; i++)
        room[i] = lower(name.data[i]);
    put(s, room, name.len);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Trimmed, and blanks in a row are one. */
static void put_value(struct sink *s, struct str value)
{
    bool any = false, blank = false;
    for (size_t i = 0; i < value.len; i++) {
        if (is_blank(value.data[i])) {
            blank = any;
            continue;
        }
        if (blank)
            put(s, " ", 1);
        put(s, &value.data[i], 1);
        blank = false;
        any = true;
    }
}

static void put_fields(struct sink *s, const struct sigv4_request *r, const struct order *o)
{
    for (size_t i = 0; i < o->count; i++) {
        if (repeats(r, o, i)) {
            put(s, ",", 1);
        } else {
            if (i > 0)
                put(s, "\n", 1);
            put_name(s, r->fields[o->at[i]].name);
            put(s, ":", 1);
        }
        put_value(s, r->fields[o->at[i]].value);
    }
    put(s, "\n\n", o->count > 0 ? 2 : 1);
}

static void put_signed(struct sink *s, const struct sigv4_request *r, const struct order *o)
{
    for (size_t i = 0; i < o->count; i++) {
        if (repeats(r, o, i))
            continue;
        if (i > 0)
            put(s, ";", 1);
        put_name(s, r->fields[o->at[i]].name);
    }
}

static int put_request(struct sink *s, const struct sigv4_request *r, const struct order *o)
{
    put_str(s, r->method);
    put(s, "\n", 1);
    int rc = put_path(s, r->path);
    put(s, "\n", 1);
    if (rc == 0)
        rc = put_query(s, r->query);
    put(s, "\n", 1);
    put_fields(s, r, o);
    put_signed(s, r, o);
    put(s, "\n", 1);
    put_hex(s, &r->payload);
    return rc != 0 ? rc : s->rc;
}

int sigv4_print_canonical(const struct sigv4_request *request, struct buf *out)
{
    struct sink s = {.text = out};
    struct order order;
    int rc = sort_fields(request, &order);
    return rc == 0 ? put_request(&s, request, &order) : rc;
}

static int hash_request(const struct sigv4_request *r, const struct order *o, struct sha256 *out)
{
    struct sink s = {.hash = EVP_MD_CTX_new()};
    if (s.hash == NULL || EVP_DigestInit_ex(s.hash, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(s.hash);
        return ERR_NOMEM;
    }
    int rc = put_request(&s, r, o);
    if (rc == 0 && EVP_DigestFinal_ex(s.hash, out->bytes, NULL) != 1)
        rc = ERR_NOMEM;
    EVP_MD_CTX_free(s.hash);
    return rc;
}

/* ---- keys and signature ---- */

static int hmac(const void *key, size_t key_len, struct str text, struct sha256 *out)
{
    unsigned len = SHA256_BYTES;
    struct sha256 made;
    if (HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text.data, text.len,
             made.bytes, &len) == NULL)
        return ERR_NOMEM;
    *out = made;
    return 0;
}

/* Of the day, region and service. */
static int derive(const struct sigv4_keys *keys, struct str day, struct str region,
                  struct str service, struct sha256 *out)
{
    char first[4 + KEY_BYTES_MAX] = "AWS4";
    if (keys->secret_key.len == 0 || keys->secret_key.len > KEY_BYTES_MAX)
        return ERR_INVALID;
    memcpy(first + 4, keys->secret_key.data, keys->secret_key.len);
    int rc = hmac(first, 4 + keys->secret_key.len, day, out);
    if (rc == 0)
        rc = hmac(out->bytes, SHA256_BYTES, region, out);
    if (rc == 0)
        rc = hmac(out->bytes, SHA256_BYTES, service, out);
    if (rc == 0)
        rc = hmac(out->bytes, SHA256_BYTES, STR("aws4_request"), out);
    OPENSSL_cleanse(first, sizeof first);
    return rc;
}

static int print_scope(struct str day, struct str region, struct str service, struct buf *out)
{
    return buf_printf(out, "%.*s/%.*s/%.*s/aws4_request", STR_ARG(day), STR_ARG(region),
                      STR_ARG(service));
}

static int sign(const struct sigv4_request *r, const struct order *o, const struct sigv4_keys *keys,
                struct str region, struct str service, const char *time, struct sha256 *out)
{
    char room[512], hex[SHA256_HEX_BYTES];
    struct buf text = {.data = room, .cap = sizeof room, .max = sizeof room};
    struct str day = {time, 8};
    struct sha256 request, key;
    int rc = hash_request(r, o, &request);
    if (rc != 0)
        return rc;
    hex_encode(request.bytes, SHA256_BYTES, hex);
    rc = buf_printf(&text, ALGORITHM "\n%s\n", time);
    if (rc == 0)
        rc = print_scope(day, region, service, &text);
    if (rc == 0)
        rc = buf_printf(&text, "\n%s", hex);
    if (rc == 0)
        rc = derive(keys, day, region, service, &key);
    if (rc == 0)
        rc = hmac(key.bytes, SHA256_BYTES, buf_str(&text), out);
    OPENSSL_cleanse(&key, sizeof key);
    return rc;
}

int sigv4_sign(const struct sigv4_request *request, const struct sigv4_keys *keys,
               struct str region, struct str service, const char time[SIGV4_TIME_BYTES],
               struct buf *out)
{
    struct sha256 signature;
    struct order order;
    char hex[SHA256_HEX_BYTES];
    const size_t begin = out->len;
    struct sink s = {.text = out};
    int rc = sort_fields(request, &order);
    if (rc == 0)
        rc = sign(request, &order, keys, region, service, time, &signature);
    if (rc == 0)
        rc = buf_printf(out, ALGORITHM " Credential=%.*s/", STR_ARG(keys->access_key));
    if (rc == 0)
        rc = print_scope((struct str){time, 8}, region, service, out);
    if (rc == 0)
        rc = buf_append_text(out, ", SignedHeaders=");
    if (rc != 0)
        goto out;
    put_signed(&s, request, &order);
    hex_encode(signature.bytes, SHA256_BYTES, hex);
    rc = s.rc == 0 ? buf_printf(out, ", Signature=%s", hex) : s.rc;
out:
    if (rc != 0)
        out->len = begin;
    return rc;
}

int sigv4_payload(const struct str *pieces, size_t count, struct sha256 *out)
{
    if (count <= 1) {
        *out = count == 1 ? digest_sha256(pieces[0].data, pieces[0].len) : digest_sha256("", 0);
        return 0;
    }
    struct digest_stream *d = digest_stream_create();
    if (d == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        digest_stream_update(d, pieces[i].data, pieces[i].len);
    *out = digest_stream_final(d);
    return 0;
}

void sigv4_time(int64_t wall_s, char out[SIGV4_TIME_BYTES])
{
    const time_t t = (time_t)wall_s;
    struct tm tm = {0};
    (void)gmtime_r(&t, &tm);
    const uint32_t year = (uint32_t)(tm.tm_year + 1900) % 10000;
    digits_put_two(out, year / 100);
    digits_put_two(out + 2, year % 100);
    digits_put_two(out + 4, (uint32_t)tm.tm_mon + 1);
    digits_put_two(out + 6, (uint32_t)tm.tm_mday);
    out[8] = 'T';
    digits_put_two(out + 9, (uint32_t)tm.tm_hour);
    digits_put_two(out + 11, (uint32_t)tm.tm_min);
    digits_put_two(out + 13, (uint32_t)tm.tm_sec);
    out[15] = 'Z';
    out[16] = '\0';
}

#include "common/crypto/digest.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "common/base/mem.h"

/* The context of EVP is OpenSSL's own allocation; the low-level SHA256_* calls are deprecated. */
struct digest_stream {
    EVP_MD_CTX *context;
};

/* OpenSSL 3 looks an algorithm up by name at each one-shot call, which costs more than hashing a
 * key does: so the algorithm is fetched once, and each thread keeps a context. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t context_key;
static EVP_MD *algorithm;

static void free_context(void *context)
{
    EVP_MD_CTX_free(context);
}

static void fetch_algorithm(void)
{
    algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (algorithm != NULL && pthread_key_create(&context_key, free_context) != 0) {
        EVP_MD_free(algorithm);
        algorithm = NULL;
    }
}

static EVP_MD_CTX *thread_context(void)
{
    (void)pthread_once(&once, fetch_algorithm);
    if (algorithm == NULL)
        return NULL;
    EVP_MD_CTX *context = pthread_getspecific(context_key);
    if (context == NULL && (context = EVP_MD_CTX_new()) != NULL &&
        pthread_setspecific(context_key, context) != 0) {
        EVP_MD_CTX_free(context);
        context = NULL;
    }
    return context;
}

struct sha256 digest_sha256(const void *data, size_t len)
{
    struct sha256 out;
    static const unsigned char none[1];
    const void *bytes = len > 0 ? data : none;
    EVP_MD_CTX *context = thread_context();
    if (context == NULL || EVP_DigestInit_ex2(context, algorithm, NULL) != 1 ||
        EVP_DigestUpdate(context, bytes, len) != 1 ||
        EVP_DigestFinal_ex(context, out.bytes, NULL) != 1)
        (void)SHA256(bytes, len, out.bytes);
    return out;
}

struct digest_stream *digest_stream_create(void)
{
    struct digest_stream *d = mem_zalloc(sizeof *d);
    if (d == NULL)
        return NULL;
    d->context = EVP_MD_CTX_new();
    if (d->context == NULL || EVP_DigestInit_ex(d->context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(d->context);
        mem_free(d);
        return NULL;
    }
    return d;
}

void digest_stream_update(struct digest_stream *d, const void *data, size_t len)
{
    /* Cannot fail: the context is initialised and SHA-256 allocates nothing. */
    int ok = len == 0 || EVP_DigestUpdate(d->context, data, len) == 1;
    assert(ok);
    (void)ok;
}

struct sha256 digest_stream_final(struct digest_stream *d)
{
    struct sha256 out;
    unsigned len = 0;
    int ok = EVP_DigestFinal_ex(d->context, out.bytes, &len);
    assert(ok == 1 && len == SHA256_BYTES);
    (void)ok;
    EVP_MD_CTX_free(d->context);
    mem_free(d);
    return out;
}

bool digest_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

#if defined(__SSE2__)
static inline __m128i hex_digits(__m128i nibbles)
{
    __m128i letter =
        _mm_and_si128(_mm_cmpgt_epi8(nibbles, _mm_set1_epi8(9)), _mm_set1_epi8('a' - '0' - 10));
    return _mm_add_epi8(_mm_add_epi8(nibbles, _mm_set1_epi8('0')), letter);
}
#endif

void hex_encode(const void *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    size_t i = 0;
#if defined(__SSE2__)
    for (; len - i >= 16; i += 16) { /* Request ids and hashes. */
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i high = _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(15));
        __m128i low = _mm_and_si128(v, _mm_set1_epi8(15));
        __m128i *to = (__m128i *)(void *)(out + 2 * i);
        _mm_storeu_si128(to, hex_digits(_mm_unpacklo_epi8(high, low)));
        _mm_storeu_si128(to + 1, hex_digits(_mm_unpackhi_epi8(high, low)));
    }
#endif
    for (; i < len; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * len] = '\0';
}

int hex_decode(struct str hex, void *out, size_t out_bytes)
{
    uint8_t *p = out;
    if (hex.len % 2 != 0 || hex.len / 2 != out_bytes)
        return ERR_INVALID;
    for (size_t i = 0; i < hex.len; i++) {
        if (str_hex_value(hex.data[i]) < 0)
            return ERR_SYNTAX;
    }
    for (size_t i = 0; i < out_bytes; i++)
        p[i] = (uint8_t)(str_hex_value(hex.data[2 * i]) << 4 | str_hex_value(hex.data[2 * i + 1]));
    return 0;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void base64_encode_group(const uint8_t *p, size_t len, char out[4])
{
    uint32_t group = (uint32_t)p[0] << 16;
    if (len > 1)
        group |= (uint32_t)p[1] << 8;
    if (len > 2)
        group |= p[2];
    out[0] = base64_digits[group >> 18];
    out[1] = base64_digits[group >> 12 & 63];
    out[2] = (char)(len > 1 ? base64_digits[group >> 6 & 63] : '=');
    out[3] = (char)(len > 2 ? base64_digits[group & 63] : '=');
}

int base64_encode(struct str data, struct buf *out)
{
    const uint8_t *p = (const uint8_t *)data.data;
    if (data.len > SIZE_MAX / 2)
        return ERR_TOO_LARGE;
    int rc = buf_reserve(out, (data.len + 2) / 3 * 4);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < data.len; i += 3) {
        size_t left = data.len - i;
        base64_encode_group(p + i, left < 3 ? left : 3, out->data + out->len);
        out->len += 4;
    }
    return 0;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

/* Appends the 1 to 3 bytes of a group; the caller reserved the room. */
static int base64_decode_group(const char *text, size_t digits, struct buf *out)
{
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < digits ? base64_value(text[i]) : 0;
        if (value < 0)
            return ERR_SYNTAX;
        group = group << 6 | (uint32_t)value;
    }
    /* Bits that no byte uses must be zero, or one value would have several texts. */
    if ((digits == 2 && (group & 0xFFFF) != 0) || (digits == 3 && (group & 0xFF) != 0))
        return ERR_SYNTAX;
    for (size_t i = 0; i + 1 < digits; i++)
        out->data[out->len++] = (char)(uint8_t)(group >> (16 - 8 * i));
    return 0;
}

int base64_decode(struct str text, struct buf *out)
{
    size_t before = out->len;
    if (text.len % 4 != 0)
        return ERR_SYNTAX;
    int rc = buf_reserve(out, text.len / 4 * 3);
    for (size_t i = 0; i < text.len && rc == 0; i += 4) {
        size_t digits = 4;
        bool last = i + 4 == text.len;
        while (last && digits > 2 && text.data[i + digits - 1] == '=')
            digits--;
        rc = base64_decode_group(text.data + i, digits, out);
    }
    if (rc != 0)
        out->len = before;
    return rc;
}

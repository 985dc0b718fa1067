#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/route/features_internal.h"
#include "common/route/fixed.h"
#include "tests/unit/route/fixture.h"

static struct features_hasher hasher;

static int make_hasher(void **state)
{
    (void)state;
    features_hasher_init(
        &hasher, (struct siphash_key){UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)});
    return 0;
}

static struct features extract(const char *text, size_t len)
{
    struct features f;
    const struct features_input input = {.text = {text, len},
                                         .temperature_q8 = FEATURES_TEMPERATURE_UNSET};
    memset(&f, 0xee, sizeof f);
    features_extract(&hasher, &input, &f);
    return f;
}

static struct features extract_text(const char *text)
{
    return extract(text, strlen(text));
}

static bool contains(const struct features *f, uint64_t hash)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (f->index[i] == hash >> 48)
            return true;
    return false;
}

static uint64_t unigram(const char *token)
{
    uint8_t message[64] = {1};
    size_t len = strlen(token);
    memcpy(message + 1, token, len);
    return siphash_1_3(hasher.key, message, 1 + len);
}

static uint64_t bigram(uint64_t before, uint64_t h)
{
    uint8_t message[17] = {2};
    for (unsigned i = 0; i < 8; i++) {
        message[1 + i] = (uint8_t)(before >> (8 * i));
        message[9 + i] = (uint8_t)(h >> (8 * i));
    }
    return siphash_1_3(hasher.key, message, sizeof message);
}

static void tokens_and_pairs_are_hashed_as_written(void **state)
{
    (void)state;
    struct features f = extract_text("Solve x2,  SOLVE\tit");
    static const char *const tokens[] = {"solve", "x", "2", ",", "solve", "it"};
    for (unsigned i = 0; i < 6; i++) {
        assert_true(contains(&f, unigram(tokens[i])));
        if (i > 0)
            assert_true(contains(&f, bigram(unigram(tokens[i - 1]), unigram(tokens[i]))));
    }
    assert_int_equal(f.n, 5 + 5);
    for (uint32_t i = 1; i < f.n; i++)
        assert_true(f.index[i - 1] < f.index[i]);
}

static void tokens_of_every_length_hash_like_the_plain_function(void **state)
{
    (void)state;
    char text[64];
    for (size_t len = 1; len <= FEATURES_TOKEN_BYTES; len++) {
        memset(text, 'q', len);
        text[len] = '\0';
        struct features f = extract(text, len);
        assert_int_equal(f.n, 1);
        assert_true(contains(&f, unigram(text)));
    }
    memset(text, 'q', 50); /* Cut after 48: two tokens and their pair. */
    struct features f = extract(text, 50);
    assert_int_equal(f.n, 3);
    assert_true(contains(&f, unigram("qq")));
}

static void repetition_adds_nothing(void **state)
{
    (void)state;
    struct features once = extract_text("one two one two");
    struct features often = extract_text("one two one two one two one two one two");
    assert_int_equal(once.n, 4);
    assert_int_equal(often.n, 4);
    assert_memory_equal(once.index, often.index, 8);
}

static void the_window_is_the_first_1024_and_the_last_512_bytes(void **state)
{
    (void)state;
    char text[4000], middle[4000];
    memset(text, ' ', sizeof text);
    memcpy(text, "begin", 5);
    memcpy(text + 2000, "middle", 6);
    memcpy(text + sizeof text - 3, "end", 3);
    memcpy(middle, text, sizeof text);
    memset(middle + 1024, 'z', sizeof text - 1536);
    struct features f = extract(text, sizeof text), g = extract(middle, sizeof middle);
    assert_true(contains(&f, unigram("begin")) && contains(&f, unigram("end")));
    assert_false(contains(&f, unigram("middle")));
    assert_int_equal(f.n, 2); /* No pair spans the gap. */
    assert_memory_equal(f.index, g.index, 4);
    assert_memory_equal(f.dense, g.dense, sizeof f.dense);
    struct features whole = extract(text, 1536);
    assert_true(contains(&whole, unigram("begin")));
}

static void the_window_is_cut_between_characters(void **state)
{
    (void)state;
    char text[2000];
    memset(text, ' ', sizeof text);
    memcpy(text + 1022, "\xe2\x82\xac", 3); /* Bytes 1022-1024: left out. */
    memcpy(text + 1486, "\xe2\x82\xac", 3); /* Bytes 1486-1488; the tail begins at 1488. */
    struct features f = extract(text, sizeof text);
    assert_int_equal(f.n, 0);
    memset(text, 0x80, sizeof text); /* Not UTF-8: the cuts move by three bytes at most. */
    f = extract(text, sizeof text);
    assert_int_equal(f.dense[FEATURES_NON_ASCII], 256);
}

static void at_most_512_distinct_are_kept_in_their_order(void **state)
{
    (void)state;
    char text[1536];
    struct random r = {3};
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(33 + random_below(&r, 90));
    struct features f = extract(text, sizeof text);
    assert_int_equal(f.n, FEATURES_SPARSE_MAX);
    const struct features_input input = {.text = {text, sizeof text},
                                         .system_prompt = STR("be brief"),
                                         .alias = STR("smart"),
                                         .segment = STR("eu"),
                                         .tools = (const struct str[]){STR("search")},
                                         .tool_count = 1};
    features_extract(&hasher, &input, &f);
    assert_int_equal(f.n, FEATURES_SPARSE_MAX); /* The categories come first, so they stay. */
    assert_true(contains(&f, siphash_1_3(hasher.key,
                                         "\x03"
                                         "be brief",
                                         9)));
    assert_true(contains(&f, siphash_1_3(hasher.key,
                                         "\x04"
                                         "search",
                                         7)));
    assert_true(contains(&f, siphash_1_3(hasher.key,
                                         "\x05"
                                         "smart",
                                         6)));
    assert_true(contains(&f, siphash_1_3(hasher.key,
                                         "\x06"
                                         "eu",
                                         3)));
}

static void a_long_system_prompt_counts_by_its_ends_and_length(void **state)
{
    (void)state;
    static char prompt[10000];
    struct features f[4];
    memset(prompt, 'a', sizeof prompt);
    struct features_input input = {.system_prompt = {prompt, 9000}};
    features_extract(&hasher, &input, &f[0]);
    prompt[4000] = 'b'; /* In the middle: not looked at. */
    features_extract(&hasher, &input, &f[1]);
    input.system_prompt.len = 9001;
    features_extract(&hasher, &input, &f[2]);
    input.system_prompt.len = 9000;
    prompt[8999] = 'b';
    features_extract(&hasher, &input, &f[3]);
    assert_int_equal(f[0].n, 1);
    assert_int_equal(f[0].index[0], f[1].index[0]);
    assert_int_not_equal(f[0].index[0], f[2].index[0]);
    assert_int_not_equal(f[0].index[0], f[3].index[0]);
}

static void dense_features_are_the_written_ones(void **state)
{
    (void)state;
    struct features f;
    const struct features_input input = {
        .text = STR("ab cde?\n12{\xc3\xa9}+"), /* 15 bytes */
        .system_prompt = STR("x"),
        .bytes = 1023,
        .t_in = 255,
        .max_tokens = 0,
        .messages = 3,
        .turns = 500,
        .tool_count = 0,
        .images = 2,
        .json_mode = true,
        .temperature_q8 = 179,
        .previous_failed = true,
    };
    features_extract(&hasher, &input, &f);
    assert_int_equal(f.dense[FEATURES_BIAS], 256);
    assert_int_equal(f.dense[FEATURES_LOG_BYTES], 2560);
    assert_int_equal(f.dense[FEATURES_LOG_T_IN], 2048);
    assert_int_equal(f.dense[FEATURES_LOG_MAX_TOKENS], 0);
    assert_int_equal(f.dense[FEATURES_MESSAGES], 768);
    assert_int_equal(f.dense[FEATURES_TURNS], 127 * 256);
    assert_int_equal(f.dense[FEATURES_HAS_SYSTEM], 256);
    assert_int_equal(f.dense[FEATURES_JSON_MODE], 256);
    assert_int_equal(f.dense[FEATURES_IMAGES], 512);
    assert_int_equal(f.dense[FEATURES_CODE], 2 * 256 / 15);
    assert_int_equal(f.dense[FEATURES_DIGIT], 2 * 256 / 15);
    assert_int_equal(f.dense[FEATURES_NEWLINE], 256 / 15);
    assert_int_equal(f.dense[FEATURES_NON_ASCII], 2 * 256 / 15);
    assert_int_equal(f.dense[FEATURES_QUESTION], 256);
    assert_int_equal(f.dense[FEATURES_MATH], 256 / 15);
    assert_int_equal(f.dense[FEATURES_WORD_LEN], 7 * 256 / 3);
    assert_int_equal(f.dense[FEATURES_TEMPERATURE], 179);
    assert_int_equal(f.dense[FEATURES_PREVIOUS_FAILED], 256);
    for (unsigned d = FEATURES_PREVIOUS_FAILED + 1; d < FEATURES_DENSE; d++)
        assert_int_equal(f.dense[d], 0);
    assert_string_equal(features_dense_name(FEATURES_WORD_LEN), "word_len");
    assert_string_equal(features_dense_name(23), "reserved");
    assert_null(features_dense_name(24));
}

static void an_empty_call_has_no_sparse_features(void **state)
{
    (void)state;
    struct features f;
    const struct features_input input = {0};
    features_extract(&hasher, &input, &f);
    assert_int_equal(f.n, 0);
    assert_int_equal(f.dense[FEATURES_WORD_LEN], 0);
}

static void the_recorded_form_comes_back(void **state)
{
    (void)state;
    struct random r = {8};
    for (unsigned i = 0; i < 500; i++) {
        struct features f, g;
        uint8_t bytes[FEATURES_ENCODED_MAX];
        fixture_features(&r, i == 0 ? 0 : i == 1 ? 512 : random_below(&r, 513), &f);
        size_t len = features_encode(&f, bytes);
        assert_true(len <= sizeof bytes);
        struct str s = {(const char *)bytes, len};
        assert_int_equal(features_decode(s, &g), 0);
        assert_int_equal(g.n, f.n);
        assert_memory_equal(g.index, f.index, 2U * f.n);
        for (s.len = 0; s.len < len; s.len++) /* Every shorter prefix is refused. */
            assert_int_equal(features_decode(s, &g), ERR_CORRUPT);
    }
}

static void other_recorded_forms_are_refused(void **state)
{
    (void)state;
    struct features g;
    assert_int_equal(features_decode(STR("\x00"), &g), 0);
    assert_int_equal(features_decode(STR("\x00\x00"), &g), ERR_CORRUPT);         /* rest */
    assert_int_equal(features_decode(STR("\x80\x00"), &g), ERR_CORRUPT);         /* longer form */
    assert_int_equal(features_decode(STR("\x81\x04"), &g), ERR_TOO_LARGE);       /* 513 */
    assert_int_equal(features_decode(STR("\x01\xff\xff\x03"), &g), 0);           /* 65535 */
    assert_int_equal(features_decode(STR("\x01\x80\x80\x04"), &g), ERR_CORRUPT); /* 65536 */
    assert_int_equal(features_decode(STR("\x02\xff\xff\x03\x00"), &g), ERR_CORRUPT);
    assert_int_equal(features_decode(STR("\x01\x80\x80\x80\x00"), &g), ERR_CORRUPT);
}

static void the_packed_form_comes_back(void **state)
{
    (void)state;
    struct random r = {8};
    for (unsigned i = 0; i < 500; i++) {
        struct features f, g;
        uint8_t bytes[FEATURES_PACKED_MAX + 1] = {0};
        fixture_features(&r, i == 0 ? 0 : i == 1 ? 512 : random_below(&r, 513), &f);
        size_t len = features_pack(&f, bytes);
        assert_true(len <= FEATURES_PACKED_MAX);
        struct str s = {(const char *)bytes, len};
        assert_int_equal(features_unpack(s, &g), 0);
        assert_int_equal(g.n, f.n);
        assert_memory_equal(g.index, f.index, 2U * f.n);
        for (s.len = 0; s.len < len; s.len++) /* Every shorter prefix is refused. */
            assert_int_equal(features_unpack(s, &g), ERR_CORRUPT);
        s.len = len + 1;
        assert_int_equal(features_unpack(s, &g), ERR_CORRUPT);
    }
}

/* A bit that is another gives another list or none: what reads back is written the same. */
static void no_list_has_two_packed_forms(void **state)
{
    (void)state;
    struct random r = {9};
    for (unsigned i = 0; i < 200; i++) {
        struct features f, g;
        uint8_t bytes[FEATURES_PACKED_MAX], again[FEATURES_PACKED_MAX];
        fixture_features(&r, random_below(&r, 60), &f);
        size_t len = features_pack(&f, bytes);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
            if (features_unpack((struct str){(const char *)bytes, len}, &g) == 0) {
                assert_int_equal(features_pack(&g, again), len);
                assert_memory_equal(again, bytes, len);
            }
            bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
    }
}

static void other_packed_forms_are_refused(void **state)
{
    (void)state;
    struct features g;
    assert_int_equal(features_unpack(STR("\x00"), &g), 0);
    assert_int_equal(features_unpack(STR(""), &g), ERR_CORRUPT);
    assert_int_equal(features_unpack(STR("\x00\x00"), &g), ERR_CORRUPT);   /* rest */
    assert_int_equal(features_unpack(STR("\x80\x00"), &g), ERR_CORRUPT);   /* longer form */
    assert_int_equal(features_unpack(STR("\x81\x04"), &g), ERR_TOO_LARGE); /* 513 */
    /* 513: lower byte 1, a step of 2. */
    assert_int_equal(features_unpack(STR("\x01\x01\x00\x01"), &g), 0);
    assert_int_equal(g.index[0], 513);
    /* 65535: a far step of 255. */
    assert_int_equal(features_unpack(STR("\x01\xff\x01\x01\xfc"), &g), 0);
    assert_int_equal(g.index[0], 65535);
    assert_int_equal(features_unpack(STR("\x01\xff\x01\x01\xfd"), &g), ERR_CORRUPT); /* 65791 */
    assert_int_equal(features_unpack(STR("\x01\x01\x02\x00"), &g), ERR_CORRUPT);     /* filling */
    assert_int_equal(features_unpack(STR("\x01\x01\x00\x80"), &g), ERR_CORRUPT);
    assert_int_equal(features_unpack(STR("\x02\x05\x05\x00\x00"), &g), ERR_CORRUPT); /* twice */
    assert_int_equal(features_unpack(STR("\x02\x05\x04\x00\x00"), &g), ERR_CORRUPT); /* down */
    assert_int_equal(features_unpack(STR("\x02\x05\x06\x00\x00"), &g), 0);
}

static void any_bytes_at_any_length_give_a_valid_vector(void **state)
{
    (void)state;
    struct random r = {77};
    char text[2200];
    for (unsigned i = 0; i < 3000; i++) {
        size_t len = random_below(&r, sizeof text);
        for (size_t k = 0; k < len; k++)
            text[k] = (char)random_u64(&r);
        struct features f = extract(text, len);
        assert_true(f.n <= FEATURES_SPARSE_MAX);
        for (uint32_t k = 1; k < f.n; k++)
            assert_true(f.index[k - 1] < f.index[k]);
    }
}

/* The specification once more, byte by byte and with the plain hash. */
struct plain_set {
    uint8_t in[65536];
    uint32_t n;
};

static void plain_add(struct plain_set *s, uint64_t hash)
{
    if (s->n == FEATURES_SPARSE_MAX || s->in[hash >> 48] != 0)
        return;
    s->in[hash >> 48] = 1;
    s->n++;
}

static bool plain_is_word(uint8_t b)
{
    return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || b >= 0x80;
}

static void plain_tokens(struct plain_set *s, const uint8_t *text, size_t len)
{
    uint64_t before = 0;
    bool has_before = false;
    for (size_t at = 0; at < len;) {
        char token[FEATURES_TOKEN_BYTES + 1] = {0};
        size_t n = 0;
        if (text[at] == ' ' || (text[at] >= 9 && text[at] <= 13)) {
            at++;
            continue;
        }
        do {
            uint8_t b = text[at++];
            token[n++] = (char)(b >= 'A' && b <= 'Z' ? b + 32 : b);
        } while (at < len && n < FEATURES_TOKEN_BYTES && plain_is_word(text[at - 1]) &&
                 plain_is_word(text[at]));
        uint8_t message[FEATURES_TOKEN_BYTES + 1] = {1};
        memcpy(message + 1, token, n);
        uint64_t h = siphash_1_3(hasher.key, message, 1 + n);
        plain_add(s, h);
        if (has_before)
            plain_add(s, bigram(before, h));
        before = h;
        has_before = true;
    }
}

static void the_fast_extraction_equals_the_plain_one(void **state)
{
    (void)state;
    static const char *const alphabets[] = {"ab ,", "{}()[]<>;:.,+-*/=0123456789",
                                            "etaoin shrdlu ETAOIN\n\t", "a\xc3\xa9\xe2 .",
                                            "xY9 \x01\x7f\x80\xff"};
    static struct plain_set plain;
    struct random r = {2024};
    uint8_t text[1537];
    for (unsigned i = 0; i < 4000; i++) {
        const char *alphabet = alphabets[i % 5];
        size_t len = random_below(&r, i % 3 == 0 ? 1537 : 200);
        for (size_t k = 0; k < len; k++)
            text[k] = i % 11 == 0 ? (uint8_t)random_u64(&r)
                                  : (uint8_t)alphabet[random_below(&r, (uint32_t)strlen(alphabet))];
        struct features f = extract((const char *)text, len);
        memset(&plain, 0, sizeof plain);
        plain_tokens(&plain, text, len);
        assert_int_equal(f.n, plain.n);
        for (uint32_t k = 0; k < f.n; k++)
            assert_int_equal(plain.in[f.index[k]], 1);
    }
}

static void expect_equal(const struct features *a, const struct features *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->index, b->index, a->n * sizeof a->index[0]);
    assert_memory_equal(a->dense, b->dense, sizeof a->dense);
}

static void expect_same_by_all_ways(const uint8_t *text, size_t len)
{
    const struct features_input input = {
        .text = {(const char *)text, len}, .alias = STR("auto"), .segment = STR("7")};
    struct features plain, other;
    features_extract_by(features_way_of(FEATURES_WAY_SCALAR), &hasher, &input, &plain);
    features_extract(&hasher, &input, &other);
    expect_equal(&plain, &other);
    for (int way = FEATURES_WAY_SCALAR + 1; way < FEATURES_WAYS; way++) {
        if (features_way_of((enum features_ways)way) == NULL)
            continue;
        features_extract_by(features_way_of((enum features_ways)way), &hasher, &input, &other);
        expect_equal(&plain, &other);
    }
}

static void every_byte_counts_alike_by_all_ways(void **state)
{
    (void)state;
    uint8_t text[80];
    for (unsigned c = 0; c < 256; c++) {
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (uint8_t)(i % 3 == 0 ? 'A' : i % 5 == 0 ? ' ' : c);
        expect_same_by_all_ways(text, sizeof text);
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (uint8_t)(c + i);
        expect_same_by_all_ways(text, sizeof text - c % 17);
    }
}

/* As often as a piece can hold it, and behind that at every place of a block. */
static void many_of_a_byte_count_alike_by_all_ways(void **state)
{
    (void)state;
    static uint8_t text[FEATURES_PIECE_MAX];
    for (unsigned c = 0; c < 256; c++) {
        memset(text, (int)c, sizeof text);
        expect_same_by_all_ways(text, sizeof text);
        expect_same_by_all_ways(text, sizeof text - 1 - c % 64);
        expect_same_by_all_ways(text, 64 * (c % 24));
    }
}

/* Words, runs of digits and white space, short and long: eight tokens in as many bytes, and eight
 * that are hundreds of bytes apart. */
static void tokens_near_and_far_hash_alike_by_all_ways(void **state)
{
    (void)state;
    static const char kinds[] = "ax\xd0"
                                "79..   ";
    static uint8_t text[FEATURES_PIECE_MAX];
    struct random r = {31};
    for (unsigned round = 0; round < 2000; round++) {
        const size_t len = random_below(&r, sizeof text + 1);
        const uint32_t longest = 1 + round % 17, widest = 1 + round * 7 % 150;
        for (size_t at = 0; at < len;) {
            const char kind = kinds[random_below(&r, sizeof kinds - 1)];
            size_t n = 1 + random_below(&r, kind == ' ' ? widest : longest);
            for (; n > 0 && at < len; n--)
                text[at++] = (uint8_t)((uint8_t)kind + (kind == 'a' ? random_below(&r, 26) : 0));
        }
        expect_same_by_all_ways(text, len);
    }
}

static void words_of_every_length_hash_alike_by_all_ways(void **state)
{
    (void)state;
    static uint8_t text[2500];
    struct random r = {7};
    for (unsigned round = 0; round < 500; round++) {
        unsigned longest = 1 + round % 120;
        size_t len = random_below(&r, sizeof text);
        for (size_t at = 0; at < len;) {
            uint8_t first = (uint8_t) "aZ\xd0"[random_below(&r, 3)];
            for (size_t n = 1 + random_below(&r, longest); n > 0 && at < len; n--)
                text[at++] = (uint8_t)(first + random_below(&r, 20) % (first == 'Z' ? 1 : 20));
            if (at < len)
                text[at++] = (uint8_t) " ,;\n(7"[random_below(&r, 6)];
        }
        expect_same_by_all_ways(text, len);
    }
}

/* From a few symbols, whose pairs never fill the set, to many, which fill it at once. */
static void symbols_fill_the_set_alike_by_all_ways(void **state)
{
    (void)state;
    static uint8_t text[1600];
    struct random r = {11};
    for (unsigned round = 0; round < 600; round++) {
        size_t len = random_below(&r, sizeof text);
        uint32_t kinds = 1 + round % 90, gaps = round % 7;
        for (size_t i = 0; i < len; i++) {
            bool gap = gaps > 0 && random_below(&r, 8 * gaps) == 0;
            text[i] = gap ? (uint8_t) "  \nword"[gaps] : (uint8_t)(33 + random_below(&r, kinds));
        }
        expect_same_by_all_ways(text, len);
    }
}

/* At both ends of a page whose neighbours cannot be read. */
static void nothing_outside_the_text_is_read(void **state)
{
    (void)state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *map = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(mprotect(map + page, page, PROT_READ | PROT_WRITE), 0);
    for (size_t i = 0; i < page; i++)
        map[page + i] = (uint8_t) "word, Wort; \xd1\x81\xd0\xbb."[i % 17];
    for (size_t len = 0; len <= 1700; len += len < 200 ? 1 : 37) {
        expect_same_by_all_ways(map + page, len);
        expect_same_by_all_ways(map + 2 * page - len, len);
    }
    assert_int_equal(munmap(map, 3 * page), 0);
}

/* Also where the cuts fall into a character. */
static void the_ends_of_long_texts_are_as_good_as_the_whole(void **state)
{
    (void)state;
    static char text[6000];
    enum { HEAD = FEATURES_TEXT_HEAD_BYTES, TAIL = FEATURES_TAIL_BYTES };
    enum { HALF = FEATURES_SYSTEM_BYTES_MAX / 2 };
    for (size_t i = 0; i < sizeof text; i += 4)
        memcpy(text + i, i % 20 == 0 ? " \xe2\x82\xac" : i % 28 == 0 ? "a, b" : "word", 4);
    for (size_t len = HEAD + TAIL + 1; len < sizeof text; len += 1 + len / 50) {
        char ends[HEAD + TAIL], system_ends[2 * HALF];
        struct features_input input = {.text = {text, len}, .system_prompt = {text, len}};
        struct features whole, short_text;
        features_extract(&hasher, &input, &whole);
        memcpy(ends, text, HEAD);
        memcpy(ends + HEAD, text + len - TAIL, TAIL);
        input.text = (struct str){ends, sizeof ends};
        if (len > FEATURES_SYSTEM_BYTES_MAX) {
            memcpy(system_ends, text, HALF);
            memcpy(system_ends + HALF, text + len - HALF, HALF);
            input.system_prompt = (struct str){system_ends, sizeof system_ends};
            input.system_bytes = len;
        }
        features_extract(&hasher, &input, &short_text);
        expect_equal(&whole, &short_text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_and_pairs_are_hashed_as_written),
        cmocka_unit_test(tokens_of_every_length_hash_like_the_plain_function),
        cmocka_unit_test(repetition_adds_nothing),
        cmocka_unit_test(the_window_is_the_first_1024_and_the_last_512_bytes),
        cmocka_unit_test(the_window_is_cut_between_characters),
        cmocka_unit_test(at_most_512_distinct_are_kept_in_their_order),
        cmocka_unit_test(a_long_system_prompt_counts_by_its_ends_and_length),
        cmocka_unit_test(dense_features_are_the_written_ones),
        cmocka_unit_test(an_empty_call_has_no_sparse_features),
        cmocka_unit_test(the_recorded_form_comes_back),
        cmocka_unit_test(other_recorded_forms_are_refused),
        cmocka_unit_test(the_packed_form_comes_back),
        cmocka_unit_test(no_list_has_two_packed_forms),
        cmocka_unit_test(other_packed_forms_are_refused),
        cmocka_unit_test(the_fast_extraction_equals_the_plain_one),
        cmocka_unit_test(any_bytes_at_any_length_give_a_valid_vector),
        cmocka_unit_test(every_byte_counts_alike_by_all_ways),
        cmocka_unit_test(many_of_a_byte_count_alike_by_all_ways),
        cmocka_unit_test(tokens_near_and_far_hash_alike_by_all_ways),
        cmocka_unit_test(words_of_every_length_hash_alike_by_all_ways),
        cmocka_unit_test(symbols_fill_the_set_alike_by_all_ways),
        cmocka_unit_test(nothing_outside_the_text_is_read),
        cmocka_unit_test(the_ends_of_long_texts_are_as_good_as_the_whole),
    };
    return cmocka_run_group_tests(tests, make_hasher, NULL);
}

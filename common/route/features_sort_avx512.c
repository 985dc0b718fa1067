/* features_sort_avx512.c: indices ascending and once each, by a sorting network, which has no
 * branch and waits for no memory. The numbers are a matrix of 32 columns. First each column is
 * sorted, then two of them are merged to one sequence of twice the length, then two of those, and
 * so on (the bitonic merge of Batcher, 1968).
 *
 * Each bit of a number's place in its sequence is a bit of the row it stands in or of the column.
 * Whole rows are compared, so what a step compares by has to be a bit of the row: it is exchanged
 * for one that is not needed for longest. Which bits are where is written beside each step of
 * merge_columns(), for 16 rows: those of the row, then those of the column from 16 on. */
#include "common/route/features_internal.h"

#if defined(__x86_64__)
#include "common/route/features_avx512.h"

enum { COLUMNS = 32 };

INLINE void order(__m512i *a, __m512i *b)
{
    const __m512i low = _mm512_min_epu16(*a, *b);
    *b = _mm512_max_epu16(*a, *b);
    *a = low;
}

/* Rows `apart` from each other, of all that are. */
INLINE void order_rows(__m512i *r, unsigned rows, unsigned apart)
{
#pragma GCC unroll 32
    for (unsigned i = 0; i < rows; i++)
        if ((i & apart) == 0)
            order(&r[i], &r[i + apart]);
}

/* Eight rows from r on: 19 exchanges. */
INLINE void sort_eight(__m512i *r)
{
    order_rows(r, 8, 1);
    order_rows(r, 8, 2);
    order(&r[1], &r[2]), order(&r[5], &r[6]), order(&r[0], &r[4]), order(&r[3], &r[7]);
    order(&r[1], &r[5]), order(&r[2], &r[6]), order(&r[1], &r[4]), order(&r[3], &r[6]);
    order(&r[2], &r[4]), order(&r[3], &r[5]), order(&r[3], &r[4]);
}

INLINE void sort_columns(__m512i *r, unsigned rows)
{
    sort_eight(r);
    if (rows == 8)
        return;
    sort_eight(r + 8);
#pragma GCC unroll 8
    for (unsigned i = 0; i < 8; i++)
        order(&r[i], &r[15 - i]);
    order_rows(r, 16, 4);
    order_rows(r, 16, 2);
    order_rows(r, 16, 1);
}

static const uint16_t columns[COLUMNS] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                          11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                          22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

/* Which bit of the column goes to the row, and where the row's goes; of columns that are numbered
 * by bits from 16 to 1. */
enum exchange {
    HALVES,      /* 16 <-> row */
    EVEN_EIGHTS, /* 8 -> row -> 16 -> 8 */
    FOURS,       /* 4 <-> row */
    EVEN_PAIRS,  /* 2 -> row -> 4 -> 2 */
    PAIRS,       /* 4 -> row -> 2 -> 4 */
    WORDS,       /* 4 -> row -> 1 -> 2 -> 4 */
};

INLINE __m512i pick_pairs(__m512i a, __m512i b, bool odd)
{
    const __m512 x = _mm512_castsi512_ps(a), y = _mm512_castsi512_ps(b);
    return _mm512_castps_si512(odd ? _mm512_shuffle_ps(x, y, 0xDD) : _mm512_shuffle_ps(x, y, 0x88));
}

INLINE __m512i pick(enum exchange how, __m512i a, __m512i b, bool second)
{
    switch (how) {
    case HALVES:
        return second ? _mm512_shuffle_i64x2(a, b, 0xEE) : _mm512_shuffle_i64x2(a, b, 0x44);
    case EVEN_EIGHTS:
        return second ? _mm512_shuffle_i64x2(a, b, 0xDD) : _mm512_shuffle_i64x2(a, b, 0x88);
    case FOURS:
        return second ? _mm512_unpackhi_epi64(a, b) : _mm512_unpacklo_epi64(a, b);
    case EVEN_PAIRS:
        return pick_pairs(a, b, second);
    case PAIRS:
        return second ? _mm512_unpackhi_epi32(a, b) : _mm512_unpacklo_epi32(a, b);
    case WORDS:
        return second ? _mm512_unpackhi_epi16(a, b) : _mm512_unpacklo_epi16(a, b);
    }
    return a;
}

INLINE void exchange(__m512i *r, unsigned rows, enum exchange how, unsigned apart)
{
#pragma GCC unroll 16
    for (unsigned i = 0; i < rows; i++)
        if ((i & apart) == 0) {
            const __m512i a = r[i], b = r[i + apart];
            r[i] = pick(how, a, b, false);
            r[i + apart] = pick(how, a, b, true);
        }
}

INLINE void step(__m512i *r, unsigned rows, enum exchange how, unsigned apart)
{
    exchange(r, rows, how, apart);
    order_rows(r, rows, apart);
}

/* Turns the second of two sequences around, the one in rows with `top`: those below it are all bits
 * of a row, and the given ones of a column. */
INLINE void turn(__m512i *r, unsigned rows, unsigned top, unsigned below)
{
    const __m512i turned = _mm512_xor_si512(load(columns), _mm512_set1_epi16((short)below));
    __m512i from[16];
#pragma GCC unroll 16
    for (unsigned i = 0; i < rows; i++)
        from[i] = r[i];
#pragma GCC unroll 16
    for (unsigned i = 0; i < rows; i++)
        if ((i & top) != 0)
            r[i] = _mm512_permutexvar_epi16(turned, from[i ^ (rows - 1) ^ top]);
}

/* By the bits of a row, from `top` on, each lower than the one before it. */
INLINE void order_all(__m512i *r, unsigned rows, unsigned top)
{
#pragma GCC unroll 4
    for (unsigned bits = rows, apart = top; bits > 1; bits /= 2) {
        order_rows(r, rows, apart);
        apart = apart > 1 ? apart / 2 : rows / 2;
    }
}

INLINE void merge(__m512i *r, unsigned rows, enum exchange how, unsigned top, unsigned below)
{
    exchange(r, rows, how, top);
    turn(r, rows, top, below);
    order_all(r, rows, top);
}

/* To columns in the order of their numbers, where `from` is where the bits are. */
INLINE void order_columns(__m512i *r, unsigned rows, const uint16_t *from)
{
    const __m512i column = load(from);
#pragma GCC unroll 16
    for (unsigned i = 0; i < rows; i++)
        r[i] = _mm512_permutexvar_epi16(column, r[i]);
}

#define BIT(c, n)   ((c) >> (n)&1)
#define MERGED(c)   (BIT(c, 0) << 4 | BIT(c, 4) << 3 | BIT(c, 1) << 2 | BIT(c, 2) << 1 | BIT(c, 3))
#define HALVED(c)   (BIT(c, 0) << 4 | BIT(c, 4) << 3 | BIT(c, 1) << 2 | BIT(c, 3) << 1 | BIT(c, 2))
#define FOUR(f, c)  f(c), f((c) + 1), f((c) + 2), f((c) + 3)
#define EIGHT(f, c) FOUR(f, c), FOUR(f, (c) + 4)
#define ALL(f)      EIGHT(f, 0), EIGHT(f, 8), EIGHT(f, 16), EIGHT(f, 24)
static const uint16_t merged[COLUMNS] = {ALL(MERGED)}, halved[COLUMNS] = {ALL(HALVED)};

/* The bit of a row that is the highest when so many merges were made. */
INLINE unsigned top_of(unsigned rows, unsigned merges)
{
    const unsigned bits = rows == 8 ? 3 : 4;
    return 1U << (merges % bits);
}

/* Sorted columns to rows that follow each other, see row_at(). In the beginning 3210|45678. */
INLINE void merge_columns(__m512i *r, unsigned rows)
{
    const unsigned first = top_of(rows, 0), second = top_of(rows, 1), third = top_of(rows, 2),
                   fourth = top_of(rows, 3), fifth = top_of(rows, 4), last = top_of(rows, 5);
    merge(r, rows, HALVES, first, 16);       /* 4321|05678 */
    step(r, rows, HALVES, second);           /* 4320|15678 */
    merge(r, rows, EVEN_EIGHTS, second, 24); /* 5432|01678 */
    step(r, rows, EVEN_EIGHTS, third);       /* 5431|20678 */
    step(r, rows, EVEN_EIGHTS, third);       /* 5430|12678 */
    merge(r, rows, FOURS, third, 28);        /* 6543|12078 */
    step(r, rows, EVEN_EIGHTS, fourth);      /* 6542|31078 */
    step(r, rows, EVEN_EIGHTS, fourth);      /* 6541|23078 */
    step(r, rows, PAIRS, fourth);            /* 6540|23718 */
    merge(r, rows, PAIRS, fourth, 30);       /* 7654|23108 */
    step(r, rows, EVEN_EIGHTS, fifth);       /* 7653|42108 */
    step(r, rows, EVEN_EIGHTS, fifth);       /* 7652|34108 */
    step(r, rows, WORDS, fifth);             /* 7651|34082 */
    step(r, rows, WORDS, fifth);             /* 7650|34821 */
    merge(r, rows, PAIRS, fifth, 31);        /* 8765|34201 */
    step(r, rows, EVEN_EIGHTS, last);        /* 8764|53201 */
    step(r, rows, EVEN_EIGHTS, last);        /* 8763|45201 */
    step(r, rows, WORDS, last);              /* 8762|45013 */
    step(r, rows, EVEN_PAIRS, last);         /* 8761|45203 */
    step(r, rows, EVEN_PAIRS, last);         /* 8760|45123 */
    exchange(r, rows, EVEN_EIGHTS, last);    /* 8765|04123 */
    order_columns(r, rows, merged);
}

/* Where the row stands that is the n-th. */
INLINE unsigned row_at(unsigned rows, unsigned n)
{
    return rows == 8 ? (n << 2 & 4) | n >> 1 : (n << 1 & 14) | n >> 3;
}

/* Half of two sequences of 512 that were compared. */
INLINE void merge_half(__m512i *r)
{
    const unsigned top = top_of(16, 4), last = top_of(16, 5);
    order_all(r, 16, top);              /* 8765|43210 */
    step(r, 16, HALVES, last);          /* 8764|53210 */
    step(r, 16, EVEN_EIGHTS, last);     /* 8763|45210 */
    step(r, 16, PAIRS, last);           /* 8762|45130 */
    step(r, 16, WORDS, last);           /* 8761|45302 */
    step(r, 16, EVEN_PAIRS, last);      /* 8760|45132 */
    exchange(r, 16, EVEN_EIGHTS, last); /* 8765|04132 */
    order_columns(r, 16, halved);
}

/* Two sequences of 512. */
INLINE void merge_two(__m512i *r)
{
    const __m512i turned = _mm512_xor_si512(load(columns), _mm512_set1_epi16(31));
#pragma GCC unroll 16
    for (unsigned i = 0; i < 16; i++)
        r[16 + i] = _mm512_permutexvar_epi16(turned, r[16 + i]);
#pragma GCC unroll 16
    for (unsigned i = 0; i < 16; i++)
        order(&r[i], &r[31 - i]);
    merge_half(r);
    merge_half(r + 16);
}

INLINE void sort_rows(__m512i *r, unsigned rows)
{
    sort_columns(r, rows);
    merge_columns(r, rows);
}

INLINE void store_rows(const __m512i *r, unsigned rows, uint16_t *to)
{
#pragma GCC unroll 16
    for (unsigned n = 0; n < rows; n++)
        _mm512_store_si512(to + (size_t)n * COLUMNS, r[row_at(rows, n)]);
}

/* What is missing in the last rows is the first number again. */
INLINE void load_rows(__m512i *r, unsigned rows, const uint16_t *index, uint32_t n)
{
    const __m512i end = _mm512_set1_epi16((short)n),
                  more_of_first = _mm512_set1_epi16((short)index[0]);
    __m512i place = load(columns);
#pragma GCC unroll 16
    for (unsigned i = 0; i < rows; i++) {
        r[i] = _mm512_mask_loadu_epi16(more_of_first, _mm512_cmplt_epu16_mask(place, end),
                                       index + (size_t)i * COLUMNS);
        place = _mm512_add_epi16(place, _mm512_set1_epi16(COLUMNS));
    }
}

/* One of each; up to `rows` rows are written. There is room for a number before the sorted ones. */
INLINE uint32_t list_different(uint16_t *sorted, unsigned rows, uint16_t *out)
{
    uint32_t count = 0;
    sorted[-1] = (uint16_t)~sorted[0];
#pragma GCC unroll 4
    for (unsigned i = 0; i < rows * COLUMNS; i += COLUMNS) {
        const __m512i v = load(sorted + i);
        const __mmask32 kept = _mm512_cmpneq_epu16_mask(v, load(sorted + i - 1));
        _mm512_storeu_si512(out + count, _mm512_maskz_compress_epi16(kept, v));
        count += (uint32_t)__builtin_popcount(kept);
    }
    return count;
}

INLINE uint32_t sort(const uint16_t *index, uint32_t n, unsigned rows, uint16_t *out)
{
    __attribute__((uninitialized)) __m512i r[16];
    _Alignas(64) __attribute__((uninitialized)) uint16_t room[17 * COLUMNS];
    load_rows(r, rows, index, n);
    sort_rows(r, rows);
    store_rows(r, rows, room + COLUMNS);
    return list_different(room + COLUMNS, rows, out);
}

/* ---- more than fill a sequence ---- */

/* Two of them, and what is written behind them. */
enum { SEQUENCE = 16 * COLUMNS, ROOM = 2 * SEQUENCE + COLUMNS };
_Static_assert(SEQUENCE == FEATURES_SPARSE_MAX, "what has room fills a sequence");

AVX512 static __attribute__((noinline)) uint32_t sort_sequence(const uint16_t *index, uint32_t n,
                                                               uint16_t *out)
{
    return sort(index, n, 16, out);
}

/* Different sorted numbers and the next ones in any order, of each at most a sequence, to different
 * sorted ones. What is missing of the first sequence is its last number again. */
AVX512 static __attribute__((noinline)) uint32_t merge_next(uint16_t sorted[ROOM], uint32_t count,
                                                            const uint16_t *next, uint32_t n,
                                                            uint16_t out[ROOM])
{
    __attribute__((uninitialized)) __m512i r[32];
    _Alignas(64) __attribute__((uninitialized)) uint16_t room[33 * COLUMNS];
    const __m512i last = _mm512_set1_epi16((short)sorted[count - 1]);
    for (; count < SEQUENCE; count += COLUMNS)
        _mm512_storeu_si512(sorted + count, last);
#pragma GCC unroll 16
    for (unsigned i = 0; i < 16; i++)
        r[row_at(16, i)] = load(sorted + (size_t)i * COLUMNS);
    load_rows(r + 16, 16, next, n);
    sort_rows(r + 16, 16);
    merge_two(r);
    store_rows(r, 16, room + COLUMNS);
    store_rows(r + 16, 16, room + COLUMNS + SEQUENCE);
    count = list_different(room + COLUMNS, 32, out);
    _mm512_storeu_si512(out + count, _mm512_setzero_si512()); /* So that a block can be taken. */
    return count;
}

/* Without optimisation a gather is a macro of the compiler's, whose mask has a sign. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
/* Of sorted numbers, more than have room, those that are in the set: as many as have room. What is
 * behind the last number of all comes too late to be one of them. */
INLINE void list_those_in(const struct features_set *set, const uint16_t *sorted, uint16_t *out)
{
    for (uint32_t count = 0; count < FEATURES_SPARSE_MAX; sorted += 16) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)sorted);
        const __m512i at = _mm512_cvtepu16_epi32(v);
        const __m512i words = _mm512_i32gather_epi32(_mm512_srli_epi32(at, 5), set->bits, 4);
        const __m512i bits = _mm512_rorv_epi32(words, at);
        const __mmask16 in = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(1));
        _mm256_storeu_si256((__m256i *)(void *)(out + count), _mm256_maskz_compress_epi16(in, v));
        count += (uint32_t)__builtin_popcount(in);
    }
}
#pragma GCC diagnostic pop

/* All of it: most of its lines are used. Volatile, or it would be a call that clears byte by byte.
 */
INLINE void clear(struct features_set *set)
{
#pragma GCC unroll 16
    for (unsigned w = 0; w < FEATURES_SET_WORDS; w += 8)
        *(volatile __m512i *)(void *)&set->bits[w] = _mm512_setzero_si512();
}

/* Sorted numbers and those of the next ones that come first and have room beside them, in place of
 * the former; `all` of both are sorted, and more than have room. */
AVX512 static __attribute__((noinline)) void keep_first(uint16_t sorted[ROOM], uint32_t count,
                                                        const uint16_t *next,
                                                        const uint16_t all[ROOM],
                                                        struct features_set *set)
{
    uint32_t room = FEATURES_SPARSE_MAX - count;
#pragma GCC unroll 4
    for (uint32_t i = 0; i < count; i++)
        (void)features_set_add(set, sorted[i]);
    for (; room > 0; next++)
        room -= features_set_add(set, *next);
    list_those_in(set, all, sorted);
    clear(set);
}

/* Sequence by sequence, until they are too many: which of the last one's have room is known by
 * their order alone. */
AVX512 static __attribute__((noinline)) uint32_t
sort_many(const uint16_t *index, uint32_t n, struct features_set *set, uint16_t *out_index)
{
    __attribute__((uninitialized)) uint16_t room[2][ROOM];
    uint16_t *sorted = room[0], *both = room[1];
    uint32_t count = sort_sequence(index, SEQUENCE, sorted);
    for (uint32_t at = SEQUENCE; at < n; at += SEQUENCE) {
        const uint32_t left = n - at, now = left < SEQUENCE ? left : SEQUENCE;
        const uint32_t all = merge_next(sorted, count, index + at, now, both);
        if (all > FEATURES_SPARSE_MAX) {
            keep_first(sorted, count, index + at, both, set);
            count = FEATURES_SPARSE_MAX;
            break;
        }
        uint16_t *const before = sorted;
        sorted = both;
        both = before;
        count = all;
    }
    memcpy(out_index, sorted, count * sizeof out_index[0]);
    return count;
}

AVX512 uint32_t features_sort_avx512(const uint16_t *index, uint32_t n, struct features_set *set,
                                     uint16_t out_index[FEATURES_SPARSE_MAX])
{
    if (n == 0)
        return 0;
    if (n <= 8 * COLUMNS)
        return sort(index, n, 8, out_index);
    return n <= SEQUENCE ? sort_sequence(index, n, out_index) : sort_many(index, n, set, out_index);
}
#else
extern int features_sort_avx512_is_not_here; /* A file must declare something. */
#endif

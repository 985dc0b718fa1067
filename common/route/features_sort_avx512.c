/* features_sort_avx512.c: indices ascending and once each, by a sorting network, which has no
 * branch and waits for no memory. The numbers are a matrix of 32 columns. First each column is
 * sorted, then two of them are merged to one of twice the length that goes down the first and on
 * down the second, then two of those, and so on (the bitonic merge of Batcher, 1968). */
#include "common/route/features_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512                                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,"             \
                          "avx512vpopcntdq,bmi,bmi2,popcnt")))
#define INLINE AVX512 static inline __attribute__((always_inline))

enum { COLUMNS = 32 };

INLINE __m512i load(const void *p)
{
    return _mm512_loadu_si512(p);
}

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

/* Sorts columns that rise and then fall, or the other way. */
INLINE void clean_columns(__m512i *r, unsigned rows)
{
    if (rows >= 32)
        order_rows(r, rows, 16);
    if (rows >= 16)
        order_rows(r, rows, 8);
    order_rows(r, rows, 4);
    order_rows(r, rows, 2);
    order_rows(r, rows, 1);
}

INLINE void merge_halves(__m512i *r, unsigned rows)
{
#pragma GCC unroll 32
    for (unsigned i = 0; i < rows / 2; i++)
        order(&r[i], &r[rows - 1 - i]);
    if (rows == 32)
        order_rows(r, rows, 8);
    order_rows(r, rows, 4);
    order_rows(r, rows, 2);
    order_rows(r, rows, 1);
}

INLINE void sort_columns(__m512i *r, unsigned rows)
{
#pragma GCC unroll 4
    for (unsigned i = 0; i < rows; i += 8)
        sort_eight(r + i);
    if (rows >= 16)
        merge_halves(r, 16);
    if (rows == 32) {
        merge_halves(r + 16, 16);
        merge_halves(r, 32);
    }
}

/* The lower of each number and its partner; in columns of `high` the higher one. */
INLINE __m512i choose(__m512i v, __m512i partner, __mmask32 high)
{
    return _mm512_mask_max_epu16(_mm512_min_epu16(v, partner), high, v, partner);
}

/* Column c and column c ^ apart: the same row, or the row as far from the other end. */
INLINE void order_columns(__m512i *r, unsigned rows, __m512i partner, __mmask32 high)
{
#pragma GCC unroll 32
    for (unsigned i = 0; i < rows; i++)
        r[i] = choose(r[i], _mm512_permutexvar_epi16(partner, r[i]), high);
}

INLINE void order_mirrored(__m512i *r, unsigned rows, __m512i partner, __mmask32 high)
{
#pragma GCC unroll 16
    for (unsigned i = 0; i < rows / 2; i++) {
        const __m512i a = r[i], b = r[rows - 1 - i];
        r[i] = choose(a, _mm512_permutexvar_epi16(partner, b), high);
        r[rows - 1 - i] = choose(b, _mm512_permutexvar_epi16(partner, a), high);
    }
}

static const uint16_t columns[COLUMNS] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                          11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                          22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
/* Columns whose number has that bit. */
static const uint32_t with_bit[5] = {0xAAAAAAAA, 0xCCCCCCCC, 0xF0F0F0F0, 0xFF00FF00, 0xFFFF0000};

INLINE __m512i columns_xor(unsigned apart)
{
    return _mm512_xor_si512(load(columns), _mm512_set1_epi16((short)apart));
}

INLINE void merge_columns(__m512i *r, unsigned rows)
{
    for (unsigned bit = 0; bit < 5; bit++) {
        order_mirrored(r, rows, columns_xor((2U << bit) - 1), with_bit[bit]);
        for (unsigned b = bit; b-- > 0;)
            order_columns(r, rows, columns_xor(1U << b), with_bit[b]);
        clean_columns(r, rows);
    }
}

static const uint16_t front[COLUMNS] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                        37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                        11, 43, 12, 44, 13, 45, 14, 46, 15, 47};

/* Down the columns to along the rows: each step takes the highest bit of the row to the lowest of
 * the column, and those between up by one. */
INLINE void transpose(__m512i *r, unsigned rows)
{
    const __m512i first = load(front), second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
#pragma GCC unroll 5
    for (unsigned bits = rows; bits > 1; bits /= 2) {
        __m512i to[32];
#pragma GCC unroll 16
        for (unsigned i = 0; i < rows / 2; i++) {
            to[2 * i] = _mm512_permutex2var_epi16(r[i], first, r[i + rows / 2]);
            to[2 * i + 1] = _mm512_permutex2var_epi16(r[i], second, r[i + rows / 2]);
        }
#pragma GCC unroll 32
        for (unsigned i = 0; i < rows; i++)
            r[i] = to[i];
    }
}

INLINE uint32_t sort(const uint16_t *index, uint32_t n, unsigned rows, uint16_t *out)
{
    __attribute__((uninitialized)) __m512i r[32];
    _Alignas(64) __attribute__((uninitialized)) uint16_t room[33 * COLUMNS];
    __attribute__((uninitialized)) uint16_t distinct[33 * COLUMNS];
    uint16_t *const sorted = room + COLUMNS;
    const __m512i more_of_first = _mm512_set1_epi16((short)index[0]);
    uint32_t count = 0;
#pragma GCC unroll 32
    for (unsigned i = 0; i < rows; i++) {
        const uint32_t left = n > i * COLUMNS ? n - i * COLUMNS : 0;
        const __mmask32 valid = _bzhi_u32(~0U, left < COLUMNS ? left : COLUMNS);
        r[i] = _mm512_mask_loadu_epi16(more_of_first, valid, index + (size_t)i * COLUMNS);
    }
    sort_columns(r, rows);
    merge_columns(r, rows);
    transpose(r, rows);
#pragma GCC unroll 32
    for (unsigned i = 0; i < rows; i++)
        _mm512_store_si512(sorted + (size_t)i * COLUMNS, r[i]);
    sorted[-1] = (uint16_t)~sorted[0];
    for (unsigned i = 0; i < rows * COLUMNS; i += COLUMNS) {
        const __m512i v = load(sorted + i);
        const __mmask32 kept = _mm512_cmpneq_epu16_mask(v, load(sorted + i - 1));
        _mm512_storeu_si512(distinct + count, _mm512_maskz_compress_epi16(kept, v));
        count += (uint32_t)__builtin_popcount(kept);
    }
    if (count > FEATURES_SPARSE_MAX)
        return FEATURES_UNSORTED;
    memcpy(out, distinct, count * sizeof distinct[0]);
    return count;
}

AVX512 uint32_t features_sort_avx512(const uint16_t *index, uint32_t n, struct features_set *set,
                                     uint16_t out_index[FEATURES_SPARSE_MAX])
{
    (void)set;
    if (n == 0)
        return 0;
    if (n <= 8 * COLUMNS)
        return sort(index, n, 8, out_index);
    if (n <= 16 * COLUMNS)
        return sort(index, n, 16, out_index);
    return n <= 32 * COLUMNS ? sort(index, n, 32, out_index) : FEATURES_UNSORTED;
}
#else
extern int features_sort_avx512_is_not_here; /* A file must declare something. */
#endif

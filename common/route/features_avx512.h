/* features_avx512.h: what the files of the AVX-512 way share. It is taken where features_way_of
 * finds all of these instructions. Private to this folder. */
#ifndef STEELYARD_COMMON_ROUTE_FEATURES_AVX512_H
#define STEELYARD_COMMON_ROUTE_FEATURES_AVX512_H

#include <immintrin.h>

#define AVX512                                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,"             \
                          "avx512vpopcntdq,avx512vnni,gfni,bmi,bmi2,popcnt")))
#define INLINE AVX512 static inline __attribute__((always_inline))

INLINE __m512i load(const void *p)
{
    return _mm512_loadu_si512(p);
}

INLINE __m512i each(int byte)
{
    return _mm512_set1_epi8((char)byte);
}

#endif

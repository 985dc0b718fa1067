/* artifact_format.h: what artifact_decode.c and artifact_encode.c share of the file's form. */
#ifndef STEELYARD_COMMON_ROUTE_ARTIFACT_FORMAT_H
#define STEELYARD_COMMON_ROUTE_ARTIFACT_FORMAT_H

#include "common/route/artifact.h"
#include "common/route/bytes.h"

#define ARTIFACT_MAGIC "SYPOL1\0" /* Eight bytes with the literal's own NUL. */

/* First four letters of each name in enum artifact_section, in its order. */
extern const char artifact_section_tag[ARTIFACT_SECTIONS][5];

static inline bool artifact_section_optional(unsigned section)
{
    return section == ARTIFACT_TASK || section == ARTIFACT_VOCAB;
}

/* The payload of TABLES: fixed_rsqrt, fixed_exp2_table, fixed_log2_table. */
#define ARTIFACT_TABLES_BYTES (513 * 2 + 257 * 4 + 256 * 2)
void artifact_tables_bytes(uint8_t out[ARTIFACT_TABLES_BYTES]);

/* Multiples of 8 per group and of 16 per row. */
static inline uint32_t artifact_pad(uint32_t count, uint32_t multiple)
{
    return (count + multiple - 1) / multiple * multiple;
}

/* artifact_bounds.c: true if no score can leave +-ARTIFACT_SCORE_MAX, for any features. */
bool artifact_bounds_hold(const struct artifact *a);

#endif

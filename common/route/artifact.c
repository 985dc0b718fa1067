#include "common/route/artifact.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/route/artifact_format.h"
#include "common/route/fixed.h"

const char artifact_section_tag[ARTIFACT_SECTIONS][5] = {
    [ARTIFACT_META] = "META",   [ARTIFACT_DENSE] = "DENS",    [ARTIFACT_W] = "W   ",
    [ARTIFACT_LEN] = "LEN ",    [ARTIFACT_TASK] = "TASK",     [ARTIFACT_CALIB] = "CALI",
    [ARTIFACT_TABLES] = "TABL", [ARTIFACT_LAMBDA] = "LAMB",   [ARTIFACT_EXPLORE] = "EXPL",
    [ARTIFACT_VOCAB] = "VOCA",  [ARTIFACT_SELFTEST] = "SELF",
};

static const struct {
    const char *name;
    const char *text;
} reasons[ARTIFACT_REASONS] = {
#define X(name, text) {#name, text},
    ARTIFACT_REASON_TABLE(X)
#undef X
};

const char *artifact_reason_name(enum artifact_reason reason)
{
    return (unsigned)reason < ARTIFACT_REASONS ? reasons[reason].name : "UNKNOWN";
}

const char *artifact_reason_text(enum artifact_reason reason)
{
    return (unsigned)reason < ARTIFACT_REASONS ? reasons[reason].text : "unknown reason";
}

void artifact_tables_bytes(uint8_t out[ARTIFACT_TABLES_BYTES])
{
    for (unsigned i = 0; i <= FIXED_RSQRT_MAX; i++)
        for (unsigned b = 0; b < 2; b++)
            *out++ = (uint8_t)(fixed_rsqrt[i] >> (8 * b));
    for (unsigned i = 0; i < 257; i++)
        for (unsigned b = 0; b < 4; b++)
            *out++ = (uint8_t)(fixed_exp2_table[i] >> (8 * b));
    for (unsigned i = 0; i < 256; i++)
        for (unsigned b = 0; b < 2; b++)
            *out++ = (uint8_t)(fixed_log2_table[i] >> (8 * b));
}

void artifact_destroy(struct artifact *a)
{
    if (a == NULL)
        return;
    mem_free(a->row_block);
    mem_free(a->block);
    mem_free(a);
}

const struct artifact_segment *artifact_segment(const struct artifact *a, uint32_t id)
{
    for (uint32_t i = 0; i < a->segment_count; i++)
        if (a->segments[i].id == id)
            return &a->segments[i];
    return NULL;
}

int32_t artifact_model(const struct artifact *a, struct str model)
{
    for (uint32_t m = 0; m < a->model_count; m++)
        if (str_eq(a->models[m], model))
            return (int32_t)m;
    return -1;
}

struct str artifact_word(const struct artifact *a, uint16_t index)
{
    uint32_t low = 0, high = a->vocab_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (a->vocab[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < a->vocab_count && a->vocab[low].index == index)
        return a->vocab[low].text;
    return STR_NULL;
}

void artifact_calib_logistic(struct artifact_calib *out_calib)
{
    /* Half a logit apart, from -7.75 to 7.75: straight lines are then within 0.004. */
    out_calib->count = ARTIFACT_KNOTS_MAX;
    for (int32_t i = 0; i < ARTIFACT_KNOTS_MAX; i++) {
        int32_t z = (2 * i - (ARTIFACT_KNOTS_MAX - 1)) * 16384;
        out_calib->z[i] = z;
        out_calib->q[i] = fixed_logistic_q16(z);
    }
}

/* The parts of policy.h around a decision: parameters, preferences, names, refusals. */
#include <string.h>

#include "common/route/policy.h"
#include "common/route/utility.h"

static const struct {
    const char *name;
    const char *text;
} exclusions[POLICY_EXCLUSIONS] = {
#define X(name, text) {#name, text},
    POLICY_EXCLUSION_TABLE(X)
#undef X
};

const char *policy_exclusion_name(uint32_t index)
{
    return index < POLICY_EXCLUSIONS ? exclusions[index].name : NULL;
}

const char *policy_exclusion_text(uint32_t index)
{
    return index < POLICY_EXCLUSIONS ? exclusions[index].text : NULL;
}

void policy_params_init(struct policy_params *params)
{
    memset(params, 0, sizeof *params);
    params->strategy = POLICY_LEARNED;
    params->lambda = POLICY_LAMBDA_DEFAULT;
    params->mu_latency = POLICY_MU_LATENCY_DEFAULT;
    params->gamma = 100;
    params->eps_cap = UINT32_MAX / 50; /* 2 % */
    /* What nobody has measured cannot be ruled out by a prior: eps_cap alone bounds the cost. */
    params->delta_q16 = 65536;
    params->cost_ratio = UINT32_MAX;
    params->stick_margin = (INT64_C(1) << 36) / 50; /* 2 % of quality */
}

void policy_params_from_artifact(struct policy_params *params, const struct artifact *a,
                                 uint32_t segment_id)
{
    const struct artifact_segment *segment = artifact_segment(a, segment_id);
    if (segment == NULL)
        segment = artifact_segment(a, 0);
    if (segment != NULL) {
        params->lambda = segment->lambda;
        params->floor_q16 = segment->floor_q16;
    }
    params->gamma = a->explore.gamma;
    params->eps_cap = a->explore.eps_cap;
    params->delta_q16 = a->explore.delta_q16;
    params->cost_ratio = a->explore.cost_ratio;
}

uint32_t policy_explore_cap(uint32_t most, uint64_t labels, uint64_t least)
{
    bool learning = labels >= 100 && (labels < 1000 || least < 100);
    uint32_t cap = learning ? POLICY_EXPLORE_HIGH : POLICY_EXPLORE_LOW;
    return most > POLICY_EXPLORE_HIGH || most < cap ? most : cap;
}

static bool rate_in_range(int64_t rate)
{
    return rate >= 0 && rate <= ARTIFACT_LAMBDA_MAX;
}

bool policy_params_valid(const struct policy_params *params)
{
    if ((params->strategy != POLICY_LEARNED && params->strategy != POLICY_STATIC) ||
        !rate_in_range(params->lambda) || !rate_in_range(params->mu) ||
        !rate_in_range(params->mu_latency) || params->floor_q16 > 65536 ||
        params->delta_q16 > 65536 || params->stick_margin < 0)
        return false;
    uint32_t outside = 0; /* Of all, without a branch: asked for every decision. */
    for (uint32_t m = 0; m < ARTIFACT_MODELS_MAX; m++)
        outside |= (uint32_t)(params->off[m] > ARTIFACT_OFFSET_MAX) |
                   (uint32_t)(params->off[m] < -ARTIFACT_OFFSET_MAX);
    return outside == 0;
}

int policy_preference_parse(struct str s, int32_t *out_preference)
{
    static const struct {
        const char *name;
        enum policy_preference preference;
    } names[] = {
        {"cost", POLICY_PREFER_COST},
        {"balanced", POLICY_PREFER_BALANCED},
        {"quality", POLICY_PREFER_QUALITY},
        {"latency", POLICY_PREFER_LATENCY},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_is(s, names[i].name)) {
            *out_preference = names[i].preference;
            return 0;
        }
    uint64_t position;
    if (str_parse_u64(s, 100, &position) != 0)
        return ERR_INVALID;
    *out_preference = (int32_t)position;
    return 0;
}

static int64_t clamp_position(int32_t position)
{
    return position < 0 ? 0 : position > 100 ? 100 : position;
}

int64_t policy_lambda_at(const struct artifact_segment *segment, int32_t position, int64_t fallback)
{
    if (segment == NULL || segment->point_count == 0)
        return fallback;
    const struct artifact_point *p = segment->points;
    const uint32_t last = segment->point_count - 1;
    const int64_t dearest = p[0].cost_nanousd, cheapest = p[last].cost_nanousd;
    int64_t target =
        cheapest + (int64_t)((utility_i128)(dearest - cheapest) * clamp_position(position) / 100);
    uint32_t i = 0; /* First point that costs no more than the target. */
    while (i < last && p[i].cost_nanousd > target)
        i++;
    if (i == 0)
        return p[0].lambda;
    /* Here p[i-1].cost > target >= p[i].cost; rounded towards the higher (cheaper) lambda. */
    int64_t span = p[i - 1].cost_nanousd - p[i].cost_nanousd;
    int64_t above = target - p[i].cost_nanousd;
    return p[i].lambda - (int64_t)((utility_i128)(p[i].lambda - p[i - 1].lambda) * above / span);
}

void policy_preference_apply(const struct artifact *a, uint32_t segment_id, int32_t preference,
                             const struct policy_params *params, int64_t *out_lambda,
                             int64_t *out_mu)
{
    *out_lambda = params->lambda;
    *out_mu = preference == POLICY_PREFER_LATENCY ? params->mu_latency : params->mu;
    if (preference < 0)
        return;
    const int64_t s = clamp_position(preference);
    /* Without a frontier: four times lambda at 0, once at 50, none at 100. */
    utility_i128 scaled = s <= 50 ? (utility_i128)params->lambda * (200 - 3 * s) / 50
                                  : (utility_i128)params->lambda * (100 - s) / 50;
    int64_t fallback = scaled > ARTIFACT_LAMBDA_MAX ? ARTIFACT_LAMBDA_MAX : (int64_t)scaled;
    const struct artifact_segment *segment = NULL;
    if (a != NULL) {
        segment = artifact_segment(a, segment_id);
        if (segment == NULL)
            segment = artifact_segment(a, 0);
    }
    *out_lambda = policy_lambda_at(segment, preference, fallback);
}

/* Mildest first: what time heals, what a quota heals, what the request or the key rules out. */
static const uint16_t exclusion_status[POLICY_EXCLUSIONS] = {
    [POLICY_EXCLUSION_CAPABILITY] = 400,   [POLICY_EXCLUSION_CONTEXT_LEN] = 400,
    [POLICY_EXCLUSION_REGION] = 403,       [POLICY_EXCLUSION_KEY_ALLOWLIST] = 403,
    [POLICY_EXCLUSION_BREAKER_OPEN] = 503, [POLICY_EXCLUSION_RATE] = 429,
    [POLICY_EXCLUSION_BUDGET] = 429,       [POLICY_EXCLUSION_QUALITY_FLOOR] = 400,
    [POLICY_EXCLUSION_COST_CAP] = 400,     [POLICY_EXCLUSION_LATENCY_CAP] = 400,
    [POLICY_EXCLUSION_STICKY] = 400,       [POLICY_EXCLUSION_USER_PIN] = 400,
    [POLICY_EXCLUSION_DISABLED] = 503,     [POLICY_EXCLUSION_PRIVACY_CLASS] = 403,
    [POLICY_EXCLUSION_WISHES] = 400,       [POLICY_EXCLUSION_BUSY] = 503,
    [POLICY_EXCLUSION_CONDITION] = 400,
};

static unsigned severity(uint32_t status)
{
    switch (status) {
    case 503:
        return 0;
    case 429:
        return 1;
    case 400:
        return 2;
    default:
        return 3;
    }
}

/* A candidate is as blocked as its hardest bit. */
static unsigned row_severity(const struct policy_row *row)
{
    unsigned hardest = 0;
    for (uint32_t e = 0; e < POLICY_EXCLUSIONS; e++)
        if ((row->excl >> e & 1) != 0 && severity(exclusion_status[e]) > hardest)
            hardest = severity(exclusion_status[e]);
    return hardest;
}

struct policy_refusal policy_refusal(const struct policy_decision *decision)
{
    uint32_t votes[POLICY_EXCLUSIONS] = {0};
    unsigned mildest = 3;
    for (uint32_t i = 0; i < decision->count; i++)
        if (row_severity(&decision->row[i]) < mildest)
            mildest = row_severity(&decision->row[i]);
    for (uint32_t i = 0; i < decision->count; i++)
        for (uint32_t e = 0; e < POLICY_EXCLUSIONS; e++)
            if (row_severity(&decision->row[i]) == mildest &&
                (decision->row[i].excl >> e & 1) != 0 && severity(exclusion_status[e]) == mildest)
                votes[e]++;
    struct policy_refusal refusal = {.status = 503, .exclusion = POLICY_EXCLUSION_BREAKER_OPEN};
    uint32_t most = 0;
    for (uint32_t e = 0; e < POLICY_EXCLUSIONS; e++)
        if (votes[e] > most) {
            most = votes[e];
            refusal = (struct policy_refusal){.status = exclusion_status[e], .exclusion = e};
        }
    return refusal;
}

/* machine_config.c: what a rollout may be told, where it starts, and the names of its states. */
#include "controlplane/rollout/machine.h"

#define HOUR_S 3600U
#define DAY_S  86400U

void rollout_config_default(struct rollout_config *config)
{
    *config = (struct rollout_config){
        .stage =
            {
                {100, 1800, DAY_S, 100, 10},
                {500, HOUR_S, DAY_S, 500, 25},
                {2500, 2 * HOUR_S, DAY_S, 1000, 100},
                {5000, 6 * HOUR_S, DAY_S, 1000, 100},
                {ROLLOUT_SHARE_ALL_BP, 600, DAY_S, 0, 0},
            },
        .stages = 5,
        .shadow_min_s = 600,
        .shadow_max_s = DAY_S,
        .shadow_requests_min = 1000,
        .evidence_from_bp = 2500,
        .evidence = 1U << GUARD_COST | 1U << GUARD_QUALITY,
        .inconclusive = ROLLOUT_INCONCLUSIVE_HOLD,
        .ttl_s = 600,
        .stale_after_s = 300,
        .ready_percent = 99,
    };
}

void rollout_config_revert(struct rollout_config *config)
{
    rollout_config_default(config);
    config->stage[0] =
        (struct rollout_stage){.share_bp = ROLLOUT_SHARE_ALL_BP, .dwell_max_s = DAY_S};
    config->stages = 1;
    config->shadow_min_s = 0;
    config->shadow_requests_min = 0;
    config->evidence = 0;
}

static int check_stage(const struct rollout_config *config, uint32_t i, struct err *err)
{
    const struct rollout_stage *s = &config->stage[i];
    if (s->share_bp == 0 || s->share_bp > ROLLOUT_SHARE_ALL_BP)
        return err_set(err, ERR_INVALID, "share of stage %u is not in 0.01 .. 100 %%", i);
    if (i > 0 && s->share_bp <= config->stage[i - 1].share_bp)
        return err_set(err, ERR_INVALID, "share of stage %u is not above that of the one before",
                       i);
    if (s->dwell_max_s == 0 || s->dwell_min_s > s->dwell_max_s)
        return err_set(err, ERR_INVALID, "longest dwell of stage %u is 0 or below the shortest", i);
    return 0;
}

int rollout_config_check(const struct rollout_config *config, struct err *err)
{
    const uint32_t means = ((1U << GUARD_MEANS) - 1U) << GUARD_EVENTS;
    if (config->stages == 0 || config->stages > ROLLOUT_STAGES_MAX)
        return err_set(err, ERR_INVALID, "a rollout has 1 to %u stages", ROLLOUT_STAGES_MAX);
    for (uint32_t i = 0; i < config->stages; i++) {
        const int rc = check_stage(config, i, err);
        if (rc != 0)
            return rc;
    }
    if (config->stage[config->stages - 1].share_bp != ROLLOUT_SHARE_ALL_BP)
        return err_set(err, ERR_INVALID, "the last stage is not 100 %%");
    if (config->shadow_max_s == 0 || config->shadow_min_s > config->shadow_max_s)
        return err_set(err, ERR_INVALID, "longest shadow is 0 or below the shortest");
    if ((config->evidence & ~means) != 0)
        return err_set(err, ERR_INVALID, "evidence can be asked of cost, quality and tokens only");
    if (config->ttl_s == 0 || config->stale_after_s == 0)
        return err_set(err, ERR_INVALID, "ttl and stale_after are at least a second");
    if (config->ready_percent == 0 || config->ready_percent > 100)
        return err_set(err, ERR_INVALID, "ready_percent is not in 1 .. 100");
    return 0;
}

struct rollout_place rollout_start(int64_t now_ms)
{
    return (struct rollout_place){.state = ROLLOUT_STATE_SHADOW,
                                  .stage = ROLLOUT_NO_STAGE,
                                  .state_since_ms = now_ms,
                                  .stage_since_ms = now_ms};
}

uint32_t rollout_share_bp(const struct rollout_config *config, const struct rollout_place *place)
{
    switch (place->state) {
    case ROLLOUT_STATE_CANARY:
    case ROLLOUT_STATE_HOLD:
        return place->stage == ROLLOUT_NO_STAGE ? 0 : config->stage[place->stage].share_bp;
    case ROLLOUT_STATE_PROMOTED:
        return ROLLOUT_SHARE_ALL_BP;
    case ROLLOUT_STATE_SHADOW:
    case ROLLOUT_STATE_HALTED:
    case ROLLOUT_STATE_ROLLED_BACK:
        break;
    }
    return 0;
}

bool rollout_is_terminal(enum rollout_state state)
{
    return state == ROLLOUT_STATE_PROMOTED || state == ROLLOUT_STATE_ROLLED_BACK;
}

static const struct str state_names[] = {
    [ROLLOUT_STATE_SHADOW] = {"shadow", 6},     [ROLLOUT_STATE_CANARY] = {"canary", 6},
    [ROLLOUT_STATE_HOLD] = {"hold", 4},         [ROLLOUT_STATE_HALTED] = {"halted", 6},
    [ROLLOUT_STATE_PROMOTED] = {"promoted", 8}, [ROLLOUT_STATE_ROLLED_BACK] = {"rolled_back", 11},
};

struct str rollout_state_name(enum rollout_state state)
{
    return state_names[state];
}

bool rollout_state_find(struct str name, enum rollout_state *out)
{
    for (uint32_t i = ROLLOUT_STATE_SHADOW; i <= ROLLOUT_STATE_ROLLED_BACK; i++) {
        if (!str_eq(name, state_names[i]))
            continue;
        *out = (enum rollout_state)i;
        return true;
    }
    return false;
}

#define NAME(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
static const struct str reason_names[] = {
    [ROLLOUT_REASON_NONE] = NAME("none"),
    [ROLLOUT_REASON_READY] = NAME("ready"),
    [ROLLOUT_REASON_HARMLESS] = NAME("harmless"),
    [ROLLOUT_REASON_OPERATOR] = NAME("operator"),
    [ROLLOUT_REASON_NEW_EVIDENCE] = NAME("new_evidence"),
    [ROLLOUT_REASON_BREACH] = NAME("breach"),
    [ROLLOUT_REASON_TRIP_WIRE] = NAME("trip_wire"),
    [ROLLOUT_REASON_INCONCLUSIVE] = NAME("inconclusive"),
    [ROLLOUT_REASON_TOO_FEW] = NAME("too_few"),
    [ROLLOUT_REASON_NOT_ACKED] = NAME("not_acked"),
    [ROLLOUT_REASON_SAMPLE_RATIO] = NAME("sample_ratio"),
    [ROLLOUT_REASON_NACK] = NAME("nack"),
    [ROLLOUT_REASON_REPLAY] = NAME("replay"),
    [ROLLOUT_REASON_STALE] = NAME("stale"),
    [ROLLOUT_REASON_UNWATCHED] = NAME("unwatched"),
    [ROLLOUT_REASON_DWELL] = NAME("dwell"),
    [ROLLOUT_REASON_WANTS_REQUESTS] = NAME("wants_requests"),
    [ROLLOUT_REASON_WANTS_UNITS] = NAME("wants_units"),
    [ROLLOUT_REASON_WANTS_EVIDENCE] = NAME("wants_evidence"),
    [ROLLOUT_REASON_WANTS_NODES] = NAME("wants_nodes"),
    [ROLLOUT_REASON_WANTS_OPERATOR] = NAME("wants_operator"),
    [ROLLOUT_REASON_FROZEN] = NAME("frozen"),
    [ROLLOUT_REASON_REFUSED] = NAME("refused"),
};
#define REASONS (sizeof(reason_names) / sizeof(reason_names[0]))

struct str rollout_reason_name(enum rollout_reason reason)
{
    return reason_names[reason];
}

bool rollout_reason_find(struct str name, enum rollout_reason *out)
{
    for (uint32_t i = 0; i < REASONS; i++) {
        if (!str_eq(name, reason_names[i]))
            continue;
        *out = (enum rollout_reason)i;
        return true;
    }
    return false;
}

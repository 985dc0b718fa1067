/* Who gets what: Doorman's FAIR_SHARE (max-min fairness). Everybody gets what it asks for up to an
 * equal part; what some do not use is divided equally between those that ask for more. What is left
 * when all have what they ask for is spread by demand, so that each may grow. */
#include "controlplane/budgets/rates_internal.h"

bool rates_is_silent(const struct rates_node *n, uint64_t now_ms)
{
    return now_ms - n->heard_ms > RATES_SILENT_MS;
}

uint32_t rates_node_count(const struct rates *r)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->place_count; i++)
        count += r->nodes[i].used;
    return count;
}

uint32_t rates_safe_most(const struct rates_node *n)
{
    return n->open ? rates_max(n->safe, n->sent_safe) : n->safe;
}

uint32_t rates_unmet(const struct rates *r, uint64_t now_ms)
{
    uint64_t age_ms = now_ms - r->began_ms;
    bool all_met = r->told_nodes > 0 && r->met_nodes >= r->told_nodes;
    if (r->first || all_met || age_ms >= RATES_FORGET_MS ||
        (r->told_nodes == 0 && age_ms >= RATES_STRANGERS_MS))
        return 0;
    return r->unmet;
}

uint32_t rates_part_most(const struct rates_node *n, const struct rates_part *p, unsigned kind,
                         uint64_t now_ms)
{
    uint32_t safe = rates_safe_most(n);
    uint32_t most;
    if (p->shared && now_ms < p->share_ms + RATES_TTL_MS + RATES_MARGIN_MS)
        most = p->share[kind];
    else
        most = p->shared ? rates_min(p->share[kind], safe) : safe;
    /* It may end before what is sent now does. */
    if (p->shared && p->share_ms + RATES_HOLD_MS < now_ms + RATES_TTL_MS + RATES_MARGIN_MS)
        most = rates_max(most, safe);
    if (p->sent_no != 0) {
        bool over = now_ms >= p->sent_ms + RATES_TTL_MS + RATES_MARGIN_MS;
        uint32_t sent = over ? rates_min(p->sent_most[kind], safe) : p->sent_most[kind];
        most = rates_max(most, sent);
        if (p->sent_safe)
            most = rates_max(most, safe);
    }
    return kind == 2 ? rates_max(most, p->held) : most;
}

/* Nodes that are not in the account's list have never had a share of it. */
static uint32_t most_at(const struct rates *r, const struct rates_account *a, uint32_t place,
                        unsigned kind, uint64_t now_ms)
{
    const struct rates_node *n = &r->nodes[place];
    return place < a->part_count ? rates_part_most(n, &a->parts[place], kind, now_ms)
                                 : rates_safe_most(n);
}

static uint32_t want_at(const struct rates *r, const struct rates_account *a, uint32_t place,
                        unsigned kind, uint64_t now_ms)
{
    if (place >= a->part_count || rates_is_silent(&r->nodes[place], now_ms))
        return 0;
    uint64_t want = a->parts[place].want[kind];
    want += want / 4; /* Room to grow. */
    return want < RATES_ONE ? (uint32_t)want : RATES_ONE;
}

uint32_t rates_free(const struct rates *r, const struct rates_account *a, uint32_t place,
                    unsigned kind, uint64_t now_ms)
{
    uint64_t used = rates_unmet(r, now_ms);
    for (uint32_t i = 0; i < r->place_count; i++)
        if (i != place && r->nodes[i].used)
            used += most_at(r, a, i, kind, now_ms);
    return used < RATES_ONE ? RATES_ONE - (uint32_t)used : 0;
}

/* The equal part up to which everybody gets what it asks for, found by halving: at most 31 rounds,
 * whatever the number of nodes. */
static uint32_t water_level(const struct rates *r, const struct rates_account *a, unsigned kind,
                            uint32_t capacity, uint64_t now_ms)
{
    uint32_t low = 0, high = RATES_ONE;
    while (low < high) {
        uint32_t level = low + (high - low + 1) / 2;
        uint64_t sum = 0;
        for (uint32_t i = 0; i < r->place_count; i++)
            if (r->nodes[i].used)
                sum += rates_min(want_at(r, a, i, kind, now_ms), level);
        if (sum <= capacity)
            low = level;
        else
            high = level - 1;
    }
    return low;
}

static uint32_t target_of(const struct rates *r, const struct rates_account *a, uint32_t place,
                          unsigned kind, uint64_t now_ms)
{
    uint64_t taken = rates_unmet(r, now_ms), wanted = 0, given = 0;
    uint32_t alive = 0;
    for (uint32_t i = 0; i < r->place_count; i++) {
        if (!r->nodes[i].used)
            continue;
        if (rates_is_silent(&r->nodes[i], now_ms)) {
            taken += most_at(r, a, i, kind, now_ms);
        } else {
            wanted += want_at(r, a, i, kind, now_ms);
            alive++;
        }
    }
    if (alive == 0 || taken >= RATES_ONE)
        return 0;
    uint32_t whole = RATES_ONE - (uint32_t)taken;
    uint32_t floor = (whole >> RATES_FLOOR_SHIFT) / alive;
    uint32_t capacity = whole - floor * alive;
    if (wanted == 0)
        return whole / alive;
    uint32_t level = water_level(r, a, kind, capacity, now_ms);
    uint32_t want = want_at(r, a, place, kind, now_ms);
    for (uint32_t i = 0; i < r->place_count; i++)
        if (r->nodes[i].used)
            given += rates_min(want_at(r, a, i, kind, now_ms), level);
    uint64_t spare = capacity > given ? capacity - given : 0;
    return floor + rates_min(want, level) + (uint32_t)(spare * want / wanted);
}

bool rates_target(const struct rates *r, const struct rates_account *a, uint32_t place,
                  uint64_t now_ms, uint32_t out_target[RATES_KINDS])
{
    bool split = false;
    for (uint32_t i = 0; i < r->place_count && !split; i++)
        for (unsigned k = 0; k < RATES_KINDS; k++)
            split |=
                r->nodes[i].used && want_at(r, a, i, k, now_ms) > rates_safe_most(&r->nodes[i]);
    for (unsigned k = 0; k < RATES_KINDS; k++)
        out_target[k] =
            split ? target_of(r, a, place, k, now_ms) : rates_safe_most(&r->nodes[place]);
    return split;
}

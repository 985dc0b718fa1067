/* counts.c: struct rollout_counts as JSON. */
#include <string.h>

#include "controlplane/rollout/store.h"

/* Members in the order of the struct's arrays: one table reads and writes. */
#define AT(member) offsetof(struct rollout_counts, member)
static const struct {
    const char *name;
    size_t offset;
    unsigned count;
    bool is_real;
} members[] = {
    {"total", AT(total), 1, false},
    {"apart", AT(apart), 1, false},
    {"unavailable", AT(unavailable), 1, false},
    {"votes", AT(votes), 1, false},
    {"shadowed", AT(shadowed), 1, false},
    {"differs", AT(differs), 1, false},
    {"requests", AT(requests), 2 * (ROLLOUT_STAGES_MAX + 1), false},
    {"failed", AT(failed), 2, false},
    {"units", AT(units), 1, false},
    {"units_event", AT(units_event), GUARD_EVENTS, false},
    {"units_valued", AT(units_valued), GUARD_MEANS, false},
    {"cost", AT(cost), 2, true},
    {"tokens", AT(tokens), 2, true},
    {"quality", AT(quality), 2, true},
    {"cost_n", AT(cost_n), 2, false},
    {"tokens_n", AT(tokens_n), 2, false},
    {"quality_n", AT(quality_n), 2, false},
    {"shadow_cost", AT(shadow_cost), 1, true},
    {"chosen_cost", AT(chosen_cost), 1, true},
    {"shadow_q", AT(shadow_q), 1, true},
    {"chosen_q", AT(chosen_q), 1, true},
    {"shadow_n", AT(shadow_n), 1, false},
};
#define MEMBERS (sizeof members / sizeof members[0])

/* Both kinds are eight bytes wide. */
static json_t *value_at(const struct rollout_counts *x, size_t offset, bool is_real)
{
    double real;
    uint64_t number;
    memcpy(&real, (const char *)x + offset, sizeof real);
    memcpy(&number, (const char *)x + offset, sizeof number);
    return is_real ? json_real(real) : json_integer((json_int_t)number);
}

int counts_write(const struct rollout_counts *x, json_t **out_object)
{
    json_t *o = json_object();
    bool ok = o != NULL;
    for (size_t i = 0; i < MEMBERS && ok; i++) {
        json_t *value = members[i].count == 1 ? value_at(x, members[i].offset, members[i].is_real)
                                              : json_array();
        for (unsigned k = 0; members[i].count > 1 && k < members[i].count && ok; k++)
            ok = json_array_append_new(value, value_at(x, members[i].offset + 8 * (size_t)k,
                                                       members[i].is_real)) == 0;
        ok = json_object_set_new(o, members[i].name, value) == 0 && ok;
    }
    if (!ok) {
        json_decref(o);
        return ERR_NOMEM;
    }
    *out_object = o;
    return 0;
}

void counts_read(const json_t *object, struct rollout_counts *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < MEMBERS; i++) {
        const json_t *value = json_object_get(object, members[i].name);
        for (unsigned k = 0; k < members[i].count; k++) {
            const json_t *item = members[i].count == 1 ? value : json_array_get(value, k);
            double real = json_number_value(item);
            uint64_t number = (uint64_t)json_integer_value(item);
            memcpy((char *)out + members[i].offset + 8 * (size_t)k,
                   members[i].is_real ? (const void *)&real : (const void *)&number, 8);
        }
    }
}

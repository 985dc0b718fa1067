/* The tables of one decision. */
#include "controlplane/ctl/decision_tables.h"

#define CANDIDATE_MODEL                                                                            \
    {                                                                                              \
        .title = "CANDIDATE", .path = "model"                                                      \
    }
#define CANDIDATE_QUALITY                                                                          \
    {                                                                                              \
        .title = "QUALITY", .path = "quality", .kind = COLUMN_PERCENT                              \
    }
#define CANDIDATE_COST                                                                             \
    {                                                                                              \
        .title = "COST", .path = "cost_usd", .kind = COLUMN_USD                                    \
    }
#define CANDIDATE_LATENCY                                                                          \
    {                                                                                              \
        .title = "LATENCY", .path = "latency_ms", .kind = COLUMN_MS                                \
    }
#define CANDIDATE_CHANCE                                                                           \
    {                                                                                              \
        .title = "CHANCE", .path = "probability", .kind = COLUMN_PERCENT                           \
    }
#define CANDIDATE_OUT                                                                              \
    {                                                                                              \
        .title = "EXCLUDED", .path = "excluded", .kind = COLUMN_LIST                               \
    }

static const struct column candidates[] = {
    CANDIDATE_MODEL,  CANDIDATE_QUALITY, CANDIDATE_COST,  CANDIDATE_LATENCY,
    CANDIDATE_CHANCE, CANDIDATE_OUT,     {.title = NULL},
};
static const struct column explained_candidates[] = {
    CANDIDATE_MODEL,
    CANDIDATE_QUALITY,
    CANDIDATE_COST,
    CANDIDATE_LATENCY,
    {.title = "UTILITY", .path = "utility", .kind = COLUMN_NUMBER},
    {.title = "MEASURE", .path = "measure", .kind = COLUMN_NUMBER},
    CANDIDATE_CHANCE,
    CANDIDATE_OUT,
    {.title = NULL},
};
static const struct column attempts[] = {
    {.title = "ATTEMPT", .path = "model"},
    {.title = "SERVER", .path = "server"},
    {.title = "STATUS", .path = "status", .kind = COLUMN_NUMBER},
    {.title = "RESULT", .path = "reason"},
    {.title = "TOOK", .path = "total_ms", .kind = COLUMN_MS},
    {.title = "COST", .path = "cost_usd", .kind = COLUMN_USD},
    {.title = "PICKED BY", .path = "picked.by"},
    {.title = "PASSED", .path = "picked.passed", .kind = COLUMN_LIST},
    {.title = "CHANGED", .path = "notes", .kind = COLUMN_LIST},
    {.title = NULL},
};

enum ctl_exit decision_tables_part(struct ctl *c, const char *heading, const struct column *columns,
                                   const json_t *items)
{
    if (json_array_size(items) == 0)
        return CTL_OK;
    fputc('\n', c->out);
    if (heading != NULL)
        fprintf(c->out, "%s%s%s\n", output_dim(c), heading, output_plain(c));
    return output_list(c, columns, items, "id");
}

enum ctl_exit decision_tables_candidates(struct ctl *c, const char *heading, bool with_utility,
                                         const json_t *decision)
{
    return decision_tables_part(c, heading, with_utility ? explained_candidates : candidates,
                                json_object_get(decision, "candidates"));
}

enum ctl_exit decision_tables_attempts(struct ctl *c, const char *heading, const json_t *decision)
{
    return decision_tables_part(c, heading, attempts, json_object_get(decision, "attempts"));
}

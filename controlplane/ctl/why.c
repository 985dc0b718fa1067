/* `decisions why ID`: a choice explained: who was in question, what each would have given and cost,
 * who was excluded, which features spoke for whom, and what would have tipped it. */
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/decision_tables.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/query.h"

static const struct column facts[] = {
    {.title = "Decision", .path = "request.id"},
    {.title = "Time", .path = "request.ts"},
    {.title = "Asked for", .path = "request.alias"},
    {.title = "Policy", .path = "policy"},
    {.title = "Strategy", .path = "request.strategy"},
    {.title = "Task", .path = "request.task"},
    {.title = "Tokens in (estimate)", .path = "request.tokens_in_estimate"},
    {.title = "Budget used up", .path = "request.budget_used", .kind = COLUMN_PERCENT},
    {.title = "Output cut to", .path = "request.budget_clamp", .kind = COLUMN_NUMBER},
    {.title = "Rollout", .path = "request.rollout.id"},
    {.title = "Its stage", .path = "request.rollout.stage", .kind = COLUMN_NUMBER},
    {.title = "Arm", .path = "request.rollout.arm"},
    {.title = "Its candidate prefers", .path = "request.rollout.shadow.chosen"},
    {.title = "At quality", .path = "request.rollout.shadow.quality", .kind = COLUMN_PERCENT},
    {.title = "At cost", .path = "request.rollout.shadow.cost_usd", .kind = COLUMN_USD},
    {.title = "Named by the caller", .path = "request.pinned", .kind = COLUMN_BOOL},
    {.title = "Chosen", .path = "chosen"},
    {.title = "Best by utility", .path = "greedy"},
    {.title = "Explored", .path = "explored", .kind = COLUMN_BOOL},
    {.title = "Recomputed, equal", .path = "reproduced", .kind = COLUMN_BOOL},
    {.title = NULL},
};
static const struct column terms[] = {
    {.title = "FEATURE", .path = "name"},
    {.title = "WEIGHT", .path = "value", .kind = COLUMN_NUMBER},
    {.title = "FOR", .path = "for"},
    {.title = "AGAINST", .path = "against"},
    {.title = NULL},
};
static const struct column outcome[] = {
    {.title = "Outcome", .path = "outcome.status"},
    {.title = "Cost", .path = "outcome.cost_usd", .kind = COLUMN_USD},
    {.title = "Score", .path = "outcome.score"},
    {.title = NULL},
};

static void print_counterfactual(struct ctl *c, const json_t *why)
{
    const char *text = json_string_value(output_get(why, "counterfactual.text"));
    if (text == NULL)
        return;
    fputc('\n', c->out);
    output_text(c->out, text);
    fputc('\n', c->out);
}

static enum ctl_exit print_why(struct ctl *c, const json_t *why)
{
    enum ctl_exit code = output_object(c, facts, why, "chosen");
    if (code == CTL_OK)
        code = decision_tables_candidates(c, "What each would have given and cost", true, why);
    if (code == CTL_OK)
        code = decision_tables_part(c, "The ten features that weighed most", terms,
                                    json_object_get(why, "terms"));
    if (code == CTL_OK)
        print_counterfactual(c, why);
    if (code == CTL_OK)
        code = decision_tables_attempts(c, "What happened", why);
    if (code == CTL_OK && json_is_object(json_object_get(why, "outcome"))) {
        fputc('\n', c->out);
        code = output_object(c, outcome, why, "chosen");
    }
    return code;
}

enum ctl_exit decisions_why(struct ctl *c)
{
    struct query q;
    json_t *why = NULL;
    query_init(&q, "/decisions");
    query_part(&q, ctl_arg(c, 0));
    query_literal(&q, "/why");
    enum ctl_exit code = client_call(c, "GET", query_path(&q), NULL, &why);
    if (code == CTL_OK && output_is_table(c))
        code = print_why(c, why);
    else if (code == CTL_OK)
        code = output_object(c, facts, why, "chosen");
    json_decref(why);
    query_deinit(&q);
    return code;
}

/* Nodes, reports and answers. One report is answered by one message that says everything its node
 * has; the next report acknowledges it by its number. */
#include "controlplane/budgets/rates.h"

#include <string.h>

#include "common/base/mem.h"
#include "controlplane/budgets/rates_internal.h"

#define SWEEP_MS 1000U

struct rates *rates_create(uint64_t term, bool first, uint64_t now_ms)
{
    struct rates *r = mem_zalloc(sizeof(*r));
    if (r == NULL)
        return NULL;
    r->term = term;
    r->first = first;
    r->began_ms = now_ms;
    r->unmet = RATES_ONE;
    list_init(&r->accounts);
    r->index_mask = 2 * RATES_ACCOUNTS_MAX - 1;
    r->nodes = mem_calloc(RATES_NODES_MAX, sizeof(*r->nodes));
    r->index = mem_calloc((size_t)r->index_mask + 1, sizeof(struct rates_account *));
    r->shares = mem_calloc(RATES_SHARES_MAX, sizeof(*r->shares));
    if (r->nodes != NULL && r->index != NULL && r->shares != NULL)
        return r;
    rates_destroy(r);
    return NULL;
}

static void account_free(struct rates_account *a)
{
    list_remove(&a->link);
    mem_free(a->parts);
    mem_free(a);
}

void rates_destroy(struct rates *r)
{
    if (r == NULL)
        return;
    LIST_FOREACH_SAFE (it, tmp, &r->accounts)
        account_free(container_of(it, struct rates_account, link));
    mem_free(r->nodes);
    mem_free(r->index);
    mem_free(r->shares);
    mem_free(r);
}

/* ---- accounts ---- */

static uint32_t index_at(const struct rates *r, uint64_t id)
{
    return (uint32_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & r->index_mask;
}

static struct rates_account *account_find(const struct rates *r, uint64_t id)
{
    for (uint32_t i = index_at(r, id); r->index[i] != NULL; i = (i + 1) & r->index_mask)
        if (r->index[i]->id == id)
            return r->index[i];
    return NULL;
}

static void index_put(struct rates *r, struct rates_account *a)
{
    uint32_t i = index_at(r, a->id);
    while (r->index[i] != NULL)
        i = (i + 1) & r->index_mask;
    r->index[i] = a;
}

static void account_drop(struct rates *r, struct rates_account *a)
{
    uint32_t i = index_at(r, a->id);
    while (r->index[i] != a)
        i = (i + 1) & r->index_mask;
    r->index[i] = NULL;
    /* What stood behind it moves up. */
    for (i = (i + 1) & r->index_mask; r->index[i] != NULL; i = (i + 1) & r->index_mask) {
        struct rates_account *moved = r->index[i];
        r->index[i] = NULL;
        index_put(r, moved);
    }
    r->account_count--;
    account_free(a);
}

static struct rates_account *account_get(struct rates *r, uint64_t id)
{
    struct rates_account *a = account_find(r, id);
    if (a != NULL || r->account_count == RATES_ACCOUNTS_MAX)
        return a;
    a = mem_zalloc(sizeof(*a));
    if (a == NULL)
        return NULL;
    a->id = id;
    list_push_back(&r->accounts, &a->link);
    index_put(r, a);
    r->account_count++;
    return a;
}

/* Has room for every node. */
static bool parts_grow(struct rates_account *a, uint32_t places)
{
    if (a->part_count >= places)
        return true;
    struct rates_part *grown = mem_calloc(places, sizeof(*grown));
    if (grown == NULL)
        return false;
    if (a->part_count > 0)
        memcpy(grown, a->parts, a->part_count * sizeof(*grown));
    mem_free(a->parts);
    a->parts = grown;
    a->part_count = places;
    return true;
}

/* The node begins anew, or its place is another's: all it has of any account is its safe share. */
static void parts_clear(struct rates *r, uint32_t place)
{
    LIST_FOREACH (it, &r->accounts) {
        struct rates_account *a = container_of(it, struct rates_account, link);
        if (place < a->part_count)
            a->parts[place] = (struct rates_part){.shared = false};
    }
}

/* Nobody asks and nobody has a share any more. */
static bool account_idle(const struct rates_account *a, uint64_t now_ms)
{
    return !a->split && now_ms - a->asked_ms >= RATES_IDLE_MS;
}

/* ---- nodes ---- */

static int node_place(struct rates *r, const struct rates_report *up, uint32_t *out_place)
{
    uint32_t free_place = RATES_NODES_MAX;
    for (uint32_t i = 0; i < r->place_count; i++) {
        if (r->nodes[i].used && memcmp(r->nodes[i].key.node, up->key.node, 16) == 0) {
            *out_place = i;
            return 0;
        }
        if (!r->nodes[i].used && free_place == RATES_NODES_MAX)
            free_place = i;
    }
    if (free_place == RATES_NODES_MAX)
        free_place = r->place_count;
    if (free_place == RATES_NODES_MAX)
        return ERR_LIMIT;
    if (free_place == r->place_count)
        r->place_count++;
    r->nodes[free_place] =
        (struct rates_node){.used = true, .key = up->key, .safe = rates_min(up->safe, RATES_ONE)};
    parts_clear(r, free_place);
    *out_place = free_place;
    return 0;
}

static void node_drop(struct rates *r, uint32_t place)
{
    parts_clear(r, place);
    r->nodes[place] = (struct rates_node){.used = false};
    while (r->place_count > 0 && !r->nodes[r->place_count - 1].used)
        r->place_count--;
}

static void forget_old(struct rates *r, uint64_t now_ms)
{
    if (now_ms - r->swept_ms < SWEEP_MS)
        return;
    r->swept_ms = now_ms;
    for (uint32_t i = r->place_count; i > 0; i--)
        if (r->nodes[i - 1].used && now_ms - r->nodes[i - 1].heard_ms > RATES_FORGET_MS)
            node_drop(r, i - 1);
    LIST_FOREACH_SAFE (it, tmp, &r->accounts) {
        struct rates_account *a = container_of(it, struct rates_account, link);
        if (account_idle(a, now_ms))
            account_drop(r, a);
    }
}

/* Another life: what the last one had is gone with it, and this one uses no more than its safe
 * share, however it came by that. */
static void node_reborn(struct rates *r, uint32_t place, const struct rates_report *up)
{
    struct rates_node *n = &r->nodes[place];
    uint32_t safe = rates_max(rates_safe_most(n), rates_min(up->safe, RATES_ONE));
    *n = (struct rates_node){.used = true, .met = n->met, .key = up->key, .safe = safe};
    parts_clear(r, place);
}

/* ---- up ---- */

static void part_applied(struct rates_part *p, uint64_t answer_no)
{
    if (p->sent_no == 0 || p->sent_no != answer_no)
        return;
    p->shared = p->sent_shared;
    memcpy(p->share, p->sent, sizeof(p->share));
    p->share_ms = p->sent_ms;
    p->sent_no = 0;
    p->sent_safe = false;
    memset(p->sent_most, 0, sizeof(p->sent_most));
}

static void applied(struct rates *r, uint32_t place, uint64_t answer_no)
{
    struct rates_node *n = &r->nodes[place];
    if (!n->open || answer_no != n->sent_no)
        return;
    n->open = false;
    n->safe = n->last_safe;
    n->sent_safe = 0;
    LIST_FOREACH (it, &r->accounts) {
        struct rates_account *a = container_of(it, struct rates_account, link);
        if (place < a->part_count)
            part_applied(&a->parts[place], answer_no);
    }
}

static void take_demands(struct rates *r, uint32_t place, const struct rates_report *up,
                         uint64_t now_ms)
{
    LIST_FOREACH (it, &r->accounts) {
        struct rates_account *a = container_of(it, struct rates_account, link);
        if (place >= a->part_count)
            continue;
        memset(a->parts[place].want, 0, sizeof(a->parts[place].want));
        a->parts[place].held = 0;
    }
    for (uint32_t i = 0; i < up->count; i++) {
        const struct rates_demand *d = &up->demands[i];
        struct rates_account *a = account_get(r, d->account);
        if (a == NULL || !parts_grow(a, r->place_count)) {
            r->full++;
            continue;
        }
        memcpy(a->parts[place].want, d->want, sizeof(d->want));
        a->parts[place].held = rates_min(d->held, RATES_ONE);
        a->asked_ms = now_ms;
    }
}

/* ---- down ---- */

/* Those that were not met yet count. */
static uint32_t nodes_told(const struct rates *r, uint64_t now_ms)
{
    uint32_t count = rates_node_count(r);
    bool some_unmet = rates_unmet(r, now_ms) > 0 && r->told_nodes > r->met_nodes;
    return some_unmet ? count + r->told_nodes - r->met_nodes : count;
}

static uint32_t safe_for(const struct rates *r, uint32_t place, uint64_t now_ms)
{
    uint64_t used = rates_unmet(r, now_ms);
    uint32_t equal = RATES_ONE / nodes_told(r, now_ms);
    for (uint32_t i = 0; i < r->place_count; i++)
        if (i != place && r->nodes[i].used)
            used += rates_safe_most(&r->nodes[i]);
    uint32_t free = used < RATES_ONE ? RATES_ONE - (uint32_t)used : 0;
    return rates_min(equal, free);
}

static void note_sent(struct rates_part *p, bool shared, const uint32_t share[RATES_KINDS],
                      uint64_t answer_no, uint64_t now_ms)
{
    p->sent_no = answer_no;
    p->sent_ms = now_ms;
    p->sent_shared = shared;
    p->sent_safe |= !shared;
    for (unsigned k = 0; k < RATES_KINDS; k++) {
        p->sent[k] = shared ? share[k] : 0;
        p->sent_most[k] = rates_max(p->sent_most[k], p->sent[k]);
    }
}

static bool any_shared(const struct rates *r, const struct rates_account *a)
{
    for (uint32_t i = 0; i < a->part_count; i++)
        if (r->nodes[i].used && (a->parts[i].shared || a->parts[i].sent_no != 0))
            return true;
    return false;
}

/* true: the account is named in the answer. The safe share of this answer is counted already: where
 * it is more than what is free, the account is named with what is. */
static bool answer_account(struct rates *r, struct rates_account *a, uint32_t place,
                           uint64_t now_ms, struct rates_share *out)
{
    bool split = rates_target(r, a, place, now_ms, out->share);
    if (!a->split && split && r->split_count < RATES_SHARES_MAX && parts_grow(a, r->place_count)) {
        a->split = true;
        r->split_count++;
    }
    if (!a->split)
        return false; /* All have their safe shares. */
    bool fits = true;
    out->account = a->id;
    for (unsigned k = 0; k < RATES_KINDS; k++) {
        uint32_t free = rates_free(r, a, place, k, now_ms);
        fits &= rates_safe_most(&r->nodes[place]) <= free;
        out->share[k] = rates_min(out->share[k], free);
    }
    struct rates_part *p = &a->parts[place];
    bool shared = split || !fits;
    if (shared || p->shared || p->sent_no != 0)
        note_sent(p, shared, out->share, r->answer_no, now_ms);
    if (!shared && !any_shared(r, a)) {
        a->split = false;
        r->split_count--;
    }
    return shared;
}

/* A node that came since has room in each. */
static int parts_grow_all(struct rates *r)
{
    LIST_FOREACH (it, &r->accounts)
        if (!parts_grow(container_of(it, struct rates_account, link), r->place_count))
            return ERR_NOMEM;
    return 0;
}

static void answer(struct rates *r, uint32_t place, uint64_t now_ms, struct rates_answer *out)
{
    struct rates_node *n = &r->nodes[place];
    uint32_t count = 0;
    uint32_t safe = safe_for(r, place, now_ms);
    r->answer_no++;
    n->sent_safe = rates_max(n->open ? n->sent_safe : 0, safe);
    n->last_safe = safe;
    n->open = true;
    n->sent_no = r->answer_no;
    LIST_FOREACH (it, &r->accounts) {
        struct rates_account *a = container_of(it, struct rates_account, link);
        if (answer_account(r, a, place, now_ms, &r->shares[count]))
            count++;
    }
    *out = (struct rates_answer){.report_no = n->report_no,
                                 .answer_no = r->answer_no,
                                 .term = r->term,
                                 .safe = safe,
                                 .nodes = nodes_told(r, now_ms),
                                 .count = count,
                                 .shares = r->shares};
}

/* A node that an earlier plane told of others. */
static void meet(struct rates *r, struct rates_node *n, const struct rates_report *up)
{
    r->told_nodes = rates_max(r->told_nodes, up->nodes);
    if (!n->met && up->nodes > 0 && up->safe > 0) {
        n->met = true;
        r->met_nodes++;
        r->unmet -= rates_min(r->unmet, up->safe);
    }
    n->safe = up->safe;
}

static bool is_valid(const struct rates_report *up)
{
    return up->report_no != 0 && up->key.life != 0 && up->safe <= RATES_ONE &&
           up->nodes <= RATES_NODES_MAX && (up->count == 0 || up->demands != NULL);
}

int rates_report(struct rates *r, const struct rates_report *up, uint64_t now_ms,
                 struct rates_answer *out_answer)
{
    uint32_t place;
    if (!is_valid(up))
        return ERR_INVALID;
    if (up->term > r->term)
        return ERR_CONFLICT;
    forget_old(r, now_ms);
    int rc = node_place(r, up, &place);
    if (rc == 0)
        rc = parts_grow_all(r);
    if (rc != 0)
        return rc;
    struct rates_node *n = &r->nodes[place];
    if (n->key.life != up->key.life)
        node_reborn(r, place, up);
    else if (up->report_no <= n->report_no)
        return 0;
    n->report_no = up->report_no;
    n->heard_ms = now_ms;
    if (up->term < r->term) { /* It has applied nothing of ours yet. */
        meet(r, n, up);
    } else {
        applied(r, place, up->applied);
    }
    if (up->leaving) {
        node_drop(r, place);
        return 0;
    }
    take_demands(r, place, up, now_ms);
    if (!r->first && now_ms - r->began_ms < RATES_LEARN_MS)
        return 0;
    answer(r, place, now_ms, out_answer);
    return 1;
}

void rates_get_stats(const struct rates *r, uint64_t now_ms, struct rates_stats *out)
{
    *out = (struct rates_stats){.nodes = rates_node_count(r),
                                .accounts = r->account_count,
                                .shared = r->split_count,
                                .full = r->full,
                                .learning = !r->first && now_ms - r->began_ms < RATES_LEARN_MS};
    for (uint32_t i = 0; i < r->place_count; i++)
        out->silent += r->nodes[i].used && rates_is_silent(&r->nodes[i], now_ms);
}

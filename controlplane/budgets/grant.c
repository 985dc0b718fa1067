#include "controlplane/budgets/grant.h"

#include <assert.h>

/* Everything stays below this, so that sums of a few of them cannot overflow. */
#define AMOUNT_MAX (INT64_C(1) << 61)

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool amount_valid(int64_t v)
{
    return v >= 0 && v <= AMOUNT_MAX;
}

bool grant_usage_valid(const struct grant_usage *u)
{
    return amount_valid(u->settled) && amount_valid(u->returned) && amount_valid(u->reserved) &&
           amount_valid(u->want) && amount_valid(u->need) && amount_valid(u->granted) &&
           u->settled <= AMOUNT_MAX - u->returned;
}

int64_t grant_min(int64_t limit)
{
    return max64(limit >> GRANT_MIN_SHIFT, 1);
}

/* What may still be promised; below 0 after a limit was lowered. */
static int64_t remaining(const struct grant_period *p)
{
    return p->limit - p->adjust - p->committed;
}

/* The life's own numbers; both only rise, so an old report changes nothing. `g` follows where more
 * was used than was given (an under-estimated request, commits lost in a failover): what is spent
 * is always committed. */
static void merge(struct grant_period *p, struct grant_row *row, const struct grant_usage *u,
                  int64_t granted)
{
    int64_t s = max64(row->s, u->settled);
    int64_t r = max64(row->r, u->returned);
    int64_t low = max64(s + r, granted);
    p->settled += s - row->s;
    p->committed -= r - row->r;
    row->s = s;
    row->r = r;
    if (low > row->g) {
        p->committed += low - row->g;
        row->g = low;
    }
}

/* The row ends with these: what was neither spent nor returned is returned now. */
static void give_back(struct grant_period *p, struct grant_row *row)
{
    int64_t r = row->g - row->s;
    p->committed -= r - row->r;
    row->r = r;
    row->state = GRANT_CLOSED;
}

static struct grant_answer grant_more(struct grant_period *p, struct grant_row *row,
                                      const struct grant_usage *u, const struct grant_context *c)
{
    struct grant_answer a = {0};
    int64_t rem = remaining(p);
    int64_t share = max64(rem, 0) / (2 * (int64_t)max64(c->active_nodes, 1));
    int64_t most = max64(max64(u->need, grant_min(p->limit)), share);
    int64_t outstanding = row->g - row->s - row->r;
    /* A request that waits gets what it lacks, whatever the node says that it wants. */
    int64_t lack = max64(max64(u->want, u->reserved + u->need) - outstanding, 0);
    int64_t g = c->learning ? 0 : min64(min64(lack, most), max64(rem, 0));
    row->g += g;
    p->committed += g;
    a.granted = g;
    rem -= g;
    /* Below 0: the limit was lowered, so what others hold is asked back. */
    int64_t lacking = u->need > 0 ? max64(u->reserved + u->need - outstanding - g, 0) : 0;
    a.deficit = max64(lacking - max64(rem, 0), 0) + max64(-rem, 0);
    a.recalling = c->learning || (lacking > 0 && c->recallable > 0);
    a.exhausted = !c->learning && rem <= 0 && c->recallable <= 0;
    return a;
}

struct grant_answer grant_report(struct grant_period *p, struct grant_row *row,
                                 const struct grant_usage *u, const struct grant_context *c)
{
    assert(grant_usage_valid(u));
    switch (row->state) {
    case GRANT_ACTIVE:
        merge(p, row, u, u->granted);
        return grant_more(p, row, u, c);
    case GRANT_LOST:
        merge(p, row, u, u->granted);
        break;
    case GRANT_CLOSED: {
        /* What it held was taken back here (r = g - s), so only what it spent counts, on top. */
        int64_t more = max64(u->settled - row->s, 0);
        p->settled += more;
        p->committed += more;
        row->s += more;
        row->g += more;
        row->overage += more;
        break;
    }
    }
    return (struct grant_answer){0};
}

void grant_final(struct grant_period *p, struct grant_row *row, const struct grant_usage *u,
                 bool exact, bool strict)
{
    const struct grant_usage none = {0};
    const struct grant_context c = {0};
    if (u == NULL)
        u = &none;
    assert(grant_usage_valid(u));
    if (row->state == GRANT_CLOSED) {
        (void)grant_report(p, row, u, &c);
        return;
    }
    merge(p, row, u, u->granted);
    if (exact || !strict)
        give_back(p, row);
    else
        row->state = GRANT_LOST;
}

void grant_lose(struct grant_period *p, struct grant_row *row, bool strict)
{
    if (row->state != GRANT_ACTIVE)
        return;
    if (strict)
        row->state = GRANT_LOST;
    else
        give_back(p, row);
}

void grant_release(struct grant_period *p, struct grant_row *row)
{
    if (row->state != GRANT_CLOSED)
        give_back(p, row);
}

int64_t grant_recall(struct grant_holding *holdings, size_t count, int64_t keep, int64_t deficit)
{
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += max64(holdings[i].outstanding - holdings[i].reserved - keep, 0);
    while (deficit > 0) {
        struct grant_holding *most = NULL;
        int64_t most_free = 0;
        for (size_t i = 0; i < count; i++) {
            int64_t over = holdings[i].outstanding - holdings[i].reserved - keep;
            if (!holdings[i].chosen && over > most_free) {
                most = &holdings[i];
                most_free = over;
            }
        }
        if (most == NULL)
            break;
        most->chosen = true;
        deficit -= most_free;
    }
    return sum;
}

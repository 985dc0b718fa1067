#include "dataplane/limits/bucket.h"

__extension__ typedef unsigned __int128 u128;

/* Time that `amount` takes to come in. */
static uint64_t span_of(uint64_t amount, uint64_t rate, bool round_up)
{
    if (amount == 0)
        return 0;
    if (rate == 0)
        return BUCKET_BACKLOG_MAX;
    /* amount < 2^34 times 2^36 times 2^30 fits. */
    uint64_t capped = amount < 2 * BUCKET_LIMIT_MAX ? amount : 2 * BUCKET_LIMIT_MAX;
    u128 product = (u128)capped * BUCKET_SPAN_NS * BUCKET_SHARE_ONE;
    u128 span = (product + (round_up ? rate - 1 : 0)) / rate;
    return span < BUCKET_BACKLOG_MAX ? (uint64_t)span : BUCKET_BACKLOG_MAX;
}

static uint64_t backlog(uint64_t full_ns, uint64_t now_ns)
{
    return full_ns > now_ns ? full_ns - now_ns : 0;
}

/* The backlog that may be there so that `charge` still fits. */
static uint64_t room_for(uint64_t charge)
{
    return charge < BUCKET_SPAN_NS ? BUCKET_SPAN_NS - charge : 0;
}

static uint64_t sum_capped(uint64_t a, uint64_t b)
{
    return a + b < BUCKET_BACKLOG_MAX ? a + b : BUCKET_BACKLOG_MAX;
}

bool bucket_take(struct bucket *b, uint64_t need, uint64_t rate, uint64_t now_ns,
                 uint64_t *out_wait_ns)
{
    uint64_t charge = span_of(need, rate, true);
    uint64_t room = room_for(charge);
    uint64_t full = atomic_load(&b->full_ns);
    for (;;) {
        uint64_t behind = backlog(full, now_ns);
        if (behind > room) {
            *out_wait_ns = behind - room;
            return false;
        }
        if (atomic_compare_exchange_weak(&b->full_ns, &full, now_ns + sum_capped(behind, charge)))
            return true;
    }
}

uint64_t bucket_wait_ns(const struct bucket *b, uint64_t need, uint64_t rate, uint64_t now_ns)
{
    uint64_t room = room_for(span_of(need, rate, true));
    uint64_t behind = backlog(atomic_load(&b->full_ns), now_ns);
    return behind > room ? behind - room : 0;
}

void bucket_credit(struct bucket *b, uint64_t amount, uint64_t rate, uint64_t now_ns)
{
    uint64_t back = span_of(amount, rate, false);
    uint64_t full = atomic_load(&b->full_ns);
    while (full > now_ns && back > 0) {
        uint64_t behind = backlog(full, now_ns);
        uint64_t left = behind > back ? behind - back : 0;
        if (atomic_compare_exchange_weak(&b->full_ns, &full, now_ns + left))
            return;
    }
}

void bucket_debit(struct bucket *b, uint64_t amount, uint64_t rate, uint64_t now_ns)
{
    uint64_t charge = span_of(amount, rate, true);
    uint64_t full = atomic_load(&b->full_ns);
    while (!atomic_compare_exchange_weak(&b->full_ns, &full,
                                         now_ns + sum_capped(backlog(full, now_ns), charge)))
        continue;
}

void bucket_rescale(struct bucket *b, uint64_t old_rate, uint64_t new_rate, uint64_t now_ns)
{
    uint64_t full = atomic_load(&b->full_ns);
    uint64_t next;
    if (old_rate == new_rate)
        return;
    do {
        uint64_t behind = backlog(full, now_ns);
        if (behind <= BUCKET_SPAN_NS) {
            u128 level = (u128)(BUCKET_SPAN_NS - behind) * old_rate;
            level = new_rate > 0 ? level / new_rate : BUCKET_SPAN_NS;
            next = level < BUCKET_SPAN_NS ? BUCKET_SPAN_NS - (uint64_t)level : 0;
        } else {
            u128 owed = (u128)(behind - BUCKET_SPAN_NS) * old_rate;
            owed = new_rate > 0 ? (owed + new_rate - 1) / new_rate : BUCKET_BACKLOG_MAX;
            uint64_t most = BUCKET_BACKLOG_MAX - BUCKET_SPAN_NS;
            next = BUCKET_SPAN_NS + (owed < most ? (uint64_t)owed : most);
        }
    } while (!atomic_compare_exchange_weak(&b->full_ns, &full, now_ns + next));
}

void bucket_reset(struct bucket *b, uint64_t used, uint64_t rate, uint64_t now_ns)
{
    atomic_store(&b->full_ns, now_ns + span_of(used, rate, true));
}

uint64_t bucket_level(const struct bucket *b, uint64_t rate, uint64_t now_ns)
{
    uint64_t behind = backlog(atomic_load(&b->full_ns), now_ns);
    if (behind >= BUCKET_SPAN_NS)
        return 0;
    return (uint64_t)((u128)(BUCKET_SPAN_NS - behind) * rate / BUCKET_SPAN_NS / BUCKET_SHARE_ONE);
}

uint64_t bucket_full_in_ns(const struct bucket *b, uint64_t now_ns)
{
    return backlog(atomic_load(&b->full_ns), now_ns);
}

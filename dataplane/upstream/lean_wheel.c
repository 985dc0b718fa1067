/* Deadlines of all calls on one uv timer. A hashed wheel (Varghese and Lauck 1987, scheme 6): an
 * alarm hangs in the slot of its time, one further ahead than the wheel reaches in the last slot,
 * to be hung again when that comes. Setting and unsetting are a few pointers; the timer is touched
 * only when an alarm is due before it fires. */
#include <assert.h>

#include "dataplane/upstream/lean_internal.h"

static void on_timer(uv_timer_t *timer);

static uint64_t now_slot(const struct lean_wheel *w)
{
    return uv_now(w->timer.loop) / LEAN_SLOT_MS;
}

void lean_wheel_init(struct lean_wheel *w, uv_loop_t *loop)
{
    (void)uv_timer_init(loop, &w->timer);
    for (size_t i = 0; i < LEAN_SLOTS; i++)
        list_init(&w->slots[i]);
    for (size_t i = 0; i < LEAN_SLOTS / 64; i++)
        w->used[i] = 0;
    w->done_slot = now_slot(w);
    w->due_slot = UINT64_MAX;
}

static void set_timer(struct lean_wheel *w, uint64_t slot)
{
    uint64_t now_ms = uv_now(w->timer.loop);
    uint64_t at_ms = slot * LEAN_SLOT_MS;
    w->due_slot = slot;
    (void)uv_timer_start(&w->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

void lean_wheel_hang(struct lean_wheel *w, struct lean_alarm *alarm, uint64_t at_ms)
{
    if (w->due_slot == UINT64_MAX) /* It stood still: nothing hangs in it. */
        w->done_slot = now_slot(w);
    uint64_t slot = (at_ms + LEAN_SLOT_MS - 1) / LEAN_SLOT_MS;
    if (slot <= w->done_slot)
        slot = w->done_slot + 1;
    if (slot >= w->done_slot + LEAN_SLOTS)
        slot = w->done_slot + LEAN_SLOTS - 1;
    size_t at = slot % LEAN_SLOTS;
    if (alarm->at_ms != UINT64_MAX)
        list_remove(&alarm->link);
    alarm->at_ms = at_ms;
    list_push_back(&w->slots[at], &alarm->link);
    w->used[at / 64] |= UINT64_C(1) << (at % 64);
    if (slot < w->due_slot)
        set_timer(w, slot);
}

void lean_wheel_unset(struct lean_alarm *alarm)
{
    if (alarm->at_ms == UINT64_MAX)
        return;
    list_remove(&alarm->link);
    alarm->at_ms = UINT64_MAX;
}

static void ring_slot(struct lean_wheel *w, size_t at)
{
    struct list ringing; /* What is rung may set and unset others, in this slot too. */
    struct list *link;
    list_init(&ringing);
    w->used[at / 64] &= ~(UINT64_C(1) << (at % 64));
    while ((link = list_pop_front(&w->slots[at])) != NULL)
        list_push_back(&ringing, link);
    while ((link = list_pop_front(&ringing)) != NULL) {
        struct lean_alarm *alarm = container_of(link, struct lean_alarm, link);
        alarm->at_ms = UINT64_MAX;
        alarm->ring(alarm);
    }
}

static bool is_used(const struct lean_wheel *w, uint64_t slot)
{
    size_t at = slot % LEAN_SLOTS;
    return (w->used[at / 64] >> (at % 64) & 1) != 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct lean_wheel *w = container_of(timer, struct lean_wheel, timer);
    uint64_t now = now_slot(w);
    if (now - w->done_slot >= LEAN_SLOTS) /* The loop was held up: each slot is rung once. */
        w->done_slot = now - LEAN_SLOTS;
    w->due_slot = now; /* What is set meanwhile is later than this and looked for below. */
    while (w->done_slot < now) {
        w->done_slot++;
        if (is_used(w, w->done_slot))
            ring_slot(w, w->done_slot % LEAN_SLOTS);
    }
    w->due_slot = UINT64_MAX;
    for (uint64_t slot = now + 1; slot < now + LEAN_SLOTS; slot++) {
        if (is_used(w, slot)) {
            set_timer(w, slot);
            return;
        }
    }
}

/* Lookups, references and the hand-over to readers.
 *
 * Hand-over. publish() makes one pin per reader and exchanges it into reader->incoming; the reader
 * exchanges NULL back in and owns the pin. A pin that was superseded and is used by no request goes
 * on cell->retired, a stack that readers push to and the control loop takes whole. So a pin is
 * always owned by exactly one side, and only the control loop allocates and frees. */
#include "dataplane/state/snapshot.h"

#include <assert.h>

#include "common/base/mem.h"
#include "dataplane/state/resources.h"
#include "dataplane/state/snapshot_build.h"

struct snapshot_reader {
    struct snapshot_cell *cell;
    _Atomic(struct snapshot_pin *) incoming;
    struct snapshot_pin *current; /* The worker's. */
};

struct snapshot_cell {
    struct snapshot *current;
    _Atomic uint64_t generation;
    _Atomic(struct snapshot_pin *) retired;
    uint32_t count;
    struct snapshot_reader readers[];
};

const struct snapshot_model *snapshot_model(const struct snapshot *s, struct str id)
{
    return map_get(&s->models_by_id, id);
}

const struct snapshot_route *snapshot_route(const struct snapshot *s, struct str name)
{
    return map_get(&s->routes_by_name, name);
}

const struct snapshot_policy *snapshot_policy(const struct snapshot *s, struct str name)
{
    return map_get(&s->policies_by_name, name);
}

const struct snapshot_policy *snapshot_next_policy(const struct snapshot *s, struct str name)
{
    for (uint32_t i = 0; i < s->next_policy_count; i++)
        if (str_eq(s->next_policies[i].name, name))
            return &s->next_policies[i];
    return NULL;
}

void snapshot_ref(struct snapshot *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

void snapshot_unref(struct snapshot *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    snapshot_free(s);
}

/* ---- cell ---- */

struct snapshot_cell *snapshot_cell_create(uint32_t readers)
{
    struct snapshot_cell *cell =
        mem_zalloc(sizeof(*cell) + readers * sizeof(struct snapshot_reader));
    if (cell == NULL)
        return NULL;
    cell->count = readers;
    for (uint32_t i = 0; i < readers; i++)
        cell->readers[i].cell = cell;
    return cell;
}

static void pin_free(struct snapshot_pin *pin)
{
    if (pin == NULL)
        return;
    snapshot_unref((struct snapshot *)(uintptr_t)pin->snapshot);
    mem_free(pin);
}

void snapshot_cell_reap(struct snapshot_cell *cell)
{
    struct snapshot_pin *pin = atomic_exchange_explicit(&cell->retired, NULL, memory_order_acquire);
    while (pin != NULL) {
        struct snapshot_pin *next = pin->next;
        pin_free(pin);
        pin = next;
    }
}

void snapshot_cell_destroy(struct snapshot_cell *cell)
{
    if (cell == NULL)
        return;
    for (uint32_t i = 0; i < cell->count; i++) {
        pin_free(atomic_exchange(&cell->readers[i].incoming, NULL));
        assert(cell->readers[i].current == NULL);
    }
    snapshot_cell_reap(cell);
    snapshot_unref(cell->current);
    mem_free(cell);
}

int snapshot_cell_publish(struct snapshot_cell *cell, struct snapshot *s)
{
    snapshot_cell_reap(cell);
    struct snapshot_pin *made = NULL;
    for (uint32_t i = 0; i < cell->count; i++) {
        struct snapshot_pin *pin = mem_zalloc(sizeof(*pin));
        if (pin == NULL) {
            while (made != NULL) {
                pin = made->next;
                mem_free(made);
                made = pin;
            }
            return ERR_NOMEM;
        }
        pin->next = made;
        made = pin;
    }
    for (uint32_t i = 0; i < cell->count; i++) {
        struct snapshot_pin *pin = made;
        made = pin->next;
        *pin = (struct snapshot_pin){.snapshot = s, .reader = &cell->readers[i]};
        snapshot_ref(s);
        pin_free(atomic_exchange_explicit(&cell->readers[i].incoming, pin, memory_order_acq_rel));
    }
    snapshot_ref(s);
    snapshot_unref(cell->current);
    cell->current = s;
    atomic_store_explicit(&cell->generation, s->generation, memory_order_release);
    return 0;
}

struct snapshot *snapshot_cell_current(struct snapshot_cell *cell)
{
    return cell->current;
}

uint64_t snapshot_cell_generation(const struct snapshot_cell *cell)
{
    return atomic_load_explicit(&cell->generation, memory_order_acquire);
}

/* ---- readers ---- */

struct snapshot_reader *snapshot_cell_reader(struct snapshot_cell *cell, uint32_t index)
{
    assert(index < cell->count);
    return &cell->readers[index];
}

static void retire(struct snapshot_pin *pin)
{
    struct snapshot_cell *cell = pin->reader->cell;
    pin->next = atomic_load_explicit(&cell->retired, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&cell->retired, &pin->next, pin,
                                                  memory_order_release, memory_order_relaxed))
        ;
}

void snapshot_reader_refresh(struct snapshot_reader *reader)
{
    if (atomic_load_explicit(&reader->incoming, memory_order_relaxed) == NULL)
        return;
    struct snapshot_pin *pin =
        atomic_exchange_explicit(&reader->incoming, NULL, memory_order_acq_rel);
    struct snapshot_pin *old = reader->current;
    reader->current = pin;
    if (old != NULL && old->uses == 0)
        retire(old);
}

const struct snapshot *snapshot_newest(struct snapshot_reader *reader)
{
    snapshot_reader_refresh(reader);
    return reader->current != NULL ? reader->current->snapshot : NULL;
}

struct snapshot_pin *snapshot_pin(struct snapshot_reader *reader)
{
    snapshot_reader_refresh(reader);
    if (reader->current != NULL)
        reader->current->uses++;
    return reader->current;
}

void snapshot_unpin(struct snapshot_pin *pin)
{
    assert(pin->uses > 0);
    if (--pin->uses == 0 && pin != pin->reader->current)
        retire(pin);
}

void snapshot_reader_close(struct snapshot_reader *reader)
{
    snapshot_reader_refresh(reader);
    if (reader->current != NULL) {
        assert(reader->current->uses == 0);
        retire(reader->current);
        reader->current = NULL;
    }
}

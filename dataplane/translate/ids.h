/* ids.h: ids of calls. Callers see those the provider gave, or ours where it gave none; a provider
 * sees the caller's where it can take them, else a keyed hash of them, always the same one for the
 * same id, so that the beginning of a dialogue stays what the provider has cached. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_IDS_H
#define STEELYARD_DATAPLANE_TRANSLATE_IDS_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/str.h"

#define TR_ID_FRESH_BYTES 29U /* "call_" and 24 of [0-9A-Za-z]. */
#define TR_ID_BYTES_MAX   64U

enum tr_id_class {
    TR_ID_ANY,  /* Whatever it is, as long as it is one and no longer than TR_ID_BYTES_MAX. */
    TR_ID_WORD, /* [a-zA-Z0-9_-]{1,64} */
    TR_ID_NINE, /* [a-zA-Z0-9]{9} */
};

/* A new one, from the random source of common/base; no NUL. */
void tr_id_fresh(char out[TR_ID_FRESH_BYTES]);
bool tr_id_fits(enum tr_id_class id_class, struct str id);

/* The ids of one request. Memory is the arena's. */
struct tr_ids { /* Private fields. */
    struct arena *arena;
    const uint8_t *key;
    enum tr_id_class id_class;
    struct tr_ids_entry *entries; /* Open addressing, capacity a power of two. */
    uint32_t capacity;
    uint32_t count;
};
/* calls_max: the most ids that will be asked for. ERR_TOO_LARGE: the arena's ceiling. */
int tr_ids_init(struct tr_ids *ids, enum tr_id_class id_class, const uint8_t key[16],
                uint32_t calls_max, struct arena *arena) MUST_CHECK;
/* A call takes its id: the same as outside if it fits and nobody has it yet, else one that is made
 * from it. A second call with the same id gets another one. */
int tr_ids_take(struct tr_ids *ids, struct str outside, struct str *out_inside) MUST_CHECK;

#endif

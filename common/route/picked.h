/* picked.h: how the deployment of an attempt was picked among those of its model, and what the
 * translation of the request changed for it: codes of telemetry.proto with their words, for who
 * records and for who reads. Pure. */
#ifndef STEELYARD_COMMON_ROUTE_PICKED_H
#define STEELYARD_COMMON_ROUTE_PICKED_H

#include <stdint.h>

#include "common/base/str.h"

/* X(NAME, text): in the order of PickedBy. */
#define PICKED_BY_TABLE(X)                                                                         \
    X(UNKNOWN, "unknown")                                                                          \
    X(ONLY, "only one")     /* Nobody else could be asked. */                                      \
    X(PRIORITY, "priority") /* The lowest. */                                                      \
    X(MEASURE, "measure")   /* What the route's strategy looks at. */                              \
    X(WEIGHT, "weight")     /* Drawn among equals. */                                              \
    X(TURN, "turn")         /* By turns among equals. */                                           \
    X(WISH, "wish")         /* The request's own order. */                                         \
    X(SESSION, "session")   /* It served the session before. */                                    \
    X(AGAIN, "again")       /* Once more: its failure may pass. */
enum picked_by {
#define X(name, text) PICKED_BY_##name,
    PICKED_BY_TABLE(X)
#undef X
        PICKED_BYS
};
const char *picked_by_name(uint32_t by); /* "unknown" out of range. */

/* X(NAME, text): bit = position, as PassedOver. Why one could not be asked; the first that holds.
 */
#define PICKED_PASSED_TABLE(X)                                                                     \
    X(TRIED, "tried")                                                                              \
    X(UNFIT, "unfit") /* Not for this path, or without credential or address. */                   \
    X(PINNED, "pinned")                                                                            \
    X(WISHES, "wishes")                                                                            \
    X(REGION, "region")                                                                            \
    X(DATA, "data")                                                                                \
    X(COOLING, "cooling")                                                                          \
    X(FULL, "full")                                                                                \
    X(EJECTED, "ejected")
enum picked_passed_index {
#define X(name, text) PICKED_PASSED_##name,
    PICKED_PASSED_TABLE(X)
#undef X
        PICKED_PASSES
};
#define PICKED_PASSED(name) (UINT32_C(1) << PICKED_PASSED_##name)
const char *picked_passed_name(uint32_t index); /* NULL out of range. */

/* Notes of the translation ("dropped_seed"): a bit each, as TranslationNote; one without a bit of
 * its own is "dropped_other" if it begins so, else "other". */
#define PICKED_NOTES 60U
uint64_t picked_note_bit(struct str note);
const char *picked_note_name(uint32_t index); /* NULL out of range. */

struct picked {
    uint64_t usable; /* By places in the catalogue: those that could be asked. */
    uint64_t notes;  /* Bits, as above. */
    uint32_t passed; /* PICKED_PASSED bits of the others, all together. */
    uint8_t place;   /* Of the one, + 1; 0: nothing is known. */
    uint8_t deployments;
    uint8_t equals; /* How many were as good, itself included. */
    uint8_t by;     /* enum picked_by */
};

#endif

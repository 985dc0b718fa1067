/* wishes_internal.h: what the readers of wishes share. Private to this folder's wishes_*.c. */
#ifndef STEELYARD_DATAPLANE_REQUEST_WISHES_INTERNAL_H
#define STEELYARD_DATAPLANE_REQUEST_WISHES_INTERNAL_H

#include "dataplane/request/wishes.h"

struct wishes_reading {
    const struct json *json;
    struct arena *arena;
    struct wishes *w;
    struct wishes_refusal *refusal;
    const char *root; /* What stands before every path. */
};
struct wishes_field {
    struct str name;
    int (*read)(struct wishes_reading *r, uint32_t node);
};
#define WISHES_FIELD(name, fn)                                                                     \
    {                                                                                              \
        {name, sizeof name - 1}, fn                                                                \
    }

/* Parses the text, which is refused if it is too large or no JSON. */
int wishes_begin(struct wishes_reading *r, struct json *json, struct str text, const char *root,
                 struct arena *arena, struct wishes *w, struct wishes_refusal *refusal);
int wishes_refuse(struct wishes_reading *r, uint32_t node, const char *message);
/* "root.order[1]", in the arena; .data NULL: no memory. */
struct str wishes_path(const struct wishes_reading *r, uint32_t node);
/* Members of an object through the table; null as if it were not there; what the table does not
 * name is refused. */
int wishes_fields(struct wishes_reading *r, uint32_t object, const struct wishes_field *fields,
                  size_t count, const char *unknown);
bool wishes_is_there(const struct json *json, uint32_t node); /* And no null. */
/* Readers for the table: of what is read elsewhere; of what has only to be a boolean. */
int wishes_pass(struct wishes_reading *r, uint32_t node);
int wishes_check_bool(struct wishes_reading *r, uint32_t node);
int wishes_take_bool(struct wishes_reading *r, uint32_t node, bool *out);
/* 1..256 bytes of printable ASCII. */
int wishes_take_name(struct wishes_reading *r, uint32_t node, struct str *out);
/* A number, or a string that is one, in units of 10^-scale; not negative, at most max. */
int wishes_take_decimal(struct wishes_reading *r, uint32_t node, unsigned scale, int64_t max,
                        int64_t *out);
int wishes_add_target(struct wishes_reading *r, uint32_t node, struct wishes_target target);

#endif

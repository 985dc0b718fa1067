/* catalog_store.h: imported price facts in the database. On a worker's connection; blocking. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_CATALOG_STORE_H
#define STEELYARD_CONTROLPLANE_RELEASE_CATALOG_STORE_H

#include "controlplane/catalog/rows.h"
#include "controlplane/store/pq.h"

/* What imports say holds at a moment, added to out (initialised) and sorted; each row with the
 * source and day of its import. */
int catalog_store_load(struct pq_conn *c, int64_t at_us, struct catalog_rows *out,
                       struct err *err) MUST_CHECK;

struct catalog_import {
    struct str actor;
    struct str source;      /* "models.dev" */
    struct str source_date; /* "2026-07-02" */
    size_t row_count;       /* Of what was read. */
    int64_t valid_from_us;
};
/* Rows of an import, inside the caller's transaction. *out_id: its number. */
int catalog_store_add(struct pq_conn *c, const struct catalog_import *import,
                      const struct catalog_row *const *rows, size_t count, int64_t *out_id,
                      struct err *err) MUST_CHECK;

#endif

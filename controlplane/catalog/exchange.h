/* exchange.h: rows of the catalogue as JSON, between the command-line tool and the admin API. Money
 * is decimal text in USD per million tokens ("0.075"), unknown is null. */
#ifndef STEELYARD_CONTROLPLANE_CATALOG_EXCHANGE_H
#define STEELYARD_CONTROLPLANE_CATALOG_EXCHANGE_H

#include <jansson.h>

#include "controlplane/catalog/rows.h"

/* New references; NULL: no memory. */
json_t *catalog_price_to_json(const struct price *price);
json_t *catalog_can_to_json(uint32_t can); /* ["tools", ...] */
json_t *catalog_row_to_json(const struct catalog_row *row);
json_t *catalog_factor_to_json(uint64_t permille); /* "2.5", or "infinite". */

/* Adds the row to t. ERR_INVALID: it has another form, with the field's name; a price or a name
 * that cannot be is a skip of t. */
int catalog_row_from_json(const json_t *json, struct catalog_rows *t, struct err *err) MUST_CHECK;

#endif

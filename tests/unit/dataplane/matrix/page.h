/* page.h: docs/misbehaviour.md from the table of harms.h. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_MATRIX_PAGE_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_MATRIX_PAGE_H

#include "common/base/buf.h"

void page_write(struct buf *out);

#endif

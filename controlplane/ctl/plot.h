/* plot.h: points in the plane as text: cost to the right, quality upwards. Pure. */
#ifndef STEELYARD_CONTROLPLANE_CTL_PLOT_H
#define STEELYARD_CONTROLPLANE_CTL_PLOT_H

#include "common/base/buf.h"
#include "common/base/err.h"

struct plot_point {
    double x, y;
    char mark;         /* '*' frontier, 'A'.. single models, '@' chosen. Later points win. */
    const char *label; /* For the legend; NULL: none. */
};
/* width, height: of the drawing area, 20..200 and 5..60. ERR_INVALID: no points. */
int plot_write(const struct plot_point *points, size_t count, unsigned width, unsigned height,
               const char *x_title, const char *y_title, struct buf *out) MUST_CHECK;

#endif

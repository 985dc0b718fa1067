#include "controlplane/ctl/plot.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/base/mem.h"

struct range {
    double low, high;
};

static struct range range_of(const struct plot_point *points, size_t count, bool of_y)
{
    struct range r = {INFINITY, -INFINITY};
    for (size_t i = 0; i < count; i++) {
        double v = of_y ? points[i].y : points[i].x;
        r.low = fmin(r.low, v);
        r.high = fmax(r.high, v);
    }
    double pad = r.high > r.low ? (r.high - r.low) * 0.04 : fmax(fabs(r.low) * 0.1, 1e-9);
    r.low -= pad;
    r.high += pad;
    if (!of_y && r.low < 0.0)
        r.low = 0.0;
    return r;
}

static unsigned cell(double v, struct range r, unsigned cells)
{
    double at = (v - r.low) / (r.high - r.low) * (double)(cells - 1);
    long n = lround(at);
    return n < 0 ? 0 : n >= (long)cells ? cells - 1 : (unsigned)n;
}

static int write_rows(const char *grid, unsigned width, unsigned height, struct range y,
                      struct buf *out)
{
    int rc = 0;
    for (unsigned row = 0; rc == 0 && row < height; row++) {
        double value = y.high - (y.high - y.low) * (double)row / (double)(height - 1);
        if (row % 4 == 0 || row == height - 1)
            rc = buf_printf(out, "%8.3f |", value);
        else
            rc = buf_append_text(out, "         |");
        size_t len = width;
        const char *cells = grid + (size_t)row * width;
        while (len > 0 && cells[len - 1] == ' ')
            len--;
        if (rc == 0)
            rc = buf_append(out, cells, len);
        if (rc == 0)
            rc = buf_append_char(out, '\n');
    }
    return rc;
}

static int write_axis(unsigned width, struct range x, const char *x_title, struct buf *out)
{
    int rc = buf_append_text(out, "         +");
    for (unsigned i = 0; rc == 0 && i < width; i++)
        rc = buf_append_char(out, '-');
    if (rc == 0)
        rc = buf_printf(out, "\n          %-12.4g%*s%.4g\n          %s\n", x.low, (int)width - 20,
                        "", x.high, x_title);
    return rc;
}

int plot_write(const struct plot_point *points, size_t count, unsigned width, unsigned height,
               const char *x_title, const char *y_title, struct buf *out)
{
    assert(width >= 20 && width <= 200 && height >= 5 && height <= 60);
    if (count == 0)
        return ERR_INVALID;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(points[i].x) || !isfinite(points[i].y))
            return ERR_INVALID;
    char *grid = mem_alloc((size_t)width * height);
    if (grid == NULL)
        return ERR_NOMEM;
    memset(grid, ' ', (size_t)width * height);
    struct range x = range_of(points, count, false), y = range_of(points, count, true);
    for (size_t i = 0; i < count; i++) {
        unsigned row = height - 1 - cell(points[i].y, y, height);
        grid[(size_t)row * width + cell(points[i].x, x, width)] = points[i].mark;
    }
    int rc = buf_printf(out, "%s\n", y_title);
    if (rc == 0)
        rc = write_rows(grid, width, height, y, out);
    if (rc == 0)
        rc = write_axis(width, x, x_title, out);
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (points[i].label != NULL)
            rc = buf_printf(out, "  %c  %s\n", points[i].mark, points[i].label);
    mem_free(grid);
    return rc;
}

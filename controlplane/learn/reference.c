#include "controlplane/learn/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDING 1e-8

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Values up to and including limit; sorted. */
static uint32_t count_up_to(const double *values, uint32_t count, double limit)
{
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (values[middle] <= limit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void reference_make(double *values, uint32_t count, struct reference *out)
{
    uint32_t from = 0;
    memset(out, 0, sizeof(*out));
    out->rows = count;
    if (count == 0)
        return;
    qsort(values, count, sizeof(*values), by_value);
    for (uint32_t bin = 1; bin <= REFERENCE_BINS; bin++) {
        double limit =
            values[bin == REFERENCE_BINS ? count - 1 : (uint64_t)count * bin / REFERENCE_BINS];
        uint32_t to = count_up_to(values, count, limit);
        if (to == from)
            continue; /* Equal limits: the bin before has them all. */
        out->limit[out->count] = limit;
        out->share[out->count++] = (double)(to - from) / count;
        from = to;
    }
}

double reference_index(const struct reference *r, double *values, uint32_t count)
{
    double index = 0;
    uint32_t from = 0;
    if (r->rows == 0 || r->count == 0 || count == 0)
        return NAN;
    qsort(values, count, sizeof(*values), by_value);
    double spare = 0.5 * (r->count + 1);
    /* Half a row more in each, so that an empty bin has a logarithm. Below nothing is empty, above
     * the largest value lies a bin that was. */
    for (uint32_t bin = 0; bin <= r->count; bin++) {
        uint32_t to = bin == r->count ? count : count_up_to(values, count, r->limit[bin]);
        double share = bin == r->count ? 0 : r->share[bin];
        double e = (share * r->rows + 0.5) / (r->rows + spare);
        double a = (to - from + 0.5) / (count + spare);
        index += (a - e) * log(a / e);
        from = to;
    }
    return index;
}

json_t *reference_json(const struct reference *r)
{
    json_t *limits = json_array();
    json_t *shares = json_array();
    for (uint32_t i = 0; i < r->count; i++)
        if (json_array_append_new(limits, json_real(r->limit[i])) != 0 ||
            json_array_append_new(shares, json_real(r->share[i])) != 0) {
            json_decref(limits);
            json_decref(shares);
            return NULL;
        }
    return json_pack("{s:I,s:o,s:o}", "rows", (json_int_t)r->rows, "limits", limits, "shares",
                     shares);
}

int reference_read(const json_t *json, struct reference *out)
{
    struct reference r = {0};
    const json_t *limits = json_object_get(json, "limits");
    const json_t *shares = json_object_get(json, "shares");
    json_int_t rows = json_integer_value(json_object_get(json, "rows"));
    size_t count = json_array_size(limits);
    if (count == 0 || count > REFERENCE_BINS || count != json_array_size(shares) || rows <= 0 ||
        rows > UINT32_MAX)
        return ERR_INVALID;
    r.rows = (uint32_t)rows;
    for (; r.count < count; r.count++) {
        const json_t *limit = json_array_get(limits, r.count);
        const json_t *share = json_array_get(shares, r.count);
        if (!json_is_number(limit) || !json_is_number(share) || json_number_value(share) < 0 ||
            json_number_value(share) > 1)
            return ERR_INVALID;
        /* Reports round to nine digits; a value that is the limit is to stay below it. */
        r.limit[r.count] = json_number_value(limit) + ROUNDING * fabs(json_number_value(limit));
        r.share[r.count] = json_number_value(share);
    }
    *out = r;
    return 0;
}

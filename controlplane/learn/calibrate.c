#include "controlplane/learn/calibrate.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"

#define Q16               65536.0
#define PLATT_STEPS       50
#define PLATT_PENALTY     1.0 /* Of (slope - 1) and the intercept: about four labels. */
#define ISOTONIC_EDGE_MIN 0.01

const char *calibrate_method_name(enum calibrate_method method)
{
    static const char *const names[] = {
        [CALIBRATE_IDENTITY] = "identity",
        [CALIBRATE_PLATT] = "platt",
        [CALIBRATE_ISOTONIC] = "isotonic",
    };
    return names[method];
}

enum calibrate_method calibrate_allowed(uint32_t labels)
{
    return labels >= CALIBRATE_ISOTONIC_LABELS_MIN ? CALIBRATE_ISOTONIC
           : labels >= CALIBRATE_PLATT_LABELS_MIN  ? CALIBRATE_PLATT
                                                   : CALIBRATE_IDENTITY;
}

static int by_z(const void *a, const void *b)
{
    const struct calibrate_label *x = a;
    const struct calibrate_label *y = b;
    if (x->z != y->z)
        return x->z < y->z ? -1 : 1;
    return x->score < y->score ? -1 : x->score > y->score;
}

/* Newton's method on q = logistic(a z + b), with a prior at a = 1, b = 0. */
static void fit_platt(const struct calibrate_label *labels, uint32_t count, double *out_a,
                      double *out_b)
{
    double a = 1;
    double b = 0;
    for (int step = 0; step < PLATT_STEPS; step++) {
        double ga = PLATT_PENALTY * (a - 1);
        double gb = PLATT_PENALTY * b;
        double haa = PLATT_PENALTY;
        double hbb = PLATT_PENALTY;
        double hab = 0;
        for (uint32_t i = 0; i < count; i++) {
            double z = labels[i].z / Q16;
            double w = (double)labels[i].weight;
            double q = 1 / (1 + exp(-(a * z + b)));
            double error = w * (q - (double)labels[i].score);
            double curve = w * q * (1 - q);
            ga += error * z;
            gb += error;
            haa += curve * z * z;
            hab += curve * z;
            hbb += curve;
        }
        double determinant = haa * hbb - hab * hab;
        double da = (hbb * ga - hab * gb) / determinant;
        double db = (haa * gb - hab * ga) / determinant;
        double largest = fmax(fabs(da), fabs(db));
        double damp = largest > 1 ? 1 / largest : 1;
        a -= damp * da;
        b -= damp * db;
        if (largest < 1e-9)
            break;
    }
    *out_a = a > 0 ? a : 0;
    *out_b = b;
}

static void knots_from_line(double a, double b, struct artifact_calib *out)
{
    struct artifact_calib base;
    artifact_calib_logistic(&base);
    uint32_t n = 0;
    for (uint32_t k = 0; k < base.count; k++) {
        /* Knots where the logistic has them: z = (t - b) / a for t of the plain one. */
        double z = a > 1e-6 ? (base.z[k] / Q16 - b) / a * Q16 : base.z[k];
        double q = a > 1e-6 ? base.q[k] : Q16 / (1 + exp(-b));
        z = fmin(fmax(nearbyint(z), -(double)ARTIFACT_SCORE_MAX), (double)ARTIFACT_SCORE_MAX);
        if (n > 0 && (int32_t)z <= out->z[n - 1])
            continue;
        out->z[n] = (int32_t)z;
        out->q[n++] = (uint32_t)nearbyint(q);
    }
    out->count = n;
}

struct block { /* A run of labels that share one value. */
    double weight;
    double score; /* Mean. */
    double z;     /* Mean. */
};

static void pool(struct block *into, const struct block *from)
{
    double weight = into->weight + from->weight;
    into->score = (into->score * into->weight + from->score * from->weight) / weight;
    into->z = (into->z * into->weight + from->z * from->weight) / weight;
    into->weight = weight;
}

static uint32_t pool_violators(const struct calibrate_label *labels, uint32_t count,
                               struct block *blocks)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct block block = {
            .weight = (double)labels[i].weight, .score = (double)labels[i].score, .z = labels[i].z};
        while (i + 1 < count && labels[i + 1].z == labels[i].z) { /* One z, one value. */
            i++;
            struct block same = {.weight = (double)labels[i].weight,
                                 .score = (double)labels[i].score,
                                 .z = labels[i].z};
            pool(&block, &same);
        }
        blocks[n++] = block;
        while (n >= 2 && blocks[n - 2].score >= blocks[n - 1].score) {
            pool(&blocks[n - 2], &blocks[n - 1]);
            n--;
        }
    }
    return n;
}

/* Joins the lightest block with its lighter neighbour until all fit. */
static uint32_t thin_blocks(struct block *blocks, uint32_t n, uint32_t most, double weight_min)
{
    for (;;) {
        uint32_t light = 0;
        for (uint32_t i = 1; i < n; i++)
            if (blocks[i].weight < blocks[light].weight)
                light = i;
        if (n < 2 || (n <= most && blocks[light].weight >= weight_min))
            return n;
        uint32_t left = light == 0 ? 0 : light - 1;
        if (light != 0 && light + 1 < n && blocks[light + 1].weight < blocks[left].weight)
            left = light;
        pool(&blocks[left], &blocks[left + 1]);
        for (uint32_t i = left + 1; i + 1 < n; i++)
            blocks[i] = blocks[i + 1];
        n--;
    }
}

static int fit_isotonic(struct calibrate_label *labels, uint32_t count, struct artifact_calib *out)
{
    double total = 0;
    struct block *blocks = mem_calloc(count, sizeof(*blocks));
    if (blocks == NULL)
        return ERR_NOMEM;
    qsort(labels, count, sizeof(*labels), by_z);
    uint32_t n = pool_violators(labels, count, blocks);
    for (uint32_t i = 0; i < n; i++)
        total += blocks[i].weight;
    n = thin_blocks(blocks, n, ARTIFACT_KNOTS_MAX, total / (2 * ARTIFACT_KNOTS_MAX));
    out->count = 0;
    for (uint32_t i = 0; i < n; i++) {
        double q = fmin(fmax(blocks[i].score, ISOTONIC_EDGE_MIN), 1 - ISOTONIC_EDGE_MIN);
        int32_t z = (int32_t)nearbyint(blocks[i].z);
        if (out->count > 0 && z <= out->z[out->count - 1])
            continue;
        out->z[out->count] = z;
        out->q[out->count++] = (uint32_t)nearbyint(q * Q16);
    }
    mem_free(blocks);
    return 0;
}

int calibrate_fit(enum calibrate_method method, struct calibrate_label *labels, uint32_t count,
                  struct artifact_calib *out_calib)
{
    double a = 1;
    double b = 0;
    if (method == CALIBRATE_ISOTONIC && count != 0)
        return fit_isotonic(labels, count, out_calib);
    if (method == CALIBRATE_IDENTITY || count == 0) {
        artifact_calib_logistic(out_calib);
        return 0;
    }
    fit_platt(labels, count, &a, &b);
    knots_from_line(a, b, out_calib);
    return 0;
}

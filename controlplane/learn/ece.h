/* ece.h: how far predicted quality lies from what was scored, in ten bins of equal width (expected
 * calibration error: Naeini, Cooper and Hauskrecht, 2015), and how much of that labels so few show
 * by chance.
 *
 *   error  = sum over bins of |sum of w (q - y)| / sum of all w
 *   chance = sum over bins of sqrt(2 / pi) s sqrt(sum of w^2) / sum of all w
 *
 * s squared being the variance of q - y in the bin. The mean of n labels lies off the truth where
 * predictions are right too, by a normal deviation of s / sqrt(n), the mean size of which is sqrt(2
 * / pi) of it; so the error of a policy that is right is not 0 (Roelofs et al., 2022). With 700
 * labels it is about 0.03, with 70,000 a tenth of that. Pure. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_ECE_H
#define STEELYARD_CONTROLPLANE_LEARN_ECE_H

#include <stdint.h>

#define ECE_BINS 10

struct ece { /* Zeroed is ready. */
    struct ece_bin {
        uint32_t labels;
        double weight;
        double weight_squares;
        double off;         /* Sum of w (q - y) ... */
        double off_squares; /* ... and of w (q - y)^2. */
        double widest;      /* Sum of w q (1 - q): the variance of scores that are 0 or 1. */
    } bins[ECE_BINS];
};

struct ece_value {
    double error;  /* 0 without labels. */
    double chance; /* Of it, what is expected of predictions that are right. */
};

/* quality and score in [0, 1], weight above 0. */
void ece_add(struct ece *e, double weight, double quality, double score);
struct ece_value ece_value(const struct ece *e);

#endif

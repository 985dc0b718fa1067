/* guards_codec.c: the guards' state as bytes. One walk over the fields serves both directions, so
 * that what is written is what is read. */
#include <math.h>
#include <string.h>

#include "controlplane/rollout/guards.h"

static const char magic[8] = {'s', 't', 'g', 'u', 'a', 'r', 'd', '1'};

struct walk {
    struct buf *out; /* NULL: reading. */
    struct str in;   /* What is left to read. */
    int rc;          /* First error; later fields are left alone. */
};

static void walk_word(struct walk *w, uint64_t *x)
{
    unsigned char bytes[8];
    if (w->rc != 0)
        return;
    if (w->out != NULL) {
        for (uint32_t i = 0; i < 8; i++)
            bytes[i] = (unsigned char)(*x >> (8 * i));
        w->rc = buf_append(w->out, bytes, sizeof(bytes));
        return;
    }
    if (w->in.len < sizeof(bytes)) {
        w->rc = ERR_INVALID;
        return;
    }
    memcpy(bytes, w->in.data, sizeof(bytes));
    w->in = str_slice(w->in, sizeof(bytes), w->in.len);
    *x = 0;
    for (uint32_t i = 0; i < 8; i++)
        *x |= (uint64_t)bytes[i] << (8 * i);
}

static void walk_double(struct walk *w, double *x)
{
    uint64_t bits;
    memcpy(&bits, x, sizeof(bits));
    walk_word(w, &bits);
    memcpy(x, &bits, sizeof(bits));
    if (w->rc == 0 && !isfinite(*x))
        w->rc = ERR_INVALID;
}

static void walk_doubles(struct walk *w, double *x, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        walk_double(w, &x[i]);
}

static void walk_bool(struct walk *w, bool *x)
{
    uint64_t word = *x ? 1 : 0;
    walk_word(w, &word);
    if (w->rc == 0 && word > 1)
        w->rc = ERR_INVALID;
    *x = word == 1;
}

static void walk_rules(struct walk *w, struct guard_rules *r)
{
    for (uint32_t i = 0; i < GUARD_METRICS; i++) {
        walk_double(w, &r->metric[i].alpha);
        walk_double(w, &r->metric[i].margin);
        walk_double(w, &r->metric[i].goal);
        walk_bool(w, &r->metric[i].on);
    }
    walk_double(w, &r->ratio_alpha);
}

static void walk_event(struct walk *w, struct event_guard *g)
{
    walk_double(w, &g->tolerated);
    walk_doubles(w, g->log_m, EVENT_GUARD_GRID);
    for (uint32_t arm = 0; arm < 2; arm++) {
        walk_word(w, &g->exposures[arm]);
        walk_word(w, &g->events[arm]);
    }
    for (uint32_t i = 0; i < EVENT_GUARD_CLUSTERS; i++) {
        walk_word(w, &g->cluster_exposures[i]);
        walk_word(w, &g->cluster_events[i]);
    }
    if (w->rc == 0 && !(g->tolerated >= 0.0 && g->tolerated <= EVENT_GUARD_TOLERATED_MAX))
        w->rc = ERR_INVALID;
}

static void walk_mean(struct walk *w, struct mean_guard *g)
{
    double *fields[] = {&g->start,   &g->range,   &g->sum[0], &g->sum[1], &g->weight,
                        &g->weight2, &g->product, &g->square, &g->stable, &g->rho2};
    for (uint32_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        walk_double(w, fields[i]);
    walk_word(w, &g->n[0]);
    walk_word(w, &g->n[1]);
    walk_doubles(w, g->cluster_psi, MEAN_GUARD_CLUSTERS);
    walk_doubles(w, g->cluster_weight, MEAN_GUARD_CLUSTERS);
}

static void walk_guards(struct walk *w, struct guards *g)
{
    walk_rules(w, &g->rules);
    for (uint32_t i = 0; i < GUARD_EVENTS; i++)
        walk_event(w, &g->event[i]);
    for (uint32_t i = 0; i < GUARD_MEANS; i++)
        walk_mean(w, &g->mean[i]);
    walk_doubles(w, g->ratio.log_m, RATIO_GRID);
    walk_double(w, &g->ratio.expected);
    walk_word(w, &g->ratio.units[0]);
    walk_word(w, &g->ratio.units[1]);
}

int guards_encode(const struct guards *g, struct buf *out)
{
    struct guards copy = *g; /* The walk takes what it may write to. */
    struct walk w = {.out = out};
    const size_t before = out->len;
    w.rc = buf_append(out, magic, sizeof(magic));
    walk_guards(&w, &copy);
    if (w.rc != 0)
        out->len = before;
    return w.rc;
}

int guards_decode(struct str bytes, struct guards *out, struct err *err)
{
    struct guards g = {0};
    struct walk w = {.in = bytes};
    if (bytes.len < sizeof(magic) || memcmp(bytes.data, magic, sizeof(magic)) != 0)
        return err_set(err, ERR_INVALID, "stored guard state is of no version known here");
    w.in = str_slice(bytes, sizeof(magic), bytes.len);
    walk_guards(&w, &g);
    if (w.rc == 0 && w.in.len != 0)
        w.rc = ERR_INVALID;
    if (w.rc != 0)
        return err_set(err, w.rc, "stored guard state is damaged (%zu bytes)", bytes.len);
    const int rc = guard_rules_check(&g.rules, err);
    if (rc == 0)
        *out = g;
    return rc;
}

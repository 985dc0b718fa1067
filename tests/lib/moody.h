/* moody.h: a server that closes kept connections at random moments: before reading, after part of a
 * request, after all of it without a reply, in the middle of the reply, right behind it, and
 * whenever a timer of random length says so; often with a reset. What it answers, and what is noted
 * about it, is its owner's business. One loop, one thread; rand_seed_thread makes it repeatable. */
#ifndef STEELYARD_TESTS_LIB_MOODY_H
#define STEELYARD_TESTS_LIB_MOODY_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/buf.h"
#include "common/base/list.h"

struct moody_request {
    struct str target;
    struct str body;
    bool on_used; /* Its connection had carried a request before. */
};

/* How far a request that was read whole came. */
enum moody_end {
    MOODY_SILENT, /* Closed without a byte of a reply. */
    MOODY_CUT,    /* Some of the reply left, then it closed. */
    MOODY_DOOMED, /* All of it was handed to the kernel, but a reset may be close behind. */
    MOODY_WHOLE,  /* All of it left, and nothing will take it back. */
};

struct moody_config {
    unsigned keep_percent; /* Requests that go well. */
    /* Appends the reply, at least two bytes. *out_token comes back with the end. */
    void (*on_request)(void *arg, const struct moody_request *request, struct buf *reply,
                       void **out_token);
    void (*on_end)(void *arg, void *token, enum moody_end end);
    void *arg;
};

struct moody {
    uv_loop_t *loop;
    uv_tcp_t tcp;
    struct moody_config config;
    struct list peers;
    uint16_t port;
    uint64_t connections;
};

/* Listens at an ephemeral loopback port. Aborts when it cannot. */
void moody_start(struct moody *m, uv_loop_t *loop, const struct moody_config *config);
void moody_close(struct moody *m); /* All is closed once the loop has nothing left of it. */

#endif

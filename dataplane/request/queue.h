/* queue.h: requests of one worker that wait for room at a deployment (RELIABILITY F21, F22). At
 * most QUEUE_MAX, each for at most QUEUE_WAIT_MS; of one tenant (key) at most QUEUE_SHARE_MAX. Who
 * goes next is fair by input tokens, whoever came first: start-time fair queueing (Goyal, Vin and
 * Cheng, 1996), which shares out as deficit round robin does, without a list per tenant. Those for
 * different routes do not wait for each other. Pure; one thread. */
#ifndef STEELYARD_DATAPLANE_REQUEST_QUEUE_H
#define STEELYARD_DATAPLANE_REQUEST_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#define QUEUE_MAX       64U
#define QUEUE_SHARE_MAX 16U
#define QUEUE_WAIT_MS   1000U

struct queue_place {
    const void *who;   /* The request; NULL: free. */
    const void *where; /* What it waits for: a route, or a model. */
    uint64_t tenant;
    uint64_t start;  /* Virtual time at which its turn is ... */
    uint64_t finish; /* ... and that of the next of its tenant. */
    uint64_t until_ms;
};
struct queue {
    uint32_t count;
    uint32_t wait_ms; /* 0: QUEUE_WAIT_MS. */
    uint64_t now;     /* Virtual time: tokens. */
    struct queue_place places[QUEUE_MAX];
};

enum queue_answer { QUEUE_JOINED, QUEUE_FULL, QUEUE_OVER_SHARE };
enum queue_answer queue_join(struct queue *q, const void *who, const void *where, uint64_t tenant,
                             uint32_t tokens, uint64_t now_ms);
/* Does somebody wait there? Then whoever comes waits, too. */
bool queue_waits(const struct queue *q, const void *where);
/* May it look for room now: is nobody of its place before it? */
bool queue_is_next(const struct queue *q, const void *who);
bool queue_is_over(const struct queue *q, const void *who, uint64_t now_ms); /* Its time is up. */
/* It has its room, or gives up. Nothing happens if it does not wait. served: its turn counts. */
void queue_leave(struct queue *q, const void *who, bool served);

#endif

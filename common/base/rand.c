/* xoshiro256** 1.0 (Blackman and Vigna, 2018), its state filled by SplitMix64. */
#include "common/base/rand.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/random.h>

#include "common/base/clock.h"

static _Thread_local uint64_t state[4];
static _Thread_local bool seeded;

int rand_secure(void *out, size_t len)
{
    unsigned char *p = out;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_from_errno(errno);
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static uint64_t splitmix64(uint64_t *io_state)
{
    uint64_t z = (*io_state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

void rand_seed_thread(uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++)
        state[i] = splitmix64(&seed);
    seeded = true;
}

/* A forked child must not repeat its parent's numbers; only the forking thread survives. */
static void forget_seed(void)
{
    seeded = false;
}

static void register_fork_handler(void)
{
    (void)pthread_atfork(NULL, NULL, forget_seed);
}

static void seed_from_kernel(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, register_fork_handler);
    if (rand_secure(state, sizeof state) == 0 && (state[0] | state[1] | state[2] | state[3]) != 0) {
        seeded = true;
        return;
    }
    /* Without getrandom (an old kernel, a strict sandbox) jitter still needs to differ. */
    rand_seed_thread(clock_mono_ns() ^ (uint64_t)(uintptr_t)&state);
}

static uint64_t rotl(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

uint64_t rand_u64(void)
{
    if (!seeded)
        seed_from_kernel();
    uint64_t result = rotl(state[1] * 5, 7) * 9;
    uint64_t t = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= t;
    state[3] = rotl(state[3], 45);
    return result;
}

/* Lemire, "Fast Random Integer Generation in an Interval" (2019): multiply, reject the low end. */
uint64_t rand_below(uint64_t bound)
{
    assert(bound > 0);
    __extension__ typedef unsigned __int128 u128;
    uint64_t floor = (0 - bound) % bound;
    u128 product = 0;
    do {
        product = (u128)rand_u64() * bound;
    } while ((uint64_t)product < floor);
    return (uint64_t)(product >> 64);
}

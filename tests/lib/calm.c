/* clock_gettime and epoll_wait are defined here, in the program, and so are those of its shared
 * libraries, too. A program of which nothing calls calm_clock is linked without this file. */
#include "tests/lib/calm.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

static _Thread_local bool calm;
static _Thread_local int64_t real_ns; /* At the last look. */
static _Thread_local int64_t calm_ns;

typedef int wait_fn(int fd, struct epoll_event *events, int max, int timeout_ms);
static wait_fn *real_wait;
typedef int clock_fn(clockid_t clock, struct timespec *out);
static clock_fn *real_clock;

__attribute__((constructor)) static void find_the_real_ones(void)
{
    real_wait = (wait_fn *)(uintptr_t)dlsym(RTLD_NEXT, "epoll_wait");
    real_clock = (clock_fn *)(uintptr_t)dlsym(RTLD_NEXT, "clock_gettime");
    if (real_wait == NULL || real_clock == NULL)
        abort();
}

static int ask(clockid_t clock, struct timespec *out)
{
    if (real_clock == NULL) /* In another's constructor. */
        return (int)syscall(SYS_clock_gettime, clock, out);
    return real_clock(clock, out);
}

static int64_t look(void)
{
    struct timespec t;
    (void)ask(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void pass(int64_t most_ns)
{
    const int64_t now_ns = look(), passed_ns = now_ns - real_ns;
    real_ns = now_ns;
    calm_ns += passed_ns < most_ns ? passed_ns : most_ns;
}

void calm_clock(void)
{
    if (calm)
        return;
    real_ns = calm_ns = look();
    calm = true;
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    const bool monotonic =
        clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_MONOTONIC_COARSE;
    if (!calm || !monotonic)
        return ask(clock, out);
    pass(CALM_STEP_NS);
    *out = (struct timespec){.tv_sec = calm_ns / NS_PER_S, .tv_nsec = calm_ns % NS_PER_S};
    return 0;
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
    if (!calm)
        return real_wait(fd, events, max, timeout_ms);
    pass(CALM_STEP_NS);
    const int count = real_wait(fd, events, max, timeout_ms);
    pass(count == 0 && timeout_ms > 0 ? timeout_ms * NS_PER_MS + CALM_STEP_NS : CALM_STEP_NS);
    return count;
}

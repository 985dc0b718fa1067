/* clock.h: time that a test can replace. Durations and expiries use the monotonic clock; records
 * use the wall clock. Thread-safe; clock_set_source is for tests, before threads exist. */
#ifndef STEELYARD_COMMON_BASE_CLOCK_H
#define STEELYARD_COMMON_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);
int64_t clock_wall_us(void); /* Unix time in microseconds. */
/* The wall clock of the program's first such question, carried on by the monotonic clock: to what
 * somebody sets the clock since then does not show. For periods that another's clock decides, from
 * which the difference is known. With a replaced source it is that one's wall clock. */
int64_t clock_steady_us(void);
int64_t clock_steady_at_us(uint64_t mono_ns); /* The same at a time that was read already. */
uint64_t clock_thread_cpu_ns(void);

struct clock_source {
    uint64_t (*mono_ns)(void);
    int64_t (*wall_us)(void);
};
void clock_set_source(const struct clock_source *source); /* NULL: the system's. Borrowed. */

/* "2026-11-21T03:55:00.123456Z"; out holds at least CLOCK_RFC3339_BYTES. */
#define CLOCK_RFC3339_BYTES 40
void clock_format_rfc3339(int64_t wall_us, char *out);

#endif

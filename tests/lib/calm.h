/* calm.h: a clock that does not see what else the machine has to do. For tests whose two sides run
 * on one loop of one thread, with deadlines of milliseconds.
 *
 * Once asked for, CLOCK_MONOTONIC (and its relatives) of the calling thread is slower than the
 * machine's: between two looks at it at most CALM_STEP_NS pass, however long the thread was not
 * let run; but a wait of the loop in which nothing came is counted in full. So what is done at once
 * is done at once on any machine, and a deadline ends what waits for nothing. libuv and libcurl
 * read the same clock. It never runs back. */
#ifndef STEELYARD_TESTS_LIB_CALM_H
#define STEELYARD_TESTS_LIB_CALM_H

#define CALM_STEP_NS 1000000

void calm_clock(void); /* For this thread, from now on; a second time changes nothing. */

#endif

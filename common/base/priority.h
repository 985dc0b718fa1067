/* priority.h: which threads give way where there are fewer processors than threads that want one.
 * Workers keep the priority the process was started with; every other thread stands behind them: a
 * request hardly ever waits for it, and should not wait until it is through with what it happens to
 * do.
 * A thread that stands behind never takes the processor from one that runs (SCHED_BATCH), and gets
 * a third of what a worker does while both want it, more than it needs to keep up (decision 0256).
 *
 * Needs no privilege. Where the system refuses, and for threads under a real-time policy, all stays
 * as it is. See sched(7), setpriority(2). */
#ifndef STEELYARD_COMMON_BASE_PRIORITY_H
#define STEELYARD_COMMON_BASE_PRIORITY_H

/* How much nicer than the process was started. */
#define PRIORITY_BEHIND_NICE 5

/* The threads of this process that exist now, but for the caller; those they start are like them.
 * Whoever stands behind already stays where it is. */
void priority_put_others_behind(void);
/* The caller, and the threads it starts from now on. */
void priority_stand_behind(void);

#endif

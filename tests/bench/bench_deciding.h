/* bench_deciding.h: the part of a request that the contract fixes, whoever serves it: features of
 * its text by the formulas that records are bound to, a policy's decision, its intent in the spool
 * before it goes up and its outcome before the answer goes down; behind it the spool's threads and
 * one that makes batches, which go nowhere. No head is parsed, no key looked up, no money reserved,
 * nothing composed. Ends the program if something fails. */
#ifndef STEELYARD_TESTS_BENCH_BENCH_DECIDING_H
#define STEELYARD_TESTS_BENCH_BENCH_DECIDING_H

#include <stddef.h>

struct spool_intent;

/* Its spool is in a directory of its own, which bench_deciding_stop removes. */
void bench_deciding_start(void);
void bench_deciding_stop(void);
/* bytes: head and body of one chat completion. The intent is ended by bench_deciding_reply. */
struct spool_intent *bench_deciding_request(const char *bytes, size_t len);
void bench_deciding_reply(struct spool_intent *intent);

#endif

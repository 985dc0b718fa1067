/* fault.h: makes the n-th allocation of the calling thread fail; other threads never see it. */
#ifndef STEELYARD_TESTS_LIB_FAULT_H
#define STEELYARD_TESTS_LIB_FAULT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

void fault_arm_alloc(unsigned n); /* The n-th allocation from now (0 = the next) fails, once. */
bool fault_disarm(void);          /* true: it fired. */
/* What is allocated in between is neither counted nor failed: for a test's own parts that share
 * the process with what is tested. Nests. */
void fault_suspend(void);
void fault_continue(void);

#endif

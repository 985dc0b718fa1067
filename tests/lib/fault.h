/* fault.h: makes the n-th allocation fail. For single-threaded tests. */
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

#endif

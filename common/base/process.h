/* process.h: what the edge of a program does to its own process, mostly before anything else runs.
 */
#ifndef STEELYARD_COMMON_BASE_PROCESS_H
#define STEELYARD_COMMON_BASE_PROCESS_H

#include <stdint.h>

/* Secrets are in the process's memory: no core file, no debugger of another user. Writes to a peer
 * that is gone are errors, not signals. */
void process_harden(void);
/* The soft limit of descriptors becomes the hard one (RELIABILITY F25). */
void process_raise_descriptors(void);
/* The soft limit; UINT64_MAX: none. */
uint64_t process_descriptors(void);
/* Gives back to the system what is not needed now: free memory of the heaps, and the pages of code
 * and constants of programs and libraries, of which most served only to start (what is needed again
 * comes back from the page cache; a debugger's breakpoints are lost). Takes milliseconds. Any
 * thread, in a quiet moment. */
void process_trim(void);
/* As the kernel counts them; 0 where it does not say. */
void process_memory(uint64_t *out_virtual, uint64_t *out_resident);

#endif

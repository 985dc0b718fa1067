/* Preloaded into a program under test: its own reads of the wall clock are off by what a file says
 * (STEELYARD_TEST_CLOCK: a signed 64-bit number of nanoseconds, read at every call). Only calls
 * from the program's own code: the waits of libraries are compared with the kernel's clock, which
 * stays as it is. */
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)

static uintptr_t code_begin, code_end;
static const volatile int64_t *shift_ns;

static int find_program(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    (void)data;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD || (info->dlpi_phdr[i].p_flags & PF_X) == 0)
            continue;
        code_begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        code_end = code_begin + info->dlpi_phdr[i].p_memsz;
    }
    return 1; /* The first is the program itself. */
}

__attribute__((constructor)) static void clock_shift_begin(void)
{
    const char *path = getenv("STEELYARD_TEST_CLOCK");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (page == MAP_FAILED)
        return;
    (void)dl_iterate_phdr(find_program, NULL);
    shift_ns = page;
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    uintptr_t from = (uintptr_t)__builtin_return_address(0);
    int rc = (int)syscall(SYS_clock_gettime, id, out);
    if (rc == 0 && id == CLOCK_REALTIME && shift_ns != NULL && from >= code_begin &&
        from < code_end) {
        int64_t ns = (int64_t)out->tv_sec * NS_PER_S + out->tv_nsec + *shift_ns;
        out->tv_sec = (time_t)(ns / NS_PER_S);
        out->tv_nsec = (long)(ns % NS_PER_S);
    }
    return rc;
}

#include "common/base/process.h"

#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/str.h"

void process_harden(void)
{
    const struct rlimit no_core = {0, 0};
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)signal(SIGPIPE, SIG_IGN);
}

void process_raise_descriptors(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

uint64_t process_descriptors(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return files.rlim_cur;
}

#if !defined(STEELYARD_ASAN)
/* Segments that cannot be written never differ from their file. (Those made read-only after
 * relocation do, but belong to writable ones.) */
static int drop_segments(struct dl_phdr_info *object, size_t size, void *arg)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)size;
    (void)arg;
    if (object->dlpi_name != NULL && strstr(object->dlpi_name, "vdso") != NULL)
        return 0;
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0)
            continue;
        uintptr_t from = (object->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t to = object->dlpi_addr + segment->p_vaddr + segment->p_memsz;
        /* NOLINTNEXTLINE: an address that the loader told as a number. */
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
    }
    return 0;
}
#endif

void process_trim(void)
{
    mem_trim();
#if !defined(STEELYARD_ASAN)
    (void)dl_iterate_phdr(drop_segments, NULL);
#endif
}

/* "size resident ..." in pages. */
void process_memory(uint64_t *out_virtual, uint64_t *out_resident)
{
    char text[128];
    struct str size;
    struct str resident;
    struct str rest;
    uint64_t pages[2] = {0, 0};
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, sizeof(text)) : 0;
    if (fd >= 0)
        close(fd);
    struct str all = {.data = text, .len = len > 0 ? (size_t)len : 0};
    (void)str_cut(all, ' ', &size, &rest);
    (void)str_cut(rest, ' ', &resident, &rest);
    if (str_parse_u64(size, UINT64_MAX / page, &pages[0]) != 0 ||
        str_parse_u64(resident, UINT64_MAX / page, &pages[1]) != 0)
        pages[0] = pages[1] = 0;
    *out_virtual = pages[0] * page;
    *out_resident = pages[1] * page;
}

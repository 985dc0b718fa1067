/* The process_* metrics every exporter has, read from the kernel at each scrape. */
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/process.h"
#include "common/metrics/metrics_internal.h"

static uint64_t cpu_us(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0)
        return 0;
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static uint64_t open_descriptors(void)
{
    uint64_t count = 0;
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL)
        return 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.')
            count++;
    closedir(d);
    return count > 0 ? count - 1 : 0; /* Without the one that is reading. */
}

static int write_one(struct buf *out, const char *name, const char *suffix, const char *type,
                     const char *help, uint64_t value, unsigned decimals)
{
    int rc =
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s%s ", name, help, name, type, name, suffix);
    if (rc == 0)
        rc = metrics_write_decimal(out, value, decimals);
    return rc == 0 ? buf_append_char(out, '\n') : rc;
}

int metrics_write_process(const struct metrics *m, enum metrics_format format, struct buf *out)
{
    uint64_t virtual_bytes = 0;
    uint64_t resident_bytes = 0;
    struct rlimit limit = {0};
    bool open_metrics = format == METRICS_OPENMETRICS;
    process_memory(&virtual_bytes, &resident_bytes);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    int rc = write_one(out, open_metrics ? "process_cpu_seconds" : "process_cpu_seconds_total",
                       open_metrics ? "_total" : "", "counter",
                       "Processor time used, user and system.", cpu_us(), 6);
    if (rc == 0)
        rc = write_one(out, "process_resident_memory_bytes", "", "gauge", "Resident memory.",
                       resident_bytes, 0);
    if (rc == 0)
        rc = write_one(out, "process_virtual_memory_bytes", "", "gauge", "Virtual memory.",
                       virtual_bytes, 0);
    if (rc == 0)
        rc = write_one(out, "process_open_fds", "", "gauge", "Open descriptors.",
                       open_descriptors(), 0);
    if (rc == 0)
        rc = write_one(out, "process_max_fds", "", "gauge", "Limit of open descriptors.",
                       (uint64_t)limit.rlim_cur, 0);
    if (rc == 0)
        rc = write_one(out, "process_start_time_seconds", "", "gauge",
                       "Start of the process, Unix time.", (uint64_t)m->started_us, 6);
    return rc;
}

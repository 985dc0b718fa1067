#include "common/base/priority.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#include "common/base/str.h"

/* On Linux both calls are about one thread, whatever POSIX says of processes. */
static void put_behind(pid_t tid)
{
    const struct sched_param none = {.sched_priority = 0};
    if (sched_getscheduler(tid) != SCHED_OTHER)
        return;
    errno = 0;
    int nice = getpriority(PRIO_PROCESS, (id_t)tid);
    if (errno != 0)
        return;
    (void)setpriority(PRIO_PROCESS, (id_t)tid, nice + PRIORITY_BEHIND_NICE);
    (void)sched_setscheduler(tid, SCHED_BATCH, &none);
}

void priority_put_others_behind(void)
{
    DIR *threads = opendir("/proc/self/task");
    if (threads == NULL)
        return;
    const pid_t caller = gettid();
    for (struct dirent *entry = readdir(threads); entry != NULL; entry = readdir(threads)) {
        uint64_t tid;
        if (str_parse_u64(str_from(entry->d_name), INT_MAX, &tid) == 0 && (pid_t)tid != caller)
            put_behind((pid_t)tid);
    }
    (void)closedir(threads);
}

void priority_stand_behind(void)
{
    put_behind(0);
}

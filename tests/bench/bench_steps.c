/* Counts the user instructions of running threads on the real processor, where it gives no
 * counters: every instruction is single-stepped (ptrace(2)). Exact, and a thousand times slower
 * than life.
 *
 *   bench_steps [-s] -p PID[,PID...]   all threads of the processes, those to come too
 *   bench_steps [-s] -t TID[,TID...]   only these threads
 *   bench_steps COMMAND [ARG...]       a new process, its start included
 * Says "attached" in a line when each thread is under way, counts until SIGINT or SIGTERM or until
 * all threads have ended, detaches, and prints one JSON object: instructions, iterations (what
 * `rep` instructions repeated, not part of instructions, as a hardware counter has it), seconds,
 * and threads with tid, name and instructions of each.
 *
 * A step over a system call ends when the call does: threads that wait cost nothing, and one tracer
 * waits for whichever of them moves. Signals are passed on; a thread's first step after one is in
 * the handler and counts. Processes that are forked are not followed.
 *
 * To a thread that is so slow everything seems to take long: each request falls in a second of its
 * own, whose date is written anew. With -s the clocks that the threads read through the vdso
 * (clock_gettime, gettimeofday) go on 1,000 times slower from here; what the kernel measures, such
 * as the time that a wait may take, does not.
 *
 * Ways to fail: no permission (kernel.yama.ptrace_scope, containers without SYS_PTRACE), a thread
 * under another tracer. SIGKILL of this program may kill the tracee with a SIGTRAP. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/str.h"

#define THREADS_MAX 1024
#define PATH_BYTES  64
#define NAME_BYTES  32
#define SIGNALS_MAX 32
#define LINE_BYTES  512
#define NS_PER_S    1000000000L
#define CLOCKS      (CLOCK_BOOTTIME + 1)
#define SLOWER      1000

enum thread_state {
    THREAD_RUNNING, /* Its next stop is waited for. */
    THREAD_STOPPED, /* Only while all are brought to a stop at the end. */
    THREAD_ENDED,
};

/* A call of the vdso that reads a clock: its result is replaced when it returns. */
struct clock_call {
    uint64_t return_rip; /* 0: none is under way. */
    uint64_t result;     /* Where it leaves seconds and a fraction. */
    clockid_t clock;
    bool is_timeval;
};

struct thread {
    struct clock_call call;
    pid_t tid;
    enum thread_state state;
    bool counts;  /* A step is under way, so that the next trap ends an instruction. */
    int signal;   /* To be passed on when it leaves the last stop. */
    uint64_t rip; /* Where its last stop was. */
    uint64_t instructions, iterations;
    char name[NAME_BYTES];
};

static struct thread threads[THREADS_MAX];
static size_t thread_count;
static volatile sig_atomic_t stopping;

/* Where the traced processes have the vdso's functions, as long as their clocks are to go slower;
 * the processes that this is for have one address space each, so that the last one's is known. */
static struct {
    bool on;
    uint64_t gettime, gettimeofday;
    struct timespec began[CLOCKS];
} slow;

/* The signal may come just before waitpid() sleeps: it repeats until the loop has seen the flag. */
static void on_signal(int number)
{
    static const struct itimerval again = {.it_value = {.tv_usec = 50000}};
    (void)number;
    stopping = 1;
    setitimer(ITIMER_REAL, &again, NULL);
}

static void handle_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
}

static void thread_read_name(struct thread *t)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)t->tid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return; /* It has ended: it keeps the name it had. */
    if (fgets(t->name, sizeof t->name, f) != NULL)
        t->name[strcspn(t->name, "\n\"\\")] = '\0';
    fclose(f);
}

static struct thread *thread_find(pid_t tid)
{
    static size_t last; /* Mostly one thread moves. */
    if (last < thread_count && threads[last].tid == tid)
        return &threads[last];
    for (size_t i = 0; i < thread_count; i++)
        if (threads[i].tid == tid)
            return &threads[last = i];
    return NULL;
}

static struct thread *thread_add(pid_t tid)
{
    if (thread_count == THREADS_MAX)
        return NULL;
    struct thread *t = &threads[thread_count++];
    *t = (struct thread){.tid = tid};
    thread_read_name(t);
    return t;
}

/* Takes the thread over and asks it to stop; it steps from that stop on. */
static bool thread_attach(pid_t tid, unsigned long options)
{
    if (thread_find(tid) != NULL)
        return true; /* Came with the clone of another one. */
    if (ptrace(PTRACE_SEIZE, tid, NULL, options) != 0) {
        if (errno == ESRCH)
            return true; /* It ended meanwhile. */
        fprintf(stderr, "bench_steps: cannot trace %d: %s\n", (int)tid, strerror(errno));
        return false;
    }
    if (thread_add(tid) == NULL) {
        fprintf(stderr, "bench_steps: more than %d threads\n", THREADS_MAX);
        return false;
    }
    ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
    return true;
}

/* Until a round finds no thread that is not under way: what a thread of ours starts comes with it,
 * what one that was not yet ours started does not. */
static bool process_attach(pid_t pid)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    for (size_t before = SIZE_MAX; before != thread_count;) {
        before = thread_count;
        DIR *dir = opendir(path);
        if (dir == NULL) {
            fprintf(stderr, "bench_steps: no process %d\n", (int)pid);
            return false;
        }
        bool ok = true;
        for (struct dirent *entry; ok && (entry = readdir(dir)) != NULL;) {
            uint64_t tid;
            if (str_parse_u64(str_from(entry->d_name), INT32_MAX, &tid) == 0)
                ok = thread_attach((pid_t)tid, PTRACE_O_TRACECLONE);
        }
        closedir(dir);
        if (!ok)
            return false;
    }
    return true;
}

/* A child that waits to be traced before it becomes the command. */
static bool command_start(char **argv)
{
    int gate[2];
    if (pipe(gate) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        close(gate[1]);
        if (read(gate[0], &byte, 1) == 1)
            execvp(argv[0], argv);
        fprintf(stderr, "bench_steps: cannot run %s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    close(gate[0]);
    bool ok = pid > 0 && thread_attach(pid, PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC) &&
              write(gate[1], "x", 1) == 1;
    close(gate[1]);
    return ok;
}

static uint64_t process_vdso(pid_t pid)
{
    char path[PATH_BYTES], line[LINE_BYTES];
    uint64_t base = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && base == 0 && fgets(line, sizeof line, f) != NULL)
        if (strstr(line, "[vdso]") != NULL)
            base = strtoull(line, NULL, 16);
    if (f != NULL)
        fclose(f);
    return base;
}

/* Every process has the same image of it, elsewhere. */
static bool slow_start(pid_t pid)
{
    uint64_t own = getauxval(AT_SYSINFO_EHDR), base = process_vdso(pid);
    void *vdso = dlopen("linux-vdso.so.1", RTLD_NOLOAD | RTLD_NOW);
    void *gettime = vdso != NULL ? dlsym(vdso, "__vdso_clock_gettime") : NULL;
    void *gettimeofday = vdso != NULL ? dlsym(vdso, "__vdso_gettimeofday") : NULL;
    if (own == 0 || base == 0 || gettime == NULL || gettimeofday == NULL) {
        fprintf(stderr, "bench_steps: no clocks in the vdso of %d\n", (int)pid);
        return false;
    }
    slow.gettime = base + ((uint64_t)(uintptr_t)gettime - own);
    slow.gettimeofday = base + ((uint64_t)(uintptr_t)gettimeofday - own);
    for (clockid_t i = 0; i < CLOCKS; i++)
        clock_gettime(i, &slow.began[i]);
    slow.on = true;
    return true;
}

static void slow_enter(struct thread *t)
{
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, t->tid, NULL, &regs) != 0)
        return;
    bool is_timeval = t->rip == slow.gettimeofday;
    clockid_t clock = is_timeval ? CLOCK_REALTIME : (clockid_t)regs.rdi;
    if (clock < 0 || clock >= CLOCKS || clock == CLOCK_PROCESS_CPUTIME_ID ||
        clock == CLOCK_THREAD_CPUTIME_ID)
        return;
    errno = 0;
    t->call = (struct clock_call){
        .return_rip = (uint64_t)ptrace(PTRACE_PEEKDATA, t->tid, (void *)regs.rsp, NULL),
        .result = is_timeval ? regs.rdi : regs.rsi,
        .clock = clock,
        .is_timeval = is_timeval,
    };
    if (errno != 0 || t->call.result == 0)
        t->call.return_rip = 0;
}

static void slow_leave(struct thread *t)
{
    struct clock_call call = t->call;
    const struct timespec *began = &slow.began[call.clock];
    long unit = call.is_timeval ? 1000 : 1;
    t->call.return_rip = 0;
    errno = 0;
    long seconds = ptrace(PTRACE_PEEKDATA, t->tid, (void *)call.result, NULL);
    long part = ptrace(PTRACE_PEEKDATA, t->tid, (void *)(call.result + sizeof(long)), NULL);
    if (errno != 0)
        return;
    long went = (seconds - began->tv_sec) * NS_PER_S + part * unit - began->tv_nsec;
    long now = began->tv_nsec + went / SLOWER;
    ptrace(PTRACE_POKEDATA, t->tid, (void *)call.result, (void *)(began->tv_sec + now / NS_PER_S));
    ptrace(PTRACE_POKEDATA, t->tid, (void *)(call.result + sizeof(long)),
           (void *)(now % NS_PER_S / unit));
}

/* Notes what a stop means: an instruction's end, a signal to pass on, an event. */
static void thread_note(struct thread *t, int status)
{
    int signal = WSTOPSIG(status);
    bool counts = t->counts;
    t->counts = false;
    t->signal = 0;
    if (status >> 16 != 0)
        return; /* An interrupt of ours, a clone, an exec. */
    if (signal != SIGTRAP) {
        t->signal = signal;
        return;
    }
    errno = 0;
    uint64_t rip = (uint64_t)ptrace(PTRACE_PEEKUSER, t->tid,
                                    (void *)offsetof(struct user_regs_struct, rip), NULL);
    if (!counts || errno != 0)
        return;
    /* Still at the same one: `rep` traps after each round. */
    if (rip == t->rip)
        t->iterations++;
    else
        t->instructions++;
    t->rip = rip;
    if (slow.on && (rip == slow.gettime || rip == slow.gettimeofday))
        slow_enter(t);
    else if (rip == t->call.return_rip)
        slow_leave(t);
}

static bool is_group_stop(int status)
{
    int signal = WSTOPSIG(status);
    return status >> 16 == PTRACE_EVENT_STOP && signal != SIGTRAP;
}

static void thread_step(struct thread *t, int status)
{
    if (is_group_stop(status)) {
        ptrace(PTRACE_LISTEN, t->tid, NULL, NULL);
        return;
    }
    t->counts = true;
    ptrace(PTRACE_SINGLESTEP, t->tid, NULL, (void *)(intptr_t)t->signal);
}

/* Waits for a stop or an end of any thread; NULL when there is none, or a signal came first. */
static struct thread *wait_any(int *status)
{
    pid_t tid = waitpid(-1, status, __WALL);
    if (tid < 0)
        return NULL;
    struct thread *t = thread_find(tid);
    if (t == NULL) { /* A new thread's first stop may come before the clone's. */
        t = thread_add(tid);
        if (t == NULL) {
            ptrace(PTRACE_DETACH, tid, NULL, NULL);
            return NULL;
        }
    }
    if (!WIFSTOPPED(*status))
        t->state = THREAD_ENDED;
    return t;
}

static void count(void)
{
    while (!stopping) {
        int status;
        struct thread *t = wait_any(&status);
        if (t == NULL) {
            if (errno == ECHILD)
                return;
            continue;
        }
        if (t->state == THREAD_ENDED)
            continue;
        thread_note(t, status);
        thread_step(t, status);
    }
}

static size_t count_in(enum thread_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < thread_count; i++)
        n += threads[i].state == state;
    return n;
}

/* An interrupt that ends a system call under a step finds the step's trap queued behind it: left
 * there it would kill the thread. */
static bool has_trap_queued(const struct thread *t)
{
    siginfo_t queue[SIGNALS_MAX];
    struct __ptrace_peeksiginfo_args args = {.nr = SIGNALS_MAX};
    long found = ptrace(PTRACE_PEEKSIGINFO, t->tid, &args, queue);
    for (long i = 0; i < found; i++)
        if (queue[i].si_signo == SIGTRAP)
            return true;
    return false;
}

/* Brings each one to a stop, those that wait in a system call by an interrupt, and lets go. */
static void detach_all(void)
{
    for (size_t i = 0; i < thread_count; i++)
        if (threads[i].state == THREAD_RUNNING)
            ptrace(PTRACE_INTERRUPT, threads[i].tid, NULL, NULL);
    while (count_in(THREAD_RUNNING) > 0) {
        int status;
        struct thread *t = wait_any(&status);
        if (t == NULL && errno == ECHILD)
            break;
        if (t == NULL || t->state == THREAD_ENDED)
            continue;
        thread_note(t, status);
        if (has_trap_queued(t))
            ptrace(PTRACE_CONT, t->tid, NULL, (void *)(intptr_t)t->signal);
        else
            t->state = THREAD_STOPPED;
    }
    for (size_t i = 0; i < thread_count; i++) {
        struct thread *t = &threads[i];
        if (t->state == THREAD_STOPPED)
            ptrace(PTRACE_DETACH, t->tid, NULL, (void *)(intptr_t)t->signal);
    }
}

static void report(double seconds)
{
    uint64_t instructions = 0, iterations = 0;
    for (size_t i = 0; i < thread_count; i++) {
        instructions += threads[i].instructions;
        iterations += threads[i].iterations;
    }
    printf("{\"instructions\": %llu, \"iterations\": %llu, \"seconds\": %.3f, \"threads\": [",
           (unsigned long long)instructions, (unsigned long long)iterations, seconds);
    for (size_t i = 0; i < thread_count; i++) {
        const struct thread *t = &threads[i];
        printf("%s{\"tid\": %d, \"name\": \"%s\", \"instructions\": %llu}", i == 0 ? "" : ", ",
               (int)t->tid, t->name, (unsigned long long)t->instructions);
    }
    printf("]}\n");
}

/* LIST is numbers with commas between them. */
static bool attach_list(const char *list, bool processes, bool slow_clocks)
{
    struct str rest = str_from(list);
    while (rest.len > 0) {
        const char *comma = memchr(rest.data, ',', rest.len);
        struct str word = rest;
        if (comma != NULL)
            word.len = (size_t)(comma - rest.data);
        uint64_t id;
        if (str_parse_u64(word, INT32_MAX, &id) != 0) {
            fprintf(stderr, "bench_steps: '%s' is not a list of ids\n", list);
            return false;
        }
        if (slow_clocks && !slow_start((pid_t)id))
            return false;
        if (!(processes ? process_attach((pid_t)id) : thread_attach((pid_t)id, 0)))
            return false;
        size_t used = word.len + (comma != NULL);
        rest.data += used;
        rest.len -= used;
    }
    return true;
}

int main(int argc, char **argv)
{
    bool slow_clocks = argc > 1 && strcmp(argv[1], "-s") == 0;
    if (slow_clocks) {
        argc--;
        argv++;
    }
    bool processes = argc == 3 && strcmp(argv[1], "-p") == 0;
    bool only = argc == 3 && strcmp(argv[1], "-t") == 0;
    if (argc < 2 || (argv[1][0] == '-' && !processes && !only)) {
        fprintf(
            stderr,
            "usage: bench_steps [-s] -p PID[,PID...] | [-s] -t TID[,TID...] | COMMAND [ARG...]\n");
        return 2;
    }
    handle_signals();
    bool ok =
        processes || only ? attach_list(argv[2], processes, slow_clocks) : command_start(argv + 1);
    if (!ok) {
        detach_all();
        return 1;
    }
    if (processes || only) {
        puts("attached");
        fflush(stdout);
    }
    uint64_t began_ns = clock_mono_ns();
    count();
    uint64_t ended_ns = clock_mono_ns();
    detach_all();
    report((double)(ended_ns - began_ns) / 1e9);
    return 0;
}

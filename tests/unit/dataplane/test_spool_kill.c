/* P1: a process dies at any moment, also while it makes its files or reads a dead one's, and what
 * it had acknowledged is there once. Deaths come at random, and at each call to the disk in turn.
 */
#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/rand.h"
#include "tests/lib/seed.h"
#include "tests/unit/dataplane/spool_fixture.h"

/* What was acknowledged: 'I' for an intent, 'D' when its outcome was handed over. */
static struct found found;

static void check_said(struct world *w, const char *said, uint32_t count)
{
    assert_int_equal(w->recovery.quarantined, 0);
    assert_int_equal(w->recovery.refused_files, 0);
    read_first(w, &found);
    assert_int_equal(found.gap_records, 0);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t times = found.ok[i] + found.crashed[i];
        if (times > 1 || (said[i] == 'D' && found.ok[i] != 1) || (said[i] == 'I' && times != 1))
            fail_msg("request %u, of which '%c' was said, is there %u times as ended and %u times "
                     "as open",
                     i, said[i] != 0 ? said[i] : '-', found.ok[i], found.crashed[i]);
    }
}

static int only_known_files(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    struct str name = str_from(path + ftw->base);
    if (kind == FTW_F && !str_eq(name, STR("lock")) && !str_eq(name, STR("epoch")) &&
        !str_ends(name, STR(".seg")))
        fail_msg("'%s' was left behind", path);
    return 0;
}

/* After a clean end nothing is left of what was only begun. */
static void check_files(struct world *w)
{
    close_set(w);
    assert_int_equal(nftw(w->dir, only_known_files, 16, FTW_PHYS), 0);
}

/* ---- at random ---- */

#define UNDER_WAY 8
struct ack {
    char what;
    uint32_t number;
};

static void acknowledge(int fd, char what, uint32_t number)
{
    struct ack ack;
    memset(&ack, 0, sizeof(ack));
    ack.what = what;
    ack.number = number;
    must(write(fd, &ack, sizeof(ack)) == sizeof(ack)); /* Whole: less than PIPE_BUF. */
}

/* Lives until it is killed, with its threads running. What it may acknowledge is bounded by the
 * pipe, so that it does not come to the end of the numbers. */
static void busy_life(const char *dir, int fd)
{
    struct spool_options options = {.dir = dir,
                                    .spools = 1,
                                    .segment_bytes = 65536,
                                    .ring_bytes = SPOOL_RING_BYTES_MIN,
                                    .sync_ms = 3,
                                    .drain_ms = 1,
                                    .audit_strict = true};
    struct spool_set *set = NULL;
    must(spool_set_create(&options, &set, NULL, NULL) == 0);
    struct spool *spool = spool_set_spool(set, 0);
    struct spool_intent *open[UNDER_WAY] = {NULL};
    uint32_t numbers[UNDER_WAY] = {0};
    static struct sample s;
    for (uint32_t i = 0; i < NUMBERS_MAX; i++) {
        uint32_t at = (uint32_t)rand_below(UNDER_WAY);
        if (open[at] != NULL) {
            sample_init(&s, numbers[at]);
            spool_outcome(spool, open[at], &s.o, NULL);
            acknowledge(fd, 'D', numbers[at]);
            open[at] = NULL;
        }
        sample_init(&s, i);
        s.attempts[0].status = 0;
        s.attempts[0].total_ms = 0;
        while (spool_intent(spool, &s.d, &s.attempts[0], &open[at], NULL) != 0)
            (void)sched_yield(); /* The ring is full until the writer has its turn. */
        numbers[at] = i;
        acknowledge(fd, 'I', i);
    }
    _exit(0);
}

/* Nothing else may have ended it, a failed assert least of all. */
static void reap_killed(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        fail_msg("the process ended by itself with %d", WEXITSTATUS(status));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void live_and_be_killed(struct world *w, char *said)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    uint64_t after = 1 + rand_below(4000);
    uint64_t child_seed = rand_u64();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        rand_seed_thread(child_seed);
        busy_life(w->dir, fds[1]);
    }
    close(fds[1]);
    struct ack ack;
    for (uint64_t n = 0; read(fds[0], &ack, sizeof(ack)) == sizeof(ack); n++) {
        assert_true(ack.number < NUMBERS_MAX);
        said[ack.number] = ack.what;
        if (n == after)
            assert_int_equal(kill(pid, SIGKILL), 0);
    }
    close(fds[0]);
    reap_killed(pid);
}

/* A start that is killed somewhere in reading what the last life left, or behind that. */
static void start_and_be_killed(struct world *w)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        must(try_open_set(w, 0, 0, NULL) == 0);
        for (;;)
            pause();
    }
    struct timespec moment = {.tv_nsec = (long)rand_below(10000000)};
    (void)nanosleep(&moment, NULL);
    assert_int_equal(kill(pid, SIGKILL), 0);
    reap_killed(pid);
}

static void p1_a_kill_at_any_moment_loses_and_doubles_nothing(void **state)
{
    struct world *w = *state;
    rand_seed_thread(test_seed(20261121));
    static char said[NUMBERS_MAX];
    uint64_t replayed = 0, crashed = 0;
    for (int round = 0; round < 25; round++) {
        empty_dir(w);
        memset(said, 0, sizeof(said));
        live_and_be_killed(w, said);
        for (uint64_t starts = rand_below(3); starts > 0; starts--)
            start_and_be_killed(w);
        open_set(w, 0, 0);
        replayed += w->recovery.replayed;
        check_said(w, said, NUMBERS_MAX);
        crashed += found.crashes;
        check_files(w);
    }
    assert_true(crashed > 0);
    print_message("%llu records came from rings, %llu requests were open\n",
                  (unsigned long long)replayed, (unsigned long long)crashed);
}

/* ---- at each call ---- */

#define REQUESTS 14U
#define SEGMENT  4096U /* A few records. */

/* A process that ends at its n-th call to the disk: before it, in its middle or right after it. */
enum stop { BEFORE, HALF, AFTER, STOPS };
static _Atomic int calls_left; /* The threads of a set call, too. */
static enum stop stop_how;

static void stop_if(bool now)
{
    if (!now)
        return;
    (void)kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static bool stop_comes(void)
{
    bool now = atomic_fetch_sub(&calls_left, 1) == 0;
    stop_if(now && stop_how == BEFORE);
    return now;
}

static int stopping_open(const char *path)
{
    bool now = stop_comes();
    int fd = real_io.open_new(path);
    stop_if(now);
    return fd;
}

static int stopping_fallocate(int fd, uint64_t len)
{
    bool now = stop_comes();
    int rc = real_io.fallocate(fd, now && stop_how == HALF ? len / 2 : len);
    stop_if(now);
    return rc;
}

static ssize_t stopping_write(int fd, const void *data, size_t len)
{
    bool now = stop_comes();
    ssize_t n = real_io.write(fd, data, now && stop_how == HALF ? len / 2 : len);
    stop_if(now);
    return n;
}

static int stopping_sync(int fd)
{
    bool now = stop_comes();
    int rc = real_io.fdatasync(fd);
    stop_if(now);
    return rc;
}

static int stopping_rename(const char *from, const char *to)
{
    bool now = stop_comes();
    int rc = real_io.rename(from, to);
    stop_if(now);
    return rc;
}

static int stopping_unlink(const char *path)
{
    bool now = stop_comes();
    int rc = real_io.unlink(path);
    stop_if(now);
    return rc;
}

/* Requests that end in the ring, in a segment and not at all, with segments that fill up. */
static void short_life(struct world *w, char *said)
{
    struct spool_intent *open[3] = {NULL};
    for (uint32_t i = 0; i < REQUESTS; i++) {
        uint32_t at = i % 3;
        if (open[at] != NULL) {
            end_in_ring(w, i - 3, open[at]);
            said[i - 3] = 'D';
        }
        must(begin_in_ring(w, i, &open[at]) == 0);
        said[i] = 'I';
        if (i % 2 == 1)
            spool_set_drain(w->set);
        if (i % 5 == 4)
            spool_set_sync(w->set);
    }
}

/* One process from its start on. false: it came to its end without meeting the call. said: NULL,
 * when it only starts and ends. */
static bool stopped_at(struct world *w, int call, enum stop how, char *said)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        calls_left = call;
        stop_how = how;
        spool_io = (struct spool_io){.open_new = stopping_open,
                                     .open_spare = real_io.open_spare,
                                     .fallocate = stopping_fallocate,
                                     .write = stopping_write,
                                     .fdatasync = stopping_sync,
                                     .rename = stopping_rename,
                                     .unlink = stopping_unlink};
        must(try_open_set(w, 0, SEGMENT, NULL) == 0);
        if (said != NULL)
            short_life(w, said);
        close_set(w);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    else
        assert_int_equal(WTERMSIG(status), SIGKILL);
    return !WIFEXITED(status);
}

/* What both processes see. */
static char *shared_said(void)
{
    char *said = mmap(NULL, REQUESTS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(said != MAP_FAILED);
    return said;
}

static void p1_a_death_at_each_call_of_a_life_loses_and_doubles_nothing(void **state)
{
    struct world *w = *state;
    char *said = shared_said();
    bool stopped = true;
    for (int call = 0; stopped; call++) {
        for (enum stop how = BEFORE; how < STOPS; how++) {
            empty_dir(w);
            memset(said, 0, REQUESTS);
            stopped = stopped_at(w, call, how, said);
            open_set(w, 0, SEGMENT);
            check_said(w, said, REQUESTS);
            check_files(w);
        }
        assert_true(call < 500);
        assert_true(stopped || call > 20);
    }
    assert_int_equal(munmap(said, REQUESTS), 0);
}

/* Start after start dies, each a call further, on what the last one left. Each way to die in the
 * life meets each way to die in the starts once in nine calls. */
static void p1_deaths_at_each_call_of_the_starts_that_follow_change_nothing(void **state)
{
    struct world *w = *state;
    char *said = shared_said();
    bool stopped = true;
    for (int call = 0; stopped; call++) {
        empty_dir(w);
        memset(said, 0, REQUESTS);
        stopped = stopped_at(w, call, (enum stop)(call % STOPS), said);
        int starts = 0;
        while (stopped_at(w, starts, (enum stop)(call / STOPS % STOPS), NULL))
            assert_true(++starts < 100);
        assert_true(starts > 3);
        open_set(w, 0, SEGMENT);
        check_said(w, said, REQUESTS);
        check_files(w);
        assert_true(call < 500);
    }
    assert_int_equal(munmap(said, REQUESTS), 0);
}

/* Thousands of files are synced where that costs nothing: a process that dies leaves them alike. */
static int setup_in_memory(void **state)
{
    if (access("/dev/shm", W_OK) == 0)
        assert_int_equal(setenv("TMPDIR", "/dev/shm", 0), 0);
    return setup(state);
}

int main(void)
{
#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(p1_a_kill_at_any_moment_loses_and_doubles_nothing, setup),
        TEST(p1_a_death_at_each_call_of_a_life_loses_and_doubles_nothing, setup_in_memory),
        TEST(p1_deaths_at_each_call_of_the_starts_that_follow_change_nothing, setup_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

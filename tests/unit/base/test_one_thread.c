/* What keeps programs whose CMake line does not say THREADS, as this one's, from starting any. */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "tests/lib/fault.h"

static void *nothing(void *arg)
{
    return arg;
}

static void nothing_of_uv(void *arg)
{
    (void)arg;
}

static void start_one(void)
{
    pthread_t thread;
    (void)pthread_create(&thread, NULL, nothing, NULL);
}

static void let_libuv_start_one(void)
{
    uv_thread_t thread;
    (void)uv_thread_create(&thread, nothing_of_uv, NULL);
}

static void assert_ends(void (*start)(void))
{
    int said[2];
    assert_int_equal(pipe(said), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        if (dup2(said[1], STDERR_FILENO) < 0)
            _exit(1);
        start();
        _exit(0);
    }
    close(said[1]);
    char text[256] = "";
    ssize_t len = read(said[0], text, sizeof text - 1);
    close(said[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_true(len > 0 && strstr(text, "THREADS") != NULL);
}

static void a_thread_of_its_own_is_its_end(void **state)
{
    (void)state;
    assert_ends(start_one);
}

static void a_thread_of_a_library_is_its_end(void **state)
{
    (void)state;
    assert_ends(let_libuv_start_one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_of_its_own_is_its_end),
        cmocka_unit_test(a_thread_of_a_library_is_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

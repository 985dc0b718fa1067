/* pthread_create of a test program whose CMake line does not say THREADS. It is defined here, in
 * the program, and so is that of its shared libraries, too. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attr,
                   void *(*run)(void *), void *restrict arg)
{
    static const char said[] =
        "This program starts a thread: its line in CMakeLists.txt has to say "
        "THREADS, so that it is tested under tsan, too.\n";
    (void)thread, (void)attr, (void)run, (void)arg;
    if (write(STDERR_FILENO, said, sizeof(said) - 1) < 0)
        _exit(1);
    abort();
}

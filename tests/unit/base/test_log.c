#include "common/base/log.h"
#include "tests/lib/fault.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/digits.h"
#include "common/base/log_put.h"

static uint64_t now_ms = 1000;

static uint64_t test_mono_ns(void)
{
    return now_ms * 1000000U;
}

static int64_t test_wall_us(void)
{
    return 1795233300123456;
}

#define HEAD "{\"ts\":\"2026-11-21T03:55:00.123456Z\",\"level\":"

static const struct clock_source test_clock = {test_mono_ns, test_wall_us};

/* Standard output is a pipe or socket while a test runs. */
struct capture {
    int real;
    int in;
};

static struct capture capture_begin(enum log_format format, bool socket)
{
    struct capture c;
    int fds[2];
    assert_int_equal(socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, fds) : pipe(fds), 0);
    (void)fflush(stdout);
    c.real = dup(STDOUT_FILENO);
    c.in = fds[0];
    assert_int_equal(dup2(fds[1], STDOUT_FILENO), STDOUT_FILENO);
    close(fds[1]);
    clock_set_source(&test_clock);
    log_init("test", LOG_INFO, format);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    return c;
}

/* Reads what was logged and gives standard output back. */
static size_t capture_end(struct capture c, char *out, size_t out_bytes)
{
    size_t len = 0;
    for (ssize_t n; len < out_bytes - 1 && (n = read(c.in, out + len, out_bytes - 1 - len)) > 0;)
        len += (size_t)n;
    out[len] = '\0';
    assert_int_equal(dup2(c.real, STDOUT_FILENO), STDOUT_FILENO);
    close(c.real);
    close(c.in);
    log_init("test", LOG_INFO, LOG_JSON);
    clock_set_source(NULL);
    return len;
}

static void a_line_is_one_json_object(void **state)
{
    (void)state;
    char out[9000];
    struct capture c = capture_begin(LOG_AUTO, false);
    log_event(LOG_INFO, "listening", LOG_TEXT_FIELD("address", "::1"), LOG_U64("port", 8080),
              LOG_I64("delta", -5), LOG_I64("least", INT64_MIN), LOG_BOOL("tls", true));
    log_event(LOG_INFO, "bare");
    log_event(LOG_DEBUG, "not shown");
    (void)capture_end(c, out, sizeof out);
    assert_string_equal(
        out, HEAD "\"info\",\"msg\":\"listening\",\"component\":\"test\",\"address\":\"::1\","
                  "\"port\":8080,\"delta\":-5,\"least\":-9223372036854775808,\"tls\":true}\n" HEAD
                  "\"info\",\"msg\":\"bare\",\"component\":\"test\"}\n");
}

static void text_is_for_terminals(void **state)
{
    (void)state;
    char out[9000];
    struct capture c = capture_begin(LOG_TEXT, false);
    log_event(LOG_ERROR, "in text", LOG_TEXT_FIELD("path", "a b\033[31m"));
    (void)capture_end(c, out, sizeof out);
    assert_string_equal(
        out, "2026-11-21T03:55:00.123456Z error test: in text path=\"a b\\u001b[31m\"\n");
}

static void b45_values_are_escaped_and_cut(void **state)
{
    (void)state;
    char out[9000];
    char big[400];
    memset(big, 'x', sizeof big);
    big[255] = (char)0xC3; /* A character across the cut is left out whole. */
    big[256] = (char)0xA9;
    struct capture c = capture_begin(LOG_JSON, false);
    log_event(LOG_INFO, "v",
              LOG_STR("a", STR("\"\\\n\x01\x7F\xFF"
                               "\xC3\xA9")),
              LOG_STR("n", STR_NULL),
              LOG_STR("big", ((struct str){.data = big, .len = sizeof big})));
    (void)capture_end(c, out, sizeof out);
    assert_non_null(strstr(
        out, "\"a\":\"\\\"\\\\\\n\\u0001\\u007f\xEF\xBF\xBD\xC3\xA9\",\"n\":\"\",\"big\":\"xxx"));
    assert_non_null(strstr(out, "xxx...\"}\n"));
    assert_int_equal(strlen(strstr(out, "xxx")), 255 + 3 + 3);
}

static void a_line_is_at_most_what_a_pipe_takes_whole(void **state)
{
    (void)state;
    char out[9000];
    char big[256];
    memset(big, '\x01', sizeof big);
    struct str s = {.data = big, .len = sizeof big};
    struct capture c = capture_begin(LOG_JSON, false);
    log_event(LOG_INFO, "v", LOG_STR("a", s), LOG_STR("b", s), LOG_STR("c", s), LOG_U64("d", 1));
    size_t len = capture_end(c, out, sizeof out);
    assert_in_range(len, 3000, 4096);
    assert_non_null(strstr(out, "\",\"cut\":true}\n"));
    assert_null(strstr(out, "\"c\":"));
}

static void a_full_pipe_drops_lines_and_counts_them(void **state)
{
    (void)state;
    static char out[1 << 20];
    uint64_t before = log_dropped();
    struct capture c = capture_begin(LOG_JSON, false);
    unsigned written = 0;
    while (log_dropped() == before && written < 100000) {
        log_event(LOG_INFO, "line", LOG_U64("n", written));
        written++;
    }
    assert_int_equal(log_dropped() - before, 1);
    log_event(LOG_INFO, "line");
    assert_int_equal(log_dropped() - before, 2);
    assert_int_equal(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK, 0); /* Others still block. */
    size_t len = capture_end(c, out, sizeof out);
    unsigned lines = 0;
    for (size_t i = 0; i < len; i++)
        lines += out[i] == '\n';
    assert_int_equal(lines, written - 1);
    assert_int_equal(out[len - 1], '\n');
}

static void a_full_socket_drops_lines_too(void **state)
{
    (void)state;
    static char out[1 << 20];
    uint64_t before = log_dropped();
    struct capture c = capture_begin(LOG_JSON, true);
    for (unsigned i = 0; log_dropped() == before && i < 100000; i++)
        log_event(LOG_INFO, "line", LOG_U64("n", i));
    assert_true(log_dropped() > before);
    (void)capture_end(c, out, sizeof out);
}

static void a_repeated_warning_becomes_a_count_each_ten_seconds(void **state)
{
    (void)state;
    char out[9000];
    struct capture c = capture_begin(LOG_JSON, false);
    for (unsigned i = 0; i < 5; i++)
        log_event(LOG_WARN, "again", LOG_U64("n", i));
    log_event(LOG_WARN, "another");
    log_tick(); /* Not due. */
    now_ms += 10000;
    log_tick();
    log_tick(); /* Nothing new. */
    log_event(LOG_WARN, "again");
    now_ms += 10000;
    log_event(LOG_WARN, "again", LOG_U64("n", 9));
    log_event(LOG_WARN, "again");
    log_flush();
    (void)capture_end(c, out, sizeof out);
    assert_string_equal(
        out, HEAD "\"warn\",\"msg\":\"again\",\"component\":\"test\",\"n\":0}\n" HEAD
                  "\"warn\",\"msg\":\"another\",\"component\":\"test\"}\n" HEAD
                  "\"warn\",\"msg\":\"again\",\"component\":\"test\",\"repeated\":4}\n" HEAD
                  "\"warn\",\"msg\":\"again\",\"component\":\"test\",\"repeated\":1,\"n\":9}\n" HEAD
                  "\"warn\",\"msg\":\"again\",\"component\":\"test\",\"repeated\":1}\n");
}

static void info_lines_are_never_folded(void **state)
{
    (void)state;
    char out[9000];
    struct capture c = capture_begin(LOG_JSON, false);
    for (unsigned i = 0; i < 3; i++)
        log_event(LOG_INFO, "request");
    (void)capture_end(c, out, sizeof out);
    assert_int_equal(strlen(out),
                     3 * strlen(HEAD "\"info\",\"msg\":\"request\",\"component\":\"test\"}\n"));
}

static void *write_lines(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 100; i++) {
        log_event(LOG_INFO, "from a thread", LOG_U64("i", i));
        log_event(LOG_WARN, "folded over threads", LOG_U64("i", i));
    }
    return NULL;
}

static void threads_never_mix_their_lines_or_lose_a_count(void **state)
{
    (void)state;
    static char out[1 << 17];
    uint64_t dropped = log_dropped();
    pthread_t threads[4];
    struct capture c = capture_begin(LOG_JSON, false);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, NULL), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    log_flush();
    size_t len = capture_end(c, out, sizeof out);
    unsigned lines = 0;
    for (size_t i = 0; i < len; i++) {
        if (i == 0 || out[i - 1] == '\n')
            assert_memory_equal(out + i, "{\"ts\":", 6);
        lines += out[i] == '\n';
    }
    assert_int_equal(lines + log_dropped() - dropped, 400 + 2);
    assert_non_null(strstr(out, "\"repeated\":399}\n"));
}

static size_t read_now(const struct capture *c, char *out, size_t out_bytes)
{
    ssize_t n = read(c->in, out, out_bytes - 1);
    size_t len = n > 0 ? (size_t)n : 0;
    out[len] = '\0';
    return len;
}

static void gathered_lines_come_together_and_before_a_warning(void **state)
{
    (void)state;
    char out[9000];
    struct capture c = capture_begin(LOG_JSON, false);
    log_gather_begin();
    log_event(LOG_INFO, "one");
    log_event(LOG_INFO, "two");
    assert_int_equal(read_now(&c, out, sizeof out), 0);
    log_gather_flush();
    (void)read_now(&c, out, sizeof out);
    assert_string_equal(out, HEAD "\"info\",\"msg\":\"one\",\"component\":\"test\"}\n" HEAD
                                  "\"info\",\"msg\":\"two\",\"component\":\"test\"}\n");
    log_event(LOG_INFO, "three");
    log_event(LOG_ERROR, "now that");
    (void)read_now(&c, out, sizeof out);
    assert_string_equal(out, HEAD "\"info\",\"msg\":\"three\",\"component\":\"test\"}\n" HEAD
                                  "\"error\",\"msg\":\"now that\",\"component\":\"test\"}\n");
    log_event(LOG_INFO, "last");
    log_gather_end();
    log_event(LOG_INFO, "at once");
    (void)capture_end(c, out, sizeof out);
    assert_string_equal(out, HEAD "\"info\",\"msg\":\"last\",\"component\":\"test\"}\n" HEAD
                                  "\"info\",\"msg\":\"at once\",\"component\":\"test\"}\n");
}

static void gathered_lines_are_written_when_a_pipe_would_no_longer_take_them_whole(void **state)
{
    (void)state;
    static char out[1 << 16];
    char big[250];
    memset(big, 'x', sizeof big);
    struct capture c = capture_begin(LOG_JSON, false);
    size_t total = 0, len = 0;
    log_gather_begin();
    for (unsigned i = 0; i < 100; i++) {
        log_event(LOG_INFO, "line", LOG_STR("a", ((struct str){big, 200 + i % 50})));
        len = read_now(&c, out, sizeof out);
        assert_true(len <= LOG_GATHER_BYTES);
        assert_true(len == 0 || (len > LOG_GATHER_BYTES - 400 && out[len - 1] == '\n'));
        total += len;
    }
    log_gather_end();
    total += capture_end(c, out, sizeof out);
    size_t line = strlen(HEAD "\"info\",\"msg\":\"line\",\"component\":\"test\",\"a\":\"\"}\n");
    assert_int_equal(total, 100 * line + 2 * (50 * 200 + 49 * 25));
}

static void f37_every_gathered_line_that_is_dropped_is_counted(void **state)
{
    (void)state;
    static char out[1 << 20];
    uint64_t before = log_dropped();
    struct capture c = capture_begin(LOG_JSON, false);
    unsigned written = 0, lines = 0;
    log_gather_begin();
    while (log_dropped() < before + 100 && written < 100000) {
        log_event(LOG_INFO, "line", LOG_U64("n", written));
        written++;
    }
    log_gather_end();
    size_t len = capture_end(c, out, sizeof out);
    for (size_t i = 0; i < len; i++)
        lines += out[i] == '\n';
    assert_int_equal(lines + log_dropped() - before, written);
    assert_int_equal(out[len - 1], '\n');
}

/* A socket takes a part: what it did not take whole is counted, and the next line begins anew. */
static void f37_a_torn_line_is_ended_and_counted(void **state)
{
    (void)state;
    static char out[1 << 20];
    char big[256];
    memset(big, 'y', sizeof big);
    uint64_t before = log_dropped();
    struct capture c = capture_begin(LOG_JSON, true);
    unsigned written = 0, whole = 0;
    log_gather_begin();
    while (log_dropped() == before && written < 100000) {
        log_event(LOG_INFO, "line", LOG_STR("a", ((struct str){big, sizeof big})));
        written++;
    }
    size_t len = 0;
    for (ssize_t n; (n = read(c.in, out + len, sizeof out - len)) > 0;)
        len += (size_t)n;
    log_event(LOG_INFO, "after");
    written++;
    log_gather_end();
    len += capture_end(c, out + len, sizeof out - len);
    for (size_t i = 0, begin = 0; i < len; i++) {
        if (out[i] != '\n')
            continue;
        whole += out[begin] == '{' && out[i - 1] == '}';
        begin = i + 1;
    }
    assert_int_equal(whole + log_dropped() - before, written);
}

/* The short way and the careful way of a field write the same. */
static void plain_and_odd_values_are_written_alike(void **state)
{
    (void)state;
    char out[9000], value[64];
    for (size_t len = 0; len < 40; len++) {
        for (size_t place = 0; place <= len; place++) {
            memset(value, 'v', sizeof value);
            if (place < len)
                value[place] = '"';
            struct capture c = capture_begin(LOG_JSON, false);
            log_event(LOG_INFO, "v", LOG_STR("a", ((struct str){value, len})), LOG_U64("b", len));
            (void)capture_end(c, out, sizeof out);
            const char *at = strstr(out, ",\"a\":\"");
            assert_non_null(at);
            at += 6;
            for (size_t i = 0; i < len; i++)
                if (i == place) {
                    assert_memory_equal(at, "\\\"", 2);
                    at += 2;
                } else {
                    assert_int_equal(*at++, 'v');
                }
            assert_memory_equal(at, "\",\"b\":", 6);
        }
    }
}

static void numbers_of_every_length_are_exact(void **state)
{
    (void)state;
    char out[9000], wanted[64];
    uint64_t power = 1;
    for (int digits = 1; digits <= 20; digits++) {
        const uint64_t values[] = {power - 1, power, power + 57, power / 10 * 73};
        for (size_t i = 0; i < 4; i++) {
            struct capture c = capture_begin(LOG_JSON, false);
            log_event(LOG_INFO, "v", LOG_U64("a", values[i]));
            (void)capture_end(c, out, sizeof out);
            (void)snprintf(wanted, sizeof wanted, "\"a\":%llu}", (unsigned long long)values[i]);
            assert_non_null(strstr(out, wanted));
        }
        power *= 10;
    }
}

static void short_numbers_are_exact_one_by_one(void **state)
{
    (void)state;
    char wanted[DIGITS_BYTES + 1], out[DIGITS_BYTES];
    for (uint64_t value = 0; value < 20000; value++) {
        const int len = snprintf(wanted, sizeof wanted, "%llu", (unsigned long long)value);
        assert_ptr_equal(digits_put_u64(out, value), out + len);
        assert_memory_equal(out, wanted, (size_t)len);
    }
}

/* Standard output is a file. */
static struct capture file_begin(void)
{
    char path[] = "/tmp/steelyard-log-XXXXXX";
    struct capture c = {.in = mkstemp(path)};
    assert_true(c.in >= 0);
    assert_int_equal(unlink(path), 0);
    (void)fflush(stdout);
    c.real = dup(STDOUT_FILENO);
    assert_int_equal(dup2(c.in, STDOUT_FILENO), STDOUT_FILENO);
    clock_set_source(&test_clock);
    log_init("test", LOG_INFO, LOG_AUTO);
    return c;
}

static size_t file_bytes(const struct capture *c)
{
    return (size_t)lseek(c->in, 0, SEEK_END);
}

static size_t file_end(struct capture c, char *out, size_t out_bytes)
{
    assert_int_equal(lseek(c.in, 0, SEEK_SET), 0);
    return capture_end(c, out, out_bytes);
}

static void a_file_takes_gathered_lines_in_larger_pieces(void **state)
{
    (void)state;
    static char out[1 << 18];
    char big[200];
    unsigned lines = 0, pieces = 0;
    size_t seen = 0;
    memset(big, 'x', sizeof big);
    struct capture c = file_begin();
    log_gather_begin();
    for (unsigned i = 0; i < 600; i++) {
        log_event(LOG_INFO, "line", LOG_U64("i", i), LOG_STR("a", ((struct str){big, i % 200})));
        if (file_bytes(&c) == seen)
            continue;
        assert_in_range(file_bytes(&c) - seen, LOG_GATHER_FILE_BYTES - 400, LOG_GATHER_FILE_BYTES);
        seen = file_bytes(&c);
        pieces++;
    }
    assert_int_equal(pieces, 1);
    log_gather_flush(); /* As each tick does. */
    assert_true(file_bytes(&c) > seen);
    log_event(LOG_INFO, "kept");
    seen = file_bytes(&c);
    log_event(LOG_WARN, "a warning writes all");
    assert_true(file_bytes(&c) > seen);
    log_gather_end();
    size_t len = file_end(c, out, sizeof out);
    for (size_t i = 0; i < len; i++) {
        if (i == 0 || out[i - 1] == '\n')
            assert_memory_equal(out + i, HEAD, strlen(HEAD));
        lines += out[i] == '\n';
    }
    assert_int_equal(lines, 602);
    assert_int_equal(out[len - 1], '\n');
}

static bool put_opened(struct str text, uint64_t number)
{
    char *at = log_open("opened", clock_wall_us());
    if (at == NULL || (at = log_put_str(LOG_PUT(at, ",\"text\":"), text)) == NULL)
        return false;
    log_close(digits_put_u64(LOG_PUT(at, ",\"number\":"), number));
    return true;
}

static void an_opened_line_is_what_an_event_would_be(void **state)
{
    (void)state;
    char opened[9000], event[9000], big[300];
    memset(big, 'x', sizeof big);
    for (size_t n = 0; n <= 256; n++) {
        struct str text = {big, n};
        struct capture c = capture_begin(LOG_JSON, false);
        log_gather_begin();
        assert_true(put_opened(text, n * n * n * n));
        log_gather_end();
        (void)capture_end(c, opened, sizeof opened);
        c = capture_begin(LOG_JSON, false);
        log_event(LOG_INFO, "opened", LOG_STR("text", text), LOG_U64("number", n * n * n * n));
        (void)capture_end(c, event, sizeof event);
        assert_string_equal(opened, event);
    }
}

static void what_an_opened_line_cannot_say_leaves_nothing(void **state)
{
    (void)state;
    char out[9000], big[300];
    memset(big, 'x', sizeof big);
    struct capture c = capture_begin(LOG_JSON, false);
    assert_false(put_opened(STR("not gathering"), 1));
    log_gather_begin();
    assert_false(put_opened(STR("\x1b[31m"), 1));
    assert_false(put_opened(STR("quote\""), 1));
    assert_false(put_opened(STR("\xC3\xA9"), 1));
    assert_false(put_opened((struct str){big, 257}, 1));
    assert_true(put_opened(STR(""), 1));
    log_gather_end();
    (void)capture_end(c, out, sizeof out);
    assert_string_equal(out,
                        HEAD "\"info\",\"msg\":\"opened\",\"component\":\"test\",\"text\":\"\","
                             "\"number\":1}\n");
    c = capture_begin(LOG_TEXT, false);
    log_gather_begin();
    assert_false(put_opened(STR("a terminal"), 1));
    log_gather_end();
    assert_int_equal(capture_end(c, out, sizeof out), 0);
}

static void *gather_and_wait(void *arg)
{
    log_gather_begin();
    log_event(LOG_INFO, "of a thread");
    (void)!write(*(int *)arg, "x", 1);
    for (;;)
        (void)pause();
    return NULL;
}

/* In a process of its own: what was gathered, and by whom it was ended. */
static void crash(int signal)
{
    char x;
    int ready[2];
    pthread_t thread;
    if (pipe(ready) != 0 || pthread_create(&thread, NULL, gather_and_wait, &ready[1]) != 0 ||
        read(ready[0], &x, 1) != 1)
        _exit(1);
    log_gather_begin();
    log_event(LOG_INFO, "gathered");
    if (signal == SIGABRT)
        abort();
    (void)raise(signal);
    _exit(2);
}

static void f37_a_crash_writes_what_was_gathered_and_stays_a_crash(void **state)
{
    (void)state;
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGKILL};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        char out[9000];
        int status = 0;
        struct capture c = file_begin();
        pid_t child = fork();
        if (child == 0) {
            for (size_t k = 0; k < 3; k++) /* The test program has handlers of its own. */
                (void)signal(signals[k], SIG_DFL);
            log_catch_fatal();
            crash(signals[i]);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        (void)file_end(c, out, sizeof out);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), signals[i]);
        if (signals[i] == SIGKILL) {
            assert_string_equal(out, "");
            continue;
        }
        assert_non_null(strstr(out, "\"msg\":\"gathered\",\"component\":\"test\"}\n"));
        assert_non_null(strstr(out, "\"msg\":\"of a thread\",\"component\":\"test\"}\n"));
    }
}

static void names_of_levels_and_formats_are_parsed(void **state)
{
    (void)state;
    enum log_level level = LOG_DEBUG;
    enum log_format format = LOG_AUTO;
    assert_int_equal(log_parse_level(STR("warn"), &level), 0);
    assert_int_equal(level, LOG_WARN);
    assert_int_equal(log_parse_level(STR("WARN"), &level), ERR_INVALID);
    assert_int_equal(log_parse_format(STR("text"), &format), 0);
    assert_int_equal(format, LOG_TEXT);
    assert_int_equal(log_parse_format(STR("xml"), &format), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_one_json_object),
        cmocka_unit_test(text_is_for_terminals),
        cmocka_unit_test(b45_values_are_escaped_and_cut),
        cmocka_unit_test(a_line_is_at_most_what_a_pipe_takes_whole),
        cmocka_unit_test(a_full_pipe_drops_lines_and_counts_them),
        cmocka_unit_test(a_full_socket_drops_lines_too),
        cmocka_unit_test(a_repeated_warning_becomes_a_count_each_ten_seconds),
        cmocka_unit_test(info_lines_are_never_folded),
        cmocka_unit_test(threads_never_mix_their_lines_or_lose_a_count),
        cmocka_unit_test(gathered_lines_come_together_and_before_a_warning),
        cmocka_unit_test(gathered_lines_are_written_when_a_pipe_would_no_longer_take_them_whole),
        cmocka_unit_test(f37_every_gathered_line_that_is_dropped_is_counted),
        cmocka_unit_test(f37_a_torn_line_is_ended_and_counted),
        cmocka_unit_test(a_file_takes_gathered_lines_in_larger_pieces),
        cmocka_unit_test(an_opened_line_is_what_an_event_would_be),
        cmocka_unit_test(what_an_opened_line_cannot_say_leaves_nothing),
        cmocka_unit_test(f37_a_crash_writes_what_was_gathered_and_stays_a_crash),
        cmocka_unit_test(plain_and_odd_values_are_written_alike),
        cmocka_unit_test(numbers_of_every_length_are_exact),
        cmocka_unit_test(short_numbers_are_exact_one_by_one),
        cmocka_unit_test(names_of_levels_and_formats_are_parsed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

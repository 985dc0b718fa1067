/* The load generator of the benchmarks: keeps a fixed number of connections busy and reports what
 * came back. Each connection sends the same request, waits for the whole answer and sends it again.
 *
 *   bench_load [-n REQUESTS] [--ramp MS] [--any-status] [--still PID[,PID...]]
 *              PORT CONNECTIONS SECONDS REQUEST_FILE
 * Starts requests for SECONDS, or until REQUESTS have been sent; --ramp spreads the first ones over
 * a time, as clients that do not know of each other would. With --still these processes are stopped
 * for every other STILL_MS, and only answers that were asked for and came in such a time count in
 * the quantiles: what shares the processor of this program here, and in service does not, then
 * holds up no clock, and goes on in between. REQUEST_FILE holds head and body as they go out; the
 * digits of "#00000000#" in it count the requests, from the clock's microseconds on, so that no two
 * are the same and nothing that a proxy remembers of one helps with the next. Prints one JSON
 * object: requests, errors (with --any-status only broken answers are), refused (answers that are
 * not 200), unanswered (connections closed instead), events, seconds; quantiles in microseconds of
 * the time from request to whole answer (p50_us, p99_us), of that time for refused ones
 * (refused_p99_us), and of an event's time from the provider's stamp ("@" and 19 digits, see
 * bench_upstream) to here (delay_p50_us, delay_p99_us, delay_max_us); late, the events that came
 * 250 ms late or more. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#define READ_BYTES    65536U
#define HEAD_BYTES    8192U
#define SAMPLES_MAX   4000000U
#define STAMP_DIGITS  19
#define NUMBER_DIGITS 8
#define LATE_NS       250000000U
#define STILL_MAX     64U
#define STILL_MS      50U

enum body_state {
    BODY_HEAD,  /* Collecting the head. */
    BODY_FIXED, /* `left` bytes of a Content-Length body to come. */
    BODY_CHUNKED,
};

struct connection {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    enum body_state state;
    char head[HEAD_BYTES];
    size_t head_len;
    uint64_t left;
    char tail[8]; /* Last bytes of a chunked body: it ends with "0\r\n\r\n". */
    size_t tail_len;
    uint64_t started_ns;
    uint64_t stamp;
    int stamp_digits; /* Read so far; -1: no stamp has begun. */
    bool ok;
    bool is_last; /* The answer says that none follows it on this connection. */
};

/* Times in nanoseconds, at most 4.2 s: enough to tell that something is slow. */
struct samples {
    uint32_t *ns;
    uint64_t count;
};

static struct buf request;
static char *request_number; /* Its NUMBER_DIGITS digits in the request; NULL: none there. */
static struct sockaddr_in address;
static uint64_t deadline_ns, requests_left = UINT64_MAX, requests, errors, refused, unanswered,
                             events, late;
static struct samples latencies, refusals, delays;
static bool any_status;
static struct {
    int pids[STILL_MAX];
    unsigned count;
    uv_timer_t timer;
    uint64_t since_ns; /* 0: they run, and no answer counts. */
} still;
static char read_buffer[READ_BYTES];

static void connection_open(struct connection *c);
static void on_written(uv_write_t *req, int status);

static void sample_add(struct samples *s, uint64_t ns)
{
    if (s->count < SAMPLES_MAX)
        s->ns[s->count++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static bool is_over(void)
{
    return requests_left == 0 || clock_mono_ns() >= deadline_ns;
}

/* What of an earlier request still waits in a socket's queue may get this one's number. */
static void number_next(void)
{
    for (size_t i = NUMBER_DIGITS; request_number != NULL && i-- > 0;) {
        if (request_number[i] != '9') {
            request_number[i]++;
            return;
        }
        request_number[i] = '0';
    }
}

/* Another one for each run, so that a proxy knows no text from the run before. */
static void number_begin(void)
{
    uint64_t number = clock_mono_ns() / 1000;
    for (size_t i = NUMBER_DIGITS; request_number != NULL && i-- > 0; number /= 10)
        request_number[i] = (char)('0' + number % 10);
}

static void connection_send(struct connection *c)
{
    requests_left--;
    number_next();
    c->stamp_digits = -1;
    c->state = BODY_HEAD;
    c->head_len = 0;
    c->tail_len = 0;
    c->started_ns = clock_mono_ns();
    uv_buf_t buf = uv_buf_init(request.data, (unsigned)request.len);
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0)
        errors++;
}

static void on_written(uv_write_t *req, int status)
{
    (void)req;
    (void)status; /* A failed write shows as a failed read. */
}

static void on_closed(uv_handle_t *handle)
{
    if (!is_over())
        connection_open(handle->data);
}

static void connection_close(struct connection *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void connection_finish(struct connection *c)
{
    uint64_t took_ns = clock_mono_ns() - c->started_ns;
    requests++;
    if (c->ok) {
        if (still.count == 0 || (still.since_ns != 0 && c->started_ns >= still.since_ns))
            sample_add(&latencies, took_ns);
    } else {
        sample_add(&refusals, took_ns);
        refused++;
        errors += !any_status;
    }
    if (c->is_last || is_over())
        connection_close(c);
    else
        connection_send(c);
}

/* Stamps may be cut anywhere between two reads. */
static void read_stamps(struct connection *c, struct str data)
{
    for (size_t i = 0; i < data.len; i++) {
        if (c->stamp_digits < 0) {
            const char *at = memchr(data.data + i, '@', data.len - i);
            if (at == NULL)
                return;
            i = (size_t)(at - data.data);
            c->stamp = 0;
            c->stamp_digits = 0;
            continue;
        }
        c->stamp = c->stamp * 10 + (uint64_t)(data.data[i] - '0');
        if (++c->stamp_digits == STAMP_DIGITS) {
            uint64_t delay_ns = clock_mono_ns() - c->stamp;
            sample_add(&delays, delay_ns);
            late += delay_ns >= LATE_NS;
            events++;
            c->stamp_digits = -1;
        }
    }
}

static void connection_feed_chunked(struct connection *c, struct str data)
{
    read_stamps(c, data);
    size_t keep = data.len < 5 ? data.len : 5;
    if (c->tail_len + keep > sizeof c->tail) {
        size_t drop = c->tail_len + keep - sizeof c->tail;
        memmove(c->tail, c->tail + drop, c->tail_len - drop);
        c->tail_len -= drop;
    }
    memcpy(c->tail + c->tail_len, data.data + data.len - keep, keep);
    c->tail_len += keep;
    struct str tail = {.data = c->tail, .len = c->tail_len};
    if (str_ends(tail, STR("0\r\n\r\n")))
        connection_finish(c);
}

static void connection_feed_body(struct connection *c, struct str data)
{
    if (c->state == BODY_CHUNKED) {
        if (data.len > 0)
            connection_feed_chunked(c, data);
        return;
    }
    c->left -= data.len < c->left ? data.len : c->left;
    if (c->left == 0)
        connection_finish(c);
}

static bool connection_read_head(struct connection *c, size_t head_bytes)
{
    struct str line, rest = {.data = c->head, .len = head_bytes};
    c->ok = str_starts(rest, STR("HTTP/1.1 200"));
    c->is_last = false;
    c->state = BODY_FIXED;
    c->left = 0;
    while (str_cut(rest, '\n', &line, &rest)) {
        struct str name, value;
        if (!str_cut(line, ':', &name, &value))
            continue;
        value = str_trim(str_slice(value, 0, value.len - 1));
        if (str_eq_nocase(name, STR("transfer-encoding")))
            c->state = BODY_CHUNKED;
        else if (str_eq_nocase(name, STR("connection")))
            c->is_last = str_eq_nocase(value, STR("close"));
        else if (str_eq_nocase(name, STR("content-length")) &&
                 str_parse_u64(value, UINT32_MAX, &c->left) != 0)
            return false;
    }
    return true;
}

static void connection_feed(struct connection *c, struct str data)
{
    if (c->state != BODY_HEAD) {
        connection_feed_body(c, data);
        return;
    }
    size_t take = data.len < HEAD_BYTES - c->head_len ? data.len : HEAD_BYTES - c->head_len;
    size_t before = c->head_len;
    memcpy(c->head + c->head_len, data.data, take);
    c->head_len += take;
    ptrdiff_t end = str_search((struct str){.data = c->head, .len = c->head_len}, STR("\r\n\r\n"));
    if (end < 0)
        return;
    if (!connection_read_head(c, (size_t)end + 4)) {
        errors++;
        connection_close(c);
        return;
    }
    connection_feed_body(c, str_slice(data, (size_t)end + 4 - before, data.len));
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)handle;
    (void)suggested;
    *out = uv_buf_init(read_buffer, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;
    if (n >= 0) {
        connection_feed(c, (struct str){.data = buf->base, .len = (size_t)n});
        return;
    }
    if (c->state != BODY_HEAD || c->head_len > 0)
        errors++;
    else
        unanswered++;
    connection_close(c);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct connection *c = connect->data;
    if (status != 0) {
        errors++;
        connection_close(c);
        return;
    }
    if (is_over()) {
        connection_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    connection_send(c);
}

static void connection_open(struct connection *c)
{
    uv_tcp_init(uv_default_loop(), &c->tcp);
    c->tcp.data = c;
    c->connect.data = c;
    if (uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&address, on_connected) != 0)
        errors++;
}

static void still_tell(int signal)
{
    for (unsigned i = 0; i < still.count; i++)
        (void)kill(still.pids[i], signal); /* One that has ended needs none. */
}

static void on_still(uv_timer_t *timer)
{
    const bool ends = still.since_ns != 0 || is_over();
    still_tell(ends ? SIGCONT : SIGSTOP);
    still.since_ns = ends ? 0 : clock_mono_ns();
    if (is_over())
        uv_close((uv_handle_t *)timer, NULL);
}

/* Nobody stays stopped when this program is. */
static void on_signal(int signal)
{
    still_tell(SIGCONT);
    _exit(128 + signal);
}

static bool still_read(const char *list)
{
    struct str rest = str_from(list);
    while (rest.len > 0 && still.count < STILL_MAX) {
        uint64_t pid;
        const char *comma = memchr(rest.data, ',', rest.len);
        const size_t len = comma != NULL ? (size_t)(comma - rest.data) : rest.len;
        if (str_parse_u64(str_slice(rest, 0, len), INT32_MAX, &pid) != 0 || pid < 2)
            return false;
        still.pids[still.count++] = (int)pid;
        rest = str_slice(rest, comma != NULL ? len + 1 : len, rest.len);
    }
    return rest.len == 0 && still.count > 0;
}

static void still_begin(void)
{
    if (still.count == 0)
        return;
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    uv_timer_init(uv_default_loop(), &still.timer);
    uv_timer_start(&still.timer, on_still, STILL_MS, STILL_MS);
}

static void on_ramp(uv_timer_t *timer)
{
    connection_open(timer->data);
    uv_close((uv_handle_t *)timer, NULL);
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The samples are sorted; 100 percent is the longest. */
static double percentile(const struct samples *s, unsigned percent)
{
    return s->count == 0 ? 0 : (double)s->ns[(s->count - 1) * percent / 100] / 1000;
}

static struct samples *all_samples[] = {&latencies, &refusals, &delays};

static void report(double seconds)
{
    for (size_t i = 0; i < sizeof all_samples / sizeof *all_samples; i++)
        qsort(all_samples[i]->ns, all_samples[i]->count, sizeof(uint32_t), compare_u32);
    printf("{\"requests\":%llu,\"errors\":%llu,\"refused\":%llu,\"unanswered\":%llu,\"events\":%"
           "llu,\"seconds\":%.3f,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f,\"refused_p99_us\":%.1f,\"delay_p50_us\":%.1f,"
           "\"delay_p99_us\":%.1f,\"delay_max_us\":%.1f,\"late\":%llu}\n",
           (unsigned long long)requests, (unsigned long long)errors, (unsigned long long)refused,
           (unsigned long long)unanswered, (unsigned long long)events, seconds,
           percentile(&latencies, 50), percentile(&latencies, 99), percentile(&refusals, 99),
           percentile(&delays, 50), percentile(&delays, 99), percentile(&delays, 100),
           (unsigned long long)late);
}

struct settings {
    uint64_t port, connections, seconds, ramp_ms;
    const char *file;
};

static bool settings_read(struct settings *s, int argc, char **argv)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--any-status") == 0)
            any_status = true;
        else if (strcmp(argv[i], "-n") == 0 && i + 1 < argc &&
                 str_parse_u64(str_from(argv[i + 1]), UINT32_MAX, &requests_left) == 0)
            i++;
        else if (strcmp(argv[i], "--ramp") == 0 && i + 1 < argc &&
                 str_parse_u64(str_from(argv[i + 1]), 3600000, &s->ramp_ms) == 0)
            i++;
        else if (strcmp(argv[i], "--still") == 0 && i + 1 < argc && still_read(argv[i + 1]))
            i++;
        else
            return false;
    }
    if (i + 4 != argc)
        return false;
    s->file = argv[i + 3];
    return str_parse_u64(str_from(argv[i]), 65535, &s->port) == 0 &&
           str_parse_u64(str_from(argv[i + 1]), 20000, &s->connections) == 0 &&
           str_parse_u64(str_from(argv[i + 2]), 3600, &s->seconds) == 0;
}

static bool start(const struct settings *s)
{
    struct connection *connections = mem_calloc(s->connections, sizeof *connections);
    uv_timer_t *timers = mem_calloc(s->connections, sizeof *timers);
    if (connections == NULL || timers == NULL)
        return false;
    for (uint64_t i = 0; i < s->connections; i++) {
        if (s->ramp_ms == 0) {
            connection_open(&connections[i]);
            continue;
        }
        uv_timer_init(uv_default_loop(), &timers[i]);
        timers[i].data = &connections[i];
        uv_timer_start(&timers[i], on_ramp, i * s->ramp_ms / s->connections, 0);
    }
    return true; /* Both live as long as the process. */
}

int main(int argc, char **argv)
{
    struct settings s = {0};
    struct err err = {0};
    if (!settings_read(&s, argc, argv)) {
        fprintf(stderr, "usage: bench_load [-n REQUESTS] [--ramp MS] [--any-status] "
                        "[--still PID[,PID...]] PORT CONNECTIONS SECONDS REQUEST_FILE\n");
        return 2;
    }
    if (buf_read_file(&request, s.file, 1U << 20, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    ptrdiff_t at = str_search(buf_str(&request), STR("#00000000#"));
    if (at >= 0)
        request_number = request.data + at + 1;
    number_begin();
    for (size_t i = 0; i < sizeof all_samples / sizeof *all_samples; i++)
        if ((all_samples[i]->ns = mem_alloc(SAMPLES_MAX * sizeof(uint32_t))) == NULL)
            return 1;
    uv_ip4_addr("127.0.0.1", (int)s.port, &address);
    uint64_t started_ns = clock_mono_ns();
    deadline_ns = started_ns + s.seconds * 1000000000U;
    if (!start(&s))
        return 1;
    still_begin();
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    report((double)(clock_mono_ns() - started_ns) / 1e9);
    return 0;
}

/* What an exchange over a transport costs, without a gateway around it: N exchanges with a child
 * process on a loopback connection that is kept.
 *
 *   bench_transport [--transport lean|libcurl] [--exchanges N] [--lanes N] [--events N]
 *                   [--body BYTES]
 *
 * Prints CPU time per exchange. Instructions, the child's not among them:
 *
 *   valgrind --tool=callgrind --collect-atstart=no --toggle-collect=bench_run
 *            --callgrind-out-file=/dev/null bench_transport --exchanges 2000
 *
 * and divide "Collected" by the exchanges. --events: the reply is a stream of so many events, each
 * a chunk and a write of its own. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "dataplane/upstream/lean.h"
#include "dataplane/upstream/transport.h"

#define LANES_MAX 256U
#define BODY_MAX  (1U << 20)

struct options {
    const struct transport_ops *ops;
    uint64_t exchanges;
    uint64_t lanes;
    uint64_t events;
    uint64_t body_bytes;
};

/* ---- the server: a process for each connection, blocking, as little as it can ---- */

static const char event_chunk[] =
    "bb\r\ndata: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","
    "\"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
    "\" weight of the arm\"},\"finish_reason\":null}]}\n\n\r\n";
static const char stream_head[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                                  "x-request-id: req_0123456789abcdef\r\n"
                                  "transfer-encoding: chunked\r\n\r\n";

static void send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            _exit(0);
        data += n;
        len -= (size_t)n;
    }
}

/* Reads one request: it ends with `body_bytes` bytes after the blank line. */
static void take_request(int fd, uint64_t body_bytes)
{
    static char in[BODY_MAX + 65536];
    size_t len = 0;
    for (;;) {
        ssize_t n = recv(fd, in + len, sizeof in - len, 0);
        if (n <= 0)
            _exit(0);
        len += (size_t)n;
        const char *end = memmem(in, len, "\r\n\r\n", 4);
        if (end != NULL && len - (size_t)(end + 4 - in) >= body_bytes)
            return;
    }
}

static void serve_one(int fd, const struct options *o)
{
    static char reply[4096];
    size_t body = 1024;
    int head = snprintf(reply, sizeof reply,
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                        "x-request-id: req_0123456789abcdef\r\ncontent-length: %zu\r\n\r\n",
                        body);
    memset(reply + head, ' ', body);
    for (;;) {
        take_request(fd, o->body_bytes);
        if (o->events == 0) {
            send_all(fd, reply, (size_t)head + body);
            continue;
        }
        send_all(fd, stream_head, sizeof stream_head - 1);
        for (uint64_t i = 0; i < o->events; i++)
            send_all(fd, event_chunk, sizeof event_chunk - 1);
        send_all(fd, "0\r\n\r\n", 5);
    }
}

static void serve(int listener, const struct options *o)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            _exit(0);
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(listener);
            serve_one(fd, o);
        }
        close(fd);
    }
}

static pid_t start_server(const struct options *o, uint16_t *out_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 512) != 0 || getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        perror("bench_transport: listen");
        exit(1);
    }
    *out_port = ntohs(address.sin_port);
    pid_t child = fork();
    if (child == 0)
        serve(fd, o);
    close(fd);
    return child;
}

/* ---- the client ---- */

struct bench {
    const struct options *options;
    uv_loop_t loop;
    struct transport *transport;
    struct transport_origin *origin;
    uint64_t left;
    uint64_t done;
    uint64_t failed;
    uint64_t bytes;
};

static char body_bytes[BODY_MAX];

static void begin(struct bench *b);

static enum fetch_flow on_head(void *arg, struct transport_call *call, unsigned status)
{
    struct bench *b = arg;
    if (status != 200 || b->options->ops->header(call, STR("x-request-id")).len == 0)
        b->failed++;
    return FETCH_GO;
}

static enum fetch_flow on_body(void *arg, struct transport_call *call, struct str piece)
{
    (void)call;
    ((struct bench *)arg)->bytes += piece.len;
    return FETCH_GO;
}

static void on_done(void *arg, struct transport_call *call, const struct fetch_result *result)
{
    struct bench *b = arg;
    (void)call;
    b->done++;
    b->failed += result->status != 0;
    if (b->left > 0)
        begin(b);
}

static const struct transport_callbacks callbacks = {
    .on_head = on_head, .on_body = on_body, .on_done = on_done};

static void begin(struct bench *b)
{
    static const struct fetch_field fields[] = {
        {{"authorization", 13}, {"Bearer sk-0123456789abcdef0123456789abcdef", 42}},
        {{"content-type", 12}, {"application/json", 16}},
        {{"user-agent", 10}, {"steelyard", 9}},
    };
    size_t half = b->options->body_bytes / 2;
    const struct str body[] = {{body_bytes, half}, {body_bytes, b->options->body_bytes - half}};
    const struct fetch_request request = {
        .method = STR("POST"),
        .target = STR("/v1/chat/completions"),
        .fields = fields,
        .field_count = sizeof fields / sizeof fields[0],
        .body = body,
        .body_count = 2,
        .body_max_bytes = UINT64_C(1) << 32,
    };
    struct transport_call *call;
    b->left--;
    if (b->options->ops->start(b->origin, &request, &callbacks, b, &call) != 0) {
        fprintf(stderr, "bench_transport: start failed\n");
        exit(1);
    }
}

/* What callgrind collects. */
__attribute__((noinline)) void bench_run(struct bench *b, uint64_t exchanges);
void bench_run(struct bench *b, uint64_t exchanges)
{
    uint64_t lanes = b->options->lanes < exchanges ? b->options->lanes : exchanges;
    b->left = exchanges;
    b->done = 0;
    for (uint64_t i = 0; i < lanes; i++)
        begin(b);
    while (b->done < exchanges)
        uv_run(&b->loop, UV_RUN_ONCE);
}

static uint64_t number(const char *text, uint64_t max)
{
    uint64_t value = 0;
    if (text == NULL || str_parse_u64(str_from(text), max, &value) != 0) {
        fprintf(stderr, "bench_transport: not a number up to %llu: %s\n", (unsigned long long)max,
                text != NULL ? text : "nothing");
        exit(2);
    }
    return value;
}

static struct options parse(int argc, char **argv)
{
    struct options o = {.ops = &transport_lean, .exchanges = 10000, .lanes = 1, .body_bytes = 1024};
    for (int i = 1; i < argc; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--transport") == 0 && value != NULL)
            o.ops = strcmp(value, "libcurl") == 0 ? &transport_over_fetch : &transport_lean;
        else if (strcmp(argv[i], "--exchanges") == 0)
            o.exchanges = number(value, UINT32_MAX);
        else if (strcmp(argv[i], "--lanes") == 0)
            o.lanes = number(value, LANES_MAX);
        else if (strcmp(argv[i], "--events") == 0)
            o.events = number(value, 1000000);
        else if (strcmp(argv[i], "--body") == 0)
            o.body_bytes = number(value, BODY_MAX);
        else
            exit(fprintf(stderr, "bench_transport: unknown option %s\n", argv[i]) < 0 ? 1 : 2);
    }
    return o;
}

int main(int argc, char **argv)
{
    struct options options = parse(argc, argv);
    struct bench b = {.options = &options};
    struct err err = {0};
    uint16_t port = 0;
    char url[64];
    signal(SIGPIPE, SIG_IGN);
    pid_t child = start_server(&options, &port);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", port);
    const struct fetch_origin_config config = {
        .url = url, .allow_private = true, .allow_http = true, .max_connections = LANES_MAX};
    if (fetch_global_init(&err) != 0 || uv_loop_init(&b.loop) != 0 ||
        (b.transport = options.ops->create(&b.loop)) == NULL ||
        options.ops->origin_create(b.transport, &config, &b.origin, &err) != 0) {
        fprintf(stderr, "bench_transport: %s\n", err.message);
        return 1;
    }
    memset(body_bytes, 'x', sizeof body_bytes);
    uint64_t warm_up = 2 * options.lanes;
    b.left = warm_up;
    for (uint64_t i = 0; i < options.lanes; i++)
        begin(&b);
    while (b.done < warm_up)
        uv_run(&b.loop, UV_RUN_ONCE);
    b.failed = 0;
    uint64_t cpu_ns = clock_thread_cpu_ns();
    bench_run(&b, options.exchanges);
    cpu_ns = clock_thread_cpu_ns() - cpu_ns;
    printf("%s: %llu exchanges, %llu failed, %.2f us of CPU each\n",
           options.ops == &transport_lean ? "lean" : "libcurl", (unsigned long long)b.done,
           (unsigned long long)b.failed, (double)cpu_ns / (double)options.exchanges / 1000);
    options.ops->origin_close(b.origin, NULL, NULL);
    options.ops->close(b.transport, NULL, NULL);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&b.loop);
    kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    return b.failed != 0;
}

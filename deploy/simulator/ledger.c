#include "deploy/simulator/ledger.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/clock.h"

#define PRICE_MAX 1000000000 /* A dollar a token: sums stay far below 2^63. */

static int parse_one(struct str text, struct sim_price io_prices[SIM_MODEL_COUNT], struct err *err)
{
    struct str name, rates, input, output;
    int64_t in, out;
    const struct sim_model *m = NULL;
    if (str_cut(text, '=', &name, &rates))
        m = sim_model_find(name);
    if (m == NULL || !str_cut(rates, '/', &input, &output) || str_parse_fixed(input, 0, &in) != 0 ||
        str_parse_fixed(output, 0, &out) != 0 || in < 0 || in > PRICE_MAX || out < 0 ||
        out > PRICE_MAX)
        return err_set(err, ERR_INVALID,
                       "'%.*s' is not MODEL=INPUT/OUTPUT, such as sim-weak=150/600", STR_ARG(text));
    io_prices[m - sim_models] = (struct sim_price){.input = in, .output = out};
    return 0;
}

int sim_prices_parse(const char *text, struct sim_price io_prices[SIM_MODEL_COUNT], struct err *err)
{
    struct str head, rest = str_from(text);
    int rc = 0;
    while (rc == 0 && rest.len > 0) {
        struct str tail = STR_NULL;
        if (!str_cut(rest, ',', &head, &tail))
            head = rest;
        rc = parse_one(head, io_prices, err);
        rest = tail;
    }
    return rc;
}

int sim_ledger_open(const char *path, int *out_fd, struct err *err)
{
    *out_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    return *out_fd < 0 ? err_set(err, ERR_IO, "cannot open the ledger '%s'", path) : 0;
}

int64_t sim_ledger_write(int fd, const struct sim_billed *b)
{
    char line[640], when[CLOCK_RFC3339_BYTES];
    const struct sim_reply *a = b->answer;
    int64_t billed = b->tokens_in * b->price->input + b->tokens_out * b->price->output;
    if (fd < 0)
        return billed;
    clock_format_rfc3339(clock_wall_us(), when);
    int n = snprintf(
        line, sizeof(line),
        "{\"ts\":\"%s\",\"mono_us\":%llu,\"number\":%llu,\"nonce\":\"%s\",\"model\":\"%s\","
        "\"task\":\"%s\",\"difficulty\":%u,\"correct\":%s,\"stream\":%s,\"choices\":%u,"
        "\"usage\":%s,\"status\":%u,\"tokens_in\":%u,\"tokens_out\":%u,\"billed_nano\":%lld,"
        "\"outcome\":\"%s\"}\n",
        when, (unsigned long long)(clock_mono_ns() / 1000), (unsigned long long)b->number, a->nonce,
        b->model->id, a->known ? task_family_name(a->solution.family) : "none",
        a->known ? a->solution.difficulty : 0, a->correct ? "true" : "false",
        b->stream ? "true" : "false", b->choices, b->with_usage ? "true" : "false", b->status,
        b->tokens_in, b->tokens_out, (long long)billed, b->outcome);
    /* One write of one line: with O_APPEND lines of several processes do not mix. */
    if (n > 0 && (size_t)n < sizeof(line) && write(fd, line, (size_t)n) != n)
        fprintf(stderr, "steelyard-simulator: the ledger could not be written\n");
    return billed;
}

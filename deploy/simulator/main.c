/* steelyard-simulator: see simulator.h. Starts, writes addresses.json, serves until SIGTERM. */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "common/base/log.h"
#include "common/base/options.h"
#include "deploy/simulator/simulator.h"

enum { EXIT_OK = 0, EXIT_RUNTIME = 1, EXIT_USAGE = 2 };

struct settings {
    const char *listen, *state_dir, *ledger;
    const char *error_rate, *rate_limit_rate, *cut_rate, *slow_rate, *no_usage_rate, *mute_rate;
    const char *prices;
    uint64_t slow_ms, seed, latency_percent, token_bytes;
};

#define RATE(flag, member, text)                                                                   \
    {                                                                                              \
        .name = flag, .type = OPTION_STRING, .offset = offsetof(struct settings, member),          \
        .default_value = "0", .example = "0.05", .help = text                                      \
    }

static const struct option_row rows[] = {
    {.name = "listen",
     .type = OPTION_STRING,
     .offset = offsetof(struct settings, listen),
     .default_value = "127.0.0.1:8099",
     .example = "127.0.0.1:0",
     .help = "Address of the HTTP server; port 0 takes a free one."},
    {.name = "state-dir",
     .type = OPTION_STRING,
     .offset = offsetof(struct settings, state_dir),
     .example = "state/simulator",
     .help = "Where addresses.json is written once it listens; nothing is written without it."},
    {.name = "ledger",
     .type = OPTION_STRING,
     .offset = offsetof(struct settings, ledger),
     .example = "state/simulator/ledger.jsonl",
     .help = "File that gets one JSON line for each request served."},
    {.name = "seed",
     .type = OPTION_U64,
     .offset = offsetof(struct settings, seed),
     .default_value = "1",
     .example = "7",
     .help = "Which prompts each model gets wrong, and which requests suffer a fault."},
    {.name = "latency-percent",
     .type = OPTION_U64,
     .offset = offsetof(struct settings, latency_percent),
     .default_value = "100",
     .min = 0,
     .max = 1000000,
     .unit = "%",
     .example = "50",
     .help = "Speed of the models: 100 as in their table, 0 at once."},
    {.name = "prices",
     .type = OPTION_STRING,
     .offset = offsetof(struct settings, prices),
     .default_value = "",
     .example = "sim-strong=2500/10000,sim-weak=150/600",
     .help = "What its ledger bills: nano-USD a token of input and output, by model."},
    {.name = "token-bytes",
     .type = OPTION_U64,
     .offset = offsetof(struct settings, token_bytes),
     .default_value = "4",
     .min = 1,
     .max = 1000,
     .unit = "bytes",
     .example = "1",
     .help = "Bytes of a prompt that are a token."},
    RATE("error-rate", error_rate, "Share of requests answered 500."),
    RATE("rate-limit-rate", rate_limit_rate, "Share of requests answered 429."),
    RATE("cut-rate", cut_rate, "Share of requests whose connection is cut, streams half-way."),
    RATE("slow-rate", slow_rate, "Share of requests delayed by --slow-delay."),
    RATE("no-usage-rate", no_usage_rate, "Share of answers without a usage object."),
    RATE("mute-rate", mute_rate, "Share of answers that are made and billed and never sent."),
    {.name = "slow-delay",
     .type = OPTION_DURATION,
     .offset = offsetof(struct settings, slow_ms),
     .default_value = "5s",
     .max = 600000,
     .unit = "ms",
     .example = "2s",
     .help = "How much later a slow request is answered."},
    {.name = NULL},
};

static int read_rates(const struct settings *s, struct sim_faults *out, struct err *err)
{
    const struct {
        const char *name, *text;
        uint32_t *ppm;
    } rates[] = {{"error-rate", s->error_rate, &out->error_ppm},
                 {"rate-limit-rate", s->rate_limit_rate, &out->rate_limit_ppm},
                 {"cut-rate", s->cut_rate, &out->cut_ppm},
                 {"slow-rate", s->slow_rate, &out->slow_ppm},
                 {"no-usage-rate", s->no_usage_rate, &out->no_usage_ppm},
                 {"mute-rate", s->mute_rate, &out->mute_ppm}};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        int64_t ppm;
        if (str_parse_fixed(str_from(rates[i].text), 6, &ppm) != 0 || ppm < 0 || ppm > 1000000)
            return err_set(err, ERR_INVALID, "--%s: '%s' is not a share; try 0.05", rates[i].name,
                           rates[i].text);
        *rates[i].ppm = (uint32_t)ppm;
    }
    out->slow_ms = (uint32_t)s->slow_ms;
    return 0;
}

static int print_help(void)
{
    struct buf text;
    buf_init(&text, 65536);
    int rc = options_help(rows, &text);
    if (rc == 0)
        printf("usage: steelyard-simulator [options]\n\n"
               "A SIMULATED model provider: it speaks the OpenAI chat dialect and answers small\n"
               "computable tasks with made-up skill. No model is behind it and nothing it says\n"
               "costs money; every answer says so in its system_fingerprint.\n\n%.*s",
               STR_ARG(buf_str(&text)));
    buf_deinit(&text);
    return rc == 0 ? EXIT_OK : EXIT_RUNTIME;
}

static int write_addresses(const struct settings *s, const struct simulator *sim, struct err *err)
{
    if (s->state_dir == NULL)
        return 0;
    char path[4096], text[64];
    int n = snprintf(path, sizeof(path), "%s/addresses.json", s->state_dir);
    if (n < 0 || (size_t)n >= sizeof(path))
        return err_set(err, ERR_TOO_LARGE, "--state-dir is too long");
    snprintf(text, sizeof(text), "{\"http\":\"127.0.0.1:%u\"}\n", simulator_port(sim));
    return buf_write_file(str_from(text), path, 0644, err);
}

struct edge {
    uv_signal_t term, interrupt;
    struct simulator *sim;
};

static void on_signal(uv_signal_t *handle, int number)
{
    struct edge *e = handle->data;
    (void)number;
    uv_close((uv_handle_t *)&e->term, NULL);
    uv_close((uv_handle_t *)&e->interrupt, NULL);
    simulator_close(e->sim, NULL, NULL);
}

static int serve(const struct settings *s, struct err *err)
{
    struct simulator_config config = {.address = s->listen,
                                      .ledger_path = s->ledger,
                                      .seed = s->seed,
                                      .latency_percent = (uint32_t)s->latency_percent,
                                      .token_bytes = s->token_bytes};
    struct edge e = {0};
    uv_loop_t loop;
    int rc = read_rates(s, &config.faults, err);
    if (rc == 0)
        rc = sim_prices_parse(s->prices, config.prices, err);
    if (rc != 0)
        return EXIT_USAGE;
    if (uv_loop_init(&loop) != 0)
        return EXIT_RUNTIME;
    rc = simulator_start(&loop, &config, &e.sim, err);
    if (rc != 0) {
        uv_loop_close(&loop);
        return EXIT_RUNTIME;
    }
    uv_signal_init(&loop, &e.term);
    uv_signal_init(&loop, &e.interrupt);
    e.term.data = e.interrupt.data = &e;
    uv_signal_start(&e.term, on_signal, SIGTERM);
    uv_signal_start(&e.interrupt, on_signal, SIGINT);
    rc = write_addresses(s, e.sim, err);
    if (rc != 0)
        on_signal(&e.term, SIGTERM);
    else
        log_event(LOG_INFO, "simulated provider listens: no model is behind it",
                  LOG_U64("port", simulator_port(e.sim)));
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return rc == 0 ? EXIT_OK : EXIT_RUNTIME;
}

int main(int argc, char **argv)
{
    struct settings s = {0};
    struct err err = {0};
    int rest = 0;
    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0)
            return print_help();
    int rc = options_parse(rows, &s, argc, argv, &rest, &err);
    if (rc == 0 && rest < argc)
        rc = err_set(&err, ERR_INVALID, "unexpected argument '%s'", argv[rest]);
    if (rc != 0) {
        fprintf(stderr, "steelyard-simulator: %s\n", err.message);
        return EXIT_USAGE;
    }
    log_init("simulator", LOG_INFO, LOG_AUTO);
    int code = serve(&s, &err);
    if (code != EXIT_OK)
        fprintf(stderr, "steelyard-simulator: %s\n", err.message);
    return code;
}

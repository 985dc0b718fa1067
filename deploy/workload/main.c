/* steelyard-workload: the process edge. Key from --key or STEELYARD_KEY. */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/base/mem.h"
#include "common/base/options.h"
#include "common/net/fetch.h"
#include "deploy/workload/workload.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_WRONG_USE = 2 };

struct settings {
    const char *url, *key, *models, *label, *out, *best;
    uint64_t count, concurrency, seed;
    bool feedback, quiet, each;
};

#define TEXT(flag, member, preset, sample, text)                                                   \
    {                                                                                              \
        .name = flag, .type = OPTION_STRING, .offset = offsetof(struct settings, member),          \
        .default_value = preset, .example = sample, .help = text                                   \
    }
#define NUMBER(flag, member, preset, most, sample, text)                                           \
    {                                                                                              \
        .name = flag, .type = OPTION_U64, .offset = offsetof(struct settings, member),             \
        .default_value = preset, .min = 1, .max = most, .example = sample, .help = text            \
    }

static const struct option_row rows[] = {
    TEXT("url", url, "http://127.0.0.1:8080", "http://127.0.0.1:8080", "The gateway."),
    TEXT("key", key, NULL, "sk-sy-...", "A key of the gateway."),
    TEXT("models", models, "auto", "auto", "Routes or models to ask for, in turn: a,b,c."),
    TEXT("label", label, "workload", "before", "What the run is called in its summary."),
    TEXT("out", out, NULL, "before.json", "File for the summary; without it, to stdout."),
    TEXT("best", best, "always the best", "always the best",
         "With `compare`: the label whose quality and cost the others are measured by."),
    NUMBER("count", count, "300", 1000000, "300", "Requests in all."),
    NUMBER("concurrency", concurrency, "24", 256, "24", "Requests at once."),
    NUMBER("seed", seed, "1", UINT32_MAX, "1", "Of the tasks: the same seed sends the same ones."),
    {.name = "each",
     .type = OPTION_BOOL,
     .offset = offsetof(struct settings, each),
     .default_value = "false",
     .example = "true",
     .help = "Every task to every model, instead of each task to one of them."},
    {.name = "feedback",
     .type = OPTION_BOOL,
     .offset = offsetof(struct settings, feedback),
     .default_value = "true",
     .example = "true",
     .help = "Say of each answer whether it was right."},
    {.name = "quiet",
     .type = OPTION_BOOL,
     .offset = offsetof(struct settings, quiet),
     .default_value = "false",
     .example = "false",
     .help = "Show no progress."},
    {.name = NULL},
};

static int print_help(void)
{
    struct buf text;
    buf_init(&text, 65536);
    int rc = options_help(rows, &text);
    if (rc == 0)
        printf("usage: steelyard-workload [options]\n"
               "       steelyard-workload [--best LABEL] compare FILE...\n\n"
               "Sends small tasks with known answers through the gateway, in the OpenAI chat "
               "dialect,\nand feeds back which answers were right.\n\n%.*s",
               STR_ARG(buf_str(&text)));
    buf_deinit(&text);
    return rc == 0 ? EXIT_OK : EXIT_FAILED;
}

/* Splits in place: the option's text is ours to cut, since it was copied. */
static int split_models(char *text, struct workload_config *out)
{
    for (char *p = text; p != NULL && *p != '\0';) {
        if (out->model_count == WORKLOAD_MODELS_MAX)
            return ERR_TOO_LARGE;
        out->models[out->model_count++] = p;
        p = strchr(p, ',');
        if (p != NULL)
            *p++ = '\0';
    }
    return out->model_count > 0 ? 0 : ERR_INVALID;
}

static int print_or_save(struct buf *text, const char *path, struct err *err)
{
    if (path != NULL)
        return buf_write_file(buf_str(text), path, 0644, err);
    return fwrite(text->data, 1, text->len, stdout) == text->len
               ? 0
               : err_set(err, ERR_IO, "the output could not be written");
}

static int run(const struct settings *s, struct err *err)
{
    struct workload_config config = {.url = s->url,
                                     .key = s->key,
                                     .count = (uint32_t)s->count,
                                     .concurrency = (uint32_t)s->concurrency,
                                     .seed = s->seed,
                                     .feedback = s->feedback,
                                     .each = s->each,
                                     .label = s->label,
                                     .quiet = s->quiet};
    struct workload_summary summary;
    struct buf text;
    char *models = mem_strdup(s->models);
    buf_init(&text, 65536);
    int rc =
        models == NULL ? err_set(err, ERR_NOMEM, "out of memory") : split_models(models, &config);
    if (rc == 0 && s->key == NULL)
        rc = err_set(err, ERR_INVALID, "a key is needed: --key or STEELYARD_KEY");
    if (rc == 0)
        rc = workload_run(&config, &summary, err);
    if (rc == 0 && summary.interrupted)
        rc = err_set(err, ERR_CANCELED, "interrupted after %u answers", summary.requests);
    if (rc == 0 && summary.failed * 10 > summary.requests)
        rc = err_set(err, ERR_UPSTREAM, "%u of %u requests failed; the first: %s", summary.failed,
                     summary.requests, summary.first_error);
    if (rc == 0)
        rc = workload_write_json(s->label, &summary, &text);
    if (rc == 0)
        rc = print_or_save(&text, s->out, err);
    if (rc == 0 && summary.feedback_failed > 0)
        fprintf(stderr, "steelyard-workload: %u feedbacks were not taken; the first: %s\n",
                summary.feedback_failed, summary.first_feedback_error);
    buf_deinit(&text);
    mem_free(models);
    return rc;
}

int main(int argc, char **argv)
{
    struct settings s = {0};
    struct err err = {0};
    struct buf text;
    int rest = 0;
    signal(SIGPIPE, SIG_IGN);
    json_set_alloc_funcs(mem_alloc, mem_free);
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0)
            return print_help();
    int rc = options_parse(rows, &s, argc, argv, &rest, &err);
    bool compare = rc == 0 && rest < argc && strcmp(argv[rest], "compare") == 0;
    if (rc == 0 && rest < argc && !compare)
        rc = err_set(&err, ERR_INVALID, "unexpected argument '%s'", argv[rest]);
    if (rc != 0) {
        fprintf(stderr, "steelyard-workload: %s\n", err.message);
        return EXIT_WRONG_USE;
    }
    if (compare) {
        buf_init(&text, 65536);
        rc = workload_compare(argv + rest + 1, (unsigned)(argc - rest - 1), s.best, &text, &err);
        if (rc == 0)
            rc = print_or_save(&text, s.out, &err);
        buf_deinit(&text);
    } else {
        rc = fetch_global_init(&err);
        if (rc == 0)
            rc = run(&s, &err);
        fetch_global_deinit();
    }
    if (rc != 0)
        fprintf(stderr, "steelyard-workload: %s\n", err.message);
    return rc == 0 ? EXIT_OK : EXIT_FAILED;
}

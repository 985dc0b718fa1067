/* Usual path of a slot: next task -> chat -> grade -> feedback -> next task, until none is left. */
#include "deploy/workload/workload.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/net/fetch.h"
#include "controlplane/ctl/progress.h"
#include "deploy/simulator/tasks.h"

#define REPLY_BYTES_MAX    (4U << 20)
#define SLOTS_MAX          256U
/* A node takes so many votes a second from one key; who is told to wait, waits. */
#define FEEDBACK_RETRY_MS  200U
#define FEEDBACK_TRIES_MAX 50U

struct run;
struct slot {
    struct run *run;
    struct fetch *fetch;
    struct task task;
    struct buf body, request;
    struct str span;
    uint64_t begun_ns;
    unsigned status;
    char decision[64], tags[64];
    bool in_feedback, right;
    uv_timer_t retry;
    unsigned tries;
};

struct run {
    const struct workload_config *config;
    struct workload_summary *out;
    uv_loop_t loop;
    uv_signal_t interrupt;
    struct fetch_loop *fetch;
    struct fetch_origin *origin;
    struct slot *slots;
    struct progress progress;
    double *latencies_ms;
    uint32_t started, ended, latency_count, idle_slots;
    char bearer[300];
};

static void slot_next(struct slot *x);

/* Keeps the first one. */
static void note_text(char out[256], const char *what, unsigned status, struct str body)
{
    if (out[0] == '\0')
        snprintf(out, 256, "%s: status %u %.*s", what, status, body.len < 160 ? (int)body.len : 160,
                 body.data != NULL ? body.data : "");
}

static void note_error(struct run *r, const char *what, unsigned status, struct str body)
{
    r->out->failed++;
    note_text(r->out->first_error, what, status, body);
}

static void count_served(struct workload_summary *s, struct str served)
{
    struct str provider, model;
    if (!str_cut(served, '/', &provider, &model))
        model = served;
    for (unsigned i = 0; i < s->served_count; i++) {
        if (str_is(model, s->served[i].model)) {
            s->served[i].requests++;
            return;
        }
    }
    if (s->served_count < WORKLOAD_MODELS_MAX &&
        str_copy(model, s->served[s->served_count].model, WORKLOAD_NAME_BYTES))
        s->served[s->served_count++].requests = 1;
}

static void read_head(struct slot *x)
{
    struct workload_summary *s = x->run->out;
    int64_t cost;
    count_served(s, fetch_header(x->fetch, STR("x-steelyard-served")));
    (void)str_copy(fetch_header(x->fetch, STR("x-steelyard-policy")), s->policy, sizeof(s->policy));
    (void)str_copy(fetch_header(x->fetch, STR("x-steelyard-decision-id")), x->decision,
                   sizeof(x->decision));
    struct str cost_usd = fetch_header(x->fetch, STR("x-steelyard-cost-usd"));
    if (cost_usd.data == NULL || str_parse_fixed(cost_usd, 9, &cost) != 0)
        s->unpriced++;
    else
        s->cost_nanousd += cost;
}

static enum fetch_flow on_head(void *arg, struct fetch *f, unsigned status)
{
    struct slot *x = arg;
    (void)f;
    x->status = status;
    if (!x->in_feedback && status == 200)
        read_head(x);
    return FETCH_GO;
}

static enum fetch_flow on_body(void *arg, struct fetch *f, struct str piece)
{
    struct slot *x = arg;
    if (buf_append_str(&x->body, piece) != 0)
        fetch_cancel(f);
    return FETCH_GO;
}

static bool grade(const struct slot *x)
{
    json_t *root = json_loadb(x->body.data, x->body.len, 0, NULL);
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    const json_t *text = json_object_get(json_object_get(choice, "message"), "content");
    bool right =
        json_is_string(text) &&
        task_grade(x->task.answer, (struct str){json_string_value(text), json_string_length(text)});
    json_decref(root);
    return right;
}

static void on_done(void *arg, struct fetch *f, const struct fetch_result *result);
static const struct fetch_callbacks callbacks = {
    .on_head = on_head, .on_body = on_body, .on_done = on_done};

static int send_request(struct slot *x, const char *target)
{
    struct run *r = x->run;
    struct fetch_field fields[] = {{STR("authorization"), str_from(r->bearer)},
                                   {STR("content-type"), STR("application/json")},
                                   {STR("x-steelyard-tags"), str_from(x->tags)}};
    x->span = buf_str(&x->request);
    struct fetch_request request = {.method = STR("POST"),
                                    .target = str_from(target),
                                    .fields = fields,
                                    .field_count = x->in_feedback ? 2 : 3,
                                    .body = &x->span,
                                    .body_count = 1,
                                    .body_max_bytes = REPLY_BYTES_MAX};
    buf_clear(&x->body);
    x->status = 0;
    return fetch_start(r->origin, &request, &callbacks, x, &x->fetch);
}

static void task_ended(struct slot *x);

static void on_retry(uv_timer_t *timer)
{
    struct slot *x = container_of(timer, struct slot, retry);
    if (x->run->out->interrupted || send_request(x, "/v1/feedback") != 0)
        task_ended(x);
}

static void feedback_ended(struct slot *x, int status)
{
    struct workload_summary *s = x->run->out;
    if (status == 0 && x->status == 429 && ++x->tries < FEEDBACK_TRIES_MAX && !s->interrupted) {
        uv_timer_start(&x->retry, on_retry, FEEDBACK_RETRY_MS, 0);
        return;
    }
    if (status != 0 || x->status < 200 || x->status > 299) {
        s->feedback_failed++;
        note_text(s->first_feedback_error, status != 0 ? err_text(status) : "refused", x->status,
                  buf_str(&x->body));
    }
    task_ended(x);
}

static bool send_feedback(struct slot *x)
{
    x->in_feedback = true;
    x->tries = 0;
    buf_clear(&x->request);
    return buf_printf(&x->request, "{\"decision_id\":\"%s\",\"score\":%d,\"source\":\"eval\"}",
                      x->decision, x->right ? 1 : 0) == 0 &&
           send_request(x, "/v1/feedback") == 0;
}

static void task_ended(struct slot *x)
{
    struct run *r = x->run;
    char note[48];
    r->ended++;
    uint32_t answered = r->out->requests - r->out->failed;
    snprintf(note, sizeof(note), "%.1f %% right",
             answered > 0 ? 100.0 * r->out->right / (double)answered : 0.0);
    progress_update(&r->progress, r->ended, r->config->count, note);
    slot_next(x);
}

static void on_done(void *arg, struct fetch *f, const struct fetch_result *result)
{
    struct slot *x = arg;
    struct run *r = x->run;
    (void)f;
    x->fetch = NULL;
    if (x->in_feedback) {
        feedback_ended(x, result->status);
        return;
    }
    r->out->requests++;
    if (result->status != 0 || x->status != 200) {
        note_error(r, result->status != 0 ? err_text(result->status) : "refused", x->status,
                   buf_str(&x->body));
        task_ended(x);
        return;
    }
    r->latencies_ms[r->latency_count++] = (double)(clock_mono_ns() - x->begun_ns) / 1e6;
    x->right = grade(x);
    r->out->right += x->right ? 1 : 0;
    memcpy(r->out->decision_id, x->decision, sizeof(r->out->decision_id));
    if (!r->config->feedback || x->decision[0] == '\0' || !send_feedback(x))
        task_ended(x);
}

static int write_chat(struct slot *x, const char *model)
{
    json_t *body = json_pack("{s:s,s:i,s:[{s:s,s:s}]}", "model", model, "max_tokens", 200,
                             "messages", "role", "user", "content", x->task.prompt);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    buf_clear(&x->request);
    int rc = text != NULL ? buf_append_text(&x->request, text) : ERR_NOMEM;
    mem_free(text);
    return rc;
}

static void run_ended(struct run *r)
{
    if (uv_is_closing((uv_handle_t *)&r->interrupt))
        return;
    uv_close((uv_handle_t *)&r->interrupt, NULL);
    for (uint32_t i = 0; i < r->config->concurrency; i++)
        uv_close((uv_handle_t *)&r->slots[i].retry, NULL);
    fetch_origin_close(r->origin, NULL, NULL);
    fetch_loop_close(r->fetch, NULL, NULL);
}

/* Task `number` depends on seed and number alone, not on who answers first. */
static enum task_family choose_task(const struct workload_config *config, uint32_t number,
                                    struct task *out)
{
    uint32_t index = config->each ? number / config->model_count : number;
    struct task_rng seed = {.state = config->seed * 1000003 + index};
    struct task_rng r = {.state = task_rng_next(&seed)};
    enum task_family family = (enum task_family)task_rng_below(&r, TASK_FAMILY_COUNT);
    task_generate(&r, family, 1 + (unsigned)task_rng_below(&r, TASK_DIFFICULTY_MAX), out);
    return family;
}

/* A loop, so that tasks that cannot even be sent do not pile up on the stack. */
static void slot_next(struct slot *x)
{
    struct run *r = x->run;
    while (!r->out->interrupted && r->started < r->config->count) {
        uint32_t number = r->started++;
        enum task_family family = choose_task(r->config, number, &x->task);
        snprintf(x->tags, sizeof(x->tags), "task=%s", task_family_name(family));
        x->in_feedback = false;
        x->decision[0] = '\0';
        x->begun_ns = clock_mono_ns();
        if (write_chat(x, r->config->models[number % r->config->model_count]) == 0 &&
            send_request(x, "/v1/chat/completions") == 0)
            return;
        note_error(r, "not sent", 0, STR_NULL);
        r->ended++;
    }
    if (++r->idle_slots == r->config->concurrency)
        run_ended(r);
}

static void on_interrupt(uv_signal_t *handle, int number)
{
    struct run *r = container_of(handle, struct run, interrupt);
    (void)number;
    r->out->interrupted = true;
    for (uint32_t i = 0; i < r->config->concurrency; i++)
        if (r->slots[i].fetch != NULL)
            fetch_cancel(r->slots[i].fetch);
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static int run_init(struct run *r, const struct workload_config *config, struct err *err)
{
    struct fetch_origin_config origin = {.url = config->url,
                                         .allow_private = true,
                                         .allow_http = true,
                                         .max_connections = config->concurrency,
                                         .max_idle_connections = config->concurrency};
    r->slots = mem_calloc(config->concurrency, sizeof(*r->slots));
    r->latencies_ms = mem_calloc(config->count, sizeof(double));
    r->fetch = fetch_loop_create(&r->loop);
    if (r->slots == NULL || r->latencies_ms == NULL || r->fetch == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    snprintf(r->bearer, sizeof(r->bearer), "Bearer %s", config->key);
    return fetch_origin_create(r->fetch, &origin, &r->origin, err);
}

static void run_summarise(struct run *r, uint64_t begun_ns)
{
    qsort(r->latencies_ms, r->latency_count, sizeof(double), compare_double);
    if (r->latency_count > 0) {
        r->out->p50_ms = r->latencies_ms[r->latency_count / 2];
        r->out->p95_ms = r->latencies_ms[(size_t)r->latency_count * 95 / 100];
    }
    r->out->seconds = (double)(clock_mono_ns() - begun_ns) / 1e9;
}

int workload_run(const struct workload_config *config, struct workload_summary *out,
                 struct err *err)
{
    struct run r = {.config = config, .out = out};
    uint64_t begun_ns = clock_mono_ns();
    *out = (struct workload_summary){0};
    if (config->concurrency == 0 || config->concurrency > SLOTS_MAX || config->count == 0)
        return err_set(err, ERR_INVALID, "1 to %u requests at once, at least one in all",
                       SLOTS_MAX);
    if (uv_loop_init(&r.loop) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    int rc = run_init(&r, config, err);
    if (rc == 0) {
        progress_init(&r.progress, stderr, isatty(2) != 0, config->quiet, config->label);
        uv_signal_init(&r.loop, &r.interrupt);
        uv_signal_start(&r.interrupt, on_interrupt, SIGINT);
        for (uint32_t i = 0; i < config->concurrency; i++) {
            r.slots[i].run = &r;
            uv_timer_init(&r.loop, &r.slots[i].retry);
            buf_init(&r.slots[i].body, REPLY_BYTES_MAX);
            buf_init(&r.slots[i].request, 65536);
        }
        for (uint32_t i = 0; i < config->concurrency; i++)
            slot_next(&r.slots[i]);
    } else if (r.fetch != NULL) {
        fetch_loop_close(r.fetch, NULL, NULL);
    }
    uv_run(&r.loop, UV_RUN_DEFAULT);
    uv_loop_close(&r.loop);
    if (rc == 0) {
        progress_end(&r.progress);
        run_summarise(&r, begun_ns);
        for (uint32_t i = 0; i < config->concurrency; i++) {
            buf_deinit(&r.slots[i].body);
            buf_deinit(&r.slots[i].request);
        }
    }
    mem_free(r.slots);
    mem_free(r.latencies_ms);
    return rc;
}

/* Posts recorded questions through a node like any client and feeds the recorded scores back.
 *
 *   replay_driver NODE_URL KEY SET_DIRECTORY full|observed|serve ROUTE [LIMIT [PART PARTS]]
 * full      each train question to each model by its id ("SET:model"), with feedback
 * observed  each train question once to ROUTE, with feedback for the model that served
 * serve     each valid question once to ROUTE; nothing is fed back
 * At most LIMIT questions are asked, of those with number mod PARTS = PART. Prints one JSON object:
 * what was asked, what it scored and cost by the recorded figures, and the best single model (best
 * on the train rows) on the same rows. Exit 1 when a request failed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <uv.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/net/fetch.h"
#include "tests/lib/recorded.h"

#define LANES     32 /* Requests in flight. */
#define REPLY_MAX (4U << 20)

enum mode { MODE_FULL, MODE_OBSERVED, MODE_SERVE };

/* One lane asks a question, feeds the score back, and takes the next. */
struct lane {
    const struct recorded_row *row;
    int model; /* Asked for (full), then served. */
    char body_decision[64];
    char *body;
    struct str body_span;
    struct str feedback_span;
    char feedback[256];
    unsigned status;
    bool feeding_back;
};

static const struct recorded_set *set;
static enum mode mode;
static const char *route;
static char authorization[256];
static struct fetch_origin *origin;
static struct fetch_loop *fetch_loop;
static size_t next_job, job_count, done, failed;
static uint64_t part, parts = 1;
static double quality, cost_usd;
static size_t served_by[RECORDED_MODELS_MAX];

static void lane_ask(struct lane *lane);

/* Of the part of the questions that is asked. */
static const struct recorded_row *row_at(size_t i)
{
    size_t at = i * parts + part;
    return mode == MODE_SERVE ? &set->valid[at] : &set->train[at];
}

static void fail(const struct lane *lane, const char *what)
{
    failed++;
    if (failed <= 5)
        fprintf(stderr, "%s: %s (status %u)\n", lane->row->id, what, lane->status);
}

static enum fetch_flow on_head(void *arg, struct fetch *f, unsigned status)
{
    struct lane *lane = arg;
    lane->status = status;
    if (lane->feeding_back)
        return FETCH_GO;
    str_copy(fetch_header(f, STR("x-steelyard-decision-id")), lane->body_decision,
             sizeof lane->body_decision);
    struct str prefix, model; /* "SET/SET:model" */
    if (str_cut(fetch_header(f, STR("x-steelyard-served")), ':', &prefix, &model))
        lane->model = recorded_model(set, model);
    return FETCH_GO;
}

static void lane_count(struct lane *lane)
{
    double score = lane->row->score[lane->model];
    quality += isnan(score) ? 0 : score;
    cost_usd += lane->row->cost_usd[lane->model];
    served_by[lane->model]++;
}

static void on_done(void *arg, struct fetch *f, const struct fetch_result *result);
static const struct fetch_callbacks callbacks = {.on_head = on_head, .on_done = on_done};

static void lane_post(struct lane *lane, struct str target, const struct str *body)
{
    char tags[128];
    snprintf(tags, sizeof tags, "task=%s", lane->row->task);
    const struct fetch_field fields[] = {
        {STR("content-type"), STR("application/json")},
        {STR("authorization"), str_from(authorization)},
        {STR("x-steelyard-tags"), str_from(tags)},
    };
    size_t count = lane->row->task[0] != '\0' ? 3 : 2;
    const struct fetch_request request = {.method = STR("POST"),
                                          .target = target,
                                          .fields = fields,
                                          .field_count = count,
                                          .body = body,
                                          .body_count = 1,
                                          .body_max_bytes = REPLY_MAX};
    struct fetch *f;
    lane->status = 0;
    if (fetch_start(origin, &request, &callbacks, lane, &f) != 0) {
        fail(lane, "cannot start");
        exit(1);
    }
}

static void lane_feed_back(struct lane *lane)
{
    lane->feeding_back = true;
    snprintf(lane->feedback, sizeof lane->feedback,
             "{\"decision_id\":\"%s\",\"score\":%.6g,\"source\":\"eval\"}", lane->body_decision,
             lane->row->score[lane->model]);
    lane->feedback_span = str_from(lane->feedback);
    lane_post(lane, STR("/v1/feedback"), &lane->feedback_span);
}

static void on_done(void *arg, struct fetch *f, const struct fetch_result *result)
{
    (void)f;
    struct lane *lane = arg;
    bool good = result->status == 0 && lane->status / 100 == 2;
    if (!lane->feeding_back) {
        mem_free(lane->body);
        lane->body = NULL;
        if (!good || lane->model < 0) {
            fail(lane, "was not answered");
        } else {
            lane_count(lane);
            if (mode != MODE_SERVE && !isnan(lane->row->score[lane->model])) {
                lane_feed_back(lane);
                return;
            }
        }
    } else if (!good) {
        fail(lane, "feedback was refused");
    }
    done++;
    if (done % 5000 == 0)
        fprintf(stderr, "%zu of %zu\n", done, job_count);
    lane_ask(lane);
}

static void lane_ask(struct lane *lane)
{
    if (next_job == job_count)
        return;
    size_t job = next_job++;
    size_t per_row = mode == MODE_FULL ? set->model_count : 1;
    lane->row = row_at(job / per_row);
    lane->model = -1;
    lane->feeding_back = false;
    char model[512];
    if (mode == MODE_FULL)
        snprintf(model, sizeof model, "%s:%s", set->name, set->models[job % per_row]);
    else
        snprintf(model, sizeof model, "%s", route);
    json_t *body = json_pack("{s:s,s:[{s:s,s:s}]}", "model", model, "messages", "role", "user",
                             "content", lane->row->query);
    lane->body = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    lane->body_span = str_from(lane->body);
    lane_post(lane, STR("/v1/chat/completions"), &lane->body_span);
}

/* Best single model on the train rows, and what it scores and costs on the rows that were asked. */
static int best_single(void)
{
    int best = 0;
    double best_sum = -1;
    for (size_t m = 0; m < set->model_count; m++) {
        double sum = 0;
        for (size_t i = 0; i < set->train_count; i++)
            sum += isnan(set->train[i].score[m]) ? 0 : set->train[i].score[m];
        if (sum > best_sum) {
            best_sum = sum;
            best = (int)m;
        }
    }
    return best;
}

static void print_summary(void)
{
    size_t per_row = mode == MODE_FULL ? set->model_count : 1;
    size_t count = job_count / per_row;
    int best = best_single();
    double best_quality = 0, best_cost = 0;
    for (size_t i = 0; i < count; i++) {
        const struct recorded_row *row = row_at(i);
        best_quality += isnan(row->score[best]) ? 0 : row->score[best];
        best_cost += row->cost_usd[best];
    }
    json_t *shares = json_object();
    for (size_t m = 0; m < set->model_count; m++)
        if (served_by[m] > 0)
            json_object_set_new(shares, set->models[m],
                                json_real((double)served_by[m] / (double)job_count));
    json_t *out = json_pack("{s:s,s:I,s:I,s:f,s:f,s:s,s:f,s:f,s:o}", "set", set->name, "requests",
                            (json_int_t)job_count, "failed", (json_int_t)failed, "quality",
                            quality / (double)job_count, "cost_usd", cost_usd, "best_model",
                            set->models[best], "best_quality", best_quality / (double)count,
                            "best_cost_usd", best_cost, "shares", shares);
    char *text = json_dumps(out, JSON_COMPACT | JSON_REAL_PRECISION(8));
    puts(text);
    mem_free(text);
    json_decref(out);
}

int main(int argc, char **argv)
{
    static struct lane lanes[LANES];
    struct err err = {0};
    uint64_t limit = UINT64_MAX;
    if (argc < 6 || (argc > 6 && str_parse_u64(str_from(argv[6]), UINT32_MAX, &limit) != 0) ||
        argc == 8 ||
        (argc > 8 &&
         (str_parse_u64(str_from(argv[7]), UINT32_MAX, &part) != 0 ||
          str_parse_u64(str_from(argv[8]), UINT32_MAX, &parts) != 0 || part >= parts))) {
        fprintf(stderr, "usage: replay_driver NODE_URL KEY SET_DIRECTORY full|observed|serve ROUTE"
                        " [LIMIT [PART PARTS]]\n");
        return 2;
    }
    json_set_alloc_funcs(mem_alloc, mem_free);
    snprintf(authorization, sizeof authorization, "Bearer %s", argv[2]);
    set = recorded_load(argv[3]);
    mode = strcmp(argv[4], "full") == 0    ? MODE_FULL
           : strcmp(argv[4], "serve") == 0 ? MODE_SERVE
                                           : MODE_OBSERVED;
    route = argv[5];
    job_count = mode == MODE_SERVE ? set->valid_count : set->train_count;
    job_count = (job_count + parts - 1 - part) / parts;
    job_count = (job_count < limit ? job_count : (size_t)limit) *
                (mode == MODE_FULL ? set->model_count : 1);
    const struct fetch_origin_config config = {
        .url = argv[1], .allow_private = true, .allow_http = true, .max_connections = LANES};
    if (fetch_global_init(&err) != 0 ||
        (fetch_loop = fetch_loop_create(uv_default_loop())) == NULL ||
        fetch_origin_create(fetch_loop, &config, &origin, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (size_t i = 0; i < LANES; i++)
        lane_ask(&lanes[i]);
    while (done < job_count && uv_run(uv_default_loop(), UV_RUN_ONCE) != 0) {
    }
    print_summary();
    return failed == 0 ? 0 : 1;
}

#include "bench_deciding.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "bench_artifact.h"
#include "bench_record.h"
#include "common/base/clock.h"

#define MODELS  2 /* As the node has in tests/bench/run. */
#define LOOK_NS 50000000L
#define CONTENT "\"content\":\""

static struct bench_record record;
static struct features_hasher hasher;
static struct artifact *artifact;
static struct policy_params params;
static struct policy_request request;
static struct features features;
static struct policy_decision decision;
static const char *directory;
static struct spool_set *set;
static pthread_t shipper;
static _Atomic bool stopping;

/* As the shipper without a network: what is synced, in batches. */
static void *shipper_main(void *arg)
{
    (void)arg;
    struct shipper_cursor cursor;
    struct shipper_batch batch;
    shipper_cursor_init(&cursor, set, spool_set_spool(set, 0)->epoch);
    bench_batch_init(&batch);
    while (!atomic_load(&stopping)) {
        while (bench_batch(&batch, &cursor, false) > 0) {
        }
        bench_spool_age(set, &cursor);
        const struct timespec pause = {.tv_nsec = LOOK_NS};
        (void)nanosleep(&pause, NULL);
    }
    shipper_batch_deinit(&batch);
    shipper_cursor_deinit(&cursor);
    return NULL;
}

void bench_deciding_start(void)
{
    bench_record_init(&record);
    features_hasher_init(&hasher, (struct siphash_key){3, 4});
    artifact = bench_artifact(MODELS, 0);
    policy_params_init(&params);
    request = (struct policy_request){
        .t_in = 260, .lambda = POLICY_LAMBDA_DEFAULT, .sticky = POLICY_NONE, .explore = true};
    for (uint32_t m = 0; m < MODELS; m++)
        record.candidates[m] = bench_candidate(m);
    directory = bench_directory();
    set = bench_spool(directory, false);
    if (pthread_create(&shipper, NULL, shipper_main, NULL) != 0)
        bench_fail("cannot start a thread");
}

void bench_deciding_stop(void)
{
    atomic_store(&stopping, true);
    pthread_join(shipper, NULL);
    spool_set_destroy(set);
    bench_directory_remove(directory);
    artifact_destroy(artifact);
}

/* The text of the only message, which has no quotes in it. */
static struct str text_of(const char *bytes, size_t len)
{
    const char *text = memmem(bytes, len, CONTENT, strlen(CONTENT));
    if (text == NULL)
        return (struct str){0};
    text += strlen(CONTENT);
    const char *end = memchr(text, '"', len - (size_t)(text - bytes));
    return (struct str){text, end == NULL ? 0 : (size_t)(end - text)};
}

struct spool_intent *bench_deciding_request(const char *bytes, size_t len)
{
    static uint64_t count;
    const uint64_t id[2] = {++count * UINT64_C(0x9e3779b97f4a7c15), count};
    const struct str text = text_of(bytes, len);
    const struct features_input input = {.text = text,
                                         .bytes = text.len,
                                         .t_in = request.t_in,
                                         .max_tokens = 256,
                                         .messages = 1,
                                         .turns = 1,
                                         .temperature_q8 = FEATURES_TEMPERATURE_UNSET};
    struct spool_intent *intent = NULL;

    features_extract(&hasher, &input, &features);
    memcpy(request.request_id, id, sizeof(id));
    if (policy_decide(artifact, &features, &params, &request, record.candidates, MODELS,
                      &decision) != 0)
        bench_fail("no decision");
    record.intent.features = &features;
    record.intent.decision = &decision;
    record.intent.conv_hash = record.intent.text_hash = (struct str){(const char *)id, 8};
    memcpy(record.intent.request_id.bytes, id, sizeof(id));
    record.intent.ts_us = clock_wall_us();
    if (spool_intent(spool_set_spool(set, 0), &record.intent, &record.begun, &intent, NULL) != 0)
        bench_fail("the spool is full");
    return intent;
}

void bench_deciding_reply(struct spool_intent *intent)
{
    spool_outcome(spool_set_spool(set, 0), intent, &record.outcome, NULL);
}

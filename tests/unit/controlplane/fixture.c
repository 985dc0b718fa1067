#include "tests/unit/controlplane/fixture.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "controlplane/store/migrate.h"
#include "telemetry.pb-c.h"

extern char **environ;

static char dir[256];
static char conninfo_of[16][256];
static char base_conninfo[256];
static unsigned databases;

static void die(const char *what)
{
    fprintf(stderr, "fixture: %s\n", what);
    exit(1);
}

static void run_script(const char *action, const char *option, char *out, size_t out_bytes)
{
    int fds[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    const char *script = STEELYARD_SOURCE_DIR "/tests/lib/postgres";
    char *argv[] = {(char *)(uintptr_t)script, (char *)(uintptr_t)action, dir,
                    (char *)(uintptr_t)option, NULL};
    if (pipe(fds) != 0)
        die("pipe");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    posix_spawn_file_actions_addclose(&actions, fds[0]);
    if (posix_spawn(&pid, script, &actions, NULL, argv, environ) != 0)
        die("cannot run tests/lib/postgres");
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    size_t len = 0;
    ssize_t n;
    while (len + 1 < out_bytes && (n = read(fds[0], out + len, out_bytes - len - 1)) > 0) {
        len += (size_t)n;
        if (memchr(out, '\n', len) != NULL)
            break; /* The server it started keeps the pipe open. */
    }
    out[len] = '\0';
    out[strcspn(out, "\n")] = '\0';
    close(fds[0]);
    int status;
    if (waitpid(pid, &status, 0) != pid || status != 0)
        die("tests/lib/postgres failed");
}

static const char *start(const char *option)
{
    snprintf(dir, sizeof dir, "/tmp/sy-cluster.%d.XXXXXX", (int)getpid());
    if (mkdtemp(dir) == NULL)
        die("mkdtemp");
    run_script("start", option, base_conninfo, sizeof base_conninfo);
    return base_conninfo;
}

const char *cluster_start(void)
{
    return start(NULL);
}

const char *cluster_start_durable(void)
{
    return start("--durable");
}

void cluster_restart(void)
{
    char ignored[256];
    run_script("restart", NULL, ignored, sizeof ignored);
}

void cluster_stop(void)
{
    char ignored[256];
    run_script("stop", NULL, ignored, sizeof ignored);
}

const char *cluster_dir(void)
{
    return dir;
}

int fixture_stop_cluster(void **state)
{
    (void)state;
    cluster_stop();
    return 0;
}

void fixture_on_closed(void *closed)
{
    *(bool *)closed = true;
}

void fixture_run_until(uv_loop_t *loop, const bool *closed)
{
    while (!*closed)
        uv_run(loop, UV_RUN_ONCE);
}

void fixture_close_work(uv_loop_t *loop, struct work *work)
{
    bool closed = false;
    work_close(work, fixture_on_closed, &closed);
    fixture_run_until(loop, &closed);
}

struct pq_conn *fixture_connect(const char *conninfo)
{
    struct pq_conn *c = NULL;
    struct err err = {0};
    if (pq_conn_open(conninfo, "fixture", 5000, 60000, &c, &err) != 0)
        die(err.message);
    return c;
}

void fixture_exec(struct pq_conn *c, const char *sql)
{
    struct err err = {0};
    if (pq_conn_script(c, sql, &err) != 0) {
        fprintf(stderr, "%s\n", sql);
        die(err.message);
    }
}

int64_t fixture_i64(struct pq_conn *c, const char *sql)
{
    struct err err = {0};
    struct pq_result *r = NULL;
    if (pq_conn_query(c, sql, NULL, &r, &err) != 0) {
        fprintf(stderr, "%s\n", sql);
        die(err.message);
    }
    int64_t value = pq_result_rows(r) > 0 ? pq_result_i64(r, 0, 0) : INT64_MIN;
    pq_result_destroy(r);
    return value;
}

const char *cluster_database(const char *name, bool migrated)
{
    if (databases == sizeof conninfo_of / sizeof conninfo_of[0])
        die("too many databases");
    char *conninfo = conninfo_of[databases++];
    char sql[128];
    struct pq_conn *c = fixture_connect(base_conninfo);
    snprintf(sql, sizeof sql, "CREATE DATABASE %s", name);
    fixture_exec(c, sql);
    pq_conn_close(c);
    const char *at = strstr(base_conninfo, " dbname=");
    snprintf(conninfo, sizeof conninfo_of[0], "%.*s dbname=%s", (int)(at - base_conninfo),
             base_conninfo, name);
    if (migrated) {
        struct err err = {0};
        c = fixture_connect(conninfo);
        if (migrate_run(c, NULL, &err) != 0)
            die(err.message);
        pq_conn_close(c);
    }
    return conninfo;
}

/* --- records -----------------------------------------------------------------------------------
 */

static void add_record(struct buf *list, const Steelyard__Telemetry__V1__Record *record)
{
    uint8_t small[8192];
    size_t len = steelyard__telemetry__v1__record__get_packed_size(record);
    if (len > sizeof small)
        die("record too large");
    steelyard__telemetry__v1__record__pack(record, small);
    uint8_t head[6] = {0x0a};
    size_t n = 1;
    for (size_t rest = len;; rest >>= 7) {
        head[n++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
        if (rest <= 0x7f)
            break;
    }
    if (list->max == 0)
        buf_init(list, 64U << 20);
    if (buf_append(list, head, n) != 0 || buf_append(list, small, len) != 0)
        die("out of memory");
}

void fixture_add_decision(struct buf *list, const struct fixture_decision *in)
{
    static char small[] = "model-small", large[] = "model-large";
    static char sim_small[] = "sim/model-small", sim_large[] = "sim/model-large";
    char *models[] = {small, large};
    char *servers[] = {sim_small, sim_large};
    static const uint8_t features[] = {5, 9, 200, 1, 17, 33, 64, 90, 128, 1, 77, 12};
    int32_t dense[24] = {256, 512, 300};
    int64_t ts = in->ts_us != 0 ? in->ts_us : INT64_C(1795233600000000) + (int64_t)in->serial;
    struct uuid id = uuid_v7_signed(ts, in->key_id, (struct siphash_key){1, 2});
    uint8_t sha[32] = {7}, params[32] = {9}, text_hash[16] = {0};
    memcpy(text_hash, &in->serial, sizeof in->serial);
    Steelyard__Telemetry__V1__Cand cand[2];
    Steelyard__Telemetry__V1__Cand *cands[] = {&cand[0], &cand[1]};
    Steelyard__Telemetry__V1__Attempt attempt = STEELYARD__TELEMETRY__V1__ATTEMPT__INIT;
    Steelyard__Telemetry__V1__Attempt *attempts[] = {&attempt};
    Steelyard__Telemetry__V1__Decision d = STEELYARD__TELEMETRY__V1__DECISION__INIT;
    Steelyard__Telemetry__V1__Record record = STEELYARD__TELEMETRY__V1__RECORD__INIT;
    for (unsigned i = 0; i < 2; i++) {
        steelyard__telemetry__v1__cand__init(&cand[i]);
        cand[i].model = i + 1;
        cand[i].z = (int32_t)(1000 * i);
        cand[i].q = i == 0 ? 40000 : 60000;
        cand[i].out_tok = 100;
        cand[i].price_in = i == 0 ? 150000000 : 2500000000;
        cand[i].price_out = i == 0 ? 600000000 : 10000000000;
        cand[i].p = i == 0 ? 0xf0000000U : 0x0fffffffU;
        cand[i].price_id = 4711 + i;
        cand[i].lat_ms = 400;
    }
    attempt.in = 100;
    attempt.out = 50;
    attempt.start_us = ts + 1000;
    attempt.status = 200;
    attempt.ttft_ms = 30;
    attempt.total_ms = 120;
    attempt.cost = in->cost;
    attempt.provider_id = (char *)(uintptr_t) "chatcmpl-123";
    d.request_id = (ProtobufCBinaryData){16, id.bytes};
    d.ts_us = ts;
    d.key_id = in->key_id;
    d.alias = (char *)(uintptr_t)(in->route != NULL ? in->route : "auto");
    d.route = d.alias;
    d.task = (char *)(uintptr_t)(in->task != NULL ? in->task : "");
    d.endpoint = (char *)(uintptr_t) "chat.completions";
    d.policy_version = (ProtobufCBinaryData){sizeof sha, sha};
    d.params_sha = (ProtobufCBinaryData){sizeof params, params};
    d.text_hash = (ProtobufCBinaryData){sizeof text_hash, text_hash};
    d.features = (ProtobufCBinaryData){sizeof features, (uint8_t *)(uintptr_t)features};
    d.n_dense = 24;
    d.dense = dense;
    d.n_models = 2;
    d.models = models;
    d.n_servers = 2;
    d.servers = servers;
    d.n_cand = 2;
    d.cand = cands;
    d.n_attempt = 1;
    d.attempt = attempts;
    d.status = STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_OK;
    d.http_status = 200;
    d.served = 1;
    d.cost = in->cost;
    d.t_in = 100;
    d.ttft_ms = 30;
    d.duration_ms = 120;
    d.generation = 3;
    uint64_t accounts[6];
    Steelyard__Telemetry__V1__Charge charge[4], *charges[4];
    memcpy(accounts, in->accounts, sizeof accounts);
    d.accounts = accounts;
    while (d.n_accounts < 6 && accounts[d.n_accounts] != 0)
        d.n_accounts++;
    d.charge = charges;
    for (; d.n_charge < 4 && in->charges[d.n_charge].budget != 0; d.n_charge++) {
        charges[d.n_charge] = &charge[d.n_charge];
        steelyard__telemetry__v1__charge__init(charges[d.n_charge]);
        charges[d.n_charge]->budget = in->charges[d.n_charge].budget;
        charges[d.n_charge]->period_start_us = in->charges[d.n_charge].period_start_us;
        charges[d.n_charge]->cfg = in->charges[d.n_charge].cfg;
    }
    d.lease_epoch = in->lease_epoch;
    d.flags = in->flags;
    d.rollout_id = in->rollout_id;
    d.unit = in->unit;
    d.arm = in->arm;
    d.stage = in->stage;
    d.slot = in->slot;
    attempt.reason = in->reason;
    attempt.fingerprint = in->print;
    if (in->print_text != NULL)
        attempt.fingerprint_text = (char *)(uintptr_t)in->print_text;
    attempt.usage = (Steelyard__Telemetry__V1__UsageSource)in->source;
    record.body_case = STEELYARD__TELEMETRY__V1__RECORD__BODY_DECISION;
    record.decision = &d;
    add_record(list, &record);
    if (in->out_id != NULL)
        *in->out_id = id;
}

void fixture_add_feedback(struct buf *list, const struct uuid *request_id, uint64_t key_id,
                          const char *source, int32_t score_q16, int64_t ts_us)
{
    Steelyard__Telemetry__V1__Feedback f = STEELYARD__TELEMETRY__V1__FEEDBACK__INIT;
    Steelyard__Telemetry__V1__Record record = STEELYARD__TELEMETRY__V1__RECORD__INIT;
    struct uuid id = *request_id;
    f.request_id = (ProtobufCBinaryData){16, id.bytes};
    f.ts_us = ts_us;
    f.key_id = key_id;
    f.source = (char *)(uintptr_t)source;
    f.score_q16 = score_q16;
    record.body_case = STEELYARD__TELEMETRY__V1__RECORD__BODY_FEEDBACK;
    record.feedback = &f;
    add_record(list, &record);
}

void fixture_add_gap(struct buf *list, uint64_t from, uint64_t to)
{
    Steelyard__Telemetry__V1__Gap gap = STEELYARD__TELEMETRY__V1__GAP__INIT;
    Steelyard__Telemetry__V1__Record record = STEELYARD__TELEMETRY__V1__RECORD__INIT;
    gap.from = from;
    gap.to = to;
    gap.reason = (char *)(uintptr_t) "quarantined frame";
    record.body_case = STEELYARD__TELEMETRY__V1__RECORD__BODY_GAP;
    record.gap = &gap;
    add_record(list, &record);
}

/* A well-framed entry whose inside is not a Record. */
void fixture_add_garbage(struct buf *list, uint64_t serial)
{
    uint8_t bytes[12] = {0x0a, 10, 0x0a, 0x7f};
    memcpy(bytes + 4, &serial, 8);
    if (list->max == 0)
        buf_init(list, 64U << 20);
    if (buf_append(list, bytes, sizeof bytes) != 0)
        die("out of memory");
}

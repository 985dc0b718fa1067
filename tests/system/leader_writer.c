/* leader_writer --database CONNINFO --etcd URLS --name NAME [--ttl-ms N]: a control plane's leading
 * part alone, writing as fast as it can. While it leads the role `trainer` it stores one version of
 * policy "split" after the other, each with a content of its own, and says of each on standard
 * output "accepted VERSION TERM CONTENT". When it has lost the role it still tries a few times with
 * the claim it had, as a program would that does not look at its clock, and says "refused TERM" of
 * what the fence stopped. Ends at SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/net/fetch.h"
#include "control.pb-c.h"
#include "controlplane/leader/leader.h"
#include "controlplane/release/publish.h"

#define STALE_TRIES 3U

struct writer {
    uv_loop_t loop;
    struct work *work;
    struct leader *leader;
    uv_timer_t timer;
    uv_signal_t term;
    struct leader_claim claim; /* The last one. */
    char name[64];
    unsigned stale_left;
    uint64_t count;
    char content[128];
    uint64_t version;
    bool working, ending;
};

static int run_write(void *arg, struct pq_conn *c, struct err *err)
{
    struct writer *w = arg;
    uint8_t packed[256];
    Steelyard__Control__V1__Params m = STEELYARD__CONTROL__V1__PARAMS__INIT;
    m.policy = (char *)(uintptr_t) "split";
    (void)snprintf(w->content, sizeof w->content, "%s/%llu/%llu", w->name,
                   (unsigned long long)w->claim.term, (unsigned long long)++w->count);
    const struct publish_actor actor = {
        .name = STR("writer"), .reason = str_from(w->content), .claim = &w->claim};
    const struct publish_policy policy = {
        .name = STR("split"),
        .artifact = str_from(w->content),
        .params = {.data = (const char *)packed,
                   .len = steelyard__control__v1__params__pack(&m, packed)},
        .report_json = STR("{}"),
        .target_json = STR("{}"),
        .gates_ok = true};
    return publish_policy_store(c, &actor, &policy, &w->version, err);
}

static void on_written(void *arg, int status, const struct err *err)
{
    struct writer *w = arg;
    unsigned long long term = w->claim.term;
    w->working = false;
    if (status == 0) {
        printf("accepted %llu %llu %s\n", (unsigned long long)w->version, term, w->content);
    } else if (status == ERR_CONFLICT && strstr(err->message, "leads") != NULL) {
        printf("refused %llu\n", term);
        leader_deposed(w->leader, LEADER_TRAINER, term);
    } else {
        printf("failed %llu %s\n", term, err->message);
    }
    (void)fflush(stdout);
}

static void on_timer(uv_timer_t *timer)
{
    struct writer *w = timer->data;
    struct leader_claim now;
    if (w->working || w->ending)
        return;
    if (leader_get_claim(w->leader, LEADER_TRAINER, &now)) {
        w->claim = now;
        w->stale_left = STALE_TRIES;
    } else if (w->stale_left > 0) {
        w->stale_left--;
    } else {
        return;
    }
    w->working = work_submit(w->work, run_write, on_written, w) == 0;
}

static void on_change(void *arg, enum leader_role role, uint64_t term)
{
    (void)arg;
    if (role == LEADER_TRAINER)
        printf("%s %llu\n", term != 0 ? "leads" : "lost", (unsigned long long)term);
    (void)fflush(stdout);
}

static void on_leader_closed(void *arg)
{
    struct writer *w = arg;
    work_close(w->work, NULL, NULL);
}

static void on_term(uv_signal_t *signal, int number)
{
    struct writer *w = signal->data;
    (void)number;
    w->ending = true;
    uv_close((uv_handle_t *)&w->timer, NULL);
    uv_close((uv_handle_t *)&w->term, NULL);
    leader_close(w->leader, on_leader_closed, w);
}

int main(int argc, char **argv)
{
    static struct writer w;
    const char *database = NULL, *etcd = NULL, *name = NULL;
    uint32_t ttl_ms = 2000;
    struct err err = {0};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--database") == 0)
            database = argv[i + 1];
        else if (strcmp(argv[i], "--etcd") == 0)
            etcd = argv[i + 1];
        else if (strcmp(argv[i], "--name") == 0)
            name = argv[i + 1];
        else if (strcmp(argv[i], "--ttl-ms") == 0)
            ttl_ms = (uint32_t)strtoul(argv[i + 1], NULL, 10);
    }
    if (database == NULL || etcd == NULL || name == NULL)
        return 2;
    (void)snprintf(w.name, sizeof w.name, "%s", name);
    int rc = fetch_global_init(&err);
    (void)uv_loop_init(&w.loop);
    const struct work_config work = {.conninfo = database, .application_name = "leader-writer"};
    if (rc == 0)
        rc = work_create(&w.loop, &work, &w.work);
    const struct leader_config leader = {.work = w.work,
                                         .holder = w.name,
                                         .etcd = etcd,
                                         .ttl_ms = ttl_ms,
                                         .on_change = on_change,
                                         .arg = &w};
    if (rc == 0)
        rc = leader_create(&w.loop, &leader, &w.leader, &err);
    if (rc != 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    (void)uv_timer_init(&w.loop, &w.timer);
    (void)uv_signal_init(&w.loop, &w.term);
    w.timer.data = w.term.data = &w;
    (void)uv_timer_start(&w.timer, on_timer, 1, 1);
    (void)uv_signal_start(&w.term, on_term, SIGTERM);
    (void)uv_run(&w.loop, UV_RUN_DEFAULT);
    rc = uv_loop_close(&w.loop);
    fetch_global_deinit();
    return rc == 0 ? 0 : 1;
}

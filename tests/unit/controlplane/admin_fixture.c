#include "tests/unit/controlplane/admin_fixture.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "controlplane/admin/admin.h"
#include "controlplane/release/apply.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/fixture.h"

static struct {
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t stop;
    uv_sem_t loaded;
    bool posted;
    struct work *work;
    struct publish *publish;
    struct leader *leader;
    struct trainer *trainer;
    struct nodes *nodes;
    struct admin *admin;
    struct secret *key;
    struct config_keys keys;
    uint64_t label_maturity_ms;
    uint16_t port;
} f;

const struct config_keys *admin_fixture_keys(void)
{
    return &f.keys;
}

static void on_set(void *arg, const struct publish_set *set)
{
    (void)arg;
    (void)set;
    if (!f.posted)
        uv_sem_post(&f.loaded);
    f.posted = true;
}

static void on_published(void *arg)
{
    (void)arg;
    publish_refresh(f.publish);
}

static const struct publish_set *current_set(void *arg)
{
    (void)arg;
    return f.publish == NULL ? NULL : publish_current(f.publish);
}

static void on_publish_closed(void *arg)
{
    (void)arg;
    work_close(f.work, NULL, NULL);
}

static void on_leader_closed(void *arg)
{
    (void)arg;
    publish_close(f.publish, on_publish_closed, NULL);
}

static void on_trainer_closed(void *arg)
{
    (void)arg;
    leader_close(f.leader, on_leader_closed, NULL);
}

static void on_admin_closed(void *arg)
{
    (void)arg;
    trainer_close(f.trainer, on_trainer_closed, NULL);
}

static void on_stop(uv_async_t *async)
{
    uv_close((uv_handle_t *)async, NULL);
    admin_close(f.admin, on_admin_closed, NULL);
}

static void run(void *arg)
{
    (void)arg;
    uv_run(&f.loop, UV_RUN_DEFAULT);
}

void admin_fixture_apply(const char *conninfo, const char *yaml)
{
    struct pq_conn *c = fixture_connect(conninfo);
    struct config *config = NULL;
    struct err err = {0};
    uint8_t root[32] = {42};
    uint64_t generation;
    config_keys_derive(root, &f.keys);
    assert_int_equal(config_parse(str_from(yaml), "t.yaml", CONFIG_LOCAL_FILE, &config, NULL, &err),
                     0);
    struct publish_actor actor = {.name = STR("config")};
    assert_int_equal(apply_config(c, &actor, config, &f.keys, &generation, &err), 0);
    config_destroy(config);
    pq_conn_close(c);
}

void admin_fixture_start(const char *conninfo, const char *yaml)
{
    struct err err = {0};
    admin_fixture_apply(conninfo, yaml);
    f.posted = false;
    uv_loop_init(&f.loop);
    uv_sem_init(&f.loaded, 0);
    f.key = secret_create(STR(ADMIN_KEY));
    assert_int_equal(
        work_create(&f.loop,
                    &(struct work_config){.conninfo = conninfo, .application_name = "test-admin"},
                    &f.work),
        0);
    assert_int_equal(
        publish_create(&f.loop,
                       &(struct publish_config){.conninfo = conninfo, .on_changed = on_set},
                       &f.publish, &err),
        0);
    const struct leader_config leader = {.work = f.work, .holder = "test"};
    assert_int_equal(leader_create(&f.loop, &leader, &f.leader, &err), 0);
    while (leader_term(f.leader, LEADER_TRAINER) == 0)
        uv_run(&f.loop, UV_RUN_ONCE);
    struct trainer_config trainer = {.conninfo = conninfo,
                                     .leader = f.leader,
                                     .work = f.work,
                                     .current = current_set,
                                     .hash_key_id = f.keys.hash_key_id,
                                     .on_published = on_published};
    assert_int_equal(trainer_create(&f.loop, &trainer, &f.trainer, &err), 0);
    struct admin_config admin = {.address = "127.0.0.1:0",
                                 .key = f.key,
                                 .work = f.work,
                                 .conninfo = conninfo,
                                 .publish = f.publish,
                                 .trainer = f.trainer,
                                 .nodes = &f.nodes,
                                 .draw_key = siphash_key_from_bytes(f.keys.draw),
                                 .version = "test",
                                 .started_mono_ms = clock_mono_ms(),
                                 .label_maturity_ms = &f.label_maturity_ms};
    struct admin_config remote = admin;
    remote.address = "0.0.0.0:0";
    assert_int_equal(admin_start(&f.loop, &remote, &f.admin, &err), ERR_INVALID);
    assert_int_equal(admin_start(&f.loop, &admin, &f.admin, &err), 0);
    f.port = admin_port(f.admin);
    uv_async_init(&f.loop, &f.stop, on_stop);
    uv_thread_create(&f.thread, run, NULL);
    uv_sem_wait(&f.loaded);
}

void admin_fixture_stop(void)
{
    uv_async_send(&f.stop);
    uv_thread_join(&f.thread);
    assert_int_equal(uv_loop_close(&f.loop), 0);
    uv_sem_destroy(&f.loaded);
    secret_destroy(f.key);
}

static size_t exchange(const char *request, size_t len, char *out, size_t out_bytes)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(f.port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t at = 0;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(write(fd, request, len), (ssize_t)len);
    for (ssize_t n; at + 1 < out_bytes && (n = read(fd, out + at, out_bytes - at - 1)) > 0;)
        at += (size_t)n;
    out[at] = '\0';
    close(fd);
    return at;
}

unsigned admin_ask_as(const char *key, const char *method, const char *path, const char *body,
                      json_t **out_json, char *out_text, size_t text_bytes)
{
    static char request[70000], answer[4 << 20];
    int n = snprintf(request, sizeof request,
                     "%s %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n%s%s%s"
                     "Content-Length: %zu\r\n\r\n%s",
                     method, path, key == NULL ? "" : "Authorization: ", key == NULL ? "" : key,
                     key == NULL ? "" : "\r\n", body == NULL ? (size_t)0 : strlen(body),
                     body == NULL ? "" : body);
    assert_true(n > 0 && (size_t)n < sizeof request);
    (void)exchange(request, (size_t)n, answer, sizeof answer);
    const char *head_end = strstr(answer, "\r\n\r\n");
    assert_non_null(head_end);
    if (out_json != NULL)
        *out_json = json_loads(head_end + 4, 0, NULL);
    if (out_text != NULL)
        snprintf(out_text, text_bytes, "%s", head_end + 4);
    assert_int_equal(strncmp(answer, "HTTP/1.1 ", 9), 0);
    return (unsigned)strtoul(answer + 9, NULL, 10);
}

json_t *admin_ask(const char *method, const char *path, const char *body, unsigned expected)
{
    json_t *json = NULL;
    char text[2048];
    unsigned status =
        admin_ask_as("Bearer " ADMIN_KEY, method, path, body, &json, text, sizeof text);
    if (status != expected)
        fail_msg("%s %s: expected %u, got %u: %s", method, path, expected, status, text);
    assert_non_null(json);
    return json;
}

#include "tests/unit/controlplane/ctl_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/net/fetch.h"
#include "common/net/httpd.h"
#include "controlplane/ctl/ctl.h"

#define WORDS_MAX 32

static void on_gone(void *arg, struct httpd_request *req)
{
    (void)arg;
    httpd_abort(req);
}

static void give(struct httpd_request *req, const struct canned *c)
{
    if (c->status == CANNED_CUT) {
        httpd_abort(req);
    } else if (c->status == CANNED_INTERRUPT) {
        httpd_on_gone(req, on_gone, NULL);
        assert_int_equal(kill(getpid(), SIGINT), 0);
    } else {
        httpd_reply(req, c->status, STR("application/json"), str_from(c->body));
    }
}

static void on_request(void *arg, struct httpd_request *req)
{
    struct fake_admin *a = arg;
    char asked[1024], bearer[256];
    struct str query = httpd_query(req), auth = httpd_header(req, STR("authorization"));
    a->requests++;
    (void)str_copy(httpd_body(req), a->last_body, sizeof(a->last_body));
    snprintf(asked, sizeof(asked), "%s %.*s%s%.*s", http1_method_name(httpd_method(req)),
             STR_ARG(httpd_path(req)), query.data != NULL ? "?" : "", STR_ARG(query));
    snprintf(bearer, sizeof(bearer), "Bearer %s", a->key);
    if (!str_is(auth, bearer)) {
        httpd_reply(req, 401, STR("application/problem+json"),
                    STR("{\"title\":\"Unauthorized\",\"code\":\"unauthenticated\"}"));
        return;
    }
    for (size_t i = 0; i < a->answer_count; i++) {
        const struct canned *c = &a->answers[i];
        if (strcmp(c->request, asked) != 0 || (c->uses > 0 && a->used[i] >= c->uses))
            continue;
        a->used[i]++;
        give(req, c);
        return;
    }
    snprintf(bearer, sizeof(bearer), "{\"detail\":\"not canned: %.150s\",\"code\":\"not_found\"}",
             asked);
    httpd_reply(req, 404, STR("application/problem+json"), str_from(bearer));
}

static void on_stop(uv_async_t *async)
{
    struct fake_admin *a = async->data;
    httpd_close(a->httpd, NULL, NULL);
    uv_close((uv_handle_t *)async, NULL);
}

static void *run(void *arg)
{
    uv_run(&((struct fake_admin *)arg)->loop, UV_RUN_DEFAULT);
    return NULL;
}

void fake_admin_start(struct fake_admin *a)
{
    struct httpd_config config = {.address = "127.0.0.1:0", .on_request = on_request, .arg = a};
    struct err err = {0};
    *a = (struct fake_admin){.key = "op-key"};
    assert_int_equal(uv_loop_init(&a->loop), 0);
    assert_int_equal(httpd_start(&a->loop, &config, &a->httpd, &err), 0);
    a->stop.data = a;
    uv_async_init(&a->loop, &a->stop, on_stop);
    snprintf(a->url, sizeof(a->url), "http://127.0.0.1:%u", httpd_port(a->httpd));
    assert_int_equal(setenv("STEELYARD_OPERATOR_KEY", a->key, 1), 0);
    assert_int_equal(pthread_create(&a->thread, NULL, run, a), 0);
}

void fake_admin_stop(struct fake_admin *a)
{
    uv_async_send(&a->stop);
    pthread_join(a->thread, NULL);
    assert_int_equal(uv_loop_close(&a->loop), 0);
}

/* Only between requests: the thread reads the table while it answers. */
void fake_admin_answer(struct fake_admin *a, const char *request, unsigned status, const char *body)
{
    assert_true(a->answer_count < ANSWERS_MAX);
    a->answers[a->answer_count++] =
        (struct canned){.request = request, .status = status, .body = body};
}

struct ran ctl_do(const char *const *words)
{
    char text[WORDS_MAX][512], *argv[WORDS_MAX + 1] = {NULL};
    struct ran r = {0};
    int argc = 1;
    argv[0] = text[0];
    snprintf(text[0], sizeof(text[0]), "steelyard");
    for (; words[argc - 1] != NULL && argc < WORDS_MAX; argc++) {
        snprintf(text[argc], sizeof(text[argc]), "%s", words[argc - 1]);
        argv[argc] = text[argc];
    }
    FILE *out = open_memstream(&r.out, &r.out_len), *err = open_memstream(&r.err, &r.err_len);
    r.code = (int)ctl_run(argc, argv, out, err);
    fclose(out);
    fclose(err);
    return r;
}

struct ran ctl_do_at(const struct fake_admin *a, const char *const *words)
{
    const char *all[WORDS_MAX] = {"--server", a->url};
    size_t n = 2;
    for (size_t i = 0; words[i] != NULL && n + 1 < WORDS_MAX; i++)
        all[n++] = words[i];
    all[n] = NULL;
    return ctl_do(all);
}

void ran_free(struct ran *r)
{
    /* open_memstream allocates with malloc itself, so its text goes back the same way. */
    (free)(r->out);
    (free)(r->err);
}

int ctl_start_admin(void **state)
{
    static struct fake_admin admin;
    fake_admin_start(&admin);
    *state = &admin;
    return 0;
}

int ctl_stop_admin(void **state)
{
    fake_admin_stop(*state);
    return 0;
}

int ctl_start(void **state)
{
    struct err err = {0};
    (void)state;
    setenv("HOME", "/nonexistent", 1);
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_STATE_HOME");
    unsetenv("STEELYARD_SERVER");
    unsetenv("STEELYARD_NODE");
    return fetch_global_init(&err);
}

int ctl_stop(void **state)
{
    (void)state;
    fetch_global_deinit();
    return 0;
}

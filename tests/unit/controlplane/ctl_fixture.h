/* ctl_fixture.h: an admin API that answers from a table, in a thread of its own, and `steelyard`
 * run against it in this process with its output captured. */
#ifndef STEELYARD_TESTS_CTL_FIXTURE_H
#define STEELYARD_TESTS_CTL_FIXTURE_H

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

#define ANSWERS_MAX 16

/* Instead of a status: no answer, the connection is cut; or this process is sent SIGINT first, and
 * the connection is cut by who asked. */
#define CANNED_CUT       0
#define CANNED_INTERRUPT 1

struct canned {
    const char *request; /* "GET /api/v1/keys?limit=2": method, path and query. */
    unsigned status;
    const char *body;
    unsigned uses; /* 0: as often as asked; else the row is passed over after so many. */
};

struct fake_admin {
    struct canned answers[ANSWERS_MAX];
    size_t answer_count;
    const char *key; /* Requests without it get 401. */
    /* Seen; read after ctl_do returned. */
    unsigned used[ANSWERS_MAX];
    unsigned requests;
    char last_body[1024];
    /* private */
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t stop;
    struct httpd *httpd;
    char url[64];
};

void fake_admin_start(struct fake_admin *a);
void fake_admin_stop(struct fake_admin *a);
void fake_admin_answer(struct fake_admin *a, const char *request, unsigned status,
                       const char *body);

/* cmocka's set-up and tear-down: of a test with a fake_admin as its state, of a group. */
int ctl_start_admin(void **state);
int ctl_stop_admin(void **state);
int ctl_start(void **state); /* No settings of whoever runs the tests. */
int ctl_stop(void **state);

struct ran {
    int code;
    char *out, *err; /* NUL-terminated. */
    size_t out_len, err_len;
};
/* words: arguments behind "steelyard", NULL-terminated. */
struct ran ctl_do(const char *const *words);
struct ran ctl_do_at(const struct fake_admin *a, const char *const *words); /* With --server. */
void ran_free(struct ran *r);
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

#endif

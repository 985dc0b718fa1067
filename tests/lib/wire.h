/* wire.h: one raw connection on a test's loop: sends the bytes it is told to, keeps what comes
 * back. Waiting is for an event, with a deadline that only a broken test reaches. */
#ifndef STEELYARD_TESTS_LIB_WIRE_H
#define STEELYARD_TESTS_LIB_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/buf.h"
#include "common/base/str.h"

struct wire {
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct buf got;
    bool connected;
    bool ended; /* EOF or an error. */
    bool closed;
    int status; /* Why it ended; 0 for a clean EOF. */
    bool paused;
};

void wire_open(struct wire *w, uv_loop_t *loop, uint16_t port);
void wire_open_unix(struct wire *w, uv_loop_t *loop, const char *path);
void wire_send(struct wire *w, struct str bytes);
void wire_shut(struct wire *w); /* Sends FIN. */
void wire_pause(struct wire *w, bool paused);
void wire_close(struct wire *w); /* Runs the loop until it is closed. */
bool wire_has(struct wire *w, const char *text);

/* Runs the loop until done(arg) is true; false after two minutes. */
typedef bool (*wire_done_cb)(void *arg);
bool wire_run(uv_loop_t *loop, wire_done_cb done, void *arg);
bool wire_run_until_ended(struct wire *w);
bool wire_run_until_has(struct wire *w, const char *text);
void wire_run_turns(uv_loop_t *loop, int turns);
void wire_run_ms(uv_loop_t *loop, uint64_t ms); /* For "nothing happens": keep it short. */

#endif

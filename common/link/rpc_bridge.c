/* Usual path: gRPC's threads complete a batch, rpc_bridge_main takes its tag from the queue,
 * appends it to the list and wakes the loop; on_wake runs the handlers of all that is there. The
 * thread ends when the queue was shut down and is empty; on_wake then joins it and closes the
 * async. */
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/link/rpc_internal.h"
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#if defined(STEELYARD_TSAN)
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define TSAN_ACQUIRE(p) __tsan_acquire(p)
#define TSAN_RELEASE(p) __tsan_release(p)
#else
#define TSAN_ACQUIRE(p) ((void)(p))
#define TSAN_RELEASE(p) ((void)(p))
#endif

static void on_grpc_log(gpr_log_func_args *args)
{
    log_event(LOG_DEBUG, "grpc", LOG_TEXT_FIELD("detail", args->message));
}

void rpc_init(void)
{
    gpr_set_log_function(on_grpc_log);
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
    grpc_init();
}

void rpc_shutdown(void)
{
    grpc_shutdown_blocking();
}

void rpc_op_release(struct rpc_op *op)
{
    TSAN_RELEASE(op);
}

static void append_locked(struct rpc_bridge *b, struct rpc_op *op, bool ok)
{
    op->ok = ok;
    op->next = NULL;
    *b->tail = op;
    b->tail = &op->next;
}

static void *rpc_bridge_main(void *arg)
{
    struct rpc_bridge *b = arg;
    bool done = false;
    while (!done) {
        grpc_event event =
            grpc_completion_queue_next(b->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        pthread_mutex_lock(&b->lock);
        if (event.type == GRPC_QUEUE_SHUTDOWN) {
            b->drained = true;
            done = true;
        } else {
            TSAN_ACQUIRE(event.tag);
            append_locked(b, event.tag, event.success != 0);
        }
        /* Under the lock: the loop closes the async as soon as it sees `drained`, which it reads
         * under the same lock. */
        uv_async_send(&b->async);
        pthread_mutex_unlock(&b->lock);
    }
    return NULL;
}

static void on_async_closed(uv_handle_t *handle)
{
    struct rpc_bridge *b = container_of((uv_async_t *)handle, struct rpc_bridge, async);
    struct rpc_leave *last = b->last;
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
    if (last != NULL)
        last->on_closed(last->user);
}

static void on_wake(uv_async_t *async)
{
    struct rpc_bridge *b = container_of(async, struct rpc_bridge, async);
    pthread_mutex_lock(&b->lock);
    struct rpc_op *op = b->head;
    b->head = NULL;
    b->tail = &b->head;
    bool drained = b->drained;
    pthread_mutex_unlock(&b->lock);
    while (op != NULL) {
        struct rpc_op *next = op->next;
        op->on_done(op, op->ok);
        op = next;
    }
    pthread_mutex_lock(&b->lock);
    bool more = b->head != NULL; /* Posted by a handler: its own wake-up follows. */
    pthread_mutex_unlock(&b->lock);
    if (drained && !more && !uv_is_closing((uv_handle_t *)async)) {
        pthread_join(b->thread, NULL);
        grpc_completion_queue_destroy(b->cq);
        uv_close((uv_handle_t *)async, on_async_closed);
    }
}

int rpc_bridge_start(uv_loop_t *loop, struct rpc_bridge **out_bridge, struct err *err)
{
    struct rpc_bridge *b = mem_zalloc(sizeof *b);
    if (b == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    b->loop = loop;
    b->users = 1;
    b->tail = &b->head;
    int rc = uv_async_init(loop, &b->async, on_wake);
    if (rc != 0) {
        mem_free(b);
        return err_set(err, err_from_uv(rc), "cannot make a wake-up handle: %s", uv_strerror(rc));
    }
    pthread_mutex_init(&b->lock, NULL);
    b->cq = grpc_completion_queue_create_for_next(NULL);
    rc = pthread_create(&b->thread, NULL, rpc_bridge_main, b);
    if (rc != 0) {
        /* Nothing was started on the queue: it can go at once. The async has never been used, but
         * its memory belongs to the loop until closed, so the caller must let the loop turn. */
        grpc_completion_queue_shutdown(b->cq);
        (void)grpc_completion_queue_next(b->cq, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);
        grpc_completion_queue_destroy(b->cq);
        uv_close((uv_handle_t *)&b->async, on_async_closed);
        uv_run(loop, UV_RUN_NOWAIT);
        return err_set(err, err_from_errno(rc), "cannot start the RPC thread");
    }
    *out_bridge = b;
    return 0;
}

struct rpc_bridge *rpc_bridge_share(struct rpc_bridge *b)
{
    b->users++;
    return b;
}

static void on_left(struct rpc_op *op, bool ok)
{
    (void)ok;
    struct rpc_leave *leave = container_of(op, struct rpc_leave, op);
    leave->on_closed(leave->user);
}

void rpc_bridge_leave(struct rpc_bridge *b, struct rpc_leave *leave, void (*on_closed)(void *user),
                      void *user)
{
    *leave = (struct rpc_leave){.op.on_done = on_left, .on_closed = on_closed, .user = user};
    if (--b->users > 0) {
        rpc_bridge_post(b, &leave->op);
        return;
    }
    b->last = leave;
    grpc_completion_queue_shutdown(b->cq);
}

void rpc_bridge_post(struct rpc_bridge *b, struct rpc_op *op)
{
    pthread_mutex_lock(&b->lock);
    append_locked(b, op, true);
    uv_async_send(&b->async);
    pthread_mutex_unlock(&b->lock);
}

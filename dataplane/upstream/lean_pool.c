/* Who gets which connection. The one used last is used next, so that those not needed grow old and
 * go. Calls wait in order while all connections are taken; one that is there waits for its own
 * dialling, so that what went wrong is told to who asked. */
#include "dataplane/upstream/lean_internal.h"

static struct lean_conn *oldest(const struct transport_origin *o)
{
    return list_empty(&o->idle) ? NULL : container_of(o->idle.prev, struct lean_conn, link);
}

static void idle_remove(struct transport_origin *o, struct lean_conn *conn)
{
    list_remove(&conn->link);
    o->stats.idle_connections--;
}

static void on_age(struct lean_alarm *alarm)
{
    struct transport_origin *o = container_of(alarm, struct transport_origin, alarm);
    uint64_t now_ms = uv_now(o->transport->loop);
    struct lean_conn *conn;
    while ((conn = oldest(o)) != NULL && now_ms >= conn->idle_since_ms + o->idle_ms)
        lean_conn_close(conn);
    if (conn != NULL)
        lean_wheel_set(&o->transport->wheel, &o->alarm, conn->idle_since_ms + o->idle_ms);
}

void lean_pool_init(struct transport_origin *o)
{
    list_init(&o->idle);
    list_init(&o->waiting);
    o->alarm = (struct lean_alarm){.at_ms = UINT64_MAX, .ring = on_age};
}

void lean_pool_close(struct transport_origin *o)
{
    struct lean_conn *conn;
    lean_wheel_unset(&o->alarm);
    while ((conn = oldest(o)) != NULL)
        lean_conn_close(conn);
}

struct lean_conn *lean_pool_take(struct transport_origin *o)
{
    if (list_empty(&o->idle))
        return NULL;
    struct lean_conn *conn = container_of(o->idle.next, struct lean_conn, link);
    idle_remove(o, conn);
    return conn;
}

void lean_pool_drop(struct lean_conn *conn)
{
    if (!list_empty(&conn->link))
        idle_remove(conn->origin, conn);
}

static struct transport_call *next_waiting(struct transport_origin *o)
{
    struct list *link = list_pop_front(&o->waiting);
    if (link == NULL)
        return NULL;
    struct transport_call *c = container_of(link, struct transport_call, link);
    o->stats.waiting--;
    list_push_back(&o->calls, &c->link);
    return c;
}

/* The next to be served wants none that was used. */
static bool next_is_fresh(const struct transport_origin *o)
{
    return !list_empty(&o->waiting) &&
           container_of(o->waiting.next, struct transport_call, link)->fresh;
}

void lean_pool_ask(struct transport_call *c)
{
    struct transport_origin *o = c->origin;
    if (c->fresh && o->stats.open_connections >= o->max_connections && oldest(o) != NULL)
        lean_conn_close(oldest(o));
    if (o->stats.open_connections < o->max_connections) {
        list_push_back(&o->calls, &c->link);
        lean_conn_dial(c);
        return;
    }
    c->state = LEAN_WAITING;
    o->stats.waiting++;
    list_push_back(&o->waiting, &c->link);
}

void lean_pool_slot_free(struct transport_origin *o)
{
    struct transport_call *c;
    while (o->stats.open_connections < o->max_connections && (c = next_waiting(o)) != NULL)
        lean_conn_dial(c);
}

void lean_pool_release(struct lean_conn *conn)
{
    struct transport_origin *o = conn->origin;
    if (!o->closing && next_is_fresh(o)) {
        lean_conn_close(conn); /* Its place is the waiting one's. */
        return;
    }
    struct transport_call *c = o->closing ? NULL : next_waiting(o);
    if (c != NULL) {
        lean_call_begin(c, conn);
        lean_call_send(c);
        return;
    }
    if (o->closing) {
        lean_conn_close(conn);
        return;
    }
    if (o->stats.idle_connections >= o->max_idle)
        lean_conn_close(oldest(o));
    lean_conn_watch(conn);
    conn->idle_since_ms = uv_now(o->transport->loop);
    list_push_front(&o->idle, &conn->link);
    o->stats.idle_connections++;
    lean_wheel_set(&o->transport->wheel, &o->alarm, conn->idle_since_ms + o->idle_ms);
}

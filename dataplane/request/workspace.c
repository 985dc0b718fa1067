#include "dataplane/request/workspace.h"

#include <assert.h>
#include <string.h>

#include "common/base/mem.h"
#include "dataplane/request/hedge.h"

#define WORKS_KEPT 256U

bool workspace_take(struct request *r)
{
    struct request_work *w = freelist_take(&r->env->works);
    if (w == NULL)
        w = mem_alloc(sizeof *w);
    if (w == NULL)
        return false;
    memset(w, 0, offsetof(struct request_work, way));
    r->work = w;
    r->attempts = w->attempts;
    return true;
}

void workspace_give(struct request *r)
{
    if (r->work == NULL)
        return;
    const struct hedge_wait *w = &r->work->hedge_wait;
    if (w->at_ms != 0 || w->refused != NULL || r->work->hedge != NULL)
        hedge_give(r);
    if (r->env->works.count < WORKS_KEPT)
        freelist_put(&r->env->works, r->work);
    else
        mem_free(r->work);
    r->work = NULL;
    r->attempts = NULL;
}

void workspace_trim(struct request_env *env, size_t keep)
{
    while (env->works.count > keep)
        mem_free(freelist_take(&env->works));
}

void workspace_deinit(struct request_env *env)
{
    workspace_trim(env, 0);
}

/* The one row moves into the request, with the provider's id that the arena holds. */
static void keep_row(struct request *r)
{
    struct attempt *a = &r->attempt;
    struct str id = a->record->provider_id;
    r->row = *a->record;
    if (id.len > 0) {
        memcpy(r->provider_id, id.data, id.len);
        r->row.provider_id = (struct str){r->provider_id, id.len};
    }
    a->record = &r->row;
}

void workspace_shed(struct request *r)
{
    const struct attempt *a = &r->attempt;
    const struct transport_ops *ops = a->target->origin->ops;
    assert(r->stream == STREAM_COMMITTED);
    attempt_release_body(&r->attempt);
    if (r->work == NULL || r->client_gone || r->attempt_count != 1 || a->record != r->attempts ||
        a->record->provider_id.len > sizeof r->provider_id || r->intent == NULL ||
        a->call == NULL || !ops->sent(a->call) || !r->path_is_static)
        return;
    keep_row(r);
    workspace_give(r);
    r->attempts = &r->row;
    if (r->request_id.data == r->id_space)
        arena_reset(&r->arena);
    r->head = NULL;
    r->body = STR_NULL;
    r->client->release_input(r->client_arg);
}

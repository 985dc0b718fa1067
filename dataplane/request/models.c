/* GET /v1/models and /v1/models/{id}: the routes and models this key may use, and no others (B21).
 */
#include "common/json/json_writer.h"
#include "dataplane/request/steps.h"

static void write_entry(struct json_writer *w, struct str id, int64_t created_s)
{
    json_writer_begin_object(w);
    json_writer_key(w, "id");
    json_writer_string(w, id);
    json_writer_key(w, "object");
    json_writer_text(w, "model");
    json_writer_key(w, "created");
    json_writer_i64(w, created_s);
    json_writer_key(w, "owned_by");
    json_writer_text(w, "steelyard");
    json_writer_end_object(w);
}

static int64_t created_of(const struct request *r, const struct snapshot_model *m)
{
    return m->created_s != 0 ? m->created_s : r->env->shared->started_s;
}

static void write_list(struct request *r, struct json_writer *w)
{
    const struct snapshot *s = r->snapshot;
    json_writer_begin_object(w);
    json_writer_key(w, "object");
    json_writer_text(w, "list");
    json_writer_key(w, "data");
    json_writer_begin_array(w);
    for (uint32_t i = 0; i < s->route_count; i++)
        if (snapshot_key_has_route(r->identity, &s->routes[i]))
            write_entry(w, s->routes[i].name, r->env->shared->started_s);
    for (uint32_t i = 0; i < s->model_count; i++)
        if (snapshot_key_has_model(r->identity, &s->models[i]) &&
            snapshot_route(s, s->models[i].id) == NULL)
            write_entry(w, s->models[i].id, created_of(r, &s->models[i]));
    json_writer_end_array(w);
    json_writer_end_object(w);
}

static bool write_one(struct request *r, struct str id, struct json_writer *w)
{
    const struct snapshot_route *route = snapshot_route(r->snapshot, id);
    if (route != NULL && snapshot_key_has_route(r->identity, route)) {
        write_entry(w, route->name, r->env->shared->started_s);
        return true;
    }
    const struct snapshot_model *m = snapshot_model(r->snapshot, id);
    if (m == NULL || !snapshot_key_has_model(r->identity, m))
        return false;
    write_entry(w, m->id, created_of(r, m));
    return true;
}

enum step_result step_models(struct request *r)
{
    struct json_writer w;
    struct str id;
    enum fault ignored;
    struct buf *out = &r->env->out; /* Stays as it is until `report` has sent it. */
    (void)request_path_find(r->head, &id, &ignored);
    buf_clear(out);
    json_writer_init(&w, out);
    if (id.data == NULL) {
        write_list(r, &w);
    } else if (!write_one(r, id, &w)) {
        r->detail.param = STR("model");
        return request_fail(r, FAULT_MODEL_NOT_FOUND);
    }
    if (json_writer_finish(&w) != 0)
        return request_fail(r, FAULT_OVERLOAD);
    r->status = 200;
    r->pieces[0] = buf_str(out);
    r->piece_count = 1;
    return STEP_NEXT;
}

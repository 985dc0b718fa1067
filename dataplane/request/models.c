/* GET /v1/models and /v1/models/{id}: the routes and models this key may use, and no others (B21),
 * in the shape of the caller's dialect. */
#include <inttypes.h>

#include "common/base/clock.h"
#include "common/json/json_writer.h"
#include "dataplane/request/steps.h"

#define PAGE_DEFAULT 20U /* Of the Anthropic shape, which has pages. */
#define PAGE_MAX     1000U

struct entry {
    const struct snapshot_model *model; /* NULL: it is a route's. */
    struct str id;
    struct str title;
    int64_t created_s;
    int64_t wall_us; /* Now. */
};

/* ModelCapability bits of control.proto. */
enum { TOOLS = 1, IMAGES = 2, JSON_MODE = 4, REASONING = 16 };

/* A dollar amount for one token, as text: nano-USD for a million tokens are 10^-15 USD each. */
static void write_rate(struct json_writer *w, const char *name, int64_t rate)
{
    char text[32];
    struct buf b = {.data = text, .cap = sizeof text, .max = sizeof text};
    if (rate == PRICE_UNKNOWN || rate > PRICE_RATE_MAX)
        return;
    json_writer_key(w, name);
    int rc = buf_printf(&b, "%" PRId64 ".%015" PRId64, rate / INT64_C(1000000000000000),
                        rate % INT64_C(1000000000000000));
    while (rc == 0 && b.data[b.len - 1] == '0')
        b.len--;
    if (b.len > 0 && b.data[b.len - 1] == '.')
        b.len--;
    json_writer_string(w, buf_str(&b));
}

/* Of the cheapest deployment that has a price. */
static const struct price_rates *lowest_rates(const struct snapshot_model *m, int64_t wall_us)
{
    const struct price_rates *best = NULL;
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct snapshot_price *price = snapshot_price(&m->deployments[i], wall_us);
        if (price == NULL || !price_known(&price->price))
            continue;
        const struct price_rates *rates = &price->price.base;
        if (best == NULL || rates->input + rates->output < best->input + best->output)
            best = rates;
    }
    return best;
}

static void write_pricing(struct json_writer *w, const struct entry *e)
{
    const struct price_rates *rates = lowest_rates(e->model, e->wall_us);
    if (rates == NULL)
        return;
    json_writer_key(w, "pricing");
    json_writer_begin_object(w);
    write_rate(w, "prompt", rates->input);
    write_rate(w, "completion", rates->output);
    write_rate(w, "request", 0);
    write_rate(w, "input_cache_read", rates->cached_read);
    write_rate(w, "input_cache_write", rates->cache_write);
    write_rate(w, "internal_reasoning", rates->reasoning);
    json_writer_end_object(w);
}

static void write_tokens(struct json_writer *w, const char *name, uint32_t tokens)
{
    json_writer_key(w, name);
    if (tokens != 0)
        json_writer_u64(w, tokens);
    else
        json_writer_null(w);
}

static void write_architecture(struct json_writer *w, uint32_t has)
{
    const bool images = (has & IMAGES) != 0;
    json_writer_key(w, "architecture");
    json_writer_begin_object(w);
    json_writer_key(w, "modality");
    json_writer_text(w, images ? "text+image->text" : "text->text");
    json_writer_key(w, "input_modalities");
    json_writer_begin_array(w);
    json_writer_text(w, "text");
    if (images)
        json_writer_text(w, "image");
    json_writer_end_array(w);
    json_writer_key(w, "output_modalities");
    json_writer_begin_array(w);
    json_writer_text(w, "text");
    json_writer_end_array(w);
    json_writer_end_object(w);
}

/* What every dialect has words for, and what is known of this model. */
static void write_parameters(struct json_writer *w, uint32_t has)
{
    static const struct {
        uint32_t needs;
        const char *name;
    } parameters[] = {{0, "max_tokens"},
                      {0, "temperature"},
                      {0, "top_p"},
                      {0, "stop"},
                      {TOOLS, "tools"},
                      {TOOLS, "tool_choice"},
                      {JSON_MODE, "response_format"},
                      {JSON_MODE, "structured_outputs"},
                      {REASONING, "reasoning"},
                      {REASONING, "include_reasoning"}};
    json_writer_key(w, "supported_parameters");
    json_writer_begin_array(w);
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++)
        if ((has & parameters[i].needs) == parameters[i].needs)
            json_writer_text(w, parameters[i].name);
    json_writer_end_array(w);
}

/* What OpenRouter tells of a model, as far as it is known here. */
static void write_details(struct json_writer *w, const struct entry *e)
{
    const struct snapshot_model *m = e->model;
    write_tokens(w, "context_length", m->context_window);
    write_architecture(w, m->capabilities);
    write_pricing(w, e);
    json_writer_key(w, "top_provider");
    json_writer_begin_object(w);
    write_tokens(w, "context_length", m->context_window);
    write_tokens(w, "max_completion_tokens", m->max_output);
    json_writer_key(w, "is_moderated");
    json_writer_bool(w, false);
    json_writer_end_object(w);
    write_parameters(w, m->capabilities);
}

static void write_openai(struct json_writer *w, const struct entry *e)
{
    json_writer_begin_object(w);
    json_writer_key(w, "id");
    json_writer_string(w, e->id);
    json_writer_key(w, "object");
    json_writer_text(w, "model");
    json_writer_key(w, "created");
    json_writer_i64(w, e->created_s);
    json_writer_key(w, "owned_by");
    json_writer_text(w, "steelyard");
    json_writer_key(w, "name");
    json_writer_string(w, e->title);
    if (e->model != NULL)
        write_details(w, e);
    json_writer_end_object(w);
}

static void write_anthropic(struct json_writer *w, const struct entry *e)
{
    char created[CLOCK_RFC3339_BYTES];
    clock_format_rfc3339(e->created_s * 1000000, created);
    json_writer_begin_object(w);
    json_writer_key(w, "type");
    json_writer_text(w, "model");
    json_writer_key(w, "id");
    json_writer_string(w, e->id);
    json_writer_key(w, "display_name");
    json_writer_string(w, e->title);
    json_writer_key(w, "created_at");
    json_writer_text(w, created);
    json_writer_end_object(w);
}

static struct entry of_route(const struct request *r, const struct snapshot_route *route)
{
    return (struct entry){
        .id = route->name, .title = route->name, .created_s = r->env->shared->started_s};
}

static struct entry of_model(const struct request *r, const struct snapshot_model *m)
{
    int64_t created_s = m->created_s != 0 ? m->created_s : r->env->shared->started_s;
    return (struct entry){.model = m,
                          .id = m->id,
                          .title = m->display_name,
                          .created_s = created_s,
                          .wall_us = r->start_us};
}

/* Routes, then models whose name is no route's. *io_at starts at 0. */
static bool next_entry(const struct request *r, uint32_t *io_at, struct entry *out)
{
    const struct snapshot *s = r->snapshot;
    while (*io_at < s->route_count) {
        const struct snapshot_route *route = &s->routes[(*io_at)++];
        if (snapshot_key_has_route(r->identity, route)) {
            *out = of_route(r, route);
            return true;
        }
    }
    while (*io_at - s->route_count < s->model_count) {
        const struct snapshot_model *m = &s->models[(*io_at)++ - s->route_count];
        if (snapshot_key_has_model(r->identity, m) && snapshot_route(s, m->id) == NULL) {
            *out = of_model(r, m);
            return true;
        }
    }
    return false;
}

static void write_list(struct request *r, struct json_writer *w)
{
    struct entry e;
    json_writer_begin_object(w);
    json_writer_key(w, "object");
    json_writer_text(w, "list");
    json_writer_key(w, "data");
    json_writer_begin_array(w);
    for (uint32_t at = 0; next_entry(r, &at, &e);)
        write_openai(w, &e);
    json_writer_end_array(w);
    json_writer_end_object(w);
}

/* ---- pages ---- */

struct page {
    uint64_t limit;
    struct str after, before; /* Ids; len 0: from the first, to the last. */
};

/* As in a query; percent signs stay as they are, for ids have none. */
static bool read_page(struct str query, struct page *p)
{
    struct str rest = query;
    bool more = query.len > 0;
    *p = (struct page){.limit = PAGE_DEFAULT};
    while (more) {
        struct str pair, name, value, tail = STR_NULL;
        more = str_cut(rest, '&', &pair, &tail);
        rest = tail;
        if (!str_cut(pair, '=', &name, &value))
            continue;
        if (str_is(name, "limit") &&
            (str_parse_u64(value, PAGE_MAX, &p->limit) != 0 || p->limit == 0))
            return false;
        if (str_is(name, "after_id"))
            p->after = value;
        if (str_is(name, "before_id"))
            p->before = value;
    }
    return true;
}

/* The page before an id ends right before it. */
static uint32_t first_before(const struct request *r, const struct page *p)
{
    struct entry e;
    uint32_t count = 0;
    for (uint32_t at = 0; next_entry(r, &at, &e) && !str_eq(e.id, p->before);)
        count++;
    return count > p->limit ? count - (uint32_t)p->limit : 0;
}

static void write_id(struct json_writer *w, const char *name, struct str id)
{
    json_writer_key(w, name);
    if (id.len > 0)
        json_writer_string(w, id);
    else
        json_writer_null(w);
}

static void write_page(struct request *r, const struct page *p, struct json_writer *w)
{
    struct entry e;
    struct str first = STR_NULL, last = STR_NULL;
    uint64_t written = 0;
    uint32_t skip = p->before.len > 0 ? first_before(r, p) : 0;
    bool begun = p->after.len == 0, more = skip > 0;
    json_writer_begin_object(w);
    json_writer_key(w, "data");
    json_writer_begin_array(w);
    for (uint32_t at = 0; next_entry(r, &at, &e);) {
        if (p->before.len > 0 && str_eq(e.id, p->before))
            break;
        if (!begun || skip > 0) {
            skip -= begun;
            begun = begun || str_eq(e.id, p->after);
            continue;
        }
        if (written == p->limit) {
            more = true;
            break;
        }
        write_anthropic(w, &e);
        last = e.id;
        first = written++ == 0 ? e.id : first;
    }
    json_writer_end_array(w);
    json_writer_key(w, "has_more");
    json_writer_bool(w, more);
    write_id(w, "first_id", first);
    write_id(w, "last_id", last);
    json_writer_end_object(w);
}

static bool find_one(const struct request *r, struct str id, struct entry *out)
{
    const struct snapshot_route *route = snapshot_route(r->snapshot, id);
    if (route != NULL && snapshot_key_has_route(r->identity, route)) {
        *out = of_route(r, route);
        return true;
    }
    const struct snapshot_model *m = snapshot_model(r->snapshot, id);
    if (m == NULL || !snapshot_key_has_model(r->identity, m))
        return false;
    *out = of_model(r, m);
    return true;
}

enum step_result step_models(struct request *r)
{
    struct json_writer w;
    struct str id;
    struct entry e;
    struct page page;
    enum fault ignored;
    const bool anthropic = r->dialect == DIALECT_ANTHROPIC;
    struct buf *out = &r->env->out; /* Stays as it is until `report` has sent it. */
    (void)request_path_find(r->head, &id, &ignored);
    buf_clear(out);
    json_writer_init(&w, out);
    if (id.data != NULL && !find_one(r, id, &e)) {
        r->detail.param = STR("model");
        return request_fail(r, FAULT_MODEL_NOT_FOUND);
    }
    if (anthropic && !read_page(r->head->query, &page)) {
        r->detail.param = STR("limit");
        return request_fail(r, FAULT_BAD_FIELD);
    }
    if (id.data != NULL && anthropic)
        write_anthropic(&w, &e);
    else if (id.data != NULL)
        write_openai(&w, &e);
    else if (anthropic)
        write_page(r, &page, &w);
    else
        write_list(r, &w);
    if (json_writer_finish(&w) != 0)
        return request_fail(r, FAULT_OVERLOAD);
    r->status = 200;
    r->pieces[0] = buf_str(out);
    r->piece_count = 1;
    return STEP_NEXT;
}

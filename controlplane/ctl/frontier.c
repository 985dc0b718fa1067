/* The frontier of a policy: what quality costs, as a drawing and as figures. */
#include "common/base/mem.h"
#include "common/base/str.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"
#include "controlplane/ctl/plot.h"

#define POINTS_MAX  512U
#define LABEL_BYTES 160U
#define PLOT_WIDTH  64U
#define PLOT_HEIGHT 17U

struct drawing {
    struct plot_point points[POINTS_MAX];
    char labels[POINTS_MAX][LABEL_BYTES];
    size_t count;
};

/* The API names cost per request `cost_usd`; shown per 1,000 requests, which people can picture. */
static void add(struct drawing *d, const json_t *point, char mark, const char *name)
{
    const json_t *cost = json_object_get(point, "cost_usd");
    const json_t *quality = json_object_get(point, "quality");
    if (!json_is_number(cost) || !json_is_number(quality) || d->count == POINTS_MAX)
        return;
    struct plot_point *p = &d->points[d->count];
    *p = (struct plot_point){
        .x = json_number_value(cost) * 1000.0, .y = json_number_value(quality), .mark = mark};
    if (name != NULL) {
        snprintf(d->labels[d->count], LABEL_BYTES, "%-24s $%.4f per 1,000, quality %.3f", name,
                 p->x, p->y);
        p->label = d->labels[d->count];
    }
    d->count++;
}

/* `chosen` is a point, or the index of one. */
static const json_t *chosen_point(const json_t *frontier)
{
    const json_t *chosen = json_object_get(frontier, "chosen");
    if (json_is_integer(chosen))
        return json_array_get(json_object_get(frontier, "points"),
                              (size_t)json_integer_value(chosen));
    return chosen;
}

static enum ctl_exit draw(struct ctl *c, const json_t *frontier, struct drawing *d)
{
    size_t i;
    json_t *point;
    struct buf text;
    json_array_foreach(json_object_get(frontier, "points"), i, point) add(d, point, '*', NULL);
    json_array_foreach(json_object_get(frontier, "singles"), i, point)
    {
        const char *model = json_string_value(json_object_get(point, "model"));
        add(d, point, i < 26 ? (char)('A' + i) : '+', model != NULL ? model : "?");
    }
    add(d, chosen_point(frontier), '@', "the policy's choice");
    buf_init(&text, 1U << 20);
    int rc = plot_write(d->points, d->count, PLOT_WIDTH, PLOT_HEIGHT, "USD per 1,000 requests",
                        "quality", &text);
    if (rc == 0)
        rc = buf_append_text(&text, "  *  what the router can reach\n");
    if (rc == 0) {
        const char *shown = buf_cstr(&text);
        if (shown != NULL)
            output_text(c->out, shown);
    }
    buf_deinit(&text);
    return rc == 0 ? CTL_OK : ctl_fail(c, CTL_FAILED, "the frontier holds no points");
}

enum ctl_exit frontier_print(struct ctl *c, const json_t *frontier)
{
    static const struct column columns[] = {
        {.title = "LAMBDA", .path = "lambda", .kind = COLUMN_NUMBER},
        {.title = "COST", .path = "cost_usd", .kind = COLUMN_USD},
        {.title = "QUALITY", .path = "quality", .kind = COLUMN_PERCENT},
        {.title = "SHARES", .path = "shares"},
        {.title = NULL},
    };
    if (output_is_json(c))
        return output_json(c, frontier);
    struct drawing *d = mem_zalloc(sizeof(*d));
    if (d == NULL)
        return ctl_fail(c, CTL_FAILED, "out of memory");
    enum ctl_exit code = draw(c, frontier, d);
    mem_free(d);
    if (code == CTL_OK && c->format == CTL_WIDE) {
        fputc('\n', c->out);
        code = output_list(c, columns, json_object_get(frontier, "points"), "lambda");
    }
    return code;
}

#include "dataplane/request/scan.h"

#include "common/base/mem.h"

#define SCANS_KEPT       16U
#define SCAN_NODES_KEPT  1024U
#define SCAN_NODES_SMALL 4096U /* 64 KiB, whatever the body's size. */

struct request_scan {
    void *next_free; /* First: the free list's link. */
    struct json json;
};

static struct request_scan *scan_take(struct request_env *env)
{
    struct request_scan *s = freelist_take(&env->scans);
    if (s == NULL) {
        s = mem_alloc(sizeof *s);
        if (s == NULL)
            return NULL;
        json_init(&s->json, JSON_NODES_MAX);
    }
    json_scan_begin(&s->json);
    return s;
}

static void scan_free(struct request_scan *s)
{
    json_deinit(&s->json);
    mem_free(s);
}

void scan_give(struct request *r)
{
    struct request_scan *s = r->scan;
    if (s == NULL)
        return;
    r->scan = NULL;
    json_reset(&s->json, SCAN_NODES_KEPT);
    if (r->env->scans.count < SCANS_KEPT)
        freelist_put(&r->env->scans, s);
    else
        scan_free(s);
}

void scan_deinit(struct request_env *env)
{
    for (struct request_scan *s; (s = freelist_take(&env->scans)) != NULL;)
        scan_free(s);
}

static void give_up(struct request *r)
{
    scan_give(r);
    r->scan_given_up = true;
}

/* Nodes that may be there while so many bytes are. */
static uint32_t nodes_max(size_t bytes)
{
    size_t nodes = SCAN_NODES_SMALL + bytes / sizeof(struct json_node);
    return nodes < JSON_NODES_MAX ? (uint32_t)nodes : JSON_NODES_MAX;
}

bool scan_feed(struct request *r, struct str so_far)
{
    if (so_far.len == 0 || r->scan_given_up)
        return false;
    if (r->scan == NULL)
        r->scan = scan_take(r->env);
    if (r->scan == NULL || r->env->shedding) {
        give_up(r);
        return false;
    }
    struct json *json = &r->scan->json;
    json->max_nodes = nodes_max(so_far.len);
    int rc = json_scan_feed(json, so_far);
    if (rc == ERR_NOMEM || (rc == ERR_LIMIT && json->max_nodes < JSON_NODES_MAX)) {
        give_up(r); /* Of the two limits that of nodes may be ours; the depth is found again. */
        return false;
    }
    return rc != 0;
}

const struct json *scan_peek(const struct request *r)
{
    return &r->scan->json;
}

struct json *scan_reader(struct request *r)
{
    if (r->scan == NULL)
        return &r->env->json;
    r->scan->json.max_nodes = JSON_NODES_MAX;
    return &r->scan->json;
}

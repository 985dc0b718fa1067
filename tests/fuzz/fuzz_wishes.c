/* What callers wish: the first byte says by which source, the rest is its text. It is read within
 * its bounds, or refused with a path that is printable. */
#include <stdlib.h>
#include <string.h>

#include "common/route/rule.h"
#include "dataplane/request/wishes.h"

enum { TAGS = 16 };

static void check(bool condition)
{
    if (!condition)
        abort();
}

static void check_names(const struct wishes_names *names)
{
    check(names->count <= WISHES_NAMES_MAX);
    for (uint32_t i = 0; i < names->count; i++)
        check(names->names[i].len > 0 && names->names[i].len <= 256);
}

static void check_wishes(const struct wishes *w)
{
    check(w->target_count <= WISHES_TARGETS_MAX);
    for (uint32_t i = 0; i < w->target_count; i++)
        check(w->targets[i].path.len > 0 &&
              w->targets[i].model.len + w->targets[i].provider.len +
                      w->targets[i].virtual_key.len >
                  0);
    check_names(&w->order);
    check_names(&w->only);
    check_names(&w->ignore);
    check_names(&w->hints);
    check(w->max_input >= -1 && w->max_output >= -1 && w->max_cost_nanousd >= 0);
    check(w->position >= -1 && w->position <= 100 && w->speed_q16 <= 65536);
    check(w->threshold_q16 <= 65536);
}

static void read_names(struct str text, struct wishes *w)
{
    struct str name;
    if (wishes_read_suffix(text, w, &name))
        check(name.len + 6 == text.len);
    if (wishes_read_router(text, w, &name))
        check(name.len > 0 && name.len < text.len);
    (void)wishes_names_provider(text, STR("mine"), STR("openai"), STR("OpenAI"));
}

static struct str value(void *arg, struct str path)
{
    (void)arg;
    return path; /* Whatever a pattern is, there is something to try it on. */
}

static bool holds(void *room, const struct rule_step *steps, uint32_t count)
{
    check(rule_valid(steps, count));
    return rule_holds(steps, count, value, NULL, room);
}

/* A plan that was read chooses targets, or is refused for want of a condition that holds. */
static int choose(struct wishes *w, struct wishes_refusal *refusal)
{
    bool params;
    struct pattern_room *room = pattern_room_create();
    check(room != NULL);
    (void)wishes_plan_asks(w->plan, &params);
    pattern_room_begin(room);
    int rc = wishes_choose(w, holds, room, 1, refusal);
    check((rc == 0) == (w->target_count > 0));
    pattern_room_destroy(room);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena_pool pool;
    struct arena arena;
    struct json json;
    struct wishes w;
    struct wishes_refusal refusal = {.param = STR_NULL};
    struct str tags[TAGS];
    uint32_t count = 0;
    int rc = 0;
    if (size == 0)
        return 0;
    struct str text = {(const char *)data + 1, size - 1};
    arena_pool_init(&pool, 4);
    arena_init(&arena, &pool, 1U << 20);
    json_init(&json, JSON_NODES_MAX);
    wishes_init(&w);
    switch (data[0] % 8) {
    case 0:
        rc = wishes_read_models(&json, text, &arena, &w, &refusal);
        break;
    case 1:
        rc = wishes_read_provider(&json, text, &arena, &w, &refusal);
        break;
    case 2:
        rc = wishes_read_usage(&json, text, &arena, &w, &refusal);
        break;
    case 3:
        rc = wishes_read_preferences(&json, text, "modelPreferences", &arena, &w, &refusal);
        break;
    case 4:
        rc = wishes_read_portkey(&json, text, &arena, &w, &refusal);
        if (rc == 0 && w.plan != NULL)
            rc = choose(&w, &refusal);
        break;
    case 5:
        rc = wishes_read_metadata(&json, text, &arena, tags, TAGS, &count, &refusal);
        check(count <= TAGS);
        break;
    case 6:
        rc = wishes_read_route(&json, text, &arena, &w, &refusal);
        break;
    default:
        read_names(text, &w);
        break;
    }
    check(rc == 0 || (rc == ERR_INVALID && refusal.param.len > 0));
    check_wishes(&w);
    json_deinit(&json);
    arena_reset(&arena);
    arena_pool_deinit(&pool);
    return 0;
}

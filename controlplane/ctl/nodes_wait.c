#include "controlplane/ctl/nodes_wait.h"

#include "common/base/clock.h"
#include "controlplane/ctl/client.h"

#define POLL_MS 50U

struct spread {
    bool known; /* false: the control plane did not say. */
    size_t acked, all;
};

static bool is_everywhere(const struct spread *s)
{
    return s->known && s->acked == s->all;
}

static void count(struct ctl *c, json_int_t generation, struct spread *out)
{
    json_t *status = NULL;
    size_t i;
    const json_t *node;
    if (client_try(c, "GET", "/status", &status) != CTL_OK)
        return;
    *out = (struct spread){.known = true};
    json_array_foreach(json_object_get(status, "nodes"), i, node)
    {
        if (!json_is_true(json_object_get(node, "connected")))
            continue;
        out->all++;
        out->acked += json_integer_value(json_object_get(node, "generation")) >= generation;
    }
    json_decref(status);
}

/* Waits as long as --wait says; Ctrl-C ends the waiting: what was changed stays so. false: there is
 * nothing to wait for. */
static bool wait_for(struct ctl *c, json_int_t generation, struct spread *out)
{
    uint64_t wait_ms = ctl_u64(c, "wait");
    *out = (struct spread){.known = false};
    if (generation == 0 || wait_ms == 0)
        return false;
    uint64_t until_ms = clock_mono_ms() + wait_ms;
    count(c, generation, out);
    while (!is_everywhere(out) && clock_mono_ms() < until_ms && !client_wait(c, POLL_MS))
        count(c, generation, out);
    return true;
}

json_int_t nodes_generation(const json_t *reply)
{
    return json_integer_value(json_object_get(reply, "generation"));
}

enum ctl_exit nodes_take(struct ctl *c, json_int_t generation)
{
    struct spread s;
    if (!wait_for(c, generation, &s))
        return CTL_OK;
    if (!s.known)
        ctl_note(c, "Done; how many nodes know it already is not known.");
    else if (s.acked < s.all)
        ctl_note(c, "Done; %zu of %zu connected nodes know it already.", s.acked, s.all);
    return CTL_OK;
}

enum ctl_exit nodes_refuse(struct ctl *c, json_int_t generation)
{
    struct spread s;
    if (!wait_for(c, generation, &s))
        return CTL_OK;
    if (!s.known)
        return ctl_fail(c, CTL_NO, "done, but how many nodes know it is not known");
    if (s.acked < s.all)
        return ctl_fail(c, CTL_NO, "done, but only %zu of %zu connected nodes acknowledged it",
                        s.acked, s.all);
    ctl_note(c, "%zu of %zu connected nodes acknowledged it.", s.acked, s.all);
    return CTL_OK;
}

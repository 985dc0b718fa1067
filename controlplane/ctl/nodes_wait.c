#include "controlplane/ctl/nodes_wait.h"

#include <string.h>

struct known {
    long long acked, connected;
    bool all; /* false: or more nodes elsewhere than are known may not have it. */
};

/* false: it was not waited for, or nothing was changed. */
static bool read_reply(const json_t *reply, struct known *out)
{
    const json_t *nodes = json_object_get(reply, "nodes");
    const char *ended = json_string_value(json_object_get(nodes, "ended"));
    *out = (struct known){
        .acked = json_integer_value(json_object_get(nodes, "acked")),
        .connected = json_integer_value(json_object_get(nodes, "connected")),
        .all = ended != NULL && strcmp(ended, "all") == 0,
    };
    return nodes != NULL;
}

enum ctl_exit nodes_take(struct ctl *c, const json_t *reply)
{
    struct known n;
    if (!read_reply(reply, &n) || n.all)
        return CTL_OK;
    if (n.acked < n.connected)
        ctl_note(c, "Done; %lld of %lld connected nodes know it already.", n.acked, n.connected);
    else
        ctl_note(c, "Done; how many nodes know it already is not known.");
    return CTL_OK;
}

enum ctl_exit nodes_refuse(struct ctl *c, const json_t *reply)
{
    struct known n;
    if (!read_reply(reply, &n))
        return CTL_OK;
    if (n.acked < n.connected)
        return ctl_fail(c, CTL_NO, "done, but only %lld of %lld connected nodes acknowledged it",
                        n.acked, n.connected);
    if (!n.all)
        return ctl_fail(c, CTL_NO, "done, but how many nodes know it is not known");
    ctl_note(c, "%lld of %lld connected nodes acknowledged it.", n.acked, n.connected);
    return CTL_OK;
}

enum ctl_exit nodes_after(struct ctl *c, enum ctl_exit code, json_t *reply,
                          enum ctl_exit (*print)(struct ctl *c, enum ctl_exit code, json_t *reply))
{
    code = print(c, code, json_incref(reply));
    if (code == CTL_OK)
        code = json_is_true(json_object_get(reply, "disabled")) ? nodes_refuse(c, reply)
                                                                : nodes_take(c, reply);
    json_decref(reply);
    return code;
}

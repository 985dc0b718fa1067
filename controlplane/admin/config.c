/* GET /config: what the file of this control plane says, as it is in force: {"values": {path:
 * text}}. On the loop, where a reload puts another one in its place. */
#include "controlplane/config/config.h"

#include "controlplane/admin/call.h"

static int write_fact(void *arg, struct str path, struct str value)
{
    struct json_writer *w = arg;
    json_writer_key_str(w, path);
    json_writer_string(w, value);
    return 0;
}

int config_finish(struct admin_call *call, int status, struct err *err)
{
    struct json_writer *w = &call->w;
    const struct config *config = call->config->config == NULL ? NULL : *call->config->config;
    if (status != 0)
        return status;
    if (config == NULL)
        return err_set(err, ERR_NOT_FOUND, "this control plane was started without --config");
    json_writer_begin_object(w);
    json_writer_key(w, "values");
    json_writer_begin_object(w);
    int rc = config_facts(config, write_fact, w);
    json_writer_end_object(w);
    json_writer_end_object(w);
    return rc == 0 ? 0 : err_set(err, rc, "%s", err_text(rc));
}

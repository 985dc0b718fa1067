/* Commands that need no server: config, version, completion, docs. */
#include <errno.h>
#include <string.h>

#include "controlplane/config/config.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"

#define TEXT_BYTES_MAX (4U << 20)

static enum ctl_exit print_buf(struct ctl *c, struct buf *text, int rc)
{
    if (rc == 0 && text->len > 0 && fwrite(text->data, 1, text->len, c->out) != text->len)
        rc = ERR_IO;
    buf_deinit(text);
    return rc == 0 ? CTL_OK : ctl_fail(c, CTL_FAILED, "%s", err_text(rc));
}

enum ctl_exit config_validate(struct ctl *c)
{
    struct config *config = NULL;
    struct buf errors;
    struct err err = {0};
    buf_init(&errors, TEXT_BYTES_MAX);
    int rc = config_load(ctl_arg(c, 0), &config, &errors, &err);
    if (rc == 0)
        ctl_note(c, "%s is valid: %zu models, %zu policies", ctl_arg(c, 0),
                 config_model_count(config), config_policy_count(config));
    else if (errors.len > 0)
        fprintf(c->err, "%.*s%s", STR_ARG(buf_str(&errors)),
                errors.data[errors.len - 1] == '\n' ? "" : "\n");
    bool listed = errors.len > 0;
    config_destroy(config);
    buf_deinit(&errors);
    if (rc == 0)
        return CTL_OK;
    if (rc == ERR_NOT_FOUND)
        return ctl_fail(c, CTL_NOT_FOUND, "%s", err.message);
    if (listed) /* Every finding was printed. */
        return ctl_fail(c, CTL_NO, "%s is not valid", ctl_arg(c, 0));
    return ctl_fail(c, rc == ERR_IO || rc == ERR_NOMEM ? CTL_FAILED : CTL_NO, "%s", err.message);
}

enum ctl_exit config_schema(struct ctl *c)
{
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    return print_buf(c, &text, config_schema_json(&text));
}

enum ctl_exit version_show(struct ctl *c)
{
    static const struct column columns[] = {{.title = "steelyard", .path = "version"},
                                            {.title = NULL}};
    json_t *version = json_pack("{s:s}", "version", STEELYARD_VERSION);
    enum ctl_exit code = output_object(c, columns, version, "version");
    json_decref(version);
    return code;
}

enum ctl_exit completion_show(struct ctl *c)
{
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    int rc = command_completion(ctl_arg(c, 0), &text);
    if (rc == ERR_INVALID) {
        buf_deinit(&text);
        return ctl_fail(c, CTL_USAGE, "'%s' is none of bash, zsh, fish", ctl_arg(c, 0));
    }
    return print_buf(c, &text, rc);
}

enum ctl_exit docs_show(struct ctl *c)
{
    struct buf text;
    const char *page = ctl_arg(c, 0);
    int rc;
    buf_init(&text, TEXT_BYTES_MAX);
    if (strcmp(page, "cli") == 0)
        rc = command_markdown(&text);
    else if (strcmp(page, "man") == 0)
        rc = command_man(&text);
    else if (strcmp(page, "config") == 0)
        rc = config_reference_markdown(&text);
    else {
        buf_deinit(&text);
        return ctl_fail(c, CTL_USAGE, "'%s' is none of cli, man, config", page);
    }
    return print_buf(c, &text, rc);
}

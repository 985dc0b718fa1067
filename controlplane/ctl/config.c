/* steelyard config diff and apply: configurations compared value by value, off the one table. */
#include "controlplane/config/config.h"

#include <string.h>
#include <unistd.h>

#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"

#define ERRORS_BYTES_MAX 65536U

static int keep_fact(void *arg, struct str path, struct str value)
{
    json_t *text = json_stringn(value.data == NULL ? "" : value.data, value.len);
    return json_object_setn_new(arg, path.data, path.len, text) == 0 ? 0 : ERR_NOMEM;
}

/* A new object of path -> text; NULL: told already, with *out_code. */
static json_t *facts_of_file(struct ctl *c, const char *path, enum ctl_exit *out_code)
{
    struct config *config = NULL;
    struct buf errors;
    struct err err = {0};
    json_t *facts = NULL;
    buf_init(&errors, ERRORS_BYTES_MAX);
    int rc = config_load(path, &config, &errors, &err);
    if (rc == 0) {
        facts = json_object();
        rc = config_facts(config, keep_fact, facts);
    }
    if (rc != 0) {
        if (rc == ERR_SYNTAX && errors.len > 0 && buf_cstr(&errors) != NULL)
            output_text(c->err, buf_cstr(&errors));
        *out_code = ctl_fail(c,
                             rc == ERR_NOT_FOUND ? CTL_NOT_FOUND
                             : rc == ERR_SYNTAX  ? CTL_NO
                                                 : CTL_FAILED,
                             rc == ERR_SYNTAX ? "%s is not valid" : "%s",
                             rc == ERR_SYNTAX ? path : err.message);
        json_decref(facts);
        facts = NULL;
    }
    config_destroy(config);
    buf_deinit(&errors);
    return facts;
}

static void add_change(json_t *changes, const char *path, const json_t *old, const json_t *now)
{
    json_array_append_new(changes,
                          json_pack("{s:s,s:O?,s:O?}", "path", path, "old", old, "new", now));
}

/* In the order of the new one; what is gone comes last. A new reference. */
static json_t *compare(json_t *old, json_t *now)
{
    json_t *changes = json_array(), *value;
    const char *path;
    json_object_foreach(now, path, value)
    {
        json_t *before = json_object_get(old, path);
        if (before == NULL || !json_equal(before, value))
            add_change(changes, path, before, value);
    }
    json_object_foreach(old, path, value)
    {
        if (json_object_get(now, path) == NULL)
            add_change(changes, path, value, NULL);
    }
    return changes;
}

static const struct column change_columns[] = {
    {.title = "VALUE", .path = "path"},
    {.title = "NOW", .path = "old"},
    {.title = "THEN", .path = "new"},
    {.title = NULL},
};

enum ctl_exit config_diff(struct ctl *c)
{
    enum ctl_exit code = CTL_OK;
    json_t *reply = NULL, *old = NULL, *now = facts_of_file(c, ctl_arg(c, 0), &code);
    if (now != NULL && ctl_arg(c, 1) != NULL) {
        old = facts_of_file(c, ctl_arg(c, 1), &code);
    } else if (now != NULL) {
        code = client_call(c, "GET", "/config", NULL, &reply);
        old = code == CTL_OK ? json_incref(json_object_get(reply, "values")) : NULL;
        if (code == CTL_OK && !json_is_object(old))
            code = ctl_fail(c, CTL_FAILED, "the server's answer holds no configuration");
    }
    if (code == CTL_OK && old != NULL && now != NULL) {
        json_t *changes = compare(old, now);
        size_t count = json_array_size(changes);
        if (count > 0 || c->format != CTL_TABLE)
            code = output_list(c, change_columns, changes, "path");
        ctl_note(c, "%zu values differ", count);
        if (code == CTL_OK && count > 0 && ctl_bool(c, "exit-code"))
            code = CTL_NO;
        json_decref(changes);
    }
    json_decref(old);
    json_decref(now);
    json_decref(reply);
    return code;
}

static enum ctl_exit show_changes(struct ctl *c, const char *to, json_t *now)
{
    enum ctl_exit code = CTL_OK;
    json_t *old = access(to, F_OK) == 0 ? facts_of_file(c, to, &code) : json_object();
    if (old == NULL)
        return code;
    json_t *changes = compare(old, now);
    code = output_list(c, change_columns, changes, "path");
    json_decref(changes);
    json_decref(old);
    return code;
}

enum ctl_exit config_apply(struct ctl *c)
{
    const char *file = ctl_arg(c, 0), *to = ctl_text(c, "to");
    enum ctl_exit code = CTL_OK;
    struct buf text;
    struct err err = {0};
    if (to == NULL)
        return ctl_fail(c, CTL_USAGE, "--to says which file the control plane reads");
    json_t *now = facts_of_file(c, file, &code);
    if (now == NULL)
        return code;
    if (ctl_bool(c, "dry-run")) {
        code = show_changes(c, to, now);
        json_decref(now);
        ctl_note(c, "Dry run: nothing was changed.");
        return code;
    }
    json_decref(now);
    buf_init(&text, CONFIG_BYTES_MAX + 1);
    int rc = buf_read_file(&text, file, CONFIG_BYTES_MAX, &err);
    if (rc == 0)
        rc = buf_write_file(buf_str(&text), to, 0644, &err);
    buf_deinit(&text);
    if (rc != 0)
        return ctl_fail(c, CTL_FAILED, "%s", err.message);
    ctl_note(c, "%s holds it now", to);
    return CTL_OK;
}

#include "controlplane/ctl/discover.h"

#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/str.h"

#define SMALL_FILE_BYTES 65536U
#define PATH_BYTES       4096U

static int format_path(char *out, size_t out_bytes, const char *format, const char *a,
                       const char *b)
{
    struct buf text;
    buf_init(&text, out_bytes);
    int rc = buf_append_text(&text, a);
    if (rc == 0)
        rc = buf_append_text(&text, format);
    if (rc == 0)
        rc = buf_append_text(&text, b);
    if (rc == 0 && !str_copy(buf_str(&text), out, out_bytes))
        rc = ERR_TOO_LARGE;
    buf_deinit(&text);
    return rc;
}

static int read_small(const char *path, char *out, size_t out_bytes)
{
    struct buf text;
    buf_init(&text, SMALL_FILE_BYTES);
    int rc = buf_read_file(&text, path, SMALL_FILE_BYTES, NULL);
    if (rc == 0) {
        struct str s = buf_str(&text);
        while (s.len > 0 && (s.data[s.len - 1] == '\n' || s.data[s.len - 1] == ' '))
            s.len--;
        rc = str_copy(s, out, out_bytes) ? 0 : ERR_TOO_LARGE;
    }
    buf_deinit(&text);
    return rc;
}

static int addresses_field(const char *path, const char *field, char *out, size_t out_bytes)
{
    char text[4096];
    int rc = read_small(path, text, sizeof(text));
    if (rc != 0)
        return rc;
    json_t *root = json_loads(text, 0, NULL);
    const char *value = json_string_value(json_object_get(root, field));
    rc = value != NULL && str_copy(str_from(value), out, out_bytes) ? 0 : ERR_NOT_FOUND;
    json_decref(root);
    return rc;
}

int discover_address(const char *state_dir, const char *field, char *out, size_t out_bytes)
{
    char path[PATH_BYTES];
    int rc = format_path(path, sizeof(path), "/addresses.json", state_dir, "");
    return rc != 0 ? rc : addresses_field(path, field, out, out_bytes);
}

static bool has_addresses(const char *dir)
{
    char path[PATH_BYTES];
    return format_path(path, sizeof(path), "/addresses.json", dir, "") == 0 &&
           access(path, R_OK) == 0;
}

int discover_state_dir(const struct ctl *c, char *out, size_t out_bytes, struct err *err)
{
    const char *given = ctl_text(c, "state-dir");
    if (given != NULL) {
        if (!str_copy(str_from(given), out, out_bytes))
            return err_set(err, ERR_TOO_LARGE, "--state-dir is too long");
        return 0;
    }
    const char *home = getenv("HOME"), *state = getenv("XDG_STATE_HOME");
    if (state != NULL && state[0] == '/' &&
        format_path(out, out_bytes, "/steelyard", state, "") == 0 && has_addresses(out))
        return 0;
    if (home != NULL && format_path(out, out_bytes, "/.local/state/steelyard", home, "") == 0 &&
        has_addresses(out))
        return 0;
    if (has_addresses("/var/lib/steelyard") && str_copy(STR("/var/lib/steelyard"), out, out_bytes))
        return 0;
    return err_set(err, ERR_NOT_FOUND,
                   "no server found: give --server URL (or STEELYARD_SERVER), or run "
                   "`steelyard serve` on this machine");
}

/* ~/.config/steelyard/config.yaml: {current: prod, contexts: {prod: {server: ..., operator_key:
 * ...}}} */
static int read_context(const char *path, const char *wanted, struct discovered *out,
                        struct err *err)
{
    struct fy_document *document = fy_document_build_from_file(NULL, path);
    if (document == NULL)
        return err_set(err, ERR_SYNTAX, "%s is not valid YAML", path);
    char name[128] = "", server[512] = "", key[256] = "";
    struct fy_node *root = fy_document_root(document);
    if (wanted != NULL)
        (void)str_copy(str_from(wanted), name, sizeof(name));
    else
        (void)fy_node_scanf(root, "/current %127s", name);
    struct fy_node *contexts = fy_node_by_path(root, "/contexts", FY_NT, FYNWF_DONT_FOLLOW);
    struct fy_node *context = contexts != NULL && name[0] != '\0'
                                  ? fy_node_mapping_lookup_by_string(contexts, name, FY_NT)
                                  : NULL;
    int found = context != NULL ? fy_node_scanf(context, "/server %511s", server) : 0;
    if (found == 1)
        (void)fy_node_scanf(context, "/operator_key %255s", key);
    fy_document_destroy(document);
    if (found != 1)
        return wanted == NULL && name[0] == '\0'
                   ? ERR_NOT_FOUND
                   : err_set(err, ERR_INVALID, "%s has no context '%s' with a server", path, name);
    memcpy(out->server, server, sizeof(server));
    memcpy(out->key, key, sizeof(key));
    return format_path(out->source, sizeof(out->source), " of ", "context", path);
}

static int find_context(const struct ctl *c, struct discovered *out, struct err *err)
{
    const char *wanted = ctl_text(c, "context"), *home = getenv("HOME");
    const char *config = getenv("XDG_CONFIG_HOME");
    char path[PATH_BYTES];
    int rc = ERR_NOT_FOUND;
    if (config != NULL && config[0] == '/')
        rc = format_path(path, sizeof(path), "/steelyard/config.yaml", config, "");
    else if (home != NULL)
        rc = format_path(path, sizeof(path), "/.config/steelyard/config.yaml", home, "");
    if (rc != 0 || access(path, R_OK) != 0)
        return wanted == NULL
                   ? ERR_NOT_FOUND
                   : err_set(err, ERR_INVALID, "no context file for --context %s", wanted);
    return read_context(path, wanted, out, err);
}

static int find_local(const struct ctl *c, struct discovered *out, struct err *err)
{
    char dir[PATH_BYTES], path[PATH_BYTES], address[256];
    int rc = discover_state_dir(c, dir, sizeof(dir), err);
    if (rc != 0)
        return rc;
    if (discover_address(dir, "admin", address, sizeof(address)) != 0)
        return err_set(err, ERR_NOT_FOUND,
                       "nothing is running in %s: start it with `steelyard serve`", dir);
    rc = format_path(out->server, sizeof(out->server), "http://", "", address);
    /* Below `serve` the control plane has a folder of its own; alone, the folder is its own. */
    if (rc == 0)
        rc = format_path(path, sizeof(path), "/control/operator.key", dir, "");
    if (rc == 0 && read_small(path, out->key, sizeof(out->key)) != 0) {
        rc = format_path(path, sizeof(path), "/operator.key", dir, "");
        if (rc == 0)
            (void)read_small(path, out->key, sizeof(out->key));
    }
    return rc != 0 ? rc
                   : format_path(out->source, sizeof(out->source), " ", "state directory", dir);
}

int discover_server(const struct ctl *c, struct discovered *out, struct err *err)
{
    const char *server = ctl_text(c, "server"), *key = getenv("STEELYARD_OPERATOR_KEY");
    int rc = 0;
    *out = (struct discovered){0};
    if (server != NULL) {
        bool bare = strstr(server, "://") == NULL;
        rc = format_path(out->server, sizeof(out->server), server, bare ? "http://" : "", "");
        if (rc == 0)
            rc = format_path(out->source, sizeof(out->source), "", "--server", "");
        if (rc != 0)
            return err_set(err, ERR_INVALID, "--server is too long");
    } else {
        rc = find_context(c, out, err);
        if (rc == ERR_NOT_FOUND)
            rc = find_local(c, out, err);
    }
    size_t n = strlen(out->server);
    if (n > 0 && out->server[n - 1] == '/')
        out->server[n - 1] = '\0';
    if (rc == 0 && key != NULL && key[0] != '\0' &&
        !str_copy(str_from(key), out->key, sizeof(out->key)))
        rc = err_set(err, ERR_INVALID, "STEELYARD_OPERATOR_KEY is too long");
    /* With --server on this machine, the local key still helps when none is given. */
    if (rc == 0 && out->key[0] == '\0' && server != NULL) {
        struct discovered local = {0};
        if (find_local(c, &local, NULL) == 0 && strcmp(local.server, out->server) == 0)
            memcpy(out->key, local.key, sizeof(out->key));
    }
    return rc;
}

/* steelyard import: a configuration of another program becomes a steelyard.yaml. Needs no server.
 */
#include "controlplane/import/import.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "controlplane/config/config.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"

#define ERRORS_BYTES_MAX 65536U

static void print_findings(struct ctl *c, const struct import *i, const char *file)
{
    for (size_t n = 0; n < import_finding_count(i); n++) {
        struct import_finding f = import_finding_at(i, n);
        ctl_note(c, "%s:%u:%u: %.*s: %s: %.*s", file, f.line, f.column, STR_ARG(f.path),
                 import_verdict_name(f.verdict), STR_ARG(f.text));
    }
    ctl_note(c, "%s: %zu exact, %zu approximate, %zu manual, %zu unsupported", file,
             import_count(i, IMPORT_EXACT), import_count(i, IMPORT_APPROXIMATE),
             import_count(i, IMPORT_MANUAL), import_count(i, IMPORT_UNSUPPORTED));
}

static enum ctl_exit print_json(struct ctl *c, const struct import *i, const char *file)
{
    json_t *findings = json_array(), *counts = json_object();
    struct str yaml = import_yaml(i);
    for (size_t n = 0; n < import_finding_count(i); n++) {
        struct import_finding f = import_finding_at(i, n);
        json_array_append_new(findings,
                              json_pack("{s:s,s:i,s:i,s:s%,s:s%}", "verdict",
                                        import_verdict_name(f.verdict), "line", (int)f.line,
                                        "column", (int)f.column, "path", f.path.data, f.path.len,
                                        "text", f.text.data, f.text.len));
    }
    for (int v = 0; v < IMPORT_VERDICTS; v++)
        json_object_set_new(counts, import_verdict_name((enum import_verdict)v),
                            json_integer((json_int_t)import_count(i, (enum import_verdict)v)));
    json_t *all = json_pack("{s:s,s:o,s:o,s:s%}", "file", file, "counts", counts, "findings",
                            findings, "yaml", yaml.data, yaml.len);
    int rc =
        all == NULL || json_dumpf(all, c->out, JSON_INDENT(2)) != 0 || fputc('\n', c->out) == EOF;
    json_decref(all);
    return rc == 0 ? CTL_OK : ctl_fail(c, CTL_FAILED, "the output could not be written");
}

static enum ctl_exit write_result(struct ctl *c, const struct import *i)
{
    const char *to = ctl_text(c, "write");
    struct str yaml = import_yaml(i);
    struct err err = {0};
    if (to == NULL) {
        if (c->format == CTL_JSON)
            return CTL_OK;
        return fwrite(yaml.data, 1, yaml.len, c->out) == yaml.len
                   ? CTL_OK
                   : ctl_fail(c, CTL_FAILED, "the output could not be written");
    }
    if (access(to, F_OK) == 0 && !ctl_bool(c, "yes"))
        return ctl_fail(c, CTL_CONFLICT, "%s is there already: --yes writes over it", to);
    if (buf_write_file(yaml, to, 0644, &err) != 0)
        return ctl_fail(c, CTL_FAILED, "%s", err.message);
    return CTL_OK;
}

static enum ctl_exit finish(struct ctl *c, const struct import *i, const char *file)
{
    size_t lost = import_count(i, IMPORT_MANUAL) + import_count(i, IMPORT_UNSUPPORTED);
    enum ctl_exit code = c->format == CTL_JSON ? print_json(c, i, file) : CTL_OK;
    if (c->format != CTL_JSON)
        print_findings(c, i, file);
    if (code == CTL_OK)
        code = write_result(c, i);
    return code == CTL_OK && lost > 0 && !ctl_bool(c, "allow-lossy") ? CTL_NO : code;
}

enum ctl_exit import_file(struct ctl *c)
{
    const char *file = ctl_arg(c, 1);
    struct import_options options = {
        .file = file, .model = ctl_text(c, "model"), .name = ctl_text(c, "name")};
    struct import *result = NULL;
    struct buf text, errors;
    struct err err = {0};
    enum import_format format;
    if (!import_format_parse(ctl_arg(c, 0), &format))
        return ctl_fail(c, CTL_USAGE, "'%s' is none of litellm, portkey, openrouter, route-switch",
                        ctl_arg(c, 0));
    if (c->format != CTL_TABLE && c->format != CTL_WIDE && c->format != CTL_YAML &&
        c->format != CTL_JSON)
        return ctl_fail(c, CTL_USAGE, "the result is YAML, or JSON with its findings");
    buf_init(&text, CONFIG_BYTES_MAX + 1);
    buf_init(&errors, ERRORS_BYTES_MAX);
    int rc = buf_read_file(&text, file, CONFIG_BYTES_MAX, &err);
    if (rc == 0)
        rc = import_run(format, buf_str(&text), &options, &result, &errors, &err);
    enum ctl_exit code;
    if (rc == 0) {
        code = finish(c, result, file);
    } else if (errors.len > 0) {
        output_text(c->err, buf_cstr(&errors) == NULL ? "" : buf_cstr(&errors));
        code = ctl_fail(c, CTL_FAILED, "%s could not be read", file);
    } else {
        code = ctl_fail(c, rc == ERR_NOT_FOUND ? CTL_NOT_FOUND : CTL_FAILED, "%s", err.message);
    }
    import_destroy(result);
    buf_deinit(&text);
    buf_deinit(&errors);
    return code;
}

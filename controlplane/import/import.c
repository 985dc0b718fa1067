#include "controlplane/import/import.h"

#include <string.h>

#include "common/base/mem.h"
#include "controlplane/config/config.h"
#include "controlplane/import/internal.h"

#define ARENA_BYTES_MAX (128U << 20)

static const char *const format_names[] = {
    [IMPORT_LITELLM] = "litellm",
    [IMPORT_PORTKEY] = "portkey",
    [IMPORT_OPENROUTER] = "openrouter",
    [IMPORT_ROUTE_SWITCH] = "route-switch",
};

bool import_format_parse(const char *text, enum import_format *out_format)
{
    for (size_t f = 0; f < sizeof format_names / sizeof format_names[0]; f++) {
        if (strcmp(text, format_names[f]) == 0) {
            *out_format = (enum import_format)f;
            return true;
        }
    }
    return false;
}

const char *import_format_name(enum import_format format)
{
    return format_names[format];
}

const char *import_verdict_name(enum import_verdict verdict)
{
    static const char *const names[] = {
        [IMPORT_EXACT] = "exact",
        [IMPORT_APPROXIMATE] = "approximate",
        [IMPORT_MANUAL] = "manual",
        [IMPORT_UNSUPPORTED] = "unsupported",
    };
    return names[verdict];
}

static void map_format(struct import *i)
{
    switch (i->format) {
    case IMPORT_LITELLM:
        litellm_import(i);
        break;
    case IMPORT_PORTKEY:
        portkey_import(i);
        break;
    case IMPORT_OPENROUTER:
        openrouter_import(i);
        break;
    case IMPORT_ROUTE_SWITCH:
        route_switch_import(i);
        break;
    }
}

int import_run(enum import_format format, struct str text, const struct import_options *options,
               struct import **out_import, struct buf *out_errors, struct err *err)
{
    struct findings findings;
    struct import *i = mem_zalloc(sizeof *i);
    if (i == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    findings_init(&findings, options->file);
    arena_pool_init(&i->chunks, 0);
    arena_init(&i->arena, &i->chunks, ARENA_BYTES_MAX);
    buf_init(&i->yaml, CONFIG_BYTES_MAX);
    i->options = *options;
    i->format = format;
    int rc = tree_read(i, text, &findings);
    if (rc == 0) {
        values_reserve(i);
        map_format(i);
        note_rest(i);
        rc = i->status;
    }
    if (rc == 0)
        rc = plan_print(i);
    if (rc == 0)
        rc = notes_sort(i);
    if (rc == ERR_SYNTAX && findings.count > 0 && err != NULL)
        *err = findings.first;
    else if (rc == ERR_LIMIT)
        (void)err_set(err, rc, "%s: more than one configuration can hold", options->file);
    else if (rc != 0)
        (void)err_set(err, rc, "%s: %s", options->file, err_text(rc));
    if (rc == ERR_SYNTAX && out_errors != NULL &&
        buf_append_str(out_errors, buf_str(&findings.text)) == ERR_NOMEM)
        rc = ERR_NOMEM;
    findings_deinit(&findings);
    if (rc != 0) {
        import_destroy(i);
        return rc;
    }
    *out_import = i;
    return 0;
}

void import_destroy(struct import *i)
{
    if (i == NULL)
        return;
    buf_deinit(&i->yaml);
    arena_reset(&i->arena);
    arena_pool_deinit(&i->chunks);
    mem_free(i);
}

struct str import_yaml(const struct import *i)
{
    return buf_str(&i->yaml);
}

size_t import_finding_count(const struct import *i)
{
    return i->note_count;
}

struct import_finding import_finding_at(const struct import *i, size_t index)
{
    return i->sorted[index]->finding;
}

size_t import_count(const struct import *i, enum import_verdict verdict)
{
    return i->counts[verdict];
}

/* steelyard-reference PAGE: a reference page from the tables of a program that has no command for
 * it. Pages: dataplane, metrics. Used by docs/generate. */
#include <stdio.h>
#include <string.h>

#include "common/base/options.h"
#include "common/metrics/metrics.h"
#include "dataplane/request/meters.h"
#include "dataplane/settings.h"

static int write_page(const char *page, struct buf *out)
{
    if (strcmp(page, "dataplane") == 0) {
        int rc =
            buf_append_text(out, "# `steelyard-dataplane`: options\n\nGenerated from the table in "
                                 "`dataplane/settings.c`; edit the table.\n\n");
        return rc != 0 ? rc : options_markdown(settings_table, out);
    }
    if (strcmp(page, "metrics") == 0) {
        int rc = buf_append_text(out, "# Metrics of a node\n\nGenerated from the table in "
                                      "`dataplane/request/meters.c`; edit the table.\n\n");
        return rc != 0 ? rc : metrics_markdown(meters_table, out);
    }
    return ERR_NOT_FOUND;
}

int main(int argc, char **argv)
{
    struct buf out;
    buf_init(&out, 1U << 20);
    int rc = argc == 2 ? write_page(argv[1], &out) : ERR_INVALID;
    if (rc == 0 && fwrite(out.data, 1, out.len, stdout) != out.len)
        rc = ERR_IO;
    buf_deinit(&out);
    if (rc != 0)
        fprintf(stderr, "usage: steelyard-reference dataplane|metrics (%s)\n", err_text(rc));
    return rc == 0 ? 0 : 2;
}

/* steelyard-control-reference: the metrics of the control plane from their table, for docs/generate. */
#include <stdio.h>

#include "controlplane/plane_internal.h"

int main(void)
{
    struct buf out;
    buf_init(&out, 1U << 20);
    int rc = buf_append_text(&out, "# Metrics of a control plane\n\nGenerated from the table in "
                                   "`controlplane/plane_metrics.c`; edit the table.\n\n");
    if (rc == 0)
        rc = metrics_markdown(plane_metrics_table, &out);
    if (rc == 0 && fwrite(out.data, 1, out.len, stdout) != out.len)
        rc = ERR_IO;
    buf_deinit(&out);
    return rc == 0 ? 0 : 1;
}

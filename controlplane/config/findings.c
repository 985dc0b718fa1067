#include "controlplane/config/findings.h"

#include <stdarg.h>
#include <stdio.h>

#define FINDINGS_BYTES_MAX 65536U

void findings_init(struct findings *f, const char *file)
{
    *f = (struct findings){.file = file};
    buf_init(&f->text, FINDINGS_BYTES_MAX);
}

void findings_deinit(struct findings *f)
{
    buf_deinit(&f->text);
}

void findings_add(struct findings *f, unsigned line, unsigned column, const char *path,
                  const char *format, ...)
{
    char text[384];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    /* A line break inside would look like a finding of its own. */
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    const char *colon = path[0] == '\0' ? "" : ": ";
    if (f->count == 0)
        (void)err_set(&f->first, ERR_SYNTAX, "%.100s:%u:%u: %.120s%s%.240s", f->file, line, column,
                      path, colon, text);
    f->count++;
    if (f->count > FINDINGS_MAX)
        return;
    int rc =
        f->count == FINDINGS_MAX
            ? buf_printf(&f->text, "%s: more findings are left out\n", f->file)
            : buf_printf(&f->text, "%s:%u:%u: %s%s%s\n", f->file, line, column, path, colon, text);
    (void)rc; /* Full: the count says that there is more. */
}

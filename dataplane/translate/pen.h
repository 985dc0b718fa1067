/* pen.h: bytes on their way into a buffer, where most of them are fixed. The first error sticks, so
 * that it is looked at once, at the end. Pure. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_PEN_H
#define STEELYARD_DATAPLANE_TRANSLATE_PEN_H

#include "common/base/buf.h"
#include "common/json/json_writer.h"

struct pen {
    struct buf *out;
    int rc;
};

static inline void pen_put(struct pen *p, struct str text)
{
    if (p->rc == 0)
        p->rc = buf_append_str(p->out, text);
}
#define PEN(p, literal) pen_put(p, STR(literal))
static inline void pen_text(struct pen *p, const char *text)
{
    pen_put(p, str_from(text));
}
static inline void pen_number(struct pen *p, uint64_t n)
{
    if (p->rc == 0)
        p->rc = buf_append_u64(p->out, n);
}
/* As inside quotation marks ... */
static inline void pen_escaped(struct pen *p, struct str text)
{
    if (p->rc == 0)
        p->rc = json_writer_escape(p->out, text);
}
/* ... and with them. */
static inline void pen_quoted(struct pen *p, struct str text)
{
    PEN(p, "\"");
    pen_escaped(p, text);
    PEN(p, "\"");
}

#endif

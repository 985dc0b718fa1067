#include "controlplane/ctl/query.h"

#include "controlplane/ctl/client.h"

static void note(struct query *q, int rc)
{
    if (q->status == 0)
        q->status = rc;
}

void query_init(struct query *q, const char *path)
{
    *q = (struct query){0};
    buf_init(&q->text, 4096);
    note(q, buf_append_text(&q->text, path));
}

void query_part(struct query *q, const char *part)
{
    note(q, buf_append_char(&q->text, '/'));
    note(q, client_escape(part, &q->text));
}

void query_literal(struct query *q, const char *text)
{
    note(q, buf_append_text(&q->text, text));
}

void query_parameter(struct query *q, const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    note(q, buf_printf(&q->text, "%c%s=", q->has_parameter ? '&' : '?', name));
    note(q, client_escape(value, &q->text));
    q->has_parameter = true;
}

const char *query_path(struct query *q)
{
    return q->status == 0 ? buf_cstr(&q->text) : "/";
}

void query_deinit(struct query *q)
{
    buf_deinit(&q->text);
}

/* query.h: paths of the admin API with escaped parts and a query string. */
#ifndef STEELYARD_CONTROLPLANE_CTL_QUERY_H
#define STEELYARD_CONTROLPLANE_CTL_QUERY_H

#include "common/base/buf.h"

struct query {
    struct buf text;
    bool has_parameter;
    int status; /* The first error; query_path then gives "/", which every server refuses. */
};
void query_init(struct query *q, const char *path);
void query_part(struct query *q, const char *part); /* "/" and the escaped part. */
void query_literal(struct query *q, const char *text);
void query_parameter(struct query *q, const char *name, const char *value); /* NULL: nothing. */
const char *query_path(struct query *q);
void query_deinit(struct query *q);

#endif

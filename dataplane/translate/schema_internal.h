/* schema_internal.h: what the rewriters of schemas share: the parse and the text that comes of it,
 * and a stack of what is open, since schemas are nested as their authors like. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_SCHEMA_INTERNAL_H
#define STEELYARD_DATAPLANE_TRANSLATE_SCHEMA_INTERNAL_H

#include "common/base/arena.h"
#include "common/json/json.h"
#include "common/json/json_writer.h"

#define SCHEMA_DEPTH_MAX 120U   /* Levels of schemas, and of what holds them. */
#define SCHEMA_STEPS_MAX 65536U /* Schemas in all, where references are followed. */

enum schema_level {
    SCHEMA_LEVEL_SCHEMA, /* An object whose members are keywords. */
    SCHEMA_LEVEL_MAP,    /* ... whose members are schemas: properties, $defs. */
    SCHEMA_LEVEL_LIST,   /* An array of schemas: anyOf, allOf. */
};
struct schema_frame {
    enum schema_level level;
    uint32_t node;
    uint32_t at; /* Where the iteration stands. */
    bool flag;   /* The rewriter's own. */
};

/* Parses an object. ERR_INVALID, ERR_NOMEM; nothing is left to free then. */
int schema_open(struct json *j, struct str schema) MUST_CHECK;
/* Ends parse, writer and buffer after a success; *out is the text. */
int schema_close(struct json *j, struct json_writer *w, struct buf *b, struct arena *arena,
                 struct str *out) MUST_CHECK;
/* "type" is this one, or has it among others. */
bool schema_is_type(const struct json *j, uint32_t node, struct str type);

#endif

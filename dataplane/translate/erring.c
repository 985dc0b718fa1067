#include "dataplane/translate/erring.h"

enum tr_error_kind tr_error_of_status(const struct tr_status_kind *rows, size_t count,
                                      unsigned status)
{
    for (size_t i = 0; i < count; i++)
        if (status == rows[i].status)
            return rows[i].kind;
    return status >= 400 && status < 500 ? TR_ERROR_INVALID_REQUEST : TR_ERROR_UPSTREAM;
}

enum tr_error_kind tr_error_by_words(enum tr_error_kind kind, const struct tr_saying *rows,
                                     size_t count, struct str message)
{
    for (size_t i = 0; kind == TR_ERROR_INVALID_REQUEST && i < count; i++)
        if (str_search(message, rows[i].words) >= 0)
            return rows[i].kind;
    return kind;
}

struct str tr_error_message(struct str message)
{
    return str_utf8_head(message, TR_ERROR_MESSAGE_BYTES_MAX);
}

struct str tr_error_text(const struct json *j, uint32_t node, struct arena *arena)
{
    struct str text;
    return json_kind(j, node) == JSON_STRING && json_text(j, node, arena, &text) == 0 ? text
                                                                                      : STR_NULL;
}

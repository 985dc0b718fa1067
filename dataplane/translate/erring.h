/* erring.h: what the readers of providers' errors share. Each dialect has tables of its own
 * (PROVIDER-TRANSLATION section 11). Pure. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_ERRING_H
#define STEELYARD_DATAPLANE_TRANSLATE_ERRING_H

#include "dataplane/translate/dialects.h"

#define TR_ERROR_MESSAGE_BYTES_MAX 1024U

struct tr_status_kind {
    unsigned status;
    enum tr_error_kind kind;
};
struct tr_saying {
    struct str words;
    enum tr_error_kind kind;
};

/* Of a status that no row has: that of a 4xx is the request's fault, any other the provider's. */
enum tr_error_kind tr_error_of_status(const struct tr_status_kind *rows, size_t count,
                                      unsigned status);
/* An invalid request that is something else by its words; the first that stand in it. Any other
 * kind stays. */
enum tr_error_kind tr_error_by_words(enum tr_error_kind kind, const struct tr_saying *rows,
                                     size_t count, struct str message);
/* As much of a message as is told on, whole characters. */
struct str tr_error_message(struct str message);
/* A string, unescaped; STR_NULL for anything else, and where there is no memory. */
struct str tr_error_text(const struct json *j, uint32_t node, struct arena *arena);

#endif

/* change.h: bodies of changes from flags. A flag given becomes a field; "none" clears it (null).
 * Every change takes --reason and --dry-run; what cannot be taken back asks, unless --yes. */
#ifndef STEELYARD_CONTROLPLANE_CTL_CHANGE_H
#define STEELYARD_CONTROLPLANE_CTL_CHANGE_H

#include "controlplane/ctl/ctl.h"

enum change_kind { CHANGE_TEXT, CHANGE_LIST, CHANGE_NUMBER, CHANGE_BOOL };
struct change_field {
    const char *flag; /* NULL ends a table. */
    const char *field;
    enum change_kind kind;
};

/* A new object for client_call (of the fields whose flags the command takes); CTL_USAGE (told) when
 * a number is none. */
enum ctl_exit change_body(struct ctl *c, const struct change_field *fields, json_t **out_body);
/* On a terminal asks "question [y/N]"; elsewhere --yes must be given. */
enum ctl_exit change_confirm(struct ctl *c, const char *format, ...) PRINTF_LIKE(2, 3);
/* POST /NOUN/ARG[/VERB] with the body of these fields (may be NULL); out_reply as client_call. */
enum ctl_exit change_post(struct ctl *c, const char *noun, const char *verb,
                          const struct change_field *fields, json_t **out_reply);

#endif

/* names.h: names of tools as a provider takes them. A name outside its class is changed (bytes that
 * are not allowed become '_', long ones are cut) and, if that is somebody else's name already, ends
 * in a number; answers are given the caller's name again (the exchange does so, readers of replies
 * need not). Only names that changed are kept, at most TR_NAMES_BYTES_MAX of them. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_NAMES_H
#define STEELYARD_DATAPLANE_TRANSLATE_NAMES_H

#include "dataplane/translate/dialects.h"

#define TR_NAMES_BYTES_MAX 24576U

enum tr_name_class {
    TR_NAME_COMMON,    /* [a-zA-Z0-9_-]{1,64}: openai, bedrock, cohere */
    TR_NAME_ANTHROPIC, /* [a-zA-Z0-9_-]{1,128} */
    TR_NAME_GEMINI,    /* [a-zA-Z_][a-zA-Z0-9_.:-]{0,63} */
};

/* Once a request, before anything is printed: looks at the tools, the choice, calls and results.
 * Notes "renamed_tool". ERR_INVALID (a name that is empty), ERR_TOO_LARGE, ERR_NOMEM. */
int tr_names_build(struct tr_terms *terms, const struct tr_request *request,
                   enum tr_name_class name_class, struct call_refusal *refusal) MUST_CHECK;
/* What the provider calls it / the caller calls it; borrowed from terms or name. */
struct str tr_names_inside(const struct tr_terms *terms, struct str name);
struct str tr_names_outside(const struct tr_terms *terms, struct str name);
void tr_names_destroy(struct tr_names *names); /* NULL is allowed. */

#endif

/* responses_ask.h: what the files that print a request of the Responses dialect share. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_RESPONSES_ASK_H
#define STEELYARD_DATAPLANE_TRANSLATE_RESPONSES_ASK_H

#include "dataplane/translate/openai_internal.h"
#include "dataplane/translate/responses_internal.h"
#include "dataplane/translate/turns.h"

/* What we hand out as the opaque value of this vendor's reasoning is the id of its item, this, and
 * encrypted_content: it goes back as the item it was. Neither has one of these in it. */
#define TR_RESPONSES_ID_END ':'

/* The member "input". */
int tr_responses_print_input(struct tr_asking *a) MUST_CHECK;

#endif

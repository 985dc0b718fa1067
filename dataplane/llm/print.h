/* print.h: fingerprints: what an answer says that made it, as a text and as 8 bytes. The text is
 * the answer's "model" (Gemini: modelVersion; Bedrock: the model that a prompt router took) and,
 * behind a space, its "system_fingerprint", cut at PRINT_BYTES_MAX. The 8 bytes are SipHash-1-3 of
 * it with a zero key, so that they are the same on every node; 0 stands for nothing.
 *
 * A worker remembers the texts it met last, so that one that is to be told can be found when an
 * attempt is over. Not thread-safe. */
#ifndef STEELYARD_DATAPLANE_LLM_PRINT_H
#define STEELYARD_DATAPLANE_LLM_PRINT_H

#include <stdint.h>

#include "common/base/str.h"

#define PRINT_BYTES_MAX 112U
#define PRINTS_KEPT     32U /* By the lowest bits; a newer one takes the place of an older. */

struct prints { /* Zeroed: none. */
    struct {
        uint64_t print;
        uint8_t len;
        char text[PRINT_BYTES_MAX];
    } kept[PRINTS_KEPT];
};

/* prints: NULL: it need not be remembered. Both empty: 0. */
uint64_t prints_note(struct prints *prints, struct str model, struct str system);
/* .data NULL: not known any more. Until the next note. */
struct str prints_text(const struct prints *prints, uint64_t print);

#endif

/* features_memo.h: features of calls that were seen before, so that they need not be extracted
 * again. A conversation with tools sends the same last question, system prompt and tools with every
 * turn, and a service the same system prompt with every question. Where calls hardly ever come
 * again (less than one in sixteen of the last 256), one in eight texts is looked up and kept,
 * always the same ones, until they do; system prompts always are.
 *
 * What is kept of a call is a 64-bit keyed hash and its feature vector, no text. Calls of different
 * owners share nothing, so nobody learns from a call's time what another one asked. Two calls of
 * one owner are taken for the same by mistake with a probability of 2^-63 (hash_text, under a key
 * that the memo draws for itself). docs/decisions/0105. A memo belongs to one thread. */
#ifndef STEELYARD_COMMON_ROUTE_FEATURES_MEMO_H
#define STEELYARD_COMMON_ROUTE_FEATURES_MEMO_H

#include "common/route/features.h"

struct features_memo;
/* slots: calls that are kept, a power of two; each takes a little over 1 KiB. NULL: out of memory.
 */
struct features_memo *features_memo_create(uint32_t slots);
void features_memo_destroy(struct features_memo *m); /* NULL is allowed. */

/* As features_extract; m may be NULL. */
void features_memo_extract(struct features_memo *m, const struct features_hasher *hasher,
                           uint64_t owner, const struct features_input *input,
                           struct features *out_features);
/* Calls that were there already. */
uint64_t features_memo_hits(const struct features_memo *m);

#endif

/* reply.h: what a simulated model says, word by word, and the JSON around it. Pure. */
#ifndef STEELYARD_DEPLOY_SIMULATOR_REPLY_H
#define STEELYARD_DEPLOY_SIMULATOR_REPLY_H

#include "common/base/buf.h"
#include "deploy/simulator/models.h"

#define REPLY_WORDS_MAX   160U
#define REPLY_TOKENS_MAX  100000U
#define REPLY_CHOICES_MAX 8
#define REPLY_FINGERPRINT "steelyard-simulator"

/* One word is one token. Each piece holds its own leading space or line end. */
struct reply {
    const char *model;
    char id[40];
    int64_t created_s;
    char text[4096];
    uint16_t word_end[REPLY_WORDS_MAX]; /* Offset behind word i. */
    unsigned words;
    bool cut_by_limit; /* finish_reason "length". */
    uint32_t tokens_in;
    bool with_usage;
    uint32_t choices; /* All say the same. */
    uint32_t machine; /* That says it made this. */
};

/* max_tokens 0: no limit. prompt_bytes: of all messages. */
void reply_compose(const struct sim_model *m, const struct sim_reply *answer, uint32_t max_tokens,
                   uint32_t tokens_in, uint64_t number, struct reply *out);
struct str reply_words(const struct reply *r, unsigned from, unsigned to);

/* Append to out. A chunk a choice for this word; the first also name the role. */
int reply_write_whole(const struct reply *r, struct buf *out) MUST_CHECK;
int reply_write_chunks(const struct reply *r, unsigned word, bool usage_null,
                       struct buf *out) MUST_CHECK;
int reply_write_finish(const struct reply *r, bool include_usage, struct buf *out) MUST_CHECK;
int reply_write_error(const char *type, const char *code, const char *message,
                      struct buf *out) MUST_CHECK;
int reply_write_models(struct buf *out) MUST_CHECK;

#endif

/* words.h: short words that every control plane hears within seconds, over etcd: also while
 * Postgres is away, when nothing else reaches from one replica to another. A word is a key under
 * ETCD_WORDS with a lease of its own, so it is gone after ttl_s; each replica reads those that came
 * since it last read, and the ones that are still there when it starts.
 *
 * A word is no record and no order: who hears one decides what is true by what it finds in Postgres
 * (an abort: the row of that rollout, whose id is never used again). The first word of a name
 * stays. Loop thread. */
#ifndef STEELYARD_CONTROLPLANE_LEADER_WORDS_H
#define STEELYARD_CONTROLPLANE_LEADER_WORDS_H

#include "controlplane/leader/etcd.h"

#define ETCD_WORDS        "/steelyard/words/"
#define WORDS_MAX         64U /* That wait to be said; as many are read at a time. */
#define WORDS_NAME_BYTES  64U
#define WORDS_VALUE_BYTES 4096U

struct words;
struct words_config {
    struct etcd_config etcd;
    uint32_t poll_ms;   /* 0: 1 s. */
    uint32_t ttl_s;     /* 0: 600. */
    uint32_t answer_ms; /* 0: 2 s; an answer that takes longer is none. */
    /* Once a word, one's own too; again after a restart, and when etcd lost its data. Borrowed. */
    void (*on_word)(void *arg, struct str name, struct str value);
    void *arg;
};
int words_create(uv_loop_t *loop, const struct words_config *config, struct words **out_words,
                 struct err *err) MUST_CHECK;
/* What was not said yet is not said any more. */
void words_close(struct words *w, void (*cb)(void *arg), void *arg);
/* name: lower-case letters, digits, '-' and '/'. Copies; said at once, and tried again until etcd
 * has it or ttl_s are over. ERR_LIMIT: too many wait; ERR_INVALID. */
int words_say(struct words *w, struct str name, struct str value) MUST_CHECK;
size_t words_waiting(const struct words *w);

/* --- what goes over the wire; pure --- */

struct words_heard {
    int64_t revision; /* Of etcd, when it answered. */
    size_t count;
    struct {
        int64_t created;
        char name[WORDS_NAME_BYTES];
        char value[WORDS_VALUE_BYTES];
    } word[WORDS_MAX];
};
int words_put_question(struct str name, struct str value, int64_t lease,
                       struct buf *out_body) MUST_CHECK;
int words_list_question(int64_t since, struct buf *out_body) MUST_CHECK;
/* What is no word of ours is left out. ERR_PROTOCOL: not an answer. */
int words_list_answer(unsigned http_status, struct str body, struct words_heard *out) MUST_CHECK;

#endif

/* etcd.h: a client of etcd's v3 JSON gateway, as much as elections and words need: lease grant,
 * keep-alive and revoke, a transaction, a range. Several endpoints: one that does not answer is
 * followed by the next. Loop thread. */
#ifndef STEELYARD_CONTROLPLANE_LEADER_ETCD_H
#define STEELYARD_CONTROLPLANE_LEADER_ETCD_H

#include <jansson.h>
#include <uv.h>

#include "controlplane/leader/election.h"

#define ETCD_ENDPOINTS_MAX 16U
#define ETCD_PREFIX        "/steelyard/leader/"
#define ETCD_KEYS_MAX      256U /* Of all candidates of all roles. */

struct etcd;
struct etcd_config {
    const char *endpoints; /* "http://127.0.0.1:2379,https://..." */
    const char *ca_file;   /* PEM; NULL: the system's. */
    const char *cert_file; /* Both or neither. */
    const char *key_file;
};
int etcd_create(uv_loop_t *loop, const struct etcd_config *config, struct etcd **out_etcd,
                struct err *err) MUST_CHECK;
/* What runs ends first, each with its callback. */
void etcd_close(struct etcd *e, void (*cb)(void *arg), void *arg);

/* Exactly one callback, later. The answer is borrowed. */
typedef void (*etcd_cb)(void *arg, const struct election_op *op,
                        const struct election_answer *answer);
/* value: what our keys hold, for people. */
int etcd_ask(struct etcd *e, const struct election_op *op, uint32_t ttl_s, const char *value,
             uint32_t answer_ms, etcd_cb cb, void *arg) MUST_CHECK;
/* Gives a lease back; the callback's answer is of no interest. */
int etcd_revoke(struct etcd *e, int64_t lease, uint32_t answer_ms, etcd_cb cb,
                void *arg) MUST_CHECK;

/* Any call of the gateway. Exactly one callback, later; status not 0: no answer. Borrowed. */
typedef void (*etcd_post_cb)(void *arg, int status, unsigned http_status, struct str body);
int etcd_post(struct etcd *e, const char *path, struct str body, uint32_t answer_ms,
              etcd_post_cb cb, void *arg) MUST_CHECK;

struct etcd_stats {
    uint64_t asked;
    uint64_t failed; /* No answer, or one of no use. */
};
struct etcd_stats etcd_stats(const struct etcd *e);

/* --- what goes over the wire; pure, in etcd_text.c --- */

/* int64 are text or numbers there, and left out when 0. False: something else is there. */
bool etcd_read_i64(const json_t *object, const char *name, int64_t *out);
/* The path and the JSON body of a question. */
int etcd_question(const struct election_op *op, uint32_t ttl_s, const char *value,
                  const char **out_path, struct buf *out_body) MUST_CHECK;
/* Reads the JSON of an answer; keys has room for ETCD_KEYS_MAX and is what out_answer points to.
 * Anything unexpected is a status: ERR_PROTOCOL. */
void etcd_answer(enum election_ask ask, unsigned http_status, struct str body,
                 struct election_key *keys, struct election_answer *out_answer);

#endif

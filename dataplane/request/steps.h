/* steps.h: the steps of a request, in order. Each is one .c file and writes only its own members of
 * struct request. Which of them a path takes is in paths.c. */
#ifndef STEELYARD_DATAPLANE_REQUEST_STEPS_H
#define STEELYARD_DATAPLANE_REQUEST_STEPS_H

#include "dataplane/request/request.h"

/* Identity and the pinned view. Comes first: nothing of a stranger's body is read. */
enum step_result step_authenticate(struct request *r);
enum step_result step_receive(struct request *r);   /* Waits for the body. */
enum step_result step_parse(struct request *r);     /* call and steering headers. */
enum step_result step_admit(struct request *r);     /* Capacity: memory, draining, spool. */
enum step_result step_featurize(struct request *r); /* features */
enum step_result step_decide(struct request *r);    /* decision: candidates, choice, propensity. */
enum step_result step_reserve(struct request *r);   /* The intent is on disk. */
enum step_result step_attempt(struct request *r);   /* A reply whose content is there. */
enum step_result step_relay(struct request *r);     /* Bytes to the client. */
enum step_result step_account(struct request *r);   /* Cost of all attempts. */
enum step_result step_report(struct request *r);    /* The record, then the terminal bytes. */

/* report.c: the answer, or its end, before the record that `report` will write (hedge.h). */
void report_answer(struct request *r);

enum step_result step_models(struct request *r);     /* GET /v1/models[/{id}] */
enum step_result step_generation(struct request *r); /* GET /v1/generation?id= */
enum step_result step_key(struct request *r);        /* GET /v1/key */
enum step_result step_feedback(struct request *r);   /* POST /v1/feedback */
enum step_result step_count(struct request *r);   /* Count of tokens: who is asked, or our own. */
enum step_result step_explain(struct request *r); /* POST /v1/decision: answers the decision. */

/* A path of the API; every one is registered with its steps, so none goes without authentication.
 */
struct request_path {
    struct str path; /* After the prefix; "/v1/chat/completions". */
    bool takes_rest; /* One more segment may follow. */
    enum http1_method method;
    struct str endpoint;  /* "chat.completions" */
    enum dialect dialect; /* That is spoken there. */
    bool any_dialect;     /* It is as the head says (dialect_of_head). */
    /* Static: "/openai" and "/anthropic" before it and "/" behind; .data NULL: none. */
    struct str spelled[2];
    /* How its bodies are read where they are no dialogue; NULL: by the dialect's own adapter. */
    const struct provider_adapter *adapter;
    uint32_t serves;      /* With adapter: enum host_serves; 0: hosts of the dialect do. */
    bool free;            /* Nobody pays for it. */
    bool input_only;      /* Nothing is written: only input is paid for. */
    bool takes_call;      /* The body is a call: JSON, read by `parse`. */
    bool asks_only;       /* A decision without a choice is an answer too. */
    const step_fn *steps; /* NULL-terminated; account and report are its last two. */
};
/* NULL: unknown. *out_fault says whether path or method is. */
const struct request_path *request_path_find(const struct http1_head *head, struct str *out_rest,
                                             enum fault *out_fault);
/* The path as it was sent: a part of the static text where that spells it, else raw itself. */
struct str request_path_text(const struct request_path *p, struct str raw);
/* Steps of what is refused before its path is known. */
extern const struct request_path request_path_none;
/* Where its account and report begin. */
unsigned request_tail(const struct request_path *path);
/* Gives everything back; the client's done() is the last call. */
void request_end(struct request *r);
/* Reads the calls of this request and passes its replies. */
static inline const struct provider_adapter *request_adapter(const struct request *r)
{
    return r->path->adapter != NULL ? r->path->adapter : provider_find_dialect(r->dialect);
}

/* driver.c: what drives requests, as a part of env. */
void driver_init(struct request_env *env);
void driver_close(struct request_env *env);

#endif

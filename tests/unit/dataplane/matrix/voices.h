/* voices.h: what callers of each dialect ask and what providers of each dialect say, by the frame,
 * so that tests can spoil any of it. A provider's dialect that the node does not speak is left out
 * (voice_spoken); a new one is one row more. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_MATRIX_VOICES_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_MATRIX_VOICES_H

#include "common/base/buf.h"
#include "common/hosts/hosts.h"
#include "tests/unit/dataplane/node/rig.h"

/* What a rig's process may use: ten thousand are started, and AddressSanitizer marks every byte of
 * their tables twice. */
#define VOICES_NODE_MEMORY (UINT64_C(64) << 20)

/* ---- callers ---- */

struct caller {
    enum dialect dialect;
    const char *name;
    const char *head;         /* Without Content-Length. */
    const char *before_model; /* The body: before the model's name, behind it, and its end. */
    const char *ask;
    const char *stream; /* Instead of "}" where a stream is wanted. */
    const char *end;    /* What a good stream ends with, and nothing else holds. */
    const char *mark;   /* What a broken one holds, and nothing else. */
};
extern const struct caller callers[DIALECT_CALLERS];

/* Connects, asks, waits for the answer's end. */
void caller_ask(struct rig *r, const struct caller *c, const char *model, bool stream,
                struct rig_answer *out);
bool caller_ended(const struct caller *c, const struct rig_answer *a);
bool caller_marked(const struct caller *c, const struct rig_answer *a);

/* ---- providers ---- */

/* In a voice's texts @I stands for the tokens in, @O for those out, @S and @U for its usage. */
struct voice_frame {
    const char *name; /* NULL: none. */
    const char *data;
};
#define VOICE_FRAMES_MAX 40
struct voice_speech {
    struct voice_frame frames[VOICE_FRAMES_MAX];
    size_t content; /* The first frame that a caller would read. */
    size_t finish;  /* The first one that ends it. */
    size_t count;
};
struct voice {
    enum dialect dialect;
    const char *name;
    const char *host;  /* The provider's type. */
    const char *model; /* There. */
    const char *type;  /* Content-Type of a stream. */
    const char *usage; /* @U. */
    const char *first; /* @S: what the first frame says; NULL: nothing. */
    const char *whole; /* "hello", as one body. */
    struct voice_speech hello;
    struct voice_speech rich;        /* Reasoning, text, two calls, usage. */
    struct voice_frame error, limit; /* Under 200; data NULL: the dialect has none. */
    const char *refusal;             /* Body of a 400. */
    const char *denial;              /* Body of a 401. */
    const char *limited;             /* Body of a 429. */
    const char *failure;             /* Body of a 500. */
};
extern const struct voice voices[DIALECTS];
bool voice_spoken(const struct voice *v); /* The node asks providers of this dialect. */

/* What is said of the tokens. */
struct voice_usage {
    const char *in, *out; /* JSON values; in NULL: nothing is said. */
};
#define VOICE_USAGE ((struct voice_usage){"10", "5"})

void voice_put_text(const struct voice *v, const char *text, struct voice_usage usage,
                    struct buf *out);
void voice_put_frame(const struct voice *v, const struct voice_frame *frame,
                     struct voice_usage usage, struct buf *out);
void voice_put_frames(const struct voice *v, const struct voice_speech *speech, size_t from,
                      size_t to, struct voice_usage usage, struct buf *out);

#endif

/* harms.h: every way in which a provider misbehaves (RELIABILITY B32-B41, F12, F18), as bytes that
 * it sends, and what has to come of each: what the caller gets, whether another deployment is
 * tried, what the record says. docs/misbehaviour.md is this table. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_MATRIX_HARMS_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_MATRIX_HARMS_H

#include "tests/unit/dataplane/matrix/voices.h"

/* What a provider does instead of answering well. */
/* How long a provider that says nothing is waited for; on a busy machine more may be needed. */
extern unsigned harm_patience_ms;

struct harm_act {
    struct buf bytes;
    enum rig_then then;
    struct rig_options options; /* types, small_there are the scene's. */
};

struct harm_scene {
    const struct voice *voice;
    bool stream;
    const char *word; /* The harm's own. */
};

/* What has to come of it where there is nobody else to ask. */
struct verdict {
    const char *client; /* "200 complete", "200 marked", or a status and our code, or its words. */
    bool next;          /* Another deployment is tried if there is one. */
    const char *reason; /* Of the attempt, as telemetry.proto names it in lower case. */
    unsigned status;    /* That came. */
    const char *usage;  /* Whose counts are billed. */
    const char *flags;  /* "", "estimated", "suspect". */
    unsigned cooled_s;  /* The deployment is left alone so long. */
};

enum harm_place {
    HARM_ANYWHERE,
    HARM_WIRE, /* Of HTTP or TLS itself: tried with both transports. */
    HARM_SSE,  /* Only where frames are server-sent events. */
};

struct harm {
    const char *row;  /* "B32" */
    const char *what; /* "closes before it says anything" */
    enum harm_place place;
    /* False: there is no such thing in this scene. */
    bool (*act)(const struct harm_scene *s, struct harm_act *out);
    const char *word;
    struct verdict whole, stream; /* client NULL: not tried so. */
    /* Where it is otherwise: "passed" (the caller's own dialect) or some providers'; NULL: nowhere. */
    const char *odd;
    struct verdict odd_whole, odd_stream;
};
extern const struct harm harms[];
extern const size_t harm_count;

#endif

/* exchange_internal.h: what the two files of the exchange share. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_EXCHANGE_INTERNAL_H
#define STEELYARD_DATAPLANE_TRANSLATE_EXCHANGE_INTERNAL_H

#include "dataplane/translate/collect.h"
#include "dataplane/translate/custom.h"
#include "dataplane/translate/exchange.h"

#define EXCHANGE_ECHO_BYTES_MAX 24576U
#define EXCHANGE_MESSAGE_BYTES  1024U
#define EXCHANGE_CODE_BYTES     128U
#define EXCHANGE_CUSTOMS_MAX    128U

/* What one of the answers of a reply has had. */
struct exchange_choice {
    uint32_t calls;       /* That were passed on. */
    uint32_t first_call;  /* Index of the first one ... */
    uint32_t answer_call; /* ... and of the call whose arguments are the text. */
    bool has_call;
    bool has_answer;
    bool content;
    bool finished;
    bool hid; /* Reasoning was left out: so is what signs it. */
};

struct exchange_custom {
    uint32_t choice, call_index;
    struct tr_custom_input input;
};

struct tr_exchange {
    const struct tr_caller_dialect *caller;
    const struct tr_provider_dialect *provider;
    struct tr_target target;
    struct tr_print print;
    struct tr_terms terms;
    struct buf echo;
    uint32_t tokens_in;
    bool stream;
    void *caller_state, *provider_state, *frames_state;
    /* The reply. */
    struct exchange_choice choices[CALL_CHOICES_MAX];
    bool started;
    bool failed; /* An error came: what follows is not looked at. */
    bool broken; /* Frames cannot be read any more. */
    struct tr_error error;
    char message[EXCHANGE_MESSAGE_BYTES];
    char code[EXCHANGE_CODE_BYTES];
    uint8_t id_key[16];
    /* Calls of functions that stand for custom tools, as they come. */
    struct exchange_custom *customs; /* EXCHANGE_CUSTOMS_MAX, made with the first one. */
    uint32_t custom_count;
    struct buf custom_text; /* Of the piece at hand. */
    bool hides_reasoning;
};

/* Where the events of one frame, or of one reply, go. */
struct exchange_flow {
    struct tr_exchange *x;
    struct provider_reply *reply;
    struct buf *out;            /* A stream's; else NULL ... */
    struct tr_collect *collect; /* ... and events are collected. */
    unsigned kinds;             /* Bits of enum provider_event. */
};
#define EXCHANGE_KIND(kind) (1U << (unsigned)(kind))

/* A sink's put, with a struct exchange_flow: what every reply needs, whoever wrote it. */
int exchange_put(void *arg, const struct tr_event *event);

#endif

/* provider.h: the table of adapters: how a dialect is asked, and what its replies say. Rule 0 holds
 * where caller and provider speak the same one: the caller's bytes go up, and the provider's come
 * down, except where a span is replaced. Pure: bytes in, facts and spans out. */
#ifndef STEELYARD_DATAPLANE_LLM_PROVIDER_H
#define STEELYARD_DATAPLANE_LLM_PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/hosts/hosts.h"
#include "common/json/json.h"
#include "common/net/sse.h"
#include "dataplane/llm/call.h"
#include "dataplane/llm/print.h"

#define PROVIDER_REQUEST_PIECES_MAX 10
#define PROVIDER_REPLY_PIECES_MAX   8

/* Why a caller's body was refused. */
enum call_defect {
    CALL_OK,
    CALL_BAD_JSON,  /* offset says where. */
    CALL_BAD_FIELD, /* param says which. */
    CALL_MISSING_FIELD,
    CALL_FORBIDDEN_FIELD,
    CALL_NO_MEMORY
};
struct call_refusal {
    enum call_defect defect;
    int64_t offset;      /* Of the body, or -1. */
    struct str param;    /* "messages[2].content": made here, safe to print. STR_NULL: none. */
    const char *message; /* Static; NULL: the defect's own. */
    bool not_kept;       /* It refers to what a gateway printed, and may have. */
};

struct openai_shapes;

/* Of a stream of the Responses dialect, for the event that says it broke (responses.h). */
#define PROVIDER_RESPONSE_ID_MAX 95
struct responses_seen {
    uint64_t next;     /* Sequence number that is due. */
    int64_t created_s; /* 0: not said. */
    uint8_t id_len;
    char id[PROVIDER_RESPONSE_ID_MAX];
};

/* What a reply has said so far; one per attempt, re-used. */
struct provider_reply {
    struct sse_reader sse;
    bool sse_ready : 1;
    bool content : 1;  /* Something a caller would read has come. */
    bool done : 1;     /* The dialect's end mark. */
    bool anything : 1; /* Any event with data. */
    uint8_t shape;     /* Of the last content, among ... */
    enum call_finish finish;
    struct openai_shapes *shapes; /* ... those of the worker; NULL: none are kept. */
    uint64_t print;               /* What it says that made it; 0: nothing yet. */
    struct call_usage usage;
    uint64_t text_q8; /* Estimated tokens of the content seen, in 1/256. */
    uint64_t content_bytes;
    /* What ends a good stream, as the caller gets it: it is held back until the record is written.
     * Empty: the adapter's end_mark. */
    struct buf end;
    struct responses_seen *responses; /* Owned; made by the first event of that dialect. */
};
#define PROVIDER_END_BYTES_MAX (16U << 20) /* response.completed repeats the whole answer. */
void provider_reply_reset(struct provider_reply *reply);
void provider_reply_deinit(struct provider_reply *reply);
/* What it says that made it; the last that says anything counts. Returns the print of these two, or
 * 0. */
uint64_t provider_reply_print(struct provider_reply *reply, struct str model, struct str system);

enum provider_event {
    PROVIDER_SILENT,  /* Comment or nothing: need not be relayed. */
    PROVIDER_OPEN,    /* A frame before content: role and such. */
    PROVIDER_CONTENT, /* Content, or the finish. */
    PROVIDER_USAGE,   /* Usage alone. */
    PROVIDER_DONE,    /* The end mark; not to be relayed as it is. */
    PROVIDER_ERROR,   /* An error object in the stream. */
    PROVIDER_BAD      /* Not what the dialect allows. */
};

/* How replies are changed on the way to the caller. */
struct provider_rewrite {
    struct str model; /* The id that is answered. */
    bool model_plain; /* As str_is_plain says. */
    bool want_usage;  /* The caller gets the usage-only event. */
    /* A member to add to the usage object of an event, given what it says: "steelyard":{...}; may
     * be NULL, and may answer with len 0. */
    struct str (*usage_member)(void *arg, const struct call_usage *usage);
    void *arg;
};

/* What the caller gets of one read of a stream: spans of the provider's bytes and of what replaces
 * some of them, in order; neighbours are one. Spans stay where they are until it is sent, unless
 * there are too many of them or one cannot stay: then all are gathered in a buffer. */
#define PROVIDER_OUT_PIECES 12
struct provider_out {
    struct str room[PROVIDER_OUT_PIECES + 2]; /* Pieces from the second place on: who sends them may
                                               * put something in front and behind. */
    size_t count;
    size_t bytes;
    struct buf *gathered; /* The owner's. */
    bool gathering;       /* room is not used; all is in there. */
    struct str error;     /* Data of the event that was PROVIDER_ERROR, until the next read. */
};
void provider_out_start(struct provider_out *out, struct buf *gathered);     /* Clears it. */
int provider_out_copy(struct provider_out *out, struct str span) MUST_CHECK; /* Private. */
static inline MUST_CHECK int provider_out_add(struct provider_out *out, struct str span)
{
    if (out->gathering || out->count == PROVIDER_OUT_PIECES)
        return provider_out_copy(out, span);
    struct str *next = &out->room[out->count + 1];
    if (out->count > 0 && next[-1].data + next[-1].len == span.data)
        next[-1].len += span.len;
    else if (span.len > 0) {
        *next = span;
        out->count++;
    }
    out->bytes += span.len;
    return 0;
}
/* What is added so far is copied, and so is all that follows. */
int provider_out_gather(struct provider_out *out) MUST_CHECK;

struct provider_adapter {
    enum dialect dialect; /* One that callers speak. */
    struct str chat_path; /* After the provider's prefix. */
    /* json is scratch: nothing in it is needed afterwards.
     * Reads a caller's body. out_call borrows from body and arena. 0, or ERR_INVALID with
     * *out_refusal filled (CALL_NO_MEMORY: ERR_NOMEM). */
    int (*read_call)(struct json *json, struct str body, struct arena *arena, struct call *out_call,
                     struct call_refusal *out_refusal);
    /* The body for a provider as pieces of the caller's, of the arena and of upstream_model, which
     * may be empty for the dialect of Messages: the address says it. */
    int (*write_call)(const struct call *call, struct str body, struct str upstream_model,
                      struct arena *arena, struct str *out_pieces, size_t *out_count);
    /* A body that goes up while it comes (openai_part.c): its first bytes, with the model renamed;
     * the last piece ends at `end` of the body and may be made longer. NULL, as write_rest and
     * part_end then are: no body of this dialect goes early. */
    int (*write_part)(const struct call *call, struct str body, size_t end,
                      struct str upstream_model, struct arena *arena, struct str *out_pieces,
                      size_t *out_count);
    /* ... and what follows those, once the call is known: so long that the whole has part_pad bytes
     * more than the caller's (beside the model's name). */
    void (*write_rest)(const struct call *call, struct str body, size_t from,
                       struct str *out_pieces, size_t *out_count);
    /* ... how far of a body whose scan is under way may go before that. */
    size_t (*part_end)(const struct json *json);
    size_t part_pad;
    /* One event of a stream: notes what it says in reply and adds what the caller gets to out
     * (nothing for SILENT, DONE, ERROR, BAD and an unwanted USAGE). Where nothing must change that
     * is the event's raw bytes. ERR_NOMEM, ERR_TOO_LARGE. */
    int (*read_event)(struct json *json, struct provider_reply *reply,
                      const struct sse_event *event, const struct provider_rewrite *rewrite,
                      struct provider_out *out, enum provider_event *out_kind);
    /* Takes an event off the front of the input if it is whole and looks like content that was read
     * before: 1, all noted and added to out as read_event would. 0: it is for read_event. Negative:
     * ERR_NOMEM, ERR_TOO_LARGE. NULL: there is no such way. */
    int (*read_like)(struct provider_reply *reply, struct str *io_input,
                     const struct provider_rewrite *rewrite, struct provider_out *out);
    /* A whole reply. Pieces point into body and arena. ERR_PROTOCOL: no such reply. */
    int (*read_reply)(struct json *json, struct provider_reply *reply, struct str body,
                      const struct provider_rewrite *rewrite, struct arena *arena,
                      struct str *out_pieces, size_t *out_count);
    /* The end mark as the caller gets it, where a reply has no end of its own. */
    struct str end_mark;
    struct str keepalive;   /* A frame that says nothing. */
    size_t event_bytes_max; /* Of one event; 0: SSE_EVENT_BYTES_MAX. */
};

/* One event off the front of a piece of a stream; false: the piece is used up, or the reader's
 * status says why not. What is wrong with an event, or with us, makes it PROVIDER_BAD. */
bool provider_read_next(const struct provider_adapter *adapter, struct json *json,
                        struct provider_reply *reply, struct str *io_input,
                        const struct provider_rewrite *rewrite, struct provider_out *out,
                        enum provider_event *out_kind);

/* By what caller and provider both speak; NULL: nothing passes in that dialect. */
const struct provider_adapter *provider_find_dialect(enum dialect dialect);

/* Counts that cannot be true are marked and replaced by our own (RELIABILITY B38). */
void provider_usage_check(struct call_usage *usage, uint32_t tokens_in_estimate,
                          uint64_t text_q8_seen, uint64_t content_bytes_seen);

#endif

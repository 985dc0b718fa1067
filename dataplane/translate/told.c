#include "dataplane/translate/told.h"

#include "common/base/mem.h"
#include "dataplane/translate/dialects.h"

struct ear {
    struct tr_told *out;
    bool heard;
};

static int hear(void *arg, const struct tr_event *event)
{
    struct ear *e = arg;
    if (event->kind != TR_EVENT_ERROR)
        return 0;
    *e->out = (struct tr_told){.kind = event->error.kind, .wait_ms = event->error.wait_ms};
    e->heard = true;
    return 0;
}

bool tr_told_in_event(enum dialect provider, struct json *json, struct str data,
                      struct tr_told *out)
{
    const struct tr_provider_dialect *p = tr_provider_find(provider);
    const struct tr_frame frame = {.data = data};
    struct ear ear = {.out = out};
    const struct tr_sink sink = {hear, &ear};
    if (p == NULL || data.len == 0)
        return false;
    void *state = mem_zalloc(p->state_bytes); /* Rare, and gone at once. */
    if (state == NULL)
        return false;
    int rc = p->read_frame(state, json, &frame, &sink);
    if (p->end != NULL)
        p->end(state);
    mem_free(state);
    return rc == 0 && ear.heard;
}

bool tr_told_in_reply(enum dialect provider, struct json *json, struct str body,
                      struct tr_told *out)
{
    const struct tr_provider_dialect *p = tr_provider_find(provider);
    struct ear ear = {.out = out};
    const struct tr_sink sink = {hear, &ear};
    return p != NULL && p->read_reply(json, body, &sink) == 0 && ear.heard;
}

/* Intents without an outcome, and what becomes of them. */
#include <stdlib.h>
#include <string.h>

#include "common/base/checked.h"
#include "common/base/mem.h"
#include "common/link/wire.h"
#include "dataplane/telemetry/spool_recover_internal.h"
#include "telemetry.pb-c.h"

typedef Steelyard__Telemetry__V1__Decision Decision;
typedef Steelyard__Telemetry__V1__Attempt Attempt;

/* ---- open intents ---- */

struct recovery_intent *recovery_find(struct recovery *r, uint64_t id)
{
    LIST_FOREACH (it, &r->open[id % 256]) {
        struct recovery_intent *o = container_of(it, struct recovery_intent, link);
        if (o->id == id)
            return o;
    }
    return NULL;
}

void recovery_close(struct recovery *r, struct recovery_intent *o)
{
    list_remove(&o->link);
    buf_deinit(&o->decision);
    buf_deinit(&o->attempts);
    mem_free(o);
    r->open_count--;
}

void recovery_close_all(struct recovery *r)
{
    for (int i = 0; i < 256; i++)
        while (!list_empty(&r->open[i]))
            recovery_close(r, container_of(r->open[i].next, struct recovery_intent, link));
}

int recovery_on_intent(struct recovery *r, uint64_t id, struct str payload)
{
    struct recovery_intent *o = recovery_find(r, id);
    if (o == NULL) {
        o = mem_zalloc(sizeof(*o));
        if (o == NULL)
            return ERR_NOMEM;
        o->id = id;
        buf_init(&o->decision, SPOOL_PAYLOAD_MAX);
        buf_init(&o->attempts, (size_t)RECORD_ATTEMPTS_MAX * 4096);
        list_push_back(&r->open[id % 256], &o->link);
        r->open_count++;
    }
    /* A copy at the start of a newer segment brings its attempts along. */
    buf_clear(&o->decision);
    buf_clear(&o->attempts);
    return buf_append_str(&o->decision, payload);
}

static bool attempt_known(const struct recovery_intent *o, struct str payload)
{
    size_t at = 0;
    while (at + 4 <= o->attempts.len) {
        uint32_t len;
        memcpy(&len, o->attempts.data + at, 4);
        struct str one = {.data = o->attempts.data + at + 4, .len = len};
        if (str_eq(one, payload))
            return true;
        at += 4 + len;
    }
    return false;
}

int recovery_on_attempt(struct recovery *r, uint64_t id, struct str payload)
{
    struct recovery_intent *o = recovery_find(r, id);
    if (o == NULL || attempt_known(o, payload))
        return 0;
    uint32_t len = (uint32_t)payload.len;
    size_t before = o->attempts.len;
    int rc = buf_append(&o->attempts, &len, 4);
    if (rc == 0)
        rc = buf_append_str(&o->attempts, payload);
    if (rc == ERR_TOO_LARGE) {
        o->attempts.len = before; /* More than a request may have: the first ones tell enough. */
        rc = 0;
    }
    return rc;
}

/* ---- NODE_CRASH records ---- */

static int add_attempts(Decision *d, const struct recovery_intent *o)
{
    size_t at = 0;
    while (at + 4 <= o->attempts.len && d->n_attempt < RECORD_ATTEMPTS_MAX) {
        uint32_t len;
        memcpy(&len, o->attempts.data + at, 4);
        struct str payload = {.data = o->attempts.data + at + 4, .len = len};
        at += 4 + len;
        if (payload.len < 2)
            continue;
        size_t server_len = (size_t)(uint8_t)payload.data[0] | (size_t)(uint8_t)payload.data[1]
                                                                   << 8;
        if (payload.len < 2 + server_len)
            continue;
        ProtobufCMessage *m = NULL;
        int rc = wire_unpack(&steelyard__telemetry__v1__attempt__descriptor,
                             str_slice(payload, 2 + server_len, payload.len), &m);
        if (rc != 0)
            continue;
        /* Arrays of the unpacked decision come from mem_alloc: growing them is fine. */
        Attempt **attempts = mem_realloc(d->attempt, (d->n_attempt + 1) * sizeof(*attempts));
        char **servers = NULL;
        if (attempts != NULL) {
            d->attempt = attempts;
            servers = mem_realloc(d->servers, (d->n_servers + 1) * sizeof(*servers));
        }
        char *server = servers != NULL ? mem_strndup(payload.data + 2, server_len) : NULL;
        if (servers != NULL)
            d->servers = servers;
        if (server == NULL) {
            wire_free(m);
            return ERR_NOMEM;
        }
        Attempt *attempt = (Attempt *)m;
        attempt->endpoint = (uint32_t)d->n_servers;
        d->servers[d->n_servers++] = server;
        d->attempt[d->n_attempt++] = attempt;
    }
    return 0;
}

/* What was reserved counts as spent, for each attempt and in all, as it does in the budgets' own
 * counters (dataplane/budget). */
static int64_t spend_reserved(Decision *d)
{
    int64_t sum = 0;
    for (size_t i = 0; i < d->n_attempt; i++) {
        Attempt *a = d->attempt[i];
        a->cost = a->reserved;
        if (a->reserved != 0 && a->usage == STEELYARD__TELEMETRY__V1__USAGE_SOURCE__USAGE_NONE)
            a->usage = STEELYARD__TELEMETRY__V1__USAGE_SOURCE__USAGE_ESTIMATED;
        if (!checked_add(sum, a->reserved, &sum))
            sum = INT64_MAX;
    }
    return sum > d->reserved ? sum : d->reserved;
}

/* The intent as a record. */
static int crash_record(const struct recovery_intent *o, uint64_t seq, struct buf *out)
{
    ProtobufCMessage *m = NULL;
    int rc =
        wire_unpack(&steelyard__telemetry__v1__decision__descriptor, buf_str(&o->decision), &m);
    if (rc != 0)
        return rc;
    Decision *d = (Decision *)m;
    rc = add_attempts(d, o);
    if (rc == 0) {
        for (size_t i = 0; i < d->n_attempt; i++)
            if (d->attempt[i]->total_ms == 0 && d->attempt[i]->status == 0)
                d->attempt[i]->reason =
                    STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_NODE_CRASH;
        d->status = STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_NODE_CRASH;
        d->cost = spend_reserved(d);
        d->flags |= RECORD_FLAG_USAGE_ESTIMATED;
        Steelyard__Telemetry__V1__Record record = STEELYARD__TELEMETRY__V1__RECORD__INIT;
        record.body_case = STEELYARD__TELEMETRY__V1__RECORD__BODY_DECISION;
        record.decision = d;
        size_t start = out->len;
        uint8_t head[SPOOL_FRAME_BYTES + SPOOL_RECORD_PREFIX_BYTES] = {0};
        spool_put_u64(head + SPOOL_FRAME_BYTES, o->id);
        rc = buf_append(out, head, sizeof(head));
        if (rc == 0)
            rc = wire_pack(&record.base, out);
        size_t payload = out->len - start - SPOOL_FRAME_BYTES;
        if (rc == 0 && payload > SPOOL_PAYLOAD_MAX)
            rc = ERR_TOO_LARGE;
        if (rc == 0)
            spool_frame_head((uint8_t *)out->data + start, SPOOL_RECORD, seq, payload);
        else
            out->len = start;
    }
    wire_free(m);
    return rc;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = (*(struct recovery_intent *const *)a)->id;
    uint64_t y = (*(struct recovery_intent *const *)b)->id;
    return x < y ? -1 : x > y;
}

int recovery_crash_all(struct recovery *r)
{
    if (r->open_count == 0)
        return 0;
    struct recovery_intent **sorted = mem_calloc(r->open_count, sizeof(*sorted));
    if (sorted == NULL)
        return ERR_NOMEM;
    size_t n = 0;
    for (int i = 0; i < 256; i++)
        LIST_FOREACH (it, &r->open[i])
            sorted[n++] = container_of(it, struct recovery_intent, link);
    qsort(sorted, n, sizeof(struct recovery_intent *), compare_ids);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = crash_record(sorted[i], r->next_seq, &r->records);
        if (rc == 0) {
            r->next_seq++;
            r->record_count++;
            r->stats->crashed++;
        } else if (rc == ERR_CORRUPT || rc == ERR_TOO_LARGE) {
            r->stats->quarantined++; /* A good checksum around what nobody can read. */
            rc = 0;
        }
    }
    mem_free(sorted);
    return rc;
}

#include "controlplane/ingest/intake_canary.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/crypto/digest.h"

#define SECOND_US INT64_C(1000000)
#define STAGE_MAX 16U

void intake_canary_salt2(uint64_t rollout_id, uint8_t out_salt2[16])
{
    static const char label[] = "steelyard cluster ";
    char text[sizeof label - 1 + 8];
    memcpy(text, label, sizeof label - 1);
    for (unsigned i = 0; i < 8; i++)
        text[sizeof label - 1 + i] = (char)(rollout_id >> (8 * i) & 0xff);
    struct sha256 sum = digest_sha256(text, sizeof text);
    memcpy(out_salt2, sum.bytes, 16);
}

unsigned intake_canary_cluster(uint64_t rollout_id, uint64_t unit)
{
    uint8_t salt2[16], bytes[8];
    intake_canary_salt2(rollout_id, salt2);
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(unit >> (8 * i));
    return (unsigned)(siphash_2_4(siphash_key_from_bytes(salt2), bytes, sizeof bytes) %
                      CANARY_CLUSTERS);
}

/* Requests of one route are compared with each other: the mix of routes may change meanwhile. */
static int16_t stratum_of(const char *route)
{
    uint32_t h = 2166136261U; /* FNV-1a: any fixed hash does. */
    for (; *route != '\0'; route++)
        h = (h ^ (uint8_t)*route) * 16777619U;
    return (int16_t)(h % CANARY_STRATA);
}

/* Was it the provider's doing? Not: what the client asked for, what the client broke off, and what
 * this node's death cut. */
static bool is_providers_fault(uint32_t reason)
{
    switch ((Steelyard__Telemetry__V1__AttemptReason)reason) {
    case STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_CONNECT:
    case STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_TLS:
    case STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_TIMEOUT:
    case STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_STATUS:
    case STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_RATE_LIMITED:
    case STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_AUTH:
    case STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_PROTOCOL:
    case STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_CUT:
    case STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_ADDRESS:
        return true;
    case STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_OK:
    case STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_CANCELLED:
    case STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_CLIENT_ERROR:
    case STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_NODE_CRASH:
    case _STEELYARD__TELEMETRY__V1__ATTEMPT_REASON_IS_INT_SIZE:
        break;
    }
    return false;
}

static bool has_failed_final(const Steelyard__Telemetry__V1__Decision *d)
{
    switch (d->status) {
    case STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_PARTIAL:
    case STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_NODE_CRASH:
        return true;
    case STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_FAILED:
        return d->http_status >= 500; /* 4xx: what was asked for could not be done. */
    case STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_UNKNOWN:
    case STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_OK:
    case STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_CANCELLED:
    case STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_DECIDED:
    case _STEELYARD__TELEMETRY__V1__DECISION_STATUS_IS_INT_SIZE:
        break;
    }
    return false;
}

unsigned intake_canary_flags(const Steelyard__Telemetry__V1__Decision *d)
{
    unsigned flags = 0;
    if (has_failed_final(d))
        flags |= OBS_ERROR | OBS_FAILED;
    for (size_t i = 0; i < d->n_attempt; i++) {
        /* A fallback hides the failure from the client; a candidate that sends traffic to a broken
         * deployment is to be seen all the same. */
        if (is_providers_fault(d->attempt[i]->reason))
            flags |= OBS_ERROR;
        if (d->attempt[i]->reason == STEELYARD__TELEMETRY__V1__ATTEMPT_REASON__ATTEMPT_TIMEOUT)
            flags |= OBS_TIMEOUT;
    }
    if (d->budget_clamp > 0)
        flags |= OBS_CLAMPED;
    if (d->status == STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_OK)
        flags |= OBS_SERVED;
    if (d->shadow != NULL) {
        flags |= OBS_SHADOWED;
        if (d->shadow->chosen != d->chosen + 1)
            flags |= OBS_DIFFERS;
    }
    return flags;
}

static void copy_i64_or_null(struct pq_copy *c, int64_t value)
{
    if (value < 0)
        pq_copy_null(c);
    else
        pq_copy_i64(c, value);
}

void intake_canary_add(struct pq_copy *copy, const Steelyard__Telemetry__V1__Decision *d)
{
    const Steelyard__Telemetry__V1__Cand *chosen =
        d->chosen < d->n_cand ? d->cand[d->chosen] : NULL;
    int64_t now = clock_wall_us(), tokens = 0;
    bool unpriced =
        (d->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_COST_UNKNOWN) != 0 || d->cost < 0;
    for (size_t i = 0; i < d->n_attempt; i++)
        tokens += d->attempt[i]->out;
    pq_copy_row(copy, 19);
    pq_copy_time_us(copy, now - now % SECOND_US);
    pq_copy_i64(copy, (int64_t)d->rollout_id);
    pq_copy_bytes(copy, (struct str){.data = (const char *)d->request_id.data, .len = 16});
    pq_copy_i64(copy, (int64_t)d->unit);
    pq_copy_i16(copy, (int16_t)(d->arm > 3 ? 0 : d->arm));
    /* On the wire 0 is the shadow and the first stage is 1. */
    pq_copy_i16(copy, (int16_t)((int)(d->stage > STAGE_MAX ? STAGE_MAX : d->stage) - 1));
    pq_copy_i16(copy, (int16_t)(d->slot > 9999 ? 9999 : d->slot));
    pq_copy_i16(copy, stratum_of(d->route));
    pq_copy_i16(copy, (int16_t)intake_canary_cluster(d->rollout_id, d->unit));
    pq_copy_i16(copy, (int16_t)d->status);
    pq_copy_i16(copy, (int16_t)intake_canary_flags(d));
    pq_copy_i64(copy, unpriced ? -1 : d->cost);
    pq_copy_i64(copy, d->duration_ms);
    pq_copy_i64(copy, d->ttft_ms);
    pq_copy_i64(copy, tokens);
    pq_copy_i32(copy, chosen == NULL ? 0 : (int32_t)chosen->q);
    copy_i64_or_null(copy, chosen == NULL ? -1 : chosen->cost);
    if (d->shadow == NULL || d->shadow->q > INT32_MAX)
        pq_copy_null(copy);
    else
        pq_copy_i32(copy, (int32_t)d->shadow->q);
    copy_i64_or_null(copy, d->shadow == NULL ? -1 : d->shadow->cost);
}

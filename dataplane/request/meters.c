#include "dataplane/request/meters.h"

const struct metrics_family meters_table[METER_COUNT + 1] = {
    [METER_REQUESTS] = {.name = "steelyard_requests_total",
                        .type = METRICS_COUNTER,
                        .help = "Requests answered.",
                        .labels = {"endpoint", "route", "provider", "model", "code", "stream"}},
    [METER_DURATION] = {.name = "steelyard_request_duration_seconds",
                        .type = METRICS_HISTOGRAM,
                        .help = "From the request's head to the end of the answer.",
                        .decimals = METRICS_NS_DECIMALS,
                        .labels = {"endpoint", "route", "provider", "model"},
                        .buckets = METRICS_BUCKETS_L},
    [METER_TTFT] = {.name = "steelyard_time_to_first_token_seconds",
                    .type = METRICS_HISTOGRAM,
                    .help = "From the request's head to the first content byte of a stream.",
                    .decimals = METRICS_NS_DECIMALS,
                    .labels = {"route", "provider", "model"},
                    .buckets = METRICS_BUCKETS_L},
    [METER_TPOT] = {.name = "steelyard_time_per_output_token_seconds",
                    .type = METRICS_HISTOGRAM,
                    .help = "Time between output tokens after the first.",
                    .decimals = METRICS_NS_DECIMALS,
                    .labels = {"provider", "model"},
                    .buckets = METRICS_BUCKETS_P},
    [METER_OVERHEAD] = {.name = "steelyard_overhead_seconds",
                        .type = METRICS_HISTOGRAM,
                        .help = "Time spent by the gateway itself, without waiting.",
                        .decimals = METRICS_NS_DECIMALS,
                        .labels = {"endpoint", "phase"},
                        .buckets = METRICS_BUCKETS_F},
    [METER_TOKENS] = {.name = "steelyard_tokens_total",
                      .type = METRICS_COUNTER,
                      .help = "Tokens billed, by kind.",
                      .labels = {"provider", "model", "type"}},
    [METER_COST] = {.name = "steelyard_cost_usd_total",
                    .type = METRICS_COUNTER,
                    .help = "Cost of all attempts.",
                    .decimals = 9,
                    .labels = {"route", "provider", "model"}},
    [METER_ATTEMPTS] = {.name = "steelyard_upstream_attempts_total",
                        .type = METRICS_COUNTER,
                        .help = "Tries at a deployment.",
                        .labels = {"provider", "deployment", "outcome"}},
    [METER_HEDGES] = {.name = "steelyard_hedges_total",
                      .type = METRICS_COUNTER,
                      .help = "Second attempts beside a first one that showed nothing: won (it "
                              "served), lost (another did), failed (none did); and requests for "
                              "which none began though it was due, by what was last in its way: "
                              "refused_nobody (no other deployment of the model is healthy and "
                              "has room), refused_share, refused_budget, refused_memory.",
                      .labels = {"result"}},
    [METER_CONNECT] = {.name = "steelyard_upstream_connect_seconds",
                       .type = METRICS_HISTOGRAM,
                       .help = "Resolving, connecting and TLS of new connections.",
                       .decimals = METRICS_NS_DECIMALS,
                       .labels = {"provider"},
                       .buckets = METRICS_BUCKETS_F},
    [METER_DEPLOYMENT_UP] = {.name = "steelyard_deployment_up",
                             .type = METRICS_GAUGE,
                             .help = "1 when the deployment's breaker is closed.",
                             .labels = {"provider", "deployment"}},
    [METER_COOLDOWN] = {.name = "steelyard_deployment_cooldown_seconds",
                        .type = METRICS_GAUGE,
                        .help = "Time until the deployment may be tried again.",
                        .decimals = 3,
                        .labels = {"provider", "deployment"}},
    [METER_CONCURRENCY] = {.name = "steelyard_deployment_concurrency_limit",
                           .type = METRICS_GAUGE,
                           .help = "Requests that a deployment may have under way; not there "
                                   "until it has shown that it had too many.",
                           .labels = {"provider", "deployment"}},
    [METER_EJECTED] = {.name = "steelyard_deployment_ejections_total",
                       .type = METRICS_COUNTER,
                       .help = "Times a deployment was left out for being far slower than its "
                               "peers.",
                       .labels = {"provider", "deployment"}},
    [METER_PATTERNS_GIVEN_UP] = {.name = "steelyard_condition_patterns_given_up_total",
                                 .type = METRICS_COUNTER,
                                 .help = "Requests for which a $regex was not tried to its end, "
                                         "and so did not match."},
    [METER_INFLIGHT] = {.name = "steelyard_inflight_requests",
                        .type = METRICS_GAUGE,
                        .help = "Requests under way."},
    [METER_STREAMS] = {.name = "steelyard_open_streams",
                       .type = METRICS_GAUGE,
                       .help = "Event streams under way."},
    [METER_REJECTED] = {.name = "steelyard_rejected_total",
                        .type = METRICS_COUNTER,
                        .help = "Requests refused before a decision.",
                        .labels = {"reason"}},
    [METER_IDEMPOTENCY] = {.name = "steelyard_idempotency_total",
                           .type = METRICS_COUNTER,
                           .help =
                               "Requests with an idempotency key: first (they run), told_again, "
                               "running (refused: the first still runs), other_body, full; "
                               "and answers forgotten before their day was over: dropped.",
                           .labels = {"result"}},
    [METER_CUT] = {.name = "steelyard_connections_cut_total",
                   .type = METRICS_COUNTER,
                   .help = "Client connections cut with a request under way.",
                   .labels = {"reason"}},
    [METER_BUDGET_CLAMPED] = {.name = "steelyard_budget_clamped_total",
                              .type = METRICS_COUNTER,
                              .help = "Attempts with less output than asked for, for want of "
                                      "money."},
    [METER_BUDGET_WAITS] = {.name = "steelyard_budget_waits_total",
                            .type = METRICS_COUNTER,
                            .help = "Requests that asked the control plane for more of a budget: "
                                    "granted, in_vain, exhausted, unavailable.",
                            .labels = {"outcome"}},
    [METER_BUDGET_SLOTS] = {.name = "steelyard_budget_slots",
                            .type = METRICS_GAUGE,
                            .help = "Budgets, each in one period, of which this node holds a "
                                    "part."},
    [METER_BUDGET_CONTACT] = {.name = "steelyard_budget_contact",
                              .type = METRICS_GAUGE,
                              .help = "1 while the control plane answers reports of budgets."},
    [METER_CONNECTIONS] = {.name = "steelyard_connections",
                           .type = METRICS_GAUGE,
                           .help = "Client connections open."},
    [METER_ACCEPT_PAUSED] = {.name = "steelyard_accept_paused_total",
                             .type = METRICS_COUNTER,
                             .help = "Times accepting paused, at the limit of connections or for "
                                     "want of descriptors.",
                             .labels = {"reason"}},
    [METER_CERTIFICATE] = {.name = "steelyard_certificate_expires_seconds",
                           .type = METRICS_GAUGE,
                           .help = "Until the certificate towards the control plane ends; below 14 "
                                   "days wants a look. Not there without TLS."},
    [METER_LEDGER] = {.name = "steelyard_ledger_bytes",
                      .type = METRICS_GAUGE,
                      .help = "Memory allocated, of which --memory-max is the most."},
    [METER_CREDENTIAL] = {.name = "steelyard_credential_valid",
                          .type = METRICS_GAUGE,
                          .help = "1: the provider's key or token can be used here; 0: it is "
                                  "missing or ran out, and the provider is left out.",
                          .labels = {"provider"}},
    [METER_CREDENTIAL_FETCHES] = {.name = "steelyard_credential_fetches_total",
                                  .type = METRICS_COUNTER,
                                  .help =
                                      "Tokens asked for (AWS web identity, Google), by outcome: "
                                      "ok, failed.",
                                  .labels = {"outcome"}},
    [METER_POLICY_INFO] = {.name = "steelyard_policy_info",
                           .type = METRICS_GAUGE,
                           .help = "1 for each policy in service.",
                           .labels = {"policy", "version", "channel"}},
    [METER_POLICY_AGE] = {.name = "steelyard_policy_age_seconds",
                          .type = METRICS_GAUGE,
                          .help = "Time since the configuration in service was applied.",
                          .labels = {"policy", "version", "channel"}},
    [METER_DECISIONS] = {.name = "steelyard_decisions_total",
                         .type = METRICS_COUNTER,
                         .help = "Routing decisions.",
                         .labels = {"policy", "channel", "arm"}},
    [METER_ROLLOUTS_OPEN] = {.name = "steelyard_rollouts_open",
                             .type = METRICS_GAUGE,
                             .help = "Rollouts whose candidate is in use here, if only in shadow."},
    [METER_ROLLOUT_REVERTS] = {.name = "steelyard_rollout_reverts_total",
                               .type = METRICS_COUNTER,
                               .help = "Rollouts that went back to stable without a generation, by "
                                       "reason: expired (nobody watched them), aborted.",
                               .labels = {"reason"}},
    [METER_SPOOL_RECORDS] = {.name = "steelyard_spool_records",
                             .type = METRICS_GAUGE,
                             .help = "Records not yet acknowledged by the control plane."},
    [METER_SPOOL_LAG] = {.name = "steelyard_spool_lag_seconds",
                         .type = METRICS_GAUGE,
                         .help = "Time since the control plane acknowledged a record, while some "
                                 "wait."},
    [METER_SPOOL_BYTES] = {.name = "steelyard_spool_bytes",
                           .type = METRICS_GAUGE,
                           .help = "Bytes of the decision spool on disk."},
    [METER_SPOOL_RING] = {.name = "steelyard_spool_ring_bytes",
                          .type = METRICS_GAUGE,
                          .help = "Bytes handed over by workers and not yet written to the spool."},
    [METER_SPOOL_REFUSED] = {.name = "steelyard_spool_refused_total",
                             .type = METRICS_COUNTER,
                             .help = "Intents, records and votes the spool had no room for."},
    [METER_SPOOL_WAITS] = {.name = "steelyard_spool_waits_total",
                           .type = METRICS_COUNTER,
                           .help = "Requests that waited for room in the spool's ring, which is "
                                   "full while the disk stands still: room, in_vain.",
                           .labels = {"outcome"}},
    [METER_SYNC_CONNECTED] = {.name = "steelyard_sync_connected",
                              .type = METRICS_GAUGE,
                              .help = "1 while the control stream is up."},
    [METER_READY] = {.name = "steelyard_ready",
                     .type = METRICS_GAUGE,
                     .help = "1 while /readyz says so."},
    [METER_BUILD_INFO] = {.name = "steelyard_build_info",
                          .type = METRICS_GAUGE,
                          .help = "1, with the version of this build.",
                          .labels = {"version", "revision"}},
};

void meters_init(struct meters *m, struct metrics_shard *shard)
{
    m->shard = shard;
    m->inflight = metrics_series_get(shard, METER_INFLIGHT, NULL);
    m->streams = metrics_series_get(shard, METER_STREAMS, NULL);
}

void meters_reject(struct meters *m, const char *reason)
{
    const struct str labels[] = {str_from(reason)};
    metrics_inc(meter(m, METER_REJECTED, labels));
}

void meters_cut(struct meters *m, const char *reason)
{
    const struct str labels[] = {str_from(reason)};
    metrics_inc(meter(m, METER_CUT, labels));
}

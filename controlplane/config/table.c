#include "controlplane/config/table.h"

#define NONE   0, 0
#define MS_DAY 86400000ULL

static const char *const credential_words[] = {
    "key", "aws_keys", "aws_web_identity", "google_service_account", "google_metadata", NULL};
static const char *const unsupported_words[] = {"drop", "reject", NULL};
static const char *const transport_words[] = {"auto", "lean", "libcurl", NULL};
static const char *const capability_words[] = {"tools",  "images",    "json",
                                               "stream", "reasoning", NULL};
/* Of those who serve: nothing stated, or what is stated; and of those who ask. */
static const char *const terms_words[] = {"unknown", "allow", "deny", NULL};
static const char *const collection_words[] = {"allow", "deny", NULL};
static const char *const policy_types[] = {"learned", NULL};
const char *const table_strategies[] = {
    "learned",
    "priority",
    "weighted",
    "round-robin",
    "least-busy",
    "lowest-latency",
    "lowest-cost",
    "usage-based",
    "simple-shuffle",
    "latency-based-routing",
    "cost-based-routing",
    "usage-based-routing",
    "usage-based-routing-v2",
    NULL,
};
static const char *const minimize_words[] = {"cost", NULL};

#define F(type, member) offsetof(struct type, member)

static const struct field require_fields[] = {
    {"region", FIELD_TEXTS, F(require_config, region), false, NULL, NONE, NULL, NULL, "[eu]",
     "A deployment's region must be one of these, or begin with one and a hyphen: `eu` admits "
     "`eu-west-1`. Case does not matter. Not given: any, stated or not."},
    {"data_collection", FIELD_WORD, F(require_config, data_collection), false, "allow", NONE,
     collection_words, NULL, "deny",
     "deny: only deployments that state that what they are sent is not learned from."},
    {"zdr", FIELD_BOOL, F(require_config, zdr), false, "false", NONE, NULL, NULL, "true",
     "Zero data retention: only deployments that state that they keep nothing."},
    {0}};
static const struct section require_section = {
    "require",
    "What a deployment must state to serve, first or as a fallback. Of a route and of a key both "
    "hold; a request can ask for more with provider.data_collection and provider.zdr. What is not "
    "stated does not hold.",
    sizeof(struct require_config), require_fields, NULL};

static const struct field affinity_fields[] = {
    {"enabled", FIELD_BOOL, F(affinity_config, on), false, "false", NONE, NULL, NULL, "true",
     "A map without it is on. Written as this alone: `affinity: true`."},
    {"ttl", FIELD_DURATION, F(affinity_config, ttl_ms), false, "1h", 1000, 7 * MS_DAY, NULL, NULL,
     "30m", "How long after its last answer a session is known."},
    {0}};
static const struct section affinity_section = {"affinity", "Where a session's next request goes.",
                                                sizeof(struct affinity_config), affinity_fields,
                                                &affinity_fields[0]};

static const struct field timeouts_fields[] = {
    {"connect", FIELD_DURATION, F(timeouts_config, connect_ms), false, NULL, 1, 600000, NULL, NULL,
     "2s", "To the TCP connection. Default: the node's, 2s."},
    {"tls", FIELD_DURATION, F(timeouts_config, tls_ms), false, NULL, 1, 600000, NULL, NULL, "3s",
     "For the TLS handshake. Default 3s."},
    {"head", FIELD_DURATION, F(timeouts_config, head_ms), false, NULL, 1, 3600000, NULL, NULL,
     "30s", "To the head of the answer. Default 30s."},
    {"first_content", FIELD_DURATION, F(timeouts_config, first_content_ms), false, NULL, 1, 3600000,
     NULL, NULL, "60s", "To the first content byte; reasoning models need more. Default 60s."},
    {"between_events", FIELD_DURATION, F(timeouts_config, between_events_ms), false, NULL, 1,
     3600000, NULL, NULL, "30s", "Between two events of a stream. Default 30s."},
    {"total", FIELD_DURATION, F(timeouts_config, total_ms), false, NULL, 1, MS_DAY, NULL, NULL,
     "600s", "For one attempt. Default 600s."},
    {0}};
static const struct section timeouts_section = {
    "timeouts", "How long an attempt at this provider may take.", sizeof(struct timeouts_config),
    timeouts_fields, NULL};

static const struct field compat_fields[] = {
    {"unsupported_params", FIELD_WORD, F(compat_config, unsupported), false, "drop", NONE,
     unsupported_words, NULL, "reject",
     "What becomes of a request's fields that cannot be said in the provider's dialect: dropped "
     "with a warning, or the request is refused."},
    {"repair", FIELD_BOOL, F(compat_config, repair), false, "true", NONE, NULL, NULL, "false",
     "Dialogues that the provider would refuse are put in order: turns of one role are joined, "
     "missing results of tools are filled in."},
    {0}};
static const struct section compat_section = {
    "compat", "How requests are translated for a provider of another dialect than the caller's.",
    sizeof(struct compat_config), compat_fields, NULL};

static const struct field provider_fields[] = {
    {"type", FIELD_HOST, F(provider_config, host), false, "openai", NONE, NULL, NULL, "openai",
     "Who it is: says the dialect, the usual address and how the key is shown. Any server of chat "
     "completions is `custom`."},
    {"base_url", FIELD_URL, F(provider_config, base_url), false, NULL, NONE, NULL, NULL,
     "https://api.openai.com/v1",
     "Scheme, host, port and path prefix. Default: the type's own, which for `bedrock` follows "
     "from "
     "`region` and for `vertex` from `project` and `region`."},
    {"api_key", FIELD_SECRET, F(provider_config, api_key), false, NULL, NONE, NULL, NULL,
     "os.environ/OPENAI_API_KEY",
     "A reference that each node resolves by itself: os.environ/NAME, ${env:NAME} or "
     "${file:/path}. Without it no credential is sent."},
    {"credential", FIELD_WORD, F(provider_config, credential), false, "key", NONE, credential_words,
     NULL, "aws_keys",
     "What api_key holds, and so how it is shown: a key; for `bedrock` keys of AWS "
     "(ACCESS:SECRET, ACCESS:SECRET:TOKEN, or the JSON that the aws program prints); for `vertex` "
     "the JSON of a service account. aws_web_identity and google_metadata need no api_key: nodes "
     "find them in their environment."},
    {"version", FIELD_TEXT, F(provider_config, version), false, NULL, NONE, NULL, NULL,
     "2023-06-01",
     "Of the API: anthropic-version for the Anthropic dialect, api-version for Azure. Default: the "
     "dialect's usual one."},
    {"region", FIELD_TEXT, F(provider_config, region), false, NULL, NONE, NULL, NULL, "us-east-1",
     "Of the cloud, where the type needs one (default for `vertex`: global), and where what is "
     "sent is processed, for `require`."},
    {"project", FIELD_TEXT, F(provider_config, project), false, NULL, NONE, NULL, NULL,
     "my-project", "Of Google Cloud."},
    {"headers", FIELD_PAIRS, F(provider_config, headers), false, NULL, NONE, NULL, NULL,
     "{x-title: our app}", "Header fields that go with every request; no credentials."},
    {"compat", FIELD_SECTION, F(provider_config, compat), false, NULL, NONE, NULL, &compat_section,
     NULL, "How requests of another dialect are translated."},
    {"private", FIELD_BOOL, F(provider_config, is_private), false, "false", NONE, NULL, NULL,
     "true",
     "Private, loopback and link-local addresses are allowed. Types that usually are on the own "
     "machine need not say it."},
    {"propagate", FIELD_BOOL, F(provider_config, propagate), false, "false", NONE, NULL, NULL,
     "true", "Send the trace context (traceparent) along."},
    {"collects_nothing", FIELD_BOOL, F(provider_config, collects_nothing), false, "false", NONE,
     NULL, NULL, "true",
     "The provider is known to neither keep what it is sent nor learn from it: short for "
     "`data_collection: deny` and `zdr: true`."},
    {"data_collection", FIELD_WORD, F(provider_config, data_collection), false, "unknown", NONE,
     terms_words, NULL, "deny",
     "What the provider states: deny, what it is sent is not learned from; allow, it may be. "
     "unknown is as allow to who requires `deny`."},
    {"zdr", FIELD_BOOL, F(provider_config, zdr), false, "false", NONE, NULL, NULL, "true",
     "Zero data retention is agreed on: nothing that is sent is kept, and so nothing collected."},
    {"ca_file", FIELD_TEXT, F(provider_config, ca_file), false, NULL, NONE, NULL, NULL,
     "/etc/ssl/internal-ca.pem", "Certificates to trust instead of the system's, on the node."},
    {"timeouts", FIELD_SECTION, F(provider_config, timeouts), false, NULL, NONE, NULL,
     &timeouts_section, NULL, "How long an attempt may take."},
    {"abort_stops_billing", FIELD_BOOL, F(provider_config, abort_stops_billing), false, "false",
     NONE, NULL, NULL, "true",
     "The provider stops charging when the connection is closed; otherwise an abandoned answer is "
     "read to its usage."},
    {"failure_domain", FIELD_TEXT, F(provider_config, failure_domain), false, NULL, NONE, NULL,
     NULL, "eu-west", "Providers with the same name fail together; fallbacks prefer another one."},
    {"catalog", FIELD_TEXT, F(provider_config, catalog), false, NULL, NONE, NULL, NULL, "azure",
     "Whose prices the catalogue is asked for, in the names of models.dev. Default: by the host of "
     "base_url, else the type's where its address is the usual one."},
    {"transport", FIELD_WORD, F(provider_config, transport), false, "auto", NONE, transport_words,
     NULL, "libcurl",
     "Who carries the requests: the node's own lean client, or libcurl. auto is lean."},
    {0}};
static const struct section provider_section = {
    "providers", "Where models are served.", sizeof(struct provider_config), provider_fields, NULL};

static const struct field deployment_fields[] = {
    {"provider", FIELD_TEXT, F(deployment_config, provider), true, NULL, NONE, NULL, NULL, "openai",
     "A name under providers."},
    {"model", FIELD_TEXT, F(deployment_config, model), false, NULL, NONE, NULL, NULL, "gpt-4o-mini",
     "The model's name at the provider. Default: the model's own id."},
    {"weight", FIELD_NUMBER, F(deployment_config, weight), false, "1", 1, 1000000, NULL, NULL, "1",
     "Share of the attempts among the deployments of a model."},
    {"region", FIELD_TEXT, F(deployment_config, region), false, NULL, NONE, NULL, NULL, "eu",
     "Where it runs, for `require`. Default: its provider's region; of an inference profile of "
     "Bedrock the one that its name begins with."},
    {"data_collection", FIELD_WORD, F(deployment_config, data_collection), false, "unknown", NONE,
     terms_words, NULL, "deny",
     "As of its provider, which says it for those that do not. allow: what the provider states "
     "does not hold here."},
    {"zdr", FIELD_BOOL, F(deployment_config, zdr), false, "false", NONE, NULL, NULL, "true",
     "Zero data retention, whatever its provider states."},
    {"priority", FIELD_NUMBER, F(deployment_config, priority), false, "0", 0, 1000, NULL, NULL, "1",
     "Deployments with a lower number are tried first."},
    {0}};
static const struct section deployment_section = {"deployments", "Who serves the model.",
                                                  sizeof(struct deployment_config),
                                                  deployment_fields, NULL};

static const struct field tier_fields[] = {
    {"above", FIELD_NUMBER, F(tier_config, above), true, NULL, 1, 100000000, NULL, NULL, "200000",
     "With more input tokens than this the whole request costs what stands here."},
    {"input", FIELD_MONEY, F(tier_config, input), true, NULL, NONE, NULL, NULL, "0.15 USD",
     "A million input tokens."},
    {"output", FIELD_MONEY, F(tier_config, output), true, NULL, NONE, NULL, NULL, "0.60 USD",
     "A million output tokens."},
    {"cached_input", FIELD_MONEY, F(tier_config, cached_input), false, NULL, NONE, NULL, NULL,
     "0.075 USD", "A million input tokens read from the provider's cache. Default: as input."},
    {"cache_write", FIELD_MONEY, F(tier_config, cache_write), false, NULL, NONE, NULL, NULL,
     "0.15 USD", "A million input tokens written to the provider's cache. Default: twice input."},
    {"cache_write_1h", FIELD_MONEY, F(tier_config, cache_write_1h), false, NULL, NONE, NULL, NULL,
     "0.30 USD", "The same, kept for an hour. Default: twice input, or cache_write if dearer."},
    {"reasoning", FIELD_MONEY, F(tier_config, reasoning), false, NULL, NONE, NULL, NULL, "0.60 USD",
     "A million reasoning tokens. Default: as output."},
    {0}};
static const struct section tier_section = {
    "tiers", "Other prices for large prompts, smallest `above` first, at most 4.",
    sizeof(struct tier_config), tier_fields, NULL};

static const struct field price_fields[] = {
    {"input", FIELD_MONEY, F(price_config, input), true, NULL, NONE, NULL, NULL, "0.15 USD",
     "A million input tokens."},
    {"output", FIELD_MONEY, F(price_config, output), true, NULL, NONE, NULL, NULL, "0.60 USD",
     "A million output tokens."},
    {"cached_input", FIELD_MONEY, F(price_config, cached_input), false, NULL, NONE, NULL, NULL,
     "0.075 USD", "A million input tokens read from the provider's cache. Default: as input."},
    {"cache_write", FIELD_MONEY, F(price_config, cache_write), false, NULL, NONE, NULL, NULL,
     "0.15 USD", "A million input tokens written to the provider's cache. Default: twice input."},
    {"cache_write_1h", FIELD_MONEY, F(price_config, cache_write_1h), false, NULL, NONE, NULL, NULL,
     "0.30 USD", "The same, kept for an hour. Default: twice input, or cache_write if dearer."},
    {"reasoning", FIELD_MONEY, F(price_config, reasoning), false, NULL, NONE, NULL, NULL,
     "0.60 USD", "A million reasoning tokens. Default: as output."},
    {"tiers", FIELD_LIST, F(price_config, tiers), false, NULL, NONE, NULL, &tier_section, NULL,
     "Other prices for large prompts."},
    {"valid_from", FIELD_TEXT, F(price_config, valid_from), false, NULL, NONE, NULL, NULL,
     "2026-11-01", "Day (UTC) from which this price holds; needed under `prices`."},
    {0}};
static const struct section price_section = {
    "price",
    "USD per million tokens. Without it the imported prices are asked and then the shipped table, "
    "by the provider's host (or its `catalog`) and the model's name there; a price that is still "
    "unknown is recorded as unknown, never as 0.",
    sizeof(struct price_config), price_fields, NULL};

static const struct field model_fields[] = {
    {"deployments", FIELD_LIST, F(model_config, deployments), true, NULL, NONE, NULL,
     &deployment_section, NULL, "Who serves the model, at least one."},
    {"context_window", FIELD_NUMBER, F(model_config, context_window), false, NULL, 1, 100000000,
     NULL, NULL, "128000", "Tokens in and out together. Default: the shipped table's, or unknown."},
    {"max_output", FIELD_NUMBER, F(model_config, max_output), false, NULL, 1, 100000000, NULL, NULL,
     "16384", "Most output tokens. Default: the shipped table's, or unknown."},
    {"capabilities", FIELD_FLAGS, F(model_config, capabilities), false, NULL, NONE,
     capability_words, NULL, "[tools, json, stream]",
     "What requests the model can take. Not given: nothing is excluded."},
    {"prior_quality", FIELD_SHARE, F(model_config, prior_quality_q16), false, NULL, NONE, NULL,
     NULL, "0.82", "Expected quality before anything was learned, 0 to 1."},
    {"prior_output_tokens", FIELD_NUMBER, F(model_config, prior_output_tokens), false, NULL, 1,
     10000000, NULL, NULL, "300", "Expected length of an answer before anything was learned."},
    {"price", FIELD_SECTION, F(model_config, price), false, NULL, NONE, NULL, &price_section, NULL,
     "USD per million tokens."},
    {"valid_from", FIELD_TEXT, F(model_config, valid_from), false, NULL, NONE, NULL, NULL,
     "2026-11-01", "Day (UTC) from which `price` holds, if it does not say so itself."},
    {"prices", FIELD_LIST, F(model_config, prices), false, NULL, NONE, NULL, &price_section, NULL,
     "Further prices, each from its valid_from on, until the next one."},
    {"display_name", FIELD_TEXT, F(model_config, display_name), false, NULL, NONE, NULL, NULL,
     "Small model", "For lists."},
    {0}};
static const struct section model_section = {"models", "What clients and routes can name.",
                                             sizeof(struct model_config), model_fields, NULL};

static const struct field candidate_fields[] = {
    {"model", FIELD_TEXT, F(candidate_config, model), true, NULL, NONE, NULL, NULL, "model-small",
     "A name under models. A candidate without more is written as this alone."},
    {"weight", FIELD_NUMBER, F(candidate_config, weight), false, "1", 0, 1000000, NULL, NULL, "3",
     "Share among candidates that are equal to the strategy; 0: only when the others are gone."},
    {"priority", FIELD_NUMBER, F(candidate_config, priority), false, NULL, 1, 1000, NULL, NULL, "1",
     "Those with a lower number come first, whatever the strategy says of the others. Default: "
     "none, "
     "before all numbers; with strategy `priority` the place in the list, from 1."},
    {0}};
static const struct section candidate_section = {
    "candidates",
    "What a route chooses from. Weights and priorities are not for strategy `learned`.",
    sizeof(struct candidate_config), candidate_fields, &candidate_fields[0]};

static const struct field fallbacks_fields[] = {
    {"default", FIELD_TEXTS, F(fallbacks_config, usual), false, NULL, NONE, NULL, NULL,
     "[model-large]", "Tried after all candidates failed. A list alone is this one."},
    {"context_window", FIELD_TEXTS, F(fallbacks_config, context_window), false, NULL, NONE, NULL,
     NULL, "[model-long]",
     "Tried when a provider says that the prompt is too long, and when no candidate takes it."},
    {"content_policy", FIELD_TEXTS, F(fallbacks_config, content_policy), false, NULL, NONE, NULL,
     NULL, "[model-open]", "Tried when a provider refuses the content."},
    {"rate_limit", FIELD_TEXTS, F(fallbacks_config, rate_limit), false, NULL, NONE, NULL, NULL,
     "[model-large]",
     "Tried when all deployments of a model answered 429, before the other candidates."},
    {0}};
static const struct section fallbacks_section = {"fallbacks",
                                                 "Models that take over, by what went "
                                                 "wrong.",
                                                 sizeof(struct fallbacks_config), fallbacks_fields,
                                                 &fallbacks_fields[0]};

static const char *const target_words[] = {"fallback", "loadbalance", NULL};
static const struct field member_fields[] = {
    {"target", FIELD_TEXT, F(member_config, target), true, NULL, NONE, NULL, NULL, "model-small",
     "One of the route's models, or another target. One without a weight is written as this "
     "alone."},
    {"weight", FIELD_NUMBER, F(member_config, weight), false, "1", 0, 1000000, NULL, NULL, "3",
     "Share under loadbalance."},
    {0}};
static const struct section member_section = {"of", "What a target is made of, at most 64.",
                                              sizeof(struct member_config), member_fields,
                                              &member_fields[0]};
static const struct field target_fields[] = {
    {"strategy", FIELD_WORD, F(target_config, strategy), false, "fallback", NONE, target_words,
     NULL, "loadbalance", "One after the other, or drawn by weight, and then the rest."},
    {"of", FIELD_LIST, F(target_config, of), true, NULL, NONE, NULL, &member_section,
     "[model-small, model-large]", "Models and other targets."},
    {0}};
static const struct section target_section = {
    "targets",
    "Models put together under a name, in one another at most 8 deep, at most 64 of them.",
    sizeof(struct target_config), target_fields, NULL};
static const struct field condition_fields[] = {
    {"if", FIELD_NODE, F(condition_config, query), true, NULL, NONE, NULL, NULL,
     "{metadata.plan: {$eq: paid}}",
     "Paths into metadata, params and headers, or url.pathname, each with a value or a map of "
     "operators: $eq, $ne, $in, $nin, $gt, $gte, $lt, $lte, $regex; $and and $or with lists of "
     "such maps."},
    {"then", FIELD_TEXT, F(condition_config, then), true, NULL, NONE, NULL, NULL, "good",
     "The target, or one of the route's models."},
    {0}};
static const struct section condition_section = {
    "conditions", "The first that holds says which target serves.", sizeof(struct condition_config),
    condition_fields, NULL};

#define FIVE_PERCENT 214748365 /* Of 2^32. */

static const struct field hedge_fields[] = {
    {"after", FIELD_DELAY, F(hedge_config, after), true, NULL, 1, 600000, NULL, NULL, "800ms",
     "How long the first attempt may show no content. p95: as long as 95 of 100 answers of its "
     "deployment take, streams and whole answers apart, as this node has seen them lately; until "
     "it has seen some, none is asked."},
    {"max_share", FIELD_CHANCE, F(hedge_config, max_share), false, "0.05", 0, FIVE_PERCENT, NULL,
     NULL, "0.02",
     "Largest share of all requests of a node that may have a second attempt; 0.05 at most."},
    {0}};
static const struct section hedge_section = {
    "hedge",
    "A second attempt, at another deployment of the same model, beside one that shows nothing. The "
    "first to show content serves, the other is ended. Both are paid for.",
    sizeof(struct hedge_config), hedge_fields, NULL};

static const struct field route_fields[] = {
    {"policy", FIELD_TEXT, F(route_config, policy), false, "default", NONE, NULL, NULL, "default",
     "The policy that chooses; a name under policies."},
    {"strategy", FIELD_WORD, F(route_config, strategy), false, "learned", NONE, table_strategies,
     NULL, "weighted",
     "How candidates, and the deployments of each, are ordered. With any but learned the policy is "
     "not asked. The last five are names that LiteLLM has for some of them."},
    {"models", FIELD_LIST, F(route_config, models), true, NULL, NONE, NULL, &candidate_section,
     "[model-small, model-large]",
     "Candidates. Before anything was learned the first is tried "
     "first unless prior qualities say more."},
    {"fallbacks", FIELD_SECTION, F(route_config, fallbacks), false, NULL, NONE, NULL,
     &fallbacks_section, "[model-large]", "Models that take over."},
    {"targets", FIELD_MAP, F(route_config, targets), false, NULL, NONE, NULL, &target_section, NULL,
     "The route's models put together, for conditions and default."},
    {"conditions", FIELD_LIST, F(route_config, conditions), false, NULL, NONE, NULL,
     &condition_section, NULL, "Which target serves, by what the request says of itself."},
    {"default", FIELD_TEXT, F(route_config, default_target), false, NULL, NONE, NULL, NULL, "cheap",
     "The target if no condition holds. Without it: all models, by the strategy."},
    {"timeout", FIELD_DURATION, F(route_config, timeout_ms), false, "600s", 1, MS_DAY, NULL, NULL,
     "120s", "For a request with all its attempts."},
    {"retries", FIELD_NUMBER, F(route_config, retries), false, "2", 0, 10, NULL, NULL, "1",
     "Further attempts after the first; 0: none. At most 2 are made."},
    {"require", FIELD_SECTION, F(route_config, require), false, NULL, NONE, NULL, &require_section,
     NULL, "What a deployment must state to serve this route."},
    {"hedge", FIELD_SECTION, F(route_config, hedge), false, NULL, NONE, NULL, &hedge_section, NULL,
     "A second attempt beside a slow first one. Default: none."},
    {"affinity", FIELD_SECTION, F(route_config, affinity), false, NULL, NONE, NULL,
     &affinity_section, "true",
     "A session (x-steelyard-session, or a coding agent's) goes on at the deployment that served "
     "it, while that is healthy and allowed. lowest-cost stays where what the provider's prompt "
     "cache saves makes it the cheapest; learned keeps choosing the model, by its stick margin."},
    {0}};
static const struct section route_section = {
    "routes", "Names that clients use as `model` and that leave the choice to a policy.",
    sizeof(struct route_config), route_fields, NULL};

static const struct field objective_fields[] = {
    {"quality", FIELD_SHARE, F(objective_config, quality_q16), false, NULL, NONE, NULL, NULL,
     "0.95", "Keep this share of the best model's quality. The target of training."},
    {"quality_floor", FIELD_SHARE, F(objective_config, quality_floor_q16), false, NULL, NONE, NULL,
     NULL, "0.85", "Keep this quality, absolute. Candidates expected below it are excluded."},
    {"minimize", FIELD_WORD, F(objective_config, minimize), false, "cost", NONE, minimize_words,
     NULL, "cost", "What is kept low."},
    {0}};
static const struct section objective_section = {"objective", "What the policy aims at.",
                                                 sizeof(struct objective_config), objective_fields,
                                                 NULL};

static const struct field policy_fields[] = {
    {"type", FIELD_WORD, F(policy_config, type), false, "learned", NONE, policy_types, NULL,
     "learned", "How it chooses."},
    {"objective", FIELD_SECTION, F(policy_config, objective), false, NULL, NONE, NULL,
     &objective_section, NULL, "What it aims at."},
    {"explore", FIELD_CHANCE, F(policy_config, explore), false, "0.05", NONE, NULL, NULL, "0.05",
     "Largest chance of trying another model than the best, 0 to 1. Up to 0.05 the number of "
     "labels "
     "may lower it further; above, it is taken as it is."},
    {"explore_spend", FIELD_CHANCE, F(policy_config, explore_spend), false, "0.02", NONE, NULL,
     NULL, "0.02",
     "Share of a day's spend that trying other models may add; beyond it none are tried. 1: any."},
    {"retrain", FIELD_DURATION, F(policy_config, retrain_ms), false, "6h", 0, 2592000000, NULL,
     NULL, "6h",
     "How often to learn again by itself, when there are enough new labels, or sooner when a model "
     "has changed; 0s: never. What is learned starts a rollout, it is not put in force."},
    {0}};
static const struct section policy_section = {"policies", "How routes choose a model.",
                                              sizeof(struct policy_config), policy_fields, NULL};

static const struct field key_fields[] = {
    {"id", FIELD_TEXT, F(key_config, id), true, NULL, NONE, NULL, NULL, "demo",
     "Name of the key, shown in records."},
    {"hash", FIELD_TEXT, F(key_config, hash), true, NULL, NONE, NULL, NULL, "sha256:9f86d0...",
     "sha256: and the 64 hex digits of the SHA-256 of the key's text."},
    {"routes", FIELD_TEXTS, F(key_config, routes), false, NULL, NONE, NULL, NULL, "[auto]",
     "Routes it may use. Not given: all."},
    {"models", FIELD_TEXTS, F(key_config, models), false, NULL, NONE, NULL, NULL, "[model-small]",
     "Models it may name. Not given: all."},
    {"rpm", FIELD_NUMBER, F(key_config, rpm), false, NULL, 1, 1000000000, NULL, NULL, "60",
     "Requests a minute. Not given: no limit."},
    {"tpm", FIELD_NUMBER, F(key_config, tpm), false, NULL, 1, 1000000000000, NULL, NULL, "100000",
     "Tokens a minute. Not given: no limit."},
    {"concurrency", FIELD_NUMBER, F(key_config, concurrency), false, NULL, 1, 1000000, NULL, NULL,
     "8", "Requests at a time. Not given: no limit."},
    {"require", FIELD_SECTION, F(key_config, require), false, NULL, NONE, NULL, &require_section,
     NULL, "What a deployment must state to serve this key, beside what the route requires."},
    {0}};
static const struct section key_section = {
    "keys", "API keys given by hash; others are made with `steelyard keys create`.",
    sizeof(struct key_config), key_fields, NULL};

static const struct field server_fields[] = {
    {"listen", FIELD_TEXT, F(server_config, listen), false, NULL, NONE, NULL, NULL,
     "127.0.0.1:8080", "Where `steelyard serve` lets the data plane listen. Needs a restart."},
    {"body_max", FIELD_SIZE, F(server_config, body_max_bytes), false, NULL, 1024, 1U << 30, NULL,
     NULL, "32MiB", "Largest request body. Default: the node's, 32MiB."},
    {"stream_head_after", FIELD_DURATION, F(server_config, stream_head_after_ms), false, NULL, 1,
     600000, NULL, NULL, "10s",
     "A stream whose first content takes longer gets its head early. Default: the node's."},
    {"keepalive", FIELD_DURATION, F(server_config, keepalive_ms), false, NULL, 1000, 600000, NULL,
     NULL, "15s", "Comment lines keep a silent stream open. Default: the node's."},
    {0}};
static const struct section server_section = {"server", "The public listener of the nodes.",
                                              sizeof(struct server_config), server_fields, NULL};

static const struct field telemetry_fields[] = {
    {"label_maturity", FIELD_DURATION, F(telemetry_config, label_maturity_ms), false, NULL, 0,
     30 * MS_DAY, NULL, NULL, "30m",
     "Feedback younger than this is left to the next training run. Default: none is."},
    {0}};
static const struct section telemetry_section = {
    "telemetry", "Records and labels.", sizeof(struct telemetry_config), telemetry_fields, NULL};

static const struct field store_fields[] = {
    {"postgres", FIELD_TEXT, F(store_config, postgres), false, NULL, NONE, NULL, NULL,
     "os.environ/DATABASE_URL",
     "Connection string; --database wins. Not needed under `steelyard serve`. Needs a restart."},
    {"retention", FIELD_DURATION, F(store_config, retention_ms), false, "395d", MS_DAY,
     3650 * MS_DAY, NULL, NULL, "395d",
     "How long decisions, attempts and feedback are kept, in whole days, rounded up. A reload "
     "counts "
     "from the next hour on. --retention-days and the options for attempts and feedback win."},
    {0}};
static const struct section store_section = {"store", "The database.", sizeof(struct store_config),
                                             store_fields, NULL};

static const struct field root_fields[] = {
    {"version", FIELD_NUMBER, F(root_config, version), true, NULL, 1, 1, NULL, NULL, "1",
     "Of this format; write it first."},
    {"providers", FIELD_MAP, F(root_config, providers), true, NULL, NONE, NULL, &provider_section,
     NULL, "Where models are served."},
    {"models", FIELD_MAP, F(root_config, models), true, NULL, NONE, NULL, &model_section, NULL,
     "What clients and routes can name."},
    {"routes", FIELD_MAP, F(root_config, routes), false, NULL, NONE, NULL, &route_section, NULL,
     "Names that leave the choice to a policy."},
    {"policies", FIELD_MAP, F(root_config, policies), false, NULL, NONE, NULL, &policy_section,
     NULL, "How routes choose. A route without one uses `default`, which exists by itself."},
    {"keys", FIELD_LIST, F(root_config, keys), false, NULL, NONE, NULL, &key_section, NULL,
     "API keys given by hash."},
    {"server", FIELD_SECTION, F(root_config, server), false, NULL, NONE, NULL, &server_section,
     NULL, "The public listener of the nodes."},
    {"telemetry", FIELD_SECTION, F(root_config, telemetry), false, NULL, NONE, NULL,
     &telemetry_section, NULL, "Records and labels."},
    {"store", FIELD_SECTION, F(root_config, store), false, NULL, NONE, NULL, &store_section, NULL,
     "The database."},
    {0}};
const struct section config_root_section = {
    "steelyard.yaml", "One file configures both programs; nodes get their part pushed.",
    sizeof(struct root_config), root_fields, NULL};

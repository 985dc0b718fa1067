/* fault.h: every way a request can be refused or fail, in one table: the HTTP status, the fields of
 * the OpenAI error object and whether an SDK should try again (INTERFACES section 3). What it is to
 * callers of other dialects is in dialect.h. Pure. */
#ifndef STEELYARD_DATAPLANE_REQUEST_FAULT_H
#define STEELYARD_DATAPLANE_REQUEST_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

/* X(name, status, type, code, should_retry, close, message). The message names what to do and never
 * repeats input; a param path is added by the caller. close: the connection ends with the answer.
 */
#define FAULT_TABLE(X)                                                                             \
    X(BAD_HEAD, 400, "invalid_request_error", "invalid_value", false, true,                        \
      "The request head is malformed. Send well-formed HTTP/1.1.")                                 \
    X(BAD_BODY, 400, "invalid_request_error", "invalid_value", false, true,                        \
      "The request body's framing is malformed. Send one Content-Length or chunked coding.")       \
    X(BAD_JSON, 400, "invalid_request_error", "invalid_value", false, false,                       \
      "The body is not valid JSON. Send one JSON object in UTF-8 without repeated keys.")          \
    X(BAD_FIELD, 400, "invalid_request_error", "invalid_value", false, false,                      \
      "A field has a value that is not allowed. Check its type and range.")                        \
    X(MISSING_FIELD, 400, "invalid_request_error", "missing_required_parameter", false, false,     \
      "A required field is missing. Add it and send the request again.")                           \
    X(FORBIDDEN_FIELD, 400, "invalid_request_error", "unsupported_parameter", false, false,        \
      "This field is not accepted here. Remove it: providers are configured on the gateway.")      \
    X(BAD_HEADER, 400, "invalid_request_error", "invalid_value", false, false,                     \
      "A steering header is malformed. Correct or remove it.")                                     \
    X(CONTEXT_LENGTH, 400, "invalid_request_error", "context_length_exceeded", false, false,       \
      "context_length_exceeded: the prompt is longer than the context window of every model that " \
      "may serve it. Shorten the prompt or name a model with a larger window.")                    \
    X(CAPABILITY, 400, "invalid_request_error", "unsupported_parameter", false, false,             \
      "No model of this route supports what the request asks for. Name a model that does.")        \
    X(CONTENT_POLICY, 400, "invalid_request_error", "content_policy_violation", false, false,      \
      "The provider's content policy refuses this prompt. Change it.")                             \
    X(CONSTRAINTS, 400, "invalid_request_error", "invalid_value", false, false,                    \
      "No model meets the given quality floor and cost cap. Loosen one of them.")                  \
    X(PRICE_UNKNOWN, 400, "invalid_request_error", "price_unknown", false, false,                  \
      "No price is known for this model, and this key has a budget. Name a model that has one.")   \
    X(PRICE_VARIES, 400, "invalid_request_error", "unsupported_parameter", false, false,           \
      "service_tier, best_of, speed and web_search_options can change the price, and this key "    \
      "has a budget. Leave them out.")                                                             \
    X(BUDGETS_MANY, 400, "invalid_request_error", "too_many_budgets", false, false,                \
      "More than 16 budgets would be charged for this request. Send fewer tags.")                  \
    X(UPSTREAM_REFUSED, 400, "invalid_request_error", "upstream_refused", false, false,            \
      "The provider refused the request without saying why. Check its fields.")                    \
    X(NO_KEY, 401, "invalid_request_error", "invalid_api_key", false, false,                       \
      "No valid API key was given. Send it as 'Authorization: Bearer KEY'.")                       \
    X(REGION_REQUIRED, 403, "invalid_request_error", "region_required", false, false,              \
      "No deployment of what was asked for states that it is in a region that the route or the "   \
      "key requires. Name another model, or have one stated.")                                     \
    X(DATA_REQUIRED, 403, "invalid_request_error", "data_policy_required", false, false,           \
      "No deployment of what was asked for states what the route or the key requires of data. "    \
      "Name another model, or have it stated.")                                                    \
    X(NOT_FOUND, 404, "invalid_request_error", "unknown_url", false, false,                        \
      "There is nothing at this path. Use /v1/chat/completions, /v1/responses, /v1/messages, "     \
      "/v1/models or another one that is documented.")                                             \
    X(MODEL_NOT_FOUND, 404, "invalid_request_error", "model_not_found", false, false,              \
      "The model does not exist or this key may not use it. GET /v1/models lists what it may "     \
      "use.")                                                                                      \
    X(WISHES, 404, "invalid_request_error", "no_allowed_provider", false, false,                   \
      "No provider of this model is allowed by what the request itself asks of providers, prices " \
      "and data. Ask for less, or name another model.")                                            \
    X(GENERATION_NOT_FOUND, 404, "invalid_request_error", "generation_not_found", false, false,    \
      "There is no such generation of this key in this node's memory. Use the id of a recent "     \
      "answer.")                                                                                   \
    X(POLICY_NOT_FOUND, 404, "invalid_request_error", "policy_not_found", false, false,            \
      "The policy does not exist here. Remove the x-steelyard-policy header or name a known one.") \
    X(DECISION_NOT_FOUND, 404, "invalid_request_error", "decision_not_found", false, false,        \
      "There is no such decision of this key. Use the x-steelyard-decision-id of an answer.")      \
    X(METHOD, 405, "invalid_request_error", "method_not_allowed", false, false,                    \
      "This method is not allowed here. Use the method the path is documented with.")              \
    X(HEAD_TIMEOUT, 408, "invalid_request_error", "request_timeout", false, true,                  \
      "The request arrived too slowly. Send it within the time limit.")                            \
    X(CONFLICT, 409, "invalid_request_error", "conflict", false, false,                            \
      "This was already done. Nothing was changed.")                                               \
    X(IDEMPOTENCY_BODY, 400, "invalid_request_error", "idempotency_key_reused", false, false,      \
      "This idempotency key came with another body before. Use a new key for a new request.")      \
    X(IDEMPOTENCY_RUNNING, 409, "invalid_request_error", "idempotency_key_in_use", true, false,    \
      "A request with this idempotency key is under way. Wait for retry-after, then try again.")   \
    X(TOO_LARGE, 413, "invalid_request_error", "request_too_large", false, true,                   \
      "The request is too large. Send a smaller body.")                                            \
    X(URI_TOO_LONG, 414, "invalid_request_error", "invalid_value", false, true,                    \
      "The request line is too long. Shorten the path and query.")                                 \
    X(MEDIA_TYPE, 415, "invalid_request_error", "unsupported_media_type", false, false,            \
      "The body must be uncompressed application/json.")                                           \
    X(EXPECTATION, 417, "invalid_request_error", "invalid_value", false, true,                     \
      "Only 'Expect: 100-continue' is understood. Remove the header.")                             \
    X(TOO_MANY_REQUESTS, 429, "requests", "rate_limit_exceeded", true, false,                      \
      "Too many requests. Wait for retry-after, then try again.")                                  \
    X(TOO_MANY_TOKENS, 429, "tokens", "rate_limit_exceeded", true, false,                          \
      "Too many tokens a minute. Wait for retry-after, then try again or ask for fewer.")          \
    X(UPSTREAM_RATE_LIMITED, 429, "requests", "rate_limit_exceeded", true, false,                  \
      "Every provider of this model is rate limited. Wait for retry-after, then try again.")       \
    X(BUDGET_SPENT, 429, "insufficient_quota", "budget_exceeded", false, false,                    \
      "A budget of this key is used up. Ask for less, or have it raised.")                         \
    X(HEADERS_TOO_LARGE, 431, "invalid_request_error", "invalid_value", false, true,               \
      "The request headers are too large. Send fewer or shorter ones.")                            \
    X(INTERNAL, 500, "server_error", "internal_error", false, false,                               \
      "The gateway failed. Report the request id to its operator.")                                \
    X(UPSTREAM_FAILED, 502, "server_error", "upstream_error", false, false,                        \
      "Every provider that was tried failed. Try again later or name another model.")              \
    X(UPSTREAM_AUTH, 502, "server_error", "upstream_auth", false, false,                           \
      "The provider refused the gateway's credentials. Tell the gateway's operator.")              \
    X(NO_UPSTREAM, 503, "server_error", "no_healthy_upstream", true, false,                        \
      "No provider of this model is healthy. Wait for retry-after, then try again.")               \
    X(OVERLOAD, 503, "server_error", "overloaded", true, false,                                    \
      "The gateway is at capacity. Wait for retry-after, then try again.")                         \
    X(UNAVAILABLE, 503, "server_error", "unavailable", true, false,                                \
      "The gateway is starting or stopping. Try again.")                                           \
    X(SPOOL, 503, "server_error", "unavailable", true, false,                                      \
      "The gateway cannot record requests now and accepts none until it can. Try again later.")    \
    X(BUDGET_UNKNOWN, 503, "server_error", "budget_unavailable", true, false,                      \
      "What is left of a budget of this key is not known here at the moment. Try again later.")    \
    X(TIMEOUT, 504, "server_error", "timeout", false, false,                                       \
      "The answer took too long. Ask for less or name a faster model.")                            \
    X(HTTP_VERSION, 505, "invalid_request_error", "invalid_value", false, true,                    \
      "Only HTTP/1.1 and HTTP/1.0 are spoken here.")

enum fault {
    FAULT_NONE,
#define X(name, status, type, code, retry, close, message) FAULT_##name,
    FAULT_TABLE(X)
#undef X
        FAULT_COUNT
};

struct fault_row {
    unsigned status;
    const char *type;
    const char *code;
    bool should_retry;
    bool close;
    const char *message;
};

const struct fault_row *fault_get(enum fault f); /* f is not FAULT_NONE. */

/* What a caller may add to a row; all of it optional. */
struct fault_detail {
    struct str param;    /* JSON path of the field, made by us: never raw input. STR_NULL = null. */
    int64_t offset;      /* Byte of the body, or -1. */
    int64_t wait_ms;     /* Known wait, or -1. */
    const char *message; /* Instead of the row's; static text. */
    struct str said;     /* Instead of both, in a provider's own words; any bytes. len 0: none. */
};
#define FAULT_DETAIL_NONE ((struct fault_detail){.param = STR_NULL, .offset = -1, .wait_ms = -1})

/* {"error":{"message","type","param","code"}}, all four keys always. */
int fault_write_json(enum fault f, const struct fault_detail *detail, struct buf *out) MUST_CHECK;
struct str fault_message(enum fault f, const struct fault_detail *detail); /* Without offset. */
/* What is told, as the inside of a JSON string. */
int fault_write_message(enum fault f, const struct fault_detail *detail,
                        struct buf *out) MUST_CHECK;

/* Whether an SDK should try again, given the wait that is known (INTERFACES section 3). */
bool fault_should_retry(enum fault f, int64_t wait_ms);

#endif

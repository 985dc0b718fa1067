/* What hosts of the OpenAI dialect say when they refuse (PROVIDER-TRANSLATION section 11): the
 * object of OpenAI and Azure, the same with a number as its code, in an array, Mistral's at the
 * root, FastAPI's {"detail":...}, or no JSON at all. */
#include <string.h>

#include "dataplane/translate/openai_internal.h"

#define MESSAGE_MAX 1024U
#define CODE_MAX    (TR_OPENAI_ERROR_ROOM - MESSAGE_MAX)

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* needle is in lower case. Its offset behind the match, or 0. */
static size_t find_words(struct str text, const char *needle)
{
    size_t n = strlen(needle);
    for (size_t at = 0; at + n <= text.len; at++) {
        size_t i = 0;
        while (i < n && lower(text.data[at + i]) == needle[i])
            i++;
        if (i == n)
            return at + n;
    }
    return 0;
}

/* Of a string at most max bytes, whole characters; a number as its digits. */
static struct str take(const struct json *j, uint32_t node, size_t max, char *room)
{
    struct str s = {.data = room};
    if (json_kind(j, node) == JSON_NUMBER) {
        struct str raw = json_raw(j, node);
        s.len = raw.len < max ? raw.len : max;
        memcpy(room, raw.data, s.len);
        return s;
    }
    s.len = json_text_head(j, node, max, room);
    if (s.len == max && json_text_length(j, node) > max)
        while (s.len > 0 && !str_valid_utf8(s))
            s.len--;
    return s;
}

static uint32_t error_node(const struct json *j)
{
    uint32_t root = JSON_ROOT;
    if (json_kind(j, root) == JSON_ARRAY)
        root = json_at(j, root, 0);
    uint32_t error = json_get(j, root, STR("error"));
    if (json_kind(j, error) == JSON_OBJECT || json_kind(j, error) == JSON_STRING)
        return error;
    return root;
}

static uint32_t message_node(const struct json *j, uint32_t error)
{
    if (json_kind(j, error) == JSON_STRING)
        return error;
    uint32_t message = json_get(j, error, STR("message"));
    if (json_kind(j, message) == JSON_STRING)
        return message;
    uint32_t detail = json_get(j, json_kind(j, message) == JSON_OBJECT ? message : error,
                               STR("detail")); /* Mistral wraps it in message, too. */
    if (json_kind(j, detail) == JSON_ARRAY)
        return json_get(j, json_at(j, detail, 0), STR("msg"));
    return detail;
}

static bool is_any(struct str text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (find_words(text, words[i]) > 0)
            return true;
    return false;
}
#define IS_ANY(text, words) is_any(text, words, sizeof(words) / sizeof(words)[0])

static const char *const context_codes[] = {"context_length_exceeded", "string_above_max_length",
                                            "context_length"};
static const char *const context_words[] = {
    "maximum context length", "context length",        "context window",
    "context_length",         "prompt is too long",    "input is too long",
    "too many tokens",        "maximum prompt length", "exceeds the maximum number of tokens"};
static const char *const policy_codes[] = {"content_policy", "content_filter",
                                           "responsibleaipolicy", "content_moderation"};
static const char *const policy_words[] = {"content management policy", "content policy",
                                           "usage policies", "content exists risk"};
static const char *const quota_codes[] = {"insufficient_quota", "billing", "insufficient_balance",
                                          "credits"};
static const char *const quota_words[] = {"exceeded your current quota", "insufficient balance",
                                          "insufficient credits", "spending limit"};
static const char *const key_codes[] = {"invalid_api_key", "authentication", "invalid_key"};
static const char *const key_words[] = {"incorrect api key", "invalid api key"};
static const char *const missing_codes[] = {"model_not_found", "deploymentnotfound",
                                            "unknown_model", "invalid_model"};
static const char *const missing_words[] = {"model not exist", "model not found",
                                            "model does not exist"};
static const char *const rate_codes[] = {"rate_limit", "ratelimit", "too_many_requests",
                                         "toomanyrequests"};
static const char *const load_codes[] = {"overloaded", "unavailable", "capacity"};
static const char *const time_codes[] = {"timeout", "timed_out"};
static const char *const request_codes[] = {"invalid_request", "invalid_value", "bad_request",
                                            "unsupported_", "invalid_prompt"};

/* What is said in words or codes of a request that was refused for what it is. */
static enum tr_error_kind kind_of_refusal(struct str codes, struct str message,
                                          enum tr_error_kind otherwise)
{
    if (IS_ANY(codes, context_codes) || IS_ANY(message, context_words))
        return TR_ERROR_CONTEXT_LENGTH;
    if (IS_ANY(codes, policy_codes) || IS_ANY(message, policy_words))
        return TR_ERROR_CONTENT_POLICY;
    if (IS_ANY(codes, key_codes) || IS_ANY(message, key_words))
        return TR_ERROR_AUTHENTICATION;
    if (IS_ANY(codes, missing_codes) || IS_ANY(message, missing_words))
        return TR_ERROR_NOT_FOUND;
    if (IS_ANY(codes, quota_codes) || IS_ANY(message, quota_words))
        return TR_ERROR_QUOTA;
    return otherwise;
}

/* In a stream there is no status. */
static enum tr_error_kind kind_of_words(struct str codes, struct str message)
{
    if (IS_ANY(codes, rate_codes))
        return TR_ERROR_RATE_LIMITED;
    if (IS_ANY(codes, load_codes))
        return TR_ERROR_OVERLOADED;
    if (IS_ANY(codes, time_codes))
        return TR_ERROR_TIMEOUT;
    return kind_of_refusal(codes, message,
                           IS_ANY(codes, request_codes) ? TR_ERROR_INVALID_REQUEST
                                                        : TR_ERROR_UPSTREAM);
}

static enum tr_error_kind kind_of(unsigned status, struct str codes, struct str message)
{
    switch (status) {
    case 401:
        return TR_ERROR_AUTHENTICATION;
    case 402:
        return TR_ERROR_QUOTA;
    case 403:
        return kind_of_refusal(codes, message, TR_ERROR_PERMISSION);
    case 404:
        return TR_ERROR_NOT_FOUND;
    case 408:
    case 504:
        return TR_ERROR_TIMEOUT;
    case 413:
        return IS_ANY(codes, rate_codes) ? TR_ERROR_RATE_LIMITED : TR_ERROR_CONTEXT_LENGTH;
    case 429:
        return IS_ANY(codes, quota_codes) || IS_ANY(message, quota_words) ? TR_ERROR_QUOTA
                                                                          : TR_ERROR_RATE_LIMITED;
    case 498: /* Groq: no room in the flex tier. */
    case 503:
    case 529:
        return TR_ERROR_OVERLOADED;
    default:
        break;
    }
    if (status >= 400 && status < 500)
        return kind_of_refusal(codes, message, TR_ERROR_INVALID_REQUEST);
    if (status >= 500)
        return TR_ERROR_UPSTREAM;
    return kind_of_words(codes, message);
}

/* "1.5s", "250ms", "6m0s", "1h2m" at the front of text; -1: none. */
static int64_t duration_ms(struct str text)
{
    int64_t total = 0;
    size_t at = 0, begin;
    for (begin = at; at < text.len && at < 32; begin = at) {
        int64_t milli = 0, unit = 1000;
        while (at < text.len && text.data[at] >= '0' && text.data[at] <= '9' && milli < 1000000000)
            milli = milli * 10 + (text.data[at++] - '0') * 1000;
        if (at == begin)
            break;
        if (at < text.len && text.data[at] == '.')
            for (at++; at < text.len && text.data[at] >= '0' && text.data[at] <= '9'; at++) {
                unit /= 10;
                milli += unit * (text.data[at] - '0');
            }
        struct str rest = str_slice(text, at, text.len);
        if (str_starts(rest, STR("ms"))) {
            total += milli / 1000;
            at += 2;
        } else if (str_starts(rest, STR("s"))) {
            total += milli;
            at += 1;
        } else if (str_starts(rest, STR("m"))) {
            total += milli * 60;
            at += 1;
        } else if (str_starts(rest, STR("h"))) {
            total += milli * 3600;
            at += 1;
        } else {
            break;
        }
    }
    return begin > 0 ? total : -1;
}

static int64_t wait_of(struct str message)
{
    size_t at = find_words(message, "try again in ");
    return at > 0 ? duration_ms(str_slice(message, at, message.len)) : -1;
}

/* Some hosts say a status in the body, and more truly than the reply's head. */
static unsigned status_of(const struct json *j, uint32_t error, unsigned status)
{
    int64_t code = 0;
    if (status == 0 && json_i64(j, json_get(j, error, STR("code")), 400, 599, &code) == 0)
        return (unsigned)code;
    return status;
}

void tr_openai_error_of(const struct json *j, unsigned status, char room[TR_OPENAI_ERROR_ROOM],
                        struct tr_error *out)
{
    uint32_t error = error_node(j);
    uint32_t code = json_get(j, error, STR("code"));
    uint32_t inner = json_get(j, json_get(j, error, STR("innererror")), STR("code"));
    char words[3 * CODE_MAX];
    size_t used = 0;
    const uint32_t said[] = {code, json_get(j, error, STR("type")), inner};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        used += take(j, said[i], CODE_MAX, words + used).len;
    *out = (struct tr_error){.message = take(j, message_node(j, error), MESSAGE_MAX, room)};
    if (json_kind(j, code) != JSON_STRING && json_kind(j, code) != JSON_NUMBER)
        code = said[1];
    out->code = take(j, code, CODE_MAX, room + MESSAGE_MAX);
    out->kind = kind_of(status_of(j, error, status), (struct str){words, used}, out->message);
    out->wait_ms = wait_of(out->message);
}

void tr_openai_read_error(struct json *json, unsigned status, struct str name, struct str body,
                          struct arena *arena, struct tr_error *out)
{
    (void)name;
    char *room = arena_alloc(arena, TR_OPENAI_ERROR_ROOM);
    *out = (struct tr_error){.kind = kind_of(status, STR_NULL, STR_NULL), .wait_ms = -1};
    if (room != NULL && json_parse(json, body, NULL) == 0)
        tr_openai_error_of(json, status, room, out);
}

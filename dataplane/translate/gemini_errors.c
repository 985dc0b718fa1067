/* What Google says when it refuses (PROVIDER-TRANSLATION section 11): {"error":{"code","message",
 * "status","details"}}, sometimes in an array of one, or no JSON at all. */
#include <string.h>

#include "dataplane/translate/erring.h"
#include "dataplane/translate/gemini_internal.h"

#define MESSAGE_MAX 1024U
#define CODE_MAX    (GEMINI_ERROR_ROOM - MESSAGE_MAX)

static const struct {
    const char *name;
    enum tr_error_kind kind;
} names[] = {
    {"INVALID_ARGUMENT", TR_ERROR_INVALID_REQUEST},
    {"FAILED_PRECONDITION", TR_ERROR_INVALID_REQUEST},
    {"OUT_OF_RANGE", TR_ERROR_INVALID_REQUEST},
    {"UNAUTHENTICATED", TR_ERROR_AUTHENTICATION},
    {"PERMISSION_DENIED", TR_ERROR_PERMISSION},
    {"NOT_FOUND", TR_ERROR_NOT_FOUND},
    {"RESOURCE_EXHAUSTED", TR_ERROR_RATE_LIMITED},
    {"UNAVAILABLE", TR_ERROR_OVERLOADED},
    {"DEADLINE_EXCEEDED", TR_ERROR_TIMEOUT},
    {"INTERNAL", TR_ERROR_UPSTREAM},
    {"UNKNOWN", TR_ERROR_UPSTREAM},
    {"DATA_LOSS", TR_ERROR_UPSTREAM},
    {"CANCELLED", TR_ERROR_UPSTREAM},
    {"ABORTED", TR_ERROR_UPSTREAM},
};

static const struct tr_status_kind statuses[] = {
    {401, TR_ERROR_AUTHENTICATION}, {402, TR_ERROR_QUOTA},    {403, TR_ERROR_PERMISSION},
    {404, TR_ERROR_NOT_FOUND},      {408, TR_ERROR_TIMEOUT},  {413, TR_ERROR_CONTEXT_LENGTH},
    {429, TR_ERROR_RATE_LIMITED},   {499, TR_ERROR_UPSTREAM}, {503, TR_ERROR_OVERLOADED},
    {504, TR_ERROR_TIMEOUT},
};

/* An invalid request that is something else by its words. */
static const struct {
    const char *words;
    enum tr_error_kind kind;
} sayings[] = {
    {"exceeds the maximum number of tokens", TR_ERROR_CONTEXT_LENGTH},
    {"API key not valid", TR_ERROR_AUTHENTICATION},
    {"API key expired", TR_ERROR_AUTHENTICATION},
    {"API Key not found", TR_ERROR_AUTHENTICATION},
    {"User location is not supported", TR_ERROR_PERMISSION},
};

static enum tr_error_kind kind_of(unsigned status, struct str name)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_is(name, names[i].name))
            return names[i].kind;
    return tr_error_of_status(statuses, sizeof statuses / sizeof statuses[0], status);
}

/* At most max bytes, whole characters. */
static struct str take(const struct json *j, uint32_t node, size_t max, char *room)
{
    struct str s = {.data = room, .len = json_text_head(j, node, max, room)};
    if (s.len == max && json_text_length(j, node) > max)
        while (s.len > 0 && !str_valid_utf8(s))
            s.len--;
    return s;
}

/* "13s", "0.250s", as protobuf writes durations; -1: it is none. */
static int64_t duration_ms(struct str text)
{
    int64_t ms = 0, unit = 1000;
    size_t at = 0;
    for (; at < text.len && at < 10 && text.data[at] >= '0' && text.data[at] <= '9'; at++)
        ms = ms * 10 + (text.data[at] - '0') * 1000;
    if (at == 0)
        return -1;
    if (at < text.len && text.data[at] == '.')
        for (at++; at < text.len && text.data[at] >= '0' && text.data[at] <= '9'; at++) {
            unit /= 10;
            ms += unit * (text.data[at] - '0');
        }
    return at + 1 == text.len && text.data[at] == 's' ? ms : -1;
}

/* Of more than a minute or two: who waits for it waits for tomorrow. */
static bool is_of_a_day(const struct json *j, uint32_t detail)
{
    uint32_t at = 0, violation, list = json_get(j, detail, STR("violations"));
    char room[CODE_MAX];
    while (json_next_element(j, list, &at, &violation)) {
        struct str id = take(j, json_get(j, violation, STR("quotaId")), sizeof room, room);
        if (str_search(id, STR("PerDay")) >= 0)
            return true;
    }
    return false;
}

static void read_detail(const struct json *j, uint32_t detail, struct tr_error *out)
{
    char room[64];
    uint32_t delay = json_get(j, detail, STR("retryDelay"));
    uint32_t reason = json_get(j, detail, STR("reason"));
    if (json_kind(j, delay) == JSON_STRING)
        out->wait_ms = duration_ms(take(j, delay, sizeof room, room));
    if (json_string_is(j, reason, STR("API_KEY_INVALID")))
        out->kind = TR_ERROR_AUTHENTICATION;
    if (json_string_is(j, reason, STR("BILLING_DISABLED")))
        out->kind = TR_ERROR_QUOTA;
    if (out->kind == TR_ERROR_RATE_LIMITED && is_of_a_day(j, detail))
        out->kind = TR_ERROR_QUOTA;
}

uint32_t gemini_error_node(const struct json *j)
{
    uint32_t root = JSON_ROOT;
    if (json_kind(j, root) == JSON_ARRAY)
        root = json_at(j, root, 0);
    uint32_t error = json_get(j, root, STR("error"));
    return json_kind(j, error) == JSON_OBJECT ? error : JSON_NONE;
}

void gemini_error_of(const struct json *j, unsigned status, char room[GEMINI_ERROR_ROOM],
                     struct tr_error *out)
{
    uint32_t error = gemini_error_node(j), at = 0, detail;
    int64_t code = 0;
    *out = (struct tr_error){
        .message = take(j, json_get(j, error, STR("message")), MESSAGE_MAX, room),
        .code = take(j, json_get(j, error, STR("status")), CODE_MAX, room + MESSAGE_MAX),
        .wait_ms = -1};
    if (status == 0 && json_i64(j, json_get(j, error, STR("code")), 400, 599, &code) == 0)
        status = (unsigned)code;
    out->kind = kind_of(status, out->code);
    if (out->kind == TR_ERROR_INVALID_REQUEST)
        for (size_t i = 0; i < sizeof sayings / sizeof sayings[0]; i++)
            if (str_search(out->message, str_from(sayings[i].words)) >= 0)
                out->kind = sayings[i].kind;
    while (json_next_element(j, json_get(j, error, STR("details")), &at, &detail))
        read_detail(j, detail, out);
}

void gemini_read_error(struct json *json, unsigned status, struct str name, struct str body,
                       struct arena *arena, struct tr_error *out)
{
    (void)name;
    char *room = arena_alloc(arena, GEMINI_ERROR_ROOM);
    *out = (struct tr_error){.kind = kind_of(status, STR_NULL), .wait_ms = -1};
    if (room != NULL && json_parse(json, body, NULL) == 0)
        gemini_error_of(json, status, room, out);
}

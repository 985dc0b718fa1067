#include "dataplane/request/steering.h"

#include <string.h>

#include "common/net/http1_scan.h"

static bool name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-' || c == ':' || c == '/';
}

static bool name_valid(struct str s)
{
    if (s.len == 0 || s.len > STEERING_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!name_byte(s.data[i]))
            return false;
    return true;
}

bool steering_request_id_valid(struct str s)
{
    if (s.len == 0 || s.len > 128)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!name_byte(s.data[i]) || s.data[i] == '/')
            return false;
    return true;
}

static bool read_policy(struct str v, struct steering *s)
{
    struct str name, version;
    if (str_cut(v, '@', &name, &version)) {
        if (str_parse_u64(version, UINT64_MAX, &s->policy_version) != 0 || s->policy_version == 0)
            return false;
    }
    s->policy = name;
    return name_valid(name);
}

/* A value is printable ASCII without quotes or backslash: it goes into logs and exports as it is.
 */
static bool tag_valid(struct str tag)
{
    struct str key, value;
    if (tag.len > RECORD_TEXT_BYTES_MAX || !str_cut(tag, '=', &key, &value) || !name_valid(key))
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] < ' ' || value.data[i] > '~' || value.data[i] == '"' ||
            value.data[i] == '\\')
            return false;
    return true;
}

bool steering_add_tag(struct steering *s, struct str tag)
{
    if (!tag_valid(tag) || s->tag_count == RECORD_TAGS_MAX)
        return false;
    s->tags[s->tag_count++] = tag;
    if (str_starts(tag, STR("task=")))
        s->task = str_slice(tag, 5, tag.len);
    return true;
}

static bool read_tags(struct str v, struct steering *s)
{
    struct str rest = v;
    bool more = true;
    while (more) {
        struct str tag, tail = STR_NULL;
        more = str_cut(rest, ',', &tag, &tail);
        rest = tail;
        tag = str_trim(tag);
        if (tag.len == 0)
            continue;
        if (!steering_add_tag(s, tag))
            return false;
    }
    return true;
}

/* ---- read by wishes ---- */

static bool read_preferences(struct str v, struct steering *s)
{
    s->preferences = v;
    return v.len > 0;
}

static bool read_portkey_config(struct str v, struct steering *s)
{
    s->portkey_config = v;
    return v.len > 0;
}

static bool read_portkey_metadata(struct str v, struct steering *s)
{
    s->portkey_metadata = v;
    return v.len > 0;
}

static bool read_max_cost(struct str v, struct steering *s)
{
    return str_parse_fixed(v, 9, &s->max_cost_nanousd) == 0 && s->max_cost_nanousd > 0;
}

static bool read_quality(struct str v, struct steering *s)
{
    int64_t millionths;
    if (str_parse_fixed(v, 6, &millionths) != 0 || millionths < 0 || millionths > 1000000)
        return false;
    s->quality_q16 = (uint32_t)(millionths * 65536 / 1000000);
    return true;
}

static bool read_session(struct str v, struct steering *s)
{
    if (v.len == 0 || v.len > STEERING_SESSION_BYTES_MAX)
        return false;
    s->session = v; /* Whatever else says one. */
    return true;
}

static bool read_no_log(struct str v, struct steering *s)
{
    s->no_log = str_is(v, "true");
    return s->no_log || str_is(v, "false");
}

static bool read_usage(struct str v, struct steering *s)
{
    s->usage = str_is(v, "1");
    return s->usage || str_is(v, "0");
}

/* Not ours: what is malformed there is simply not a retry. */
static bool read_retry(struct str v, struct steering *s)
{
    uint64_t n;
    s->client_retry = str_parse_u64(v, 1000000, &n) == 0 && n > 0;
    return true;
}

static bool hex_lower(struct str s, bool *out_any)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        *out_any |= c != '0';
    }
    return true;
}

static bool read_traceparent(struct str v, struct steering *s)
{
    bool trace = false, parent = false, flags = true;
    if (v.len == 55 && str_starts(v, STR("00-")) && v.data[35] == '-' && v.data[52] == '-' &&
        hex_lower(str_slice(v, 3, 35), &trace) && hex_lower(str_slice(v, 36, 52), &parent) &&
        hex_lower(str_slice(v, 53, 55), &flags) && trace && parent)
        s->traceparent = v;
    return true;
}

static bool read_idempotency_key(struct str v, struct steering *s)
{
    if (v.len == 0 || v.len > STEERING_IDEMPOTENCY_MAX)
        return false;
    for (size_t i = 0; i < v.len; i++)
        if (v.data[i] < ' ' || v.data[i] > '~')
            return false;
    if (s->idempotency_key.len == 0)
        s->idempotency_key = v;
    return true;
}

/* Of coding agents, as Claude Code publishes them for gateways: read, never forwarded; what is
 * malformed there says nothing. */
static bool read_agent_session(struct str v, struct steering *s)
{
    if (s->session.len == 0 && v.len > 0 && v.len <= STEERING_SESSION_BYTES_MAX)
        s->session = v;
    return true;
}

static bool read_agent_class(struct str v, struct steering *s)
{
    static const struct str tags[] = {{"request_class=main", 18},
                                      {"request_class=subagent", 22},
                                      {"request_class=workflow", 22},
                                      {"request_class=compaction", 24},
                                      {"request_class=auxiliary", 23}};
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++)
        if (s->tag_count < RECORD_TAGS_MAX && str_eq(str_slice(tags[i], 14, tags[i].len), v))
            s->tags[s->tag_count++] = tags[i];
    return true;
}

static bool read_agent_compacted(struct str v, struct steering *s)
{
    s->compacted = v.len > 0 && !str_is(v, "false") && !str_is(v, "0");
    return true;
}

#define READERS(X)                                                                                 \
    X("x-steelyard-policy", read_policy)                                                           \
    X("x-steelyard-tags", read_tags)                                                               \
    X("x-steelyard-max-cost-usd", read_max_cost)                                                   \
    X("x-steelyard-quality", read_quality)                                                         \
    X("x-steelyard-session", read_session)                                                         \
    X("x-steelyard-no-log", read_no_log)                                                           \
    X("x-steelyard-usage", read_usage)                                                             \
    X("x-steelyard-preferences", read_preferences)                                                 \
    X("x-portkey-config", read_portkey_config)                                                     \
    X("x-portkey-metadata", read_portkey_metadata)                                                 \
    X("x-stainless-retry-count", read_retry)                                                       \
    X("x-claude-code-session-id", read_agent_session)                                              \
    X("x-claude-code-request-class", read_agent_class)                                             \
    X("x-claude-code-context-compacted", read_agent_compacted)                                     \
    X("idempotency-key", read_idempotency_key)                                                     \
    X("traceparent", read_traceparent)

static const struct reader {
    struct str name;
    bool (*read)(struct str v, struct steering *s);
} readers[] = {
#define X(name, read) {{name, sizeof(name) - 1}, read},
    READERS(X)
#undef X
};

/* NULL: none of them. */
static const struct reader *find_reader(struct str name)
{
    for (const struct reader *r = readers; r < readers + sizeof readers / sizeof readers[0]; r++)
        if (r->name.len == name.len && http1_name_is(name.data, r->name.data, name.len))
            return r;
    return NULL;
}

void steering_read(const struct http1_head *head, struct steering *s, const char **out_bad)
{
#define X(name, read) | http1_name_bit(name, sizeof(name) - 1)
    const uint64_t bits = 0 READERS(X); /* Known when compiled. */
#undef X
#define X(name, read) | UINT64_C(1) << (sizeof(name) - 1)
    const uint64_t lengths = 0 READERS(X);
#undef X
    memset(s, 0, sizeof *s);
    *out_bad = NULL;
    if ((head->names & bits) == 0) /* The usual head has none of ours. */
        return;
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http1_field *f = &head->fields[i];
        if (f->name_len > 63 || (lengths >> f->name_len & 1) == 0)
            continue;
        const struct str name = http1_field_name(head, i);
        if ((http1_name_bit(name.data, name.len) & bits) == 0)
            continue;
        const struct reader *r = find_reader(name);
        if (r != NULL && !r->read(str_trim(http1_field_value(head, i)), s))
            *out_bad = r->name.data;
    }
}

#include "dataplane/llm/reply.h"

#include "dataplane/llm/tokens.h"

uint64_t reply_count(const struct json *j, uint32_t object, struct str key, struct call_usage *u)
{
    int64_t v = 0;
    uint32_t node = json_get(j, object, key);
    if (node == JSON_NONE || json_kind(j, node) == JSON_NULL)
        return 0;
    if (json_i64(j, node, 0, INT64_C(1) << 40, &v) != 0)
        u->suspect = true;
    return (uint64_t)v;
}

bool reply_text(struct provider_reply *reply, const struct json *j, uint32_t node)
{
    if (json_kind(j, node) != JSON_STRING)
        return false;
    struct str raw = json_raw(j, node);
    if (raw.len <= 2)
        return false;
    reply->text_q8 += tokens_text_q8(str_slice(raw, 1, raw.len - 1));
    reply->content_bytes += json_text_length(j, node);
    return true;
}

void reply_note_model(struct provider_reply *reply, const struct json *j, uint32_t object)
{
    if (reply->print == 0)
        (void)provider_reply_print(reply, json_plain(j, json_get(j, object, STR("model"))),
                                   STR_NULL);
}

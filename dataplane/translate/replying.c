#include "dataplane/translate/replying.h"

int tr_replying_begin(struct tr_replying *r, struct json *json, struct str data,
                      const struct tr_sink *sink)
{
    if (r->text.cap > TR_REPLYING_KEEP)
        buf_deinit(&r->text);
    buf_clear(&r->text);
    r->json = json;
    r->sink = sink;
    int rc = json_parse(json, data, NULL);
    return rc == 0 || rc == ERR_NOMEM ? rc : ERR_PROTOCOL;
}

int tr_reply_text(struct tr_replying *r, uint32_t node, struct str *out)
{
    *out = json_plain(r->json, node);
    if (!json_is_escaped(r->json, node))
        return 0;
    size_t len = json_text_length(r->json, node);
    if (r->text.len == 0) { /* What is unescaped is never longer. */
        r->text.max = 2 * r->json->text.len;
        int rc = buf_reserve_exact(&r->text, r->text.max);
        if (rc != 0)
            return rc;
    }
    if (len > r->text.cap - r->text.len)
        return ERR_TOO_LARGE;
    char *at = r->text.data + r->text.len;
    *out = (struct str){.data = at, .len = json_text_head(r->json, node, len, at)};
    r->text.len += out->len;
    return 0;
}

int tr_reply_put_text(struct tr_replying *r, uint32_t node, struct tr_event event)
{
    int rc = tr_reply_text(r, node, &event.text);
    return rc == 0 && event.text.len > 0 ? tr_reply_put(r, &event) : rc;
}

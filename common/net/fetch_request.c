/* Copies what is asked for into one buffer that curl borrows from. */
#include <string.h>

#include "common/net/fetch_internal.h"

static int put_text(struct buf *b, struct str s)
{
    int rc = buf_append_str(b, s);
    return rc == 0 ? buf_append_char(b, '\0') : rc;
}

/* An empty value is written "Name;": curl takes "Name:" for an order to leave it out. */
static int put_field(struct buf *b, struct str name, struct str value)
{
    int rc = buf_append_str(b, name);
    if (rc == 0)
        rc = buf_append_text(b, value.len > 0 ? ": " : ";");
    return rc == 0 ? put_text(b, value) : rc;
}

static int put_all(struct buf *b, const struct fetch_request *r, size_t *out_fields)
{
    bool has_type = false;
    size_t count = r->field_count;
    int rc = put_text(b, r->method);
    if (rc == 0)
        rc = put_text(b, r->target);
    for (size_t i = 0; rc == 0 && i < r->field_count; i++) {
        has_type = has_type || str_eq_nocase(r->fields[i].name, STR("content-type"));
        rc = put_field(b, r->fields[i].name, str_trim(r->fields[i].value));
    }
    if (rc == 0)
        rc = put_text(b, STR("Expect:"));
    count++;
    if (rc == 0 && !has_type) {
        rc = put_text(b, STR("Content-Type:"));
        count++;
    }
    *out_fields = count;
    return rc;
}

static char *next_text(char *text)
{
    return text + strlen(text) + 1;
}

static CURLcode set_method(CURL *easy, const char *method, bool has_body)
{
    CURLcode rc = CURLE_OK;
    bool post = has_body || strcmp(method, "POST") == 0;
    if (post)
        rc = curl_easy_setopt(easy, CURLOPT_POST, 1L);
    else if (strcmp(method, "HEAD") == 0)
        rc = curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else
        rc = curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    if (rc != CURLE_OK)
        return rc;
    bool same =
        strcmp(method, post ? "POST" : "GET") == 0 || (!post && strcmp(method, "HEAD") == 0);
    return curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, same ? NULL : method);
}

int fetch_prepare(struct fetch *f, const struct fetch_request *r)
{
    size_t field_count = 0;
    curl_off_t body_bytes = 0;
    int rc = fetch_check_request(r);
    buf_clear(&f->text);
    if (rc == 0)
        rc = put_all(&f->text, r, &field_count);
    if (rc != 0)
        return rc;
    const char *method = f->text.data;
    char *text = next_text(f->text.data);
    const char *target = text;
    for (size_t i = 0; i < field_count; i++) {
        text = next_text(text);
        f->fields[i] = (struct curl_slist){.data = text, .next = &f->fields[i + 1]};
    }
    f->fields[field_count - 1].next = NULL;
    f->span_count = r->body_count;
    f->span_at = 0;
    f->span_offset = 0;
    for (size_t i = 0; i < r->body_count; i++) {
        f->spans[i] = r->body[i];
        body_bytes += (curl_off_t)r->body[i].len;
    }
    CURLcode code = set_method(f->easy, method, body_bytes > 0);
    if (code == CURLE_OK)
        code = curl_easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, body_bytes);
    if (code == CURLE_OK)
        code = curl_easy_setopt(f->easy, CURLOPT_REQUEST_TARGET, target);
    if (code == CURLE_OK)
        code = curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->fields);
    if (code == CURLE_OK)
        code = curl_easy_setopt(f->easy, CURLOPT_FRESH_CONNECT, r->fresh ? 1L : 0L);
    http1_response_init(&f->head, strcmp(method, "HEAD") == 0 ? HTTP1_HEAD : HTTP1_GET);
    return code == CURLE_OK ? 0 : ERR_NOMEM;
}

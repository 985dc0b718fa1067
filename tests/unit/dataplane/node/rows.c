#include "tests/unit/dataplane/node/rows.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/dataplane/node/replies.h"

static uint8_t bytes[131072];

Decision *rows[ROWS_MAX];
size_t row_count;

void rows_ask(struct rig *r, const char *headers, const char *body, struct rig_answer *out)
{
    static char text[ROWS_BODY_MAX + 2048];
    int n = snprintf(text, sizeof text,
                     "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                     "Authorization: Bearer " RIG_KEY "\r\n%s"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     headers, strlen(body), body);
    assert_in_range(n, 1, sizeof text - 1);
    rig_exchange_raw(r, text, (size_t)n, out);
}

Decision *rows_copy(const Decision *d)
{
    size_t len = protobuf_c_message_pack(&d->base, bytes);
    return steelyard__telemetry__v1__decision__unpack(NULL, len, bytes);
}

static void keep_row(const Decision *row, void *arg)
{
    (void)arg;
    assert_true(row_count < ROWS_MAX);
    rows[row_count++] = rows_copy(row);
}

void rows_begin(struct rig *r, const struct rig_options *options)
{
    rig_start(r, options);
    r->on_row = keep_row;
}

void rows_forget(void)
{
    while (row_count > 0)
        steelyard__telemetry__v1__decision__free_unpacked(rows[--row_count], NULL);
}

void rows_script_all(struct rig *r)
{
    for (size_t i = 0; i < RIG_PROVIDERS; i++)
        rig_script(r, i, (struct rig_script){.reply = replies_whole()});
}

void rows_open(struct record_cache *cache, const Decision *d, struct record *out)
{
    struct err err = {0};
    uint8_t key[16]; /* The rig's. */
    memset(key, 2, sizeof key);
    size_t len = protobuf_c_message_pack(&d->base, bytes);
    struct str detail = {.data = (const char *)bytes, .len = len};
    if (record_open(NULL, cache, detail, siphash_key_from_bytes(key), out, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(out->skip, RECORD_USABLE);
    assert_true(out->has_features);
}

void rows_replay(struct record_cache *cache, const Decision *d)
{
    static struct record record;
    struct record_cache none = {0};
    struct policy_decision decision;
    struct explain_mismatch mismatch;
    rows_open(cache != NULL ? cache : &none, d, &record);
    assert_int_equal(record_replay(&record, &decision, &mismatch), 0);
    if (mismatch.field != NULL)
        fail_msg("%s differs", mismatch.field);
    record_close(&record);
}

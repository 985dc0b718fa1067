#include "tests/unit/dataplane/matrix/harms_acts.h"

#include <string.h>

/* ---- pieces ---- */

static void put(struct harm_act *a, const char *text)
{
    assert_int_equal(buf_append(&a->bytes, text, strlen(text)), 0);
}

static void put_many(struct harm_act *a, const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++)
        put(a, text);
}

static const char *type_of(const struct harm_scene *s)
{
    return s->stream ? s->voice->type : "application/json";
}

/* A head up to its last field. */
static void put_head(const struct harm_scene *s, struct harm_act *a, const char *status)
{
    assert_int_equal(
        buf_printf(&a->bytes, "HTTP/1.1 %s\r\nContent-Type: %s\r\n", status, type_of(s)), 0);
}

static void make_good(const struct harm_scene *s, struct voice_usage usage, struct buf *out)
{
    buf_init(out, 16U << 20);
    if (s->stream)
        voice_put_frames(s->voice, &s->voice->hello, 0, s->voice->hello.count, usage, out);
    else
        voice_put_text(s->voice, s->voice->whole, usage, out);
}

static void put_sized(struct harm_act *a, struct str body)
{
    assert_int_equal(buf_printf(&a->bytes, "Content-Length: %zu\r\n\r\n", body.len), 0);
    assert_int_equal(buf_append_str(&a->bytes, body), 0);
}

static void put_chunk(struct harm_act *a, struct str body)
{
    if (body.len == 0)
        return;
    assert_int_equal(buf_printf(&a->bytes, "%zx\r\n", body.len), 0);
    assert_int_equal(buf_append_str(&a->bytes, body), 0);
    put(a, "\r\n");
}

/* As most providers frame it. */
static void put_framed(const struct harm_scene *s, struct harm_act *a, struct str body)
{
    if (!s->stream) {
        put_sized(a, body);
        return;
    }
    put(a, "Transfer-Encoding: chunked\r\n\r\n");
    put_chunk(a, body);
    put(a, "0\r\n\r\n");
}

static void put_answer(const struct harm_scene *s, struct harm_act *a, const char *status,
                       struct str body)
{
    put_head(s, a, status);
    put_framed(s, a, body);
}

static void put_good(const struct harm_scene *s, struct harm_act *a, struct voice_usage usage)
{
    struct buf body;
    make_good(s, usage, &body);
    put_answer(s, a, "200 OK", buf_str(&body));
    buf_deinit(&body);
}

/* Frames of the good stream, some of them. */
static void put_frames(const struct harm_scene *s, size_t from, size_t to, struct buf *out)
{
    voice_put_frames(s->voice, &s->voice->hello, from, to, VOICE_USAGE, out);
}

/* ---- B32: the head ---- */

bool harm_bytes_then_close(const struct harm_scene *s, struct harm_act *a)
{
    put(a, s->word);
    a->then = RIG_CLOSE;
    return true;
}

bool harm_bytes_then_reset(const struct harm_scene *s, struct harm_act *a)
{
    put(a, s->word);
    a->then = RIG_RESET;
    return true;
}

bool harm_big_head(const struct harm_scene *s, struct harm_act *a)
{
    put_head(s, a, "200 OK");
    put_many(a, s->word, 70 * 1024 / strlen(s->word));
    put_framed(s, a, STR("{}"));
    return true;
}

bool harm_endless_1xx(const struct harm_scene *s, struct harm_act *a)
{
    put_many(a, s->word, 4000);
    a->then = RIG_HOLD;
    return true;
}

bool harm_two_1xx(const struct harm_scene *s, struct harm_act *a)
{
    put_many(a, s->word, 2);
    put_good(s, a, VOICE_USAGE);
    return true;
}

/* ---- B33: the body's length ---- */

/* Ends where a caller has had a piece of a stream, or half of a whole reply. */
bool harm_short_body(const struct harm_scene *s, struct harm_act *a)
{
    struct buf body;
    buf_init(&body, 1U << 20);
    if (s->stream)
        put_frames(s, 0, s->voice->hello.content + 1, &body);
    else
        voice_put_text(s->voice, s->voice->whole, VOICE_USAGE, &body);
    put_head(s, a, "200 OK");
    assert_int_equal(buf_printf(&a->bytes, "Content-Length: %zu\r\n\r\n", body.len + 9), 0);
    assert_int_equal(buf_append_str(&a->bytes, buf_str(&body)), 0);
    buf_deinit(&body);
    a->then = s->word[0] == 'r' ? RIG_RESET : RIG_CLOSE;
    return true;
}

bool harm_no_last_chunk(const struct harm_scene *s, struct harm_act *a)
{
    struct buf body;
    buf_init(&body, 1U << 20);
    if (s->stream)
        put_frames(s, 0, s->voice->hello.content + 1, &body);
    else
        voice_put_text(s->voice, s->voice->whole, VOICE_USAGE, &body);
    put_head(s, a, "200 OK");
    put(a, "Transfer-Encoding: chunked\r\n\r\n");
    put_chunk(a, buf_str(&body));
    buf_deinit(&body);
    a->then = RIG_CLOSE;
    return true;
}

bool harm_before_content(const struct harm_scene *s, struct harm_act *a)
{
    struct buf body;
    if (s->voice->hello.content == 0)
        return false;
    buf_init(&body, 1U << 20);
    put_frames(s, 0, s->voice->hello.content, &body);
    put_head(s, a, "200 OK");
    put(a, "Transfer-Encoding: chunked\r\n\r\n");
    put_chunk(a, buf_str(&body));
    buf_deinit(&body);
    a->then = RIG_CLOSE;
    return true;
}

bool harm_extra_bytes(const struct harm_scene *s, struct harm_act *a)
{
    put_good(s, a, VOICE_USAGE);
    put(a, s->word);
    return true;
}

bool harm_bad_chunk(const struct harm_scene *s, struct harm_act *a)
{
    struct buf body;
    buf_init(&body, 1U << 20);
    if (s->stream)
        put_frames(s, 0, s->voice->hello.content + 1, &body);
    else
        voice_put_text(s->voice, s->voice->whole, VOICE_USAGE, &body);
    put_head(s, a, "200 OK");
    put(a, "Transfer-Encoding: chunked\r\n\r\n");
    put_chunk(a, buf_str(&body));
    put(a, "xyz\r\nabc\r\n0\r\n\r\n");
    buf_deinit(&body);
    return true;
}

/* ---- B34: framing, compression, redirects ---- */

bool harm_with_field(const struct harm_scene *s, struct harm_act *a)
{
    struct buf body;
    make_good(s, VOICE_USAGE, &body);
    put_head(s, a, "200 OK");
    put(a, s->word);
    put_framed(s, a, buf_str(&body));
    buf_deinit(&body);
    return true;
}

bool harm_both_framings(const struct harm_scene *s, struct harm_act *a)
{
    struct buf body;
    make_good(s, VOICE_USAGE, &body);
    put_head(s, a, "200 OK");
    put(a, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
    put_chunk(a, buf_str(&body));
    put(a, "0\r\n\r\n");
    buf_deinit(&body);
    return true;
}

bool harm_status_line(const struct harm_scene *s, struct harm_act *a)
{
    put_head(s, a, s->word);
    put_sized(a, STR("{}"));
    return true;
}

/* ---- B35 and the other statuses ---- */

bool harm_error_status(const struct harm_scene *s, struct harm_act *a)
{
    const struct voice *v = s->voice;
    const char *body = v->refusal;
    if (s->word[0] == '5' || strncmp(s->word, "40", 2) == 0)
        body = v->failure;
    if (strncmp(s->word, "401", 3) == 0 || strncmp(s->word, "403", 3) == 0)
        body = v->denial;
    if (strncmp(s->word, "400", 3) == 0 || strstr(s->word, "blames") != NULL)
        body = v->refusal;
    assert_int_equal(buf_printf(&a->bytes,
                                "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: "
                                "%zu\r\n\r\n%s",
                                s->word, strlen(body), body),
                     0);
    return true;
}

bool harm_html_status(const struct harm_scene *s, struct harm_act *a)
{
    assert_int_equal(buf_printf(&a->bytes,
                                "HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: "
                                "15\r\n\r\n<html>no</html>",
                                s->word),
                     0);
    return true;
}

/* ---- B36 ---- */

bool harm_byte_chunks(const struct harm_scene *s, struct harm_act *a)
{
    struct buf body;
    make_good(s, VOICE_USAGE, &body);
    put_head(s, a, "200 OK");
    put(a, "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < body.len; i++)
        put_chunk(a, str_slice(buf_str(&body), i, i + 1));
    put(a, "0\r\n\r\n");
    buf_deinit(&body);
    return true;
}

bool harm_event_flood(const struct harm_scene *s, struct harm_act *a)
{
    const struct voice *v = s->voice;
    struct buf body;
    buf_init(&body, 16U << 20);
    put_frames(s, 0, v->hello.content, &body);
    for (size_t i = 0; i < 2000; i++)
        put_frames(s, v->hello.content, v->hello.content + 1, &body);
    voice_put_frames(v, &v->hello, v->hello.finish, v->hello.count,
                     (struct voice_usage){"10", "4000"}, &body);
    put_answer(s, a, "200 OK", buf_str(&body));
    buf_deinit(&body);
    return true;
}

/* ---- F12: time ---- */

unsigned harm_patience_ms;

bool harm_silent(const struct harm_scene *s, struct harm_act *a)
{
    struct buf body;
    buf_init(&body, 1U << 20);
    switch (s->word[0]) {
    case 'h':
        a->options.head_ms = harm_patience_ms;
        break;
    case 'c': /* Before content. */
        if (s->voice->hello.content == 0)
            return false;
        a->options.first_content_ms = harm_patience_ms;
        a->options.head_ms = harm_patience_ms;
        put_frames(s, 0, s->voice->hello.content, &body);
        break;
    default: /* Between events. */
        a->options.idle_ms = harm_patience_ms;
        put_frames(s, 0, s->voice->hello.content + 1, &body);
    }
    if (s->word[0] != 'h') {
        put_head(s, a, "200 OK");
        put(a, "Transfer-Encoding: chunked\r\n\r\n");
        put_chunk(a, buf_str(&body));
    }
    buf_deinit(&body);
    a->then = RIG_HOLD;
    return true;
}

/* ---- B37: events ---- */

/* The good stream with other line ends: word has those of even lines and of odd ones. */
bool harm_line_ends(const struct harm_scene *s, struct harm_act *a)
{
    struct buf body, out;
    size_t line = 0;
    make_good(s, VOICE_USAGE, &body);
    buf_init(&out, 1U << 20);
    for (size_t i = 0; i < body.len; i++) {
        if (body.data[i] != '\n') {
            assert_int_equal(buf_append_char(&out, body.data[i]), 0);
            continue;
        }
        const char kind = s->word[line++ % strlen(s->word)];
        assert_int_equal(buf_append_text(&out, kind == 'r'   ? "\r"
                                               : kind == 'n' ? "\n"
                                                             : "\r\n"),
                         0);
    }
    put_answer(s, a, "200 OK", buf_str(&out));
    buf_deinit(&body);
    buf_deinit(&out);
    return true;
}

bool harm_with_prefix(const struct harm_scene *s, struct harm_act *a)
{
    struct buf body, out;
    make_good(s, VOICE_USAGE, &body);
    buf_init(&out, 1U << 20);
    assert_int_equal(buf_append_text(&out, s->word), 0);
    assert_int_equal(buf_append_str(&out, buf_str(&body)), 0);
    put_answer(s, a, "200 OK", buf_str(&out));
    buf_deinit(&body);
    buf_deinit(&out);
    return true;
}

bool harm_no_newline(const struct harm_scene *s, struct harm_act *a)
{
    struct buf body;
    make_good(s, VOICE_USAGE, &body);
    body.len -= 2;
    put_answer(s, a, "200 OK", buf_str(&body));
    buf_deinit(&body);
    return true;
}

/* word: "0" before content or "1" behind it, then what the event is. */
static void spoil(const struct harm_scene *s, struct harm_act *a, struct str event)
{
    const struct voice *v = s->voice;
    const size_t at = v->hello.content + (s->word[0] == '1');
    struct buf body;
    buf_init(&body, 40U << 20);
    put_frames(s, 0, at, &body);
    assert_int_equal(buf_append_str(&body, event), 0);
    put_frames(s, at, v->hello.count, &body);
    put_answer(s, a, "200 OK", buf_str(&body));
    buf_deinit(&body);
}

bool harm_bad_json(const struct harm_scene *s, struct harm_act *a)
{
    spoil(s, a, STR("data: {\"id\":\"c\",\"choices\":[\n\n"));
    return true;
}

/* What the responses dialect ends with repeats the whole answer, so it may be long there. */
bool harm_huge_event(const struct harm_scene *s, struct harm_act *a)
{
    const size_t mib = s->voice->dialect == DIALECT_RESPONSES ? 17 : 2;
    struct buf event;
    buf_init(&event, 20U << 20);
    assert_int_equal(buf_append_text(&event, "data: {\"pad\":\""), 0);
    assert_int_equal(buf_reserve(&event, mib << 20), 0);
    memset(event.data + event.len, 'a', mib << 20);
    event.len += mib << 20;
    assert_int_equal(buf_append_text(&event, "\"}\n\n"), 0);
    spoil(s, a, buf_str(&event));
    buf_deinit(&event);
    return true;
}

bool harm_error_event(const struct harm_scene *s, struct harm_act *a)
{
    const struct voice *v = s->voice;
    const struct voice_frame *frame = s->word[1] == 'l' ? &v->limit : &v->error;
    struct buf event;
    if (frame->data == NULL)
        return false;
    buf_init(&event, 65536);
    voice_put_frame(v, frame, VOICE_USAGE, &event);
    spoil(s, a, buf_str(&event));
    buf_deinit(&event);
    return true;
}

/* word: how many frames before the finish, or 'f' with it. */
bool harm_no_end(const struct harm_scene *s, struct harm_act *a)
{
    const struct voice *v = s->voice;
    struct buf body;
    if (s->word[0] == 'f' && v->hello.finish + 1 == v->hello.count)
        return false; /* What finishes it ends it. */
    buf_init(&body, 1U << 20);
    put_frames(s, 0, v->hello.finish + (s->word[0] == 'f'), &body);
    put_answer(s, a, "200 OK", buf_str(&body));
    buf_deinit(&body);
    return true;
}

bool harm_data_after_end(const struct harm_scene *s, struct harm_act *a)
{
    const struct voice *v = s->voice;
    struct buf body;
    make_good(s, VOICE_USAGE, &body);
    voice_put_frames(v, &v->hello, v->hello.content, v->hello.content + 1, VOICE_USAGE, &body);
    put_answer(s, a, "200 OK", buf_str(&body));
    buf_deinit(&body);
    return true;
}

bool harm_no_stream(const struct harm_scene *s, struct harm_act *a)
{
    struct harm_scene whole = *s;
    whole.stream = s->word[0] == 's';
    put_good(&whole, a, VOICE_USAGE);
    return true;
}

bool harm_whole_body(const struct harm_scene *s, struct harm_act *a)
{
    put_answer(s, a, "200 OK", str_from(s->word));
    return true;
}

bool harm_whole_error(const struct harm_scene *s, struct harm_act *a)
{
    put_answer(s, a, "200 OK", str_from(s->word[0] == 'l' ? s->voice->limited : s->voice->refusal));
    /* Bedrock's bodies do not say what they are, and Cohere's do not either. */
    return s->voice->error.data != NULL && s->voice->dialect != DIALECT_BEDROCK;
}

/* ---- B38: usage ---- */

bool harm_usage(const struct harm_scene *s, struct harm_act *a)
{
    const char *comma = strchr(s->word, ',');
    char in[32];
    if (comma == NULL) {
        put_good(s, a, (struct voice_usage){NULL, NULL});
        return true;
    }
    snprintf(in, sizeof in, "%.*s", (int)(comma - s->word), s->word);
    put_good(s, a, (struct voice_usage){in, comma + 1});
    return true;
}

/* ---- B39, B40 ---- */

bool harm_no_tls(const struct harm_scene *s, struct harm_act *a)
{
    a->options.tls_there = true;
    put_good(s, a, VOICE_USAGE);
    return true;
}

bool harm_private_address(const struct harm_scene *s, struct harm_act *a)
{
    a->options.public_only = true;
    put_good(s, a, VOICE_USAGE);
    return true;
}

/* ---- B41 ---- */

bool harm_limited(const struct harm_scene *s, struct harm_act *a)
{
    assert_int_equal(buf_printf(&a->bytes,
                                "HTTP/1.1 429 Too Many Requests\r\nContent-Type: "
                                "application/json\r\n%sContent-Length: %zu\r\n\r\n%s",
                                s->word, strlen(s->voice->limited), s->voice->limited),
                     0);
    return true;
}

/* A block is searched for its blank line first, line by line; only a complete block is taken apart.
 * Nothing is kept between chunks but the position and what the last line ended in. */
#include "common/net/sse.h"

#include <assert.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* IN_LINE: the line has bytes. LINE_START: at the beginning of a line. After a CR that may be half
 * of a CRLF: CR_LINE ended a line, CR_BLOCK the block. */
enum sse_state { SSE_LINE_START, SSE_IN_LINE, SSE_CR_LINE, SSE_CR_BLOCK };

void sse_reader_init(struct sse_reader *r, size_t event_bytes_max)
{
    *r = (struct sse_reader){0};
    r->event_bytes_max = event_bytes_max != 0 ? event_bytes_max : SSE_EVENT_BYTES_MAX;
    buf_init(&r->pending, r->event_bytes_max + 1); /* One more: the byte behind a CR. */
    buf_init(&r->joined, r->event_bytes_max);
    r->first = true;
}

void sse_reader_reset(struct sse_reader *r)
{
    buf_clear(&r->pending);
    buf_clear(&r->joined);
    r->scan_at = 0;
    r->state = SSE_LINE_START;
    r->bare_cr = false;
    r->first = true;
    r->clear_next = false;
    r->status = 0;
}

void sse_reader_deinit(struct sse_reader *r)
{
    buf_deinit(&r->pending);
    buf_deinit(&r->joined);
}

void sse_reader_allow(struct sse_reader *r, size_t event_bytes_max)
{
    r->event_bytes_max = event_bytes_max != 0 ? event_bytes_max : SSE_EVENT_BYTES_MAX;
    r->pending.max = r->event_bytes_max + 1;
    r->joined.max = r->event_bytes_max;
}

int sse_reader_status(const struct sse_reader *r)
{
    return r->status;
}

static size_t find_line_end(struct str s, size_t at)
{
#if defined(__SSE2__)
    const __m128i cr = _mm_set1_epi8('\r');
    const __m128i lf = _mm_set1_epi8('\n');
    while (s.len - at >= 32) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(s.data + at));
        __m128i w = _mm_loadu_si128((const __m128i *)(const void *)(s.data + at + 16));
        __m128i low = _mm_min_epu8(v, w); /* Both are among the smallest bytes. */
        if (_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(low, cr), low)) != 0)
            break;
        at += 32;
    }
    while (s.len - at >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(s.data + at));
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);
        if (mask != 0)
            return at + (unsigned)__builtin_ctz(mask);
        at += 16;
    }
#endif
    while (at < s.len && s.data[at] != '\r' && s.data[at] != '\n')
        at++;
    return at;
}

/* Looks for the end of the block in s (all of the block so far), from r->scan_at. 0: not there yet;
 * else its length. */
static size_t find_block_end(struct sse_reader *r, struct str s)
{
    size_t at = r->scan_at;
    while (at < s.len) {
        char c = s.data[at];
        switch ((enum sse_state)r->state) {
        case SSE_CR_BLOCK:
            return c == '\n' ? at + 1 : at;
        case SSE_CR_LINE:
            r->bare_cr = c != '\n';
            r->state = SSE_LINE_START;
            if (c == '\n')
                at++;
            break;
        case SSE_IN_LINE:
            at = find_line_end(s, at);
            if (at == s.len)
                break;
            r->state = s.data[at] == '\r' ? SSE_CR_LINE : SSE_LINE_START;
            r->bare_cr = false;
            at++;
            break;
        case SSE_LINE_START:
            if (c == '\n' && !(r->bare_cr && at == 0))
                return at + 1;
            if (c == '\n') { /* Other half of the CR that ended the block before. */
                r->bare_cr = false;
                at++;
            } else if (c == '\r') {
                at++;
                if (r->bare_cr)
                    return at;
                r->state = SSE_CR_BLOCK;
            } else {
                r->state = SSE_IN_LINE;
            }
            break;
        }
    }
    r->scan_at = at;
    return 0;
}

static bool take_data(struct sse_reader *r, struct sse_event *e, struct str value)
{
    if (!e->has_data) {
        e->has_data = true;
        e->data = value;
        return true;
    }
    int rc = 0;
    if (r->joined.len == 0 || e->data.data != r->joined.data) {
        buf_clear(&r->joined);
        rc = buf_append_str(&r->joined, e->data);
    }
    if (rc == 0)
        rc = buf_append_char(&r->joined, '\n');
    if (rc == 0)
        rc = buf_append_str(&r->joined, value);
    if (rc != 0) {
        r->status = rc;
        return false;
    }
    e->data = buf_str(&r->joined);
    return true;
}

static bool take_line(struct sse_reader *r, struct sse_event *e, struct str line)
{
    struct str name;
    struct str value = STR("");
    if (line.len == 0)
        return true;
    if (line.data[0] == ':') {
        e->has_comment = true;
        return true;
    }
    if (str_cut(line, ':', &name, &value)) {
        if (value.len > 0 && value.data[0] == ' ')
            value = str_slice(value, 1, value.len);
    } else {
        name = line;
        value = STR("");
    }
    if (str_is(name, "data"))
        return take_data(r, e, value);
    if (str_is(name, "event")) {
        e->name = value;
    } else if (str_is(name, "id")) {
        if (str_find(value, '\0') < 0)
            e->id = value;
    } else if (str_is(name, "retry")) {
        uint64_t ms = 0;
        if (str_parse_u64(value, UINT64_MAX, &ms) == 0) {
            e->retry_ms = ms;
            e->has_retry = true;
        }
    }
    return true;
}

/* Takes a block apart. False: memory ran out. */
static bool parse_block(struct sse_reader *r, struct str raw, struct sse_event *out)
{
    struct sse_event e = {.raw = raw};
    struct str rest = raw;
    buf_clear(&r->joined);
    if (r->first && str_starts(rest, STR("\xef\xbb\xbf")))
        rest = str_slice(rest, 3, rest.len);
    r->first = false;
    while (rest.len > 0) {
        size_t end = find_line_end(rest, 0);
        if (!take_line(r, &e, str_slice(rest, 0, end)))
            return false;
        rest =
            str_slice(rest, end + 1, rest.len); /* The LF of a CRLF is an empty line: harmless. */
    }
    *out = e;
    return true;
}

static void begin_block(struct sse_reader *r, bool cr_ended)
{
    r->scan_at = 0;
    r->state = SSE_LINE_START;
    r->bare_cr = cr_ended;
}

/* A block of one data line with LF ends, which is nearly all there is. */
static bool take_usual(struct sse_reader *r, struct str *io_input, struct sse_event *out_event)
{
    struct str s = *io_input;
    if (r->pending.len > 0 || r->bare_cr || s.len < 8 || memcmp(s.data, "data: ", 6) != 0)
        return false;
    size_t end = find_line_end(s, 6);
    if (s.len - end < 2 || s.data[end] != '\n' || s.data[end + 1] != '\n' ||
        end + 2 > r->event_bytes_max)
        return false;
    *out_event = (struct sse_event){
        .raw = {s.data, end + 2}, .data = {s.data + 6, end - 6}, .has_data = true};
    *io_input = (struct str){s.data + end + 2, s.len - end - 2};
    r->first = false;
    return true;
}

bool sse_reader_next(struct sse_reader *r, struct str *io_input, struct sse_event *out_event)
{
    if (r->clear_next) {
        buf_clear(&r->pending);
        r->clear_next = false;
    }
    if (r->status != 0 || io_input->len == 0)
        return false;
    if (take_usual(r, io_input, out_event))
        return true;
    size_t before = r->pending.len;
    struct str block = *io_input;
    if (before > 0) {
        /* No more is copied than one block may hold; what is behind its end goes back. */
        size_t room = r->event_bytes_max + 1 - before;
        struct str more = str_slice(*io_input, 0, room < io_input->len ? room : io_input->len);
        r->status = buf_append_str(&r->pending, more);
        if (r->status != 0)
            return false;
        block = buf_str(&r->pending);
    }
    size_t end = find_block_end(r, block);
    if ((end == 0 && before + io_input->len > r->event_bytes_max) || end > r->event_bytes_max) {
        r->status = ERR_TOO_LARGE;
        return false;
    }
    if (end == 0) {
        if (before == 0)
            r->status = buf_append_str(&r->pending, block);
        *io_input = str_slice(*io_input, io_input->len, io_input->len);
        return false;
    }
    assert(end >= before);
    *io_input = str_slice(*io_input, end - before, io_input->len);
    bool cr_ended = block.data[end - 1] == '\r';
    r->pending.len = before > 0 ? end : 0;
    r->clear_next = before > 0;
    begin_block(r, cr_ended);
    if (!parse_block(r, str_slice(block, 0, end), out_event))
        return false;
    out_event->copied = before > 0;
    return true;
}

bool sse_finish(struct sse_reader *r, struct sse_event *out_event)
{
    if (r->clear_next)
        buf_clear(&r->pending);
    r->clear_next = false;
    if (r->status != 0 || r->pending.len == 0)
        return false;
    bool complete = r->state == SSE_CR_BLOCK;
    if (!parse_block(r, buf_str(&r->pending), out_event))
        return false;
    out_event->copied = true;
    out_event->cut = !complete && !str_is(out_event->raw, "\n"); /* LF of the CR before. */
    r->clear_next = true;
    begin_block(r, false);
    return true;
}

static bool is_plain(struct str s)
{
    return str_find(s, '\r') < 0 && str_find(s, '\n') < 0 && str_find(s, '\0') < 0;
}

static int write_line(struct buf *out, const char *field, struct str value)
{
    int rc = buf_append_text(out, field);
    if (rc == 0)
        rc = buf_append_str(out, value);
    return rc == 0 ? buf_append_char(out, '\n') : rc;
}

static int write_lines(struct buf *out, const char *field, struct str text)
{
    int rc = 0;
    bool more = true;
    while (rc == 0 && more) {
        size_t end = find_line_end(text, 0);
        rc = write_line(out, field, str_slice(text, 0, end));
        more = end < text.len;
        size_t skip =
            more && text.data[end] == '\r' && end + 1 < text.len && text.data[end + 1] == '\n' ? 2
                                                                                               : 1;
        text = str_slice(text, end + skip, text.len);
    }
    return rc;
}

static int end_frame(struct buf *out, size_t before, int rc)
{
    if (rc == 0)
        rc = buf_append_char(out, '\n');
    if (rc != 0)
        out->len = before;
    return rc;
}

int sse_write_event_id(struct buf *out, struct str id, struct str name, struct str data)
{
    size_t before = out->len;
    int rc = 0;
    if (!is_plain(id) || !is_plain(name))
        return ERR_INVALID;
    if (id.data != NULL)
        rc = write_line(out, "id: ", id);
    if (rc == 0 && name.data != NULL)
        rc = write_line(out, "event: ", name);
    if (rc == 0)
        rc = write_lines(out, "data: ", data);
    return end_frame(out, before, rc);
}

int sse_write_event(struct buf *out, struct str name, struct str data)
{
    return sse_write_event_id(out, STR_NULL, name, data);
}

int sse_write_comment(struct buf *out, struct str text)
{
    size_t before = out->len;
    return end_frame(out, before, write_lines(out, ": ", text));
}

int sse_write_retry(struct buf *out, uint64_t retry_ms)
{
    size_t before = out->len;
    int rc = buf_append_text(out, "retry: ");
    if (rc == 0)
        rc = buf_append_u64(out, retry_ms);
    if (rc == 0)
        rc = buf_append_char(out, '\n');
    return end_frame(out, before, rc);
}

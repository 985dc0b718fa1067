/* Any bytes: the parse ends, says the same by every way of reading and however the bytes are cut,
 * its memory is bounded, and a text made anew out of its spans parses to the same values. */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/json/json.h"
#include "common/json/json_internal.h"
#include "common/json/json_splice.h"
#include "common/json/json_writer.h"

#define MEMORY_CONSTANT_BYTES 65536U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Its first and last bytes are those of the whole. */
static void check_ends(const struct json *j, uint32_t node, struct str text)
{
    char out[64];
    static const size_t lengths[] = {0, 1, 3, 64};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t n = lengths[i] < text.len ? lengths[i] : text.len;
        require(json_text_head(j, node, lengths[i], out) == n);
        require(n == 0 || memcmp(out, text.data, n) == 0);
        require(json_text_tail(j, node, lengths[i], out) == n);
        require(n == 0 || memcmp(out, text.data + text.len - n, n) == 0);
    }
}

/* Without recursion: the ends of the open containers are on a stack. */
static void rewrite(const struct json *j, struct json_writer *w)
{
    uint32_t open[JSON_DEPTH_MAX];
    uint32_t depth = 0;
    uint32_t i = 0;
    uint32_t in_value = 0; /* The node that is a member's value. */
    struct arena a;
    arena_init(&a, NULL, SIZE_MAX / 2);
    while (i < j->count || depth > 0) {
        if (depth > 0 && i == j->nodes[open[depth - 1]].next) {
            if (json_kind(j, open[--depth]) == JSON_OBJECT)
                json_writer_end_object(w);
            else
                json_writer_end_array(w);
            continue;
        }
        bool key = depth > 0 && json_kind(j, open[depth - 1]) == JSON_OBJECT && i != in_value;
        struct str text;
        enum json_kind kind = json_kind(j, i);
        if (kind == JSON_STRING) {
            require(json_text(j, i, &a, &text) == 0);
            require(text.len == json_text_length(j, i) && json_string_is(j, i, text));
            require(str_valid_utf8(text));
            check_ends(j, i, text);
        }
        if (key) {
            json_writer_key_str(w, text);
            in_value = i + 1;
        } else if (kind == JSON_STRING) {
            json_writer_string(w, text);
        } else if (kind == JSON_OBJECT || kind == JSON_ARRAY) {
            open[depth++] = i;
            if (kind == JSON_OBJECT)
                json_writer_begin_object(w);
            else
                json_writer_begin_array(w);
        } else {
            json_writer_raw(w, json_raw(j, i));
        }
        i++;
    }
    arena_reset(&a);
}

static void check_same(const struct json *a, const struct json *b)
{
    require(a->count == b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        int64_t va = 0;
        int64_t vb = 0;
        char path_a[JSON_PATH_BYTES];
        char path_b[JSON_PATH_BYTES];
        require(json_kind(a, i) == json_kind(b, i) && json_count(a, i) == json_count(b, i));
        require(a->nodes[i].next == b->nodes[i].next);
        require(json_text_length(a, i) == json_text_length(b, i));
        require(json_fixed(a, i, 6, &va, NULL) == json_fixed(b, i, 6, &vb, NULL) && va == vb);
        require(json_i64(a, i, 0, INT64_MAX, &va) == json_i64(b, i, 0, INT64_MAX, &vb) && va == vb);
        if (i < 64) {
            json_path(a, i, path_a);
            json_path(b, i, path_b);
            require(str_is(str_from(path_a), path_b));
        }
    }
}

static void check_splice(const struct json *j)
{
    const struct json_edit edits[] = {
        {STR("model"), STR("\"m\"")}, {STR("a"), STR_NULL}, {STR("stream_options"), STR("{}")}};
    struct str spans[JSON_SPLICE_SPANS(3)];
    size_t count = 0;
    struct buf out;
    struct json changed;
    if (json_splice(j, edits, 3, spans, &count) != 0)
        return;
    buf_init(&out, SIZE_MAX / 2);
    json_init(&changed, 2 * JSON_NODES_MAX);
    require(count <= JSON_SPLICE_SPANS(3));
    require(json_splice_flatten(spans, count, &out) == 0);
    require(json_parse(&changed, buf_str(&out), NULL) == 0);
    require(json_string_is(&changed, json_get(&changed, JSON_ROOT, STR("model")), STR("m")));
    require(json_get(&changed, JSON_ROOT, STR("a")) == JSON_NONE);
    require(json_kind(&changed, json_get(&changed, JSON_ROOT, STR("stream_options"))) ==
            JSON_OBJECT);
    json_deinit(&changed);
    buf_deinit(&out);
}

/* One parse by each way of skipping bytes, and in parts cut at `cut`: the result is the same. */
static void check_parse(const struct json *whole, const struct json_error *error, int rc,
                        struct str text, size_t cut)
{
    struct json j;
    struct json_error again = {0};
    json_init(&j, JSON_NODES_MAX);
    json_scan_begin(&j);
    int first = json_scan_feed(&j, (struct str){.data = text.data, .len = cut});
    require(first == 0 || first == rc);
    (void)!json_scan_feed(&j, (struct str){.data = text.data, .len = cut + (text.len - cut) / 2});
    require(json_scan_end(&j, text, &again) == rc);
    require(again.problem == error->problem && again.offset == error->offset &&
            str_is(str_from(again.path), error->path));
    require(j.count == whole->count);
    require(j.count == 0 || memcmp(j.nodes, whole->nodes, j.count * sizeof j.nodes[0]) == 0);
    json_deinit(&j);
}

static void check_ways(const struct json *whole, const struct json_error *error, int rc,
                       struct str text)
{
    const struct json_lengths best = json_best;
    size_t step = 1 + text.len / 64; /* Every split of what is short. */
    for (int way = JSON_WAY_SCALAR; way < JSON_WAYS; way++) {
        const struct json_lengths *lengths = json_lengths_of((enum json_way)way);
        if (lengths == NULL)
            continue;
        json_best = *lengths;
        for (size_t cut = (size_t)way % step; cut <= text.len; cut += step)
            check_parse(whole, error, rc, text, cut);
    }
    json_best = best;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json j;
    struct json_error error = {0};
    uint64_t before = mem_live_bytes();
    json_init(&j, JSON_NODES_MAX);
    int rc = json_parse(&j, (struct str){.data = (const char *)data, .len = size}, &error);
    require(mem_live_bytes() - before <= 10 * (uint64_t)size + MEMORY_CONSTANT_BYTES);
    check_ways(&j, &error, rc, (struct str){.data = (const char *)data, .len = size});
    require((rc == 0) == (error.problem == JSON_PROBLEM_NONE) && error.offset <= size);
    if (rc == 0) {
        struct buf again;
        struct json_writer w;
        struct json copy;
        buf_init(&again, SIZE_MAX / 2);
        json_writer_init(&w, &again);
        rewrite(&j, &w);
        require(json_writer_finish(&w) == 0);
        json_init(&copy, JSON_NODES_MAX);
        require(json_parse(&copy, buf_str(&again), NULL) == 0);
        check_same(&j, &copy);
        check_splice(&j);
        json_deinit(&copy);
        buf_deinit(&again);
    }
    json_deinit(&j);
    require(mem_live_bytes() == before);
    return 0;
}

/* What the exchange does to events, whoever read them and whoever prints them: the printer here
 * writes a line an event. */
#include <string.h>

#include "dataplane/translate/exchange_internal.h"
#include "dataplane/translate/names.h"
#include "dataplane/translate/notes.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

static int print_line(void *printer, const struct tr_print *print, const struct tr_event *e,
                      struct buf *out)
{
    static const char *const kinds[] = {"start",    "text",  "refusal",   "reasoning", "seal",
                                        "redacted", "call",  "arguments", "part_end",  "finish",
                                        "usage",    "error", "ping",      "done"};
    (void)printer;
    (void)print;
    int rc = buf_append_text(out, kinds[e->kind]);
    if (rc == 0 && e->kind == TR_EVENT_CALL)
        rc = buf_printf(out, " %u %s %.*s", e->call_index,
                        str_starts(e->call.id, STR("call_")) ? "made" : "given",
                        STR_ARG(e->call.name));
    if (rc == 0 && e->kind == TR_EVENT_ARGUMENTS)
        rc = buf_printf(out, " %u %.*s", e->call_index, STR_ARG(e->text));
    if (rc == 0 && e->kind == TR_EVENT_TEXT)
        rc = buf_printf(out, " %.*s", STR_ARG(e->text));
    if (rc == 0 && e->kind == TR_EVENT_FINISH)
        rc = buf_printf(out, " %s", call_finish_name(e->finish));
    if (rc == 0 && e->kind == TR_EVENT_USAGE)
        rc = buf_printf(out, " %llu+%llu", (unsigned long long)e->usage.tokens_in,
                        (unsigned long long)e->usage.tokens_cached);
    return rc == 0 ? buf_append_char(out, '\n') : rc;
}

static const struct tr_caller_dialect lines = {.print_event = print_line};

/* Frames of a framing of its own: a letter each; '!' is none, and '(' the half of one. */
struct letters {
    bool bad, cut;
};

static bool next_letter(void *framing, struct str *io_input, struct tr_frame *out)
{
    struct letters *l = framing;
    if (l->bad || io_input->len == 0)
        return false;
    struct str letter = str_slice(*io_input, 0, 1);
    *io_input = str_slice(*io_input, 1, io_input->len);
    l->bad = letter.data[0] == '!';
    l->cut = letter.data[0] == '(';
    *out = (struct tr_frame){.name = STR("letter"), .data = letter};
    return !l->bad && !l->cut;
}

static int letters_status(const void *framing)
{
    return ((const struct letters *)framing)->bad ? ERR_CORRUPT : 0;
}

static bool letters_cut(const void *framing)
{
    return ((const struct letters *)framing)->cut;
}

static void letters_end(void *framing)
{
    memset(framing, 0xee, sizeof(struct letters));
}

static const struct tr_frames letter_frames = {.state_bytes = sizeof(struct letters),
                                               .next = next_letter,
                                               .status = letters_status,
                                               .is_cut = letters_cut,
                                               .deinit = letters_end};

static int read_letter(void *reader, struct json *json, const struct tr_frame *frame,
                       const struct tr_sink *sink)
{
    (void)reader;
    (void)json;
    const struct tr_event said = {.kind = TR_EVENT_TEXT, .text = frame->data};
    const struct tr_event stop = {.kind = TR_EVENT_FINISH, .finish = CALL_FINISH_STOP};
    int rc = sink->put(sink->arg, frame->data.data[0] == '.' ? &stop : &said);
    return rc == 0 && frame->data.data[0] == '?' ? ERR_PROTOCOL : rc;
}

static int end_letters(void *reader, const struct tr_sink *sink)
{
    (void)reader;
    (void)sink;
    return 0;
}

static const struct tr_provider_dialect letters = {
    .frames = &letter_frames, .read_frame = read_letter, .read_end = end_letters};

struct fixture {
    struct letters letters;
    struct tr_exchange x;
    struct provider_reply reply;
    struct buf out;
    struct exchange_flow flow;
};

static int setup(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof f);
    f.x.caller = &lines;
    f.x.provider = &letters;
    f.x.frames_state = &f.letters;
    provider_reply_reset(&f.reply);
    buf_init(&f.out, 65536);
    f.flow = (struct exchange_flow){.x = &f.x, .reply = &f.reply, .out = &f.out};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tr_terms_deinit(&f->x.terms);
    provider_reply_deinit(&f->reply);
    buf_deinit(&f->out);
    return 0;
}

static void put(struct fixture *f, struct tr_event event)
{
    assert_int_equal(exchange_put(&f->flow, &event), 0);
}

static struct tr_event text(const char *words)
{
    return (struct tr_event){.kind = TR_EVENT_TEXT, .text = str_from(words)};
}

static struct tr_event call(uint32_t index, const char *id, const char *name)
{
    return (struct tr_event){.kind = TR_EVENT_CALL,
                             .call_index = index,
                             .call = {.id = str_from(id), .name = str_from(name)}};
}

static struct tr_event arguments(uint32_t index, const char *words)
{
    return (struct tr_event){
        .kind = TR_EVENT_ARGUMENTS, .call_index = index, .text = str_from(words)};
}

static struct tr_event finish(enum call_finish how)
{
    return (struct tr_event){.kind = TR_EVENT_FINISH, .finish = how};
}

static void check(struct fixture *f, const char *expected)
{
    assert_string_equal(buf_cstr(&f->out), expected);
}

static void a_stop_after_calls_is_tool_calls(void **state)
{
    struct fixture *f = *state;
    put(f, call(0, "", "f"));
    put(f, arguments(0, "{}"));
    put(f, finish(CALL_FINISH_STOP));
    check(f, "start\ncall 0 made f\narguments 0 {}\nfinish tool_calls\n");
    assert_int_equal(f->reply.finish, CALL_FINISH_TOOL_CALLS);
    assert_true(f->reply.content);
    assert_int_equal(f->reply.content_bytes, 3);
}

static void tool_calls_without_a_call_is_a_stop(void **state)
{
    struct fixture *f = *state;
    put(f, text("hi"));
    put(f, finish(CALL_FINISH_TOOL_CALLS));
    put(f, finish(CALL_FINISH_LENGTH)); /* It is over. */
    check(f, "start\ntext hi\nfinish stop\n");
}

static void a_word_nobody_knows_is_a_stop_if_there_is_content(void **state)
{
    struct fixture *f = *state;
    put(f, text("hi"));
    put(f, finish(CALL_FINISH_OTHER));
    check(f, "start\ntext hi\nfinish stop\n");
    assert_int_equal(f->reply.finish, CALL_FINISH_STOP);
}

static void a_word_nobody_knows_without_content_is_noted_as_such(void **state)
{
    struct fixture *f = *state;
    put(f, finish(CALL_FINISH_OTHER));
    check(f, "start\nfinish stop\n");
    assert_int_equal(f->reply.finish, CALL_FINISH_OTHER);
}

static void an_answer_that_says_nothing_is_an_answer(void **state)
{
    struct fixture *f = *state;
    put(f, finish(CALL_FINISH_STOP));
    assert_true(f->reply.content);
    assert_int_equal(f->reply.content_bytes, 0);
}

static void one_call_alone_passes_where_one_was_asked_for(void **state)
{
    struct fixture *f = *state;
    f->x.terms.first_call_only = true;
    put(f, call(0, "a", "f"));
    put(f, call(1, "b", "g"));
    put(f, arguments(1, "{\"no\":1}"));
    put(f, arguments(0, "{\"yes\":1}"));
    put(f, (struct tr_event){.kind = TR_EVENT_PART_END, .call_index = 1});
    put(f, (struct tr_event){.kind = TR_EVENT_PART_END, .call_index = 0});
    put(f, finish(CALL_FINISH_TOOL_CALLS));
    check(f, "start\ncall 0 given f\narguments 0 {\"yes\":1}\npart_end\nfinish tool_calls\n");
    assert_string_equal(f->x.terms.notes[0], "dropped_call");
}

static void t14_the_arguments_of_the_answering_tool_are_the_text(void **state)
{
    struct fixture *f = *state;
    f->x.terms.answer_is_a_tool = true;
    put(f, call(0, "a", "json"));
    put(f, arguments(0, "{\"a\""));
    put(f, arguments(0, ":1}"));
    put(f, finish(CALL_FINISH_TOOL_CALLS));
    check(f, "start\ntext {\"a\"\ntext :1}\nfinish stop\n");
    assert_int_equal(f->reply.content_bytes, 7);
}

static void names_are_the_callers_again(void **state)
{
    struct fixture *f = *state;
    struct tr_tool tool = {.name = STR("files.read")};
    const struct tr_request request = {.tools = &tool, .tool_count = 1};
    struct call_refusal refusal;
    assert_int_equal(tr_names_build(&f->x.terms, &request, TR_NAME_COMMON, &refusal), 0);
    put(f, call(0, "x", "files_read"));
    check(f, "start\ncall 0 given files.read\n");
}

static void nothing_follows_an_error_or_the_end(void **state)
{
    struct fixture *f = *state;
    put(f, text("a"));
    put(f, (struct tr_event){.kind = TR_EVENT_DONE});
    put(f, text("b"));
    check(f, "start\ntext a\n");
    assert_true(f->reply.done);
    assert_true(str_is(buf_str(&f->reply.end), "done\n"));
}

static void an_error_is_kept_for_who_asks(void **state)
{
    struct fixture *f = *state;
    char words[2048];
    memset(words, 'x', sizeof words);
    memcpy(words + 1023, "\xc3\xa4", 2); /* A character on the edge. */
    put(f, (struct tr_event){.kind = TR_EVENT_ERROR,
                             .error = {.kind = TR_ERROR_OVERLOADED,
                                       .message = {words, sizeof words},
                                       .code = STR("busy"),
                                       .wait_ms = -1}});
    memset(words, '!', sizeof words);
    put(f, text("b"));
    check(f, "");
    const struct tr_error *error = tr_exchange_error(&f->x);
    assert_int_equal(error->kind, TR_ERROR_OVERLOADED);
    assert_int_equal(error->message.len, 1023);
    assert_true(str_valid_utf8(error->message));
    assert_true(str_is(error->code, "busy"));
    assert_true((f->flow.kinds & EXCHANGE_KIND(PROVIDER_ERROR)) != 0);
}

static void t22_more_cached_than_there_is_is_not_told_on(void **state)
{
    struct fixture *f = *state;
    put(f, (struct tr_event){
               .kind = TR_EVENT_USAGE,
               .usage = {.known = true, .tokens_in = 5, .tokens_out = 1, .tokens_cached = 9}});
    check(f, "start\nusage 5+5\n");
    assert_int_equal(f->reply.usage.tokens_cached,
                     9); /* As reported; checked where it is billed. */
}

static void answers_past_the_room_are_refused(void **state)
{
    struct fixture *f = *state;
    const struct tr_event far = {.kind = TR_EVENT_TEXT, .choice = CALL_CHOICES_MAX};
    assert_int_equal(exchange_put(&f->flow, &far), ERR_TOO_LARGE);
}

/* What is read of the input, as lines; stops where the exchange does. */
static enum provider_event feed(struct fixture *f, const char *input)
{
    struct provider_out out;
    struct str rest = str_from(input);
    enum provider_event kind = PROVIDER_SILENT;
    provider_out_start(&out, &f->out);
    while (tr_exchange_read_next(&f->x, NULL, &f->reply, &rest, &out, &kind) &&
           kind != PROVIDER_BAD) {
    }
    if (!out.gathering)
        buf_clear(&f->out);
    assert_int_equal(out.bytes, f->out.len);
    return kind;
}

static void finish_stream(struct fixture *f)
{
    struct provider_out out;
    provider_out_start(&out, &f->out);
    tr_exchange_read_end(&f->x, NULL, &f->reply, &out);
}

static void a_dialect_with_its_own_frames_is_read_by_its_own_reader(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(feed(f, "ab"), PROVIDER_CONTENT);
    check(f, "start\ntext a\ntext b\n");
    assert_int_equal(feed(f, "."), PROVIDER_CONTENT);
    check(f, "finish stop\n");
    assert_false(f->reply.done);
    finish_stream(f); /* It said why it stopped: whole, though no mark came. */
    assert_true(f->reply.done);
    assert_true(str_is(buf_str(&f->reply.end), "done\n"));
}

static void a_broken_frame_is_told_once_and_ends_the_reading(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(feed(f, "a!b"), PROVIDER_BAD);
    check(f, "start\ntext a\n");
    assert_int_equal(feed(f, "c."), PROVIDER_SILENT);
    check(f, "");
    finish_stream(f);
    assert_false(f->reply.done);
}

static void a_frame_that_is_refused_leaves_nothing_of_itself(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(feed(f, "a?"), PROVIDER_BAD);
    check(f, "start\ntext a\n");
}

static void a_stream_that_ends_amid_a_frame_is_not_whole(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(feed(f, "a.("), PROVIDER_CONTENT);
    finish_stream(f);
    assert_false(f->reply.done);
}

/* As the last event of the Responses dialect, which repeats the whole answer. */
static void an_event_may_be_as_large_as_its_dialect_says(void **state)
{
    struct fixture *f = *state;
    struct tr_provider_dialect plain = {.read_frame = read_letter, .read_end = end_letters};
    struct buf event = {.max = 4U << 20};
    assert_int_equal(buf_append_text(&event, "data: "), 0);
    while (event.len < (3U << 20) / 2)
        assert_int_equal(buf_append_text(&event, "0123456789abcdef"), 0);
    assert_int_equal(buf_append_text(&event, "\n\n"), 0);
    buf_deinit(&f->out);
    buf_init(&f->out, 4U << 20);
    f->x.provider = &plain;
    plain.event_bytes_max = 2U << 20;
    assert_int_equal(feed(f, buf_cstr(&event)), PROVIDER_CONTENT);
    assert_true(f->out.len > (3U << 20) / 2);
    plain.event_bytes_max = 0;
    assert_int_equal(feed(f, buf_cstr(&event)), PROVIDER_BAD);
    buf_deinit(&event);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_stop_after_calls_is_tool_calls),
        T(tool_calls_without_a_call_is_a_stop),
        T(a_word_nobody_knows_is_a_stop_if_there_is_content),
        T(a_word_nobody_knows_without_content_is_noted_as_such),
        T(an_answer_that_says_nothing_is_an_answer),
        T(one_call_alone_passes_where_one_was_asked_for),
        T(t14_the_arguments_of_the_answering_tool_are_the_text),
        T(names_are_the_callers_again),
        T(nothing_follows_an_error_or_the_end),
        T(an_error_is_kept_for_who_asks),
        T(t22_more_cached_than_there_is_is_not_told_on),
        T(answers_past_the_room_are_refused),
        T(a_dialect_with_its_own_frames_is_read_by_its_own_reader),
        T(a_broken_frame_is_told_once_and_ends_the_reading),
        T(a_frame_that_is_refused_leaves_nothing_of_itself),
        T(a_stream_that_ends_amid_a_frame_is_not_whole),
        T(an_event_may_be_as_large_as_its_dialect_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What is known by a body before it, against the reading of each: for any text, for bodies that
 * differ anywhere, and for what must not be remembered. */
#include "dataplane/llm/reading_memory.h"

#include <string.h>

#include "common/base/rand.h"
#include "dataplane/llm/anthropic.h"
#include "dataplane/llm/openai.h"
#include "dataplane/llm/responses.h"
#include "tests/lib/call_same.h"
#include "tests/lib/fault.h"
#include "tests/lib/seed.h"
#include "tests/unit/dataplane/llm/llm_kit.h"

#define BODY_BYTES 4096
#define ROUNDS     200000

static struct reading_memory memory;

static const struct provider_adapter *const adapters[] = {&provider_openai, &provider_anthropic,
                                                          &provider_responses};
enum { OPENAI, ANTHROPIC, RESPONSES, ADAPTERS };

/* @ is the text; ' where JSON has ". */
struct body {
    unsigned adapter;
    const char *text;
};

/* Those that have only it. */
static const struct body simple[] = {
    {OPENAI, "{'model':'auto','messages':[{'role':'user','content':'@'}],'max_tokens':256}"},
    {OPENAI, "{'messages':[{'content':'@','role':'user'}],'max_tokens':7,'model':'m'}"},
    {OPENAI, " { 'messages' : [ { 'role' : 'user' , 'content' : '@' } ] , 'model' : 'a/b' , "
             "'stream' : true , 'stream_options' : { 'include_usage' : true } } \n"},
    {OPENAI, "{'max_completion_tokens':99,'messages':[{'role':'user','content':'@','weight':1}],"
             "'temperature':0.5,'model':'m','max_tokens':2,'n':2}"},
    {OPENAI, "{'messages':[{'role':'user','content':'@'}],'max_completion_tokens':99,'model':'m',"
             "'stream_options':{'include_usage':false},'max_tokens':2}"},
    {OPENAI, "{'model':'m','logit_bias':{'50256':-100},'messages':[{'role' : 'user',"
             "'content':'@'}]}"},
    {ANTHROPIC, "{'model':'m','max_tokens':9,'messages':[{'role':'user','content':'@'}]}"},
    {ANTHROPIC, "{'messages':[{'role':'user','content':'@'}],'system':'','stream':true,"
                "'max_tokens':9,'model':'m'}"},
    {RESPONSES, "{'model':'m','input':'@'}"},
    {RESPONSES, "{'input':[{'role':'user','content':'@'}],'max_output_tokens':5,'model':'m',"
                "'store':false}"},
};
enum { SIMPLE = sizeof simple / sizeof simple[0] };

/* Those that say more, or not in this way: never known. */
static const struct body others[] = {
    {OPENAI, "{'model':'m','messages':[{'role':'system','content':'s'},{'role':'user','content':"
             "'@'}]}"},
    {OPENAI, "{'model':'m','messages':[{'role':'system','content':'@'}]}"},
    {OPENAI, "{'model':'m','messages':[{'role':'assistant','content':'@'}]}"},
    {OPENAI, "{'model':'m','messages':[{'role':'user','content':[{'type':'text','text':'@'}]}]}"},
    {OPENAI, "{'model':'m','messages':[{'role':'user','content':[{'type':'file','text':'@'},"
             "{'type':'refusal','refusal':'abcdef'}]}]}"},
    {OPENAI, "{'model':'m','user':'@','messages':[{'role':'user','content':'hello'}]}"},
    {OPENAI, "{'model':'m','user':'u','messages':[{'role':'user','content':'@'}]}"},
    {OPENAI, "{'model':'m','tools':[{'type':'function','function':{'name':'f'}}],'messages':[{"
             "'role':'user','content':'@'}]}"},
    {OPENAI, "{'model':'m','models':['a','b'],'messages':[{'role':'user','content':'@'}]}"},
    {OPENAI, "{'model':'m','thinking':{'type':'enabled','budget_tokens':99},'messages':[{'role':"
             "'user','content':'@'}]}"},
    {OPENAI, "{'model':'m','messages':[{'role':'user','content':[{'type':'text','text':''}]}]}"},
    {OPENAI, "{'model':'m','messages':[{'role':'assistant','content':null,'tool_calls':[{'id':'c',"
             "'type':'function','function':{'name':'f','arguments':'secret'}}]},{'role':'user',"
             "'content':'@'}]}"},
    {OPENAI, "{'model':'m\\u0061','messages':[{'role':'user','content':'@'}]}"},
    {OPENAI, "{'model':'m','messages':[{'role':'user','name':'x','content':'@'}]}"},
    {OPENAI, "{'model':'m','stop':['Ann'],'messages':[{'role':'user','content':'@'}]}"},
    {OPENAI, "{'model':'m','prompt_cache_key':'Ann','messages':[{'role':'user','content':'@'}]}"},
    {OPENAI, "{'model':'m','metadata':{'a' : 'Ann'},'messages':[{'role':'user','content':'@'}]}"},
    {RESPONSES, "{'model':'m','input':'@','safety_identifier':'Ann'}"},
    {OPENAI, "{'model':'m','messages':[{'role':'user','content':'@'}],'metadata':{'a':'"
             "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
             "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
             "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
             "'}}"},
    {ANTHROPIC, "{'model':'m','max_tokens':9,'system':'s','messages':[{'role':'user','content':"
                "'@'}]}"},
    {ANTHROPIC, "{'model':'m','max_tokens':9,'system':[{'type':'x','text':'s'}],'messages':[{"
                "'role':'user','content':'@'}]}"},
    {ANTHROPIC, "{'model':'m','max_tokens':9,'messages':[{'role':'user','content':'@'}],"
                "'metadata':{'user_id':'u'}}"},
    {RESPONSES, "{'model':'m','instructions':'s','input':'@'}"},
    {RESPONSES, "{'model':'m','input':'@','previous_response_id':'r'}"},
    {RESPONSES, "{'model':'m','input':[{'type':'reasoning','summary':[],'encrypted_content':"
                "'sy1.x'},{'role':'user','content':'@'}]}"},
};
enum { OTHERS = sizeof others / sizeof others[0] };

/* The last ones are no insides of a string, or not of those that are known. */
static const char *const texts[] = {
    "", "x", "hello", "two\\nlines", "a \\\"word\\\" \\\\ \\/ \\b\\f\\r\\t", "gr\xc3\xbc\xc3\x9f",
    "\xe4\xbd\xa0\xe5\xa5\xbd\\n\xf0\x9f\x98\x80 ok", "\\\\",
    /* These are read. */
    "\\u00e9", "\\ud83d\\ude00", "a\"b", "\\", "\\\\\\", "tab\there", "\xff", "\xc3", "\\x",
    "\"},{\"role\":\"user\",\"content\":\"second", "\\ud800", "\xed\xa0\x80"};
enum { TEXTS = sizeof texts / sizeof texts[0], TEXTS_KNOWN = 8 };

static struct str put(char *out, const struct body *b, struct str text)
{
    size_t n = 0;
    for (const char *p = b->text; *p != '\0'; p++) {
        if (*p == '@') {
            memcpy(out + n, text.data, text.len);
            n += text.len;
        } else {
            out[n++] = *p == '\'' ? '"' : *p;
        }
    }
    return (struct str){out, n};
}

/* The memory's word and the reader's on one body; whether it was known. */
static bool agree(struct llm_kit *f, unsigned adapter, struct str body)
{
    static struct call read, known; /* Not on the stack: the same bytes between the members. */
    struct call_refusal refusal;
    arena_reset(&f->arena);
    memset(&read, 0x5a, sizeof read);
    memset(&known, 0x5a, sizeof known);
    const int rc = adapters[adapter]->read_call(&f->json, body, &f->arena, &read, &refusal);
    const bool is_known =
        reading_memory_known(&memory, adapters[adapter], &f->json, body, &f->arena, &known);
    assert_true(!is_known || rc == 0);
    if (is_known)
        assert_true(call_same(body, &read, &known));
    assert_int_equal(reading_memory_read(&memory, adapters[adapter], &f->json, body, &f->arena,
                                         &known, &refusal),
                     rc);
    if (rc == 0)
        assert_true(call_same(body, &read, &known));
    return is_known;
}

static void a_body_like_one_before_it_is_known(void **state)
{
    struct llm_kit *f = *state;
    char bytes[BODY_BYTES];
    for (size_t b = 0; b < SIMPLE; b++) {
        memset(&memory, 0, sizeof memory);
        assert_false(agree(f, simple[b].adapter, put(bytes, &simple[b], STR("the first"))));
        for (size_t t = 0; t < TEXTS; t++) {
            const bool known =
                agree(f, simple[b].adapter, put(bytes, &simple[b], str_from(texts[t])));
            assert_true(known == (t < TEXTS_KNOWN));
        }
    }
}

static void four_kinds_are_known_side_by_side(void **state)
{
    struct llm_kit *f = *state;
    char bytes[BODY_BYTES];
    memset(&memory, 0, sizeof memory);
    for (unsigned round = 0; round < 3; round++)
        for (size_t b = 0; b < READING_MEMORY_BODIES; b++)
            assert_true(agree(f, simple[b].adapter, put(bytes, &simple[b], STR("text"))) ==
                        (round > 0));
    /* A fifth kind takes the place of one when it has come often enough. */
    unsigned came = 1;
    while (!agree(f, simple[4].adapter, put(bytes, &simple[4], STR("text"))))
        came++;
    assert_int_equal(came, 9);
}

static void a_long_text_is_cut_as_a_reader_does(void **state)
{
    struct llm_kit *f = *state;
    static char text[1 << 20], bytes[(1 << 20) + 200];
    for (size_t b = 0; b < SIMPLE; b++) {
        memset(&memory, 0, sizeof memory);
        agree(f, simple[b].adapter, put(bytes, &simple[b], STR("the first")));
        for (size_t len = 1; len < sizeof text; len = len * 2 + 1) {
            for (size_t i = 0; i < len; i++)
                text[i] = (char)('a' + i % 26);
            assert_true(
                agree(f, simple[b].adapter, put(bytes, &simple[b], (struct str){text, len})));
            if (len < 2)
                continue;
            memcpy(text + len / 2 - 1, "\\n", 2); /* Now it is copied. */
            assert_true(
                agree(f, simple[b].adapter, put(bytes, &simple[b], (struct str){text, len})));
        }
    }
}

static void what_says_more_is_not_known(void **state)
{
    struct llm_kit *f = *state;
    char bytes[BODY_BYTES];
    for (size_t b = 0; b < OTHERS; b++) {
        memset(&memory, 0, sizeof memory);
        assert_false(agree(f, others[b].adapter, put(bytes, &others[b], STR("abcdef"))));
        assert_false(agree(f, others[b].adapter, put(bytes, &others[b], STR("abcdef"))));
        assert_false(agree(f, others[b].adapter, put(bytes, &others[b], STR("another"))));
    }
}

static void a_body_is_of_its_dialect(void **state)
{
    struct llm_kit *f = *state;
    char bytes[BODY_BYTES];
    const struct str body =
        put(bytes, &simple[6], STR("text")); /* Chat completions take it, too. */
    memset(&memory, 0, sizeof memory);
    assert_false(agree(f, ANTHROPIC, body));
    assert_false(agree(f, OPENAI, body));
    assert_true(agree(f, ANTHROPIC, body));
    assert_true(agree(f, OPENAI, body));
}

/* Texts of any kind in bodies of all kinds, some with a byte changed anywhere. */
static void whatever_comes_is_read_alike(void **state)
{
    struct llm_kit *f = *state;
    size_t known = 0;
    char bytes[BODY_BYTES], text[1024];
    rand_seed_thread(test_seed(rand_u64()));
    memset(&memory, 0, sizeof memory);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const struct body *b =
            rand_u64() % 2 != 0 ? &simple[rand_u64() % SIMPLE] : &others[rand_u64() % OTHERS];
        size_t len = 0;
        for (unsigned parts = rand_u64() % 8; parts > 0; parts--) {
            const char *part = texts[rand_u64() % (rand_u64() % 4 == 0 ? TEXTS : TEXTS_KNOWN)];
            const size_t n = strlen(part);
            memcpy(text + len, part, n);
            len += n;
        }
        struct str body = put(bytes, b, (struct str){text, len});
        if (rand_u64() % 4 == 0)
            bytes[rand_u64() % body.len] = (char)rand_u64();
        if (rand_u64() % 16 == 0)
            body.len -= rand_u64() % body.len;
        known += agree(f, b->adapter, body);
    }
    assert_true(known > ROUNDS / 20);
}

static void nothing_is_kept_of_a_text(void **state)
{
    struct llm_kit *f = *state;
    char bytes[BODY_BYTES];
    memset(&memory, 0, sizeof memory);
    for (size_t b = 0; b < SIMPLE; b++) {
        agree(f, simple[b].adapter, put(bytes, &simple[b], STR("secret word")));
        agree(f, simple[b].adapter, put(bytes, &simple[b], STR("secret word again")));
        assert_null(memmem(&memory, sizeof memory, "secret", 6));
    }
    for (size_t b = 0; b < OTHERS; b++) {
        agree(f, others[b].adapter, put(bytes, &others[b], STR("secret word")));
        assert_null(memmem(&memory, sizeof memory, "secret", 6));
        assert_null(memmem(&memory, sizeof memory, "Ann", 3));
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, llm_kit_setup, llm_kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_body_like_one_before_it_is_known),
        TEST(four_kinds_are_known_side_by_side),
        TEST(a_long_text_is_cut_as_a_reader_does),
        TEST(what_says_more_is_not_known),
        TEST(a_body_is_of_its_dialect),
        TEST(whatever_comes_is_read_alike),
        TEST(nothing_is_kept_of_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

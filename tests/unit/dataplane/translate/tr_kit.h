/* tr_kit.h: what tests of the dialects share: a body through a caller's reader and a provider's
 * printer, a stream through a provider's reader into lines, events through a caller's printer. */
#ifndef STEELYARD_TESTS_TR_KIT_H
#define STEELYARD_TESTS_TR_KIT_H

#include "dataplane/translate/dialects.h"
#include "tests/lib/fault.h"

struct tr_kit {
    struct arena_pool pool;
    struct arena arena;
    struct json json;
    struct tr_request request;
    struct call_refusal refusal;
    struct tr_terms terms;
    struct buf out; /* What was printed. */
    struct buf log; /* Events, a line each. */
    char notes[1024];
};

int tr_kit_setup(void **state); /* For cmocka_unit_test_setup_teardown. */
int tr_kit_teardown(void **state);
/* Forgets what was made so far; NULL-safe for tests that start over. */
void tr_kit_reset(struct tr_kit *kit);

/* A target of a host by its type; other members may be set by the test. */
struct tr_target tr_kit_target(const char *host, const char *model);

/* read_request. kit->request borrows from body. */
int tr_kit_read(struct tr_kit *kit, enum dialect caller, const char *body);
/* ... and print_request; out holds the body, notes "a, b". */
int tr_kit_ask(struct tr_kit *kit, enum dialect caller, const char *body, enum dialect provider,
               const struct tr_target *target);
/* The same, which must end well, and what was printed as a C string. */
const char *tr_kit_asked(struct tr_kit *kit, enum dialect caller, const char *body,
                         enum dialect provider, const struct tr_target *target);

/* A request in, a request out; or "!param: message", why it is refused. */
struct tr_kit_pair {
    enum dialect caller;
    const char *host, *model;
    const char *rules; /* "reject", "no repair" or "". */
    const char *body, *expected, *notes;
};
void tr_kit_pairs(struct tr_kit *kit, const struct tr_kit_pair *pairs, size_t count);

/* A request of an agent in the Messages dialect, with what agents send. */
#define TR_KIT_AGENT                                                                               \
    "{\"model\":\"m\",\"max_tokens\":32000,\"stream\":true,\"metadata\":{\"user_id\":\"u-1\"},"    \
    "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":10000},\"system\":[{\"type\":\"text\","  \
    "\"text\":\"You are an agent.\"},{\"type\":\"text\",\"text\":\"Be "                            \
    "terse.\",\"cache_control\":{\"type\":\"ephemeral\"}}],\"tools\":[{\"name\":\"Read\","         \
    "\"description\":\"Reads.\",\"input_schema\":{\"type\":\"object\",\"properties\":{\"a\":{"     \
    "\"type\":\"string\"}},\"required\":[\"a\"]}}],\"tool_choice\":{\"type\":\"auto\",\"disable_"  \
    "parallel_tool_use\":true},\"messages\":[{\"role\":\"user\",\"content\":\"Look.\"},{\"role\":" \
    "\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"sy1."   \
    "gemini.AA==\"},{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"Read\",\"input\":{\"a\":" \
    "\"x\"}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_" \
    "1\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},{\"type\":\"image\",\"source\":{"       \
    "\"type\":\"base64\",\"media_type\":\"image/"                                                  \
    "jpeg\",\"data\":\"iVBORw0KGgoAAAANSUhEUg==\"}}]},{\"type\":\"text\",\"text\":\"Go on.\"}]}]}"
/* Depth 120 and 1 MiB of arguments, with what JSON must escape, arrive. begun: how they begin. */
void tr_kit_ask_deep(struct tr_kit *kit, const char *host, const char *model, const char *begun);
/* Every allocation of tr_kit_ask fails in turn, and it is told. */
void tr_kit_ask_starved(void **state, enum dialect caller, const char *body, const char *host,
                        const char *model);

/* A stream (of SSE, or as the dialect frames it) in pieces of `step` bytes (0: whole); then
 * read_end. Stops at the first error, which it returns; ERR_EOF: it ends amid a frame that is not
 * SSE. */
int tr_kit_stream(struct tr_kit *kit, enum dialect provider, struct str stream, size_t step);
/* Cut once, after `at` bytes. */
int tr_kit_stream_cut(struct tr_kit *kit, enum dialect provider, struct str stream, size_t at);
int tr_kit_reply(struct tr_kit *kit, enum dialect provider, const char *body);
const char *tr_kit_log(struct tr_kit *kit);
const char *tr_kit_out(struct tr_kit *kit);
struct tr_error tr_kit_error(struct tr_kit *kit, enum dialect provider, unsigned status,
                             const char *body);
struct tr_error tr_kit_error_named(struct tr_kit *kit, enum dialect provider, unsigned status,
                                   const char *name, const char *body);

/* Events through a caller's printer; out holds the bytes. */
int tr_kit_print(struct tr_kit *kit, enum dialect caller, const struct tr_print *print,
                 const struct tr_event *events, size_t count);

#endif

#define PCRE2_CODE_UNIT_WIDTH 8
#include "common/route/pattern.h"

#include <pcre2.h>
#include <string.h>

#include "common/base/mem.h"

#define NEST_MAX       20U /* Brackets in brackets; compiling goes down them. */
#define HEAP_KIB       64U
#define BACKTRACKS_MAX PATTERN_STEPS_MAX
#define PROBLEM_BYTES  128U

/* A pattern is PCRE2's own code; the struct only keeps its type out of the header. */
static const pcre2_code *code_of(const struct pattern *p)
{
    return (const pcre2_code *)(const void *)p;
}

/* ---- compiling ---- */

static void *take(PCRE2_SIZE bytes, void *arena)
{
    return arena_alloc(arena, bytes);
}

/* It goes with the arena. */
static void leave(void *memory, void *arena)
{
    (void)memory;
    (void)arena;
}

static const char *problem_of(int code, size_t offset, struct arena *arena)
{
    PCRE2_UCHAR text[PROBLEM_BYTES];
    if (pcre2_get_error_message(code, text, sizeof text) < 0)
        return "it is malformed";
    return arena_printf(arena, "at byte %zu: %s", offset, (const char *)text);
}

static pcre2_compile_context *compiling(struct arena *arena)
{
    pcre2_general_context *memory = pcre2_general_context_create(take, leave, arena);
    pcre2_compile_context *c = memory != NULL ? pcre2_compile_context_create(memory) : NULL;
    if (c != NULL)
        (void)pcre2_set_parens_nest_limit(c, NEST_MAX);
    return c;
}

int pattern_compile(struct str text, struct arena *arena, const struct pattern **out,
                    const char **out_problem)
{
    const char *ignored;
    const uint32_t options = PCRE2_UTF | PCRE2_AUTO_CALLOUT | PCRE2_NEVER_BACKSLASH_C |
                             PCRE2_NEVER_UCP | PCRE2_ALT_BSUX | PCRE2_ALLOW_EMPTY_CLASS |
                             PCRE2_MATCH_UNSET_BACKREF | PCRE2_DOLLAR_ENDONLY;
    int code = 0;
    PCRE2_SIZE offset = 0;
    size_t program = 0;
    out_problem = out_problem != NULL ? out_problem : &ignored;
    *out_problem = "a pattern has 1 to 256 bytes";
    if (text.len == 0 || text.len > PATTERN_BYTES_MAX)
        return ERR_INVALID;
    pcre2_compile_context *context = compiling(arena);
    if (context == NULL)
        return ERR_NOMEM;
    pcre2_code *made =
        pcre2_compile((PCRE2_SPTR)text.data, text.len, options, &code, &offset, context);
    if (made == NULL) {
        *out_problem = code != PCRE2_ERROR_HEAP_FAILED ? problem_of(code, offset, arena) : NULL;
        return *out_problem != NULL ? ERR_INVALID : ERR_NOMEM;
    }
    *out_problem = "it is too large";
    if (pcre2_pattern_info(made, PCRE2_INFO_SIZE, &program) != 0 || program > PATTERN_PROGRAM_MAX)
        return ERR_INVALID;
    *out_problem = NULL;
    *out = (const struct pattern *)(const void *)made;
    return 0;
}

/* ---- matching ---- */

struct pattern_room {
    pcre2_general_context *memory;
    pcre2_match_context *context;
    pcre2_match_data *data;
    uint32_t steps;
    bool gave_up;
};

static void *take_kept(PCRE2_SIZE bytes, void *arg)
{
    (void)arg;
    return mem_alloc(bytes);
}

static void give_kept(void *memory, void *arg)
{
    (void)arg;
    mem_free(memory);
}

/* Called before each step of a program. */
static int count_step(pcre2_callout_block *block, void *arg)
{
    struct pattern_room *room = arg;
    (void)block;
    return ++room->steps > PATTERN_STEPS_MAX ? PCRE2_ERROR_CALLOUT : 0;
}

struct pattern_room *pattern_room_create(void)
{
    struct pattern_room *room = mem_zalloc(sizeof *room);
    if (room == NULL)
        return NULL;
    room->memory = pcre2_general_context_create(take_kept, give_kept, NULL);
    if (room->memory != NULL)
        room->context = pcre2_match_context_create(room->memory);
    if (room->context != NULL)
        room->data = pcre2_match_data_create(1, room->memory);
    if (room->data == NULL) {
        pattern_room_destroy(room);
        return NULL;
    }
    (void)pcre2_set_match_limit(room->context, BACKTRACKS_MAX);
    (void)pcre2_set_depth_limit(room->context, BACKTRACKS_MAX);
    (void)pcre2_set_heap_limit(room->context, HEAP_KIB);
    (void)pcre2_set_callout(room->context, count_step, room);
    return room;
}

void pattern_room_destroy(struct pattern_room *room)
{
    if (room == NULL)
        return;
    pcre2_match_data_free(room->data);
    pcre2_match_context_free(room->context);
    pcre2_general_context_free(room->memory);
    mem_free(room);
}

void pattern_room_begin(struct pattern_room *room)
{
    room->steps = 0;
    room->gave_up = false;
}

bool pattern_room_gave_up(const struct pattern_room *room)
{
    return room->gave_up;
}

bool pattern_matches(const struct pattern *p, struct str text, struct pattern_room *room)
{
    if (text.len > PATTERN_TEXT_MAX || room->steps > PATTERN_STEPS_MAX) {
        room->gave_up = true;
        return false;
    }
    const int rc = pcre2_match(code_of(p), (PCRE2_SPTR)(text.data != NULL ? text.data : ""),
                               text.len, 0, 0, room->data, room->context);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        room->gave_up = true;
    return rc >= 0;
}

/* The access line says the same whichever way it is written: what was kept of the lines before it
 * changes nothing. */
#include "dataplane/request/access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "tests/lib/fault.h"

#define LINES 4000U
#define WALL  INT64_C(1795233300123456)

static uint64_t mono_ns(void)
{
    return 1000;
}

static int64_t wall_us(void)
{
    return WALL;
}

static const struct clock_source clock_fixed = {mono_ns, wall_us};

static char longest[256], too_long[300], as_long_as_kept[150];

/* Names as a snapshot and the table of paths hold them: each at its own place, for good. */
static struct str name_at(uint64_t i)
{
    const struct str names[] = {STR("auto"),
                                STR("provider/model"),
                                STR("/v1/chat/completions"),
                                STR(""),
                                STR_NULL,
                                STR("a \"quote\""),
                                STR("na\xc3\xafve"),
                                STR("line\nfeed"),
                                {longest, sizeof longest},
                                {too_long, sizeof too_long},
                                {as_long_as_kept, sizeof as_long_as_kept},
                                STR("pinned")};
    return names[i % (sizeof names / sizeof names[0])];
}

static uint64_t number_of(uint64_t draw)
{
    return draw >> 8 >> draw % 56;
}

static uint64_t next(uint64_t *io_state)
{
    *io_state = *io_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *io_state >> 20;
}

static void write_lines(uint64_t seed)
{
    static const char uuid[] = "019a91c5-1e2f-7abc-8def-0123456789ab";
    char moves[64];
    struct access_common common[4];
    memset(common, 0, sizeof common);
    for (unsigned i = 0; i < LINES; i++) {
        /* Of one kind: its route and status, half of the time its path and server, too. */
        const uint64_t kind = next(&seed) % 4, other = next(&seed), path = next(&seed);
        const bool odd = other % 8 == 0, moving = path % 4 == 0;
        int len = snprintf(moves, sizeof moves, "/v1/models/%u", (unsigned)(path % 7));
        const struct access a = {
            .method = odd ? STR("GET") : STR("POST"),
            .path = moving ? (struct str){moves, (size_t)len} : name_at(path % 2 == 0 ? 2 : other),
            .path_stays = !moving,
            .status = (unsigned)(200 + kind),
            .request_id = odd ? STR("mine") : (struct str){uuid, sizeof uuid - 1},
            .decision_id = other % 16 == 0 ? STR_NULL : (struct str){uuid, sizeof uuid - 1},
            .route = name_at(kind == 3 ? 5 : kind),
            .served = name_at(other % 2 == 0 ? 1 : other / 7),
            .key_id = name_at(other % 64 == 1   ? 6
                              : other % 64 == 2 ? 9
                                                : 0),
            .cost_usd = other % 5 == 0 ? STR("0") : STR("0.000012345"),
            .ttft_ms = number_of(next(&seed)),
            .duration_ms = number_of(next(&seed)),
            .tokens_in = number_of(next(&seed)),
            .tokens_out = number_of(next(&seed)),
            .attempts = (uint32_t)(other % 4),
            .client_gone = other % 9 == 0,
        };
        access_write(&common[kind], &a, WALL);
    }
}

/* What is written to standard output: kept and copied while lines are gathered, else one by one. */
static char *written(uint64_t seed, bool gather, size_t *out_len)
{
    char path[] = "/tmp/steelyard-access-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(unlink(path), 0);
    (void)fflush(stdout);
    int real = dup(STDOUT_FILENO);
    assert_int_equal(dup2(file, STDOUT_FILENO), STDOUT_FILENO);
    clock_set_source(&clock_fixed);
    log_init("test", LOG_INFO, LOG_JSON);
    if (gather)
        log_gather_begin();
    write_lines(seed);
    if (gather)
        log_gather_end();
    assert_int_equal(dup2(real, STDOUT_FILENO), STDOUT_FILENO);
    close(real);
    log_init("test", LOG_INFO, LOG_JSON);
    clock_set_source(NULL);
    const size_t len = (size_t)lseek(file, 0, SEEK_END);
    char *text = mem_alloc(len + 1);
    assert_non_null(text);
    assert_int_equal(pread(file, text, len, 0), len);
    text[len] = '\0';
    close(file);
    *out_len = len;
    return text;
}

static void the_usual_line_is_what_the_careful_one_is(void **state)
{
    (void)state;
    size_t kept_len, careful_len;
    const uint64_t seed = (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)seed);
    char *kept = written(seed, true, &kept_len), *careful = written(seed, false, &careful_len);
    assert_int_equal(kept_len, careful_len);
    assert_memory_equal(kept, careful, kept_len);
    unsigned lines = 0;
    for (size_t i = 0; i < kept_len; i++)
        lines += kept[i] == '\n';
    assert_int_equal(lines, LINES);
    mem_free(kept);
    mem_free(careful);
}

static void a_line_reads_as_documented(void **state)
{
    (void)state;
    size_t len;
    char *kept = written(1, true, &len);
    assert_non_null(strstr(kept,
                           "{\"ts\":\"2026-11-21T03:55:00.123456Z\",\"level\":\"info\",\"msg\":"
                           "\"request\",\"component\":\"test\",\"method\":\"POST\","));
    mem_free(kept);
}

int main(void)
{
    memset(longest, 'l', sizeof longest);
    memset(too_long, 't', sizeof too_long);
    memset(as_long_as_kept, 'k', sizeof as_long_as_kept);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usual_line_is_what_the_careful_one_is),
        cmocka_unit_test(a_line_reads_as_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

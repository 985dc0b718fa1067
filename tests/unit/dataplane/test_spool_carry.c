/* Open intents move on to new segments: a part a pass, and what is let go before holds nothing that
 * is needed. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "tests/lib/seed.h"
#include "tests/unit/dataplane/spool_fixture.h"

#define SEGMENT  65536U
#define RING     (16U << 20)
#define OPEN     600U
#define A_FEW    163840U /* Bytes that two or three passes may write here. */
#define REQUESTS 6000U

static struct found found;

/* As the fixture's, with room for many open requests. */
static void open_wide(struct world *w, uint64_t max_bytes, uint64_t segment_bytes)
{
    const struct spool_options options = {.dir = w->dir,
                                          .spools = 1,
                                          .max_bytes = max_bytes,
                                          .segment_bytes = segment_bytes,
                                          .sync_ms = 3600000,
                                          .drain_ms = 3600000,
                                          .ring_bytes = RING,
                                          .audit_strict = true};
    must(spool_set_create(&options, &w->set, &w->recovery, NULL) == 0);
    w->spool = spool_set_spool(w->set, 0);
    must(w->spool->open_max > OPEN);
}

static uint32_t last_segment(const struct world *w)
{
    return w->spool->current->number;
}

/* Deletes, oldest first, what may go when all that is synced is acknowledged. */
static void drop_all(struct world *w)
{
    struct list *segments = &w->spool->epoch->segments;
    for (;;) {
        struct spool_segment *head = container_of(segments->next, struct spool_segment, link);
        struct spool_segment *next = container_of(head->link.next, struct spool_segment, link);
        if (head->link.next == segments || !head->sealed || head->fd >= 0 ||
            head->number >= atomic_load(&w->spool->synced_floor) ||
            next->first_seq > atomic_load(&w->spool->synced_seq))
            return;
        must(spool_segment_drop(w->set, head));
    }
}

/* ---- a part a pass ---- */

static void many_open_requests_move_on_a_part_at_a_time(void **state)
{
    struct world *w = *state;
    struct spool_intent *open[OPEN];
    open_wide(w, 0, 7 * SEGMENT); /* Most of them stand in one, which grows as it is written. */
    w->set->carry_after = 2;
    for (uint32_t i = 0; i < OPEN; i++)
        assert_int_equal(begin_in_ring(w, i, &open[i]), 0);
    spool_set_sync(w->set);
    const uint64_t open_bytes = spool_set_bytes(w->set);
    assert_true(open_bytes > 3 * A_FEW); /* All at once would be seen. */
    uint64_t most = 0, before = open_bytes;
    uint32_t floor = 0;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        one(w, OPEN + i);
        const uint64_t now = spool_set_bytes(w->set);
        most = now - before > most ? now - before : most;
        before = now;
        const uint32_t moved = atomic_load(&w->spool->written_floor);
        assert_true(moved >= floor && moved <= last_segment(w));
        floor = moved;
    }
    /* The rounds keep up, and what they write is less than what came. */
    assert_true(most < A_FEW);
    assert_true(floor + 3 * w->set->carry_after > last_segment(w));
    assert_true(last_segment(w) > 3 * w->set->carry_after);
    /* Once they have ended, nothing old counts. */
    for (uint32_t i = 0; i < OPEN; i++)
        end_in_ring(w, i, open[i]);
    spool_set_sync(w->set);
    spool_set_sync(w->set);
    assert_int_equal(atomic_load(&w->spool->synced_floor), last_segment(w));
}

static void nothing_is_carried_while_segments_are_young(void **state)
{
    struct world *w = *state;
    struct spool_intent *open = NULL;
    open_wide(w, 0, SEGMENT);
    assert_int_equal(begin(w, 0, &open), 0);
    const uint32_t first = w->spool->slots[0].segment;
    uint32_t number = 1;
    while (last_segment(w) < first + w->set->carry_after)
        one(w, number++);
    assert_int_equal(w->spool->slots[0].segment, first);
    assert_int_equal(atomic_load(&w->spool->written_floor), first);
    while (last_segment(w) <= first + w->set->carry_after)
        one(w, number++);
    assert_int_equal(w->spool->slots[0].segment, last_segment(w));
    assert_int_equal(atomic_load(&w->spool->written_floor), last_segment(w));
}

/* Until a sync, only the old copy is sure to outlive the host. */
static void a_segment_may_go_when_the_copies_are_synced(void **state)
{
    struct world *w = *state;
    struct spool_intent *open = NULL;
    open_wide(w, 0, SEGMENT);
    w->set->carry_after = 0;
    assert_int_equal(begin(w, 0, &open), 0);
    for (uint32_t number = 1; last_segment(w) < 4; number++)
        one(w, number);
    assert_int_equal(atomic_load(&w->spool->written_floor), 4);
    assert_int_equal(atomic_load(&w->spool->synced_floor), 0);
    spool_sync_written(w->set);
    assert_int_equal(atomic_load(&w->spool->synced_floor), 4);
}

static void where_space_is_short_all_move_on_at_once(void **state)
{
    struct world *w = *state;
    struct spool_intent *open[OPEN];
    open_wide(w, 64U << 20, SEGMENT);
    for (uint32_t i = 0; i < OPEN; i++)
        assert_int_equal(begin_in_ring(w, i, &open[i]), 0);
    spool_set_sync(w->set);
    assert_true(last_segment(w) > 1);
    assert_true(atomic_load(&w->spool->written_floor) < last_segment(w));
    /* The threads run, and what they only read must stay; this is theirs to change. */
    atomic_fetch_add(&w->set->bytes, w->set->max_bytes / 8 * 5);
    const uint32_t last = last_segment(w);
    spool_set_sync(w->set); /* A round that had begun ends, ... */
    spool_set_sync(w->set); /* ... and one that carries all. */
    assert_true(atomic_load(&w->spool->synced_floor) >= last);
}

/* ---- any order of what happens ---- */

struct said {
    char word[REQUESTS]; /* 'I' begun, 'D' ended, 'A' acknowledged. */
};

static void random_life(struct world *w, struct said *said, uint64_t seed)
{
    rand_seed_thread(seed);
    struct spool_intent *open[OPEN] = {NULL};
    uint32_t number_of[OPEN], by_seq[REQUESTS + 1], number = 0;
    uint64_t seq = 0, acked = 0;
    static char server[300] = {[0 ... 298] = 's'};
    const struct record_attempt later = {.model = 1, .server = str_from(server)};
    w->set->carry_after = (uint32_t)rand_below(3);
    while (number < REQUESTS) {
        uint32_t at = (uint32_t)rand_below(rand_below(8) == 0 ? OPEN : 8);
        if (open[at] != NULL && rand_below(4) == 0) {
            must(spool_attempt(w->spool, open[at], &later, NULL) == 0); /* Its frames grow. */
        } else if (open[at] == NULL) {
            must(begin_in_ring(w, number, &open[at]) == 0);
            said->word[number] = 'I';
            number_of[at] = number++;
        } else {
            end_in_ring(w, number_of[at], open[at]);
            by_seq[++seq] = number_of[at];
            said->word[number_of[at]] = 'D';
            open[at] = NULL;
        }
        if (rand_below(16) == 0)
            spool_set_drain_lately(w->set);
        if (rand_below(64) == 0)
            spool_set_drain(w->set);
        if (rand_below(128) != 0)
            continue;
        spool_set_sync(w->set);
        for (uint64_t to = atomic_load(&w->spool->synced_seq); acked + 1 < to;)
            said->word[by_seq[++acked]] = 'A';
        drop_all(w);
    }
}

static void check_said(struct world *w, const struct said *said)
{
    assert_int_equal(w->recovery.quarantined, 0);
    read_first(w, &found);
    assert_int_equal(found.gap_records, 0);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        const uint32_t times = found.ok[i] + found.crashed[i];
        const char word = said->word[i];
        if (times > 1 || (word == 'A' && found.crashed[i] != 0) ||
            (word == 'D' && found.ok[i] != 1) || (word == 'I' && found.crashed[i] != 1))
            fail_msg("request %u, of which '%c' was said, is there %u times as ended and %u times "
                     "as open",
                     i, word != 0 ? word : '-', found.ok[i], found.crashed[i]);
    }
}

static void p1_a_death_among_moving_intents_loses_and_doubles_nothing(void **state)
{
    struct world *w = *state;
    const uint64_t seed = test_seed(20261122);
    for (uint64_t round = 0; round < 12; round++) {
        empty_dir(w);
        struct said *said =
            mmap(NULL, sizeof(*said), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_true(said != MAP_FAILED);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            open_wide(w, 0, SEGMENT);
            random_life(w, said, seed + round);
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        open_wide(w, 0, SEGMENT);
        check_said(w, said);
        close_set(w);
        assert_int_equal(munmap(said, sizeof(*said)), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_open_requests_move_on_a_part_at_a_time),
        TEST(nothing_is_carried_while_segments_are_young),
        TEST(a_segment_may_go_when_the_copies_are_synced),
        TEST(where_space_is_short_all_move_on_at_once),
        TEST(p1_a_death_among_moving_intents_loses_and_doubles_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

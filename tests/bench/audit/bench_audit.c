/* The audit questions on many decisions: makes a deployment's records with the nodes' encoder,
 * stores them through ingestion in a private PostgreSQL, then asks every question over HTTP, cold
 * (the server just started, none of its files in memory) and warm, and has the server write the
 * plans of the statements that it really ran (auto_explain). JSON to standard output, progress to
 * the other.
 *
 *   bench_audit [--decisions N] [--days N] [--warm N] [--keep]
 *   bench_audit --load [--bare] [--decisions N] [--days N]   how fast they are stored, and how fast
 *                                         without the indexes that only audits need
 * tests/bench/audit/run makes docs/audit.md from it. */

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "controlplane/ingest/intake.h"
#include "controlplane/store/migrate.h"
#include "tests/bench/audit/world.h"
#include "tests/unit/controlplane/admin_fixture.h"
#include "tests/unit/controlplane/fixture.h"

#define STREAMS 4U
#define BATCH   2000U
#define WINDOW  2U

static const char yaml[] =
    "version: 1\n"
    "providers: {sim: {base_url: \"http://127.0.0.1:1/v1\", private: true}}\n"
    "models:\n"
    "  large: {deployments: [{provider: sim}], price: {input: 2 USD, output: 8 USD}, "
    "prior_quality: 0.9}\n"
    "routes: {plain: {models: [large]}}\n";

struct settings {
    uint64_t decisions, days, warm;
    bool keep, load, bare;
};

static struct world world;
static const char *database;
static char home[256]; /* Of the cluster. */

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench_audit: %s\n", what);
    if (home[0] != '\0')
        cluster_stop();
    exit(1);
}

/* --- the deployment ------------------------------------------------------------------------------
 */

static void make_accounts(struct pq_conn *c)
{
    char sql[4096];
    (void)snprintf(
        sql, sizeof sql,
        "BEGIN;"
        "INSERT INTO account (id, kind, name, created_by) SELECT %llu + i, 'org', 'org' || i, "
        "'operator' FROM generate_series(0, %u) i;"
        "INSERT INTO account (id, kind, name, parent, created_by) SELECT %llu + i, 'team', 'team' "
        "|| i, %llu + i %% %u, 'operator' FROM generate_series(0, %u) i;"
        "INSERT INTO api_key (id, public_id, sha256, name, team_id, created_by) SELECT %llu + i, "
        "'bench' || lpad(i::text, 6, '0'), sha256(('key ' || i)::bytea), 'key ' || i, %llu + i %% "
        "%u, 'operator' FROM generate_series(0, %u) i;"
        "INSERT INTO budget (id, account_id, limit_nano, period, created_by) OVERRIDING SYSTEM "
        "VALUE "
        "SELECT id, id, 2000000000000000, 'total', 'operator' FROM account WHERE kind = 'org';"
        "INSERT INTO budget (id, account_id, limit_nano, period, created_by) OVERRIDING SYSTEM "
        "VALUE "
        "SELECT id, id, 30000000000, 'day', 'operator' FROM account WHERE kind = 'team';"
        "INSERT INTO audit_log (actor, action, subject, reason) SELECT 'key:bench', 'key.update', "
        "'bench' || lpad((i %% %u)::text, 6, '0'), 'change ' || i FROM generate_series(1, 20000) i;"
        "COMMIT",
        (unsigned long long)WORLD_ORG(0), WORLD_ORGS - 1, (unsigned long long)WORLD_TEAM(0),
        (unsigned long long)WORLD_ORG(0), WORLD_ORGS, WORLD_TEAMS - 1,
        (unsigned long long)WORLD_KEY(0), (unsigned long long)WORLD_TEAM(0), WORLD_TEAMS,
        WORLD_KEYS - 1, WORLD_KEYS);
    fixture_exec(c, sql);
}

static void make_rollout(struct pq_conn *c, const char *policy, unsigned p, unsigned v)
{
    static const unsigned share[] = {0, 100, 500, 2500, 5000, 10000};
    char sql[4096];
    unsigned long long id = world_rollout_id(&world, p, v);
    (void)snprintf(
        sql, sizeof sql,
        "INSERT INTO rollout (id, policy, stable, candidate, stable_params, candidate_params, "
        "state, "
        "stage, pct_bp, salt, salt2, cfg, created_by, reason, created, ended, folded_xid) SELECT "
        "%llu, '%s', %u, %u, encode(o.params, 'hex'), encode(n.params, 'hex'), 'promoted', 4, "
        "10000, decode(md5('a'), 'hex'), decode(md5('b'), 'hex'), '{}', 'operator', 'a better "
        "fit', "
        "to_timestamp(%llu / 1000.0), to_timestamp(%llu / 1000.0) + interval '1 day', '0'::xid8 "
        "FROM policy_version o, policy_version n WHERE o.name = '%s' AND o.version = %u AND n.name "
        "= "
        "'%s' AND n.version = %u",
        id, policy, v - 1, v, id, id, policy, v - 1, policy, v);
    fixture_exec(c, sql);
    for (unsigned s = 0; s < 6; s++) {
        (void)snprintf(
            sql, sizeof sql,
            "INSERT INTO rollout_event (rollout_id, ts, from_state, from_stage, to_state, "
            "to_stage, "
            "pct_bp, actor, reason, evidence, term) SELECT %llu, to_timestamp(%llu / 1000.0) + "
            "interval '%u hours', '%s', %u, '%s', %u, %u, 'controller', 'dwell met, nothing "
            "breached', "
            "jsonb_build_object('guards', (SELECT jsonb_agg(jsonb_build_object('guard', g, "
            "'log_m', "
            "0.25 * g, 'bound', 4.6, 'events', 10 * g, 'units', 900 + g)) FROM generate_series(1, "
            "12) "
            "g)), 3",
            id, id, s * 4,
            s == 0   ? "validated"
            : s == 1 ? "shadow"
                     : "canary",
            s > 1 ? s - 2 : 0,
            s == 0   ? "shadow"
            : s == 5 ? "promoted"
                     : "canary",
            s > 0 ? s - 1 : 0, share[s]);
        fixture_exec(c, sql);
    }
}

static void make_policies(struct pq_conn *c)
{
    static const char *const names[WORLD_POLICIES] = {"chat-policy", "code-policy"};
    char sql[1024], hex[65];
    for (unsigned p = 0; p < WORLD_POLICIES; p++) {
        for (unsigned v = 1; v <= world_versions(&world); v++) {
            world_params_hex(p, v, hex);
            (void)snprintf(sql, sizeof sql,
                           "INSERT INTO policy_params (sha256, body) VALUES (decode('%s', 'hex'), "
                           "''); INSERT INTO policy_version (name, version, state, params, "
                           "created_by) VALUES ('%s', %u, 'archived', decode('%s', 'hex'), "
                           "'trainer')",
                           hex, names[p], v, hex);
            fixture_exec(c, sql);
            if (v > 1)
                make_rollout(c, names[p], p, v);
        }
    }
}

static void make_books(struct pq_conn *c)
{
    fixture_exec(
        c,
        "BEGIN; INSERT INTO budget_period (budget_id, period_start, cfg, period_end, limit_nano, "
        "committed, settled) SELECT l.budget_id, l.period_start, l.cfg, CASE b.period WHEN 'day' "
        "THEN l.period_start + interval '1 day' ELSE 'infinity' END, b.limit_nano, sum(l.cost), "
        "sum(l.cost) FROM budget_ledger l JOIN budget b ON b.id = l.budget_id GROUP BY 1, 2, 3, 4, "
        "b.limit_nano; INSERT INTO budget_adjust (budget_id, period_start, cfg, amount, actor, "
        "reason) SELECT budget_id, period_start, cfg, 1000000 * (1 + i), 'operator', 'price of a "
        "model corrected' FROM budget_period, generate_series(1, 3) i; COMMIT");
}

/* --- loading -------------------------------------------------------------------------------------
 */

struct load {
    struct intake *intake;
    uint64_t next, stored, bytes, records;
    uint64_t start_ns, told_ns;
    struct stream {
        struct load *load;
        uint64_t next_seq;
        unsigned pending;
        uint8_t id;
    } stream[STREAMS];
};

static void fill(struct stream *s);

static void on_stored(void *arg, const struct intake_result *result)
{
    struct stream *s = arg;
    struct load *l = s->load;
    if (result->outcome != INTAKE_STORED || result->quarantined > 0)
        fail("a batch was not stored");
    s->pending--;
    l->stored += result->stored;
    uint64_t now = clock_mono_ns();
    if (now - l->told_ns > UINT64_C(15000000000)) {
        l->told_ns = now;
        fprintf(stderr, "bench_audit: %llu of %llu decisions made, %.0f a second\n",
                (unsigned long long)l->next, (unsigned long long)world.decisions,
                (double)l->next * 1e9 / (double)(now - l->start_ns));
    }
    fill(s);
}

static void fill(struct stream *s)
{
    struct load *l = s->load;
    while (s->pending < WINDOW && l->next < world.decisions) {
        struct intake_batch b = {.epoch = 1, .first_seq = s->next_seq};
        struct world_facts f;
        memset(b.node_id.bytes, s->id, 16);
        for (unsigned n = 0; n < BATCH && l->next < world.decisions; n++)
            world_add(&world, l->next++, &b.records, &b.count, &f);
        s->next_seq += b.count;
        l->bytes += b.records.len;
        l->records += b.count;
        s->pending++;
        if (intake_submit(l->intake, &b, on_stored, s) != 0)
            fail("ingestion took no batch");
    }
}

static double load_all(struct load *l)
{
    uv_loop_t loop;
    struct err err = {0};
    struct intake_config config = {.conninfo = database, .connections = 2};
    uv_loop_init(&loop);
    if (intake_create(&loop, &config, &l->intake, &err) != 0)
        fail(err.message);
    l->start_ns = l->told_ns = clock_mono_ns();
    for (unsigned i = 0; i < STREAMS; i++) {
        l->stream[i] = (struct stream){.load = l, .next_seq = 1, .id = (uint8_t)(i + 1)};
        fill(&l->stream[i]);
    }
    for (bool busy = true; busy;) {
        uv_run(&loop, UV_RUN_ONCE);
        busy = l->next < world.decisions;
        for (unsigned i = 0; i < STREAMS; i++)
            busy = busy || l->stream[i].pending > 0;
    }
    double seconds = (double)(clock_mono_ns() - l->start_ns) / 1e9;
    intake_close(l->intake, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return seconds;
}

/* --- cold and warm -------------------------------------------------------------------------------
 */

static void find_home(void)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/home", cluster_dir());
    FILE *f = fopen(path, "r");
    if (f == NULL || fgets(home, sizeof home, f) == NULL)
        fail("the cluster has no home");
    home[strcspn(home, "\n")] = '\0';
    fclose(f);
}

static int forget_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    int fd = type == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    return 0;
}

/* The server starts again, and the system has none of its files in memory. */
static void make_cold(void)
{
    struct pq_conn *c = fixture_connect(database);
    fixture_exec(c, "CHECKPOINT");
    pq_conn_close(c);
    sync();
    cluster_restart();
    if (nftw(home, forget_one, 16, FTW_PHYS) != 0)
        fail("cannot read the cluster's files");
}

static double ask(const char *path, size_t *out_items)
{
    json_t *json = NULL;
    uint64_t start = clock_mono_ns();
    unsigned status = admin_ask_as("Bearer " ADMIN_KEY, "GET", path, NULL, &json, NULL, 0);
    double ms = (double)(clock_mono_ns() - start) / 1e6;
    const json_t *items = json_object_get(json, "items");
    *out_items = items != NULL ? json_array_size(items) : 1;
    if (status != 200) {
        fprintf(stderr, "%s: %u %s\n", path, status, json_dumps(json, 0));
        fail("a question was not answered");
    }
    json_decref(json);
    return ms;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* --- questions -----------------------------------------------------------------------------------
 */

#define QUESTIONS_MAX 20
static struct question {
    const char *name, *what;
    char path[256];
    double cold_ms, warm_ms, worst_ms;
    size_t items;
    char *plans;
} questions[QUESTIONS_MAX];
static unsigned question_count;

static struct question *question(const char *name, const char *what)
{
    struct question *q = &questions[question_count++];
    q->name = name;
    q->what = what;
    return q;
}

static void text_time(int64_t us, char out[CLOCK_RFC3339_BYTES])
{
    clock_format_rfc3339(us, out);
}

static void write_questions(void)
{
    char id[UUID_TEXT_BYTES], day[CLOCK_RFC3339_BYTES], next[CLOCK_RFC3339_BYTES],
        busy[CLOCK_RFC3339_BYTES];
    struct buf list = {0};
    uint32_t count = 0;
    struct world_facts f;
    world_add(&world, world.decisions / 3, &list, &count, &f);
    buf_deinit(&list);
    uuid_format(&f.id, id);
    int64_t third = world.start_us + (int64_t)(world.days / 3) * WORLD_DAY_US;
    text_time(third, day);
    text_time(third + WORLD_DAY_US, next);
    text_time(third + 14 * (WORLD_DAY_US / 24), busy);
    unsigned version = 1 + (unsigned)world.days / 3 / 4; /* That of the day. */
    struct question *q = question("request", "one request with all that is known of it");
    (void)snprintf(q->path, sizeof q->path, "/api/v1/audit/requests/%s", id);
    q = question("key-busy", "the busiest key in its busiest hour, with exclusions");
    (void)snprintf(q->path, sizeof q->path, "/api/v1/audit/keys/bench000000?hour=%s&limit=1000",
                   busy);
    q = question("key-rare", "a key of little traffic in an hour, with exclusions");
    (void)snprintf(q->path, sizeof q->path, "/api/v1/audit/keys/bench001700?hour=%s&limit=1000",
                   busy);
    q = question("off-greedy", "a policy version, chosen is not greedy, the newest 1000");
    (void)snprintf(q->path, sizeof q->path,
                   "/api/v1/audit/off-greedy?policy=chat-policy@%u&limit=1000", version);
    q = question("off-greedy-day", "the same, of one day");
    (void)snprintf(q->path, sizeof q->path,
                   "/api/v1/audit/off-greedy?policy=chat-policy@%u&since=%s&until=%s&limit=1000",
                   version, day, next);
    q = question("served-elsewhere", "served by another than the chosen, the newest 1000");
    (void)snprintf(q->path, sizeof q->path, "/api/v1/audit/served-elsewhere?limit=1000");
    q = question("served-elsewhere-page", "the same, a page from the middle");
    (void)snprintf(q->path, sizeof q->path, "/api/v1/audit/served-elsewhere?limit=1000&cursor=%s",
                   id);
    q = question("spend-org", "an organisation's spend since the start, with adjustments");
    (void)snprintf(q->path, sizeof q->path, "/api/v1/audit/spend?account=org:org1");
    q = question("spend-team", "a team's spend by day against its limit, with adjustments");
    (void)snprintf(q->path, sizeof q->path, "/api/v1/audit/spend?account=team:team7&limit=1000");
    q = question("rollout", "who moved a rollout to a stage, on what evidence");
    (void)snprintf(q->path, sizeof q->path, "/api/v1/audit/rollouts/%llu?stage=2",
                   (unsigned long long)world_rollout_id(&world, 0, version < 2 ? 2 : version));
    q = question("log", "what was changed about a key, and by whom");
    (void)snprintf(q->path, sizeof q->path, "/api/v1/audit?subject=bench000100&limit=100");
    q = question("failed", "the newest 100 that failed");
    (void)snprintf(q->path, sizeof q->path, "/api/v1/decisions?status=failed&limit=100");
    q = question("export", "a page of the export: 500 whole records from the middle");
    (void)snprintf(q->path, sizeof q->path, "/api/v1/decisions/export?since=%s&limit=500", day);
}

static void measure_cold(void)
{
    for (unsigned i = 0; i < question_count; i++) {
        make_cold();
        admin_fixture_start(database, yaml);
        questions[i].cold_ms = ask(questions[i].path, &questions[i].items);
        admin_fixture_stop();
        fprintf(stderr, "bench_audit: %-22s cold %8.1f ms, %zu items\n", questions[i].name,
                questions[i].cold_ms, questions[i].items);
    }
}

static void measure_warm(unsigned rounds)
{
    double *ms = mem_zalloc(rounds * sizeof *ms);
    admin_fixture_start(database, yaml);
    for (unsigned i = 0; i < question_count; i++) {
        for (unsigned n = 0; n < rounds; n++)
            ms[n] = ask(questions[i].path, &questions[i].items);
        qsort(ms, rounds, sizeof *ms, compare);
        questions[i].warm_ms = ms[rounds / 2];
        questions[i].worst_ms = ms[rounds - 1];
        fprintf(stderr, "bench_audit: %-22s warm %8.1f ms, worst of %u %8.1f ms\n",
                questions[i].name, questions[i].warm_ms, rounds, questions[i].worst_ms);
    }
    admin_fixture_stop();
    mem_free(ms);
}

static long log_size(void)
{
    char path[512];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/server.log", home);
    return stat(path, &st) == 0 ? (long)st.st_size : 0;
}

static char *log_from(long at)
{
    char path[512];
    long end = log_size();
    (void)snprintf(path, sizeof path, "%s/server.log", home);
    FILE *f = fopen(path, "r");
    char *text = mem_zalloc((size_t)(end - at) + 1);
    if (f == NULL || text == NULL || fseek(f, at, SEEK_SET) != 0 ||
        fread(text, 1, (size_t)(end - at), f) != (size_t)(end - at))
        fail("the server's log cannot be read");
    fclose(f);
    return text;
}

static void explain_all(void)
{
    static const char *const settings[] = {
        "ALTER SYSTEM SET session_preload_libraries = 'auto_explain'",
        "ALTER SYSTEM SET auto_explain.log_min_duration = 0",
        "ALTER SYSTEM SET auto_explain.log_analyze = on",
        "ALTER SYSTEM SET auto_explain.log_buffers = on",
        "ALTER SYSTEM SET auto_explain.log_timing = off",
        "ALTER SYSTEM SET log_line_prefix = ''",
        "SELECT pg_reload_conf()"};
    struct pq_conn *c = fixture_connect(database);
    fixture_exec(c, "LOAD 'auto_explain'");
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        fixture_exec(c, settings[i]);
    pq_conn_close(c);
    admin_fixture_start(database, yaml);
    for (unsigned i = 0; i < question_count; i++) {
        size_t items;
        (void)ask(questions[i].path, &items);
        long at = log_size();
        (void)ask(questions[i].path, &items);
        questions[i].plans = log_from(at);
    }
    admin_fixture_stop();
}

/* --- the whole -----------------------------------------------------------------------------------
 */

static uint64_t number(const char *text)
{
    uint64_t value;
    if (text == NULL || str_parse_u64(str_from(text), 1000000000, &value) != 0 || value == 0)
        fail("expected a number above 0");
    return value;
}

static struct settings parse(int argc, char **argv)
{
    struct settings s = {.decisions = 10000000, .days = 40, .warm = 15};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--keep") == 0) {
            s.keep = true;
            continue;
        }
        if (strcmp(argv[i], "--load") == 0 || strcmp(argv[i], "--bare") == 0) {
            s.load = s.load || strcmp(argv[i], "--load") == 0;
            s.bare = s.bare || strcmp(argv[i], "--bare") == 0;
            continue;
        }
        if (strcmp(argv[i], "--decisions") == 0)
            s.decisions = number(value);
        else if (strcmp(argv[i], "--days") == 0)
            s.days = number(value);
        else if (strcmp(argv[i], "--warm") == 0)
            s.warm = number(value);
        else
            fail("usage: bench_audit [--decisions N] [--days N] [--warm N] [--keep]");
        i++;
    }
    return s;
}

static json_t *sizes(struct pq_conn *c)
{
    static const char *const names[] = {
        "database",        "decision_rows",       "attempt_rows",   "feedback_rows",
        "decision_heap",   "decision_indexes",    "attempt_bytes",  "partitions",
        "off_greedy_rows", "off_greedy_bytes",    "elsewhere_rows", "elsewhere_bytes",
        "key_index_bytes", "request_index_bytes", "record_bytes",   "default_rows"};
    static const char *const sqls[] = {
        "SELECT pg_database_size(current_database())",
        "SELECT count(*) FROM decision",
        "SELECT count(*) FROM attempt",
        "SELECT count(*) FROM feedback",
        "SELECT sum(pg_table_size(inhrelid))::bigint FROM pg_inherits WHERE inhparent = "
        "'decision'::regclass",
        "SELECT sum(pg_indexes_size(inhrelid))::bigint FROM pg_inherits WHERE inhparent = "
        "'decision'::regclass",
        "SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits WHERE inhparent = "
        "'attempt'::regclass",
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'decision'::regclass",
        "SELECT count(*) FROM decision WHERE greedy_model IS NOT NULL",
        "SELECT sum(pg_relation_size(inhrelid))::bigint FROM pg_inherits WHERE inhparent = "
        "'decision_off_greedy'::regclass",
        "SELECT count(*) FROM decision WHERE served_model <> chosen_model",
        "SELECT sum(pg_relation_size(inhrelid))::bigint FROM pg_inherits WHERE inhparent = "
        "'decision_served_elsewhere'::regclass",
        "SELECT sum(pg_relation_size(inhrelid))::bigint FROM pg_inherits WHERE inhparent = "
        "'decision_key_id'::regclass",
        "SELECT sum(pg_relation_size(inhrelid))::bigint FROM pg_inherits WHERE inhparent = "
        "'decision_request_id'::regclass",
        "SELECT avg(length(detail))::bigint FROM (SELECT detail FROM decision LIMIT 10000) d",
        "SELECT (SELECT count(*) FROM decision_default) + (SELECT count(*) FROM attempt_default)"};
    json_t *out = json_object();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        json_object_set_new(out, names[i], json_integer(fixture_i64(c, sqls[i])));
    return out;
}

static void report(const struct settings *s, const struct load *l, double seconds, json_t *facts)
{
    json_t *out =
        json_pack("{s:I, s:I, s:f, s:I, s:o}", "decisions", (json_int_t)s->decisions, "days",
                  (json_int_t)s->days, "load_seconds", seconds, "record_list_bytes",
                  (json_int_t)(l->bytes / l->records), "sizes", facts);
    json_t *list = json_array();
    for (unsigned i = 0; i < question_count; i++) {
        const struct question *q = &questions[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:I, s:s}", "name", q->name,
                                        "what", q->what, "path", q->path, "cold_ms", q->cold_ms,
                                        "warm_ms", q->warm_ms, "worst_ms", q->worst_ms, "items",
                                        (json_int_t)q->items, "plans", q->plans));
    }
    json_object_set_new(out, "questions", list);
    json_dumpf(out, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(out);
}

int main(int argc, char **argv)
{
    struct settings s = parse(argc, argv);
    struct load l = {0};
    struct err err = {0};
    unsigned created, dropped;
    world_init(&world, s.decisions, (unsigned)s.days, clock_wall_us());
    (void)cluster_start();
    find_home();
    database = cluster_database("audit", true);
    struct pq_conn *c = fixture_connect(database);
    fixture_exec(c, "ALTER SYSTEM SET max_wal_size = '4GB'");
    fixture_exec(c, "ALTER SYSTEM SET shared_buffers = '512MB'");
    const struct partitions_config partitions = {.days_ahead = (unsigned)s.days + 7};
    if (partitions_maintain(c, &partitions, world.start_us, &created, &dropped, &err) != 0)
        fail(err.message);
    pq_conn_close(c);
    cluster_restart();
    c = fixture_connect(database);
    make_accounts(c);
    make_policies(c);
    if (s.bare)
        fixture_exec(c,
                     "DROP INDEX decision_off_greedy, decision_served_elsewhere, decision_not_ok");
    pq_conn_close(c);
    double seconds = load_all(&l);
    if (s.load) {
        printf("%.0f decisions/s\n", (double)s.decisions / seconds);
        cluster_stop();
        return 0;
    }
    fprintf(stderr, "bench_audit: stored in %.0f s; books, statistics\n", seconds);
    c = NULL;
    if (pq_conn_open(database, "bench", 5000, 3600000, &c, &err) != 0)
        fail(err.message);
    make_books(c);
    fixture_exec(c, "VACUUM ANALYZE");
    json_t *facts = sizes(c);
    pq_conn_close(c);
    write_questions();
    measure_cold();
    measure_warm((unsigned)s.warm);
    explain_all();
    report(&s, &l, seconds, facts);
    if (s.keep)
        fprintf(stderr, "bench_audit: the cluster stays: tests/lib/postgres stop %s\n",
                cluster_dir());
    else
        cluster_stop();
    return 0;
}

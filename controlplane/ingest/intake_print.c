#include "controlplane/ingest/intake_print.h"

#include "controlplane/ingest/intake_rows.h"

struct print_sum {
    struct str model, server, text;
    int64_t print, first_us, last_us, requests;
};

/* 14 days, 1000 requests: as docs/evidence.md has them. A node's clock may be ahead. */
const char intake_prints_sql[] =
    "INSERT INTO fingerprint AS f (model, server, print, text, first_seen, since, last_seen, "
    "requests) SELECT i.model, i.server, i.print, max(i.text), least(min(i.first), now()), "
    "least(min(i.first), now()), least(max(i.last), now()), least(sum(i.requests), 1000)::bigint "
    "FROM print_in i LEFT JOIN fingerprint k USING (model, server, print) "
    "WHERE k.requests < 1000 OR i.last > k.last_seen + interval '1 minute' OR "
    "(k.text IS NULL AND i.text IS NOT NULL AND k.print IS NOT NULL) OR (k.print IS NULL AND "
    "(SELECT count(*) FROM fingerprint o WHERE o.model = i.model AND o.server = i.server) < 256) "
    "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 ON CONFLICT (model, server, print) DO UPDATE SET "
    "text = coalesce(f.text, excluded.text), "
    "first_seen = least(f.first_seen, excluded.first_seen), "
    "last_seen = greatest(f.last_seen, excluded.last_seen), "
    "away = CASE WHEN excluded.since > f.last_seen + interval '14 days' THEN f.last_seen ELSE "
    "f.away END, "
    "since = CASE WHEN excluded.since > f.last_seen + interval '14 days' THEN excluded.since ELSE "
    "least(f.since, excluded.since) END, "
    "requests = CASE WHEN excluded.since > f.last_seen + interval '14 days' THEN excluded.requests "
    "ELSE least(f.requests + excluded.requests, 1000) END; ";

void intake_prints_init(struct intake_prints *p, struct arena *arena, size_t max_bytes)
{
    *p = (struct intake_prints){.arena = arena};
    map_init(&p->sums);
    pq_copy_init(&p->copy, max_bytes);
}

void intake_prints_deinit(struct intake_prints *p)
{
    map_deinit(&p->sums);
    pq_copy_deinit(&p->copy);
}

void intake_prints_reset(struct intake_prints *p)
{
    map_deinit(&p->sums);
    map_init(&p->sums);
    pq_copy_reset(&p->copy);
    pq_copy_begin(&p->copy);
}

int intake_prints_add(struct intake_prints *p, struct str model, struct str server, int64_t ts_us,
                      const Steelyard__Telemetry__V1__Attempt *a)
{
    bool is_new;
    const int64_t print = (int64_t)a->fingerprint;
    const struct str parts[] = {model, server, {.data = (const char *)&print, .len = sizeof print}};
    struct print_sum *s =
        intake_sum_entry(p->arena, &p->sums, parts, 3, sizeof(struct print_sum), &is_new);
    if (s == NULL)
        return ERR_NOMEM;
    if (is_new)
        *s = (struct print_sum){
            .model = model, .server = server, .print = print, .first_us = ts_us, .last_us = ts_us};
    if (a->fingerprint_text[0] != '\0')
        s->text = str_from(a->fingerprint_text);
    s->first_us = ts_us < s->first_us ? ts_us : s->first_us;
    s->last_us = ts_us > s->last_us ? ts_us : s->last_us;
    s->requests++;
    return 0;
}

int intake_prints_finish(struct intake_prints *p)
{
    const struct map_entry *e;
    struct pq_copy *c = &p->copy;
    for (size_t i = 0; (e = map_next(&p->sums, &i)) != NULL;) {
        const struct print_sum *s = e->value;
        pq_copy_row(c, 7);
        intake_copy_text(c, s->model);
        intake_copy_text(c, s->server);
        pq_copy_i64(c, s->print);
        if (s->text.len > 0)
            intake_copy_text(c, s->text);
        else
            pq_copy_null(c);
        pq_copy_time_us(c, s->first_us);
        pq_copy_time_us(c, s->last_us);
        pq_copy_i64(c, s->requests);
    }
    pq_copy_end(c);
    return c->status;
}

-- Slices of budgets that nodes hold (docs/decisions/0130). Counters only rise; nothing is deleted.

-- --- periods ---------------------------------------------------------------------------------------

-- The period of this kind that holds `at`: [period_start, period_end). Boundaries are local times:
-- the anchor's (or midnight; Monday; the 1st), a whole number of days, weeks or months away from it.
-- A month without the anchor's day ends on its last day. A local time that a change of clocks skips
-- or repeats is taken as PostgreSQL takes it, the same on both sides, so that periods neither
-- overlap nor leave a hole.
CREATE FUNCTION budget_period_bounds(period text, tz text, anchor timestamptz, at timestamptz,
                                     OUT period_start timestamptz, OUT period_end timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH base AS (
        SELECT coalesce(anchor AT TIME ZONE tz,
                        CASE period WHEN 'week' THEN timestamp '2000-01-03'
                                    ELSE timestamp '2000-01-01' END) AS origin,
               at AT TIME ZONE tz AS here,
               CASE period WHEN 'day' THEN interval '1 day' WHEN 'week' THEN interval '7 days'
                           ELSE interval '1 month' END AS step
    ), near AS (
        SELECT CASE period
               WHEN 'day' THEN (here::date - origin::date)
               WHEN 'week' THEN (here::date - origin::date) / 7
               ELSE (extract(year FROM here)::int - extract(year FROM origin)::int) * 12
                    + extract(month FROM here)::int - extract(month FROM origin)::int
               END AS k
        FROM base WHERE period <> 'total'
    ), bound AS (
        SELECT (origin + (k + d) * step) AT TIME ZONE tz AS b
        FROM base, near, generate_series(-2, 2) AS d
    )
    SELECT CASE period WHEN 'total' THEN coalesce(anchor, timestamptz 'epoch')
                       ELSE max(b) FILTER (WHERE b <= at) END,
           CASE period WHEN 'total' THEN timestamptz 'infinity'
                       ELSE min(b) FILTER (WHERE b > at) END
    FROM bound
$$;

-- Unix microseconds; the largest bigint for infinity.
CREATE FUNCTION steelyard_us(t timestamptz) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN t = 'infinity' THEN 9223372036854775807
                ELSE (extract(epoch FROM t) * 1000000)::bigint END
$$;
CREATE FUNCTION steelyard_time(us bigint) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT timestamptz 'epoch' + us / 1000000 * interval '1 second'
           + us % 1000000 * interval '1 microsecond'
$$;

-- --- what is granted -------------------------------------------------------------------------------

CREATE TABLE budget_period (
    budget_id    bigint      NOT NULL,
    period_start timestamptz NOT NULL,
    cfg          integer     NOT NULL,
    period_end   timestamptz NOT NULL,
    limit_nano   bigint      NOT NULL,                                -- As last seen; nano-USD.
    committed    bigint      NOT NULL DEFAULT 0 CHECK (committed >= 0), -- sum(g - r)
    settled      bigint      NOT NULL DEFAULT 0 CHECK (settled >= 0),   -- sum(s)
    warned       boolean     NOT NULL DEFAULT false,
    adjust       bigint      NOT NULL DEFAULT 0, -- sum(budget_adjust): counts as spent.
    PRIMARY KEY (budget_id, period_start, cfg)
);

-- One life of a node process.
CREATE TABLE lease_life (
    node_id     uuid        NOT NULL,
    epoch       bigint      NOT NULL,
    state       smallint    NOT NULL DEFAULT 0, -- 0 active, 1 closed, 2 lost (silent too long)
    registered  timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_report timestamptz NOT NULL DEFAULT clock_timestamp(),
    echo_era    integer     NOT NULL DEFAULT 0, -- In which it last told everything it holds.
    PRIMARY KEY (node_id, epoch)
);
CREATE INDEX lease_life_active ON lease_life (last_report) WHERE state = 0;

CREATE TABLE budget_alloc (
    budget_id    bigint      NOT NULL,
    period_start timestamptz NOT NULL,
    cfg          integer     NOT NULL,
    node_id      uuid        NOT NULL,
    epoch        bigint      NOT NULL,
    g            bigint      NOT NULL, -- Granted,
    s            bigint      NOT NULL, -- settled,
    r            bigint      NOT NULL, -- returned: cumulative.
    overage      bigint      NOT NULL DEFAULT 0, -- Settled after closing.
    reserved     bigint      NOT NULL DEFAULT 0, -- Of open requests, as last reported.
    state        smallint    NOT NULL DEFAULT 0, -- 0 active, 1 closed, 2 lost: still committed
    recall_keep  bigint,                         -- Not NULL: to be told to give back all above it.
    last_report  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (budget_id, period_start, cfg, node_id, epoch),
    FOREIGN KEY (budget_id, period_start, cfg) REFERENCES budget_period,
    CHECK (s >= 0 AND r >= 0 AND g >= s + r)
);
CREATE INDEX budget_alloc_life ON budget_alloc (node_id, epoch) WHERE state <> 1;
CREATE INDEX budget_alloc_recall ON budget_alloc (node_id, epoch) WHERE recall_keep IS NOT NULL;

-- Signed corrections of what was spent: a debt carried over, costs rated anew.
CREATE TABLE budget_adjust (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    budget_id    bigint      NOT NULL,
    period_start timestamptz NOT NULL,
    cfg          integer     NOT NULL,
    amount       bigint      NOT NULL CHECK (amount <> 0), -- nano-USD; above 0: more was spent.
    actor        text        NOT NULL,
    reason       text        NOT NULL,
    created      timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (budget_id, period_start, cfg) REFERENCES budget_period
);
CREATE INDEX budget_adjust_period ON budget_adjust (budget_id, period_start, cfg);
CREATE FUNCTION steelyard_adjust() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE budget_period SET adjust = adjust + NEW.amount
    WHERE budget_id = NEW.budget_id AND period_start = NEW.period_start AND cfg = NEW.cfg;
    RETURN NULL;
END $$;
CREATE TRIGGER applied AFTER INSERT ON budget_adjust
    FOR EACH ROW EXECUTE FUNCTION steelyard_adjust();
CREATE TRIGGER kept BEFORE UPDATE OR DELETE ON budget_adjust
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();

-- Which era of the database this is: the timeline, which rises with every failover. After one, the
-- last commits may be missing, and grants wait until nodes have told what they hold.
CREATE TABLE lease_era (
    one      boolean     PRIMARY KEY DEFAULT true CHECK (one),
    era      integer     NOT NULL,
    since    timestamptz NOT NULL DEFAULT clock_timestamp(),
    failover boolean     NOT NULL DEFAULT false
);

-- Must be empty: where the sums do not agree.
CREATE VIEW budget_mismatch AS
SELECT p.budget_id, p.period_start, p.cfg, p.committed, p.settled,
       coalesce(sum(a.g - a.r), 0)::bigint AS committed_sum, coalesce(sum(a.s), 0)::bigint AS settled_sum
FROM budget_period p LEFT JOIN budget_alloc a USING (budget_id, period_start, cfg)
GROUP BY p.budget_id, p.period_start, p.cfg
HAVING p.committed <> coalesce(sum(a.g - a.r), 0) OR p.settled <> coalesce(sum(a.s), 0);

-- What was spent: sums that are written in the transaction that stores the decisions, and what is
-- done with them (docs/decisions/0147, 0148, 0149). Money is nano-USD.

-- Whom decisions are counted for: a row per distinct set of accounts, the key's own among them. The
-- id is a digest of the row, so that nobody has to look it up.
CREATE TABLE spend_path (
    id        uuid     PRIMARY KEY,
    key_id    bigint   NOT NULL, -- 0: no key was known.
    accounts  bigint[] NOT NULL  -- Ascending, with key_id unless that is 0.
);
CREATE INDEX spend_path_accounts ON spend_path USING gin (accounts);
CREATE INDEX spend_path_key ON spend_path (key_id);

-- Every decision stands in exactly one row. `shard` keeps parallel streams off each other's rows.
CREATE TABLE spend_day (
    day              date     NOT NULL, -- UTC, of decision.ts
    path             uuid     NOT NULL, -- spend_path.id
    model            text     NOT NULL, -- Served, else of the last attempt; '' when none.
    params_sha       bytea    NOT NULL, -- Empty: no policy.
    source           smallint NOT NULL, -- Of the usage: 0 none, 1 provider, 2 counted, 3 estimated.
    shard            smallint NOT NULL,
    decisions        bigint   NOT NULL,
    failed           bigint   NOT NULL,
    cost             bigint   NOT NULL,
    unpriced         bigint   NOT NULL, -- Decisions whose cost is unknown: 0 in cost.
    tokens_in        bigint   NOT NULL,
    tokens_out       bigint   NOT NULL,
    tokens_cached    bigint   NOT NULL,
    tokens_reasoning bigint   NOT NULL,
    PRIMARY KEY (day, path, model, params_sha, source, shard)
);
CREATE INDEX spend_day_path ON spend_day (path, day);

-- What was stored before: its accounts are not known, but for the key's own.
INSERT INTO spend_path (id, key_id, accounts)
SELECT encode(substr(sha256(int8send(key_id) || array_send(accounts)), 1, 16), 'hex')::uuid, key_id,
       accounts
FROM (SELECT DISTINCT key_id, CASE key_id WHEN 0 THEN '{}' ELSE ARRAY[key_id] END AS accounts
      FROM decision) k;
INSERT INTO spend_day
SELECT (d.ts AT TIME ZONE 'UTC')::date, p.id, coalesce(d.served_model, ''),
       coalesce(d.params_sha, ''), CASE WHEN d.flags & 64 <> 0 THEN 3 ELSE 0 END, 0, count(*),
       count(*) FILTER (WHERE d.status IN (3, 4, 5)), sum(d.cost),
       count(*) FILTER (WHERE d.flags & 512 <> 0), sum(d.tokens_in), sum(d.tokens_out), 0, 0
FROM decision d JOIN spend_path p USING (key_id) GROUP BY 1, 2, 3, 4, 5;

-- What the decisions say was charged to a budget, by the life of the node's allocations.
CREATE TABLE budget_ledger (
    budget_id     bigint      NOT NULL,
    period_start  timestamptz NOT NULL,
    cfg           integer     NOT NULL,
    node_id       uuid        NOT NULL,
    lease_epoch   bigint      NOT NULL,
    cost          bigint      NOT NULL,
    rows          bigint      NOT NULL, -- Charges: an attempt's count one by one.
    last_received timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (budget_id, period_start, cfg, node_id, lease_epoch)
);
CREATE INDEX budget_ledger_life ON budget_ledger (node_id, lease_epoch);

-- --- reconciliation --------------------------------------------------------------------------------

CREATE TABLE spend_check (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started    timestamptz NOT NULL,
    finished   timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor      text        NOT NULL,
    since      timestamptz NOT NULL,
    budgets    bigint      NOT NULL, -- Pairs of budget and period that were compared.
    days       bigint      NOT NULL, -- Days whose decisions were compared with their sums.
    differing  bigint      NOT NULL,
    alarms     bigint      NOT NULL,
    worst_ppm  bigint      NOT NULL, -- Of what is not moving.
    trued_up   bigint      NOT NULL  -- Adjustments that it posted.
);
CREATE INDEX spend_check_started ON spend_check (started);
-- The largest differences of a check.
CREATE TABLE spend_difference (
    check_id      bigint      NOT NULL REFERENCES spend_check ON DELETE CASCADE,
    position      integer     NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('budget', 'day', 'hour')),
    budget_id     bigint,      -- Of kind 'budget', with the two below.
    period_start  timestamptz,
    cfg           integer,
    day           date,        -- Of the other kinds: sums against decisions.
    counted       bigint      NOT NULL, -- By the decisions,
    booked        bigint      NOT NULL, -- by settlements and true-ups, or by the sums.
    adjusted      bigint      NOT NULL, -- By others: shown, not compared.
    open_nano     bigint      NOT NULL, -- Reserved by requests that run.
    moving        boolean     NOT NULL, -- Counted or booked within the last minutes.
    ppm           bigint      NOT NULL,
    alarm         boolean     NOT NULL,
    PRIMARY KEY (check_id, position)
);
-- What was posted into budget_adjust for a life of allocations, so that none is posted twice.
CREATE TABLE spend_trueup (
    budget_id    bigint      NOT NULL,
    period_start timestamptz NOT NULL,
    cfg          integer     NOT NULL,
    node_id      uuid        NOT NULL,
    lease_epoch  bigint      NOT NULL,
    amount       bigint      NOT NULL, -- All together, signed.
    complete     boolean     NOT NULL, -- With all rows there: it has its last value.
    posted       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (budget_id, period_start, cfg, node_id, lease_epoch)
);

-- --- warnings --------------------------------------------------------------------------------------

-- A threshold that was crossed, once per budget, period and threshold, and its message.
CREATE TABLE spend_notice (
    id            uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    budget_id     bigint      NOT NULL,
    period_start  timestamptz NOT NULL,
    cfg           integer     NOT NULL,
    permille      integer     NOT NULL, -- Of the limit.
    account_id    bigint      NOT NULL,
    limit_nano    bigint      NOT NULL,
    spent_nano    bigint      NOT NULL,
    created       timestamptz NOT NULL DEFAULT now(),
    url           text,                 -- NULL: nobody is told.
    body          text        NOT NULL, -- JSON, as it is sent.
    state         text        NOT NULL
                  CHECK (state IN ('quiet', 'queued', 'delivered', 'given_up')),
    attempts      integer     NOT NULL DEFAULT 0,
    next_try      timestamptz NOT NULL DEFAULT now(),
    last_error    text        NOT NULL DEFAULT '',
    delivered     timestamptz,
    UNIQUE (budget_id, period_start, cfg, permille)
);
CREATE INDEX spend_notice_queued ON spend_notice (next_try) WHERE state = 'queued';

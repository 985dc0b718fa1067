-- How a policy version reaches everyone: rollouts, what they saw, and what people decided meanwhile.
-- cfg, baseline and evidence are JSON of our own making.
CREATE TABLE rollout (
    id                bigint   PRIMARY KEY CHECK (id > 0), -- Milliseconds of its start: never used again.
    kind              text     NOT NULL DEFAULT 'rollout' CHECK (kind IN ('rollout', 'override')),
    policy            text     NOT NULL,
    stable            bigint   NOT NULL, -- Version numbers of policy_version.
    candidate         bigint   NOT NULL,
    stable_params     text     NOT NULL, -- Hex sha256 of their Params.
    candidate_params  text     NOT NULL,
    state             text     NOT NULL CHECK (state IN ('shadow', 'canary', 'hold', 'halted',
                                   'promoted', 'rolled_back', 'override', 'ended')),
    stage             integer  NOT NULL CHECK (stage >= -1), -- -1: shadow.
    pct_bp            integer  NOT NULL DEFAULT 0 CHECK (pct_bp BETWEEN 0 AND 10000),
    salt              bytea    NOT NULL CHECK (octet_length(salt) = 16),
    salt2             bytea    NOT NULL CHECK (octet_length(salt2) = 16),
    cfg               jsonb    NOT NULL,
    baseline          jsonb    NOT NULL DEFAULT '{}', -- Frozen at the start, of the stable version.
    guards            bytea,             -- Their state, as of the last fold.
    counts            jsonb    NOT NULL DEFAULT '{}', -- What was seen so far, as of the last fold.
    report            jsonb    NOT NULL DEFAULT '{}', -- What the last look said, for people.
    created           timestamptz NOT NULL DEFAULT now(),
    created_by        text     NOT NULL,
    reason            text     NOT NULL DEFAULT '',
    expires           timestamptz,       -- Of an override.
    why               text     NOT NULL DEFAULT 'none', -- Of the edge that led to this state.
    state_since       timestamptz NOT NULL DEFAULT now(),
    stage_since       timestamptz NOT NULL DEFAULT now(), -- Dwell is counted from here.
    ended             timestamptz,
    term              bigint   NOT NULL DEFAULT 0, -- Of the role, at the last look.
    watched_at        timestamptz NOT NULL DEFAULT now(), -- The last look at its guards.
    fold              bigint   NOT NULL DEFAULT 0, -- How many buckets were folded.
    folded_xid        xid8     NOT NULL, -- Every row of an earlier transaction is in the cells.
    CHECK ((kind = 'override') = (state IN ('override', 'ended'))),
    CHECK ((kind = 'override') = (expires IS NOT NULL)),
    CHECK ((ended IS NOT NULL) = (state IN ('promoted', 'rolled_back', 'ended'))),
    FOREIGN KEY (policy, stable) REFERENCES policy_version (name, version),
    FOREIGN KEY (policy, candidate) REFERENCES policy_version (name, version)
);
CREATE UNIQUE INDEX rollout_one_active ON rollout (policy) WHERE ended IS NULL;
CREATE INDEX rollout_policy ON rollout (policy, id);

CREATE FUNCTION steelyard_rollout_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.kind, NEW.policy, NEW.stable, NEW.candidate, NEW.stable_params,
        NEW.candidate_params, NEW.salt, NEW.salt2, NEW.cfg, NEW.created, NEW.created_by)
        IS DISTINCT FROM (OLD.id, OLD.kind, OLD.policy, OLD.stable, OLD.candidate,
        OLD.stable_params, OLD.candidate_params, OLD.salt, OLD.salt2, OLD.cfg, OLD.created,
        OLD.created_by) THEN
        RAISE EXCEPTION 'what rollout % compares and how never changes', OLD.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF OLD.ended IS NOT NULL THEN
        RAISE EXCEPTION 'rollout % has ended: a new attempt is a new rollout', OLD.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.fold < OLD.fold OR NEW.folded_xid < OLD.folded_xid THEN
        RAISE EXCEPTION 'rollout % would count rows twice', OLD.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER kept BEFORE UPDATE ON rollout
    FOR EACH ROW EXECUTE FUNCTION steelyard_rollout_kept();
CREATE TRIGGER never_deleted BEFORE DELETE ON rollout
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();

-- Every edge, by whom and on what evidence.
CREATE TABLE rollout_event (
    id          bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rollout_id  bigint   NOT NULL REFERENCES rollout,
    ts          timestamptz NOT NULL DEFAULT clock_timestamp(), -- When it took effect.
    from_state  text,
    from_stage  integer,
    to_state    text     NOT NULL,
    to_stage    integer  NOT NULL,
    pct_bp      integer  NOT NULL,
    actor       text     NOT NULL, -- "controller", or who asked.
    reason      text     NOT NULL,
    evidence    jsonb    NOT NULL DEFAULT '{}',
    term        bigint   NOT NULL DEFAULT 0, -- 0: by a person, on any replica.
    generation  bigint   -- In which nodes see it; NULL: nothing for nodes changed.
);
CREATE INDEX rollout_event_rollout ON rollout_event (rollout_id, id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON rollout_event
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON rollout_event
    FOR EACH STATEMENT EXECUTE FUNCTION steelyard_refuse_change();

-- One row a decision of a rollout, written in the transaction of the decision. xid says when it may
-- be folded: as soon as every earlier transaction has ended.
CREATE TABLE canary_obs (
    bucket       timestamptz NOT NULL, -- Of ingestion, whole seconds.
    rollout_id   bigint   NOT NULL,
    request_id   uuid     NOT NULL,
    unit_hash    bigint   NOT NULL,
    arm          smallint NOT NULL, -- 1 stable, 2 candidate, 3 unavailable.
    stage        smallint NOT NULL, -- -1: shadow.
    slot         smallint NOT NULL,
    stratum      smallint NOT NULL, -- Of the route, 0..15.
    cluster      smallint NOT NULL, -- 0..63, by salt2 and unit.
    status       smallint NOT NULL, -- DecisionStatus.
    flags        smallint NOT NULL, -- OBS_*: see controlplane/ingest/intake_canary.h.
    cost         bigint   NOT NULL, -- nano-USD; -1: unknown.
    latency_ms   bigint   NOT NULL,
    ttft_ms      bigint   NOT NULL,
    tokens_out   bigint   NOT NULL,
    chosen_q     integer  NOT NULL, -- Q16, predicted.
    chosen_cost  bigint,            -- nano-USD, predicted; NULL: unknown.
    shadow_q     integer,           -- The same of the other version's choice; NULL: not computed.
    shadow_cost  bigint,
    xid          xid8     NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX canary_obs_fold ON canary_obs (rollout_id, xid);
CREATE INDEX canary_obs_request ON canary_obs (request_id);
CREATE INDEX canary_obs_bucket ON canary_obs USING brin (bucket);

-- A vote counts for its decision at the fold that sees the later of the two.
ALTER TABLE feedback ADD COLUMN xid xid8;
ALTER TABLE feedback ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
CREATE INDEX feedback_xid ON feedback (xid);

-- What one fold took, once. A row counts in the bucket of the fold that saw it.
CREATE TABLE canary_fold (
    rollout_id  bigint   NOT NULL REFERENCES rollout,
    fold        bigint   NOT NULL,
    bucket      timestamptz NOT NULL,
    from_xid    xid8     NOT NULL, -- Rows with from_xid <= xid < to_xid.
    to_xid      xid8     NOT NULL,
    rows        bigint   NOT NULL,
    votes       bigint   NOT NULL,
    term        bigint   NOT NULL,
    PRIMARY KEY (rollout_id, fold)
);
CREATE TABLE canary_cell (
    rollout_id      bigint   NOT NULL,
    fold            bigint   NOT NULL,
    bucket          timestamptz NOT NULL,
    stage           smallint NOT NULL,
    arm             smallint NOT NULL,
    stratum         smallint NOT NULL,
    cluster         smallint NOT NULL, -- 64: of units that are left out of tests.
    n               bigint   NOT NULL, -- Requests.
    exposures       bigint   NOT NULL, -- Units; one that came several times counts once a fold.
    new_stable      bigint   NOT NULL, -- Units seen for the first time, by where their slot puts them.
    new_candidate   bigint   NOT NULL,
    failed          bigint   NOT NULL, -- Requests with an error.
    errors          bigint   NOT NULL, -- Events: at most one a unit and fold, as all to the blank.
    timeouts        bigint   NOT NULL,
    slow            bigint   NOT NULL, -- Above the baseline's p95.
    dear            bigint   NOT NULL, -- Above the baseline's p99.
    disliked        bigint   NOT NULL, -- Thumbs down.
    clamped         bigint   NOT NULL, -- Output clamped by a budget.
    cost_n          bigint   NOT NULL, -- Of served requests, nano-USD, winsorised at the baseline's p99.5.
    cost_sum        double precision NOT NULL,
    cost_sumsq      double precision NOT NULL,
    tokens_n        bigint   NOT NULL,
    tokens_sum      double precision NOT NULL,
    tokens_sumsq    double precision NOT NULL,
    quality_n       bigint   NOT NULL, -- Votes, 0..1.
    quality_sum     double precision NOT NULL,
    quality_sumsq   double precision NOT NULL,
    differs         bigint   NOT NULL, -- Of `shadowed`: the other version would have chosen otherwise.
    shadowed        bigint   NOT NULL,
    PRIMARY KEY (rollout_id, fold, stage, arm, stratum, cluster),
    FOREIGN KEY (rollout_id, fold) REFERENCES canary_fold
);
CREATE TRIGGER append_only BEFORE UPDATE ON canary_cell
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE ON canary_fold
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();

CREATE TABLE canary_unit (
    rollout_id   bigint   NOT NULL,
    unit_hash    bigint   NOT NULL,
    first_fold   bigint   NOT NULL,
    exposures    bigint   NOT NULL, -- Requests.
    events       integer  NOT NULL DEFAULT 0, -- As candidate: bits of guard_metric, each once.
    valued       integer  NOT NULL DEFAULT 0, -- As candidate: bits of guard_metric; bit 15: seen.
    apart        boolean  NOT NULL DEFAULT false, -- More than 5 % of all: left out of tests from then on.
    PRIMARY KEY (rollout_id, unit_hash)
);
CREATE INDEX canary_unit_heavy ON canary_unit (rollout_id, exposures);

-- No edge forward while one holds; back is always allowed.
CREATE TABLE rollout_freeze (
    id          bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    policy      text,    -- NULL: all.
    created     timestamptz NOT NULL DEFAULT now(),
    created_by  text     NOT NULL,
    reason      text     NOT NULL CHECK (reason <> ''),
    ended       timestamptz,
    ended_by    text
);
CREATE UNIQUE INDEX rollout_freeze_one ON rollout_freeze (coalesce(policy, '')) WHERE ended IS NULL;

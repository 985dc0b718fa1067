-- What nodes report. Partitioned by day of ts; partitions.c makes the days, DEFAULT takes the rest.
-- Text that clients can choose is cleaned to valid UTF-8 without NUL before it gets here; the exact
-- bytes are in detail (the protobuf of telemetry.proto as the node sent it).
CREATE TABLE decision (
    ts            timestamptz NOT NULL,
    request_id    uuid        NOT NULL,
    node_id       uuid        NOT NULL,
    epoch         bigint      NOT NULL,
    seq           bigint      NOT NULL,
    key_id        bigint      NOT NULL,
    segment       integer     NOT NULL,
    endpoint      text        NOT NULL,
    route         text        NOT NULL,
    alias         text        NOT NULL,
    task          text        NOT NULL,
    policy_sha    bytea,
    params_sha    bytea,
    generation    bigint      NOT NULL,
    flags         integer     NOT NULL,
    status        smallint    NOT NULL,
    http_status   integer     NOT NULL,
    chosen_model  text,
    served_model  text,
    cost          bigint      NOT NULL,
    tokens_in     bigint      NOT NULL,
    tokens_out    bigint      NOT NULL,
    ttft_ms       bigint      NOT NULL,
    latency_ms    bigint      NOT NULL,
    attempts      smallint    NOT NULL,
    excl_any      bigint      NOT NULL,
    text_hash     bytea,
    detail        bytea       NOT NULL
) PARTITION BY RANGE (ts);
ALTER TABLE decision ALTER COLUMN detail SET STORAGE EXTERNAL;
-- request_id is a UUIDv7, so these two are in order of time as well.
CREATE INDEX decision_request_id ON decision (request_id);
CREATE INDEX decision_key_id ON decision (key_id, request_id);
CREATE INDEX decision_ts ON decision USING brin (ts);
CREATE TABLE decision_default PARTITION OF decision DEFAULT;

CREATE TABLE attempt (
    ts          timestamptz NOT NULL,
    request_id  uuid        NOT NULL,
    n           smallint    NOT NULL,
    model       text        NOT NULL,
    server      text        NOT NULL,
    started     timestamptz NOT NULL,
    status      integer     NOT NULL,
    reason      integer     NOT NULL,
    ttft_ms     bigint      NOT NULL,
    total_ms    bigint      NOT NULL,
    tokens_in   bigint      NOT NULL,
    tokens_out  bigint      NOT NULL,
    cached      bigint      NOT NULL,
    cost        bigint      NOT NULL,
    price_id    bigint      NOT NULL,
    flags       integer     NOT NULL
) PARTITION BY RANGE (ts);
CREATE INDEX attempt_ts ON attempt USING brin (ts);
CREATE TABLE attempt_default PARTITION OF attempt DEFAULT;

-- ts is the time in request_id, so a vote lies in the partition of its decision. First vote wins.
CREATE TABLE feedback (
    ts          timestamptz NOT NULL,
    request_id  uuid        NOT NULL,
    key_id      bigint      NOT NULL,
    source      text        NOT NULL,
    received    timestamptz NOT NULL,
    score_q16   integer     NOT NULL,
    label       text        NOT NULL,
    comment     bytea       NOT NULL,
    PRIMARY KEY (ts, request_id, key_id, source)
) PARTITION BY RANGE (ts);
CREATE INDEX feedback_request_id ON feedback (request_id);
CREATE TABLE feedback_default PARTITION OF feedback DEFAULT;

CREATE TABLE ingest_stream (
    node_id   uuid   NOT NULL,
    epoch     bigint NOT NULL,
    next_seq  bigint NOT NULL DEFAULT 1,
    last_ts   timestamptz,
    PRIMARY KEY (node_id, epoch)
);
CREATE TABLE ingest_deadletter (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received  timestamptz NOT NULL DEFAULT now(),
    node_id   uuid   NOT NULL,
    epoch     bigint NOT NULL,
    seq       bigint NOT NULL,
    sqlstate  text   NOT NULL,
    error     text   NOT NULL,
    raw       bytea  NOT NULL,
    UNIQUE (node_id, epoch, seq)
);
CREATE TABLE telemetry_gap (
    received  timestamptz NOT NULL DEFAULT now(),
    node_id   uuid   NOT NULL,
    epoch     bigint NOT NULL,
    from_seq  bigint NOT NULL,
    to_seq    bigint NOT NULL,
    reason    text   NOT NULL,
    PRIMARY KEY (node_id, epoch, from_seq)
);

-- Sums that reports read. `shard` keeps parallel streams off each other's rows.
CREATE TABLE usage_hour (
    hour        timestamptz NOT NULL,
    key_id      bigint   NOT NULL,
    route       text     NOT NULL,
    model       text     NOT NULL, -- Served; '' when none.
    params_sha  bytea    NOT NULL, -- Empty: no policy.
    shard       smallint NOT NULL,
    decisions   bigint   NOT NULL,
    failed      bigint   NOT NULL,
    explored    bigint   NOT NULL,
    cost        bigint   NOT NULL,
    unpriced    bigint   NOT NULL, -- Decisions whose cost is unknown.
    tokens_in   bigint   NOT NULL,
    tokens_out  bigint   NOT NULL,
    last_ts     timestamptz NOT NULL,
    PRIMARY KEY (hour, key_id, route, model, params_sha, shard)
);
CREATE INDEX usage_hour_key ON usage_hour (key_id, last_ts);
-- What the same requests would have cost on each candidate: tokens as served, prices of the record.
CREATE TABLE candidate_hour (
    hour       timestamptz NOT NULL,
    route      text     NOT NULL,
    model      text     NOT NULL,
    shard      smallint NOT NULL,
    decisions  bigint   NOT NULL,
    cost       bigint   NOT NULL,
    actual     bigint   NOT NULL, -- What these requests did cost.
    q_q16      bigint   NOT NULL, -- Sum of predicted quality.
    PRIMARY KEY (hour, route, model, shard)
);

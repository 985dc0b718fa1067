-- Control planes as replicas: who leads which role, which replicas there are, and which node is
-- connected to which of them.

-- One row a role; a term is etcd_era * 2^40 + the revision that won the election. Without etcd each
-- start of a control plane takes the next era. After etcd lost its data: etcd_era + 1, by hand.
DELETE FROM leader_fence WHERE role = 'release';
INSERT INTO leader_fence (role) VALUES ('trainer'), ('rollout'), ('rates'), ('keeper');
UPDATE leader_fence SET etcd_era = 1;

CREATE TABLE replica (
    id       text PRIMARY KEY, -- --replica-id
    address  text NOT NULL,    -- Where nodes reach it.
    build    text NOT NULL DEFAULT '',
    leads    text NOT NULL DEFAULT '', -- Roles, for people; who leads is decided by leader_fence.
    started  timestamptz NOT NULL DEFAULT now(),
    seen     timestamptz NOT NULL DEFAULT now()
);

-- What a replica knows of the nodes that are connected to it. A row belongs to the replica that
-- wrote it last; it is true while that replica is seen.
CREATE TABLE node_presence (
    node_id     text    PRIMARY KEY,
    replica     text    NOT NULL,
    connected   boolean NOT NULL,
    since       timestamptz NOT NULL DEFAULT now(), -- Of the stream, or of its end.
    applied     bigint  NOT NULL DEFAULT 0, -- Generation.
    nacked      bigint  NOT NULL DEFAULT 0, -- Last generation it refused; 0: none since it accepted one.
    build       text    NOT NULL DEFAULT '',
    peer        text    NOT NULL DEFAULT '',
    epoch       numeric NOT NULL DEFAULT 0,
    spool_records bigint NOT NULL DEFAULT 0,
    spool_bytes bigint  NOT NULL DEFAULT 0,
    inflight    bigint  NOT NULL DEFAULT 0,
    seen        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX node_presence_replica ON node_presence (replica);

-- A training run may be asked for on any replica and is run by the one that leads it.
ALTER TABLE job
    ADD COLUMN spec  jsonb  NOT NULL DEFAULT '{}', -- What to do, as it was understood when asked for.
    ADD COLUMN term  bigint NOT NULL DEFAULT 0,    -- Of who runs it.
    ADD COLUMN tries integer NOT NULL DEFAULT 0;

-- What nodes should run. Contents are immutable rows; the head names the current generation.
CREATE TABLE config_head (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    era         integer NOT NULL DEFAULT 1,
    generation  bigint  NOT NULL DEFAULT 0,
    changed     timestamptz NOT NULL DEFAULT now()
);
INSERT INTO config_head DEFAULT VALUES;

CREATE TABLE resource (
    key         text    PRIMARY KEY,
    type        integer NOT NULL,
    version     text    NOT NULL, -- Hex sha256 of body.
    body        bytea   NOT NULL,
    generation  bigint  NOT NULL  -- In which it last changed.
);

CREATE TABLE leader_fence (
    role      text PRIMARY KEY,
    etcd_era  integer NOT NULL DEFAULT 0,
    term      bigint  NOT NULL DEFAULT 0,
    holder    text
);
INSERT INTO leader_fence (role) VALUES ('release');

CREATE TABLE policy_artifact (
    sha256   bytea PRIMARY KEY,
    body     bytea NOT NULL,
    created  timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE policy_artifact ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE policy_params (
    sha256   bytea PRIMARY KEY,
    body     bytea NOT NULL,
    created  timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE policy_version (
    name         text   NOT NULL,
    version      bigint NOT NULL CHECK (version > 0),
    state        text   NOT NULL
                 CHECK (state IN ('candidate', 'current', 'previous', 'rejected', 'archived')),
    artifact     bytea  REFERENCES policy_artifact, -- NULL: none, decided by priors.
    params       bytea  NOT NULL REFERENCES policy_params,
    created      timestamptz NOT NULL DEFAULT now(),
    created_by   text   NOT NULL,
    rows         bigint NOT NULL DEFAULT 0,
    data_digest  bytea,
    target       text   NOT NULL DEFAULT '{}', -- JSON texts of our own making.
    report       text   NOT NULL DEFAULT '{}',
    copy_of      bigint,                       -- Rollback: the version whose content this is.
    promoted     timestamptz,
    PRIMARY KEY (name, version)
);
CREATE UNIQUE INDEX policy_one_current ON policy_version (name) WHERE state = 'current';
CREATE INDEX policy_version_params ON policy_version (params);

CREATE TABLE catalogue_version (
    sha256      bytea PRIMARY KEY,
    body        bytea NOT NULL,
    created     timestamptz NOT NULL DEFAULT now(),
    created_by  text  NOT NULL
);
CREATE TABLE price (
    price_id      bigint PRIMARY KEY,
    provider      text   NOT NULL,
    model         text   NOT NULL,
    input         bigint NOT NULL,
    output        bigint NOT NULL,
    cached_input  bigint NOT NULL,
    cache_write   bigint NOT NULL,
    valid_from    timestamptz NOT NULL,
    created       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE push_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ts          timestamptz NOT NULL DEFAULT now(),
    node_id     text   NOT NULL,
    generation  bigint NOT NULL,
    accepted    boolean NOT NULL,
    key         text   NOT NULL DEFAULT '',
    version     text   NOT NULL DEFAULT '',
    code        text   NOT NULL DEFAULT '',
    detail      text   NOT NULL DEFAULT ''
);
CREATE INDEX push_log_generation ON push_log (generation, node_id);

-- One version number has one content, and contents never change.
CREATE FUNCTION steelyard_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: its rows never change', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE FUNCTION steelyard_policy_version_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.name, NEW.version, NEW.params) IS DISTINCT FROM (OLD.name, OLD.version, OLD.params)
        OR NEW.artifact IS DISTINCT FROM OLD.artifact THEN
        RAISE EXCEPTION 'policy version %@% has its content for ever', OLD.name, OLD.version
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER frozen BEFORE UPDATE ON policy_version
    FOR EACH ROW EXECUTE FUNCTION steelyard_policy_version_frozen();
CREATE TRIGGER kept BEFORE DELETE ON policy_version
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();
CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON policy_artifact
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();
CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON policy_params
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();
CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON price
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();

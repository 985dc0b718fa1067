-- Who may call, who changed what, what runs in the background.
CREATE TABLE api_key (
    id           bigint  PRIMARY KEY, -- The numeric id of Key.id, never 0.
    public_id    text    NOT NULL UNIQUE,
    sha256       bytea   NOT NULL UNIQUE CHECK (octet_length(sha256) = 32),
    name         text    NOT NULL,
    routes       text[]  NOT NULL DEFAULT '{}',
    models       text[]  NOT NULL DEFAULT '{}',
    disabled     boolean NOT NULL DEFAULT false,
    created      timestamptz NOT NULL DEFAULT now(),
    expires      timestamptz,
    source       text    NOT NULL DEFAULT 'admin' CHECK (source IN ('admin', 'config')),
    no_explore   boolean NOT NULL DEFAULT false,
    may_no_log   boolean NOT NULL DEFAULT false,
    segment      integer NOT NULL DEFAULT 0
);

CREATE TABLE audit_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ts          timestamptz NOT NULL DEFAULT now(),
    actor       text   NOT NULL,
    action      text   NOT NULL,
    subject     text   NOT NULL,
    reason      text   NOT NULL DEFAULT '',
    detail      text   NOT NULL DEFAULT '{}',
    generation  bigint
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION steelyard_refuse_change();

CREATE TABLE job (
    id        uuid PRIMARY KEY,
    kind      text NOT NULL,
    subject   text NOT NULL,
    state     text NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
    phase     text NOT NULL DEFAULT '',
    done      bigint NOT NULL DEFAULT 0,
    total     bigint NOT NULL DEFAULT 0,
    message   text NOT NULL DEFAULT '',
    request   text NOT NULL DEFAULT '{}',
    result    text NOT NULL DEFAULT '{}',
    actor     text NOT NULL,
    created   timestamptz NOT NULL DEFAULT now(),
    started   timestamptz,
    finished  timestamptz,
    touched   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX job_created ON job (created);

-- What providers say that made their answers (docs/evidence.md, "Drift").

-- As in telemetry.proto, signed here; NULL: it did not say. Without a default, so that no partition is
-- rewritten.
ALTER TABLE attempt ADD COLUMN fingerprint bigint;

-- One row for what was said by a deployment of a model. A fingerprint that nobody has seen for 14 days
-- begins anew when it comes again: since, away and requests are of the time after that.
CREATE TABLE fingerprint (
    model       text   NOT NULL,
    server      text   NOT NULL, -- "provider/upstream model", as in attempt.
    print       bigint NOT NULL,
    text        text,            -- Model, and system_fingerprint behind a space; NULL: not told yet.
    first_seen  timestamptz NOT NULL,
    since       timestamptz NOT NULL,
    away        timestamptz,     -- When it had last been seen before that.
    last_seen   timestamptz NOT NULL, -- To the minute.
    requests    bigint NOT NULL, -- Since then; counted up to 1000.
    PRIMARY KEY (model, server, print)
);

-- Which deployment says what it did not say before.
ALTER TABLE drift_event DROP CONSTRAINT drift_event_kind_check;
ALTER TABLE drift_event ADD CONSTRAINT drift_event_kind_check
    CHECK (kind IN ('better', 'worse', 'quality', 'requests', 'fingerprint'));
ALTER TABLE drift_event ADD COLUMN server text NOT NULL DEFAULT '';
ALTER TABLE drift_event ADD COLUMN print bigint;

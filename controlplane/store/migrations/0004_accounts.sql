-- Whom money is counted for, how much they may spend, and what a key may do. Rows are never
-- deleted: decisions name them. What ended is stamped `removed` and stays as it was.
CREATE TABLE account (
    id           bigint  PRIMARY KEY CHECK (id <> 0), -- Of a key: the key's own id.
    kind         text    NOT NULL
                 CHECK (kind IN ('org', 'team', 'key', 'user', 'tag', 'model')),
    name         text    NOT NULL
                 CHECK (octet_length(name) BETWEEN 1 AND 127 AND name !~ '[[:cntrl:]]'),
    parent       bigint  REFERENCES account, -- Of a team: its org. Of a key: its team, or its org.
    disabled     boolean NOT NULL DEFAULT false, -- Its keys are refused.
    metadata     text    NOT NULL DEFAULT '{}'
                 CHECK (octet_length(metadata) <= 16384
                        AND jsonb_typeof(metadata::jsonb) = 'object'),
    rpm          bigint  CHECK (rpm BETWEEN 1 AND 1000000000), -- NULL: no limit. Of a key: in
    tpm          bigint  CHECK (tpm BETWEEN 1 AND 1000000000000), -- api_key.
    concurrency  bigint  CHECK (concurrency BETWEEN 1 AND 1000000),
    created      timestamptz NOT NULL DEFAULT now(),
    created_by   text    NOT NULL DEFAULT '',
    removed      timestamptz,
    CHECK (parent IS NULL OR kind IN ('team', 'key')),
    CHECK (kind <> 'key' OR (rpm IS NULL AND tpm IS NULL AND concurrency IS NULL))
);
CREATE UNIQUE INDEX account_live_name ON account (kind, name) WHERE removed IS NULL;
CREATE INDEX account_parent ON account (parent) WHERE parent IS NOT NULL;

CREATE TABLE budget (
    id             bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id     bigint  NOT NULL REFERENCES account,
    limit_nano     bigint  NOT NULL CHECK (limit_nano > 0), -- nano-USD
    period         text    NOT NULL CHECK (period IN ('day', 'week', 'month', 'total')),
    tz             text    NOT NULL DEFAULT 'UTC',
    anchor         timestamptz, -- A moment at which a period begins; NULL: midnight, Monday, the 1st.
    cfg            integer NOT NULL DEFAULT 1 CHECK (cfg > 0), -- Rises with period, tz and anchor.
    mode           text    NOT NULL DEFAULT 'strict' CHECK (mode IN ('strict', 'soft')),
    warn_permille  integer NOT NULL DEFAULT 800 CHECK (warn_permille BETWEEN 1 AND 1000),
    carry          text    NOT NULL DEFAULT 'none' CHECK (carry IN ('none', 'debt')),
    offline_nano   bigint  NOT NULL DEFAULT 0, -- A node's allowance for one outage.
    webhook        text    CHECK (octet_length(webhook) <= 2048
                                  AND webhook ~ '^https?://[^[:space:][:cntrl:]]+$'),
    created        timestamptz NOT NULL DEFAULT now(),
    created_by     text    NOT NULL DEFAULT '',
    removed        timestamptz,
    CHECK (offline_nano BETWEEN 0 AND limit_nano),
    CHECK (carry = 'none' OR period <> 'total')
);
CREATE UNIQUE INDEX budget_one_live ON budget (account_id, period) WHERE removed IS NULL;

ALTER TABLE api_key
    ADD COLUMN team_id        bigint REFERENCES account,
    ADD COLUMN org_id         bigint REFERENCES account, -- With a team: the team's own.
    ADD COLUMN user_id        bigint REFERENCES account,
    ADD COLUMN endpoints      text[] NOT NULL DEFAULT '{}', -- Empty: all.
    ADD COLUMN max_cost_nano  bigint CHECK (max_cost_nano > 0), -- Of one request.
    ADD COLUMN prev_sha256    bytea UNIQUE CHECK (octet_length(prev_sha256) = 32),
    ADD COLUMN prev_until     timestamptz, -- Until then the secret before the last rotation works.
    ADD COLUMN rotated        timestamptz,
    ADD COLUMN rpm            bigint CHECK (rpm BETWEEN 1 AND 1000000000),
    ADD COLUMN tpm            bigint CHECK (tpm BETWEEN 1 AND 1000000000000),
    ADD COLUMN concurrency    bigint CHECK (concurrency BETWEEN 1 AND 1000000),
    ADD COLUMN tags           text[] NOT NULL DEFAULT '{}',
    ADD COLUMN metadata       text NOT NULL DEFAULT '{}'
               CHECK (octet_length(metadata) <= 16384 AND jsonb_typeof(metadata::jsonb) = 'object'),
    -- Not NULL: a credential of the admin API. It calls no model and is never sent to nodes; its
    -- scope and limits are what it may give to keys that it makes.
    ADD COLUMN role           text CHECK (role IN ('viewer', 'operator', 'admin')),
    ADD COLUMN maker          bigint REFERENCES api_key, -- NULL: the operator of the file, or a file.
    ADD COLUMN created_by     text NOT NULL DEFAULT '',
    -- Disabled by a person. `disabled` also follows the configuration file, which cannot undo this.
    ADD COLUMN blocked        boolean NOT NULL DEFAULT false CHECK (NOT blocked OR disabled),
    ADD COLUMN removed        timestamptz CHECK (removed IS NULL OR disabled),
    ADD CONSTRAINT api_key_overlap CHECK ((prev_sha256 IS NULL) = (prev_until IS NULL)),
    ADD CONSTRAINT api_key_secrets_differ CHECK (prev_sha256 <> sha256);
UPDATE api_key SET blocked = true WHERE disabled AND source = 'admin';
CREATE INDEX api_key_team ON api_key (team_id) WHERE team_id IS NOT NULL;
CREATE INDEX api_key_org ON api_key (org_id) WHERE org_id IS NOT NULL;
CREATE INDEX api_key_user ON api_key (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX api_key_maker ON api_key (maker) WHERE maker IS NOT NULL;
CREATE INDEX api_key_created ON api_key (created, public_id);

-- --- what holds between rows -----------------------------------------------------------------------

CREATE FUNCTION steelyard_refuse(what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', what USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- The id must name a live account of that kind.
CREATE FUNCTION steelyard_need_account(want bigint, want_kind text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE found account;
BEGIN
    SELECT * INTO found FROM account WHERE id = want FOR SHARE;
    IF found.id IS NULL OR found.kind <> want_kind OR found.removed IS NOT NULL THEN
        PERFORM steelyard_refuse(format('account %s is no live %s', want, want_kind));
    END IF;
END $$;

CREATE FUNCTION steelyard_account_check() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE above text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.id, NEW.kind, NEW.created, NEW.created_by)
            IS DISTINCT FROM (OLD.id, OLD.kind, OLD.created, OLD.created_by) THEN
            PERFORM steelyard_refuse('an account keeps its id, kind and origin');
        END IF;
        IF OLD.removed IS NOT NULL AND NEW IS DISTINCT FROM OLD THEN
            PERFORM steelyard_refuse('a removed account stays as it was');
        END IF;
        IF NEW.removed IS NOT NULL AND OLD.removed IS NULL AND NEW.kind <> 'key' AND (
            EXISTS (SELECT FROM account WHERE parent = NEW.id AND removed IS NULL)
            OR EXISTS (SELECT FROM api_key WHERE removed IS NULL
                       AND NEW.id IN (team_id, org_id, user_id))) THEN
            PERFORM steelyard_refuse(format('%s %s still has keys or teams', NEW.kind, NEW.name));
        END IF;
    END IF;
    IF NEW.parent IS NOT NULL AND NEW.removed IS NULL THEN
        SELECT kind INTO above FROM account WHERE id = NEW.parent FOR SHARE;
        IF NOT (above = 'org' OR (above = 'team' AND NEW.kind = 'key')) THEN
            PERFORM steelyard_refuse(format('a %s cannot be below a %s', NEW.kind, above));
        END IF;
        IF TG_OP = 'INSERT' OR NEW.parent IS DISTINCT FROM OLD.parent THEN
            PERFORM steelyard_need_account(NEW.parent, above);
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER rules BEFORE INSERT OR UPDATE ON account
    FOR EACH ROW EXECUTE FUNCTION steelyard_account_check();

CREATE FUNCTION steelyard_account_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.kind = 'team' AND NEW.parent IS DISTINCT FROM OLD.parent THEN
        UPDATE api_key SET org_id = NEW.parent WHERE team_id = NEW.id AND removed IS NULL;
    END IF;
    IF NEW.removed IS NOT NULL AND OLD.removed IS NULL THEN
        UPDATE budget SET removed = NEW.removed WHERE account_id = NEW.id AND removed IS NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER follow AFTER UPDATE ON account
    FOR EACH ROW EXECUTE FUNCTION steelyard_account_follow();

CREATE FUNCTION steelyard_budget_check() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NOT EXISTS (SELECT FROM account WHERE id = NEW.account_id AND removed IS NULL) THEN
            PERFORM steelyard_refuse(format('account %s is removed', NEW.account_id));
        END IF;
    ELSE
        IF (NEW.id, NEW.account_id, NEW.created, NEW.created_by)
            IS DISTINCT FROM (OLD.id, OLD.account_id, OLD.created, OLD.created_by) THEN
            PERFORM steelyard_refuse('a budget keeps its id, account and origin');
        END IF;
        IF OLD.removed IS NOT NULL AND NEW IS DISTINCT FROM OLD THEN
            PERFORM steelyard_refuse('a removed budget stays as it was');
        END IF;
        -- Another period, time zone or anchor makes other bounds: the pair (start, cfg) is new.
        NEW.cfg := OLD.cfg;
        IF (NEW.period, NEW.tz, NEW.anchor) IS DISTINCT FROM (OLD.period, OLD.tz, OLD.anchor) THEN
            NEW.cfg := OLD.cfg + 1;
        END IF;
    END IF;
    IF (TG_OP = 'INSERT' OR NEW.tz <> OLD.tz) AND NEW.tz <> 'UTC'
        AND NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = NEW.tz) THEN
        RAISE EXCEPTION 'there is no time zone "%"', NEW.tz USING ERRCODE = '22023';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER rules BEFORE INSERT OR UPDATE ON budget
    FOR EACH ROW EXECUTE FUNCTION steelyard_budget_check();

CREATE FUNCTION steelyard_key_check() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.id, NEW.public_id, NEW.source, NEW.created, NEW.created_by, NEW.maker, NEW.role)
            IS DISTINCT FROM
            (OLD.id, OLD.public_id, OLD.source, OLD.created, OLD.created_by, OLD.maker, OLD.role)
        THEN
            PERFORM steelyard_refuse('a key keeps its id, role and origin');
        END IF;
        IF OLD.removed IS NOT NULL AND NEW IS DISTINCT FROM OLD THEN
            PERFORM steelyard_refuse('a removed key stays removed');
        END IF;
    END IF;
    IF NEW.removed IS NULL THEN
        IF NEW.team_id IS NOT NULL THEN
            PERFORM steelyard_need_account(NEW.team_id, 'team');
            NEW.org_id := (SELECT parent FROM account WHERE id = NEW.team_id);
        END IF;
        IF NEW.org_id IS NOT NULL THEN
            PERFORM steelyard_need_account(NEW.org_id, 'org');
        END IF;
        IF NEW.user_id IS NOT NULL THEN
            PERFORM steelyard_need_account(NEW.user_id, 'user');
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER rules BEFORE INSERT OR UPDATE ON api_key
    FOR EACH ROW EXECUTE FUNCTION steelyard_key_check();

-- A key's account comes, moves and ends with it.
CREATE FUNCTION steelyard_key_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO account (id, kind, name, parent, created_by)
        VALUES (NEW.id, 'key', NEW.public_id, coalesce(NEW.team_id, NEW.org_id), NEW.created_by);
    ELSIF (NEW.team_id, NEW.org_id, NEW.removed)
        IS DISTINCT FROM (OLD.team_id, OLD.org_id, OLD.removed) THEN
        UPDATE account SET parent = coalesce(NEW.team_id, NEW.org_id), removed = NEW.removed
        WHERE id = NEW.id AND removed IS NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER follow AFTER INSERT OR UPDATE ON api_key
    FOR EACH ROW EXECUTE FUNCTION steelyard_key_follow();
INSERT INTO account (id, kind, name, created) SELECT id, 'key', public_id, created FROM api_key;

CREATE TRIGGER kept BEFORE DELETE ON account
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();
CREATE TRIGGER kept BEFORE DELETE ON budget
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();
CREATE TRIGGER kept BEFORE DELETE ON api_key
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();

-- --- what nodes are told ---------------------------------------------------------------------------

-- A row per key that nodes must know: also disabled ones, so that they are refused as such, but no
-- removed one and no credential of the admin API. `accounts` is the path whose budgets each request
-- of the key is charged to, ascending as unsigned numbers.
CREATE VIEW pushed_key AS
SELECT k.id, k.public_id, k.sha256, k.name, k.routes, k.models,
       k.disabled OR coalesce(t.disabled, false) OR coalesce(o.disabled, false)
           OR coalesce(u.disabled, false) AS disabled,
       k.expires, k.no_explore, k.may_no_log, k.segment,
       (SELECT array_agg(a ORDER BY a < 0, a)
        FROM unnest(ARRAY[k.org_id, k.team_id, k.user_id, k.id]) a WHERE a IS NOT NULL) AS accounts,
       k.endpoints, k.max_cost_nano, k.prev_sha256, k.prev_until, k.rpm, k.tpm, k.concurrency,
       k.tags
FROM api_key k LEFT JOIN account t ON t.id = k.team_id LEFT JOIN account o ON o.id = k.org_id
     LEFT JOIN account u ON u.id = k.user_id
WHERE k.removed IS NULL AND k.role IS NULL;

-- A row per account with something to hold it to. A key that has rates but no budget is not here:
-- its rates are in pushed_key.
CREATE VIEW pushed_account AS
SELECT a.id, a.kind, a.name, a.parent, coalesce(a.rpm, k.rpm) AS rpm, coalesce(a.tpm, k.tpm) AS tpm,
       coalesce(a.concurrency, k.concurrency) AS concurrency
FROM account a LEFT JOIN api_key k ON k.id = a.id AND a.kind = 'key'
WHERE a.removed IS NULL AND (k.id IS NULL OR k.role IS NULL)
      AND (a.rpm IS NOT NULL OR a.tpm IS NOT NULL OR a.concurrency IS NOT NULL
           OR EXISTS (SELECT FROM budget b WHERE b.account_id = a.id AND b.removed IS NULL));

-- What audits ask, and what they rest on (docs/decisions/0185, 0186).

-- --- the questions ---------------------------------------------------------------------------------

-- The best candidate by utility, where another was chosen (explored, or kept for a conversation);
-- NULL: the chosen one, or there was nothing to choose. '': only the record says which.
ALTER TABLE decision ADD COLUMN greedy_model text;
UPDATE decision SET greedy_model = '' WHERE flags & 1 <> 0;
-- Partial: an ordinary decision is in none of them, so it pays for none of them.
CREATE INDEX decision_off_greedy ON decision (params_sha, request_id)
    WHERE greedy_model IS NOT NULL;
CREATE INDEX decision_served_elsewhere ON decision (request_id) WHERE served_model <> chosen_model;
CREATE INDEX decision_not_ok ON decision (request_id) WHERE status <> 1;

-- --- the log ---------------------------------------------------------------------------------------

-- Which rows a change changed, in the transaction of its row in audit_log. Written by the database
-- itself, so that no program can forget it; secrets' digests are left out.
ALTER TABLE audit_log ADD COLUMN xid xid8;
ALTER TABLE audit_log ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
CREATE INDEX audit_log_xid ON audit_log (xid);
CREATE INDEX audit_log_ts ON audit_log (ts, id);
CREATE INDEX audit_log_subject ON audit_log (subject, id);
CREATE INDEX audit_log_actor ON audit_log (actor, id);

CREATE TABLE audit_change (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid     xid8   NOT NULL DEFAULT pg_current_xact_id(),
    ts      timestamptz NOT NULL DEFAULT now(),
    what    text   NOT NULL, -- The table.
    which   text   NOT NULL, -- The row's key.
    before  jsonb,           -- The columns that changed; NULL: there was no such row.
    after   jsonb            -- NULL: there is none any more.
);
CREATE INDEX audit_change_xid ON audit_change (xid);
CREATE INDEX audit_change_which ON audit_change (which, id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_change
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON audit_change
    FOR EACH STATEMENT EXECUTE FUNCTION steelyard_refuse_change();

-- The members of a that are not equal in b.
CREATE FUNCTION steelyard_differing(a jsonb, b jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(a)
    WHERE value IS DISTINCT FROM b -> key
$$;

-- Arguments: the key as an expression over the row, then the columns that are not kept. One
-- statement for all rows of a statement: a file with 100,000 keys is one insertion here.
CREATE FUNCTION steelyard_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE hidden text[] := TG_ARGV[1:];
BEGIN
    IF TG_OP = 'INSERT' THEN
        EXECUTE format('INSERT INTO audit_change (what, which, after) SELECT %L, (%s)::text, '
                       'to_jsonb(r) - $1 FROM new_rows r', TG_TABLE_NAME, TG_ARGV[0])
        USING hidden;
    ELSIF TG_OP = 'UPDATE' THEN
        EXECUTE format('WITH n AS (SELECT (%2$s)::text AS k, to_jsonb(r) - $1 AS j FROM new_rows r), '
                       'o AS (SELECT (%2$s)::text AS k, to_jsonb(r) - $1 AS j FROM old_rows r) '
                       'INSERT INTO audit_change (what, which, before, after) '
                       'SELECT %1$L, k, steelyard_differing(o.j, n.j), steelyard_differing(n.j, o.j) '
                       'FROM n JOIN o USING (k) WHERE n.j <> o.j', TG_TABLE_NAME, TG_ARGV[0])
        USING hidden;
    ELSE
        EXECUTE format('INSERT INTO audit_change (what, which, before) SELECT %L, (%s)::text, '
                       'to_jsonb(r) - $1 FROM old_rows r', TG_TABLE_NAME, TG_ARGV[0])
        USING hidden;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION steelyard_audit_table(name text, VARIADIC args text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    given text := (SELECT string_agg(quote_literal(a), ', ' ORDER BY n)
                   FROM unnest(args) WITH ORDINALITY AS u (a, n));
BEGIN
    EXECUTE format('CREATE TRIGGER audited_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS '
                   'new_rows FOR EACH STATEMENT EXECUTE FUNCTION steelyard_audit_change(%s)',
                   name, given);
    EXECUTE format('CREATE TRIGGER audited_update AFTER UPDATE ON %I REFERENCING OLD TABLE AS '
                   'old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION '
                   'steelyard_audit_change(%s)', name, given);
    EXECUTE format('CREATE TRIGGER audited_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS '
                   'old_rows FOR EACH STATEMENT EXECUTE FUNCTION steelyard_audit_change(%s)',
                   name, given);
END $$;

SELECT steelyard_audit_table('api_key', 'public_id', 'sha256', 'prev_sha256');
SELECT steelyard_audit_table('account', 'kind || '':'' || name');
SELECT steelyard_audit_table('budget', 'id');
SELECT steelyard_audit_table('policy_version', 'name || ''@'' || version', 'report');
SELECT steelyard_audit_table('resource', 'key', 'body');
SELECT steelyard_audit_table('rollout_freeze', 'id');

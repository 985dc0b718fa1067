-- Keys are published in 256 shards. A shard whose rows changed is marked in the transaction that
-- changed them, so that publishing reads marked shards only, whoever changed what.
CREATE FUNCTION steelyard_key_shard(public_id text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT get_byte(sha256(convert_to(public_id, 'UTF8')), 0)
$$;
CREATE INDEX api_key_shard ON api_key (steelyard_key_shard(public_id));

CREATE TABLE key_shard (
    shard    integer PRIMARY KEY CHECK (shard BETWEEN 0 AND 255),
    keys     integer NOT NULL DEFAULT 0,   -- As last published.
    changed  boolean NOT NULL DEFAULT true -- Since then.
) WITH (fillfactor = 50);
INSERT INTO key_shard (shard) SELECT generate_series(0, 255);

CREATE FUNCTION steelyard_key_mark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE key_shard SET changed = true
    WHERE shard = steelyard_key_shard(NEW.public_id) AND NOT changed;
    RETURN NULL;
END $$;
CREATE TRIGGER mark AFTER INSERT OR UPDATE ON api_key
    FOR EACH ROW EXECUTE FUNCTION steelyard_key_mark();

-- A disabled account refuses the keys below it. (Another parent is a change of the keys' rows.)
CREATE FUNCTION steelyard_account_mark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE key_shard SET changed = true WHERE NOT changed AND shard IN (
        SELECT steelyard_key_shard(public_id) FROM api_key WHERE team_id = NEW.id
        UNION SELECT steelyard_key_shard(public_id) FROM api_key WHERE org_id = NEW.id
        UNION SELECT steelyard_key_shard(public_id) FROM api_key WHERE user_id = NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER mark AFTER UPDATE ON account FOR EACH ROW
    WHEN (NEW.disabled IS DISTINCT FROM OLD.disabled)
    EXECUTE FUNCTION steelyard_account_mark();

-- From the commit of the generation to the node's answer; NULL: a newer one was there by then.
ALTER TABLE push_log ADD COLUMN after_ms integer;

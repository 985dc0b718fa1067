-- What models cost: published rows get every kind of rate and tiers; imported facts are kept apart.
-- Rates are nano-USD per million tokens, -1: unknown. tiers: "SIZE:in:out:cached:write:write1h:
-- reasoning;...", rates empty when unknown (controlplane/catalog/rows.h).
ALTER TABLE price
    ADD COLUMN cache_write_1h bigint NOT NULL DEFAULT -1,
    ADD COLUMN reasoning      bigint NOT NULL DEFAULT -1,
    ADD COLUMN tiers          text   NOT NULL DEFAULT '',
    ADD COLUMN source         text   NOT NULL DEFAULT '', -- config, import or builtin; '': before that was kept.
    ADD COLUMN facts          text   NOT NULL DEFAULT '';
CREATE INDEX price_model ON price (provider, model, valid_from);

CREATE TABLE catalog_import (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ts           timestamptz NOT NULL DEFAULT now(),
    actor        text   NOT NULL,
    source       text   NOT NULL CHECK (octet_length(source) BETWEEN 1 AND 64),
    source_date  date   NOT NULL, -- As of which the facts hold.
    row_count    bigint NOT NULL, -- Of the file, that could be taken.
    added        bigint NOT NULL  -- Rows of catalog_price.
);

-- Facts of a public catalogue, in its names. For a moment the row with the latest valid_from not
-- after it holds, of several the one with the highest id. Nothing is ever changed: a correction is
-- a further row.
CREATE TABLE catalog_price (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    import_id       bigint NOT NULL REFERENCES catalog_import,
    provider        text   NOT NULL CHECK (octet_length(provider) BETWEEN 1 AND 127),
    model           text   NOT NULL CHECK (octet_length(model) BETWEEN 1 AND 127),
    input           bigint NOT NULL CHECK (input BETWEEN 0 AND 1000000000000000),
    output          bigint NOT NULL CHECK (output BETWEEN 0 AND 1000000000000000),
    cached_input    bigint NOT NULL CHECK (cached_input BETWEEN -1 AND 1000000000000000),
    cache_write     bigint NOT NULL CHECK (cache_write BETWEEN -1 AND 1000000000000000),
    cache_write_1h  bigint NOT NULL CHECK (cache_write_1h BETWEEN -1 AND 1000000000000000),
    reasoning       bigint NOT NULL CHECK (reasoning BETWEEN -1 AND 1000000000000000),
    tiers           text   NOT NULL,
    context         bigint NOT NULL, -- Tokens, 0: unknown, as max_output.
    max_output      bigint NOT NULL,
    can             integer NOT NULL, -- Bits of ModelCapability.
    released        text   NOT NULL,
    valid_from      timestamptz NOT NULL
);
CREATE INDEX catalog_price_name ON catalog_price (provider, model, valid_from DESC, id DESC);
CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON catalog_price
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();
CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON catalog_import
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();

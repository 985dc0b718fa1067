-- What a key requires of the deployments that may serve it, beside what its route does.
ALTER TABLE api_key
    ADD COLUMN require_regions text[] NOT NULL DEFAULT '{}', -- Empty: any.
    ADD COLUMN data_collection text CHECK (data_collection IN ('allow', 'deny')),
    ADD COLUMN zdr             boolean NOT NULL DEFAULT false;

-- New columns stand last, so that the view is replaced where it stands. DataTerms bits.
CREATE OR REPLACE VIEW pushed_key AS
SELECT k.id, k.public_id, k.sha256, k.name, k.routes, k.models,
       k.disabled OR coalesce(t.disabled, false) OR coalesce(o.disabled, false)
           OR coalesce(u.disabled, false) AS disabled,
       k.expires, k.no_explore, k.may_no_log, k.segment,
       (SELECT array_agg(a ORDER BY a < 0, a)
        FROM unnest(ARRAY[k.org_id, k.team_id, k.user_id, k.id]) a WHERE a IS NOT NULL) AS accounts,
       k.endpoints, k.max_cost_nano, k.prev_sha256, k.prev_until, k.rpm, k.tpm, k.concurrency,
       k.tags, k.require_regions,
       (k.data_collection IS NOT DISTINCT FROM 'deny')::integer + 2 * k.zdr::integer AS require_data
FROM api_key k LEFT JOIN account t ON t.id = k.team_id LEFT JOIN account o ON o.id = k.org_id
     LEFT JOIN account u ON u.id = k.user_id
WHERE k.removed IS NULL AND k.role IS NULL;

-- How an attempt's deployment was picked among those of its model, and what the translation changed
-- (PickedBy, PassedOver and TranslationNote of telemetry.proto). NULL: recorded by an older node.
-- Without a default: no partition is rewritten.
ALTER TABLE attempt
    ADD COLUMN place       smallint, -- In the catalogue's order, from 1.
    ADD COLUMN deployments smallint, -- How many the model had.
    ADD COLUMN usable      bigint,   -- A bit for each that could be asked; 1 is the first.
    ADD COLUMN equals      smallint, -- How many were as good, itself included.
    ADD COLUMN picked_by   smallint,
    ADD COLUMN passed      integer,
    ADD COLUMN notes       bigint;

-- Chance with which a label was asked for: who samples says so, and what such labels say is weighed by
-- its inverse. 1: always.
ALTER TABLE feedback ADD COLUMN label_prob double precision NOT NULL DEFAULT 1
    CHECK (label_prob > 0 AND label_prob <= 1);

-- What explored choices cost above the greedy ones: the account of exploration (docs/evidence.md).
ALTER TABLE usage_hour ADD COLUMN explore_cost bigint NOT NULL DEFAULT 0;

-- Changes of the largest chance of exploring, each a version of its own.
CREATE TABLE explore_step (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ts         timestamptz NOT NULL DEFAULT now(),
    policy     text   NOT NULL,
    version    bigint NOT NULL, -- With the new chance.
    cap_from   bigint NOT NULL, -- Of 2^32, as in Params.
    cap_to     bigint NOT NULL,
    labels     bigint NOT NULL, -- That the version in service learned from ...
    least      bigint NOT NULL, -- ... and those of the model with the fewest.
    spend      bigint NOT NULL, -- nano-USD of the last 24 hours ...
    extra      bigint NOT NULL, -- ... and what exploring added to it.
    share      double precision NOT NULL -- Of spend that exploring may add.
);
CREATE INDEX explore_step_policy ON explore_step (policy, ts);
CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON explore_step
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();

-- What is known about versions and models before and while they get traffic.

-- How well the rows could say what the version would do; 'none': by hand, or older than this column.
ALTER TABLE policy_version ADD COLUMN verdict text NOT NULL DEFAULT 'none'
    CHECK (verdict IN ('none', 'full', 'support', 'no_support'));

-- What the version would change on the last decisions, as it was said when it was made.
CREATE TABLE policy_estimate (
    name           text   NOT NULL,
    version        bigint NOT NULL,
    made           timestamptz NOT NULL DEFAULT now(),
    decisions      bigint NOT NULL,
    churn          double precision NOT NULL,
    cost_now       double precision, -- USD a request; NULL: not known.
    cost_then      double precision,
    cost_low       double precision, -- Interval at 95 %.
    cost_high      double precision,
    cost_basis     text   NOT NULL,
    quality_then   double precision,
    quality_low    double precision,
    quality_high   double precision,
    quality_basis  text   NOT NULL,
    FOREIGN KEY (name, version) REFERENCES policy_version (name, version)
);
CREATE INDEX policy_estimate_version ON policy_estimate (name, version, made);

-- Sums of (y - q) / sigma since they were last zero, by model; see docs/evidence.md.
CREATE TABLE drift_state (
    policy    text NOT NULL,
    model     text NOT NULL,
    artifact  bytea NOT NULL,            -- Whose q; another one starts anew.
    hour      timestamptz NOT NULL,      -- Folded up to here, exclusive.
    up        double precision NOT NULL,
    down      double precision NOT NULL,
    bias      double precision NOT NULL, -- Mean of y - q since the sums left zero.
    labels    bigint NOT NULL,
    pending_labels     bigint NOT NULL DEFAULT 0, -- Of hours with too few to be folded.
    pending_residuals  double precision NOT NULL DEFAULT 0,
    pending_variances  double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (policy, model)
);
CREATE TABLE drift_event (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ts      timestamptz NOT NULL DEFAULT now(),
    policy  text NOT NULL,
    model   text NOT NULL DEFAULT '',    -- Empty: of the whole policy.
    kind    text NOT NULL CHECK (kind IN ('better', 'worse', 'quality', 'requests')),
    value   double precision NOT NULL,   -- The sum, or the stability index.
    bias    double precision NOT NULL DEFAULT 0,
    version bigint                       -- Of the parameters that answered it.
);
CREATE INDEX drift_event_policy ON drift_event (policy, ts);

-- Steps of lambda towards a spend target, each a version of its own.
CREATE TABLE lambda_step (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ts            timestamptz NOT NULL DEFAULT now(),
    policy        text   NOT NULL,
    approved      bigint NOT NULL, -- Version whose lambda the envelope is around.
    version       bigint NOT NULL, -- With the new lambda.
    lambda_from   bigint NOT NULL,
    lambda_to     bigint NOT NULL,
    lambda_low    bigint NOT NULL, -- Envelope.
    lambda_high   bigint NOT NULL,
    spend         double precision NOT NULL, -- USD a day at the pace of the last hour.
    target        double precision NOT NULL
);
CREATE INDEX lambda_step_policy ON lambda_step (policy, ts);

CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON policy_estimate
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();
CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON lambda_step
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();

-- What attempts cost by corrected prices. Rows of attempt and decision stay as the node sent them; of
-- several rows here the last one counts. The money is in budget_adjust.
CREATE TABLE attempt_reprice (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ts          timestamptz NOT NULL, -- Of the decision.
    request_id  uuid        NOT NULL,
    n           smallint    NOT NULL,
    price_id    bigint      NOT NULL,
    cost        bigint      NOT NULL CHECK (cost >= 0), -- nano-USD
    actor       text        NOT NULL,
    created     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX attempt_reprice_request ON attempt_reprice (request_id, n, id);
CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON attempt_reprice
    FOR EACH ROW EXECUTE FUNCTION steelyard_refuse_change();

-- Who grows a table of deliveries by millions has this wait for it to be written anew.
SET LOCAL statement_timeout = 0;

-- What is abandoned is found without a scan, and the usual end of a delivery stays an update on its page: it leaves this
-- column null, as it was, and Postgres compares values.
ALTER TABLE deliveries ADD COLUMN abandoned_at timestamptz
    GENERATED ALWAYS AS (CASE WHEN state = 'abandoned' THEN finished_at END) STORED;
CREATE INDEX deliveries_abandoned ON deliveries (event_id, endpoint_id) WHERE abandoned_at IS NOT NULL;
COMMENT ON TABLE deliveries IS 'Events owed to endpoints. Exists only if its transaction committed. No index on state: an update stays on its page, unless it abandons the delivery or takes that back.';
COMMENT ON COLUMN deliveries.abandoned_at IS 'When it was given up, while it is: stands in deliveries_abandoned.';

CREATE TABLE retries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    filter jsonb NOT NULL,
    actor text NOT NULL,
    per_second double precision CHECK (per_second > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    wanted bigint NOT NULL,
    taken bigint NOT NULL DEFAULT 0,
    due bigint NOT NULL DEFAULT 0,
    last_event_id uuid,
    last_endpoint_id text,
    next_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'cancelled')),
    ended_at timestamptz,
    CHECK ((last_event_id IS NULL) = (last_endpoint_id IS NULL)),
    CHECK ((state = 'running') = (ended_at IS NULL))
);
COMMENT ON TABLE retries IS 'Many deliveries that are made due again on a person''s word, chunk by chunk, each chunk in a transaction with this row.';
COMMENT ON COLUMN retries.filter IS 'Which deliveries, of those that were there, and had ended as they have, at created_at.';
COMMENT ON COLUMN retries.per_second IS 'Deliveries made due per second, at most; null: no limit.';
COMMENT ON COLUMN retries.wanted IS 'How many the filter found when the person asked.';
COMMENT ON COLUMN retries.taken IS 'How many were dealt with so far.';
COMMENT ON COLUMN retries.due IS 'How many of these were made due; the others are just being sent.';
COMMENT ON COLUMN retries.last_event_id IS 'With last_endpoint_id, the last delivery that was dealt with: the next chunk begins after it.';
COMMENT ON COLUMN retries.next_at IS 'When the next chunk may be taken, by Postgres''s clock: so the rate holds for all who work at it, and over a crash.';
COMMENT ON COLUMN retries.state IS 'running also while nobody works at it.';

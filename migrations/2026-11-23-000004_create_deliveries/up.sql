CREATE TABLE deliveries (
    event_id uuid NOT NULL,
    endpoint_id text NOT NULL,
    webhook_id text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'abandoned')),
    attempts integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (event_id, endpoint_id),
    CHECK ((state = 'pending') = (finished_at IS NULL))
) WITH (fillfactor = 70, autovacuum_analyze_threshold = 10000);
COMMENT ON TABLE deliveries IS 'Events owed to endpoints. Exists only if its transaction committed. No index on state: an update stays on its page.';
COMMENT ON COLUMN deliveries.webhook_id IS 'A hash of (source, key, endpoint): the same if the event is lost here and recorded again.';
COMMENT ON COLUMN deliveries.attempts IS 'Requests recorded, whatever came of them.';

CREATE SEQUENCE leases;
COMMENT ON SEQUENCE leases IS 'Lease numbers only grow, over all deliveries and for ever, so that a late failure never passes for a current one.';

-- Emptied over and over. Statistics taken in such a moment say "no rows, no pages", and a prepared plan made of them reads the
-- whole table when the next burst comes, at a second a lease. So it is analysed only when it is large, and keeps its pages.
CREATE TABLE due (
    event_id uuid NOT NULL,
    endpoint_id text NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now(),
    lease bigint,
    attempts integer NOT NULL DEFAULT 0,
    retry boolean NOT NULL GENERATED ALWAYS AS (attempts > 0) STORED,
    PRIMARY KEY (event_id, endpoint_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000, vacuum_truncate = false);
CREATE INDEX due_next ON due (endpoint_id, retry, due_at);
COMMENT ON TABLE due IS 'The pending deliveries, and nothing else: small, hot, a row goes when its delivery ends.';
COMMENT ON COLUMN due.due_at IS 'When it may be leased, by Postgres''s clock: the next attempt, or the end of the lease that somebody holds.';
COMMENT ON COLUMN due.lease IS 'The number of the lease that somebody holds until due_at; null while nobody does.';
COMMENT ON COLUMN due.attempts IS 'Requests recorded since it was last made due; the place in the retry schedule.';
COMMENT ON COLUMN due.retry IS 'Stands in due_next, so that first attempts are found behind any backlog of retries.';

CREATE TABLE attempts (
    event_id uuid NOT NULL,
    endpoint_id text NOT NULL,
    lease bigint NOT NULL,
    webhook_id text NOT NULL,
    body_hash bytea NOT NULL,
    outcome text NOT NULL,
    http_status smallint,
    detail text,
    response_head bytea,
    started_at timestamptz NOT NULL,
    duration_us bigint NOT NULL,
    PRIMARY KEY (event_id, endpoint_id, lease)
);
COMMENT ON TABLE attempts IS 'HTTP requests made for deliveries, and what came of each.';
COMMENT ON COLUMN attempts.lease IS 'The lease it was made under; recording it twice adds nothing.';
COMMENT ON COLUMN attempts.webhook_id IS 'As sent; audit compares with the delivery''s.';
COMMENT ON COLUMN attempts.body_hash IS 'SHA-256 of the body as sent; audit compares over the attempts of a delivery.';
COMMENT ON COLUMN attempts.outcome IS 'delivered, or the cause of failure in one of a few words (timeout, refused, dns, tls, status, …).';
COMMENT ON COLUMN attempts.response_head IS 'The first bytes of the answer.';

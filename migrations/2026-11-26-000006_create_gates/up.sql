CREATE TABLE gates (
    endpoint_id text PRIMARY KEY REFERENCES endpoints (id),
    asked_until timestamptz NOT NULL DEFAULT 'epoch',
    rests_until timestamptz NOT NULL DEFAULT 'epoch',
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    is_open boolean NOT NULL DEFAULT false,
    is_probed boolean NOT NULL DEFAULT false,
    openings integer NOT NULL DEFAULT 0,
    tokens double precision NOT NULL DEFAULT 1,
    filled_at timestamptz NOT NULL DEFAULT now(),
    turn bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE gates IS 'What stands between the fleet and an endpoint: there only for those that fail, and those that have limits of their own.';
COMMENT ON COLUMN gates.asked_until IS 'Nothing is leased before this: it asked for a pause.';
COMMENT ON COLUMN gates.rests_until IS 'Likewise: its circuit is open, or the probe of an open circuit is under way.';
COMMENT ON COLUMN gates.failures IS 'Attempts that failed since the last that succeeded.';
COMMENT ON COLUMN gates.failing_since IS 'When the first of these was recorded.';
COMMENT ON COLUMN gates.is_open IS 'It failed too often in a row: one delivery at a time is leased, as a probe, until one succeeds.';
COMMENT ON COLUMN gates.is_probed IS 'Such a probe is leased, and nothing is recorded of it yet.';
COMMENT ON COLUMN gates.openings IS 'Probes that failed in a row; the pause doubles with each.';
COMMENT ON COLUMN gates.tokens IS 'Requests that may be sent at once under endpoints.max_per_second, as of filled_at.';
COMMENT ON COLUMN gates.turn IS 'Grows with every lease, so that of two dispatchers which ask at the same moment one sees what the other took.';

INSERT INTO gates (endpoint_id) SELECT id FROM endpoints WHERE max_in_flight IS NOT NULL OR max_per_second IS NOT NULL;

-- What latchhook itself tells an account is numbered like the rest, and comes from no source that anybody added.
ALTER TABLE source_sequences DROP CONSTRAINT source_sequences_source_id_fkey;

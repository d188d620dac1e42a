-- What an app puts in here, in its own transaction, latchhook's forwarder takes to the queue once that transaction has
-- committed. Copy this into the app's own migrations, and run it as whoever owns the app's tables.

CREATE TABLE latchhook_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id text NOT NULL,
    key text,
    body bytea NOT NULL,
    headers jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    error text,
    failed_at timestamptz,
    CONSTRAINT latchhook_outbox_source_id_has_1_to_64_bytes CHECK (octet_length(source_id) BETWEEN 1 AND 64),
    CONSTRAINT latchhook_outbox_key_has_at_most_512_bytes CHECK (octet_length(key) <= 512),
    CONSTRAINT latchhook_outbox_headers_have_at_most_256_kib CHECK (pg_column_size(headers) <= 262144),
    CONSTRAINT latchhook_outbox_failed_for_a_reason CHECK ((error IS NULL) = (failed_at IS NULL))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 10000, vacuum_truncate = false);

-- What is next.
CREATE INDEX latchhook_outbox_next ON latchhook_outbox (id) WHERE error IS NULL;
-- Whether a row of the same key was put aside before it.
CREATE INDEX latchhook_outbox_failed ON latchhook_outbox (source_id, key, id) WHERE error IS NOT NULL;

COMMENT ON TABLE latchhook_outbox IS 'Raw events on their way to latchhook; a row goes when the queue has it';
COMMENT ON COLUMN latchhook_outbox.id IS 'The order of rows of one key; given by the database, without a cache';
COMMENT ON COLUMN latchhook_outbox.source_id IS 'The source that it is from (latchhook source list)';
COMMENT ON COLUMN latchhook_outbox.key IS
    'Rows of one source and key are enqueued in order; null: in any order. Not the key of the event, which stands in the body';
COMMENT ON COLUMN latchhook_outbox.body IS 'The body, byte for byte as the provider sends it';
COMMENT ON COLUMN latchhook_outbox.headers IS 'An object of texts; those that the provider of the source needs later are kept';
COMMENT ON COLUMN latchhook_outbox.error IS 'Why the row was put aside; latchhook outbox retry has it tried again';
COMMENT ON COLUMN latchhook_outbox.failed_at IS 'When it was put aside';

-- The app needs no more than to put rows in; the forwarder does the rest:
-- GRANT INSERT (source_id, key, body, headers) ON latchhook_outbox TO app;
-- GRANT SELECT, UPDATE, DELETE ON latchhook_outbox TO latchhook_forwarder;

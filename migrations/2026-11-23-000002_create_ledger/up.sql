CREATE TABLE source_sequences (
    source_id text PRIMARY KEY REFERENCES sources (id),
    last bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE source_sequences IS 'One counter row per source, advanced by what was inserted and held to COMMIT: sequence order is commit order, without gaps.';

-- fillfactor: every row is written twice in its transaction (its sequence is known only once it is known to be new).
CREATE TABLE events (
    id uuid PRIMARY KEY,
    key_hash bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
    source_id text NOT NULL,
    key text NOT NULL,
    kind text NOT NULL,
    event_type text,
    sequence bigint,
    deliveries_owed integer NOT NULL DEFAULT 0,
    incarnation text NOT NULL,
    number bigint NOT NULL,
    occurred_at timestamptz,
    received_at timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE events IS 'The ledger: every key ever committed. Never partitioned by time, because a unique constraint would have to include the time.';
COMMENT ON COLUMN events.key_hash IS 'SHA-256 of (source_id, key), each with its length before it. The unique constraint that promise 1 stands on.';
COMMENT ON COLUMN events.event_type IS 'What its webhook is called; null where it owes nobody anything.';
COMMENT ON COLUMN events.sequence IS 'Its place among the events of its source, in order of COMMIT, without gaps.';
COMMENT ON COLUMN events.deliveries_owed IS 'How many deliveries its transaction wrote; audit compares.';
COMMENT ON COLUMN events.incarnation IS 'With number: the raw event that committed it. The same raw event run again finds itself here.';
COMMENT ON COLUMN events.occurred_at IS 'By the provider''s clock.';
COMMENT ON COLUMN events.received_at IS 'When the producer took the raw event, by the producer''s clock.';

CREATE TABLE bodies (
    event_id uuid NOT NULL,
    format text NOT NULL DEFAULT 'full',
    body bytea NOT NULL,
    PRIMARY KEY (event_id, format)
) WITH (autovacuum_analyze_threshold = 10000);
COMMENT ON TABLE bodies IS 'What customers are told of an event: a snapshot at COMMIT, once per event and format, never rebuilt.';
COMMENT ON COLUMN bodies.body IS 'JSON as bytes: a NUL or half a surrogate pair in it is data, not poison.';

CREATE TABLE receipts (
    incarnation text NOT NULL,
    number bigint NOT NULL,
    source_id text NOT NULL,
    items integer NOT NULL,
    committed integer NOT NULL,
    quarantined integer NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (incarnation, number)
);
COMMENT ON TABLE receipts IS 'What became of each raw event. Duplicates are items - committed - quarantined, once it has ended.';
COMMENT ON COLUMN receipts.ended_at IS 'Null while some of its items still wait for another worker''s claim.';

CREATE TABLE quarantined_raw_events (
    incarnation text NOT NULL,
    number bigint NOT NULL,
    source_id text NOT NULL,
    received_at timestamptz NOT NULL,
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (incarnation, number)
);
COMMENT ON TABLE quarantined_raw_events IS 'The whole raw event behind quarantined items, once, however many of its items are bad.';

CREATE TABLE quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incarnation text NOT NULL,
    number bigint NOT NULL,
    item integer NOT NULL CHECK (item >= -1),
    source_id text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    raw bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz,
    closed_at timestamptz,
    resolution text CHECK (resolution IN ('settled', 'discarded')),
    note text,
    UNIQUE (incarnation, number, item),
    CHECK ((closed_at IS NULL) = (resolution IS NULL))
);
CREATE INDEX quarantine_open ON quarantine (reason, id) WHERE closed_at IS NULL;
COMMENT ON TABLE quarantine IS 'Raw events, or items of one, that could not be processed: kept whole, with the reason, replayable.';
COMMENT ON COLUMN quarantine.item IS 'Which item of the raw event, from 0; -1 is the raw event as a whole.';
COMMENT ON COLUMN quarantine.replayed_at IS 'When a person last asked for it to be processed again.';
COMMENT ON COLUMN quarantine.resolution IS 'settled: a replay committed it or found it a duplicate. discarded: a person gave it up, see note.';

ALTER TABLE endpoints
    ADD COLUMN secret_ends timestamptz[] NOT NULL DEFAULT '{}',
    ADD COLUMN access bytea,
    ADD COLUMN source_ids text[] CHECK (cardinality(source_ids) > 0),
    ADD COLUMN filter jsonb,
    ADD COLUMN format text NOT NULL DEFAULT 'full' CHECK (format IN ('full', 'thin')),
    ADD COLUMN schedule_s integer[],
    ADD COLUMN max_in_flight integer CHECK (max_in_flight > 0),
    ADD COLUMN max_per_second double precision CHECK (max_per_second > 0),
    ADD COLUMN ordered_by text CHECK (ordered_by IN ('source', 'sender'));
COMMENT ON COLUMN endpoints.secrets IS 'Sealed under the master key for endpoint:<id>; each of them signs every attempt, until it ends.';
COMMENT ON COLUMN endpoints.secret_ends IS 'When the secret at the same place stops signing, by the dispatcher''s clock; null, or shorter than secrets: never.';
COMMENT ON COLUMN endpoints.access IS 'Sealed likewise, JSON: headers, user and password, client certificate that its requests carry.';
COMMENT ON COLUMN endpoints.source_ids IS 'Whose events it wants; null: those of all sources of its account.';
COMMENT ON COLUMN endpoints.filter IS 'What an event''s body must say for it to be wanted; null: anything.';
COMMENT ON COLUMN endpoints.format IS 'Which body of an event it is told. A delivery keeps the one that it was committed with.';
COMMENT ON COLUMN endpoints.schedule_s IS 'The pauses between attempts, in seconds; null: the dispatcher''s schedule.';
COMMENT ON COLUMN endpoints.max_in_flight IS 'Requests to it at the same time, of the whole fleet; null: what each dispatcher may.';
COMMENT ON COLUMN endpoints.max_per_second IS 'Requests to it per second, of the whole fleet; null: no limit.';
COMMENT ON COLUMN endpoints.ordered_by IS 'Its deliveries form lanes, one per source or per sender: the next only after the former ended. Null: no order.';

ALTER TABLE deliveries ADD COLUMN format text NOT NULL DEFAULT 'full' CHECK (format IN ('full', 'thin'));
COMMENT ON COLUMN deliveries.format IS 'Which body it carries, on every attempt: bodies (event_id, format).';

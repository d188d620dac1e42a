ALTER TABLE deliveries ADD COLUMN lane text;
COMMENT ON COLUMN deliveries.lane IS 'Of an endpoint that asked for order: one delivery of a lane at a time, in the order of events.sequence. Null: no order.';

ALTER TABLE due ADD COLUMN lane text, ADD COLUMN sequence bigint, ALTER COLUMN due_at DROP NOT NULL;
COMMENT ON COLUMN due.due_at IS 'When it may be leased, by Postgres''s clock: the next attempt, or the end of the lease that somebody holds. Null: once the one before it in its lane has ended.';
COMMENT ON COLUMN due.lane IS 'As in deliveries. At most one of a lane has a due_at.';
COMMENT ON COLUMN due.sequence IS 'With lane: its event''s.';
CREATE INDEX due_lanes ON due (endpoint_id, lane, (due_at IS NULL), sequence) WHERE lane IS NOT NULL;

DROP INDEX due_lanes;
UPDATE due SET due_at = now() WHERE due_at IS NULL;
ALTER TABLE due ALTER COLUMN due_at SET NOT NULL, DROP COLUMN sequence, DROP COLUMN lane;
COMMENT ON COLUMN due.due_at IS 'When it may be leased, by Postgres''s clock: the next attempt, or the end of the lease that somebody holds.';
ALTER TABLE deliveries DROP COLUMN lane;

ALTER TABLE retries DROP COLUMN gates, DROP COLUMN resting;
COMMENT ON COLUMN retries.due IS 'How many of these were made due at once. What is in none of due, waiting_in_lane and held was just being sent.';
COMMENT ON COLUMN retries.next_at IS 'When the next chunk may be taken, by Postgres''s clock: so the rate holds for all who work at it, and over a crash.';

ALTER TABLE retries DROP COLUMN held, DROP COLUMN waiting_in_lane;
COMMENT ON COLUMN retries.due IS 'How many of these were made due; the others are just being sent.';

ALTER TABLE retries
    ADD COLUMN waiting_in_lane bigint NOT NULL DEFAULT 0,
    ADD COLUMN held bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN retries.due IS 'How many of these were made due at once. What is in none of due, waiting_in_lane and held was just being sent.';
COMMENT ON COLUMN retries.waiting_in_lane IS 'How many of these are due once what is before them in their lanes has ended.';
COMMENT ON COLUMN retries.held IS 'How many of these wait for their endpoint to be enabled.';

ALTER TABLE retries
    ADD COLUMN resting bigint NOT NULL DEFAULT 0,
    ADD COLUMN gates jsonb NOT NULL DEFAULT '[]';
COMMENT ON COLUMN retries.due IS 'How many of these were made due at once. What is in none of due, waiting_in_lane, held and resting was just being sent.';
COMMENT ON COLUMN retries.resting IS 'How many of these are due once the gates of their endpoints open.';
COMMENT ON COLUMN retries.gates IS 'Those by kind of gate, with when the last of each kind opens, as it stood when they were made due.';
COMMENT ON COLUMN retries.next_at IS 'When the next chunk may be taken, by Postgres''s clock: so the rate holds for all who work at it, and over a crash. Of one that is running and long past it, nobody works at it.';

-- Nobody reads or writes `due` while what is pending is compared with its attempts, by their primary key: some seconds for each
-- million deliveries that are pending. Of `deliveries` nothing is locked but the rows that are mended.
SET LOCAL statement_timeout = 0;

ALTER TABLE due ADD COLUMN delivered_at timestamptz;
COMMENT ON COLUMN due.delivered_at IS 'Of what its customer has, and is sent again on a person''s word: when its delivery had finished. It is delivered as of then where that is stopped, or fails. Null where nobody is known to have it.';

-- What was made due before this column was there has forgotten when it had finished: it is the end of its last success.
UPDATE due SET delivered_at = (SELECT max(started_at + duration_us * interval '1 microsecond') FROM attempts a
        WHERE a.event_id = due.event_id AND a.endpoint_id = due.endpoint_id AND a.outcome = 'delivered')
    WHERE EXISTS (SELECT FROM attempts a WHERE a.event_id = due.event_id AND a.endpoint_id = due.endpoint_id AND a.outcome = 'delivered');

-- And so was what was called abandoned although its customer has it. These are found by deliveries_abandoned.
UPDATE deliveries d SET state = 'delivered', abandoned_reason = NULL,
        finished_at = (SELECT max(started_at + duration_us * interval '1 microsecond') FROM attempts a
            WHERE a.event_id = d.event_id AND a.endpoint_id = d.endpoint_id AND a.outcome = 'delivered')
    WHERE abandoned_at IS NOT NULL
        AND EXISTS (SELECT FROM attempts a WHERE a.event_id = d.event_id AND a.endpoint_id = d.endpoint_id AND a.outcome = 'delivered');

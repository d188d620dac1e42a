SET LOCAL statement_timeout = 0;

DROP INDEX due_by_endpoint;
ALTER TABLE due
    DROP COLUMN retry,
    DROP COLUMN again,
    ADD COLUMN retry boolean NOT NULL GENERATED ALWAYS AS (attempts > 0) STORED;
CREATE INDEX due_next ON due (endpoint_id, retry, due_at);
COMMENT ON COLUMN due.retry IS 'Stands in due_next, so that first attempts are found behind any backlog of retries.';

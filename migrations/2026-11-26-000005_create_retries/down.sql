SET LOCAL statement_timeout = 0;
DROP TABLE retries;
ALTER TABLE deliveries DROP COLUMN abandoned_at;
COMMENT ON TABLE deliveries IS 'Events owed to endpoints. Exists only if its transaction committed. No index on state: an update stays on its page.';

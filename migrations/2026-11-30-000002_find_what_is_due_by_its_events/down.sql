SET LOCAL statement_timeout = 0;
DROP INDEX due_by_endpoint;
CREATE INDEX due_by_endpoint ON due (endpoint_id COLLATE "C", event_id);

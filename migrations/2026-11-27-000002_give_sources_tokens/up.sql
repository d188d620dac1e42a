ALTER TABLE sources ADD COLUMN tokens bytea[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN sources.tokens IS 'Hashes of the tokens with which an app enqueues over HTTP, the newest first; none: no app does.';

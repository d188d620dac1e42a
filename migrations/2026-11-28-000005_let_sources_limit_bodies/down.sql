ALTER TABLE sources DROP COLUMN body_limit;

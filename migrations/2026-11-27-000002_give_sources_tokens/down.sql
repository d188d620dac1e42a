ALTER TABLE sources DROP COLUMN tokens;

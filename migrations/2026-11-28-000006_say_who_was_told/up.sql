ALTER TABLE endpoints ADD COLUMN disabled_told integer;
COMMENT ON COLUMN endpoints.disabled_told IS 'Of one that latchhook has disabled by itself: how many endpoints of its account are owed the notice. Null: it is enabled, a person has disabled it, or it was disabled before this column was there.';

-- Whoever counts them reads nothing else.
CREATE INDEX endpoints_disabled_by_itself ON endpoints (disabled_told) WHERE disabled_told IS NOT NULL;

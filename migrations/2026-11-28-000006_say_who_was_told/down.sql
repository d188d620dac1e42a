ALTER TABLE endpoints DROP COLUMN disabled_told;

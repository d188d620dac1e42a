DROP TRIGGER ranges_changed ON accounts;
DROP FUNCTION revise_ranges();
ALTER TABLE accounts DROP COLUMN allowed_private;

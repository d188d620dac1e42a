DROP TRIGGER moved ON endpoints;
DROP FUNCTION move_gate();
ALTER TABLE gates DROP COLUMN failed_at;

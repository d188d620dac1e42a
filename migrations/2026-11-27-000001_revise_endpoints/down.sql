DROP TRIGGER placed ON gates;
DROP FUNCTION place_gate;
ALTER TABLE gates DROP COLUMN account_id;

DROP TRIGGER removed ON endpoints;
DROP TRIGGER changed ON endpoints;
DROP TRIGGER added ON endpoints;
DROP FUNCTION revise_endpoints;
ALTER TABLE accounts DROP COLUMN endpoints_revision;

-- Workers keep the endpoints of the accounts that they have met, and ask in each transaction whether they are the same still.
ALTER TABLE accounts ADD COLUMN endpoints_revision uuid NOT NULL DEFAULT gen_random_uuid();
COMMENT ON COLUMN accounts.endpoints_revision IS 'Another one whenever an endpoint of the account is added, changed or removed. Drawn, not counted: a Postgres that has lost commits would count to the same number twice.';

-- Whoever changes endpoints holds their accounts from here to COMMIT, so of one account's changes the last to commit is the
-- one whose revision stands. Endpoints are locked before accounts, and accounts in the order of their ids: who changes
-- endpoints of one account, as latchhook does, waits for nobody who waits for him.
CREATE FUNCTION revise_endpoints() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    concerned text[];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        concerned := ARRAY(SELECT account_id FROM former UNION SELECT account_id FROM changed);
    ELSE
        concerned := ARRAY(SELECT DISTINCT account_id FROM changed);
    END IF;
    PERFORM FROM accounts WHERE id = ANY(concerned) ORDER BY id FOR NO KEY UPDATE;
    UPDATE accounts SET endpoints_revision = gen_random_uuid() WHERE id = ANY(concerned);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION revise_endpoints IS 'A trigger, so that nobody who changes an endpoint can forget accounts.endpoints_revision. By statements: a row would be one more version of the account.';
CREATE TRIGGER added AFTER INSERT ON endpoints REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION revise_endpoints();
CREATE TRIGGER changed AFTER UPDATE ON endpoints REFERENCING OLD TABLE AS former NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION revise_endpoints();
CREATE TRIGGER removed AFTER DELETE ON endpoints REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION revise_endpoints();

-- Gates come and go with failures, and are no part of that revision: they are asked for by account.
ALTER TABLE gates ADD COLUMN account_id text;
UPDATE gates g SET account_id = e.account_id FROM endpoints e WHERE e.id = g.endpoint_id;
ALTER TABLE gates ALTER COLUMN account_id SET NOT NULL;
CREATE INDEX gates_by_account ON gates (account_id);
COMMENT ON COLUMN gates.account_id IS 'Its endpoint''s, whatever is inserted.';

CREATE FUNCTION place_gate() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    SELECT account_id INTO NEW.account_id FROM endpoints WHERE id = NEW.endpoint_id;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION place_gate IS 'A trigger, so that a dispatcher of before this column can still begin a gate.';
CREATE TRIGGER placed BEFORE INSERT ON gates FOR EACH ROW EXECUTE FUNCTION place_gate();

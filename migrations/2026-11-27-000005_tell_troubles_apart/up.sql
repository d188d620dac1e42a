ALTER TABLE gates ADD COLUMN failed_at timestamptz;
COMMENT ON COLUMN gates.failed_at IS 'When an attempt failed last, since the last that succeeded: long before the next failure, that one begins another trouble.';

-- An endpoint that is moved takes its gate along: workers look for gates by account.
CREATE FUNCTION move_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE gates SET account_id = NEW.account_id WHERE endpoint_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER moved AFTER UPDATE OF account_id ON endpoints
    FOR EACH ROW WHEN (OLD.account_id IS DISTINCT FROM NEW.account_id) EXECUTE FUNCTION move_gate();

-- Where an account's endpoints may be beside the public internet. Read with each lease, by the workers' book, and by the commands.
ALTER TABLE accounts ADD COLUMN allowed_private text[] NOT NULL DEFAULT '{}' CHECK (
    cardinality(allowed_private) <= 64
    AND array_position(allowed_private, NULL) IS NULL
    AND allowed_private::inet[] IS NOT NULL);
COMMENT ON COLUMN accounts.allowed_private IS 'Ranges of addresses (CIDRs) that the account''s endpoints may be in although they are private, by http and on any port. The operator''s to give. A few addresses no range lets through, whatever contains them: the dispatcher decides that of each address, when it connects.';

CREATE FUNCTION revise_ranges() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.endpoints_revision := gen_random_uuid();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION revise_ranges IS 'A trigger, so that nobody who changes an account''s ranges can forget accounts.endpoints_revision: workers hand them over with its deliveries.';
CREATE TRIGGER ranges_changed BEFORE UPDATE OF allowed_private ON accounts
    FOR EACH ROW WHEN (OLD.allowed_private IS DISTINCT FROM NEW.allowed_private) EXECUTE FUNCTION revise_ranges();

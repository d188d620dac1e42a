-- Without its end a secret would sign for ever: what has ended, or is about to, goes.
UPDATE endpoints SET secrets = ARRAY(SELECT s.secret FROM unnest(secrets, secret_ends) AS s (secret, ends)
    WHERE s.secret IS NOT NULL AND s.ends IS NULL);

ALTER TABLE deliveries DROP COLUMN format;

ALTER TABLE endpoints
    DROP COLUMN secret_ends,
    DROP COLUMN access,
    DROP COLUMN source_ids,
    DROP COLUMN filter,
    DROP COLUMN format,
    DROP COLUMN schedule_s,
    DROP COLUMN max_in_flight,
    DROP COLUMN max_per_second,
    DROP COLUMN ordered_by;
COMMENT ON COLUMN endpoints.secrets IS 'Sealed under the master key for endpoint:<id>; each of them signs every attempt.';

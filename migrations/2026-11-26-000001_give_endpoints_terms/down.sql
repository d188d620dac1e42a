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

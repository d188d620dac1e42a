-- The upper bound is half of what one producer holds on its way to Redis (64 MiB): a larger body would seldom find room beside others.
ALTER TABLE sources ADD COLUMN body_limit integer CHECK (body_limit BETWEEN 1024 AND 33554432);
COMMENT ON COLUMN sources.body_limit IS 'The largest body that is taken of it over HTTP, in bytes; null is what its provider sends at most.';

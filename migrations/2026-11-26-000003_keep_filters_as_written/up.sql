-- Numbers are compared digit by digit, and texts may hold a NUL: jsonb rewrites the one and refuses the other.
ALTER TABLE endpoints ALTER COLUMN filter TYPE text USING filter::text;
COMMENT ON COLUMN endpoints.filter IS 'JSON: what an event''s full body must say for it to be wanted; null: anything.';
COMMENT ON COLUMN endpoints.event_types IS 'Names of types, or beginnings of names with a * behind them; * alone: all.';

ALTER TABLE endpoints ALTER COLUMN filter TYPE jsonb USING filter::jsonb;
COMMENT ON COLUMN endpoints.filter IS 'What an event''s body must say for it to be wanted; null: anything.';
COMMENT ON COLUMN endpoints.event_types IS 'Names, or * for all.';

ALTER TABLE due DROP COLUMN delivered_at;

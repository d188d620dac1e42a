ALTER TABLE endpoints DROP COLUMN give_up_on;

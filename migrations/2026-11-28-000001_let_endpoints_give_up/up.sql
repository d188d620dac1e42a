-- Statuses that ask for another attempt by their own meaning are none of them.
ALTER TABLE endpoints ADD COLUMN give_up_on smallint[] CHECK (
    cardinality(give_up_on) > 0 AND array_position(give_up_on, NULL) IS NULL
    AND 400 <= ALL (give_up_on) AND 499 >= ALL (give_up_on) AND NOT give_up_on && '{408,410,425,429}');
COMMENT ON COLUMN endpoints.give_up_on IS 'The statuses (4xx) after which a delivery is abandoned at once; null: none, each is tried again by the schedule.';

COMMENT ON COLUMN deliveries.abandoned_reason IS 'Why a person gave it up; null where the schedule ended. Stays where its customer turns out to have it, goes when it is made due again.';

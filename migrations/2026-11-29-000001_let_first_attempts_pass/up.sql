-- Nobody reads or writes `due` while it and its indexes are written anew: some seconds for each million deliveries that are
-- pending. Workers put off meanwhile what they have, and dispatchers wait.
SET LOCAL statement_timeout = 0;

ALTER TABLE due
    ADD COLUMN again boolean NOT NULL DEFAULT false,
    DROP COLUMN retry,
    ADD COLUMN retry boolean NOT NULL GENERATED ALWAYS AS (attempts > 0 OR again) STORED;
CREATE INDEX due_next ON due (endpoint_id, retry, due_at);
COMMENT ON COLUMN due.again IS 'A person had it tried again, or it was held until its endpoint was enabled: it begins its schedule anew, and gives way to first attempts all the same.';
COMMENT ON COLUMN due.retry IS 'Stands in due_next, so that first attempts are found behind any backlog of retries.';

-- What one endpoint is owed, page by page, without what all others are. Of another collation than the column, so that no lease
-- is ever planned by it: by its endpoint alone it would find all that is not due. It is one more entry for each row that is
-- inserted or leased, of the kind that the primary key has: a fifth to a third more for an insert into `due` alone, which is a
-- small part of what an event costs. To delete a row touches no index.
CREATE INDEX due_by_endpoint ON due (endpoint_id COLLATE "C", event_id);

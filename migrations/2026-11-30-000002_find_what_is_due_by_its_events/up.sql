-- Nobody reads or writes `due` while the index is written anew: some seconds for each million deliveries that are pending.
-- Workers put off meanwhile what they have, and dispatchers wait.
SET LOCAL statement_timeout = 0;

-- Every row is in it, as before: no endpoint's id is empty. The condition keeps Postgres from taking it where it was not
-- asked for. It has the event second, and where `due` was last vacuumed when it was empty, it looks as good as the primary
-- key for rows of some events: each event is then a walk through all of it.
DROP INDEX due_by_endpoint;
CREATE INDEX due_by_endpoint ON due (endpoint_id COLLATE "C", event_id) WHERE endpoint_id COLLATE "C" > '';

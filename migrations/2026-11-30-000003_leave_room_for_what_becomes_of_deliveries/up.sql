-- Each row is written once more, when it is known what became of it. Its page has room for that now, so that the index has
-- nothing to learn of it (a heap-only update). It had for half of the rows. Pages that are full stay as they are.
ALTER TABLE deliveries SET (fillfactor = 45);

-- When a row is due is in an index, so none of its updates is heap-only, and no room is wanted for them.
ALTER TABLE due SET (fillfactor = 100);

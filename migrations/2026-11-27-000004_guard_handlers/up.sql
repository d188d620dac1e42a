CREATE TABLE handling (
    transaction xid8 NOT NULL,
    UNIQUE (transaction) DEFERRABLE INITIALLY DEFERRED
);
COMMENT ON TABLE handling IS 'Keeps a handler from committing the transaction that it runs in: while handlers run the transaction has two rows here, which no COMMIT allows.';

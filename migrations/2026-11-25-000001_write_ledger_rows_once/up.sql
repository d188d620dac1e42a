-- Every row of the ledger is written once now, with its place in the sequence: pages need no room for a second version.
ALTER TABLE events SET (fillfactor = 100);
COMMENT ON TABLE source_sequences IS 'One counter row per source, held from before its keys are looked up in the ledger to COMMIT: sequence order is commit order, without gaps.';
COMMENT ON SEQUENCE leases IS 'Lease numbers only grow, for ever, so that a late failure never passes for a current one. Deliveries that are leased together may share one.';

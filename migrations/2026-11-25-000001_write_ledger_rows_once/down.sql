COMMENT ON SEQUENCE leases IS 'Lease numbers only grow, over all deliveries and for ever, so that a late failure never passes for a current one.';
COMMENT ON TABLE source_sequences IS 'One counter row per source, advanced by what was inserted and held to COMMIT: sequence order is commit order, without gaps.';
ALTER TABLE events SET (fillfactor = 50);

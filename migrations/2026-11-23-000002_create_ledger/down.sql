DROP TABLE quarantine;
DROP TABLE quarantined_raw_events;
DROP TABLE receipts;
DROP TABLE bodies;
DROP TABLE events;
DROP TABLE source_sequences;

ALTER TABLE deliveries DROP COLUMN abandoned_reason;

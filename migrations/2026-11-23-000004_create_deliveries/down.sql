DROP TABLE attempts;
DROP TABLE due;
DROP SEQUENCE leases;
DROP TABLE deliveries;

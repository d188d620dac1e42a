DROP TABLE endpoints;
DROP TABLE sources;
DROP TABLE accounts;
DROP SEQUENCE revisions;

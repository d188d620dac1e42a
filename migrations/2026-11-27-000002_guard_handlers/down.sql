DROP TABLE handling;

DROP TABLE losses;

DELETE FROM source_sequences WHERE source_id NOT IN (SELECT id FROM sources);
ALTER TABLE source_sequences ADD FOREIGN KEY (source_id) REFERENCES sources (id);

DROP TABLE gates;

ALTER TABLE attempts
    ADD COLUMN dns_us integer,
    ADD COLUMN connect_us integer,
    ADD COLUMN tls_us integer,
    ADD COLUMN first_byte_us integer;
COMMENT ON COLUMN attempts.dns_us IS 'Of duration_us: asking for the name''s addresses. Null here and below: it did not come to that, or a kept connection was used.';
COMMENT ON COLUMN attempts.connect_us IS 'Of duration_us: connecting by TCP, to as many addresses as it took.';
COMMENT ON COLUMN attempts.tls_us IS 'Of duration_us: the TLS handshake.';
COMMENT ON COLUMN attempts.first_byte_us IS 'Of duration_us: from there to the head of the answer. What is left of it is the answer''s body.';

ALTER TABLE attempts DROP COLUMN dns_us, DROP COLUMN connect_us, DROP COLUMN tls_us, DROP COLUMN first_byte_us;

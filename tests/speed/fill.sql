-- A store as it stands after :events raw events of one item each, all of them recorded and told at the first attempt.
-- Written as the stages write it, so that an audit finds nothing, but in one statement a table.

INSERT INTO accounts (id, name) VALUES ('acme', 'Acme');
INSERT INTO sources (id, account_id, name, provider, secrets) VALUES ('wa', 'acme', 'wa', 'whatsapp', '{}');
INSERT INTO endpoints (id, account_id, url, secrets, event_types)
    VALUES ('bot', 'acme', 'https://bot.example/webhooks', '{}', '{*}');
INSERT INTO source_sequences (source_id, last) VALUES ('wa', :events);

-- Ids in the order of time, as ours are; keys as long as WhatsApp's.
CREATE TEMPORARY VIEW recorded AS SELECT n,
    ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id,
    'wamid.' || translate(encode(sha256(int8send(n)), 'base64'), '+/=', '-_') AS key
    FROM generate_series(1::bigint, :events) AS n;

INSERT INTO receipts (incarnation, number, source_id, items, committed, quarantined, ended_at)
    SELECT ':incarnation', n, 'wa', 1, 1, 0, now() FROM recorded;

INSERT INTO events (id, key_hash, source_id, key, kind, event_type, sequence, deliveries_owed, incarnation, number,
        occurred_at, received_at)
    SELECT id, sha256(int8send(3) || 'key' || int8send(2) || 'wa' || int8send(length(key)) || key::bytea || int8send(0)),
        'wa', key, 'text', 'message_created', n, 1, ':incarnation', n, now(), now()
    FROM recorded;

INSERT INTO messages (id, source_id, external_id, direction, kind, content, state, provider_timestamp)
    SELECT ('01900000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, 'wa', key, 'incoming', 'text', 'lorem ipsum',
        convert_to('{"external_id":"' || key || '","direction":"incoming","kind":"text","content":"lorem ipsum"}', 'UTF8'), now()
    FROM recorded;

-- A kilobyte each, which is about what a text message is told in.
INSERT INTO bodies (event_id, body)
    SELECT id, convert_to('{"type":"message_created","data":{"key":"' || key || '","content":"' || repeat('lorem ipsum ', 75)
        || '"}}', 'UTF8') FROM recorded;

INSERT INTO deliveries (event_id, endpoint_id, webhook_id, state, attempts, finished_at)
    SELECT id, 'bot', 'msg_' || left(encode(sha256(int8send(7) || 'webhook' || int8send(2) || 'wa'
        || int8send(length(key)) || key::bytea || int8send(3) || 'bot'), 'hex'), 40), 'delivered', 1, now()
    FROM recorded;

INSERT INTO attempts (event_id, endpoint_id, lease, webhook_id, body_hash, outcome, http_status, started_at, duration_us)
    SELECT event_id, 'bot', row_number() OVER (), webhook_id, sha256(body), 'delivered', 200, now(), 1000
    FROM deliveries JOIN bodies USING (event_id);

-- As autovacuum does, sooner or later.
VACUUM (ANALYZE);

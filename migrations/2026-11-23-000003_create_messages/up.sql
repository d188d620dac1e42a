CREATE TABLE messages (
    id uuid PRIMARY KEY,
    source_id text NOT NULL,
    external_id text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('incoming', 'outgoing')),
    kind text,
    status text CHECK (status IN ('sent', 'delivered', 'read', 'played', 'failed')),
    content bytea,
    state bytea NOT NULL,
    provider_timestamp timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (source_id, external_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE messages IS 'What chat events are about: one row per message, however many statuses, edits and reactions it had.';
COMMENT ON COLUMN messages.external_id IS 'The provider''s id of the message (wamid).';
COMMENT ON COLUMN messages.kind IS 'The provider''s type; null while only a status is known of it.';
COMMENT ON COLUMN messages.status IS 'A join: sent < delivered < read < played; failed wins and is kept. Null for incoming ones.';
COMMENT ON COLUMN messages.content IS 'UTF-8 as bytes (text here could not keep a NUL): convert_from(content, ''UTF8'').';
COMMENT ON COLUMN messages.state IS 'Everything said of it so far, as JSON in bytes; what the next thing said is joined into.';

CREATE TABLE changes_awaiting (
    source_id text NOT NULL,
    target text NOT NULL,
    key text NOT NULL,
    said_at timestamptz,
    change bytea NOT NULL,
    PRIMARY KEY (source_id, target, key)
);
COMMENT ON TABLE changes_awaiting IS 'Edits, revokes and reactions that came before the message they change; applied and deleted when it comes.';
COMMENT ON COLUMN changes_awaiting.target IS 'The external_id of the message to come.';

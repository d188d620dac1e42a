CREATE SEQUENCE revisions;
COMMENT ON SEQUENCE revisions IS 'Every change of a source or an endpoint takes the next one; a snapshot with a lower one is older.';

CREATE TABLE accounts (
    id text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_-]{1,64}$'),
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE accounts IS 'Tenants. Nothing crosses accounts. Never deleted.';

CREATE TABLE sources (
    id text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_-]{1,64}$'),
    account_id text NOT NULL REFERENCES accounts (id),
    name text NOT NULL,
    provider text NOT NULL,
    enabled boolean NOT NULL DEFAULT true,
    secrets bytea[] NOT NULL,
    verify_token bytea,
    settings jsonb NOT NULL DEFAULT '{}',
    revision bigint NOT NULL DEFAULT nextval('revisions'),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sources IS 'Where raw events come from. Disabled, never deleted: the ledger''s keys are unique within them.';
COMMENT ON COLUMN sources.secrets IS 'Sealed under the master key for source:<id>; each of them may have signed a request.';
COMMENT ON COLUMN sources.verify_token IS 'Sealed likewise; what the provider''s handshake must show.';
COMMENT ON COLUMN sources.settings IS 'What only the provider understands (whatsapp: phone_number_id).';

CREATE TABLE endpoints (
    id text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_-]{1,64}$'),
    account_id text NOT NULL REFERENCES accounts (id),
    url text NOT NULL,
    secrets bytea[] NOT NULL,
    event_types text[] NOT NULL CHECK (cardinality(event_types) > 0),
    enabled boolean NOT NULL DEFAULT true,
    disabled_reason text,
    revision bigint NOT NULL DEFAULT nextval('revisions'),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX endpoints_by_account ON endpoints (account_id);
COMMENT ON TABLE endpoints IS 'Customers'' URLs. Disabled, never deleted: their deliveries stay pending, held.';
COMMENT ON COLUMN endpoints.secrets IS 'Sealed under the master key for endpoint:<id>; each of them signs every attempt.';
COMMENT ON COLUMN endpoints.event_types IS 'Names, or * for all.';

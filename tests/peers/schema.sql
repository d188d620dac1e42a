-- What every peer records, in tables of its own: the message under a unique key, and each attempt to tell the customer.
create table messages (
    id bigint generated always as identity primary key,
    wamid text not null unique,
    sender text not null,
    name text,
    kind text not null,
    content text,
    sent_at timestamptz not null,
    raw jsonb not null,
    received_at timestamptz not null default now()
);

create table attempts (
    id bigint generated always as identity primary key,
    wamid text not null,
    webhook_id text not null,
    status integer,
    error text,
    milliseconds integer not null,
    attempted_at timestamptz not null default now()
);

-- Who is told again after a crash is looked up here.
create index attempts_by_wamid on attempts (wamid);

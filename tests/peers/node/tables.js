"use strict";
// The two tables, see schema.sql. Statements have names, so that Postgres plans each once per connection.

const INSERT_MESSAGE = `
  insert into messages (wamid, sender, name, kind, content, sent_at, raw)
  values ($1, $2, $3, $4, $5, to_timestamp($6), $7)
  on conflict (wamid) do nothing
  returning id`;

function valuesOf({ message, name }) {
  const { id, from, type, text, timestamp } = message;
  return [id, from, name, type, text?.body ?? null, timestamp, JSON.stringify(message)];
}

async function insertMessage(client, job) {
  const { rowCount } = await client.query({ name: "message", text: INSERT_MESSAGE, values: valuesOf(job) });
  return rowCount === 1;
}

async function recordAttempt(client, wamid, webhookId, { status, error, milliseconds }) {
  await client.query({
    name: "attempt",
    text: "insert into attempts (wamid, webhook_id, status, error, milliseconds) values ($1, $2, $3, $4, $5)",
    values: [wamid, webhookId, status, error, milliseconds],
  });
}

async function isTold(client, wamid) {
  const { rowCount } = await client.query({
    name: "told",
    text: "select from attempts where wamid = $1 and status between 200 and 299 limit 1",
    values: [wamid],
  });
  return rowCount === 1;
}

module.exports = { INSERT_MESSAGE, insertMessage, isTold, recordAttempt, valuesOf };

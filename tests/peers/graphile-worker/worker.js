"use strict";
// One worker process: messages into Postgres, webhooks to the customer.

const { run } = require("graphile-worker");
const { bodyOf, isDelivered, tell, webhookId } = require("../node/customer");
const { INSERT_MESSAGE, recordAttempt, valuesOf } = require("../node/tables");
const { preset } = require("./preset");

// One statement, hence one transaction: no message without its job, no job without its message.
const INSERT_AND_ENQUEUE = `
  with inserted as (${INSERT_MESSAGE})
  select graphile_worker.add_job('webhook', $8::json) from inserted`;

async function message(data, { withPgClient }) {
  const wamid = data.message.id;
  const webhook = JSON.stringify({ id: webhookId(wamid), wamid, body: bodyOf(data) });
  const values = [...valuesOf(data), webhook];
  await withPgClient.withRetries((client) => client.query({ name: "message", text: INSERT_AND_ENQUEUE, values }));
}

async function webhook({ id, wamid, body }, { withPgClient }) {
  const outcome = await tell(id, body);
  await withPgClient((client) => recordAttempt(client, wamid, id, outcome));
  if (!isDelivered(outcome)) throw new Error(`not delivered: ${outcome.status ?? outcome.error}`);
}

run({ preset, taskList: { message, webhook } }).then((runner) => runner.promise);

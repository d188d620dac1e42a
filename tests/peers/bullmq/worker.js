"use strict";
// One worker process: messages into Postgres, webhooks to the customer.

const { Worker } = require("bullmq");
const { Pool } = require("pg");
const { bodyOf, isDelivered, tell, webhookId } = require("../node/customer");
const { insertMessage, isTold, recordAttempt } = require("../node/tables");
const { connect, queue } = require("./queues");

const CONCURRENCY = 50;

const postgres = new Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
const connection = connect({ waits: true });
const webhooks = queue("webhooks", connection);

// A row that was there is a duplicate, or an earlier run of this job that died before it enqueued the webhook. Only the
// attempts tell the two apart; while the webhook is still queued, its job id keeps it single.
async function message({ data }) {
  const wamid = data.message.id;
  const isNew = await insertMessage(postgres, data);
  if (!isNew && (await isTold(postgres, wamid))) return;
  const id = webhookId(wamid);
  await webhooks.add("message_created", { id, wamid, body: bodyOf(data) }, { jobId: id });
}

async function webhook({ data: { id, wamid, body } }) {
  const outcome = await tell(id, body);
  await recordAttempt(postgres, wamid, id, outcome);
  if (!isDelivered(outcome)) throw new Error(`not delivered: ${outcome.status ?? outcome.error}`);
}

const workers = [
  new Worker("messages", message, { connection, concurrency: CONCURRENCY }),
  new Worker("webhooks", webhook, { connection, concurrency: CONCURRENCY }),
];
for (const worker of workers) worker.on("error", console.error);
postgres.on("error", console.error);

process.on("SIGTERM", async () => {
  await Promise.all(workers.map((worker) => worker.close()));
  process.exit(0);
});

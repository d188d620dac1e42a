"use strict";
const { serve } = require("../node/door");
const { connect, queue } = require("./queues");

const messages = queue("messages", connect({ waits: false }));

// The wamid as the job's id: BullMQ ignores a job whose id it still knows.
async function enqueue(found) {
  const jobs = found.map((data) => ({ name: "message", data, opts: { jobId: data.message.id } }));
  if (jobs.length === 1) await messages.add(jobs[0].name, jobs[0].data, jobs[0].opts);
  else if (jobs.length > 1) await messages.addBulk(jobs);
}

const server = serve(enqueue);
process.on("SIGTERM", () => server.close(() => process.exit(0)).closeIdleConnections());

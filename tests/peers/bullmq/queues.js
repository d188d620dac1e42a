"use strict";
// Both queues, and how they connect to Redis.

const { Queue } = require("bullmq");
const { Redis } = require("ioredis");

// A worker waits for a Redis that is away; the door refuses at once (BullMQ's page "Going to production").
function connect({ waits }) {
  // ioredis takes the path of a Unix socket as it is.
  const address = decodeURIComponent(process.env.REDIS_URL.replace(/^redis\+unix:\/\//, ""));
  return new Redis(address, waits ? { maxRetriesPerRequest: null } : { enableOfflineQueue: false });
}

// A job that is kept is what its id is compared with. Failed ones stay for a person to look at.
const defaultJobOptions = {
  attempts: 10,
  backoff: { type: "exponential", delay: 1000, jitter: 0.5 },
  removeOnComplete: { count: 1000 },
  removeOnFail: { age: 24 * 3600 },
};

function queue(name, connection) {
  const queue = new Queue(name, { connection, defaultJobOptions });
  queue.on("error", console.error);
  return queue;
}

module.exports = { connect, queue };

"use strict";
const { Pool } = require("pg");
const { makeWorkerUtils } = require("graphile-worker");
const { serve } = require("../node/door");
const { logger } = require("./preset");

const pgPool = new Pool({ connectionString: process.env.DATABASE_URL, max: 4 });
pgPool.on("error", console.error);
pgPool.on("connect", (client) => client.on("error", console.error));

// What arrives while a batch is being added makes up the next one: each batch is one `add_jobs`, one NOTIFY and one
// commit, and commits that notify wait for each other. Equal keys are folded, since add_jobs takes each key once.
class Batch {
  specs = new Map();
  added = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
}

class Batches {
  constructor(add) {
    this.add = add;
    this.next = null;
    this.isAdding = false;
  }

  put(found) {
    this.next ??= new Batch();
    for (const payload of found) {
      const jobKey = payload.message.id;
      this.next.specs.set(jobKey, { identifier: "message", payload, jobKey });
    }
    const { added } = this.next;
    if (!this.isAdding) this.addAll();
    return added;
  }

  async addAll() {
    this.isAdding = true;
    while (this.next) {
      const { specs, resolve, reject } = this.next;
      this.next = null;
      await this.add([...specs.values()]).then(resolve, reject);
    }
    this.isAdding = false;
  }
}

async function main() {
  const utils = await makeWorkerUtils({ pgPool, logger });
  await utils.migrate();
  const batches = new Batches((specs) => utils.addJobs(specs));
  const server = serve((found) => found.length === 0 || batches.put(found));
  process.on("SIGTERM", () => server.close(() => process.exit(0)).closeIdleConnections());
}

main();

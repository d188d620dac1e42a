"use strict";
// Graphile Worker's settings, as its page "Performance" has them for many fast jobs.

const { Logger } = require("graphile-worker");

const concurrentJobs = 24;

// Its own logger writes a line for each job.
const logger = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(message);
});

const preset = {
  worker: {
    connectionString: process.env.DATABASE_URL,
    concurrentJobs,
    maxPoolSize: concurrentJobs + 2,
    localQueue: { size: concurrentJobs + 1 },
    completeJobBatchDelay: 25,
    failJobBatchDelay: 25,
    logger,
  },
};

module.exports = { logger, preset };

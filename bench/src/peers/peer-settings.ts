/** How the peers run: what their own pages recommend for speed, tried out on two cores. */

/** Jobs that the one BullMQ worker takes at once. */
export const BULLMQ_CONCURRENCY = 100;

/** What graphile-worker's page on performance runs with. */
export const GRAPHILE = { concurrentJobs: 24, maxPoolSize: 25 };
/** What it adds for batches; completion is batched too. */
export const GRAPHILE_BATCHING = {
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};

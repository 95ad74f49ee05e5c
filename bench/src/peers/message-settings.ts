/** How the message peers run. */

/** Neither bound is reached on two cores. */
export const JETSTREAM = { maxAckPending: 10_000, pullMessages: 1_000 };

/** As long as a message of ours may take by default, in milliseconds. */
export const NATS_REQUEST = { timeout: 30_000 };

/** Entries of one read, how long an idle read waits in the server, and how much of a stream is kept. */
export const REDIS_STREAMS = { readMax: 500, blockMs: 1_000, trimAt: 100_000 };

/** BullMQ as a process of its own: the worker with its handler in the process, or the program that adds jobs. */
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import { bulksOf, type PeerCommands, type PeerPlace } from "../peers/peer-commands.ts";
import { BULLMQ_CONCURRENCY } from "../peers/peer-settings.ts";
import { serveCommands } from "./command-channel.ts";

let connection: Redis | undefined;
let queue: Queue | undefined;
let worker: Worker | undefined;
let handled = 0;

function connectTo({ url }: PeerPlace): Redis {
  // A worker waits in the server for its next job, longer than any number of retries would allow.
  connection = new Redis(url, { maxRetriesPerRequest: null });
  return connection;
}

function opened(): Queue {
  if (queue === undefined) throw new Error("the queue was not opened");
  return queue;
}

serveCommands<PeerCommands>({
  work: async (place) => {
    const handle = async () => {
      handled += 1;
      return { done: true };
    };
    const concurrency = BULLMQ_CONCURRENCY;
    worker = new Worker(place.queue, handle, { connection: connectTo(place), concurrency });
    await worker.waitUntilReady();
  },
  handled: async () => handled,
  open: async (place) => {
    // Nothing is kept of a completed job: what history costs is not charged to BullMQ.
    const defaultJobOptions = { removeOnComplete: true };
    queue = new Queue(place.queue, { connection: connectTo(place), defaultJobOptions });
    await queue.waitUntilReady();
  },
  add: async (count) => {
    for (const size of bulksOf(count)) {
      const jobs = Array.from({ length: size }, (_, number) => ({ name: "job", data: { number } }));
      await opened().addBulk(jobs);
    }
  },
  remaining: async () => {
    const counts = await opened().getJobCounts("wait", "active", "delayed", "failed");
    return Object.values(counts).reduce((sum, count) => sum + count, 0);
  },
  close: async () => {
    // A forced close leaves jobs that are being done; the one who adds removes them with the queue.
    await worker?.close(true);
    await queue?.obliterate({ force: true });
    await queue?.close();
    connection?.disconnect();
  },
});

import { createAsyncQueue, systemClock } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { silent } from "../test/_helpers.ts";
import type { RevocationBatch } from "./revocation-follower.ts";
import { createRevocationFollower, REVOCATION_BATCH_MAX } from "./revocation-follower.ts";
import type { RevocationEntry } from "./revocation-set.ts";
import { createRevocationSet } from "./revocation-set.ts";

interface Opened {
  readonly promise: Promise<AbortSignal>;
  resolve(signal: AbortSignal): void;
}

function createOpened(): Opened {
  let resolve: (signal: AbortSignal) => void = () => undefined;
  const promise = new Promise<AbortSignal>((done) => {
    resolve = done;
  });
  return { promise, resolve: (signal) => resolve(signal) };
}

const entry = (id: string): RevocationEntry => ({
  target: "token",
  namespace: "default",
  id,
  revokeTimeMs: 1,
  expireTimeMs: Number.POSITIVE_INFINITY,
});

/** Serves one queue per connection and remembers where each asked to resume. */
function setup(silenceMaxMs = 15_000) {
  const resumes: bigint[] = [];
  const queues = Array.from({ length: 4 }, () => createAsyncQueue<RevocationBatch>({ max: 16 }));
  const opened = queues.map(createOpened);
  const revocations = createRevocationSet();
  const follower = createRevocationFollower({
    watch(resume, signal) {
      const index = resumes.push(resume) - 1;
      const queue = queues[index];
      if (queue === undefined) throw new Error("too many connections");
      signal.addEventListener("abort", () => queue.fail(signal.reason));
      opened[index]?.resolve(signal);
      return queue;
    },
    revocations,
    clock: systemClock,
    logger: silent,
    silenceMaxMs,
  });
  return { resumes, queues, opened, revocations, follower };
}

describe("createRevocationFollower", () => {
  it("is stale until the first message and caught up after the first short batch", async () => {
    const { queues, follower, revocations } = setup();
    expect(follower.stale).toBe(true);
    const full = Array.from({ length: REVOCATION_BATCH_MAX }, (_, i) => entry(`tok_${i}`));
    queues[0]?.push({ revision: 512n, entries: full });
    queues[0]?.push({ revision: 513n, entries: [entry("last")] });
    await follower.caughtUp;
    expect(revocations.size).toBe(REVOCATION_BATCH_MAX + 1);
    expect(follower.stale).toBe(false);
    await follower.close();
  });

  it("resumes after the last revision when the stream breaks or ends", async () => {
    const { queues, opened, follower, resumes } = setup();
    queues[0]?.push({ revision: 7n, entries: [entry("a")] });
    queues[0]?.fail(new Error("connection reset"));
    await opened[1]?.promise;
    queues[1]?.push({ revision: 9n, entries: [] });
    queues[1]?.end();
    await opened[2]?.promise;
    expect(resumes).toEqual([0n, 7n, 9n]);
    await follower.close();
  });

  it("gives up a silent stream and opens another", async () => {
    const { opened, follower } = setup(30);
    const first = await opened[0]?.promise;
    await opened[1]?.promise;
    expect(first?.aborted).toBe(true);
    await follower.close();
  });
});

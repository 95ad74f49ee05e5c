import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  TaskState,
  type TaskStreamEvent,
  type TaskStreamEventSchema,
  WatchTaskResponseSchema,
} from "@nexus/proto/orchestrator";
import { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { NexusClient } from "./client.ts";
import { watchTask } from "./watch-task.ts";

type Event = NonNullable<MessageInitShape<typeof TaskStreamEventSchema>["event"]>;
interface Script {
  readonly events?: readonly Event[];
  readonly error?: NexusError;
}

const UNAVAILABLE = new NexusError({ kind: "unavailable", reason: "UNAVAILABLE", message: "away" });
const TOO_SLOW = new NexusError({
  kind: "exhausted",
  reason: "WATCHER_TOO_SLOW",
  message: "behind",
});
const NOT_FOUND = new NexusError({
  kind: "not_found",
  reason: "TASK_NOT_FOUND",
  message: "no such task",
});
const DONE: Event = { case: "standing", value: { state: TaskState.SUCCEEDED, attempt: 1 } };

function started(fence: bigint): Event {
  return { case: "attemptStarted", value: { fence, attempt: 1 } };
}

function chunk(fence: bigint, sequence: bigint): Event {
  return { case: "chunk", value: { fence, sequence, data: new Uint8Array([1]) } };
}

/** A server whose streams go by these scripts, one after the other; the last one repeats. */
function serve(...scripts: Script[]) {
  const places: string[] = [];
  const jobs = {
    async *watchTask(request: { afterFence: bigint; afterSequence: bigint }) {
      places.push(`${request.afterFence}/${request.afterSequence}`);
      const { events = [], error } = scripts[Math.min(places.length, scripts.length) - 1] ?? {};
      for (const event of events) {
        await Promise.resolve();
        yield create(WatchTaskResponseSchema, { events: [{ event }] });
      }
      if (error !== undefined) throw error;
    },
  };
  return { places, client: { jobs } as unknown as Pick<NexusClient, "jobs"> };
}

async function collect(events: AsyncIterable<TaskStreamEvent>): Promise<(string | undefined)[]> {
  const all: (string | undefined)[] = [];
  for await (const { event } of events) {
    all.push(event.case === "chunk" ? `chunk ${event.value.sequence}` : event.case);
  }
  return all;
}

describe("watchTask", () => {
  it("goes on behind the last chunk when a stream breaks, and ends with the task", async () => {
    const { client, places } = serve(
      { events: [started(7n), chunk(7n, 1n), chunk(7n, 2n)], error: UNAVAILABLE },
      { events: [chunk(7n, 3n)], error: TOO_SLOW },
      { events: [started(9n)] },
      { events: [chunk(9n, 1n), DONE, chunk(9n, 2n)] },
    );
    expect(await collect(watchTask(client, "task_1"))).toEqual([
      "attemptStarted",
      "chunk 1",
      "chunk 2",
      "chunk 3",
      "attemptStarted",
      "chunk 1",
      "standing",
    ]);
    expect(places).toEqual(["0/0", "7/2", "7/3", "9/0"]);
  });

  it("begins behind the chunk that it is given", async () => {
    const { client, places } = serve({ events: [DONE] });
    await collect(watchTask(client, "task_1", { after: { fence: 7n, sequence: 4n } }));
    expect(places).toEqual(["7/4"]);
  });

  it("does not try again what cannot succeed", async () => {
    const { client, places } = serve({ error: NOT_FOUND });
    await expect(collect(watchTask(client, "task_1"))).rejects.toBe(NOT_FOUND);
    expect(places).toHaveLength(1);
  });

  it("stops waiting when it is told to", async () => {
    const { client } = serve({ error: UNAVAILABLE });
    const signal = AbortSignal.timeout(20);
    await expect(collect(watchTask(client, "task_1", { signal }))).rejects.toMatchObject({
      kind: "cancelled",
    });
  });
});

import {
  type JobEvent,
  JobState,
  TaskState,
  type WatchJobResponse,
} from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collect, expectError } from "./_expect.ts";
import { Harness } from "./_harness.ts";
import { begin, echo } from "./_router.ts";

const harness = new Harness();
beforeAll(() => harness.open({ watchHeartbeatMs: 100 }));
afterAll(() => harness.close());

function eventsOf(messages: readonly WatchJobResponse[]): JobEvent[] {
  return messages.flatMap((message) => message.events);
}

/** `job RUNNING`, `a LEASED 1`, `a progress 0.5`, ... */
function describeEvent({ event }: JobEvent): string {
  switch (event.case) {
    case "jobChanged":
      return `job ${JobState[event.value.state]}`;
    case "taskChanged":
      return `${event.value.taskKey} ${TaskState[event.value.state]} ${event.value.attempt}`;
    case "taskProgressed":
      return `${event.value.taskKey} progress ${event.value.progress}`;
    case "taskChunk":
      return `${event.value.taskKey} chunk ${event.value.chunkSequence}`;
    case undefined:
      return "nothing";
  }
}

function isDurable({ event }: JobEvent): boolean {
  return event.case === "jobChanged" || event.case === "taskChanged";
}

function sequencesOf(events: readonly JobEvent[]): bigint[] {
  return events.filter(isDurable).map((event) => event.sequence);
}

function expectRising(numbers: readonly bigint[]): void {
  for (const [i, number] of numbers.entries()) {
    if (i > 0) expect(number).toBeGreaterThan(numbers[i - 1] ?? 0n);
  }
}

describe("WatchJob", () => {
  it("tells every state change in order, live words between them, and ends with the job", async () => {
    harness.agent({ agentId: "walker", capabilities: ["walk"], slots: 1, behaviour: begin });
    const jobId = await harness.submit({
      tasks: [
        { key: "a", capability: "walk" },
        { key: "b", capability: "walk", dependencies: [{ taskKey: "a" }] },
      ],
    });
    const watched = collect(harness.client.watchJob({ jobId }));
    for (const key of ["a", "b"]) {
      const received = await waitFor(
        () => harness.router.assignments.find((item) => item.assignment.taskKey === key),
        { what: `${key} to be assigned` },
      );
      await waitFor(async () => (await harness.tasksOf(jobId))[key]?.state === TaskState.RUNNING, {
        what: `${key} to run`,
      });
      harness.router.progress(received, 0.5, "half");
      harness.router.chunk(received, 1n, "part");
      harness.router.complete(received, key);
    }
    const messages = await watched;
    const events = eventsOf(messages);
    expect(events.map(describeEvent)).toEqual([
      "job PENDING",
      "job RUNNING",
      "a LEASED 1",
      "a RUNNING 1",
      "a progress 0.5",
      "a chunk 1",
      "a SUCCEEDED 1",
      "b READY 0",
      "b LEASED 1",
      "b RUNNING 1",
      "b progress 0.5",
      "b chunk 1",
      "b SUCCEEDED 1",
      "job COMPLETED",
    ]);
    expectRising(sequencesOf(events));
    const chunk = events.find(({ event }) => event.case === "taskChunk");
    const before = events[events.indexOf(chunk as JobEvent) - 2];
    expect(chunk?.sequence).toBe(before?.sequence);
    const all = eventsOf(await collect(harness.client.watchJob({ jobId })));
    expect(all.map(describeEvent)).toEqual(events.filter(isDurable).map(describeEvent));
    expect(sequencesOf(all)).toEqual(sequencesOf(events));
  });

  it("goes on after a number without gap or repeat, also while the job runs", async () => {
    harness.agent({ agentId: "many", capabilities: ["many"], slots: 10, behaviour: echo });
    const tasks = Array.from({ length: 60 }, (_, i) => ({ key: `t${i}`, capability: "many" }));
    const jobId = await harness.submit({ tasks });
    const seen: JobEvent[] = [];
    // Breaks off after every few messages and resumes, as a client behind a bad network would.
    for (let ended = false; !ended; ) {
      const afterSequence = sequencesOf(seen).at(-1) ?? 0n;
      let messages = 0;
      ended = true;
      for await (const message of harness.client.watchJob({ jobId, afterSequence })) {
        seen.push(...message.events);
        messages += 1;
        if (messages === 2) {
          ended = seen.at(-1)?.event.case === "jobChanged" && seen.length > 2;
          break;
        }
      }
    }
    const all = eventsOf(await collect(harness.client.watchJob({ jobId })));
    expect(sequencesOf(seen)).toEqual(sequencesOf(all));
    expectRising(sequencesOf(all));
    const succeeded = all.filter(
      ({ event }) => event.case === "taskChanged" && event.value.state === TaskState.SUCCEEDED,
    );
    expect(succeeded).toHaveLength(60);
  });

  it("is never silent", async () => {
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    const messages = await collect(harness.client.watchJob({ jobId }), (all) => all.length === 4);
    expect(eventsOf(messages).map(describeEvent)).toEqual(["job PENDING"]);
    expect(messages.slice(1).every((message) => message.events.length === 0)).toBe(true);
  });

  it("ends at once for a job that is over and was seen to its end", async () => {
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    await harness.client.cancelJob({ requestId: jobId, jobId });
    const all = eventsOf(await collect(harness.client.watchJob({ jobId })));
    expect(all.map(describeEvent)).toEqual(["job PENDING", "a CANCELLED 0", "job CANCELLED"]);
    const afterSequence = all.at(-1)?.sequence ?? 0n;
    expect(await collect(harness.client.watchJob({ jobId, afterSequence }))).toEqual([]);
  });

  it("tells a failure with its reason", async () => {
    const jobId = await harness.submit({
      tasks: [
        { key: "a", capability: "nobody", scheduleToStartTimeout: { nanos: 100_000_000 } },
        { key: "b", capability: "nobody", dependencies: [{ taskKey: "a" }] },
      ],
    });
    const all = eventsOf(await collect(harness.client.watchJob({ jobId })));
    expect(all.map(describeEvent)).toEqual([
      "job PENDING",
      "a FAILED 0",
      "b SKIPPED 0",
      "job FAILED",
    ]);
    expect(all[2]?.event.value).toMatchObject({
      failure: { reason: "UPSTREAM_FAILED", taskKey: "a" },
    });
    expect(all[3]?.event.value).toMatchObject({ failure: { reason: "NO_AGENT_IN_TIME" } });
  });

  it("refuses a negative number", async () => {
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    const watch = harness.client.watchJob({ jobId, afterSequence: -1n });
    await expectError(watch[Symbol.asyncIterator]().next(), "invalid", "REQUEST_INVALID");
  });
});

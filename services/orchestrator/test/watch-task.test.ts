import { SessionState } from "@nexus/proto/mesh";
import {
  JobState,
  TaskState,
  type TaskStreamEvent,
  type WatchTaskResponse,
} from "@nexus/proto/orchestrator";
import { KiB, MiB } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collect, expectError } from "./_expect.ts";
import { type Client, Harness } from "./_harness.ts";
import { begin, type Received } from "./_router.ts";

const harness = new Harness();
beforeAll(() => harness.open({ watchHeartbeatMs: 100 }));
afterAll(() => harness.close());

/** `RUNNING 1`, `started 1`, `chunk 2 text`, `progress 0.5`, `gap 2..4`, ... */
function describeEvent({ event }: TaskStreamEvent): string {
  switch (event.case) {
    case "standing":
      return `${TaskState[event.value.state]} ${event.value.attempt}`;
    case "attemptStarted":
      return `${event.value.restarted ? "restarted" : "started"} ${event.value.attempt}`;
    case "chunk":
      return `chunk ${event.value.sequence} ${Buffer.from(event.value.data).toString()}`;
    case "progress":
      return `progress ${event.value.progress} ${event.value.message}`.trimEnd();
    case "gap":
      return `gap ${event.value.afterSequence}..${event.value.nextSequence}`;
    case undefined:
      return "nothing";
  }
}

function shown(messages: readonly WatchTaskResponse[]): string[] {
  return messages.flatMap(({ events }) => events).map(describeEvent);
}

function chunksIn(texts: readonly string[]): string[] {
  return texts.filter((text) => text.startsWith("chunk"));
}

/** Watches until this text was told. */
async function watchUntil(
  request: { taskId: string; afterFence?: bigint; afterSequence?: bigint },
  text: string,
  client: Client = harness.client,
): Promise<string[]> {
  const messages = await collect(client.watchTask(request), (all) => shown(all).includes(text));
  return shown(messages);
}

function assignmentOf(jobId: string, nth = 1): Promise<Received> {
  return waitFor(
    () => harness.router.assignments.filter((item) => item.assignment.jobId === jobId)[nth - 1],
    { what: `assignment ${nth} of ${jobId}` },
  );
}

let made = 0;

/** Submits a task that an agent begins and then says nothing about by itself. */
async function begun(): Promise<{ jobId: string; received: Received; taskId: string }> {
  made += 1;
  const capability = `talk-${made}`;
  for (const name of ["ann", "bob"]) {
    harness.agent({ agentId: `${name}-${made}`, capabilities: [capability], behaviour: begin });
  }
  const jobId = await harness.submit({ tasks: [{ key: "a", capability }] });
  const received = await assignmentOf(jobId);
  const { taskId } = received.assignment;
  await waitFor(async () => (await harness.tasksOf(jobId))["a"]?.state === TaskState.RUNNING, {
    what: "the task to run",
  });
  return { jobId, received, taskId };
}

describe("WatchTask", () => {
  it("tells states, progress and chunks in order while they come, and ends with the task", async () => {
    const capability = "watched-whole";
    const jobId = await harness.submit({ tasks: [{ key: "a", capability }] });
    const taskId = (await harness.tasksOf(jobId))["a"]?.taskId ?? "";
    const seen: WatchTaskResponse[] = [];
    const watched = (async () => {
      for await (const message of harness.client.watchTask({ taskId })) seen.push(message);
    })();
    await waitFor(() => shown(seen).includes("READY 0"), { what: "the watch to be open" });
    harness.agent({ agentId: "whole", capabilities: [capability], behaviour: begin });
    const received = await assignmentOf(jobId);
    await waitFor(() => shown(seen).includes("RUNNING 1"), { what: "the task to run" });
    harness.router.chunk(received, 1n, "one");
    harness.router.progress(received, 0.5, "half");
    harness.router.chunk(received, 2n, "two");
    harness.router.complete(received, "done");
    await watched;
    expect(shown(seen)).toEqual([
      "READY 0",
      "LEASED 1",
      "started 1",
      "RUNNING 1",
      "chunk 1 one",
      "progress 0.5 half",
      "chunk 2 two",
      "SUCCEEDED 1",
    ]);
    const started = seen
      .flatMap(({ events }) => events)
      .find(({ event }) => event.case === "attemptStarted");
    expect(started?.event.value).toMatchObject({
      fence: received.assignment.fence,
      agentId: "whole",
    });
    const later = shown(await collect(harness.client.watchTask({ taskId })));
    expect(later).toEqual(["started 1", "chunk 1 one", "chunk 2 two", "SUCCEEDED 1"]);
  });

  it("goes on behind a chunk without gap or repeat, also while more come in", async () => {
    const { received, taskId, jobId } = await begun();
    const { fence } = received.assignment;
    let sent = 0n;
    const sendUpTo = (last: bigint): void => {
      for (; sent < last && sent < 400n; sent += 1n) {
        harness.router.chunk(received, sent + 1n, `c${sent + 1n}`);
      }
    };
    sendUpTo(50n);
    const seen: string[] = [];
    let afterSequence = 0n;
    // Breaks off after every message with chunks and resumes, as a client behind a bad network would.
    while (afterSequence < 400n) {
      for await (const { events } of harness.client.watchTask({
        taskId,
        afterFence: fence,
        afterSequence,
      })) {
        sendUpTo(sent + 10n);
        const texts = events.map(describeEvent);
        expect(texts.filter((text) => text.startsWith("gap"))).toEqual([]);
        seen.push(...chunksIn(texts));
        if (chunksIn(texts).length === 0) continue;
        afterSequence = BigInt(seen.length);
        break;
      }
    }
    expect(seen).toEqual(Array.from({ length: 400 }, (_, i) => `chunk ${i + 1} c${i + 1}`));
    await harness.client.cancelJob({ requestId: jobId, jobId });
  });

  it("says that the task was started again, to who watches and to who resumes", async () => {
    const { jobId, received, taskId } = await begun();
    harness.router.chunk(received, 1n, "lost");
    await watchUntil({ taskId }, "chunk 1 lost");
    const seen: WatchTaskResponse[] = [];
    const watching = collect(harness.client.watchTask({ taskId }), (all) => {
      seen.splice(0, seen.length, ...all);
      return false;
    });
    await waitFor(() => shown(seen).includes("chunk 1 lost"), { what: "the watch to be open" });
    harness.router.setState(received.agentId, SessionState.LOST);
    const second = await assignmentOf(jobId, 2);
    harness.router.chunk(received, 2n, "from the grave");
    harness.router.chunk(second, 1n, "anew");
    const afterFence = received.assignment.fence;
    const resumed = await watchUntil({ taskId, afterFence, afterSequence: 1n }, "chunk 1 anew");
    expect(resumed.filter((text) => !/^(LEASED|RUNNING|progress)/.test(text))).toEqual([
      "restarted 2",
      "chunk 1 anew",
    ]);
    harness.router.complete(second, "done");
    const texts = shown(await watching);
    expect(texts.filter((text) => /chunk|started/.test(text))).toEqual([
      "started 1",
      "chunk 1 lost",
      "restarted 2",
      "chunk 1 anew",
    ]);
    expect(texts).toContain("READY 1");
    expect(texts.at(-1)).toBe("SUCCEEDED 2");
  });

  it("says what was lost on the way, and tells nothing twice or out of order", async () => {
    const { received, taskId, jobId } = await begun();
    for (const sequence of [1n, 2n, 2n, 5n, 3n, 6n]) {
      harness.router.chunk(received, sequence, `c${sequence}`);
    }
    harness.router.complete(received, "done");
    await harness.untilState(jobId, JobState.COMPLETED);
    const texts = shown(await collect(harness.client.watchTask({ taskId })));
    expect(texts).toEqual([
      "started 1",
      "chunk 1 c1",
      "chunk 2 c2",
      "gap 2..5",
      "chunk 5 c5",
      "chunk 6 c6",
      "SUCCEEDED 1",
    ]);
  });

  it("sends large chunks in messages that fit", async () => {
    const { received, taskId, jobId } = await begun();
    const count = 80;
    const text = "x".repeat(64 * KiB);
    for (let sequence = 1; sequence <= count; sequence += 1) {
      harness.router.chunk(received, BigInt(sequence), text);
      // A frame of the router must stay below the limit of a message.
      if (sequence % 20 === 0) await watchUntilSequence(taskId, BigInt(sequence));
    }
    harness.router.complete(received, "done");
    await harness.untilState(jobId, JobState.COMPLETED);
    const messages = await collect(harness.client.watchTask({ taskId }));
    const sizes = messages.map(({ events }) =>
      events.reduce(
        (sum, { event }) => sum + (event.case === "chunk" ? event.value.data.byteLength : 0),
        0,
      ),
    );
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1 * MiB + 64 * KiB);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(count * 64 * KiB);
  });

  it("is never silent, and tells a task that never ran by its end alone", async () => {
    const jobId = await harness.submit({ tasks: [{ key: "a", capability: "nobody" }] });
    const taskId = (await harness.tasksOf(jobId))["a"]?.taskId ?? "";
    const messages = await collect(harness.client.watchTask({ taskId }), (all) => all.length === 3);
    expect(shown(messages)).toEqual(["READY 0"]);
    expect(messages.slice(1).every(({ events }) => events.length === 0)).toBe(true);
    await harness.client.cancelJob({ requestId: jobId, jobId });
    const over = await collect(harness.client.watchTask({ taskId }));
    expect(shown(over)).toEqual(["CANCELLED 0"]);
  });

  it("refuses what it cannot find, what is not the caller's, and negative places", async () => {
    const { taskId, jobId } = await begun();
    const stranger = await harness.clientOf("eve", { ns: "elsewhere" });
    const poor = await harness.clientOf("poor", { scopes: ["registry:agent:read"] });
    const unknown = "task_0000000000000000000000000000dead";
    await expectError(first(harness.client, { taskId: unknown }), "not_found", "TASK_NOT_FOUND");
    await expectError(first(harness.client, { taskId: "nonsense" }), "not_found", "TASK_NOT_FOUND");
    await expectError(first(stranger, { taskId }), "not_found", "TASK_NOT_FOUND");
    await expectError(first(poor, { taskId }), "forbidden", "SCOPE_MISSING");
    const negative = { taskId, afterFence: -1n };
    await expectError(first(harness.client, negative), "invalid", "REQUEST_INVALID");
    await harness.client.cancelJob({ requestId: jobId, jobId });
  });

  it("goes on where it was after a restart of the orchestrator", async () => {
    const { received, taskId } = await begun();
    const { fence } = received.assignment;
    for (const sequence of [1n, 2n, 3n]) harness.router.chunk(received, sequence, `c${sequence}`);
    await watchUntilSequence(taskId, 3n);
    await harness.service[Symbol.asyncDispose]();
    const service = await harness.start({ watchHeartbeatMs: 100 });
    await waitFor(() => harness.isReady(service), { what: "the successor to own the jobs" });
    const client = await harness.clientOf("alice", { service });
    const place = { taskId, afterFence: fence, afterSequence: 1n };
    const resumed = await watchUntil(place, "chunk 3 c3", client);
    expect(chunksIn(resumed)).toEqual(["chunk 2 c2", "chunk 3 c3"]);
    harness.router.chunk(received, 4n, "c4");
    const whole = await watchUntil({ taskId }, "chunk 4 c4", client);
    expect(whole.filter((text) => /chunk|gap|started/.test(text))).toEqual([
      "started 1",
      "chunk 1 c1",
      "chunk 2 c2",
      "chunk 3 c3",
      "chunk 4 c4",
    ]);
  });
});

function first(client: Client, request: { taskId: string; afterFence?: bigint }) {
  return client.watchTask(request)[Symbol.asyncIterator]().next();
}

async function watchUntilSequence(taskId: string, sequence: bigint): Promise<void> {
  await collect(harness.client.watchTask({ taskId }), (all) =>
    all.some(({ events }) =>
      events.some(({ event }) => event.case === "chunk" && event.value.sequence >= sequence),
    ),
  );
}

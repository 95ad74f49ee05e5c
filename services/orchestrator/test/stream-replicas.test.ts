import { JobState, TaskState, type TaskStreamEvent } from "@nexus/proto/orchestrator";
import type { RunningService } from "@nexus/runtime";
import { createIds } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Client, Harness, STEADY_LEASE_MS } from "./_harness.ts";
import { type Behaviour, begin, type Received } from "./_router.ts";

const ids = createIds();
const VALUES = { leaseMs: STEADY_LEASE_MS, watchHeartbeatMs: 100 };
let harness: Harness;
let other: RunningService;
let client: Client;

/** Two replicas that share the shards; `client` calls the second. */
beforeEach(async () => {
  harness = new Harness();
  await harness.open(VALUES);
  other = await harness.start(VALUES);
  client = await harness.clientOf("alice", { service: other });
  await waitFor(() => harness.isReady(other), { what: "the second replica" });
  await waitFor(async () => (await shares()).join() === "32,32", { what: "equal shares" });
});
afterEach(() => harness.close());

async function shares(): Promise<number[]> {
  const { rows } = await harness.db.query<{ n: number }>(
    "SELECT count(*)::int AS n FROM shard_owners WHERE owner IS NOT NULL GROUP BY owner",
  );
  return rows.map((row) => row.n);
}

/** Submits jobs of one task each, of both replicas in turn. */
async function submitSome(count: number, capability: string, spec: object = {}) {
  const jobIds: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const at = i % 2 === 0 ? client : harness.client;
    const tasks = [{ key: "a", capability, ...spec }];
    const { job } = await at.submitJob({ requestId: ids.next(), tasks });
    jobIds.push(job?.jobId ?? "");
  }
  return jobIds;
}

function show({ event }: TaskStreamEvent): string[] {
  switch (event.case) {
    case "chunk":
      return [Buffer.from(event.value.data).toString()];
    case "attemptStarted":
      return [event.value.restarted ? "restarted" : "started"];
    case "gap":
      return ["gap"];
    case "standing":
      return event.value.state === TaskState.SUCCEEDED ? ["end"] : [];
    default:
      return [];
  }
}

async function untilDone(jobIds: readonly string[], state: JobState): Promise<void> {
  for (const jobId of jobIds) await harness.untilState(jobId, state, client);
}

describe("several replicas", () => {
  it("let a task be watched at any of them, and go on when its owner leaves", async () => {
    harness.agent({ agentId: "ann", capabilities: ["talk"], slots: 8, behaviour: begin });
    const jobIds = await submitSome(6, "talk");
    const held = await waitFor(
      () => {
        const all = harness.router.assignments.filter(({ assignment }) =>
          jobIds.includes(assignment.jobId),
        );
        const byTask = new Map(all.map((received) => [received.assignment.taskId, received]));
        return byTask.size === jobIds.length ? [...byTask.values()] : undefined;
      },
      { what: "every task to be assigned" },
    );
    const seen = new Map<string, string[]>();
    const watches = held.map(async ({ assignment: { taskId } }) => {
      const texts: string[] = [];
      seen.set(taskId, texts);
      for await (const { events } of client.watchTask({ taskId })) {
        texts.push(...events.flatMap(show));
      }
    });
    /** Says a chunk again until it is told: while shards move, nobody may listen. */
    const tell = (sequence: bigint, text: string) =>
      waitFor(
        () => {
          const left = held.filter(
            ({ assignment }) => !seen.get(assignment.taskId)?.includes(text),
          );
          for (const received of left) harness.router.chunk(received, sequence, text);
          return left.length === 0;
        },
        { what: `chunk ${sequence} of every task` },
      );
    await tell(1n, "one");
    await harness.service[Symbol.asyncDispose]();
    await tell(2n, "two");
    const complete = (received: Received) => harness.router.complete(received, "done");
    await waitFor(
      () => {
        const left = held.filter((received) => harness.router.outcomeOf(received) === undefined);
        for (const received of left) complete(received);
        return left.length === 0;
      },
      { what: "every completion to be answered" },
    );
    await Promise.all(watches);
    for (const texts of seen.values()) expect(texts).toEqual(["started", "one", "two", "end"]);
  });

  it("each fail only their own tasks that took too long", async () => {
    const scheduleToCloseTimeout = { nanos: 300_000_000 };
    const jobIds = await submitSome(6, "nobody", { scheduleToCloseTimeout });
    await untilDone(jobIds, JobState.FAILED);
    const { rows } = await harness.db.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM task_events
        WHERE task_id IS NOT NULL AND state = 'FAILED' GROUP BY task_id`,
    );
    expect(rows.map((row) => row.n)).toEqual(jobIds.map(() => 1));
  });

  it("redrive each dead letter once, whichever is asked, and at the same time", async () => {
    let broken = true;
    const fragile: Behaviour = (received, router) => {
      if (broken) router.fail(received, "BROKEN", { retryable: false });
      else router.complete(received, "whole");
    };
    harness.agent({ agentId: "bob", capabilities: ["fragile"], slots: 8, behaviour: fragile });
    const jobIds = await submitSome(6, "fragile");
    await untilDone(jobIds, JobState.FAILED);
    broken = false;
    const filter = { capability: "fragile" };
    const answers = await Promise.all(
      [client, harness.client].map((at) =>
        at.redriveDeadLetters({ requestId: ids.next(), filter }),
      ),
    );
    const redrives = answers.flatMap((answer) => answer.redrives);
    expect(new Set(redrives.map(({ taskId }) => taskId)).size).toBe(jobIds.length);
    expect(redrives).toHaveLength(jobIds.length);
    await untilDone(
      redrives.map(({ jobId }) => jobId),
      JobState.COMPLETED,
    );
  });
});

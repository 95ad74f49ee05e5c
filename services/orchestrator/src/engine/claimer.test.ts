import { describe, expect, it } from "vitest";
import type { AgentEntry } from "./agent-entry.ts";
import { Claimer } from "./claimer.ts";
import { addAgent, fakeFleet, fakeTask } from "./engine.fake.ts";
import type { EngineParts } from "./parts.ts";
import { PausedJobs } from "./paused-jobs.ts";
import { ReadyQueue } from "./ready-queue.ts";
import { turns } from "./scheduler.fake.ts";

const SOME_DELAY_MS = 10_000;

/** A claimer of which nothing can be stored. */
function setUp() {
  const queue = new ReadyQueue();
  const paused = new PausedJobs();
  const owned = { isOwner: true };
  const clock = { nowMs: 0 };
  const claimer = new Claimer({
    parts: {
      queue,
      paused,
      ledger: { owns: () => owned.isOwner },
      tallies: { generation: 1 },
      nowMs: () => clock.nowMs,
    } as unknown as EngineParts,
    writer: {
      put: () => {
        throw new Error("full");
      },
    },
    onLeased: () => undefined,
    onReleased: () => undefined,
    onCommitted: () => undefined,
    onReady: (tasks) => {
      for (const { task, delayMs, startByMs } of tasks) {
        queue.addDelayed(task, clock.nowMs + delayMs, startByMs);
      }
    },
  });
  const agent = addAgent(fakeFleet(), "a");
  return { queue, paused, owned, clock, claimer, agent };
}

/** Chooses a task that waits, and lets the claim fail. */
async function failClaim(t: ReturnType<typeof setUp>, taskId: string, agent: AgentEntry) {
  const task = t.queue.find(taskId);
  const wait = t.queue.take(taskId);
  if (task === undefined || wait === undefined) throw new Error("the task does not wait");
  const { agentId } = agent;
  const decision = { fallbackAgentId: "" } as never;
  agent.claims += 1;
  t.claimer.claim(
    { task, agentId, agentEpoch: 1n, capabilityVersion: "1.0.0", decision },
    agent,
    wait,
  );
  await turns();
}

describe("Claimer", () => {
  it("leaves a task whose claims fail again and again the time that it had for an agent", async () => {
    const t = setUp();
    const task = fakeTask({}, { scheduleToStartMs: 60_000 });
    t.queue.add(task, 0);
    while (t.clock.nowMs < 50_000) {
      await failClaim(t, task.taskId, t.agent);
      expect(t.queue.overdue(59_999, 1)).toEqual([]);
      expect(t.queue.overdue(60_000, 1)).toEqual([task.taskId]);
      t.clock.nowMs += SOME_DELAY_MS;
      t.queue.releaseDue(t.clock.nowMs);
    }
    expect([t.agent.claims, t.claimer.inFlight]).toEqual([0, 0]);
  });

  it("keeps no slot of an agent that was lost before its claim came to anything", async () => {
    const t = setUp();
    const [failed, refused] = [fakeTask(), fakeTask()];
    t.queue.add(failed, 0);
    t.agent.session = undefined;
    await failClaim(t, failed.taskId, t.agent);
    expect(t.agent.claims).toBe(0);
    const claim = {
      task: refused,
      agentId: "a",
      agentEpoch: 1n,
      capabilityVersion: "1.0.0",
      decision: { fallbackAgentId: "" } as never,
    };
    t.agent.claims += 1;
    const order = t.claimer.open(claim, t.agent, { sinceMs: 0, startByMs: 1 });
    t.claimer.apply([order], [], 0);
    t.claimer.close([order], false);
    expect([t.agent.claims, t.claimer.inFlight]).toEqual([0, 0]);
  });

  it("leaves a task whose claim failed to whoever has it by then", async () => {
    const t = setUp();
    const [resumed, paused, given] = [fakeTask(), fakeTask({ jobId: "job_2" }), fakeTask()];
    for (const task of [resumed, paused, given]) t.queue.add(task, 0);
    const failing = failClaim(t, resumed.taskId, t.agent);
    t.queue.add(resumed, 7);
    await failing;
    expect(t.queue.take(resumed.taskId)?.sinceMs).toBe(7);
    t.paused.add({ jobId: paused.jobId, namespace: paused.namespace, tasks: 1 });
    await failClaim(t, paused.taskId, t.agent);
    t.owned.isOwner = false;
    await failClaim(t, given.taskId, t.agent);
    expect(t.queue.size).toBe(0);
  });
});

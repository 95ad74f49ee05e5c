/** Several orchestrators on one router: whose updates, and whose slots. */
import { waitFor } from "@nexus/testkit";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { TestAgent } from "./_agent.ts";
import type { TestOrchestrator } from "./_orchestrator.ts";
import { MeshFixture, type RunningRouter } from "./_router.ts";

let fixture: MeshFixture;
let router: RunningRouter;
let one: TestOrchestrator;
let two: TestOrchestrator;

beforeAll(async () => {
  fixture = await MeshFixture.create();
  router = await fixture.start();
});
afterAll(() => fixture.close());

beforeEach(async () => {
  one = await router.orchestrator("orchestrator-1");
  two = await router.orchestrator("orchestrator-2");
});
afterEach(async () => {
  for (const { peer } of [one, two]) {
    peer.break();
    await peer.untilEnded();
  }
});

function say(agent: TestAgent, taskId: string, kinds: readonly ("accepted" | "completed")[]): void {
  const taskUpdates = kinds.map((kind) => ({
    taskId,
    fence: 1n,
    update: { case: kind, value: {} },
  }));
  agent.send({ taskUpdates });
}

/** What an orchestrator heard of tasks, in order. */
function heard({ updates }: TestOrchestrator): string[] {
  return updates.map(({ update }) => `${update?.taskId} ${update?.update.case}`);
}

async function untilHeard(orchestrator: TestOrchestrator, what: string): Promise<void> {
  await waitFor(() => heard(orchestrator).includes(what), { what });
}

async function untilAssigned(agent: TestAgent, taskId: string): Promise<void> {
  await waitFor(() => agent.assignments.some((one) => one.taskId === taskId), { what: taskId });
}

describe("updates with two orchestrators", () => {
  it("reach only the one that assigned the task", async () => {
    const agent = await router.agent("routed");
    const session = { agentId: "routed", epoch: agent.epoch };
    one.assign(session, "of-one");
    two.assign(session, "of-two");
    await untilAssigned(agent, "of-one");
    await untilAssigned(agent, "of-two");
    say(agent, "of-one", ["accepted", "completed"]);
    say(agent, "of-two", ["accepted", "completed"]);
    await untilHeard(one, "of-one completed");
    await untilHeard(two, "of-two completed");
    expect(heard(one)).toEqual(["of-one accepted", "of-one completed"]);
    expect(heard(two)).toEqual(["of-two accepted", "of-two completed"]);
  });

  it("reach both when an agent repeats its last word", async () => {
    const agent = await router.agent("repeats");
    one.assign({ agentId: "repeats", epoch: agent.epoch }, "again");
    await untilAssigned(agent, "again");
    say(agent, "again", ["completed"]);
    await untilHeard(one, "again completed");
    say(agent, "again", ["completed"]);
    await untilHeard(two, "again completed");
    expect(heard(two)).toEqual(["again completed"]);
    await waitFor(() => heard(one).length === 2, { what: "the repeat" });
  });

  it("reach the other once the stream of the first is gone, and its answer reaches the agent", async () => {
    const agent = await router.agent("taken-over");
    const session = { agentId: "taken-over", epoch: agent.epoch };
    one.assign(session, "orphan");
    await untilAssigned(agent, "orphan");
    say(agent, "orphan", ["accepted"]);
    await untilHeard(one, "orphan accepted");
    one.peer.break();
    await one.peer.untilEnded();
    const three = await router.orchestrator("orchestrator-1");
    say(agent, "orphan", ["completed"]);
    await untilHeard(two, "orphan completed");
    await untilHeard(three, "orphan completed");
    const result = { taskId: "orphan", fence: 1n, outcome: 1 };
    two.send({ updateResults: [{ session: { namespace: "default", ...session }, result }] });
    await waitFor(() => agent.results.length === 1, { what: "the answer" });
    three.peer.break();
    await three.peer.untilEnded();
  });
});

describe("a task that moves between two living orchestrators", () => {
  it("is heard of by the one that assigned it again under the same fence", async () => {
    const agent = await router.agent("moved", { slots: 1 });
    const session = { agentId: "moved", epoch: agent.epoch };
    one.assign(session, "moves");
    await untilAssigned(agent, "moves");
    say(agent, "moves", ["accepted"]);
    await untilHeard(one, "moves accepted");
    two.assign(session, "moves");
    await waitFor(() => agent.assignments.length === 2, { what: "the repeat" });
    say(agent, "moves", ["accepted", "completed"]);
    await untilHeard(two, "moves completed");
    expect(heard(two)).toEqual(["moves accepted", "moves completed"]);
    expect(heard(one)).toEqual(["moves accepted"]);
    expect(two.refusals).toEqual([]);
  });
});

describe("slots with two orchestrators", () => {
  it("are never overcommitted: what is too much is refused with NO_SLOT", async () => {
    const agent = await router.agent("small", { slots: 2 });
    const session = { agentId: "small", epoch: agent.epoch };
    await one.untilSlots("small", agent.epoch, 2);
    await two.untilSlots("small", agent.epoch, 2);
    for (let i = 0; i < 4; i += 1) {
      one.assign(session, `one-${i}`);
      two.assign(session, `two-${i}`);
    }
    await waitFor(() => one.refusals.length + two.refusals.length === 6, { what: "refusals" });
    const refusals = [...one.refusals, ...two.refusals];
    expect(new Set(refusals.map(({ reason }) => reason))).toEqual(new Set(["NO_SLOT"]));
    await waitFor(() => agent.assignments.length === 2, { what: "both assignments" });
    const told = () =>
      (one.slotsOf("small", agent.epoch) ?? 9) + (two.slotsOf("small", agent.epoch) ?? 9);
    await waitFor(() => told() === 2, { what: "true numbers" });
  });

  it("freed by a cancel of the same frame are given at once", async () => {
    const agent = await router.agent("swaps", { slots: 1 });
    const session = { namespace: "default", agentId: "swaps", epoch: agent.epoch };
    one.assign(session, "first");
    await untilAssigned(agent, "first");
    one.send({
      assignments: [{ session, assignment: { taskId: "second", fence: 2n } }],
      cancels: [{ session, cancel: { taskId: "first", fence: 1n, reason: "JOB_CANCELLED" } }],
    });
    await untilAssigned(agent, "second");
    expect(agent.cancels.map(({ taskId }) => taskId)).toEqual(["first"]);
    expect(one.refusals).toEqual([]);
  });

  it("take turns on an agent with one, so that both hungry orchestrators go on", async () => {
    const agent = await router.agent("lonely", { slots: 1 });
    const session = { agentId: "lonely", epoch: agent.epoch };
    const orchestrators = [one, two];
    const stop = worker(agent);
    for (const orchestrator of orchestrators) orchestrator.want(session, true);
    const hungry = orchestrators.map((orchestrator, index) => feed(orchestrator, session, index));
    await waitFor(() => orchestrators.every((one) => heard(one).length >= 20), {
      what: "twenty tasks of each",
    });
    for (const end of [...hungry, stop]) end();
    const done = orchestrators.map((one) => heard(one).length);
    expect(Math.abs((done[0] ?? 0) - (done[1] ?? 0))).toBeLessThanOrEqual(2);
  });

  it("are all there for the one that stays when the other leaves", async () => {
    const agent = await router.agent("left", { slots: 4 });
    const session = { agentId: "left", epoch: agent.epoch };
    one.assign(session, "a");
    one.assign(session, "b");
    await untilAssigned(agent, "b");
    one.want(session, true);
    two.want(session, true);
    await one.untilSlots("left", agent.epoch, 2);
    await two.untilSlots("left", agent.epoch, 2);
    one.peer.break();
    await two.untilSlots("left", agent.epoch, 4);
  });

  it("come as the newcomer's own number in its snapshot", async () => {
    const agent = await router.agent("busy", { slots: 3 });
    one.assign({ agentId: "busy", epoch: agent.epoch }, "a");
    await untilAssigned(agent, "a");
    const three = await router.orchestrator("orchestrator-3");
    expect(three.slotsOf("busy", agent.epoch)).toBe(2);
    expect(one.slotsOf("busy", agent.epoch)).toBe(3);
    three.peer.break();
    await three.peer.untilEnded();
  });
});

/** Completes whatever the agent is given. */
function worker(agent: TestAgent): () => void {
  let done = 0;
  const timer = setInterval(() => {
    for (; done < agent.assignments.length; done += 1) {
      say(agent, agent.assignments[done]?.taskId ?? "", ["completed"]);
    }
  }, 1);
  return () => clearInterval(timer);
}

/** Gives an agent one task after another, as far as the orchestrator was told that it may. */
function feed(
  orchestrator: TestOrchestrator,
  session: { agentId: string; epoch: bigint },
  index: number,
): () => void {
  let given = 0;
  const timer = setInterval(() => {
    const inHand = given - heard(orchestrator).length - orchestrator.refusals.length;
    if (inHand >= (orchestrator.slotsOf(session.agentId, session.epoch) ?? 0)) return;
    orchestrator.assign(session, `of-${index}-${given}`);
    given += 1;
  }, 1);
  return () => clearInterval(timer);
}

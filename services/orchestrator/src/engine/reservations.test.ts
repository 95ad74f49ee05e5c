import { describe, expect, it } from "vitest";
import type { AgentEntry } from "./agent-entry.ts";
import { addAgent, fakeTask } from "./engine.fake.ts";
import { needOf } from "./ready-queue.ts";
import { RESERVE_AFTER_MS, REVIEWED_MAX } from "./reservations.ts";
import { setUp as setUpScheduler, turns } from "./scheduler.fake.ts";

/** Agents with two slots each, all taken by cheap tasks while `big`, which takes two, waits with cheap ones behind it. */
async function setUp(agents: readonly string[] = ["a"]) {
  const t = setUpScheduler();
  const entries = agents.map((id) => addAgent(t.fleet, id, { slots: 2 }));
  const big = fakeTask({ key: "big", readyAtMs: 1 }, { slotCost: 2 });
  for (let i = 0; i < 2 * agents.length; i += 1) t.add(fakeTask({ key: "first" }));
  await turns();
  t.add(big);
  for (let i = 0; i < 10; i += 1) t.add(fakeTask({ key: "cheap", readyAtMs: 2 }));
  await turns();
  t.claims.splice(0);
  const agent = entries[0] as AgentEntry;
  return {
    ...t,
    agent,
    big,
    /** One of the agent's slots becomes free. */
    async free(entry = agent) {
      entry.claims -= 1;
      t.scheduler.wakeAgent(entry);
      await turns();
    },
    /** The sweep comes, so long after `big` became ready. */
    async sweep(ms = RESERVE_AFTER_MS) {
      t.setNow(ms);
      t.scheduler.wakeAll();
      await turns();
    },
    reasonFor: (task = fakeTask({ readyAtMs: 3 })) =>
      t.fleet.findCandidates("default", needOf(task), 0).rejections[0]?.reason,
  };
}

describe("a task that takes several slots", () => {
  it("is passed by cheaper ones for a while, and then gets what becomes free", async () => {
    const t = await setUp();
    await t.sweep(RESERVE_AFTER_MS - 1);
    await t.free();
    expect(t.given()).toEqual(["cheap>a"]);
    await t.sweep();
    expect(t.reasonFor(t.big)).toBe("RESERVED_FOR_THIS");
    await t.free();
    expect(t.given()).toEqual(["cheap>a"]);
    expect(t.reasonFor()).toBe("RESERVED");
    await t.free();
    expect(t.given()).toEqual(["cheap>a", "big>a"]);
    expect(t.fleet.kept.size).toBe(0);
    await t.free();
    expect(t.given()).toEqual(["cheap>a", "big>a", "cheap>a"]);
  });

  it("is passed by what goes before it all the same", async () => {
    const t = await setUp();
    await t.sweep();
    await t.free();
    t.add(fakeTask({ key: "urgent", priority: 1 }));
    await turns();
    expect(t.given()).toEqual(["urgent>a"]);
  });

  it("holds up nothing at other agents", async () => {
    const t = await setUp(["a", "b", "c"]);
    await t.sweep();
    expect(t.fleet.kept.size).toBe(1);
    const others = [...t.fleet.values()].filter((agent) => agent.keptFor === undefined);
    for (const agent of others) await t.free(agent);
    expect(t.given()).toEqual(others.map(({ agentId }) => `cheap>${agentId}`));
  });

  it("has the agent kept that lacks the fewest slots", async () => {
    const t = await setUp(["a", "b"]);
    const wide = addAgent(t.fleet, "wide", { slots: 20 });
    wide.claims = 19;
    const [, b] = [...t.fleet.values()];
    if (b !== undefined) b.claims = 1;
    t.scheduler.pause();
    await t.sweep();
    expect(t.fleet.kept.size).toBe(0);
    t.scheduler.resume();
    t.scheduler.wakeAll();
    expect([...t.fleet.kept].map(({ agentId }) => agentId)).toEqual(["b"]);
  });

  it("passes the agent on to the next of its class that waited for as long", async () => {
    const t = await setUp();
    t.add(fakeTask({ key: "big2", readyAtMs: 1 }, { slotCost: 2 }));
    await t.sweep();
    await t.sweep(2 * RESERVE_AFTER_MS);
    await t.free();
    await t.free();
    expect(t.given()).toEqual(["big>a"]);
    expect(t.agent.keptFor?.key).toBe("big2");
    await t.free();
    await t.free();
    expect(t.given()).toEqual(["big>a", "big2>a"]);
  });

  it("keeps nothing once it is gone", async () => {
    const t = await setUp();
    await t.sweep();
    await t.free();
    t.queue.remove(t.big.taskId);
    await t.sweep();
    expect(t.given()).toEqual(["cheap>a"]);
    expect(t.fleet.kept.size).toBe(0);
  });

  it("has slots kept also when the only one of its kind before it was cancelled", async () => {
    const t = await setUp();
    t.queue.remove(t.big.taskId);
    await t.sweep(1);
    t.add(fakeTask({ key: "big2", readyAtMs: 1 }, { slotCost: 2 }));
    await turns();
    await t.sweep(2 * RESERVE_AFTER_MS);
    await t.free();
    await t.free();
    expect(t.given()).toEqual(["big2>a"]);
  });

  it("has its turn beside more lanes than one review looks at", async () => {
    const t = await setUp();
    t.queue.remove(t.big.taskId);
    const kinds = REVIEWED_MAX + 6;
    for (let i = 0; i < kinds; i += 1) {
      t.add(fakeTask({ key: "far", readyAtMs: 1 }, { capability: `c${i}`, slotCost: 2 }));
      addAgent(t.fleet, `of-c${i}`, { skills: [`c${i}`], slots: 2 }).claims = 1;
    }
    await turns();
    await t.sweep();
    expect(t.fleet.kept.size).toBe(REVIEWED_MAX);
    await t.sweep();
    expect(t.fleet.kept.size).toBe(kinds);
  });

  for (const [what, change] of [
    ["drains", (agent: AgentEntry) => agent.session && { ...agent.session, state: "DRAINING" }],
    ["has fewer slots", (agent: AgentEntry) => agent.session && { ...agent.session, slots: 1 }],
    ["is gone", () => undefined],
  ] as const) {
    it(`is given another agent when its own ${what}`, async () => {
      const t = await setUp();
      await t.sweep();
      expect(t.agent.keptFor?.key).toBe("big");
      t.agent.session = change(t.agent) as AgentEntry["session"];
      t.scheduler.wakeAgent(t.agent);
      expect(t.agent.keptFor).toBeUndefined();
      const next = addAgent(t.fleet, "b", { slots: 2 });
      next.claims = 2;
      t.fleet.refresh(next);
      await t.sweep();
      expect(next.keptFor?.key).toBe("big");
    });
  }

  it("has nothing kept where no agent could ever take it, or one can now", async () => {
    const t = await setUp();
    t.queue.remove(t.big.taskId);
    t.add(fakeTask({ key: "huge" }, { slotCost: 3 }));
    await t.sweep(3 * RESERVE_AFTER_MS);
    expect(t.fleet.kept.size).toBe(0);
    expect(t.reasonFor()).toBe("NO_FREE_SLOT");
  });
});
